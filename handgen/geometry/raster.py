"""Projected triangles -> masks.

Pixel centres are at integers, as everywhere (`handgen.geometry.camera`): a pixel is in the mask when its centre
is in the union of the triangles. Method: every triangle is turned to wind the same way, its edges are
cut by the pixel rows, and a running sum of the signed cuts along a row counts the triangles over each
pixel (the non-zero winding rule). Overlaps thus leave no holes, and an edge shared by two triangles
leaves no crack, since both cut it at the same number.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, UInt8


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
