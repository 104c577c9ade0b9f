"""The TOML of aniposelib, freemocap and Pose2Sim: `[cam_N]` tables, world->camera, millimetres or metres.

No field says the unit. aniposelib writes millimetres and Pose2Sim metres, so the typical distance between
cameras decides: nobody films hands with cameras 20 metres, or 20 millimetres, apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from handgen.io.calibration_files.base import Calibration, camera_of_table, median_baseline, parse_toml, read_text

NAME = "anipose"
SUFFIXES = (".toml",)
MIN_BASELINE_MM = 20.0  # a median distance above it is in millimetres, below it in metres


def recognise(path: Path, text: str) -> Path | None:
    """`path`, if it has top-level tables with a matrix, a rotation and a translation."""
    return path if any(_is_camera(table) for table in parse_toml(path, text).values()) else None


def _is_camera(table: Any) -> bool:
    return isinstance(table, dict) and "matrix" in table and ("rotation" in table or "translation" in table)


def read(path: Path) -> Calibration:
    """Read the file."""
    tables = parse_toml(path, read_text(path)).items()
    cameras = [
        camera_of_table(path, str(table.get("name", key)), table)
        for key, table in tables
        if key != "metadata" and isinstance(table, dict)
    ]
    baseline = median_baseline(cameras) if cameras else 0.0
    millimetres = baseline > MIN_BASELINE_MM
    unit = "millimetres" if millimetres else "metres"
    note = f"{unit} assumed: cameras are typically {baseline:.4g} units apart"
    return Calibration(tuple(cameras), path, NAME, 1e-3 if millimetres else 1.0, note)
