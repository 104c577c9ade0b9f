"""Measure whether a picture bears out a hand's mask: by its colours, and by edges where the mesh has its outline.

The overlap of mask and mesh does not say that: guided by a mesh that is somewhere else, local colours still make a mask
that fills it (in a real room three of four meshes that were put 6 to 20 cm beside the hand overlap by 0.7).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from handgen.media.arrays import Image, Mask
from handgen.segmentation.segment import MeshGuides

_INNER, _GAP, _AROUND = (
    0.01,
    0.05,
    0.22,
)  # of the hand's extent: what is surely hand, and from where to where background
_OUTLINE = 0.012  # of the hand's extent: half the width of the mesh's outline
_SMOOTH = 0.006  # of the hand's extent: scale of an edge
_BITS = (4, 3, 3)  # of L, a and b (8 bit) that are dropped
_FEWEST = 20  # pixels
_EXTENT_PX = 128.0  # larger hands are looked at smaller: colours and outlines stay, time does not
_FLAT = 0.3  # levels of grey per pixel: noise, which is no edge to compare with


@dataclass(frozen=True)
class MaskEvidence:
    """Figures by which a picture speaks for a mask.

    colour_overlap: Bhattacharyya coefficient of the colours inside and around the mask, 0 (others) to 1 (the same).
    background_share: share of the mask's pixels whose colour is more usual around it than in it. edge_support: gradient
    on the mesh's outline (median) in that of the whole neighbourhood; 1 says nothing.
    """

    colour_overlap: float
    background_share: float
    edge_support: float


NOTHING_SAID = MaskEvidence(1.0, 1.0, 0.0)


def mask_evidence(image: Image, mask: Mask, guides: MeshGuides, extent_px: float) -> MaskEvidence:
    """Judge the mask of a hand in a crop, whose mesh projects to `guides.hand`.

    extent_px: the hand's size in the crop. Skin beyond the mesh counts neither as hand nor as background.
    """
    skin = cv2.bitwise_or(guides.unknown, guides.forearm)
    if extent_px > _EXTENT_PX:
        scale = _EXTENT_PX / extent_px
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        mask, mesh, skin = (
            cv2.resize(one, image.shape[1::-1], interpolation=cv2.INTER_NEAREST) for one in (mask, guides.hand, skin)
        )
        extent_px = _EXTENT_PX
    else:
        mesh = guides.hand
    known = cv2.bitwise_not(skin)
    away_px = _distance_px(cv2.bitwise_or(mask, mesh))
    around = _where((away_px > _GAP * extent_px) & (away_px < _AROUND * extent_px))
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    colours = _colours(cv2.GaussianBlur(lab, (3, 3), 0))
    inside = colours[cv2.erode(mask, _disc(_INNER * extent_px)) > 0]
    outside = colours[cv2.bitwise_and(around, known) > 0]
    if len(inside) < _FEWEST or len(outside) < _FEWEST:
        return NOTHING_SAID
    count = 1 << (24 - sum(_BITS))
    hand, background = (np.bincount(some, minlength=count) / len(some) for some in (inside, outside))
    outline = cv2.morphologyEx(mesh, cv2.MORPH_GRADIENT, _disc(_OUTLINE * extent_px))
    gradient = _gradient(lab, max(1.0, _SMOOTH * extent_px))
    seen = _where(_distance_px(skin) > 2 * _OUTLINE * extent_px)
    on = gradient[cv2.bitwise_and(outline, seen) > 0]
    near = gradient[(_distance_px(mesh) < _AROUND * extent_px) & (seen > 0)]
    edges = float(np.median(on)) / max(float(np.median(near)), _FLAT) if len(on) >= _FEWEST else 0.0
    return MaskEvidence(
        colour_overlap=float(np.sqrt(hand * background).sum()),
        background_share=float((background[inside] >= hand[inside]).mean()),
        edge_support=edges,
    )


def _colours(lab: Image) -> np.ndarray:
    """Numbers of coarse colours."""
    lightness, a, b = (lab[..., i].astype(np.int32) >> bits for i, bits in enumerate(_BITS))
    return (lightness << 16 - _BITS[1] - _BITS[2]) | (a << 8 - _BITS[2]) | b


def _gradient(lab: Image, sigma_px: float) -> Float[np.ndarray, "height width"]:
    """Length of the colour's gradient, levels per pixel."""
    smooth = cv2.GaussianBlur(lab.astype(np.float32), (0, 0), sigma_px)
    along = [cv2.Sobel(smooth, cv2.CV_32F, *direction, scale=1 / 8) for direction in ((1, 0), (0, 1))]
    return np.sqrt(sum((part**2).sum(-1) for part in along))


def _distance_px(mask: Mask) -> Float[np.ndarray, "height width"]:
    """Distance of every pixel from a mask; large where the mask is empty."""
    return cv2.distanceTransform(cv2.bitwise_not(mask), cv2.DIST_L2, cv2.DIST_MASK_5)


def _where(condition: np.ndarray) -> Mask:
    return np.where(condition, np.uint8(255), np.uint8(0))


def _disc(radius_px: float) -> np.ndarray:
    side = 2 * max(1, int(radius_px)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
