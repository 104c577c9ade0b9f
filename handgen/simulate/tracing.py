"""Ray queries against triangle meshes, by Embree."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh
from jaxtyping import Bool, Float, Int
from scipy.interpolate import RectBivariateSpline

from handgen.cameras import Camera

_GRID_PX = 8  # between the points at which a lens is inverted
SUBPIXELS = (
    (-0.25, -0.25),
    (0.25, -0.25),
    (-0.25, 0.25),
    (0.25, 0.25),
)  # x, y; where edge pixels are sampled


@dataclass(frozen=True)
class Mesh:
    """Triangles in the world, metres."""

    vertices: Float[np.ndarray, "n 3"]
    faces: Int[np.ndarray, "faces 3"]

    @cached_property
    def face_normals(self) -> Float[np.ndarray, "faces 3"]:
        """Unit normals."""
        a, b, c = self.vertices[self.faces].transpose(1, 0, 2)
        normals = np.cross(b - a, c - a)
        return normals / np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-12)


@dataclass(frozen=True)
class Hits:
    """First hits of rays.

    found: which rays hit; the other fields are 0 for the rest. barycentric: weights of the face's corners.
    distance: in lengths of the rays' directions.
    """

    found: Bool[np.ndarray, " rays"]
    face: Int[np.ndarray, " rays"]
    barycentric: Float[np.ndarray, "rays 3"]
    distance: Float[np.ndarray, " rays"]


class Tracer:
    """Ray queries against one mesh."""

    def __init__(self, mesh: Mesh) -> None:
        self._scene = rtcore_scene.EmbreeScene()
        self._mesh = TriangleMesh(self._scene, mesh.vertices[mesh.faces].astype(np.float32))

    def first(self, origins: Float[np.ndarray, "#rays 3"], directions: Float[np.ndarray, "rays 3"]) -> Hits:
        """The nearest hit of each ray."""
        out = self._scene.run(_single(origins, directions), _single(directions, directions), output=True)
        found = out["primID"] >= 0
        u, v = np.where(found, out["u"], 0.0).astype(float), np.where(found, out["v"], 0.0).astype(float)
        distance = np.where(found, out["tfar"], 0.0).astype(float)
        return Hits(found, np.where(found, out["primID"], 0), np.stack([1 - u - v, u, v], -1), distance)

    def blocked(
        self, origins: Float[np.ndarray, "#rays 3"], directions: Float[np.ndarray, "rays 3"], reach: float
    ) -> Bool[np.ndarray, " rays"]:
        """Which rays hit anything nearer than `reach` lengths of their direction."""
        limit = np.full(len(directions), reach, np.float32)
        rays = _single(origins, directions), _single(directions, directions)
        return np.asarray(self._scene.run(*rays, limit, query="OCCLUDED")) >= 0


def _single(array: np.ndarray, like: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.broadcast_to(array, like.shape), dtype=np.float32)


class PixelRays:
    """The rays of one camera's (distorted) pixels, computed once.

    origin: the optical centre, metres. The lens is inverted on a coarse grid and interpolated by cubic
    splines, which for a polynomial lens is exact to far below a thousandth of a pixel.
    """

    def __init__(self, camera: Camera) -> None:
        width, height = camera.size_px
        columns, rows = (
            np.arange(-_GRID_PX, width + 2 * _GRID_PX, _GRID_PX),
            np.arange(-_GRID_PX, height + 2 * _GRID_PX, _GRID_PX),
        )
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
        self,
        rows: Int[np.ndarray, " n"],
        columns: Int[np.ndarray, " n"],
        shift_px: tuple[float, float] = (0.0, 0.0),
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
