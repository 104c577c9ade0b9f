"""Measure how blurred the outline of a hand is in a picture: by focus, motion, and the pixels themselves.

The picture's brightness is followed along short lines across the mask's edge. Behind a blur of sigma a sharp edge
rises as Phi(x / sigma), from 20 % to 80 % of its height within 2 * 0.8416 sigma. That is read off each line, and the
median taken: lines that meet shadows or things behind the hand are a minority. Brightness alone, since video stores
colour at half the resolution. Blur that is wide against the lines is measured again in the picture at half size.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from handgen.media.arrays import Image, Mask
from handgen.segmentation.matting import MAX_BLUR_PX, MIN_BLUR_PX

_REACH_PX, _STEP_PX = 5.0, 0.5  # of a line to either side of the edge, and between its samples
_OFFSETS_PX = np.arange(-_REACH_PX, _REACH_PX + _STEP_PX / 2, _STEP_PX, dtype=np.float32)  # outwards
_ENDS = 3  # samples of either end that are hand and background alone
_CLEAR_PX = 1.5  # the mask may err by this
_LINES, _LEAST_LINES = 250, 12
_LEAST_STEP = 25.0  # grey levels between hand and background
_FROM_20_TO_80 = 2 * 0.8416  # sigmas
_LINEAR_VARIANCE = 1 / 6  # px^2 that linear interpolation blurs by, averaged over positions: 2 * E[t (1 - t)] / 2
_WIDE_PX = 1.8  # at the size of measurement: the ends of the lines are hardly hand and background alone


def measured_blur_px(image: Image, mask: Mask) -> float | None:
    """Sigma of the blur along the mask's edge, pixels (0.3 to 8), as `handgen.segmentation.matting.Edge` takes it.

    None where fewer than a dozen places tell: a tiny hand, or one as bright as what is behind it.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    blur_px = None
    for scale in (1, 2, 4, 8):
        profiles = _profiles(grey, mask)
        if len(profiles) >= _LEAST_LINES:
            variance = np.median(_rise_px(profiles) / _FROM_20_TO_80) ** 2 - _LINEAR_VARIANCE
            # A pixel is the mean over scale^2 of the picture's, of which one is part of the blur.
            found = float(np.sqrt(max(variance * scale**2 - (scale**2 - 1) / 12, 0.0)))
            # What was too wide at twice the size to be seen at all is wide here, or it is no blur.
            credible = scale == 1 or blur_px is not None or found >= _WIDE_PX * scale / 2
            blur_px = found if credible else None
            if found < _WIDE_PX * scale:
                break
        size = (grey.shape[1] // 2, grey.shape[0] // 2)
        if min(size) < 4 * _REACH_PX:
            break
        grey, mask = (cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in (grey, mask))
        mask = cv2.threshold(mask, 127, 255, cv2.THRESH_BINARY)[1]
    return None if blur_px is None else float(np.clip(blur_px, MIN_BLUR_PX, MAX_BLUR_PX))


def _profiles(grey: Mask, mask: Mask) -> Float[np.ndarray, "lines samples"]:
    """Brightness on lines across the edge from the hand (1) to the background (0), where they differ enough."""
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    none = np.zeros((0, len(_OFFSETS_PX)), np.float32)
    if not contours:
        return none
    points = np.concatenate(contours)[:, 0]
    points = points[:: max(1, len(points) // _LINES)]
    height, width = mask.shape
    inner = (points > 0).all(1) & (points < (width - 1, height - 1)).all(1)
    x, y = points[inner].T
    soft = cv2.GaussianBlur(mask, (0, 0), 2.0).astype(np.float32)
    slope = np.stack([soft[y, x - 1] - soft[y, x + 1], soft[y - 1, x] - soft[y + 1, x]])
    slope /= np.maximum(np.hypot(*slope), 1e-6)
    columns, rows = (start[:, None] + d[:, None] * _OFFSETS_PX for start, d in zip((x, y), slope, strict=True))
    columns, rows = columns.astype(np.float32), rows.astype(np.float32)
    if not len(columns):
        return none
    inside = cv2.remap(mask, columns, rows, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT) > 0
    seen = (columns >= 0) & (columns <= width - 1) & (rows >= 0) & (rows <= height - 1)
    alone = seen.all(1) & inside[:, _OFFSETS_PX < -_CLEAR_PX].all(1) & ~inside[:, _OFFSETS_PX > _CLEAR_PX].any(1)
    if not alone.any():
        return none
    levels = cv2.remap(grey, columns[alone], rows[alone], cv2.INTER_LINEAR).astype(np.float32)
    hand, behind = levels[:, :_ENDS].mean(1), levels[:, -_ENDS:].mean(1)
    clear = np.abs(hand - behind) >= _LEAST_STEP
    hand, behind, levels = hand[clear, None], behind[clear, None], levels[clear]
    return (levels - behind) / (hand - behind)


def _rise_px(profiles: Float[np.ndarray, "lines samples"]) -> Float[np.ndarray, " lines"]:
    """Way from where each line falls below 80 % to where it falls below 20 %, both nearest to the edge."""
    places = []
    for level in (0.2, 0.8):
        falls = (profiles[:, :-1] > level) & (profiles[:, 1:] <= level)
        first = np.where(falls, np.abs(_OFFSETS_PX[:-1]), np.inf).argmin(1)
        line = np.arange(len(profiles))
        before, after = profiles[line, first], profiles[line, first + 1]
        share = ((before - level) / np.maximum(before - after, 1e-6)).clip(0, 1)
        places.append(_OFFSETS_PX[first] + share * _STEP_PX)
    return np.abs(places[0] - places[1])
