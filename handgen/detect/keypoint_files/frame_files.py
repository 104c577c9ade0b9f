"""Folders with a file per frame: which frame each is of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from handgen.detect.base import CameraFrames
from handgen.detect.keypoint_files.hands import check_frame
from handgen.errors import HandgenError
from handgen.media.image_folder import frame_numbers, natural_key

_MAX_DIGITS = 18


def file_frames(folder: Path, suffix: str, frames: CameraFrames | None = None) -> list[tuple[int, Path]]:
    """Return number and path of the file of each frame, rising; HandgenError if it is unclear.

    suffix: of the files, in small letters. frames: the camera's. A file is of the picture that has its name, else of
    the one that has its number; of a video it is the frame of its number, from 0, or from 1 where the last number would
    be one frame too many. Files of pictures that are not there are left out.
    """
    files = sorted(
        (file for file in folder.iterdir() if file.name.lower().endswith(suffix) and not file.name.startswith(".")),
        key=lambda file: (natural_key(file.name), file.name),
    )
    stems = [file.name[: -len(suffix)] for file in files]
    places = {stem: place for place, stem in enumerate(frames.stems)} if frames else {}
    for spelling in (stems, [stem.rpartition("_")[0] for stem in stems]):  # Pose2Sim adds a number to a picture's name
        if 2 * sum(stem in places for stem in spelling) >= min(len(files), len(places)) > 0:
            return _once(folder, [places.get(stem) for stem in spelling], files)
    numbers = _numbers(stems, files, suffix)
    counts_pictures = _picture_places(numbers, frames.stems) if frames else None
    if counts_pictures is not None:
        return _once(folder, counts_pictures, files)
    one = int(frames is not None and bool(numbers) and min(numbers) > 0 and max(numbers) == frames.count)
    return _once(folder, [number - one for number in numbers], files)


def _numbers(stems: Sequence[str], files: Sequence[Path], suffix: str) -> list[int]:
    """The number in each name that tells them apart, else the last one."""
    found = frame_numbers(stems) if stems else None
    if found is not None:
        return [check_frame(number, str(file)) for number, file in zip(found.tolist(), files, strict=True)]
    numbers = []
    for stem, file in zip(stems, files, strict=True):
        digits = re.findall(r"\d+", stem)
        if not digits or len(digits[-1]) > _MAX_DIGITS:
            raise HandgenError(f"{file}: no frame number in the name; expected NAME_000000000012{suffix}")
        numbers.append(check_frame(int(digits[-1]), str(file)))
    return numbers


def _picture_places(numbers: Sequence[int], stems: Sequence[str]) -> list[int | None] | None:
    """The picture of each number; None if the numbers fit the pictures' order better than their names."""
    pictures = frame_numbers(stems) if stems else None
    if pictures is None:
        return None
    places = {number: place for place, number in enumerate(pictures.tolist())}
    if sum(number in places for number in numbers) < sum(number < len(stems) for number in numbers):
        return None
    return [places.get(number) for number in numbers]


def _once(folder: Path, frames: Sequence[int | None], files: Sequence[Path]) -> list[tuple[int, Path]]:
    found: dict[int, Path] = {}
    for frame, file in zip(frames, files, strict=True):
        if frame is None:
            continue
        if frame in found:
            raise HandgenError(f"{folder}: {found[frame].name} and {file.name} are both of frame {frame}; remove one")
        found[frame] = file
    return sorted(found.items())
