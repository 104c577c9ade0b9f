"""What every detector gives and takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float, UInt8

from handgen.detect.bias import ViewBias
from handgen.hand.layout import KEYPOINT_COUNT


@dataclass(frozen=True)
class Detection:
    """One hand seen in one image.

    keypoints_px: (21, 2), the order of `handgen.hand.layout`, pixels of the (distorted) image. confidence: (21,), 0
    to 1. right: the probability that it is a right hand, the person's own, as seen in an ordinary (unmirrored) photo.
    again: found in a second look, where other views say that the hand is.
    """

    keypoints_px: Float[np.ndarray, "21 2"]
    confidence: Float[np.ndarray, " 21"]
    right: float
    again: bool = False

    def __post_init__(self) -> None:
        if self.keypoints_px.shape != (KEYPOINT_COUNT, 2) or self.confidence.shape != (KEYPOINT_COUNT,):
            raise ValueError(
                f"Detection: expected (21, 2) and (21,), got {self.keypoints_px.shape} and {self.confidence.shape}"
            )
        if not (np.isfinite(self.keypoints_px).all() and np.isfinite(self.confidence).all() and 0 <= self.right <= 1):
            raise ValueError("Detection: a value is not finite, or `right` is outside 0 to 1")


class ViewDetector(Protocol):
    """Finds hands in successive frames of one camera; it may track, so frames come in order."""

    def detect(self, image: UInt8[np.ndarray, "height width 3"], frame: int) -> list[Detection]:
        """The hands in frame number `frame` of the camera's own video, from 0 (RGB)."""
        ...

    def detect_near(
        self, image: UInt8[np.ndarray, "height width 3"], keypoints_px: Float[np.ndarray, "21 2"], right: float
    ) -> Detection | None:
        """The hand that is about where `keypoints_px` are, if there is one; what was tracked is not touched.

        right: the probability that the hand looked for is a right one.
        """
        ...


class Detector(Protocol):
    """A detector for a whole rig."""

    name: str
    # Where this detector puts each keypoint relative to the model's, metres, in the rest-pose axes of the right hand
    # model's carrier joint (`layout.KEYPOINT_CARRIERS`), for a hand of mean size; zeros if it aims at the model's own.
    offsets_m: Float[np.ndarray, "21 3"]
    # How offsets and noise depend on the side that a keypoint is seen from; None where that is not known.
    view_bias: ViewBias | None
    # Whether `detect` looks at the image at all (a detector that reads files does not).
    needs_images: bool

    def fingerprint(self) -> str:
        """A digest of what decides the detections besides the images: the networks, or the file that is read."""
        ...

    def start(self, camera: str) -> ViewDetector:
        """Begin a new run of consecutive frames of one camera, with no memory of earlier ones."""
        ...
