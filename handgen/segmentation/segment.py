"""The hand's pixels in a crop: chroma key on screens, local colours elsewhere, both guided by the projected mesh.

The forearm is skin too, and so is the other hand: neither teaches the colour models, and both are cut off, the forearm
where the mesh ends at the wrist, the other hand where its mesh is nearer. What goes on from the wrist is a mask of its
own, the arm, for those who want to keep it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from handgen.geometry.camera import MIN_DEPTH_M, Camera
from handgen.media.arrays import Image, Mask, Plane
from handgen.segmentation import chroma_key, forearm
from handgen.segmentation.colour_model import local_cut
from handgen.segmentation.crops import box_around

REACH_SHARE = 0.04  # of the hand's extent: how far the mask may lie outside the projected mesh
_FOREARM_M, _FOREARM_FLARE = 0.12, 2.0  # how long the forearm is, and how much wider where it ends: wrists bend
_FAR_PX, _SHIFT = 30_000, 4  # what OpenCV can draw, and with how many bits below a pixel
_AROUND_SHARE = 0.15  # of the hand's extent: where background begins
_AROUND_SIDE = 64  # pixels along the crop's longer side that are looked at for a screen
_RING_SHARE = 0.04  # of the hand's extent: about the reach, where something that is no screen is looked for
_FOREIGN_SHARE = 0.04  # of that ring: more that is neither screen nor hand, and the hand's edge is looked for
_MARGIN_SHARE = 0.2  # of the hand's extent: background around the mesh that is looked at
_HOLE_SHARE = 0.002  # of the mask: smaller holes that the mesh does not have are filled


@dataclass(frozen=True)
class Segmented:
    """A hand's mask by pixels and mesh together.

    mask: 0 and 255. iou: how well the pixels bear out the projected mesh, 0 to 1: the overlap of mesh and mask, and
    without a screen no more than the overlap of the mesh and what its own colours call hand. screen: "green", "blue",
    or "any" without a screen. arm: 255 where forearm and sleeve go on from the wrist; neither hand is part of it.
    """

    mask: Mask
    iou: float
    screen: str
    arm: Mask


@dataclass(frozen=True)
class OtherHand:
    """The other hand's projected mesh in the same crop, and whether it is the nearer one."""

    mask: Mask
    is_nearer: bool


@dataclass(frozen=True)
class MeshGuides:
    """Knowledge of a crop that the fit has, as masks of 0 and 255.

    hand: the projected mesh. forearm: the tube that `forearm_mask` gives. other: the other hand's mesh. hidden: where
    that is the nearer one, or alone. picture: where the crop shows the picture at all.
    """

    hand: Mask
    forearm: Mask
    other: Mask
    hidden: Mask
    picture: Mask

    @property
    def skin(self) -> Mask:
        """Forearm and other hand, like the hand in colour."""
        return cv2.bitwise_or(self.forearm, self.other)

    @property
    def unknown(self) -> Mask:
        """Neither this hand nor background: skin beyond the mesh, the hiding hand, and outside the picture."""
        beyond = cv2.bitwise_and(self.skin, cv2.bitwise_not(self.hand))
        return cv2.bitwise_or(cv2.bitwise_or(self.hidden, beyond), cv2.bitwise_not(self.picture))

    def within(self, box: tuple[slice, slice]) -> MeshGuides:
        """The guides of a part of the crop."""
        return MeshGuides(self.hand[box], self.forearm[box], self.other[box], self.hidden[box], self.picture[box])

    @property
    def visible(self) -> Mask:
        """The part of the projected mesh that the picture can show."""
        return cv2.bitwise_and(cv2.bitwise_and(self.hand, self.picture), cv2.bitwise_not(self.hidden))

    @property
    def visible_share(self) -> float:
        """The share of the hand in the picture that the other hand leaves visible."""
        shown = cv2.countNonZero(cv2.bitwise_and(self.hand, self.picture))
        return cv2.countNonZero(self.visible) / max(shown, 1)


def forearm_mask(
    camera: Camera, border_world: Float[np.ndarray, "border 3"], palm_world: Float[np.ndarray, " 3"]
) -> Mask:
    """Mask the forearm, which goes on from the end of the mesh: a widening tube away from the palm.

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


def segment(
    image: Image,
    guides: MeshGuides,
    extent_px: float,
    background: str = "auto",
    reach_share: float = REACH_SHARE,
    with_arm: bool = True,
) -> Segmented:
    """The mask of the hand whose mesh projects to `guides.hand`.

    extent_px: the hand's size in the crop. background: "green", "blue", "any" (anything), or "auto" to look at the
    pixels. reach_share: how far from the mesh the hand may be, in its sizes. with_arm: False leaves the arm empty.
    """
    screen = screen_around(image, guides, extent_px) if background == "auto" else background
    margin_share = _MARGIN_SHARE + reach_share if screen == "any" else _RING_SHARE + reach_share
    box = box_around(guides.hand, math.ceil(margin_share * extent_px))
    part, inside = image[box], guides.within(box)
    signed_px = signed_distance_px(inside.hand)
    reach_px = reach_share * extent_px
    agreement, foreground = 1.0, None
    if screen == "any":
        cut = local_cut(part, signed_px, inside.unknown, extent_px, reach_px)
        found, agreement = cut.mask, cut.agreement
    else:
        excess = chroma_key.excess(image, screen)
        key = chroma_key.Key.of(excess[box], signed_px, extent_px)
        foreground = _where(excess < key.half)
        found = key.foreground(part, excess[box], extent_px)
        ring = (signed_px > reach_px) & (signed_px < reach_px + _RING_SHARE * extent_px) & (inside.unknown == 0)
        foreign = cv2.countNonZero(cv2.bitwise_and(_where(ring), found))  # neither screen nor hand
        if foreign / max(int(np.count_nonzero(ring)), 1) > _FOREIGN_SHARE:
            looks = local_cut(part, signed_px, inside.unknown, extent_px, reach_px).mask
            found = cv2.bitwise_and(found, looks)
    # The forearm ends where the mesh does: beyond the wrist only pixels of the mesh itself stay.
    allowed = cv2.bitwise_and(_where(signed_px <= reach_px), cv2.bitwise_not(inside.unknown))
    mask = np.zeros_like(guides.hand)
    mask[box] = _cleaned(cv2.bitwise_and(found, allowed), inside.hand)
    overlap = min(iou(mask[box], inside.visible), agreement)
    beyond = _arm(image, guides, mask, foreground, extent_px) if with_arm else np.zeros_like(mask)
    return Segmented(mask, overlap, screen, beyond)


def screen_around(image: Image, guides: MeshGuides, extent_px: float) -> str:
    """The colour of the screen behind the hand, or "any": of pixels away from the hand and from other skin."""
    step = max(1, max(image.shape[:2]) // _AROUND_SIDE)
    some = np.s_[::step, ::step]
    away = cv2.bitwise_not(np.ascontiguousarray(guides.hand[some]))
    outside_px = cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_5) * step
    unskinned = (guides.forearm[some] == 0) & (guides.other[some] == 0) & (guides.picture[some] > 0)
    return chroma_key.screen_color(image[some], _where((outside_px > _AROUND_SHARE * extent_px) & unskinned))


def signed_distance_px(hand: Mask) -> Plane:
    """From the edge of a mask, pixels, negative inside it; the edge is halfway between two pixels.

    Two hundredths of a distance off at most, which the exact transform would take three times as long to avoid.
    """
    outside = cv2.distanceTransform(cv2.bitwise_not(hand), cv2.DIST_L2, cv2.DIST_MASK_5)
    inside = cv2.distanceTransform(hand, cv2.DIST_L2, cv2.DIST_MASK_5)
    if not hand.all() and hand.any():
        return np.asarray(np.where(hand > 0, 0.5 - inside, outside - 0.5), np.float32)
    return np.full(hand.shape, -np.inf if hand.any() else np.inf, np.float32)  # no edge in sight


def _arm(image: Image, guides: MeshGuides, mask: Mask, foreground: Mask | None, extent_px: float) -> Mask:
    """Forearm and sleeve. foreground: what is not screen, if there is one; the arm goes on in it as far as it does."""
    tube = cv2.bitwise_and(guides.forearm, cv2.bitwise_not(guides.hand))
    if not cv2.countNonZero(cv2.bitwise_and(tube, guides.picture)):
        return np.zeros_like(mask)
    other = cv2.bitwise_or(guides.other, cv2.bitwise_not(guides.picture))
    if foreground is None:
        box = box_around(tube, math.ceil(_MARGIN_SHARE * extent_px))
        foreground = np.zeros_like(mask)
        foreground[box] = forearm.in_tube(image[box], tube[box], mask[box], other[box], extent_px)
    return forearm.from_wrist(foreground, tube, mask, cv2.bitwise_or(mask, other))


def _where(condition: np.ndarray) -> Mask:
    return np.where(condition, np.uint8(255), np.uint8(0))


def iou(a: Mask, b: Mask) -> float:
    """Intersection over union of two masks; 0 if both are empty."""
    union = cv2.countNonZero(cv2.bitwise_or(a, b))
    return cv2.countNonZero(cv2.bitwise_and(a, b)) / union if union else 0.0


def guides_of(hand: Mask, forearm: Mask, picture: Mask, other: OtherHand | None = None) -> MeshGuides:
    """Guides from the projected mesh of the hand and, where it is in the crop, of the other hand.

    forearm: as `forearm_mask` gives it. picture: where the crop shows the picture.
    """
    if other is None:
        nothing = np.zeros_like(hand)
        return MeshGuides(hand, forearm, nothing, nothing, picture)
    hidden = other.mask if other.is_nearer else cv2.bitwise_and(other.mask, cv2.bitwise_not(hand))
    return MeshGuides(hand, forearm, other.mask, hidden, picture)


def _cleaned(mask: Mask, hand: Mask) -> Mask:
    """Without specks off the hand and without small holes that the mesh does not have."""
    # Most masks are whole, and contours are found in a fifth of the time that components take.
    whole = _parts_and_holes(mask)[0] <= 1
    kept = mask.copy() if whole else np.zeros_like(mask)
    parts = [] if whole else _components(mask)
    largest = max((area for _, _, area in parts), default=0)
    for box, part, area in parts:
        inside = cv2.countNonZero(cv2.bitwise_and(part, hand[box]))
        if inside > 0.3 * area and area > 0.01 * largest:
            kept[box] = cv2.bitwise_or(kept[box], part)
    small = _HOLE_SHARE * cv2.countNonZero(kept)
    outside = cv2.bitwise_not(kept)
    for box, part, area in _components(outside) if _parts_and_holes(kept)[1] else ():
        if area < small and cv2.countNonZero(cv2.bitwise_and(part, hand[box])) > 0.8 * area:
            kept[box] = cv2.bitwise_or(kept[box], part)
    return kept


def _parts_and_holes(mask: Mask) -> tuple[int, int]:
    """The number of each in a mask; parts that touch at a corner count as one."""
    contours, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    holes = int(np.count_nonzero(hierarchy[0, :, 3] >= 0)) if len(contours) else 0
    return len(contours) - holes, holes


def _components(mask: Mask) -> list[tuple[tuple[slice, slice], Mask, int]]:
    """The connected parts of a mask: where they are, their pixels there, and how many."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    parts = []
    for label, (left, top, width, height, area) in enumerate(stats[1:].tolist(), 1):
        box = slice(top, top + height), slice(left, left + width)
        parts.append((box, _where(labels[box] == label) if count > 2 else mask[box], area))
    return parts
