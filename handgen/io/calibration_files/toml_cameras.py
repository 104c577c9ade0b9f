"""Cameras as caliscope and aniposelib write them: a table of TOML each, among tables of other things."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from handgen.errors import HandgenError
from handgen.geometry.camera import Camera
from handgen.io.calibration_files.base import image_size, make_camera

IGNORED = "ignore = true"
_NEEDED = ("matrix", "rotation", "translation")
_KEYS = {*_NEEDED, "size", "distortions"}
_SURE = 3  # of these keys are a camera's, though its matrix be missing or misspelt
_NOTHING = (None, "", "null", "None", "none")  # TOML has no null; caliscope writes the word


def is_camera(table: Any) -> bool:
    """Tell whether a value of a file is a camera's table, finished or not."""
    return isinstance(table, dict) and ("matrix" in table or len(_KEYS & table.keys()) >= _SURE)


def read_cameras(path: Path, tables: Mapping[str, Any]) -> tuple[tuple[Camera, ...], dict[str, str]]:
    """Return the cameras of the tables, and of the others why they are not calibrated.

    Raises HandgenError for a bad value, or if none is calibrated.
    """
    cameras: list[Camera] = []
    others: dict[str, str] = {}
    for name, table in tables.items():
        absent = [key for key in _NEEDED if table.get(key) in _NOTHING]
        if table.get("ignore") is True:
            others[name] = IGNORED
        elif absent:
            others[name] = f"no {' and no '.join(absent)}"
        else:
            cameras.append(_camera(path, name, table))
    if not cameras and others:
        name, why = next(iter(others.items()))
        has = ", ".join(str(key)[:40] for key in list(tables[name])[:10])
        raise HandgenError(
            f"{path}: no camera is calibrated (camera {name}: {why}; it has {has}); correct the keys, or finish the "
            "calibration"
        )
    return tuple(cameras), others


def _camera(path: Path, name: str, table: Mapping[str, Any]) -> Camera:
    return make_camera(
        str(path),
        name,
        intrinsics=table["matrix"],
        distortion=table.get("distortions"),
        rotation=table["rotation"],
        translation=table["translation"],
        size_px=image_size(table.get("size"), f"{path}: camera {name}"),
        lens="fisheye" if table.get("fisheye") is True else "pinhole",
    )
