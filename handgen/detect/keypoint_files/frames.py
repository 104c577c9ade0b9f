"""Folders with a file per frame, and what a file may be."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from handgen.detect.keypoint_files.hands import check_frame
from handgen.errors import HandgenError

MAX_FILE_BYTES = 2**30  # of one file with all frames of a camera
SMALLER = "give the keypoints as .npz"
_NUMBER = re.compile(r"\d+")


def file_frames(folder: Path, suffix: str) -> list[tuple[int, Path]]:
    """The frame number and the file of every file `...NUMBER...SUFFIX` in a folder, by frame.

    The last number in the name counts. Raises HandgenError for names without one, and for two with the same.
    """
    found: dict[int, Path] = {}
    for file in sorted(folder.iterdir()):
        if not file.name.endswith(suffix) or file.name.startswith("."):
            continue
        numbers = _NUMBER.findall(file.name.removesuffix(suffix))
        if not numbers or len(numbers[-1]) > 18:
            raise HandgenError(f"{file}: no frame number in the name; expected NAME_000000000012{suffix}")
        frame = check_frame(int(numbers[-1]), str(file))
        if frame in found:
            raise HandgenError(f"{folder}: {found[frame].name} and {file.name} are both of frame {frame}; remove one")
        found[frame] = file
    return sorted(found.items())


def check_file(file: Path, max_bytes: int, otherwise: str) -> None:
    """Raise a HandgenError unless it is a file (no pipe) of this size at most; OSError if it is not there."""
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise HandgenError(f"{file}: not a file")
    if status.st_size > max_bytes:
        raise HandgenError(f"{file}: larger than {max_bytes >> 20} MiB; {otherwise}")
