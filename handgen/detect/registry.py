"""Detectors by name. Each is imported only when asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from handgen.detect.base import Detector
from handgen.errors import HandgenError


@dataclass(frozen=True)
class DetectorOptions:
    """What a detector may need to know.

    cameras: names, in the rig's order. keypoints_path: file or folder of keypoints made elsewhere. weights_path: of
    hand3d's network. max_hands: per view. side: the one hand that there is, if known. device: cpu or cuda, where the
    detector has a choice.
    """

    cameras: tuple[str, ...]
    keypoints_path: Path | None = None
    weights_path: Path | None = None
    max_hands: int = 2
    side: str | None = None
    device: str = "cpu"


def _mediapipe(options: DetectorOptions) -> Detector:
    from handgen.detect.mediapipe.detector import MediaPipeDetector

    return MediaPipeDetector(max_hands=options.max_hands)


def _keypoints(options: DetectorOptions) -> Detector:
    from handgen.detect.keypoint_files.detector import KeypointsDetector

    if options.keypoints_path is None:
        raise HandgenError("detector keypoints: no file given; give the file or folder that holds the keypoints")
    return KeypointsDetector(options.keypoints_path, options.cameras, side=options.side)


def _cpm(options: DetectorOptions) -> Detector:
    from handgen.detect.cpm.detector import CpmDetector

    if options.weights_path is None:
        raise HandgenError("detector cpm: no weights given; give the file of hand3d's weights")
    if options.side is None:
        raise HandgenError(
            "detector cpm: finds one hand per view and does not know which; give --hands left or --hands right"
        )
    return CpmDetector(options.weights_path, options.side, options.device)


DETECTORS: dict[str, Callable[[DetectorOptions], Detector]] = {
    "mediapipe": _mediapipe,
    "keypoints": _keypoints,
    "cpm": _cpm,
}


def create(
    name: str,
    *,
    cameras: tuple[str, ...],
    keypoints_path: Path | None = None,
    weights_path: Path | None = None,
    max_hands: int = 2,
    side: str | None = None,
    device: str = "cpu",
) -> Detector:
    """The detector called `name`; HandgenError for a name that is none. Arguments as in `DetectorOptions`."""
    if name not in DETECTORS:
        raise HandgenError(f"detector {name!r}: there is none of this name; choose one of {', '.join(DETECTORS)}")
    return DETECTORS[name](DetectorOptions(cameras, keypoints_path, weights_path, max_hands, side, device))
