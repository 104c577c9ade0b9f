"""Deterministic .npz files, and the mirror image of a hand."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
MIRROR = np.array([-1.0, 1.0, 1.0])
MIRROR_AXIS = np.array([1.0, -1.0, -1.0])  # a rotation vector is a pseudovector

VECTOR_KEYS = ("v_template", "J", "vertices")
FACE_KEYS = ("f", "faces", "faces_uv")


def save_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a compressed .npz whose bytes depend on nothing but the arrays (fixed times, order as given)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=ZIP_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, buffer.getvalue())


def mirror_hand(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The other hand: x negated, faces turned over, rotations mirrored so that angles keep their meaning."""
    mirrored = dict(arrays)
    for key in VECTOR_KEYS:
        if key in arrays:
            mirrored[key] = arrays[key] * MIRROR
    for key in FACE_KEYS:
        if key in arrays:
            mirrored[key] = arrays[key][:, ::-1]
    mirrored["shapedirs"] = arrays["shapedirs"] * MIRROR[:, None]
    if "posedirs" in arrays:
        rotation_sign = np.tile(np.outer(MIRROR, MIRROR).reshape(9), arrays["posedirs"].shape[2] // 9)
        mirrored["posedirs"] = arrays["posedirs"] * MIRROR[:, None] * rotation_sign
    if "hands_mean" in arrays:
        mirrored["hands_mean"] = arrays["hands_mean"] * np.tile(MIRROR_AXIS, 15)
        mirrored["hands_components"] = arrays["hands_components"] * np.tile(MIRROR_AXIS, 15)
    if "joint_axes" in arrays:
        mirrored["joint_axes"] = arrays["joint_axes"] * MIRROR_AXIS
    mirrored["side"] = np.array("left")
    return {key: np.where(value == 0, 0, value).astype(value.dtype) if value.dtype.kind == "f" else value
            for key, value in mirrored.items()}
