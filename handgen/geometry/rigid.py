"""Rotations and rigid transforms in numpy, named `a_from_b`.

A `Rigid` called `cam_from_world` maps world coordinates to camera coordinates; neighbouring words must match in a
product: `cam_from_hand = cam_from_world @ world_from_hand`. Those in torch: `rotations.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

ROTATION_TOLERANCE = 1e-3  # calibration files print as few as four digits


def is_rotation(matrix: np.ndarray, tolerance: float = ROTATION_TOLERANCE) -> bool:
    """Tell whether the last two axes hold finite 3x3 matrices that are orthonormal with determinant +1."""
    if matrix.shape[-2:] != (3, 3):
        return False
    if matrix.ndim == 2:  # the usual case, a few times faster in plain floats
        (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
        dots = (a * a + b * b + c * c - 1, d * d + e * e + f * f - 1, g * g + h * h + i * i - 1,
                a * d + b * e + c * f, a * g + b * h + c * i, d * g + e * h + f * i)  # fmt: skip
        determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
        return all(abs(dot) < tolerance for dot in dots) and determinant > 0  # false of a NaN
    if not np.isfinite(matrix).all():
        return False
    product = matrix @ np.swapaxes(matrix, -1, -2)
    return bool(np.abs(product - np.eye(3)).max() < tolerance and (np.linalg.det(matrix) > 0).all())


def nearest_rotation(matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """The rotation closest to `matrix` in the Frobenius norm (orthogonal Procrustes by SVD)."""
    u, _, vt = np.linalg.svd(matrix)
    return u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt


@dataclass(frozen=True)
class Rigid:
    """Rigid transforms with any leading batch axes: `x_a = rotation @ x_b + translation`.

    rotation: (*batch, 3, 3) proper rotations. translation: (*batch, 3), metres.
    """

    rotation: Float[np.ndarray, "*batch 3 3"]
    translation: Float[np.ndarray, "*batch 3"]

    def __post_init__(self) -> None:
        if self.rotation.shape[-2:] != (3, 3) or self.translation.shape != self.rotation.shape[:-1]:
            got = f"{self.rotation.shape} and {self.translation.shape}"
            raise ValueError(f"Rigid: expected (*batch, 3, 3) and (*batch, 3), got {got}")
        offset = self.translation
        finite = all(map(math.isfinite, offset.tolist())) if offset.ndim == 1 else np.isfinite(offset).all()
        if not is_rotation(self.rotation) or not finite:
            raise ValueError("Rigid: the rotation is not orthonormal with determinant +1, or a value is not finite")

    @classmethod
    def identity(cls) -> Rigid:
        """The transform that changes nothing."""
        return cls(np.eye(3), np.zeros(3))

    @classmethod
    def from_matrix(cls, matrix: Float[np.ndarray, "*batch 4 4"]) -> Rigid:
        """From homogeneous matrices, whose last row is taken to be (0, 0, 0, 1)."""
        return cls(matrix[..., :3, :3], matrix[..., :3, 3])

    def as_matrix(self) -> Float[np.ndarray, "*batch 4 4"]:
        """Return the transforms as homogeneous matrices."""
        matrix = np.zeros((*self.rotation.shape[:-2], 4, 4))
        matrix[..., :3, :3] = self.rotation
        matrix[..., :3, 3] = self.translation
        matrix[..., 3, 3] = 1.0
        return matrix

    def apply(self, points: Float[np.ndarray, "*points 3"]) -> Float[np.ndarray, "*points 3"]:
        """Map points; leading axes broadcast against the batch of an unbatched transform."""
        return points @ np.swapaxes(self.rotation, -1, -2) + self.translation

    def inverse(self) -> Rigid:
        """`b_from_a` of an `a_from_b`."""
        rotation = np.swapaxes(self.rotation, -1, -2)
        return _of_checked(rotation, -(rotation @ self.translation[..., None])[..., 0])

    def __matmul__(self, other: Rigid) -> Rigid:
        """`a_from_b @ b_from_c` is `a_from_c`."""
        translation = (self.rotation @ other.translation[..., None])[..., 0] + self.translation
        return _of_checked(self.rotation @ other.rotation, translation)


def _of_checked(rotation: np.ndarray, translation: np.ndarray) -> Rigid:
    """A transform made of others, which were checked."""
    made = object.__new__(Rigid)
    object.__setattr__(made, "rotation", rotation)
    object.__setattr__(made, "translation", translation)
    return made
