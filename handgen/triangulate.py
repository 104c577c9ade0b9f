"""Keypoints in several views -> points in the world: robust, batched, vectorised over points.

Views hold *ideal* pixels (`Camera.undistort`). Method: iteratively reweighted linear triangulation with a redescending
weight whose scale shrinks; points that end with fewer than two agreeing views are solved again from every pair of
views, by consensus. The linear system is Hartley and Zisserman's ("Multiple View Geometry", 12.2) in its
inhomogeneous form.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float

_SCALE_SCHEDULE = (33.0, 8.0, 3.3, 1.3, 1.0, 1.0)  # times the inlier threshold, from forgiving to strict
_RIDGE = 1e-9  # keeps the 3x3 systems of points without views solvable


@dataclass(frozen=True)
class Triangulated:
    """Points in the world, metres, with which views agree and how far each view is off.

    error_px: distance of the projection from the observation; NaN where there was none. inliers: views within the
    threshold. valid: points on which at least two views agree.
    """

    points_world: Float[np.ndarray, "points 3"]
    error_px: Float[np.ndarray, "views points"]
    inliers: Bool[np.ndarray, "views points"]

    @property
    def valid(self) -> Bool[np.ndarray, " points"]:
        """Which points at least two views agree on."""
        return self.inliers.sum(0) >= 2


def triangulate(
    ideal_px_from_world: Float[np.ndarray, "views 3 4"],
    pixels: Float[np.ndarray, "views points 2"],
    confidence: Float[np.ndarray, "views points"],
    threshold_px: float | Float[np.ndarray, "views points"],
) -> Triangulated:
    """Triangulate `points` seen by any of `views`; an observation with confidence 0 does not exist.

    threshold_px: how far an observation may lie from the point's projection and still agree with it.
    """
    observed = confidence > 0
    pixels = np.where(observed[..., None], pixels, 0.0)
    threshold = np.broadcast_to(np.asarray(threshold_px, dtype=float), observed.shape)
    information = linear_information(ideal_px_from_world, pixels)
    base = np.where(observed, confidence, 0.0)
    # In pixels: a row is off by (error x depth), so it is divided by the depth. First guess: all depths alike.
    weights = base.copy()
    points = np.zeros((pixels.shape[1], 3))
    error = np.full(observed.shape, np.nan)
    for scale in _SCALE_SCHEDULE:
        points = _solve(information, weights)
        error, depth = _reprojection(ideal_px_from_world, points, pixels)
        robust = 1.0 / (1.0 + (error / (scale * threshold)) ** 2) ** 2
        weights = base * robust * (depth > 0) / np.maximum(depth, 1e-6) ** 2
    inliers = observed & (error < threshold) & (depth > 0)
    bad = (inliers.sum(0) < np.minimum(observed.sum(0), 2)) & (observed.sum(0) >= 2)
    # Where a majority disagrees the reweighting may have settled on the wrong views.
    bad |= (inliers.sum(0) < 0.5 * observed.sum(0)) & (observed.sum(0) >= 3)
    if bad.any():
        points[bad] = _from_pairs(
            ideal_px_from_world, information[:, bad], pixels[:, bad], base[:, bad], threshold[:, bad]
        )
        error, depth = _reprojection(ideal_px_from_world, points, pixels)
        inliers = observed & (error < threshold) & (depth > 0)
    return Triangulated(points, np.where(observed, error, np.nan), inliers)


def linear_information(
    ideal_px_from_world: Float[np.ndarray, "views 3 4"], pixels: Float[np.ndarray, "views points 2"]
) -> Float[np.ndarray, "views points 4 4"]:
    """Per observation the matrix of its squared linear error, by the homogeneous point; sums over views add up."""
    rows = ideal_px_from_world[:, None, :2] - pixels[..., None] * ideal_px_from_world[:, None, 2:]
    return np.swapaxes(rows, -1, -2) @ rows


def solve_points(information: Float[np.ndarray, "*batch 4 4"]) -> Float[np.ndarray, "*batch 3"]:
    """The points of least squared linear error."""
    scale = np.trace(information[..., :3, :3], axis1=-2, axis2=-1)[..., None, None] + 1e-30
    scaled = information / scale
    return np.linalg.solve(scaled[..., :3, :3] + _RIDGE * np.eye(3), -scaled[..., :3, 3:])[..., 0]


def _solve(information: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted least squares: (views, points, 4, 4) and (views, points) -> (points, 3)."""
    return solve_points(np.einsum("vp,vpab->pab", weights, information))


def _reprojection(projections: np.ndarray, points: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixel distances and depths, both (views, points)."""
    homogeneous = points @ np.swapaxes(projections[:, :, :3], 1, 2) + projections[:, None, :, 3]
    depth = homogeneous[..., 2]
    projected = homogeneous[..., :2] / np.where(np.abs(depth) < 1e-9, 1e-9, depth)[..., None]
    return np.linalg.norm(projected - pixels, axis=-1), depth


def _from_pairs(
    projections: np.ndarray,
    information: np.ndarray,
    pixels: np.ndarray,
    base: np.ndarray,
    threshold: np.ndarray,
) -> np.ndarray:
    """The pair of views whose point most others agree with, refined on those."""
    views, count = base.shape
    best = np.full(count, np.inf)
    points = np.zeros((count, 3))
    for first, second in combinations(range(views), 2):
        weights = np.zeros_like(base)
        weights[[first, second]] = (base[[first, second]] > 0) * 1.0
        both = (base[first] > 0) & (base[second] > 0)
        candidate = _solve(information, weights)
        error, depth = _reprojection(projections, candidate, pixels)
        cost = (base * np.minimum((error / threshold) ** 2, 1.0) + (base > 0) * (depth <= 0)).sum(0)
        better = both & (cost < best)
        best = np.where(better, cost, best)
        points[better] = candidate[better]
    for _ in range(2):
        error, depth = _reprojection(projections, points, pixels)
        weights = base * (error < threshold) * (depth > 0) / np.maximum(depth, 1e-6) ** 2
        enough = (weights > 0).sum(0) >= 2
        points[enough] = _solve(information, weights)[enough]
    return points
