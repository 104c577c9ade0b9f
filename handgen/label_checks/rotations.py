"""Checks of matrices that should be rotations or rigid transforms."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from handgen.geometry.rigid import is_rotation, nearest_rotation
from handgen.label_checks.evidence import Fault


def transform_fault(matrix: Float[np.ndarray, "4 4"]) -> Fault | None:
    """Find what is wrong with an `a_from_b`, 4x4; None where nothing is."""
    if not np.isfinite(matrix).all():
        return Fault("the transform holds a value that is not finite", "write numbers")
    if np.abs(matrix[3] - (0, 0, 0, 1)).max() > 1e-9:
        if np.abs(matrix[:, 3] - (0, 0, 0, 1)).max() < 1e-9:
            return Fault("the transform is transposed: its translation is in the last row", "transpose it")
        return Fault(f"the last row of the transform is {matrix[3].tolist()}", "end it in 0 0 0 1")
    return rotation_fault(matrix[:3, :3])


def rotation_fault(matrix: Float[np.ndarray, "3 3"]) -> Fault | None:
    """Find what is wrong with a rotation; None where nothing is."""
    if is_rotation(matrix):
        return None
    determinant = float(np.linalg.det(matrix))
    if is_rotation(-matrix) or (determinant < 0 and np.abs(matrix @ matrix.T - np.eye(3)).max() < 1e-3):
        fix = "negate the axis that differs (OpenGL's y and z together, never one alone), or mirror the picture too"
        return Fault(f"the rotation is a mirror (determinant {determinant:.3g})", fix)
    scale = abs(determinant) ** (1 / 3)
    if determinant > 0 and is_rotation(matrix / scale):
        return Fault(f"the rotation is scaled by {scale:.4g}", "divide it by that: scale belongs to the translation")
    off = float(np.abs(matrix - nearest_rotation(matrix)).max()) if abs(determinant) > 1e-12 else float("inf")
    fix = "write a rotation: orthonormal, determinant +1 (handgen.geometry.rigid)"
    return Fault(f"the rotation is not orthonormal (off by {off:.3g})", fix)
