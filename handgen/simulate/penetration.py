"""How deep two hands are in each other.

A point is inside a mesh if the first surface that a ray from it meets is seen from behind. The mesh of a hand is open
at the wrist, so rays run towards the fingers: one that enters through the opening would have to start in the forearm.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from handgen.raytrace import Mesh, Tracer

_NEIGHBOURS = 6  # vertices that a point's depth is measured at


def depth_m(first: Mesh, second: Mesh, second_border: Int[np.ndarray, " border"]) -> float:
    """How far the deepest vertex of `first` lies below the surface of `second`, metres; 0 if none is inside.

    second_border: the vertices around its opening at the wrist.
    """
    towards = second.vertices.mean(0) - second.vertices[second_border].mean(0)
    directions = np.broadcast_to(towards / np.linalg.norm(towards), first.vertices.shape)
    low, high = second.vertices.min(0), second.vertices.max(0)
    near = ((first.vertices > low) & (first.vertices < high)).all(1)
    if not near.any():
        return 0.0
    points, directions = first.vertices[near], directions[near]
    hits = Tracer(second).first(points, directions)
    behind = hits.found & (np.einsum("nc,nc->n", second.face_normals[hits.face], directions) > 0)
    if not behind.any():
        return 0.0
    normals = _vertex_normals(second)
    _, nearest = cKDTree(second.vertices).query(points[behind], k=_NEIGHBOURS)
    below = -np.einsum("nkc,nkc->nk", points[behind][:, None] - second.vertices[nearest], normals[nearest])
    return float(below.min(1).max().clip(min=0))


def mutual_depth_m(
    left: Mesh, right: Mesh, left_border: Int[np.ndarray, " border"], right_border: Int[np.ndarray, " border"]
) -> float:
    """The larger of both depths."""
    return max(depth_m(left, right, right_border), depth_m(right, left, left_border))


def gap_m(first: Mesh, second: Mesh) -> float:
    """The smallest distance between vertices, metres; somewhat more than that between the surfaces."""
    distance, _ = cKDTree(first.vertices).query(second.vertices)
    return float(distance.min())


def _vertex_normals(mesh: Mesh) -> Float[np.ndarray, "n 3"]:
    normals = np.zeros_like(mesh.vertices)
    for corner in range(3):
        np.add.at(normals, mesh.faces[:, corner], mesh.face_normals)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-12)
