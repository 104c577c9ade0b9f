"""Match parts of a mesh's visible contour with parts of a mask's edge, and weigh how much each pair says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from handgen.fit.silhouette.contour import ContourEdges
from handgen.fit.silhouette.mask_edges import MaskEdges

_MIN_AGREEMENT = 0.3  # cosine between the normals of the mask's edge and the mesh's: less is the edge's other side
_NORMAL_PX = 6.0  # a contour edge whose normal is at a right angle to a point's seems farther by this, in squares


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
