"""Filters that follow the edges of a picture."""

from __future__ import annotations

import cv2
import numpy as np

from handgen.media.arrays import Plane

_SAME_GREY = 20.0  # variance in grey levels squared: what varies less than this has no edge


def guided(values: Plane, guide: Plane, radius_px: int) -> Plane:
    """`values` averaged over windows, but not across the edges of `guide` (float32, 0 to 255).

    Source: He, Sun, Tang, "Guided Image Filtering", ECCV 2010.
    """
    window = (2 * radius_px + 1,) * 2
    mean_guide, mean = cv2.blur(guide, window), cv2.blur(values, window)
    variance = cv2.blur(cv2.multiply(guide, guide), window) - mean_guide * mean_guide
    covariance = cv2.blur(cv2.multiply(guide, values), window) - mean_guide * mean
    slope = cv2.divide(covariance, variance + np.float32(_SAME_GREY))
    offset = mean - slope * mean_guide
    return cv2.blur(slope, window) * guide + cv2.blur(offset, window)
