"""handgen's own calibration file, described by `schemas/calibration.schema.json`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from handgen.errors import HandgenError
from handgen.geometry.camera import CameraSet
from handgen.io.calibration_files.base import Calibration, make_camera, parse_json
from handgen.io.camera_json import camera_document
from handgen.storage.documents import read_json, schema_version, write_json

NAME = "handgen JSON"
SUFFIXES = (".json",)
SCHEMA = "calibration"


def recognise(path: Path, text: str) -> Path | None:
    """`path`, if it is a JSON object with a `format_version` and a list of cameras."""
    if "format_version" not in text:
        return None
    document = parse_json(path, text)
    return path if isinstance(document, dict) and isinstance(document.get("cameras"), list) else None


def read(path: Path) -> Calibration:
    """Read and validate the file."""
    document = read_json(path, SCHEMA)
    cameras = []
    for entry in document["cameras"]:
        matrix = np.array(entry["cam_from_world"], dtype=float)
        if np.abs(matrix[3] - (0, 0, 0, 1)).max() > 1e-9:
            raise HandgenError(
                f"{path}: camera {entry['name']}: the last row of cam_from_world must be 0 0 0 1; correct it"
            )
        camera = make_camera(
            str(path),
            entry["name"],
            intrinsics=entry["intrinsics"],
            distortion=entry["distortion"],
            rotation=matrix[:3, :3],
            translation=matrix[:3, 3],
            size_px=(entry["size_px"][0], entry["size_px"][1]),
            lens=entry["lens"],
        )
        cameras.append(camera)
    factor = document["metres_per_unit"]
    if factor is None:
        note = "its metres_per_unit is null"
    else:
        note = "metres" if factor == 1 else f"{factor:g} metres (from the file)"
    return Calibration(tuple(cameras), path, NAME, factor, note)


def save_calibration(path: Path, rig: CameraSet, metres_per_unit: float | None = 1.0) -> None:
    """Write `rig`, whole or not at all. metres_per_unit: 1 for a rig in metres; None if its unit is unknown."""
    document = {
        "format_version": schema_version(SCHEMA),
        "metres_per_unit": metres_per_unit,
        "cameras": [camera_document(camera) for camera in rig],
    }
    write_json(path, document, SCHEMA)
