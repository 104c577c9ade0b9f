"""Hands that a detector saw in pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from handgen.hand.skeleton import KEYPOINT_COUNT


@dataclass(frozen=True)
class Detection:
    """One hand seen in one image.

    keypoints_px: (21, 2), the order of `handgen.hand.skeleton`, pixels of the (distorted) image. confidence: (21,), 0
    to 1. right: the probability that it is a right hand, the person's own, as seen in an ordinary (unmirrored) photo.
    redetected: found in a second look, where other views say that the hand is.
    """

    keypoints_px: Float[np.ndarray, "21 2"]
    confidence: Float[np.ndarray, " 21"]
    right: float
    redetected: bool = False

    def __post_init__(self) -> None:
        if self.keypoints_px.shape != (KEYPOINT_COUNT, 2) or self.confidence.shape != (KEYPOINT_COUNT,):
            raise ValueError(
                f"Detection: expected (21, 2) and (21,), got {self.keypoints_px.shape} and {self.confidence.shape}"
            )
        if not (np.isfinite(self.keypoints_px).all() and np.isfinite(self.confidence).all() and 0 <= self.right <= 1):
            raise ValueError("Detection: a value is not finite, or `right` is outside 0 to 1")


@dataclass(frozen=True)
class DetectionRecord:
    """One line of a file of detections.

    keypoints_px: (21, 2). confidence: (21,), 0 to 1. right: probability of a right hand. As
    `Detection`.
    """

    camera: str
    frame: int
    keypoints_px: Float[np.ndarray, "21 2"]
    confidence: Float[np.ndarray, " 21"]
    right: float
    redetected: bool = False
