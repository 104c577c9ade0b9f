"""Reading camera calibrations: one module per format, each recognised by its content and not by its name.

Every format is world->camera with OpenCV axes. `register_calibration_format` adds one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from handgen.errors import HandgenError
from handgen.geometry.camera import Camera
from handgen.io.calibration_files import anipose, caliscope, easymocap, handgen_json, stereo_dat, two_file_json
from handgen.io.calibration_files.base import Calibration, read_text
from handgen.plugins import Registry

_SAME = 1e-4  # relative difference of matrix elements: files are written with six digits and more
_MAX_FILES = 500  # of the formats' suffixes in one folder; a folder of keypoint files is no place to look further


class CalibrationFormat(Protocol):
    """A module, or any object, that knows one format."""

    NAME: str
    SUFFIXES: tuple[str, ...]  # of the files that `recognise` is asked about, in lower case

    def recognise(self, path: Path, text: str) -> Path | None:
        """The path to read if the file `path`, which holds `text`, belongs to this format; else None."""
        ...

    def read(self, path: Path) -> Calibration:
        """The calibration in a path that was recognised; HandgenError in one line for a bad value."""
        ...


FORMATS: Registry[CalibrationFormat] = Registry("calibration format")


def register_calibration_format(form: CalibrationFormat) -> None:
    """Add a format; a file belongs to the first one that recognises it, in the order of registration."""
    FORMATS.register(form.NAME, form)


for _form in (handgen_json, two_file_json, stereo_dat, caliscope, anipose, easymocap):
    register_calibration_format(_form)


def calibration_suffixes() -> tuple[str, ...]:
    """The suffixes of calibration files, of all formats."""
    return tuple(dict.fromkeys(suffix for name in FORMATS.names() for suffix in FORMATS[name].load().SUFFIXES))


def load_calibration(path: Path) -> Calibration:
    """Read the calibration in `path`: a file, a folder of files, or a capture directory.

    A directory is searched itself, then its `camera_parameters/` and its sub-folders called `calib...`. Raises
    HandgenError, in one line, if nothing or more than one calibration is recognised there, or for a bad value.
    """
    if not path.exists():
        raise HandgenError(f"{path}: no such file or folder; check the path of the calibration")
    if not path.is_dir() and not path.is_file():
        raise HandgenError(f"{path}: neither a file nor a folder; check the path of the calibration")
    folders = _search_folders(path) if path.is_dir() else [path]
    problems: list[str] = []
    for folder in folders:
        found: dict[tuple[Path, str], CalibrationFormat] = {}
        for file in _candidates(folder):
            try:
                text = read_text(file)
                for name in FORMATS.names():
                    form = FORMATS[name].load()
                    root = form.recognise(file, text) if file.suffix.lower() in form.SUFFIXES else None
                    if root is not None:
                        found[root, name] = form
                        break
            except HandgenError as error:
                problems.append(str(error))
        if len(found) > 1 and (richest := _richest(found)) is not None:
            return richest
        if len(found) > 1:
            names = ", ".join(f"{root} ({name})" for root, name in found)
            raise HandgenError(f"{path}: more than one calibration: {names}; choose with --calibration FILE")
        for (root, _), form in found.items():
            return form.read(root)
    formats = ", ".join(FORMATS.names())
    if problems:
        raise HandgenError(
            f"{problems[0]} (no other calibration was recognised in {path}; formats: {formats}); "
            "correct it or name one with --calibration FILE"
        )
    raise HandgenError(
        f"{path}: no calibration: none of the calibration formats was recognised ({formats}); calibrate the cameras "
        "first, and put the file beside the videos or name it with --calibration FILE"
    )


def _richest(found: Mapping[tuple[Path, str], CalibrationFormat]) -> Calibration | None:
    """The calibration with most cameras, of several that say the same (whose unit is known first); else None."""
    try:
        read = [form.read(root) for (root, _), form in found.items()]
    except HandgenError:
        return None
    best = max(
        read, key=lambda one: (len(one.cameras), one.metres_per_unit is not None, "assumed" not in one.unit_note)
    )
    others = [one for one in read if one is not best]
    for one in others:
        sure = not any(known.metres_per_unit is None or "assumed" in known.unit_note for known in (best, one))
        scale = (one.metres_per_unit or 1.0) / (best.metres_per_unit or 1.0) if sure else None
        if not all(any(_alike(camera, twin, scale) for twin in best.cameras) for camera in one.cameras):
            return None
    note = (
        f"{', '.join(one.path.name for one in others)} says the same as {best.path.name} ({best.format}), which is used"
    )
    return replace(best, notes=(*best.notes, note))


def _alike(camera: Camera, twin: Camera, scale: float | None) -> bool:
    """Whether two cameras are one. scale: units of the second in one of the first, None if that is not sure."""
    turn = camera.cam_from_world.rotation - twin.cam_from_world.rotation
    places = [one.cam_from_world.translation for one in (camera, twin)]
    lengths = [max(float(np.linalg.norm(place)), 1e-12) for place in places]
    scale = lengths[1] / lengths[0] if scale is None else scale
    return bool(
        np.allclose(camera.intrinsics, twin.intrinsics, rtol=_SAME)
        and np.abs(turn).max() < _SAME
        and np.abs(places[0] * scale - places[1]).max() < _SAME * max(lengths[1], 1e-3)
        and camera.lens == twin.lens
    )


def _search_folders(path: Path) -> list[Path]:
    children = sorted(child for child in path.iterdir() if child.is_dir())
    return [
        path,
        *(child for child in children if child.name == "camera_parameters"),
        *(child for child in children if child.name.lower().startswith("calib")),
    ]


def _candidates(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    suffixes = calibration_suffixes()
    files = sorted(
        file for file in path.iterdir() if file.suffix.lower() in suffixes and file.is_file() and file.name[0] != "."
    )
    return files[:_MAX_FILES]
