"""Recognise the kind of a place by its files."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from handgen.datasets.registry import FORMATS
from handgen.errors import HandgenError
from handgen.io.calibration_files.registry import calibration_suffixes
from handgen.io.capture.camera_files import list_sources
from handgen.io.capture.capture import KIND as CAPTURE
from handgen.media.video import VIDEO_SUFFIXES
from handgen.stages.validate import exports
from handgen.stages.validate.outputs import OUTPUTS
from handgen.storage import filesystem
from handgen.storage.documents import read_json
from handgen.storage.filesystem import Location
from handgen.storage.output import MANIFEST, RUN, kind_of

CALIBRATION = "calibration"


def recognise_kind(path: Location) -> str:
    """The kind of a place: a key of `OUTPUTS`, "capture", "calibration", or the name of an export's format.

    Raises HandgenError when it is none of these.
    """
    if isinstance(path, Path) and path.is_file():
        return CALIBRATION
    kind = kind_of(path)
    if kind in OUTPUTS:
        return kind
    if kind == exports.KIND and (stated := _stated_format(path)) is not None:
        return stated
    if (export := exports.recognise_format(path)) is not None:
        return export
    names = set(filesystem.names(path)) if filesystem.is_folder(path) else set()
    has_videos = any(name.lower().endswith(VIDEO_SUFFIXES) for name in names)
    if kind == CAPTURE or "capture.json" in names or has_videos or (isinstance(path, Path) and list_sources(path)):
        return CAPTURE
    if any(name.lower().endswith(calibration_suffixes()) or name == "camera_parameters" for name in names):
        return CALIBRATION
    what = f"holds {kind}" if kind else f"no output of handgen (no {MANIFEST})"
    raise HandgenError(
        f"{path}: {what}, no capture, no calibration and no export; give one of these "
        f"(exports: {', '.join(FORMATS.names())})"
    )


def _stated_format(path: Location) -> str | None:
    """The format that an export by handgen, finished or not, says it is in."""
    for name in (RUN, MANIFEST):
        with suppress(HandgenError, KeyError, TypeError):
            document = read_json(path / name)
            stated = document["depends_on"]["configuration"]["format"] if name == RUN else document["format"]
            return stated if stated in FORMATS.names() else None
    return None


def is_unfinished_export(path: Location) -> bool:
    """Whether a run of `handgen export` has not come to its end there."""
    return kind_of(path) == exports.KIND and filesystem.size_of(path / MANIFEST) is None
