"""The hand's pixels in a crop: chroma key on screens, GrabCut elsewhere, both guided by the projected mesh.

The forearm is skin too, and so is the other hand: both are offered to the colour model as hand and cut off afterwards,
the forearm where the mesh ends at the wrist, the other hand where its mesh is nearer.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from handgen.cameras import MIN_DEPTH_M, Camera

Mask = UInt8[np.ndarray, "height width"]

SOLVE_SIDE_PX = 128  # GrabCut's cost grows with the area; its edge is refined at full size
REACH_SHARE = 0.04  # of the hand's extent: how far the mask may lie outside the projected mesh
_CORE_SHARE = 0.035  # of the hand's extent: how far inside the mesh pixels are the hand's for sure
_FOREARM_M, _FOREARM_FLARE = 0.12, 2.0  # how long the forearm is, and how much wider where it ends: wrists bend
_FAR_PX, _SHIFT = 30_000, 4  # what OpenCV can draw, and with how many bits below a pixel
_GRABCUT_ITERATIONS = 2
_COLOR_SIGMAS = 3.0  # of the hand's own colours: what is nearer looks like it
_COLOR_NOISE = np.array([12.0, 3.0, 3.0])  # grey levels of Y, Cr, Cb that any hand varies by
_MIN_CORE_PX = 30
_SCREEN_SHARE = 0.7  # of the pixels around the hand, for the background to be a screen
_SCREEN_MARGIN = 30  # grey levels by which a screen's channel exceeds both others
_MAX_HALF = 60.0  # grey levels: a bright screen's light on the hand does not make it screen
_FOREIGN_SHARE = (
    0.02  # of the hand's area: more of what is neither screen nor hand around it, and its edge is looked for
)
_HOLE_SHARE = 0.002  # of the mask: smaller holes that the mesh does not have are filled


@dataclass(frozen=True)
class Segmented:
    """A mask of 0 and 255, and its overlap with the projected mesh (0 to 1)."""

    mask: Mask
    iou: float


@dataclass(frozen=True)
class OtherHand:
    """The other hand's projected mesh in the same crop, and whether it is the nearer one."""

    mask: Mask
    is_nearer: bool


@dataclass(frozen=True)
class Guides:
    """What the fit knows of a crop, as masks of 0 and 255.

    hand: the projected mesh. skin: forearm and other hand, like the hand in colour. hidden: where the other hand is.
    picture: where the crop shows the picture at all.
    """

    hand: Mask
    skin: Mask
    hidden: Mask
    picture: Mask

    @property
    def visible(self) -> Mask:
        """The part of the projected mesh that the picture can show."""
        return cv2.bitwise_and(cv2.bitwise_and(self.hand, self.picture), cv2.bitwise_not(self.hidden))

    @property
    def visible_share(self) -> float:
        """How much of the hand in the picture the other hand leaves visible."""
        shown = cv2.countNonZero(cv2.bitwise_and(self.hand, self.picture))
        return cv2.countNonZero(self.visible) / max(shown, 1)


def forearm_mask(
    camera: Camera, border_world: Float[np.ndarray, "border 3"], palm_world: Float[np.ndarray, " 3"]
) -> Mask:
    """Where the forearm goes on from the end of the mesh: a widening tube away from the palm.

    camera: ideal. border_world: the mesh's border behind the wrist. palm_world: a point in the palm.
    """
    center = border_world.mean(0)
    away = (center - palm_world) / np.linalg.norm(center - palm_world)
    end = center + _FOREARM_M * away + _FOREARM_FLARE * (border_world - center)
    rings = camera.cam_from_world.apply(np.concatenate([border_world, end]))
    mask = np.zeros(camera.size_px[::-1], np.uint8)
    rings = rings[rings[:, 2] > MIN_DEPTH_M]
    if len(rings) >= 3:
        pixels, _ = camera.project_cam(rings)
        hull = cv2.convexHull(np.clip(pixels, -_FAR_PX, _FAR_PX).astype(np.float32))
        cv2.fillConvexPoly(mask, np.round(hull * (1 << _SHIFT)).astype(np.int32), 255, cv2.LINE_8, _SHIFT)
    return mask


def screen_color(image: UInt8[np.ndarray, "height width 3"], around: Mask) -> str:
    """The screen colour that most pixels of `around` have: "green", "blue", or "any" if it is no screen."""
    pixels = image[around > 0].astype(np.int16)
    if len(pixels) < 50:
        return "any"
    red, green, blue = pixels.T
    if (green - np.maximum(red, blue) > _SCREEN_MARGIN).mean() > _SCREEN_SHARE:
        return "green"
    if (blue - np.maximum(red, green) > _SCREEN_MARGIN).mean() > _SCREEN_SHARE:
        return "blue"
    return "any"


def segment(
    image: UInt8[np.ndarray, "height width 3"],
    guides: Guides,
    extent_px: float,
    background: str = "auto",
    reach_share: float = REACH_SHARE,
) -> Segmented:
    """The mask of the hand whose mesh projects to `guides.hand`.

    extent_px: the hand's size in the crop. background: "green", "blue", "any" (GrabCut), or "auto" to look at the
    pixels. reach_share: how far from the mesh the hand may be, in its sizes.
    """
    outside_px = cv2.distanceTransform(cv2.bitwise_not(guides.hand), cv2.DIST_L2, cv2.DIST_MASK_5)
    reach = _where(outside_px <= reach_share * extent_px)
    screen = screen_color(image, _around(guides, outside_px, extent_px)) if background == "auto" else background
    if screen == "any":
        found = _grabcut(image, guides, reach, extent_px)
    else:
        found = _chroma_key(image, screen, guides, reach, extent_px)
    # The forearm ends where the mesh does: beyond the wrist only pixels of the mesh itself stay.
    beyond = cv2.bitwise_and(guides.skin, cv2.bitwise_not(guides.hand))
    banned = cv2.bitwise_or(cv2.bitwise_or(guides.hidden, beyond), cv2.bitwise_not(guides.picture))
    allowed = cv2.bitwise_and(reach, cv2.bitwise_not(banned))
    mask = _cleaned(cv2.bitwise_and(found, allowed), guides.hand)
    return Segmented(mask, iou(mask, guides.visible))


def _around(guides: Guides, outside_px: np.ndarray, extent_px: float) -> Mask:
    """Background for sure: away from the hand and from other skin, inside the picture."""
    far = (outside_px > 0.15 * extent_px) & (guides.skin == 0) & (guides.picture > 0)
    return cv2.erode(_where(far), np.ones((3, 3), np.uint8))


def _where(condition: np.ndarray) -> Mask:
    return np.where(condition, np.uint8(255), np.uint8(0))


def iou(a: Mask, b: Mask) -> float:
    """Intersection over union of two masks; 0 if both are empty."""
    union = cv2.countNonZero(cv2.bitwise_or(a, b))
    return cv2.countNonZero(cv2.bitwise_and(a, b)) / union if union else 0.0


def guides_of(hand: Mask, forearm: Mask, picture: Mask, other: OtherHand | None = None) -> Guides:
    """Guides from the projected mesh of the hand and, where it is in the crop, of the other hand.

    forearm: as `forearm_mask` gives it. picture: where the crop shows the picture.
    """
    if other is None:
        return Guides(hand, forearm, np.zeros_like(hand), picture)
    hidden = other.mask if other.is_nearer else cv2.bitwise_and(other.mask, cv2.bitwise_not(hand))
    return Guides(hand, cv2.bitwise_or(forearm, other.mask), hidden, picture)


def _excess(image: np.ndarray, screen: str) -> Mask:
    """Grey levels by which the screen's channel stands out."""
    channel = 1 if screen == "green" else 2
    others = np.maximum(image[..., 0], image[..., 2 if screen == "green" else 1])
    return cv2.subtract(np.ascontiguousarray(image[..., channel]), np.ascontiguousarray(others))


def _chroma_key(image: np.ndarray, screen: str, guides: Guides, reach: Mask, extent_px: float) -> Mask:
    """Pixels that are less than half screen; of things that are not hand either, what GrabCut leaves.

    reach: where the hand may be.
    """
    excess = _excess(image, screen)
    screened = excess[(excess > _SCREEN_MARGIN) & (guides.hand == 0)]
    half = float(np.median(screened)) / 2 if len(screened) else _SCREEN_MARGIN / 2
    _, mask = cv2.threshold(excess, min(half, _MAX_HALF), 255, cv2.THRESH_BINARY_INV)
    ours = cv2.bitwise_or(cv2.bitwise_or(guides.hand, guides.skin), guides.hidden)
    near = cv2.dilate(reach, np.ones((3, 3), np.uint8), iterations=max(1, round(REACH_SHARE * extent_px)))
    foreign = cv2.bitwise_and(cv2.bitwise_and(mask, near), cv2.bitwise_not(cv2.bitwise_or(ours, reach)))
    if cv2.countNonZero(foreign) > _FOREIGN_SHARE * cv2.countNonZero(guides.hand):
        return cv2.bitwise_and(mask, _grabcut(image, guides, reach, extent_px))
    return mask


def _grabcut(image: np.ndarray, guides: Guides, reach: Mask, extent_px: float) -> Mask:
    height, width = image.shape[:2]
    scale = min(1.0, SOLVE_SIDE_PX / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    masks = (guides.hand, guides.skin, guides.hidden, guides.picture, reach)
    hand, skin, hidden, picture, near = (cv2.resize(m, size, interpolation=cv2.INTER_NEAREST) for m in masks)
    inside_px = cv2.distanceTransform(hand, cv2.DIST_L2, cv2.DIST_MASK_5)
    labels = np.full(hand.shape, cv2.GC_BGD, np.uint8)
    labels[near > 0] = cv2.GC_PR_BGD
    core = (inside_px > _CORE_SHARE * extent_px * scale) & (hidden == 0)
    labels[_like_the_hand(small, hand, core)] = cv2.GC_PR_FGD
    labels[skin > 0] = cv2.GC_PR_FGD
    labels[hand > 0] = cv2.GC_PR_FGD
    labels[core] = cv2.GC_FGD
    labels[picture == 0] = cv2.GC_BGD
    is_background = (labels == cv2.GC_BGD) | (labels == cv2.GC_PR_BGD)
    if is_background.sum() < 16 or (~is_background).sum() < 16:
        return guides.hand
    cv2.setRNGSeed(0)  # GrabCut seeds its colour clusters from OpenCV's only generator
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    no_box = (0, 0, 0, 0)
    cv2.grabCut(small, labels, no_box, background, foreground, _GRABCUT_ITERATIONS, cv2.GC_INIT_WITH_MASK)
    found = np.where((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD), np.float32(1), np.float32(0))
    if scale == 1.0:
        return (found * 255).astype(np.uint8)
    return _refined(image, found, scale)


def _like_the_hand(image: np.ndarray, hand: Mask, core: np.ndarray) -> np.ndarray:
    """Pixels of the hand's colours that hang together with it: a bent wrist's forearm, a sleeveless arm, a face behind.

    Called background, they would teach the background's model the colour of skin, and it would take the fingers.
    """
    if core.sum() < _MIN_CORE_PX:
        return np.zeros(hand.shape, bool)
    chroma = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb).astype(np.float32)
    sample = chroma[core]
    spread = np.cov(sample.T) + np.diag(_COLOR_NOISE**2)
    away = chroma - sample.mean(0)
    near = np.einsum("hwa,ab,hwb->hw", away, np.linalg.inv(spread), away) < _COLOR_SIGMAS**2
    _, labels = cv2.connectedComponents((near | (hand > 0)).astype(np.uint8), connectivity=4)
    return near & np.isin(labels, np.unique(labels[core]))


def _refined(image: np.ndarray, small: np.ndarray, scale: float) -> Mask:
    """A small mask at full size, its edge drawn to the image's by a guided filter.

    Source: He, Sun, Tang, "Guided Image Filtering", ECCV 2010, with the grey image as the guide.
    """
    height, width = image.shape[:2]
    guide = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    soft = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    window = (2 * max(2, round(1.5 / scale)) + 1,) * 2
    mean_guide, mean_soft = cv2.blur(guide, window), cv2.blur(soft, window)
    variance = cv2.blur(guide * guide, window) - mean_guide**2
    covariance = cv2.blur(guide * soft, window) - mean_guide * mean_soft
    slope = covariance / (variance + 1e-3)
    offset = mean_soft - slope * mean_guide
    sharp = cv2.blur(slope, window) * guide + cv2.blur(offset, window)
    return np.where(sharp > 0.5, np.uint8(255), np.uint8(0))


def _cleaned(mask: Mask, hand: Mask) -> Mask:
    """Without specks off the hand and without small holes that the mesh does not have."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    if count <= 1:
        return mask
    area = stats[:, cv2.CC_STAT_AREA]
    inside = np.bincount(labels[hand > 0], minlength=count)
    keep = (inside > 0.3 * area) & (area > 0.01 * area[1:].max())
    keep[0] = False
    mask = np.where(keep[labels], np.uint8(255), np.uint8(0))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(cv2.bitwise_not(mask), connectivity=4)
    area = stats[:, cv2.CC_STAT_AREA]
    in_mesh = np.bincount(labels[hand > 0], minlength=count) > 0.8 * area
    small = area < _HOLE_SHARE * cv2.countNonZero(mask)
    fill = in_mesh & small
    fill[0] = False
    return np.where(fill[labels], np.uint8(255), mask)
