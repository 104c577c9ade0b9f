"""Reading camera calibrations: one module per format, each recognised by its content and not by its name.

Every format is world->camera with OpenCV axes. `register_calibration_format` adds one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from handgen.errors import HandgenError
from handgen.io.calibration_files import anipose, caliscope, easymocap, handgen_json, stereo_dat, two_file_json
from handgen.io.calibration_files.base import Calibration, read_text
from handgen.plugins import Registry

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
        f"{path}: none of the calibration formats was recognised ({formats}); "
        "put one beside the videos or name it with --calibration FILE"
    )


def _search_folders(path: Path) -> list[Path]:
    children = sorted(child for child in path.iterdir() if child.is_dir())
    return [
        path,
        *(child for child in children if child.name == "camera_parameters"),
        *(child for child in children if child.name.lower().startswith("calib")),
    ]


def _candidates(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    suffixes = calibration_suffixes()
    files = sorted(
        file for file in path.iterdir() if file.suffix.lower() in suffixes and file.is_file() and file.name[0] != "."
    )
    return files[:_MAX_FILES]
