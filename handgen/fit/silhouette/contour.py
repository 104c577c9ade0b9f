"""The silhouette's edge of a posed mesh: which of its edges a camera sees, and what each matches of a mask's edge.

An edge is on a contour when one of its two faces turns to the camera and the other away. Most contours lie before
other parts of the hand (a finger before the palm): those are no silhouette. What tells them apart is the mesh's own
mask. The number of front faces over each pixel follows from the contour edges alone, since every other edge is shared
by two front faces and its signed cuts cancel (the winding rule of `handgen.geometry.meshes`, on a tenth of the edges).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Int8

from handgen.fit.silhouette.mask_edges import MaskEdges

LOOK_PX = 1.5  # how far outside an edge nothing of the hand may be, for the edge to be seen
_MIN_AGREEMENT = 0.3  # cosine between the normals of the mask's edge and the mesh's: less is the edge's other side
_NORMAL_PX = 6.0  # a contour edge whose normal is at a right angle to a point's seems farther by this, in squares


@dataclass(frozen=True)
class ContourEdges:
    """The visible contour edges of `views` pictures of posed meshes, padded; pixels.

    ends: vertex ids. places: of the two ends. normals: away from the hand. valid: false for padding. at_end: where
    the mesh ends at the wrist: there the arm goes on, or somebody cut the mask.
    """

    ends: Int[np.ndarray, "views edges 2"]
    places: Float[np.ndarray, "views edges 2 2"]
    normals: Float[np.ndarray, "views edges 2"]
    valid: Bool[np.ndarray, "views edges"]
    at_end: Bool[np.ndarray, "views edges"]


class MeshContour:
    """Finds the visible contour of one mesh's poses. The mesh is closed at the wrist by a lid, so that it has one."""

    def __init__(self, faces: Int[np.ndarray, "faces 3"], border: Int[np.ndarray, " border"]) -> None:
        """border: the vertices around the opening."""
        self._faces = np.concatenate([faces, _lid(faces)])
        half_edges = np.concatenate([self._faces[:, pair] for pair in ((0, 1), (1, 2), (2, 0))])
        owner = np.tile(np.arange(len(self._faces)), 3)
        third = np.concatenate([self._faces[:, k] for k in (2, 0, 1)])
        _, edge, count = np.unique(np.sort(half_edges, 1), axis=0, return_inverse=True, return_counts=True)
        pairs = np.argsort(edge.reshape(-1), kind="stable")
        pairs = pairs[count[edge.reshape(-1)[pairs]] == 2].reshape(-1, 2)  # the two half edges of each edge
        self._ends = half_edges[pairs[:, 0]]  # in the direction of the first face
        self._sides = owner[pairs]
        self._third = third[pairs[:, 0]]
        first, second = self._ends.T
        self._at_end = np.isin(first, border) | np.isin(second, border)

    def visible(self, vertices_px: Float[np.ndarray, "views n 2"], size_px: tuple[int, int]) -> ContourEdges:
        """Contour edges with nothing of the hand outside them. size_px: width, height; edges beyond are left out."""
        views = len(vertices_px)
        x, y = vertices_px[..., 0], vertices_px[..., 1]
        a, b, c = self._faces.T
        along_x, along_y = x[:, b] - x[:, a], y[:, b] - y[:, a]
        front = along_x * (y[:, c] - y[:, a]) > along_y * (x[:, c] - x[:, a])
        view, edge = np.nonzero(front[:, self._sides[:, 0]] != front[:, self._sides[:, 1]])
        forward = front[view, self._sides[edge, 0]]
        start, end = np.where(forward[:, None], self._ends[edge], self._ends[edge, ::-1]).T
        places = vertices_px[view[:, None], np.stack([start, end], 1)]
        layers = _layers(view, places, views, size_px)

        direction = places[:, 1] - places[:, 0]
        length = np.linalg.norm(direction, axis=1)
        # Front faces wind from x to y, so the hand lies on that side of an edge that goes with its front face.
        normals = np.stack([direction[:, 1], -direction[:, 0]], 1) / length.clip(min=1e-9)[:, None]
        outside = np.rint(places.mean(1) + LOOK_PX * normals)
        inside = ((outside >= 0) & (outside < size_px)).all(1)
        column, row = np.where(inside[:, None], outside, 0).astype(np.int64).T
        kept = np.flatnonzero(inside & (layers[view, row, column] == 0) & (length > 1e-6))

        view = view[kept]
        count = np.bincount(view, minlength=views)
        place = np.arange(len(view)) - np.repeat(np.cumsum(count) - count, count)
        most = max(int(count.max(initial=0)), 1)

        def padded(array: np.ndarray) -> np.ndarray:
            result = np.zeros((views, most, *array.shape[1:]), array.dtype)
            result[view, place] = array[kept]
            return result

        arrays = (np.stack([start, end], 1), places, normals, np.ones(len(edge), bool), self._at_end[edge])
        return ContourEdges(*map(padded, arrays))


def _lid(faces: Int[np.ndarray, "faces 3"]) -> Int[np.ndarray, "lid 3"]:
    """A fan of faces over the opening, wound like the others."""
    half_edges = np.concatenate([faces[:, pair] for pair in ((0, 1), (1, 2), (2, 0))])
    _, edge, count = np.unique(np.sort(half_edges, 1), axis=0, return_inverse=True, return_counts=True)
    rim = half_edges[np.isin(edge.reshape(-1), np.flatnonzero(count == 1))]
    center = rim[:1, 0]
    rim = rim[~np.isin(rim, center).any(1)]
    return np.stack([rim[:, 1], rim[:, 0], np.broadcast_to(center, len(rim)) if len(rim) else rim[:, 0]], 1)


def _layers(
    view: Int[np.ndarray, " edges"], places: Float[np.ndarray, "edges 2 2"], views: int, size_px: tuple[int, int]
) -> Int8[np.ndarray, "views height width"]:
    """Count the front faces over each pixel's centre, from edges that go with their front face."""
    width, height = size_px
    downward = places[:, 0, 1] <= places[:, 1, 1]
    x, y = np.where(downward[:, None, None], places, places[:, ::-1]).transpose(2, 1, 0)  # each (2, edges): top, bottom
    first, last = np.ceil(y.clip(-1, height + 1)).clip(0, height).astype(np.int64)  # rows first .. last - 1 are cut
    rows = last - first
    edge = np.repeat(np.arange(len(rows)), rows)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(rows) - rows - first, rows)
    slope = (x[1] - x[0]) / np.where(rows > 0, y[1] - y[0], 1.0)
    cut = x[0][edge] + slope[edge] * (row - y[0][edge])
    column = np.ceil(cut.clip(-1, width + 1)).clip(0, width).astype(np.int64)
    steps = np.zeros((views, height, width + 1), np.int8)  # no hand is folded into more than 127 layers
    place = (view[edge] * height + row) * (width + 1) + column
    np.add.at(steps.reshape(-1), place, np.where(downward, -1, 1).astype(np.int8)[edge])
    return np.cumsum(steps, axis=2, dtype=np.int8)[..., :width]


@dataclass(frozen=True)
class Matches:
    """Matches of `views` masks in rows: first one per contour edge that looks its distance up, then one per mask point.

    ends: vertex ids of the row's contour edge. share: where between them. normals, offset: of the mask points' rows;
    a point lies `offset - normal . pixel` outside the line through that place. weight: zero says nothing.
    """

    ends: Int[np.ndarray, "views rows 2"]
    share: Float[np.ndarray, "views rows"]
    normals: Float[np.ndarray, "views points 2"]
    offset: Float[np.ndarray, "views points"]
    weight: Float[np.ndarray, "views rows"]


def match(contour: ContourEdges, edges: MaskEdges, independent: float) -> Matches:
    """Both ways; each way has half of a view's information, `independent` points, less what says nothing."""
    views = np.arange(len(edges.points))[:, None]
    edge_weight = independent / 2 * _shares(contour, edges)
    # Edges that say nothing go last and, as far as all views have some, are left out.
    most = max(int((edge_weight > 0).sum(1).max(initial=0)), 1)
    used = np.argsort(edge_weight == 0, axis=1, kind="stable")[:, :most]
    edge_weight = edge_weight[views, used]
    nearest, share, says = _nearest(contour, edges)
    normals = contour.normals[views, nearest]
    return Matches(
        ends=np.concatenate([contour.ends[views, used], contour.ends[views, nearest]], 1),
        share=np.concatenate([np.full(edge_weight.shape, 0.5), share], 1),
        normals=normals,
        offset=(normals * edges.points).sum(-1),
        weight=np.concatenate([edge_weight, independent / 2 / says.shape[1] * says], 1),
    )


def _shares(contour: ContourEdges, edges: MaskEdges) -> Float[np.ndarray, "views edges"]:
    """Shares of the visible contour's length, for edges whose middle can look up a distance that means something."""
    _, height, width = edges.distance.shape
    views = np.arange(len(edges.points))[:, None]
    middle = np.rint(contour.places.mean(2))
    inside = ((middle >= 0) & (middle < (width, height))).all(-1)
    column, row = np.where(inside[..., None], middle, 0).astype(np.int64).transpose(2, 0, 1)
    slope = _slope_at(edges.distance, views, row, column)
    agrees = (slope * contour.normals).sum(-1) > _MIN_AGREEMENT
    length = np.linalg.norm(contour.places[:, :, 1] - contour.places[:, :, 0], axis=-1) * contour.valid
    used = inside & edges.reliable[views, row, column] & agrees & ~contour.at_end
    return used * length / length.sum(1, keepdims=True).clip(min=1e-9)


def _nearest(
    contour: ContourEdges, edges: MaskEdges
) -> tuple[Int[np.ndarray, "views points"], Float[np.ndarray, "views points"], Bool[np.ndarray, "views points"]]:
    """For each mask point, the nearest visible edge whose normal is alike, where along it, and whether it counts."""
    views = np.arange(len(edges.points))[:, None]
    middle = contour.places.mean(2)
    # Squared distance, and a penalty for normals that differ, as one product: (q, n) . (-2 m, -2 s n') + m . m
    ours = np.concatenate([edges.points, edges.normals], 2)
    theirs = np.concatenate([middle, _NORMAL_PX**2 * contour.normals], 2)
    farness = (middle**2).sum(-1)[:, None] - 2 * ours @ theirs.transpose(0, 2, 1)
    nearest = np.where(contour.valid[:, None], farness, np.inf).argmin(2)
    start, end = contour.places[views, nearest].transpose(2, 0, 1, 3)
    along = end - start
    share = ((edges.points - start) * along).sum(-1) / (along**2).sum(-1).clip(min=1e-9)
    agrees = (edges.normals * contour.normals[views, nearest]).sum(-1) > _MIN_AGREEMENT
    says = edges.points_reliable & agrees & contour.valid[views, nearest] & ~contour.at_end[views, nearest]
    return nearest, share.clip(0, 1), says


def _slope_at(
    distance: Float[np.ndarray, "views height width"], views: np.ndarray, row: np.ndarray, column: np.ndarray
) -> Float[np.ndarray, "views edges 2"]:
    """Central differences at pixels, one-sided at the border."""
    height, width = distance.shape[1:]
    left, right = (column - 1).clip(0), (column + 1).clip(max=width - 1)
    up, down = (row - 1).clip(0), (row + 1).clip(max=height - 1)
    slope_x = (distance[views, row, right] - distance[views, row, left]) / (right - left).clip(min=1)
    slope_y = (distance[views, down, column] - distance[views, up, column]) / (down - up).clip(min=1)
    return np.stack([slope_x, slope_y], -1)
