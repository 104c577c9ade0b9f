"""Detectors by name. Each is imported only when asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from handgen.detect.cpm.options import CpmOptions
from handgen.detect.keypoint_files.options import KeypointFilesOptions
from handgen.plugins import NoOptions, Registry

if TYPE_CHECKING:
    from handgen.detect.base import DetectionTask, Detector

DETECTORS: Registry[Callable[[DetectionTask, Any], Detector]] = Registry("detector")


def register_detector(
    name: str, create: Callable[[DetectionTask, Any], Detector] | str, options: type = NoOptions
) -> None:
    """Add a detector, which `annotate --detector NAME` then uses.

    create: makes it of a task and an instance of `options`; or where that function is, as "module:name", so that
    nothing heavy is imported before it is needed. options: a frozen dataclass of `handgen.options.option` fields, which
    the command line shows. Paths of kind "location" are fetched where they lie in a store.
    """
    DETECTORS.register(name, create, options)


register_detector("mediapipe", "handgen.detect.mediapipe.detector:create_detector")
register_detector("keypoints", "handgen.detect.keypoint_files.detector:create_detector", KeypointFilesOptions)
register_detector("cpm", "handgen.detect.cpm.detector:create_detector", CpmOptions)


def create_detector(name: str, task: DetectionTask, options: Any = None) -> Detector:
    """The detector `name` with its own options (None: its defaults); HandgenError for what a user can fix."""
    entry = DETECTORS[name]
    return entry.load()(task, entry.options() if options is None else options)
