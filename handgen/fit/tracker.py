"""Follow one hand frame by frame, as the frames come: for live use.

Each frame starts where the last two say that the hand must be by now, so that one or two steps are enough. A hand that
was lost, or that fits badly, is started anew from its triangulated keypoints. Nothing is smoothed: what comes out of a
frame is what this frame's detections say.

    tracker = Tracker(kinematics_of("open", "right", offsets_m), rig, betas)
    for keypoints_px, confidence in frames:
        hand = tracker.update(keypoints_px, confidence)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from handgen.fit.initialization import start
from handgen.fit.kinematics import HandState, KeypointKinematics
from handgen.fit.residuals import Observations, PosePrior
from handgen.fit.solver import Problem, solve_poses
from handgen.geometry.camera import Rig
from handgen.geometry.rotations import axis_angle_from_rotation, rotation_from_axis_angle
from handgen.geometry.triangulation import triangulate
from handgen.multiview.association import MIN_KEYPOINTS, MIN_NOISE_PX, NOISE_SHARE

_INLIER_SIGMAS = 3.0
_START_STEPS = 12
_FAR_STEP_M = 0.02  # after a first step as long as this more pay
_USUAL_COST = 1.0  # variances per observed keypoint and view: beyond, more steps are tried
_MORE_STEPS = 4
_MAX_COST = 3.0  # variances per observed keypoint and view, of the 9 that the robust loss can reach: not this hand
_MAX_PREDICTED = 10  # frames that a hand is carried on without being seen


@dataclass(frozen=True)
class TrackedHand:
    """One frame. pose, translation: as in `handgen.hand.model.HandPose`; keypoints: as the detector would see them.

    World frame, radians and metres. cost: variances per observed keypoint and view. seen: whether this frame's
    detections made it; otherwise it is where the motion before would have taken it. restarted: it was not tracked.
    """

    pose: Float[np.ndarray, " 48"]
    translation: Float[np.ndarray, " 3"]
    keypoints: Float[np.ndarray, "21 3"]
    cost: float
    seen: bool
    restarted: bool


class Tracker:
    """Follows one hand of known shape through the frames of a rig; see the module."""

    def __init__(self, kinematics: KeypointKinematics, rig: Rig, betas: Float[np.ndarray, " 10"]) -> None:
        """`rig` is in metres."""
        self._kinematics, self._rig = kinematics, rig
        self._betas = torch.as_tensor(betas).to(kinematics.offsets)
        self._prior = PosePrior.of(kinematics.model)
        self._projections = np.stack([camera.ideal_px_from_world for camera in rig])
        self._projections_torch = torch.as_tensor(self._projections).to(kinematics.offsets)
        self._last: list[HandState] = []
        self._unseen = 0

    def reset(self) -> None:
        """Forget the hand."""
        self._last, self._unseen = [], 0

    @torch.inference_mode()
    def update(
        self, keypoints_px: Float[np.ndarray, "views 21 2"], confidence: Float[np.ndarray, "views 21"]
    ) -> TrackedHand | None:
        """The hand in the next frame; None if it is not known where it is.

        keypoints_px: in the cameras' own (distorted) images, in the rig's order. confidence: 0 where a keypoint was
        not seen; positions that are no numbers count as not seen.
        """
        pixels, weight, noise = self._evidence(keypoints_px, confidence)
        observed = int((weight > 0).sum())
        problem = None
        if observed >= MIN_KEYPOINTS:
            to = self._kinematics.offsets
            arrays = torch.as_tensor(pixels[None]).to(to), torch.as_tensor(weight[None]).to(to)
            problem = Problem(self._kinematics, Observations(self._projections_torch, *arrays), self._prior)
        state = self._predicted()
        cost, restarted = np.inf, False
        if problem is not None:
            if state is not None:
                state, cost = self._followed(problem, state, observed)
            if cost > _MAX_COST:
                fresh, fresh_cost = self._started(problem, pixels, weight, noise, observed)
                if fresh is not None and fresh_cost < min(cost, _MAX_COST):
                    state, cost, restarted = fresh, fresh_cost, True
        seen = cost <= _MAX_COST
        self._unseen = 0 if seen else self._unseen + 1
        if state is None or self._unseen > _MAX_PREDICTED:
            self.reset()
            return None
        pose = axis_angle_from_rotation(state.rotations)
        # Predicting doubles whatever keeps a matrix from being a rotation, frame after frame.
        clean = HandState(rotation_from_axis_angle(pose), state.translation, state.betas)
        self._last = [clean] if restarted else [*self._last[-1:], clean]
        return TrackedHand(
            pose=pose[0].reshape(48).cpu().numpy(),
            translation=state.translation[0].cpu().numpy(),
            keypoints=self._kinematics.keypoints(state)[0].cpu().numpy(),
            cost=float(cost),
            seen=seen,
            restarted=restarted,
        )

    def _evidence(self, keypoints_px: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ideal pixels, weights (1 / variance), and the noise of each view, px."""
        views = len(self._rig)
        if keypoints_px.shape != (views, 21, 2) or confidence.shape != (views, 21):
            raise ValueError(
                f"expected keypoints ({views}, 21, 2) and confidence ({views}, 21), "
                f"got {keypoints_px.shape} and {confidence.shape}"
            )
        known = np.isfinite(keypoints_px).all(-1) & np.isfinite(confidence) & (confidence > 0)
        given = np.where(known[..., None], keypoints_px, 0.0)
        pixels = np.empty_like(given)
        for v, camera in enumerate(self._rig):
            pixels[v], invertible = camera.undistort(given[v])
            known[v] &= invertible
        low = np.where(known[..., None], pixels, np.inf).min(1)
        high = np.where(known[..., None], pixels, -np.inf).max(1)
        extent = np.linalg.norm(np.where(high >= low, high - low, 0.0), axis=-1)
        noise = np.maximum(MIN_NOISE_PX, NOISE_SHARE * extent)[:, None]
        return np.where(known[..., None], pixels, 0.0), np.where(known, confidence, 0.0) / noise**2, noise

    def _predicted(self) -> HandState | None:
        if len(self._last) < 2:
            return self._last[-1] if self._last else None
        before, last = self._last
        turned = last.rotations @ before.rotations.transpose(-1, -2) @ last.rotations
        return HandState(turned, 2 * last.translation - before.translation, last.betas)

    def _followed(self, problem: Problem, state: HandState, observed: int) -> tuple[HandState, float]:
        moved, cost = solve_poses(problem, state, steps=1)
        step = float((moved.translation - state.translation).abs().max())
        if not 0 < step < _FAR_STEP_M or float(cost) > _USUAL_COST * observed:  # 0: the step was refused
            moved, cost = solve_poses(problem, moved, steps=_MORE_STEPS)
        return moved, float(cost) / observed

    def _started(
        self, problem: Problem, pixels: np.ndarray, weight: np.ndarray, noise: np.ndarray, observed: int
    ) -> tuple[HandState | None, float]:
        """From nothing but this frame; None if two views do not agree on enough keypoints."""
        found = triangulate(self._projections, pixels, weight * noise**2, _INLIER_SIGMAS * noise)
        valid = found.valid & np.isfinite(found.points_world).all(-1)
        if valid.sum() < MIN_KEYPOINTS:
            return None, np.inf
        points = torch.as_tensor(np.where(valid[:, None], found.points_world, 0.0)[None]).to(self._betas)
        first = start(self._kinematics, points, self._betas, torch.as_tensor(valid[None]))
        state, cost = solve_poses(problem, first, steps=_START_STEPS)
        return (state, float(cost) / observed) if bool(state.rotations.isfinite().all()) else (None, np.inf)
