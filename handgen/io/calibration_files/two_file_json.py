"""`intrinsic.json` + `extrinsic.json`: one set of intrinsics for every camera, made with a chessboard.

The calibration tool works at 1200x900 whatever the video's size. `extrinsic0` .. `extrinsicN-1` are lists of
one `{rvec, tvec}`, world->camera; the unit is the chessboard square, whose size the files do not say.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from handgen.errors import HandgenError
from handgen.io.calibration_files.base import Calibration, files_with, make_camera, parse_json, read_text

NAME = "two-file JSON"
SUFFIXES = (".json",)
SIZE_PX = (1200, 900)
_EXTRINSIC = re.compile(r"extrinsic(\d{1,4})")


def recognise(path: Path, text: str) -> Path | None:
    """The folder that `path` is a part of, if it is one of the two files."""
    if '"' not in text:
        return None
    return path.parent if _kind(parse_json(path, text)) else None


def _kind(document: Any) -> str | None:
    if not isinstance(document, dict):
        return None
    if "intrinsic" in document and "distortion_coefficients" in document:
        return "intrinsic"
    return "extrinsic" if any(_EXTRINSIC.fullmatch(key) for key in document) else None


def read(path: Path) -> Calibration:
    """Read both files of folder `path`."""
    documents: dict[str, tuple[Path, dict[str, Any]]] = {}
    for file in files_with(path, SUFFIXES):
        try:
            document = parse_json(file, read_text(file))
        except HandgenError:
            if file.name.lower() in ("intrinsic.json", "extrinsic.json"):
                raise
            continue
        kind = _kind(document)
        if kind and kind in documents:
            raise HandgenError(f"{file}: {documents[kind][0].name} holds the {kind}s already; remove one of them")
        if kind:
            documents[kind] = file, document
    for kind, other in (("intrinsic", "extrinsic"), ("extrinsic", "intrinsic")):
        if kind not in documents:
            raise HandgenError(f"{path / kind}.json: missing beside {documents[other][0].name}; copy it there")
    intrinsic_file, shared = documents["intrinsic"]
    file, extrinsics = documents["extrinsic"]
    found = sorted(int(match[1]) for match in map(_EXTRINSIC.fullmatch, extrinsics) if match)
    cameras = []
    for index in range(len(found)):
        entry = extrinsics.get(f"extrinsic{index}")
        if entry is None:
            raise HandgenError(
                f"{file}: extrinsic{index} is missing, though extrinsic{found[-1]} is there; calibrate that camera"
            )
        if not (isinstance(entry, list) and len(entry) == 1 and isinstance(entry[0], dict)):
            raise HandgenError(f"{file}: extrinsic{index} must be a list of one {{rvec, tvec}}; calibrate again")
        camera = make_camera(
            f"{intrinsic_file} and {file.name}",
            str(index),
            intrinsics=shared["intrinsic"],
            distortion=shared["distortion_coefficients"],
            rotation=entry[0].get("rvec"),
            translation=entry[0].get("tvec"),
            size_px=SIZE_PX,
        )
        cameras.append(camera)
    return Calibration(tuple(cameras), path, NAME, None, "chessboard squares of unknown size")
