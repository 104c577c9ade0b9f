"""Masks refine poses: a silhouette term for the batched solver (`handgen.fit.solver`).

Two kinds of residuals, in pixels along the edge's normal over the noise of the mask's edge. Mesh to mask: the mask's
signed distance at the middle of each visible contour edge of the mesh. Mask to mesh: points of the mask's contour
against the line of the nearest such edge. Correspondences are held while the solver steps and are chosen anew by
`SilhouetteTerm.refreshed`, as in iterative closest points. Sources: Fitzgibbon, "Robust registration of 2D and 3D
point sets", 2003 (distance transforms in Levenberg-Marquardt); Chen and Medioni, "Object modelling by registration of
multiple range images", 1992 (point to line); robust as `handgen.fit.residuals`.

Neighbouring points of a contour do not err independently, so a whole view counts as much as `independent` points.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from handgen.fit.kinematics import PARAMETERS, POSE_PARAMETERS, Equations, HandState
from handgen.fit.residuals import ROBUST_SIGMAS
from handgen.fit.silhouette.contour import MeshContour, match
from handgen.fit.silhouette.mask_edges import MaskEdges, MaskView
from handgen.fit.solver import Sum, Term, solve_poses
from handgen.fit.surface import SurfaceKinematics
from handgen.geometry.camera import MIN_DEPTH_M
from handgen.hand.model import HandModel
from handgen.hand.skeleton import JOINT_COUNT

SIDE_PX = 160  # masks are shrunk to this: about 2 mm a pixel, and the edge is averaged over a hundred points
# How many independent points the contour of one view counts as: while a shape is learnt from frames that repeat each
# other, and while poses are refined.
SHAPE_CONTOUR_POINTS, POSE_CONTOUR_POINTS = 12.0, 20.0
MASK_POINTS = 64  # 96 cost a seventh of the speed and gain 0.04 mm
_SPREAD_OF_MEDIAN = 1.5  # a Gaussian's standard deviation over the median of its absolute values
_CHUNK_FRAMES = 2  # whose rows of the Jacobian stay in the cache
# The solver's order of the joints' parameters in a row that has their x first, then their y and z.
_BY_JOINT = [JOINT_COUNT * k + joint for joint in range(JOINT_COUNT) for k in range(3)]


@dataclass(frozen=True)
class _Rows:
    """Rows of the residuals: `edges` distances, then `points` lines, of each of a frame's `slots` for views.

    ends: vertex ids of a row's edge. share: where between them. normal, offset: a line's residual is offset - normal .
    pixel. weight: its information. robust: residuals beyond this many sigmas lose their say.
    """

    ends: Int[Tensor, "n slots rows 2"]
    share: Float[Tensor, "n slots rows"]
    normal: Float[Tensor, "n slots points 2"]
    offset: Float[Tensor, "n slots points"]
    weight: Float[Tensor, "n slots rows"]
    robust: Float[Tensor, "n slots 1"]


class SilhouetteTerm:
    """Term of the fit by masks of a batch of one side's hands. `refreshed` must be called before anything else."""

    def __init__(
        self, model: HandModel, views: Sequence[MaskView], frames: int, independent: float = SHAPE_CONTOUR_POINTS
    ) -> None:
        """Prepare the masks of `frames` poses, seen in `views` in any order, any number of a frame.

        independent: how many points a view's contour counts as.
        """
        for view in views:
            if not 0 <= view.frame < frames:
                raise ValueError(f"SilhouetteTerm: a mask belongs to frame {view.frame} of {frames}")
        small = [view.shrunk(SIDE_PX) for view in views]
        self._edges = MaskEdges.of(small, MASK_POINTS)
        self._contour = MeshContour(model.faces, model.wrist_border)
        self._surface = SurfaceKinematics(model)
        self._independent = independent
        self._frame = np.array([view.frame for view in small], np.int64)
        self._projections = np.array([view.camera.ideal_px_from_world for view in small]).reshape(-1, 3, 4)
        self._slots = _slots(self._frame, frames)
        device = model.template.device
        self._like = model.template.new_zeros(())
        self._sigma = self._by_frame(np.array([view.sigma_px for view in small]), pad=1.0)
        self._projection = self._by_frame(self._projections)
        blank = np.zeros((1, *self._edges.distance.shape[1:]), np.float32)  # what slots without a view look at
        self._distance = torch.as_tensor(np.concatenate([self._edges.distance, blank]), device=device).reshape(-1)
        self._picture = torch.as_tensor(self._slots, device=device)
        self._matches: _Rows | None = None

    def refreshed(self, state: HandState) -> SilhouetteTerm:
        """Choose visible contour and correspondences anew at this state, for the same masks."""
        term = copy(self)
        vertices = self._surface.vertices(state)
        matches = self._match(vertices.cpu().numpy())
        residuals = self._rows(vertices, matches, slice(None))[0].abs()
        typical = torch.where(matches.weight > 0, residuals, torch.nan).nanmedian(-1, keepdim=True).values
        # As far off as a view's contour mostly is, nothing stands out yet, and the view is no surer than that.
        scale = (_SPREAD_OF_MEDIAN * typical.nan_to_num(0.0)).clamp(min=1.0)
        term._matches = replace(matches, robust=ROBUST_SIGMAS * scale, weight=matches.weight / scale**2)
        return term

    def cost(self, state: HandState) -> Float[Tensor, " n"]:
        """Robust squared residuals in variances, summed per frame."""
        matches = self._current()
        vertices = self._surface.vertices(state)
        return _robust_cost(self._rows(vertices, matches, slice(None))[0], matches, slice(None))

    def normal_equations(self, state: HandState, by_betas: bool = False) -> Equations:
        """The term's equations; pose correctives are left out of the derivatives (`handgen.fit.surface`)."""
        matches = self._current()
        systems = [
            self._system(state, matches, slice(begin, begin + _CHUNK_FRAMES), by_betas)
            for begin in range(0, max(len(state), 1), _CHUNK_FRAMES)
        ]
        system, cost = (torch.cat(parts) for parts in zip(*systems, strict=True))
        return system[:, :-1, :-1], system[:, :-1, -1], cost

    def _current(self) -> _Rows:
        if self._matches is None:
            raise ValueError("SilhouetteTerm: call refreshed(state) first, which chooses the correspondences")
        return self._matches

    def _system(self, state: HandState, matches: _Rows, frames: slice, by_betas: bool) -> tuple[Tensor, Tensor]:
        """The normal equations bordered by the gradient, and the cost, of some frames."""
        some = state[frames]
        vertices, arms = self._surface.vertices_and_arms(some)
        residual, pull = self._rows(vertices, matches, frames)
        n = len(residual)
        limit = matches.robust[frames].square()
        root = matches.weight[frames].sqrt() * (limit / (limit + residual.square()))
        pull = (pull * root[..., None]).reshape(n, -1, 3)
        local = pull @ arms.parent_axes  # (n, rows, 48)
        first, second = _gathered(arms.of_vertices, matches.ends[frames])
        share = matches.share[frames][..., None]
        arm = torch.lerp(first, second, share).reshape(n, -1, 48)
        ax, ay, az = arm.split(JOINT_COUNT, 2)
        fx, fy, fz = local.split(JOINT_COUNT, 2)
        parameters = PARAMETERS if by_betas else POSE_PARAMETERS
        rows = torch.empty(n, arm.shape[1], parameters + 1).to(arm)
        for k, (one, other) in enumerate((((ay, fz), (az, fy)), ((az, fx), (ax, fz)), ((ax, fy), (ay, fx)))):
            torque = rows[..., JOINT_COUNT * k : JOINT_COUNT * (k + 1)]
            torch.mul(*one, out=torque).addcmul_(*other, value=-1)
        rows[..., 3 * JOINT_COUNT : POSE_PARAMETERS] = pull
        if by_betas:
            shapes = _gathered(self._surface.by_betas(some), matches.ends[frames])
            shape = torch.lerp(*shapes, share).reshape(n, -1, 3, 10)
            rows[..., POSE_PARAMETERS:-1] = (pull[..., None, :] @ shape)[..., 0, :]
        rows[..., -1] = (root * residual).reshape(n, -1)
        system = rows.transpose(1, 2) @ rows
        order = [*_BY_JOINT, *range(len(_BY_JOINT), parameters + 1)]
        return system[:, order][:, :, order], _robust_cost(residual, matches, frames)

    def _rows(self, vertices: Tensor, matches: _Rows, frames: slice) -> tuple[Tensor, Tensor]:
        """Residuals in sigmas (n slots rows), and their slopes by the world point (n slots rows 3)."""
        first, second = _gathered(vertices, matches.ends[frames])
        points = torch.lerp(first, second, matches.share[frames][..., None])
        projection = self._projection[frames]
        homogeneous = points @ projection[..., :3].transpose(-1, -2) + projection[..., None, :, 3]
        depth = homogeneous[..., 2:].clamp(min=MIN_DEPTH_M)
        pixels = homogeneous[..., :2] / depth
        edges = pixels.shape[2] - MASK_POINTS
        distance, slope = self._sampled(pixels[:, :, :edges], self._picture[frames])
        normal = matches.normal[frames]
        line = matches.offset[frames] - (normal * pixels[:, :, edges:]).sum(-1)
        sigma = self._sigma[frames][..., None]
        by_pixel = torch.cat([slope, -normal], 2) / sigma[..., None]
        of_depth = (by_pixel * pixels).sum(-1, keepdim=True) * projection[..., None, 2, :3]
        by_point = by_pixel @ projection[..., :2, :3] - of_depth
        return torch.cat([distance, line], 2) / sigma, by_point / depth

    def _sampled(self, pixels: Tensor, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Signed distance to the mask's edge, bilinear, and its slope; beyond the border as on it."""
        _, height, width = self._edges.distance.shape
        limit = torch.tensor([width - 1.0, height - 1.0]).to(pixels)
        inside = pixels.clamp(min=0).minimum(limit)
        corner = inside.floor().minimum(limit - 1).clamp(min=0)
        right, down = (inside - corner).unbind(-1)
        place = (picture[..., None] * height + corner[..., 1].long()) * width + corner[..., 0].long()
        corners = (self._distance[place + step].to(pixels) for step in (0, 1, width, width + 1))
        top_left, top_right, bottom_left, bottom_right = corners
        top, bottom = torch.lerp(top_left, top_right, right), torch.lerp(bottom_left, bottom_right, right)
        slope_x = torch.lerp(top_right - top_left, bottom_right - bottom_left, down)
        slope = torch.stack([slope_x, bottom - top], -1)
        return torch.lerp(top, bottom, down), slope * (inside == pixels)

    def _match(self, vertices: Float[np.ndarray, "n 778 3"]) -> _Rows:
        """Visible contour edges and the mask points next to them; vertices in the world, metres."""
        seen = vertices[self._frame]
        homogeneous = seen @ self._projections[:, :, :3].transpose(0, 2, 1) + self._projections[:, None, :, 3]
        depth = homogeneous[..., 2:]
        usable = (depth[..., 0] > MIN_DEPTH_M).all(1)  # a hand around the lens is no silhouette
        pixels = homogeneous[..., :2] / np.where(depth > MIN_DEPTH_M, depth, 1.0)
        height, width = self._edges.distance.shape[1:]
        contour = self._contour.visible(pixels, (width, height))
        contour.valid[~usable] = False
        found = match(contour, self._edges, self._independent)
        arrays = (found.ends, found.share, found.normals, found.offset, found.weight)
        ends, share, normals, offset, weight = map(self._by_frame, arrays)
        robust = self._like.new_full((*self._slots.shape, 1), ROBUST_SIGMAS)
        return _Rows(ends.long(), share, normals, offset, weight, robust)

    def _by_frame(self, of_views: np.ndarray, pad: float = 0.0) -> Tensor:
        """(views ...) to (n slots ...); slots without a view get `pad`."""
        padded = np.concatenate([of_views, np.full((1, *of_views.shape[1:]), pad, of_views.dtype)])
        return torch.as_tensor(padded[self._slots]).to(self._like)


def refine(
    term: SilhouetteTerm, others: Sequence[Term], state: HandState, steps: int = 8, steps_per_refresh: int = 2
) -> HandState:
    """Poses after `steps` of Levenberg-Marquardt on masks and other terms, with correspondences renewed in between."""
    for begin in range(0, steps, steps_per_refresh):
        term = term.refreshed(state)
        state, _ = solve_poses(Sum((term, *others)), state, min(steps_per_refresh, steps - begin))
    return state


def _slots(frame_of_view: Int[np.ndarray, " views"], frames: int) -> Int[np.ndarray, "n slots"]:
    """The views of each frame, padded with the number of views."""
    views = len(frame_of_view)
    count = np.bincount(frame_of_view, minlength=frames)
    slots = np.full((frames, max(int(count.max(initial=0)), 1)), views)
    order = np.argsort(frame_of_view, kind="stable")
    place = np.arange(views) - np.repeat(np.cumsum(count) - count, count)
    slots[frame_of_view[order], place] = order
    return slots


def _gathered(of_vertices: Float[Tensor, "n 778 k"], ends: Int[Tensor, "n slots rows 2"]) -> tuple[Tensor, Tensor]:
    """Each (n slots rows k): of the first end and of the second."""
    n, vertices = of_vertices.shape[:2]
    place = ends + vertices * torch.arange(n, device=ends.device)[:, None, None, None]
    flat = of_vertices.reshape(n * vertices, -1)
    first, second = (flat.index_select(0, p.reshape(-1)).reshape(*p.shape, -1) for p in place.unbind(-1))
    return first, second


def _robust_cost(residual: Tensor, matches: _Rows, frames: slice) -> Float[Tensor, " n"]:
    """Geman-McClure, weighted."""
    limit, squared = matches.robust[frames].square(), residual.square()
    return (matches.weight[frames] * limit * squared / (limit + squared)).sum((1, 2))
