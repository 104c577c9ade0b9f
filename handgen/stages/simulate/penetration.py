"""Measure how deep two hands are in each other, how near they are, and whether a hand passes through itself.

A point is inside a closed mesh if the first surface that a ray from it meets is seen from behind. The mesh of a hand is
open at the wrist, so rays run towards the fingers: one that enters through it would have to start in the forearm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from handgen.geometry.meshes import Mesh, Points, Tracer
from handgen.hand.model import HandModel
from handgen.hand.skeleton import FINGER_JOINTS

_NEAREST_FACES = 16  # by their centres, among which the face nearest to a point is
_FACE_REACH_M = 0.008  # of a hand's faces about their centres, more than enough
_ROOT_M = 0.008  # of a finger, which belongs to the palm and to its neighbours as well
_ANY_DIRECTION = np.array([0.36, 0.48, 0.80])  # of rays in a closed mesh
_PAST_M = 1e-5  # a surface that was hit


def mutual_depth_m(
    left: Mesh, right: Mesh, left_border: Int[np.ndarray, " border"], right_border: Int[np.ndarray, " border"]
) -> float:
    """The larger of both depths."""
    return max(depth_m(left, right, right_border), depth_m(right, left, left_border))


def depth_m(first: Mesh, second: Mesh, second_border: Int[np.ndarray, " border"]) -> float:
    """Measure how far the deepest vertex or face centre of `first` is below the surface of `second`, metres, or 0.

    second_border: the vertices around its opening at the wrist.
    """
    points = np.concatenate([first.vertices, first.vertices[first.faces].mean(1)])
    low, high = second.vertices.min(0), second.vertices.max(0)
    points = points[((points > low) & (points < high)).all(1)]
    if not len(points):
        return 0.0
    towards = second.vertices.mean(0) - second.vertices[second_border].mean(0)
    points = points[_inside(points, second, towards)]
    return float(distance_m(points, second).max()) if len(points) else 0.0


def gap_m(first: Mesh, second: Mesh) -> float:
    """The smallest distance from a vertex of one mesh to the surface of the other, metres; inside counts as well."""
    gaps = []
    for mine, other in ((second, first), (first, second)):
        distance, _ = cKDTree(other.vertices).query(mine.vertices)
        gaps.append(distance_m(mine.vertices[distance < distance.min() + _FACE_REACH_M], other).min())
    return float(min(gaps))


def distance_m(points: Points, mesh: Mesh) -> Float[np.ndarray, " n"]:
    """From each point to the surface, metres, exact near the surface: to the nearest of some faces about the point."""
    triangles = mesh.vertices[mesh.faces]
    count = min(_NEAREST_FACES, len(triangles))
    _, nearest = cKDTree(triangles.mean(1)).query(points, k=count)
    corners, normals = triangles[nearest], mesh.face_normals[nearest]  # (n, faces, corner, 3), (n, faces, 3)
    above = np.ones(nearest.shape, bool)
    to_edges = np.full(nearest.shape, np.inf)
    for i in range(3):
        start, edge = corners[:, :, i], corners[:, :, (i + 1) % 3] - corners[:, :, i]
        offset = points[:, None] - start
        along = ((offset * edge).sum(-1) / (edge * edge).sum(-1).clip(1e-18)).clip(0, 1)
        to_edges = np.minimum(to_edges, np.linalg.norm(offset - along[..., None] * edge, axis=-1))
        above &= (np.cross(edge, offset) * normals).sum(-1) >= 0
    to_plane = np.abs(((points[:, None] - corners[:, :, 0]) * normals).sum(-1))
    return np.where(above, to_plane, to_edges).min(1)


def _inside(points: Points, mesh: Mesh, direction: Float[np.ndarray, " 3"]) -> Bool[np.ndarray, " n"]:
    """Find which points are inside, by rays along `direction`, which must not leave through an opening."""
    directions = np.broadcast_to(direction / np.linalg.norm(direction), points.shape)
    hits = Tracer(mesh).first(points, directions)
    return hits.found & (np.einsum("nc,nc->n", mesh.face_normals[hits.face], directions) > 0)


@dataclass(frozen=True)
class SelfProbe:
    """Finds hands that pass through themselves.

    hand: the model's faces. faces: these, and lids where the forearm and each finger could be cut off. probes: the
    vertices of the fingers' outer bones. bounds: of which faces a probe must not be inside: all but its finger's.
    """

    hand: Int[np.ndarray, "hand 3"]
    faces: Int[np.ndarray, "faces 3"]
    probes: Int[np.ndarray, " probes"]
    bounds: Bool[np.ndarray, "probes faces"]

    @classmethod
    def of(cls, model: HandModel) -> SelfProbe:
        """For the meshes of one model. A vertex belongs to the joint that carries most of it."""
        carrier, template = model.weights.argmax(1).cpu().numpy(), model.template.cpu().numpy()
        faces, bounds_of, probes = [model.faces], [], []
        for joints in FINGER_JOINTS.values():
            kept = ~np.isin(carrier[model.faces], joints).all(1)
            lids = _lids(model.faces[kept])
            outer = np.flatnonzero(np.isin(carrier, joints[1:]))
            # Where the finger grows out of the rest they cannot be told apart.
            rest = Mesh(template, np.concatenate([model.faces[kept], lids]))
            outer = outer[distance_m(template[outer], rest) > _ROOT_M]
            bounds_of.append(np.concatenate([np.flatnonzero(kept), np.arange(len(lids)) + sum(map(len, faces))]))
            faces.append(lids)
            probes.append(outer)
        bounds = np.zeros((len(FINGER_JOINTS), sum(map(len, faces))), bool)
        for i, mine in enumerate(bounds_of):
            bounds[i, mine] = True
        bounds = np.repeat(bounds, list(map(len, probes)), axis=0)
        return cls(model.faces, np.concatenate(faces), np.concatenate(probes), bounds)

    def passes(self, vertices: Float[np.ndarray, "778 3"], tolerance_m: float) -> bool:
        """Tell whether a finger is in another finger or the palm by more than about `tolerance_m` on either side.

        A vertex that is moved under its own skin by the tolerance is in another part only if both overlap there.
        """
        points = (vertices - tolerance_m * _vertex_normals(Mesh(vertices, self.hand)))[self.probes]
        mesh = Mesh(vertices, self.faces)
        tracer, alive, inside = Tracer(mesh), np.arange(len(points)), np.zeros(len(points), int)
        while len(alive):  # a ray leaves everything that it is in, and enters and leaves the rest
            directions = np.broadcast_to(_ANY_DIRECTION, (len(alive), 3))
            hits = tracer.first(points[alive], directions)
            alive, face, distance = alive[hits.found], hits.face[hits.found], hits.distance[hits.found]
            leaves = np.sign(mesh.face_normals[face] @ _ANY_DIRECTION).astype(int)
            inside[alive] += leaves * self.bounds[alive, face]
            points[alive] += (distance + _PAST_M)[:, None] * _ANY_DIRECTION
        return bool((inside > 0).any())


def _lids(faces: Int[np.ndarray, "faces 3"]) -> Int[np.ndarray, "lids 3"]:
    """Fans that close all holes of a mesh, seen from outside like the rest of it."""
    edges = np.concatenate([faces[:, pair] for pair in ((0, 1), (1, 2), (2, 0))])
    known = {(int(a), int(b)) for a, b in edges}
    after = {b: a for a, b in sorted(known) if (b, a) not in known}  # round a hole the other way than its faces
    lids = []
    while after:
        start, second = next(iter(after.items()))
        loop = [start]
        while second != start:
            loop.append(second)
            second = after.pop(second)
        after.pop(start)
        lids += [(start, b, c) for b, c in zip(loop[1:], loop[2:], strict=False)]
    return np.array(lids, dtype=faces.dtype).reshape(-1, 3)


def _vertex_normals(mesh: Mesh) -> Points:
    normals = np.zeros_like(mesh.vertices)
    for corner in range(3):
        np.add.at(normals, mesh.faces[:, corner], mesh.face_normals)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-12)
