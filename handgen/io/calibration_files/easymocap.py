"""EasyMocap's `intri.yml` + `extri.yml`, world->camera, metres.

They are OpenCV FileStorage YAML. Only the part of it that these files use is parsed here (a list of names,
matrices and whole numbers), so that nothing in a foreign file reaches a general YAML or C++ parser.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from handgen.errors import HandgenError
from handgen.geometry.camera import Camera
from handgen.io.calibration_files.base import Calibration, files_with, image_size, make_camera, read_text

NAME = "EasyMocap"
SUFFIXES = (".yml", ".yaml")
_MATRIX = re.compile(
    r'^"?(?P<key>\w[^\n:"]*)"?:[ ]*!!opencv-matrix\s+rows:\s*(?P<rows>\d{1,4})\s+cols:\s*(?P<cols>\d{1,4})\s+'
    r'dt:\s*"?\w+"?\s+data:\s*\[(?P<data>[^\]]{0,4000})\]',
    re.MULTILINE,
)
_SPECIAL = {".nan": "nan", ".inf": "inf", "-.inf": "-inf"}
_INTEGER = re.compile(r"^([HW]_[^\n:]*):[ ]*(\d{1,5})[ ]*$", re.MULTILINE)
_NAMES = re.compile(r"^names:[ ]*(\[[^\]]{0,4000}\]|(?:\n[ ]*-[^\n]*)+)", re.MULTILINE)
_NAME = re.compile(r'"([^"\n]*)"|([^\s,\[\]"-][^\s,\[\]"]*)')


def recognise(path: Path, text: str) -> Path | None:
    """The folder that `path` is a part of, if it has OpenCV matrices called K_, R_, Rot_ or T_."""
    return path.parent if _kind(text) else None


def _kind(text: str) -> str | None:
    keys = [match["key"] for match in _MATRIX.finditer(text)]
    if any(key.startswith("K_") for key in keys):
        return "intri"
    return "extri" if any(key.startswith(("R_", "Rot_", "T_")) for key in keys) else None


def _values(path: Path, text: str) -> dict[str, Any]:
    values: dict[str, Any] = {key: int(number) for key, number in _INTEGER.findall(text)}
    for match in _MATRIX.finditer(text):
        rows, cols = int(match["rows"]), int(match["cols"])
        try:
            words = [word.strip().lower() for word in match["data"].split(",")]
            row = [float(_SPECIAL.get(word, word)) for word in words if word]
        except ValueError:
            raise HandgenError(f"{path}: {match['key']} is not a list of numbers; calibrate again") from None
        if len(row) != rows * cols:
            raise HandgenError(f"{path}: {match['key']} says {rows}x{cols} but has {len(row)} numbers; calibrate again")
        values[match["key"]] = [row[i * cols : (i + 1) * cols] for i in range(rows)]
    return values


def read(path: Path) -> Calibration:
    """Read both files of folder `path`."""
    files: dict[str, tuple[Path, str]] = {}
    for file in files_with(path, SUFFIXES):
        text = read_text(file)
        kind = _kind(text)
        if kind and kind in files:
            raise HandgenError(f"{file}: {files[kind][0].name} is another {kind}.yml; remove one of them")
        if kind:
            files[kind] = file, text
    for kind, other in (("intri", "extri"), ("extri", "intri")):
        if kind not in files:
            raise HandgenError(f"{path / kind}.yml: missing beside {files[other][0].name}; copy it there")
    (intri, intri_text), (extri, extri_text) = files["intri"], files["extri"]
    lens, pose = _values(intri, intri_text), _values(extri, extri_text)
    names = _names(intri_text) or _names(extri_text) or [key[2:] for key in lens if key.startswith("K_")]
    cameras: list[Camera] = []
    unsized = set()
    for name in names:
        for file, values, keys in (
            (intri, lens, (f"K_{name}",)),
            (extri, pose, (f"R_{name}", f"Rot_{name}")),
            (extri, pose, (f"T_{name}",)),
        ):
            if not any(key in values for key in keys):
                raise HandgenError(f"{file}: camera {name}: {keys[0]} is missing; calibrate that camera or unlist it")
        size = None
        if f"W_{name}" in lens and f"H_{name}" in lens:
            size = image_size([lens[f"W_{name}"], lens[f"H_{name}"]], f"{intri}: camera {name}")
        else:
            unsized.add(name)
        camera = make_camera(
            f"{intri} and {extri.name}",
            name,
            intrinsics=lens[f"K_{name}"],
            distortion=lens.get(f"dist_{name}", lens.get(f"D_{name}")),
            rotation=pose.get(f"R_{name}", pose.get(f"Rot_{name}")),
            translation=pose[f"T_{name}"],
            size_px=size,
        )
        cameras.append(camera)
    return Calibration(tuple(cameras), path, NAME, 1.0, "metres (EasyMocap)", frozenset(unsized))


def _names(text: str) -> list[str]:
    match = _NAMES.search(text)
    return [quoted or plain for quoted, plain in _NAME.findall(match[1])] if match else []
