"""Hands that a detector saw in pictures, and the lines of files of detections.

The schema `detection.schema.json` and its page in docs/schemas/ are made from `DetectionRecord`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Float

from handgen.hand.skeleton import KEYPOINT_COUNT
from handgen.storage.json_fields import Json

MAX_FRAME = 10**9  # in records and in files of keypoints and times: nobody has more, and what counts them has 32 bits


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
    """One hand seen in one image: one line of a JSONL file of detections.

    A file may hold several cameras, and several hands per camera and frame.
    """

    camera: Annotated[str, Json({"minLength": 1})]
    """The camera's name in the calibration."""
    frame: Annotated[int, Json({"minimum": 0})]
    """Number of the frame in the camera's own video, from 0 (of a folder of images: the place in natural order),
    before any frame offset or timestamp of the capture is applied."""
    keypoints_px: Annotated[Float[np.ndarray, "21 2"], Json(decimals=3)]
    """x, y of 21 keypoints in pixels of the camera's original (distorted) image; (0, 0) is the centre of the first
    pixel. Order: wrist, then thumb, index, middle, ring, pinky, each from the palm to the tip. A keypoint that was
    not seen has any finite position and confidence 0."""
    confidence: Annotated[Float[np.ndarray, " 21"], Json({"minimum": 0, "maximum": 1}, decimals=4)]
    """How sure each keypoint is, 0 (not seen) to 1; no unit."""
    right: Annotated[float, Json({"minimum": 0, "maximum": 1}, decimals=4)]
    """Probability, 0 to 1, that it is the person's own right hand as seen in an ordinary (unmirrored) photo; 0 is
    surely a left hand, 0.5 unknown."""
    again: Annotated[bool, Json(omit_default=True)] = False
    """true of a hand that was found in a second look, where other views say that it is. Absent: false."""
