"""Keypoints in several views -> points in the world: robust, batched, vectorised over points.

Views hold *ideal* pixels (`Camera.undistort`). Method: iteratively reweighted linear triangulation with a redescending
weight whose scale shrinks; points that end with fewer than two agreeing views are solved again from every pair of
views, by consensus. The linear system: Hartley and Zisserman ("Multiple View Geometry", 12.2), inhomogeneous.

An observation (u, v) of a camera with rows a, b, c adds w (a - u c)(a - u c)' + w (b - v c)(b - v c)' to a point's 4x4
matrix. That is linear in w, w u, w v and w (u^2 + v^2), so the matrices of all points are one product with a table of
the cameras, and no observation's own matrix is ever made.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float

_SCALE_SCHEDULE = (33.0, 8.0, 3.3, 1.3, 1.0, 1.0)  # times the inlier threshold, from forgiving to strict
PerView = Float[np.ndarray, "views points"]
_RIDGE = 1e-9  # keeps the 3x3 systems of points without views solvable


@dataclass(frozen=True)
class Triangulated:
    """Points in the world, metres, with which views agree and how far each view is off.

    error_px: distance of the projection from the observation; NaN where there was none. inliers: views within the
    threshold. valid: points on which at least two views agree.
    """

    points_world: Float[np.ndarray, "points 3"]
    error_px: PerView
    inliers: Bool[np.ndarray, "views points"]

    @property
    def valid(self) -> Bool[np.ndarray, " points"]:
        """Mask of points that at least two views agree on."""
        return self.inliers.sum(0) >= 2


def triangulate(
    ideal_px_from_world: Float[np.ndarray, "views 3 4"],
    pixels: Float[np.ndarray, "views points 2"],
    confidence: PerView,
    threshold_px: float | PerView,
) -> Triangulated:
    """Triangulate `points` seen by any of `views`; an observation with confidence 0 or without a place is none.

    threshold_px: how far an observation may lie from the point's projection and still agree with it.
    """
    observed = (confidence > 0) & np.isfinite(pixels).all(-1)
    pixels = np.where(observed[..., None], pixels, 0.0)
    system = _System(ideal_px_from_world, pixels)
    threshold = np.broadcast_to(np.asarray(threshold_px, dtype=float), observed.shape)
    base = np.where(observed, confidence, 0.0)
    # In pixels: a row is off by (error x depth), so it is divided by the depth. First guess: all depths alike.
    weights = base.copy()
    points = np.zeros((pixels.shape[1], 3))
    squared = depth = np.zeros(observed.shape)
    for scale in _SCALE_SCHEDULE:
        points = system.solve(weights)
        squared, depth = system.squared_error(points)
        robust = 1.0 + squared / (scale * threshold) ** 2
        weights = base * (depth > 0) / (robust * np.maximum(depth, 1e-6)) ** 2
    inliers = observed & (squared < threshold**2) & (depth > 0)
    agreeing, count = inliers.sum(0), observed.sum(0)
    # Where a majority disagrees the reweighting may have settled on the wrong views.
    bad = (count >= 2) & (agreeing < np.maximum(2, count / 2))
    if bad.any():
        part = _System(ideal_px_from_world, pixels[:, bad])
        points[bad] = _from_pairs(part, base[:, bad], threshold[:, bad])
        squared, depth = system.squared_error(points)
        inliers = observed & (squared < threshold**2) & (depth > 0)
    return Triangulated(points, np.where(observed, np.sqrt(squared), np.nan), inliers)


@dataclass(frozen=True)
class _System:
    """The linear equations of `points` seen in `views`."""

    projections: Float[np.ndarray, "views 3 4"]
    pixels: Float[np.ndarray, "views points 2"]

    @cached_property
    def _table(self) -> Float[np.ndarray, "16 features"]:
        """The 4x4 matrices that belong to w, w u, w v and w (u^2 + v^2) of each view, flat."""
        a, b, c = self.projections.transpose(1, 0, 2)

        def outer(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            return x[:, :, None] * y[:, None, :]

        parts = (outer(a, a) + outer(b, b), -outer(a, c) - outer(c, a), -outer(b, c) - outer(c, b), outer(c, c))
        return np.concatenate(parts).reshape(-1, 16).T

    @cached_property
    def _features(self) -> Float[np.ndarray, "4 views points"]:
        u, v = self.pixels[..., 0], self.pixels[..., 1]
        return np.stack([np.ones_like(u), u, v, u * u + v * v])

    def solve(self, weights: PerView) -> Float[np.ndarray, "points 3"]:
        """Weighted least squares."""
        information = self._table @ (self._features * weights).reshape(4 * len(weights), weights.shape[1])
        return _solve_columns(information)

    def squared_error(self, points: Float[np.ndarray, "points 3"]) -> tuple[PerView, PerView]:
        """Squared pixel distances, and depths."""
        homogeneous = self.projections[:, :, :3].reshape(-1, 3) @ points.T + self.projections[:, :, 3].reshape(-1, 1)
        x, y, depth = homogeneous.reshape(len(self.projections), 3, len(points)).transpose(1, 0, 2)
        inverse = 1 / np.where(np.abs(depth) < 1e-9, 1e-9, depth)
        return (x * inverse - self.pixels[..., 0]) ** 2 + (y * inverse - self.pixels[..., 1]) ** 2, depth


def linear_information(
    ideal_px_from_world: Float[np.ndarray, "views 3 4"], pixels: Float[np.ndarray, "views points 2"]
) -> Float[np.ndarray, "views points 4 4"]:
    """Per observation the matrix of its squared linear error, by the homogeneous point; sums over views add up."""
    rows = ideal_px_from_world[:, None, :2] - pixels[..., None] * ideal_px_from_world[:, None, 2:]
    return np.swapaxes(rows, -1, -2) @ rows


def solve_points(information: Float[np.ndarray, "*batch 4 4"]) -> Float[np.ndarray, "*batch 3"]:
    """The points of least squared linear error."""
    flat = information.reshape(-1, 16).T
    return _solve_columns(flat).reshape(*information.shape[:-2], 3)


def _solve_columns(information: Float[np.ndarray, "16 points"]) -> Float[np.ndarray, "points 3"]:
    """Symmetric 3x3 systems by their adjugates: a loop over points inside LAPACK costs ten times as much."""
    xx, xy, xz, xw, _, yy, yz, yw, _, _, zz, zw = information[:12]
    scale = 1 / (xx + yy + zz + 1e-30)
    xx, yy, zz = xx * scale + _RIDGE, yy * scale + _RIDGE, zz * scale + _RIDGE
    xy, xz, yz = xy * scale, xz * scale, yz * scale
    xw, yw, zw = xw * scale, yw * scale, zw * scale
    adj_xx, adj_xy, adj_xz = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
    adj_yy, adj_yz, adj_zz = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
    factor = -1 / (xx * adj_xx + xy * adj_xy + xz * adj_xz)
    x, y = adj_xx * xw + adj_xy * yw + adj_xz * zw, adj_xy * xw + adj_yy * yw + adj_yz * zw
    z = adj_xz * xw + adj_yz * yw + adj_zz * zw
    return np.stack([x * factor, y * factor, z * factor], -1)


def _from_pairs(system: _System, base: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """The pair of views whose point most others agree with, refined on those."""
    views, count = base.shape
    best = np.full(count, np.inf)
    points = np.zeros((count, 3))
    for first, second in combinations(range(views), 2):
        both = (base[first] > 0) & (base[second] > 0)
        if not both.any():
            continue
        weights = np.zeros_like(base)
        weights[[first, second]] = (base[[first, second]] > 0) * 1.0
        candidate = system.solve(weights)
        squared, depth = system.squared_error(candidate)
        cost = (base * np.minimum(squared / threshold**2, 1.0) + (base > 0) * (depth <= 0)).sum(0)
        better = both & (cost < best)
        best = np.where(better, cost, best)
        points[better] = candidate[better]
    for _ in range(2):
        squared, depth = system.squared_error(points)
        weights = base * (squared < threshold**2) * (depth > 0) / np.maximum(depth, 1e-6) ** 2
        enough = (weights > 0).sum(0) >= 2
        points[enough] = system.solve(weights)[enough]
    return points
