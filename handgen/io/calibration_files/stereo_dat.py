"""The folder of the OpenCV stereo tutorial: text files per camera, intrinsics in one and pose in another.

`c0.dat` has `intrinsic:` (3 rows) and `distortion:` (1 row); `rot_trans_c0.dat` has `R:` (3 rows) and `T:` (3 rows),
world->camera, of which the first block counts. The unit is the chessboard square, whose size the files do not say.
"""

from __future__ import annotations

import re
from pathlib import Path

from handgen.errors import HandgenError
from handgen.io.calibration_files.base import Calibration, files_with, make_camera, read_text

NAME = "stereo tutorial .dat"
SUFFIXES = (".dat",)
_NUMBER = re.compile(r"(\d+)(?!.*\d)")


def recognise(path: Path, text: str) -> Path | None:
    """The folder that `path` is a part of, if its text has the tutorial's headings."""
    return path.parent if _kind(text) else None


def _kind(text: str) -> str | None:
    headings = {line.strip() for line in text.splitlines()}
    if "intrinsic:" in headings:
        return "intrinsic"
    return "pose" if {"R:", "T:"} <= headings else None


def _blocks(path: Path, text: str) -> dict[str, list[list[float]]]:
    """The first block of rows under each heading."""
    blocks: dict[str, list[list[float]]] = {}
    current: list[list[float]] | None = None
    for line in text.splitlines():
        line = line.split("#")[0].strip()
        if line.endswith(":"):
            current = None if line[:-1] in blocks else blocks.setdefault(line[:-1], [])
        elif line and current is not None:
            try:
                current.append([float(word) for word in line.split()])
            except ValueError:
                raise HandgenError(f"{path}: {line[:40]!r} is not a row of numbers; calibrate again") from None
    return blocks


def read(path: Path) -> Calibration:
    """Read the `.dat` files of folder `path`."""
    files: dict[str, dict[int, Path]] = {"intrinsic": {}, "pose": {}}
    blocks: dict[Path, dict[str, list[list[float]]]] = {}
    for file in files_with(path, SUFFIXES):
        text = read_text(file)
        kind, number = _kind(text), _NUMBER.search(file.stem)
        if kind is None:
            continue
        if number is None:
            raise HandgenError(f"{file}: no camera number in the name; call it like c0.dat or rot_trans_c0.dat")
        index = int(number[1])
        if index in files[kind]:
            raise HandgenError(f"{file}: {files[kind][index].name} is for camera {index} too; remove one of them")
        files[kind][index] = file
        blocks[file] = _blocks(file, text)
    cameras = []
    for index in sorted(files["intrinsic"] | files["pose"]):
        for kind, what, example in (
            ("intrinsic", "camera matrix", f"c{index}.dat"),
            ("pose", "rotation and translation", f"rot_trans_c{index}.dat"),
        ):
            if index not in files[kind]:
                raise HandgenError(f"{path}: camera {index} has no {what} ({example}); calibrate it or copy the file")
        lens, pose = files["intrinsic"][index], files["pose"][index]
        camera = make_camera(
            f"{lens} and {pose.name}",
            f"c{index}",
            intrinsics=_rectangle(lens, blocks[lens].get("intrinsic")),
            distortion=_rectangle(lens, blocks[lens].get("distortion")),
            rotation=_rectangle(pose, blocks[pose].get("R")),
            translation=_rectangle(pose, blocks[pose].get("T")),
            size_px=None,
        )
        cameras.append(camera)
    unsized = frozenset(camera.name for camera in cameras)
    return Calibration(tuple(cameras), path, NAME, None, "chessboard squares of unknown size", unsized)


def _rectangle(path: Path, rows: list[list[float]] | None) -> list[list[float]] | None:
    if rows and len({len(row) for row in rows}) > 1:
        raise HandgenError(f"{path}: rows of different lengths; is the file truncated? calibrate again")
    return rows
