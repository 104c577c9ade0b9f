"""Triangle meshes: ray queries, by Embree, and masks of projected triangles.

A pixel is in a mask when its centre is in the union of the triangles. Method: every triangle is turned to wind the same
way, its edges are cut by the pixel rows, and a running sum of the signed cuts along a row counts the triangles over
each pixel (the non-zero winding rule). Overlaps thus leave no holes, and an edge shared by two triangles leaves no
crack, since both cut it at the same number.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh
from jaxtyping import Bool, Float, Int, UInt8

Points = Float[np.ndarray, "n 3"]


@dataclass(frozen=True)
class Mesh:
    """Triangles in the world, metres."""

    vertices: Points
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

    found: which rays hit; the other fields are 0 for the rest. barycentric: weights of the face's corners. distance: in
    lengths of directions.
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
        """Find the rays that hit anything nearer than `reach` lengths of their direction."""
        limit = np.full(len(directions), reach, np.float32)
        rays = _single(origins, directions), _single(directions, directions)
        return np.asarray(self._scene.run(*rays, limit, query="OCCLUDED")) >= 0


def _single(array: np.ndarray, like: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.broadcast_to(array, like.shape), dtype=np.float32)


def mesh_mask(
    vertices_px: Float[np.ndarray, "n 2"], faces: Int[np.ndarray, "faces 3"], size_px: tuple[int, int]
) -> UInt8[np.ndarray, "height width"]:
    """The silhouette of a projected mesh: 255 inside the union of its triangles, 0 elsewhere.

    Triangles may overlap, wind either way and reach outside; those with a non-finite vertex are left out.

    vertices_px: projected vertices, pixels. size_px: width, height of the mask.
    Raises ValueError when the vertices are not (n, 2) or the faces not (f, 3).
    """
    if vertices_px.ndim != 2 or vertices_px.shape[1] != 2 or faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"mesh_mask: expected (n, 2) and (f, 3), got {vertices_px.shape} and {faces.shape}")
    width, height = size_px
    finite = np.isfinite(vertices_px).all(1)
    if not finite.all():
        faces = faces[finite[faces].all(1)]
        vertices_px = np.where(finite[:, None], vertices_px, 0.0)
    if not len(faces):
        return np.zeros((height, width), np.uint8)
    a, b, c = vertices_px[faces].transpose(1, 2, 0)  # each (2, faces): x, y
    turns = np.where((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) > 0, 1, -1)

    start = faces.T.reshape(-1)
    end = faces.T[[1, 2, 0]].reshape(-1)
    x, y = vertices_px[:, 0], vertices_px[:, 1]
    downward = y[start] <= y[end]
    top, bottom = np.where(downward, start, end), np.where(downward, end, start)
    sign = np.where(downward, -1, 1) * np.tile(turns, 3)

    row_of_vertex = np.ceil(y.clip(-1, height + 1)).clip(0, height).astype(np.int64)
    first, last = row_of_vertex[top], row_of_vertex[bottom]  # rows first .. last - 1 cut the edge
    crossing = np.flatnonzero(last > first)
    top, bottom, first, sign = top[crossing], bottom[crossing], first[crossing], sign[crossing]
    rows_per_edge = last[crossing] - first
    edge = np.repeat(np.arange(len(crossing)), rows_per_edge)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(rows_per_edge) - rows_per_edge - first, rows_per_edge)
    slope = (x[bottom] - x[top]) / (y[bottom] - y[top])
    cut = x[top][edge] + slope[edge] * (row - y[top][edge])
    column = np.ceil(cut.clip(-1, width + 1)).clip(0, width).astype(np.int64)

    steps = np.bincount(row * (width + 1) + column, weights=sign[edge], minlength=height * (width + 1))
    layers = np.cumsum(steps.reshape(height, width + 1)[:, :width], axis=1, dtype=np.float32)
    return np.where(layers != 0, np.uint8(255), np.uint8(0))
