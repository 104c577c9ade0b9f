"""caliscope's `camera_array.toml`: `[cameras.N]` tables, world->camera, metres."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from handgen.errors import HandgenError
from handgen.io.calibration_files.base import Calibration, camera_of_table, parse_toml, read_text

NAME = "caliscope"
SUFFIXES = (".toml",)


def recognise(path: Path, text: str) -> Path | None:
    """`path`, if it has a `cameras` table of tables with a camera matrix."""
    tables = parse_toml(path, text).get("cameras")
    return path if isinstance(tables, dict) and any(_is_camera(table) for table in tables.values()) else None


def _is_camera(table: Any) -> bool:
    return isinstance(table, dict) and "matrix" in table and "size" in table


def read(path: Path) -> Calibration:
    """Read the file; cameras marked `ignore` are left out."""
    cameras = []
    for name, table in parse_toml(path, read_text(path))["cameras"].items():
        if not isinstance(table, dict):
            raise HandgenError(f"{path}: camera {name}: must be a table of values; calibrate again")
        if table.get("ignore") is True:
            continue
        if "rotation" not in table or "translation" not in table:
            raise HandgenError(
                f"{path}: camera {name} has no rotation and translation; finish the extrinsic calibration, "
                "or set ignore = true and remove its video"
            )
        cameras.append(camera_of_table(path, name, table))
    return Calibration(tuple(cameras), path, NAME, 1.0, "metres (caliscope)")
