"""Forearm and sleeve in a crop: what goes on from the hand's wrist, for composites that keep it."""

from __future__ import annotations

import cv2
import numpy as np

from handgen.media.arrays import Image, Mask
from handgen.segmentation.guided_filter import guided

_SOLVE_SIDE_PX = 64  # GrabCut's cost grows with the area; its edge is drawn to the picture's at full size
_ITERATIONS = 2
_CORE_SHARE = 0.03  # of the hand's extent: deeper in the tube is arm, as a first guess
_RIM_SHARE = 0.1  # of the hand's extent: around the tube, where a sleeve may be that must not teach the background


def from_wrist(found: Mask, tube: Mask, hand: Mask, taken: Mask) -> Mask:
    """The parts of `found` that begin in the forearm's tube at the hand.

    tube: beyond the end of the mesh. hand: the hand's mask. taken: what is no arm, the hand included.
    """
    rest = cv2.bitwise_and(found, cv2.bitwise_not(taken))
    rest = cv2.morphologyEx(rest, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))  # no rims of half a pixel along fingers
    count, labels = cv2.connectedComponents(rest, connectivity=4)
    at_wrist = cv2.bitwise_and(cv2.bitwise_and(cv2.dilate(hand, np.ones((5, 5), np.uint8)), tube), rest)
    keep = np.zeros(count, np.uint8)
    keep[labels[at_wrist > 0]] = 255
    return keep[labels]


def in_tube(image: Image, tube: Mask, hand: Mask, other: Mask, extent_px: float) -> Mask:
    """Find the arm in the forearm's tube by GrabCut (Rother et al., SIGGRAPH 2004).

    Skin and sleeve differ, so the foreground is a mixture: the hand's colours, and those within the tube.

    other: what is neither hand nor arm, the outside of the picture included. extent_px: the hand's size.
    """
    height, width = tube.shape
    scale = min(1.0, _SOLVE_SIDE_PX / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    arm, skin, ignore_mask = (cv2.resize(m, size, interpolation=cv2.INTER_NEAREST) for m in (tube, hand, other))
    depth_px = cv2.distanceTransform(arm, cv2.DIST_L2, cv2.DIST_MASK_5)
    away_px = cv2.distanceTransform(cv2.bitwise_not(arm), cv2.DIST_L2, cv2.DIST_MASK_5)
    labels = np.full(arm.shape, cv2.GC_BGD, np.uint8)
    labels[away_px < _RIM_SHARE * extent_px * scale] = cv2.GC_PR_BGD
    labels[depth_px > _CORE_SHARE * extent_px * scale] = cv2.GC_PR_FGD
    labels[skin > 0] = cv2.GC_FGD
    labels[ignore_mask > 0] = cv2.GC_BGD
    foreground = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    if min(np.count_nonzero(foreground), np.count_nonzero(~foreground)) < 16:
        return tube  # too little of either to learn their colours
    cv2.setRNGSeed(0)  # GrabCut seeds its colour clusters from OpenCV's only generator
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(small, labels, (0, 0, 0, 0), *models, _ITERATIONS, cv2.GC_INIT_WITH_MASK)
    sign = np.where((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD), np.float32(1), np.float32(-1))
    sign = cv2.resize(sign, (width, height), interpolation=cv2.INTER_LINEAR)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    sharp = guided(sign, grey, max(2, round(1.2 / scale)))
    return cv2.bitwise_and(np.where(sharp > 0, np.uint8(255), np.uint8(0)), tube)
