"""Ray queries against triangle meshes, by Embree."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh
from jaxtyping import Bool, Float, Int


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
        """Find the rays that hit anything nearer than `reach` lengths of their direction."""
        limit = np.full(len(directions), reach, np.float32)
        rays = _single(origins, directions), _single(directions, directions)
        return np.asarray(self._scene.run(*rays, limit, query="OCCLUDED")) >= 0


def _single(array: np.ndarray, like: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.broadcast_to(array, like.shape), dtype=np.float32)
