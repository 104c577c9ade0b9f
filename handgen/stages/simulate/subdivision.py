"""Loop subdivision of triangle meshes as a linear operator, and sums over the faces of a mesh.

Loop, "Smooth subdivision surfaces based on triangles", 1987. Everything that belongs to vertices goes through the same
operator.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int
from scipy import sparse

from handgen.geometry.meshes import Points


def face_incidence(faces: Int[np.ndarray, "faces 3"], count: int) -> sparse.csr_matrix:
    """The (count, faces) matrix that sums values of faces onto their vertices."""
    columns = np.repeat(np.arange(len(faces)), 3)
    return sparse.csr_matrix((np.ones(len(columns)), (faces.reshape(-1), columns)), (count, len(faces)))


def subdivision(faces: Int[np.ndarray, "faces 3"], count: int) -> tuple[sparse.csr_matrix, np.ndarray]:
    """One step of loop subdivision: the operator on vertex values (new, count), and the new faces."""
    halves = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), 1)
    edges, edge_of_half = np.unique(halves, axis=0, return_inverse=True)
    edge_of_half = edge_of_half.reshape(-1)
    opposite = faces[:, [2, 0, 1]].reshape(-1)
    uses = np.bincount(edge_of_half, minlength=len(edges))
    is_border = uses == 1
    adjacency, border_adjacency = _adjacency(edges, count), _adjacency(edges[is_border], count)
    valence = np.asarray(adjacency.sum(1)).reshape(-1).clip(1)
    beta = (5 / 8 - (3 / 8 + np.cos(2 * np.pi / valence) / 4) ** 2) / valence
    on_border = np.asarray(border_adjacency.sum(1)).reshape(-1) == 2
    own = np.where(on_border, 0.75, 1 - valence * beta)
    old = sparse.diags(own) + sparse.diags(np.where(on_border, 0.0, beta)) @ adjacency
    old = old + sparse.diags(np.where(on_border, 0.125, 0.0)) @ border_adjacency

    ends = np.where(is_border, 0.5, 3 / 8)
    row = np.arange(len(edges))
    shape, across = (len(edges), count), np.where(is_border, 0.0, 1 / 8)[edge_of_half]
    new = sparse.csr_matrix((np.tile(ends, 2), (np.tile(row, 2), edges.T.reshape(-1))), shape)
    new = new + sparse.csr_matrix((across, (edge_of_half, opposite)), shape)
    middle = edge_of_half.reshape(-1, 3) + count  # of sides 01, 12, 20
    a, b, c = faces.T
    ab, bc, ca = middle.T
    corners = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return sparse.vstack([old, new]).tocsr(), np.concatenate([np.stack(corner, 1) for corner in corners])


def _adjacency(edges: Int[np.ndarray, "edges 2"], count: int) -> sparse.csr_matrix:
    half = sparse.csr_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), (count, count))
    return half + half.T


def vertex_normals(faces: Int[np.ndarray, "faces 3"], vertices: Points) -> Points:
    """Return the unit normals of the vertices, by the area of the faces around them."""
    a, b, c = vertices[faces].transpose(1, 0, 2)
    normals = face_incidence(faces, len(vertices)) @ np.cross(b - a, c - a)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-12)
