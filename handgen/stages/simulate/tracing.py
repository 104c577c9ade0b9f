"""The rays of a camera's pixels, and where among them to look twice."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, Int
from scipy.interpolate import RectBivariateSpline

from handgen.geometry.camera import Camera

_GRID_PX = 8  # between the points at which a lens is inverted
SUBPIXELS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))  # x, y; where edge pixels are sampled


class PixelRays:
    """The rays of one camera's (distorted) pixels, computed once.

    origin: the optical centre, metres. The lens is inverted on a coarse grid and interpolated by cubic
    splines, which for a polynomial lens is exact to far below a thousandth of a pixel.
    """

    def __init__(self, camera: Camera) -> None:
        width, height = camera.size_px
        columns, rows = (np.arange(-_GRID_PX, side + 2 * _GRID_PX, _GRID_PX) for side in (width, height))
        grid = np.stack(np.meshgrid(columns, rows), -1).astype(float)
        ideal, _ = camera.undistort(grid)
        fine = [
            RectBivariateSpline(rows, columns, ideal[..., axis])(np.arange(height + 1), np.arange(width + 1))
            for axis in (0, 1)
        ]
        homogeneous = np.stack([*fine, np.ones_like(fine[0])], -1)
        directions = homogeneous @ np.linalg.inv(camera.intrinsics).T @ camera.cam_from_world.rotation
        self._field = directions.astype(np.float32)
        self.origin = camera.center_world

    def all(self) -> Float[np.ndarray, "pixels 3"]:
        """Unit directions of all pixels, row by row, world frame."""
        return _unit(self._field[:-1, :-1].reshape(-1, 3))

    def at(
        self, rows: Int[np.ndarray, " n"], columns: Int[np.ndarray, " n"], shift_px: tuple[float, float] = (0.0, 0.0)
    ) -> Float[np.ndarray, "n 3"]:
        """Unit directions of some pixels, or of points `shift_px` (x, y, below one pixel) from them."""
        direction = self._field[rows, columns]
        if any(shift_px):
            right = self._field[rows, columns + 1] - direction
            down = self._field[rows + 1, columns] - direction
            direction = direction + shift_px[0] * right + shift_px[1] * down
        return _unit(direction)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.sqrt((vectors * vectors).sum(-1, keepdims=True))


def local_range(values: np.ndarray) -> np.ndarray:
    """Largest minus smallest value in each 3x3 neighbourhood."""
    box = np.ones((3, 3), np.uint8)
    return cv2.dilate(values, box) - cv2.erode(values, box)
