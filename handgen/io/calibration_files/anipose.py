"""The TOML of aniposelib, freemocap and Pose2Sim: `[cam_N]` tables, world->camera, millimetres or metres.

No field says the unit. aniposelib writes millimetres and Pose2Sim metres, so the typical distance between
cameras decides: nobody films hands with cameras 20 metres, or 20 millimetres, apart.
"""

from __future__ import annotations

from pathlib import Path

from handgen.io.calibration_files.base import Calibration, median_baseline, parse_toml, read_text
from handgen.io.calibration_files.toml_cameras import is_camera, read_cameras

NAME = "anipose"
SUFFIXES = (".toml",)
MIN_BASELINE_MM = 20.0  # a median distance above it is in millimetres, below it in metres


def recognise(path: Path, text: str) -> Path | None:
    """`path`, if it has top-level tables that are cameras."""
    return path if any(map(is_camera, parse_toml(path, text).values())) else None


def read(path: Path) -> Calibration:
    """Read the file; tables of other things (`metadata`, caliscope's `capture_volume`) are left alone."""
    tables = {key: table for key, table in parse_toml(path, read_text(path)).items() if is_camera(table)}
    named = {str(table.get("name", key)): table for key, table in tables.items()}
    cameras, others = read_cameras(path, named if len(named) == len(tables) else tables)
    baseline = median_baseline(cameras)
    millimetres = baseline > MIN_BASELINE_MM
    unit = "millimetres" if millimetres else "metres"
    note = f"{unit} assumed: cameras are typically {baseline:.4g} units apart"
    return Calibration(cameras, path, NAME, 1e-3 if millimetres else 1.0, note, uncalibrated=others)
