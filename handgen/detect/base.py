"""The interface of every detector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from jaxtyping import Float

from handgen.detect.view_bias import ViewBias
from handgen.media.arrays import Image
from handgen.records.detection import Detection


@dataclass(frozen=True)
class CameraFrames:
    """A camera's own frames. stems: the pictures' names without suffixes, in their order; none of a video."""

    count: int
    stems: tuple[str, ...] = ()


@dataclass(frozen=True)
class DetectionTask:
    """A stage's instructions for a detector that it makes.

    cameras: names, in the rig's order. max_hands: per view. side: the one hand that there is, if that is known. device:
    cpu or cuda, where the detector has a choice. frames: what is known of each camera's own frames, by camera.
    """

    cameras: tuple[str, ...]
    max_hands: int = 2
    side: str | None = None
    device: str = "cpu"
    frames: Mapping[str, CameraFrames] = field(default_factory=dict)


class ViewDetector(Protocol):
    """Finds hands in successive frames of one camera; it may track, so frames come in order."""

    def detect(self, image: Image, frame: int) -> list[Detection]:
        """The hands in frame number `frame` of the camera's own video, from 0 (RGB)."""
        ...

    def detect_near(self, image: Image, keypoints_px: Float[np.ndarray, "21 2"], right: float) -> Detection | None:
        """The hand about where `keypoints_px` are; tracking is not touched. right: the probability of a right one."""
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
    # What a user should know of what it found before any picture was looked at, such as what its files lack.
    notes: tuple[str, ...]

    def fingerprint(self) -> str:
        """A digest of what decides the detections besides the images: the networks, or the file that is read."""
        ...

    def start(self, camera: str) -> ViewDetector:
        """Begin a new run of consecutive frames of one camera, with no memory of earlier ones."""
        ...
