"""caliscope's `camera_array.toml`: `[cameras.N]` tables, world->camera, metres."""

from __future__ import annotations

from pathlib import Path

from handgen.errors import HandgenError
from handgen.io.calibration_files.base import Calibration, parse_toml, read_text
from handgen.io.calibration_files.toml_cameras import is_camera, read_cameras

NAME = "caliscope"
SUFFIXES = (".toml",)


def recognise(path: Path, text: str) -> Path | None:
    """`path`, if it has a `cameras` table of tables that are cameras."""
    tables = parse_toml(path, text).get("cameras")
    return path if isinstance(tables, dict) and any(map(is_camera, tables.values())) else None


def read(path: Path) -> Calibration:
    """Read the file; cameras that are not calibrated, or marked `ignore`, are named as such."""
    tables = parse_toml(path, read_text(path))["cameras"]
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise HandgenError(f"{path}: camera {name}: must be a table of values; calibrate again")
    cameras, others = read_cameras(path, tables)
    return Calibration(cameras, path, NAME, 1.0, "metres (caliscope)", uncalibrated=others)
