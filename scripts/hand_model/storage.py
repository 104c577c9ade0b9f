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
            np.lib.format.write_array(buffer, np.array(array, order="C"), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=ZIP_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, buffer.getvalue())


def mirror_hand(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The other hand: x negated, faces turned over, rotations mirrored so that angles keep their meaning."""
    signs = {key: MIRROR for key in VECTOR_KEYS} | {
        "shapedirs": MIRROR[:, None],
        "shapedirs_extra": MIRROR[:, None],
        # Entry (a, b) of a rotation matrix changes sign with both of its axes.
        "posedirs": MIRROR[:, None] * np.tile(np.outer(MIRROR, MIRROR).reshape(9), 15),
        "hands_mean": np.tile(MIRROR_AXIS, 15),
        "hands_components": np.tile(MIRROR_AXIS, 15),
        "joint_axes": MIRROR_AXIS,
    }
    mirrored = dict(arrays) | {"side": np.array("left")}
    for key, array in arrays.items():
        if key in signs:
            mirrored[key] = (array * signs[key] + 0.0).astype(array.dtype)  # + 0.0 turns -0 into 0
        elif key in FACE_KEYS:
            mirrored[key] = array[:, ::-1]
    return mirrored
