"""Bundle adjustment: camera poses and free points together, from what every camera saw of the points.

The points are eliminated by the Schur complement, so that a step solves for six numbers per camera. Errors are measured
in units of the detections' noise under a Geman-McClure loss, whose width shrinks. What the images leave open (where the
whole rig is, its scale, whether a camera was turned or shifted) is decided by a heavy-tailed prior on the cameras'
steps: one camera that moved far costs less than all that moved a little.

Sources: Triggs et al., "Bundle Adjustment - A Modern Synthesis", 1999 (Schur complement, gauge); Black and Rangarajan,
"On the Unification of Line Processes, Outlier Rejection, and Robust Statistics", IJCV 1996 (Geman-McClure and the
shrinking of its width).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

from handgen.geometry.camera import Camera, Rig
from handgen.geometry.rigid import Rigid
from handgen.geometry.triangulation import triangulate

_WIDTHS = (24.0, 24.0, 12.0, 6.0, *(3.0,) * 8)  # of the loss, in noises: one Gauss-Newton step each
_INLIER_NOISES = 3.0
_MIN_DEPTH_SHARE = 0.05  # of the median depth: nearer points have no say
_AGREES = 0.25  # robust weight of a sighting that lies as far off as the loss is wide
_SHIFT_SHARE = 0.3  # of the turn: cameras are turned on their mounts rather than shifted
_DAMPING = 1e-6  # keeps the 3x3 systems of points that nobody sees solvable


@dataclass(frozen=True)
class Sightings:
    """Points seen by a rig, in its ideal images. weight: confidence / noise^2, 1 / px^2; 0 without a sighting."""

    pixels: Float[np.ndarray, "views points 2"]
    weight: Float[np.ndarray, "views points"]

    def __post_init__(self) -> None:
        if self.pixels.shape != (*self.weight.shape, 2):
            raise ValueError(f"Sightings: expected {(*self.weight.shape, 2)} pixels, got {self.pixels.shape}")
        if not (np.isfinite(self.pixels).all() and np.isfinite(self.weight).all() and (self.weight >= 0).all()):
            raise ValueError("Sightings: a value is not finite, or a weight is negative")


@dataclass(frozen=True)
class CameraPrior:
    """A prior on how far free cameras are from where they are said to be, and the weight of sightings against it.

    turn_rad: the usual turn; shifts are `_SHIFT_SHARE` as large, seen from the points. repeats: how many sightings
    count as one, since a detector's errors repeat from frame to frame.
    """

    turn_rad: float
    repeats: float


@dataclass(frozen=True)
class Adjusted:
    """The rig that explains the sightings best.

    points_world: where all cameras see each point. cost: what is left, robust, in units of the prior's.
    others_world: per camera, where the *other* cameras see each point. seen_by_others: whether two of them agree there.
    """

    rig: Rig
    points_world: Float[np.ndarray, "points 3"]
    cost: float
    others_world: Float[np.ndarray, "views points 3"]
    seen_by_others: Bool[np.ndarray, "views points"]


def adjust(rig: Rig, seen: Sightings, free: Sequence[bool], prior: CameraPrior) -> Adjusted:
    """Refine the poses of the cameras that are `free`; the others stay exactly where they are."""
    free_views = np.flatnonzero(free)
    kept = seen.weight * ((seen.weight > 0).sum(0) >= 2)
    seen = Sightings(seen.pixels, kept)
    projections = np.stack([camera.ideal_px_from_world for camera in rig])
    observed = kept > 0
    threshold = _INLIER_NOISES / np.sqrt(np.where(observed, kept, 1.0))
    points = triangulate(projections, seen.pixels, observed.astype(float), threshold).points_world
    depths = np.stack([camera.cam_from_world.apply(points)[:, 2] for camera in rig])[kept > 0]
    depth = float(np.median(depths[depths > 0])) if (depths > 0).any() else 1.0  # of the sightings
    unit = np.repeat([prior.turn_rad, _SHIFT_SHARE * prior.turn_rad * depth], 3)  # radians, world units
    given, step_of = rig, np.zeros((len(free_views), 6))
    for width in _WIDTHS:
        system = _linearised(rig, seen, points, free_views, width, _MIN_DEPTH_SHARE * depth)
        pull = 1.0 / unit**2 / (1.0 + ((step_of / unit) ** 2).sum(1, keepdims=True))  # Cauchy's weights
        steps, moves = system.solve(prior.repeats, pull, step_of)
        cameras = list(rig)
        for k, view in enumerate(free_views.tolist()):
            cameras[view] = stepped(cameras[view], steps[k])
            step_of[k] = step_between(given.cameras[view], cameras[view])
        rig, points = Rig(tuple(cameras)), points + moves
    system = _linearised(rig, seen, points, free_views, _WIDTHS[-1], _MIN_DEPTH_SHARE * depth)
    cost = system.cost / prior.repeats + float(np.log1p(((step_of / unit) ** 2).sum(1)).sum())
    return Adjusted(rig, points, cost, *system.without_each(points))


def stepped(camera: Camera, step: Float[np.ndarray, " 6"]) -> Camera:
    """The camera after a left step of cam_from_world: axis-angle in radians, then translation in world units."""
    delta = Rigid(Rotation.from_rotvec(step[:3]).as_matrix(), step[3:])
    return replace(camera, cam_from_world=delta @ camera.cam_from_world)


def step_between(given: Camera, moved: Camera) -> Float[np.ndarray, " 6"]:
    """The inverse of `stepped`: the step from one to the other."""
    delta = moved.cam_from_world @ given.cam_from_world.inverse()
    return np.append(Rotation.from_matrix(delta.rotation).as_rotvec(), delta.translation)


@dataclass(frozen=True)
class _System:
    """Robust normal equations: of free cameras (6 x 6), of points (3 x 3), and between them (6 x 3).

    agrees: sightings that the loss does not take for outliers.
    """

    cameras: Float[np.ndarray, "free 6 6"]
    cameras_pull: Float[np.ndarray, "free 6"]
    mixed: Float[np.ndarray, "free points 6 3"]
    points: Float[np.ndarray, "views points 3 3"]
    points_pull: Float[np.ndarray, "views points 3"]
    agrees: Bool[np.ndarray, "views points"]
    cost: float

    def solve(
        self, repeats: float, prior: Float[np.ndarray, "free 6"], step_of: Float[np.ndarray, "free 6"]
    ) -> tuple[Float[np.ndarray, "free 6"], Float[np.ndarray, "points 3"]]:
        """Steps of the free cameras and of the points. prior: diagonal information against `step_of`, so far."""
        inverse = np.linalg.inv(_damped(self.points.sum(0)))
        alone = -np.einsum("pab,pb->pa", inverse, self.points_pull.sum(0))
        if not len(self.cameras):
            return np.zeros((0, 6)), alone
        count = 6 * len(self.cameras)
        through = self.mixed @ inverse
        rows = self.mixed.transpose(0, 2, 1, 3).reshape(count, -1)
        schur = -through.transpose(0, 2, 1, 3).reshape(count, -1) @ rows.T
        pull = self.cameras_pull + np.einsum("vpia,pa->vi", self.mixed, alone)
        for k, camera in enumerate(self.cameras):
            schur[6 * k : 6 * k + 6, 6 * k : 6 * k + 6] += camera
        schur = schur / repeats + np.diag(prior.ravel())
        pull = pull / repeats + prior * step_of
        steps = -np.linalg.solve(schur, pull.ravel()).reshape(-1, 6)
        return steps, alone - np.einsum("vpia,vi->pa", through, steps)

    def without_each(
        self, points: Float[np.ndarray, "points 3"]
    ) -> tuple[Float[np.ndarray, "views points 3"], Bool[np.ndarray, "views points"]]:
        """Solve the points without each camera in turn, and tell whether two cameras are left to do so."""
        rest = self.points.sum(0) - self.points
        pull = self.points_pull.sum(0) - self.points_pull
        moved = points - np.linalg.solve(_damped(rest), pull[..., None])[..., 0]
        return moved, (self.agrees.sum(0) - self.agrees) >= 2


def _damped(information: Float[np.ndarray, "*batch 3 3"]) -> Float[np.ndarray, "*batch 3 3"]:
    trace = np.trace(information, axis1=-2, axis2=-1)[..., None, None]
    return information + (_DAMPING * trace + 1e-12) * np.eye(3)


def _linearised(
    rig: Rig, seen: Sightings, points: np.ndarray, free: np.ndarray, width: float, min_depth: float
) -> _System:
    """The normal equations at these poses and points, with Geman-McClure weights of that width, in noises."""
    pose = Rigid(*(np.stack([getattr(c.cam_from_world, part) for c in rig]) for part in ("rotation", "translation")))
    k = np.stack([camera.intrinsics for camera in rig])[:, None]
    cam = np.einsum("vab,pb->vpa", pose.rotation, points) + pose.translation[:, None]
    depth = cam[..., 2]
    usable = depth > min_depth
    inverse = 1.0 / np.where(usable, depth, np.inf)
    slope = cam[..., :2] * inverse[..., None]
    off = np.einsum("vpab,vpb->vpa", np.broadcast_to(k[..., :2, :2], (*depth.shape, 2, 2)), slope) + k[..., :2, 2]
    off = off - seen.pixels
    by_slope = np.concatenate([np.broadcast_to(np.eye(2), (*depth.shape, 2, 2)), -slope[..., None]], -1)
    by_cam = k[..., :2, :2] @ by_slope * inverse[..., None, None]
    by_point = by_cam @ pose.rotation[:, None]
    by_camera = np.concatenate([-by_cam[free] @ _cross(cam[free]), by_cam[free]], -1)  # w x X = -[X] w
    square = seen.weight * (off**2).sum(-1)
    robust = 1.0 / (1.0 + square / width**2) ** 2
    weight = (seen.weight * robust * usable)[..., None, None]
    weighted_camera, weighted_point = by_camera * weight[free], by_point * weight
    return _System(
        cameras=np.einsum("vpki,vpkj->vij", weighted_camera, by_camera, optimize=True),
        cameras_pull=np.einsum("vpki,vpk->vi", weighted_camera, off[free]),
        mixed=np.swapaxes(weighted_camera, -1, -2) @ by_point[free],
        points=np.swapaxes(weighted_point, -1, -2) @ by_point,
        points_pull=np.einsum("vpki,vpk->vpi", weighted_point, off),
        agrees=(weight[..., 0, 0] > 0) & (robust > _AGREES),
        cost=float((square / (1.0 + square / width**2))[usable].sum()),
    )


def _cross(vectors: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3 3"]:
    """Cross-product matrices: `_cross(a) @ b = a x b`."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*x.shape, 3, 3)
