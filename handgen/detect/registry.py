"""Detectors by name, and the options that they bring. Each is imported only when asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from handgen.options import REQUIRED, check_options, option
from handgen.plugins import NoOptions, Registry

if TYPE_CHECKING:
    from handgen.detect.base import DetectionTask, Detector

DETECTORS: Registry[Callable[[DetectionTask, Any], Detector]] = Registry("detector")


@dataclass(frozen=True, kw_only=True)
class KeypointFilesOptions:
    """The place of the keypoints. These decide the output, and the detector's fingerprint says that."""

    keypoints: str = option(
        REQUIRED,
        "files of handgen, OpenPose, MMPose or DeepLabCut, one file or folder per camera, or the detections/ of an "
        "earlier run; see docs/keypoints.md.",
        kind="location",
        metavar="PATH",
        decides_output=False,
    )
    keypoints_of: str = option(
        "auto",
        "what made them: mediapipe, openpose, or the model's own joints; auto: as the files say, else the model's.",
        choices=("auto", "mediapipe", "openpose", "model"),
        decides_output=False,  # the offsets that it stands for do
    )

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, kw_only=True)
class CpmOptions:
    """The place of the network. Its weights decide the output, and the detector's fingerprint says that."""

    weights: str = option(
        REQUIRED,
        "hand3d's network, posenet3d-rhd-stb-slr-finetuned.pickle.",
        kind="file",
        metavar="FILE",
        decides_output=False,
    )


def register_detector(
    name: str, create: Callable[[DetectionTask, Any], Detector] | str, options: type = NoOptions
) -> None:
    """Add a detector, which `annotate --detector NAME` then uses.

    create: makes it of a task and an instance of `options`; or where that function is, as "module:name": nothing heavy
    is imported before it is needed. options: a frozen dataclass of `handgen.options.option` fields, shown by the
    command line; paths of kind "location" are fetched where they lie in a store.
    """
    DETECTORS.register(name, create, options)


register_detector("mediapipe", "handgen.detect.mediapipe.detector:create_detector")
register_detector("keypoints", "handgen.detect.keypoint_files.detector:create_detector", KeypointFilesOptions)
register_detector("cpm", "handgen.detect.cpm.detector:create_detector", CpmOptions)


def create_detector(name: str, task: DetectionTask, options: Any = None) -> Detector:
    """The detector `name` with its own options (None: its defaults); HandgenError for what a user can fix."""
    entry = DETECTORS[name]
    return entry.load()(task, entry.options() if options is None else options)
