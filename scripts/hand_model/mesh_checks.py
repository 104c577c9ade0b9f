"""Soundness of a hand mesh: closing it at the wrist, its volume, and where its skin passes through itself."""

from __future__ import annotations

import numpy as np
import trimesh
from scipy.spatial import cKDTree

OUTWARDS_M = 5e-5  # a vertex is probed this far outside its own skin


def border_loop(faces: np.ndarray) -> list[int]:
    """The vertices of the one hole of a mesh, in order along its faces."""
    edges = {(face[k], face[(k + 1) % 3]) for face in faces.tolist() for k in range(3)}
    following = {a: b for a, b in edges if (b, a) not in edges}
    loop = [min(following)]
    while following[loop[-1]] != loop[0]:
        loop.append(following[loop[-1]])
    if len(loop) != len(following):
        raise ValueError(f"the mesh has more than one hole: {len(following)} border edges, {len(loop)} in the first")
    return loop


def capped(vertices: np.ndarray, faces: np.ndarray) -> trimesh.Trimesh:
    """The mesh closed over the wrist by a fan."""
    loop = border_loop(faces)
    centre = len(vertices)
    fan = [[b, a, centre] for a, b in zip(loop, loop[1:] + loop[:1], strict=True)]
    return trimesh.Trimesh(
        np.vstack([vertices, vertices[loop].mean(0)]), np.vstack([faces.astype(int), fan]), process=False
    )


def volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Enclosed volume with the wrist closed, cubic metres."""
    return float(capped(vertices, faces).volume)


def winding_numbers(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """How often a closed mesh of triangles (m, 3, 3) encloses each point (n, 3).

    Van Oosterom, Strackee, "The solid angle of a plane triangle", IEEE Trans. Biomed. Eng. 30(2), 1983.
    """
    a, b, c = (triangles[None, :, k] - points[:, None] for k in range(3))
    la, lb, lc = (np.linalg.norm(side, axis=-1) for side in (a, b, c))
    above = np.einsum("nmk,nmk->nm", a, np.cross(b, c))
    below = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
    return np.arctan2(above, below).sum(1) / (2 * np.pi)


def crossing_pairs(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Pairs (k, 2) of faces without a common vertex of which an edge of one properly crosses the other."""
    corner = vertices[faces]
    centres = corner.mean(1)
    radii = np.linalg.norm(corner - centres[:, None], axis=2).max(1)
    pairs = cKDTree(centres).query_pairs(2 * radii.max(), output_type="ndarray")
    near = np.linalg.norm(centres[pairs[:, 0]] - centres[pairs[:, 1]], axis=1) < radii[pairs].sum(1)
    pairs = pairs[near]
    low, high = corner.min(1), corner.max(1)
    pairs = pairs[(low[pairs[:, 0]] < high[pairs[:, 1]]).all(1) & (low[pairs[:, 1]] < high[pairs[:, 0]]).all(1)]
    apart = ~(faces[pairs[:, 0]][:, :, None] == faces[pairs[:, 1]][:, None, :]).any((1, 2))
    pairs = pairs[apart]
    crosses = np.zeros(len(pairs), bool)
    for first, second in ((0, 1), (1, 0)):
        target = corner[pairs[:, second]]
        for k in range(3):
            start, end = corner[pairs[:, first], k], corner[pairs[:, first], (k + 1) % 3]
            crosses |= _segments_cross(start, end, target)
    return pairs[crosses]


def _segments_cross(start: np.ndarray, end: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Whether each segment passes through the inside of its triangle, by signed volumes."""

    def side(p: np.ndarray, q: np.ndarray, r: np.ndarray, s: np.ndarray) -> np.ndarray:
        return np.sign(np.einsum("nk,nk->n", np.cross(q - p, r - p), s - p))

    a, b, c = triangles.transpose(1, 0, 2)
    through_plane = side(a, b, c, start) * side(a, b, c, end) < 0
    turns = [side(start, end, p, q) for p, q in ((a, b), (b, c), (c, a))]
    return through_plane & (turns[0] == turns[1]) & (turns[1] == turns[2]) & (turns[0] != 0)


def depths_inside(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """How deep each vertex lies under other skin of the same hand, metres, 0 outside.

    Inside is what the closed mesh encloses when the point is moved a little out of its own skin; depth is the
    distance to the nearest face that the vertex is not a corner of: an upper bound.
    """
    mesh = capped(vertices, faces)
    n = len(vertices)
    probes = vertices + OUTWARDS_M * np.asarray(mesh.vertex_normals)[:n]
    inside = np.flatnonzero(winding_numbers(probes, mesh.triangles) > 0.5)
    depths = np.zeros(n)
    if not len(inside):
        return depths
    for v in inside:
        other = faces[~(faces == v).any(1)]
        closest = trimesh.triangles.closest_point(vertices[other], np.tile(vertices[v], (len(other), 1)))
        depths[v] = np.linalg.norm(closest - vertices[v], axis=1).min()
    return depths
