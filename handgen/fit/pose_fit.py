"""Fit model poses to a sequence of observed hands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from handgen.detect.view_bias import ViewBias
from handgen.fit.initialization import start
from handgen.fit.kinematics import HandState, KeypointKinematics
from handgen.fit.observations import Corrections, apply_view_bias, observations_of, pose_of, triangulated, valid_of
from handgen.fit.residuals import PosePrior
from handgen.fit.sequence import Motion, SequenceFit, solve_sequence
from handgen.fit.solver import Problem, Term, solve_poses
from handgen.geometry.camera import Camera, Rig
from handgen.geometry.rotations import interpolated_rotation
from handgen.multiview.association import MultiviewHand

# By how much the normal matrix' deviations are too small, and the part in metres that no number of views and frames
# reduces; measured on simulated captures (`evaluate` prints the share of errors within one sigma).
_WITHOUT_MASKS, _WITH_MASKS = (1.7, 0.0008), (1.4, 0.0005)
_SIZE_SIGMA = 0.06  # of a hand's length, as a share: 182 +- 11 mm is what the open hand's unit betas give
_USUAL_FPS = 30.0  # of captures that do not know theirs
_BIAS_ITERATIONS = 2  # a third moves keypoints by another 0.02 mm on average, against 0.13 mm of the second


@dataclass(frozen=True)
class MotionPrior:
    """A prior on motion. interval_s: between frames. sigma_m_s2: usual acceleration of a keypoint."""

    interval_s: float
    sigma_m_s2: float

    @classmethod
    def of(cls, fps: float | None, acceleration_mm_s2: float) -> MotionPrior | None:
        """The prior at so many frames per second; None for an acceleration of 0: frames are on their own."""
        return cls(1 / (fps or _USUAL_FPS), acceleration_mm_s2 / 1e3) if acceleration_mm_s2 else None


@dataclass(frozen=True)
class FittedHands:
    """`n` frames of one hand in the world, metres.

    poses, translations: as a record holds them (`handgen.hand.model.HandPose`). keypoints: of the model.
    observed_keypoints: where the detector would put them, by its constant offsets. shift_px: what the side that they
    are seen from adds to that, in the rig's ideal images. covariance_m2: of the keypoints, in the world. terms: what
    each term of the fit costs, in variances.
    """

    poses: Float[np.ndarray, "n 48"]
    translations: Float[np.ndarray, "n 3"]
    keypoints: Float[np.ndarray, "n 21 3"]
    observed_keypoints: Float[np.ndarray, "n 21 3"]
    shift_px: Float[np.ndarray, "n views 21 2"]
    vertices: Float[np.ndarray, "n 778 3"]
    covariance_m2: Float[np.ndarray, "n 21 3 3"]
    terms: dict[str, Float[np.ndarray, " n"]]

    def __getitem__(self, frames: Int[np.ndarray, " kept"]) -> FittedHands:
        """Some of the frames."""
        arrays = {f.name: getattr(self, f.name)[frames] for f in fields(self) if f.name != "terms"}
        return FittedHands(**arrays, terms={name: cost[frames] for name, cost in self.terms.items()})

    def expected_px(self, view: int, camera: Camera) -> Float[np.ndarray, "n 21 2"]:
        """Pixels where the detector should have seen the keypoints in a camera, the rig's number `view`.

        The shift is that of the ideal image: a few pixels, which a lens distorts by a few per cent.
        """
        return camera.project(self.observed_keypoints)[0] + self.shift_px[:, view]

    @property
    def finite(self) -> Bool[np.ndarray, " n"]:
        """Frames whose fit is made of finite numbers."""
        numbers = (self.vertices, self.poses, self.covariance_m2)
        return np.all([np.isfinite(array).all(tuple(range(1, array.ndim))) for array in numbers], axis=0)


@dataclass(frozen=True)
class Fit:
    """A solved sequence of one hand, which further terms can be added to.

    frames: of each pose. corrections: of the detections, which the problem's observations contain.
    """

    problem: Problem
    motion: Motion
    solved: SequenceFit
    corrections: Corrections | None

    @property
    def frames(self) -> Int[Tensor, " n"]:
        """The number of each pose's frame."""
        return self.motion.frames

    def with_terms(self, terms: Mapping[str, Term], steps: int = 8) -> Fit:
        """Solved again with these terms besides those that it has, or in the place of those of the same name."""
        problem = replace(self.problem, terms={**self.problem.terms, **terms})
        return replace(self, problem=problem, solved=solve_sequence(problem, self.solved.state, self.motion, steps))

    def hands(self) -> FittedHands:
        """The poses with what belongs to them, as arrays."""
        pose = pose_of(self.solved.state)
        posed = self.problem.kinematics.model(pose)
        points = self.solved.linearised.points
        terms = self.problem.costs(self.solved.state) | {"acceleration": self.motion.cost(points)}
        shifts = self.corrections.shift_px if self.corrections else np.zeros(self.problem.observations.pixels.shape)
        return FittedHands(
            poses=pose.rotations.reshape(len(pose), 48).cpu().numpy(),
            translations=pose.translation.cpu().numpy(),
            keypoints=posed.keypoints.cpu().numpy(),
            observed_keypoints=points.cpu().numpy(),
            shift_px=shifts,
            vertices=posed.vertices.cpu().numpy(),
            covariance_m2=self._covariance(points).cpu().numpy(),
            terms={name: cost.cpu().numpy() for name, cost in terms.items()},
        )

    def _covariance(self, points: Float[Tensor, "n 21 3"]) -> Float[Tensor, "n 21 3 3"]:
        """The covariance, metres squared, with what repeats between views and frames and does not average out put back.

        The normal matrix takes the errors of all detections for independent. And where one view alone sees a hand, its
        distance hangs on its size.
        """
        repeats, common = (torch.full_like(points[:, 0, 0], each) for each in _WITHOUT_MASKS)
        if masks := self.problem.terms.get("silhouette"):
            masked = masks.cost(self.solved.state) > 0
            repeats = torch.where(masked, _WITH_MASKS[0], repeats)
            common = torch.where(masked, _WITH_MASKS[1], common)
        covariance = (repeats**2)[:, None, None, None] * self.solved.covariance()
        covariance = covariance + (common**2)[:, None, None, None] * torch.eye(3).to(points)
        weight = self.problem.observations.weight
        seen = (weight > 0).any(2)
        alone = (seen.sum(1) == 1)[:, None, None, None]
        projection = self.problem.observations.ideal_px_from_world[seen.double().argmax(1)]
        center = -torch.linalg.solve(projection[:, :, :3], projection[:, :, 3:])[..., 0]
        ray = _SIZE_SIGMA * (points - center[:, None])
        return covariance + alone * ray[..., None] * ray[..., None, :]


def fit_poses(
    kinematics: KeypointKinematics,
    rig: Rig,
    seen_hands: Sequence[MultiviewHand],
    betas: Float[np.ndarray, " 10"],
    view_bias: ViewBias | None = None,
    motion: MotionPrior | None = None,
) -> Fit:
    """Fit the poses of observed hands with given betas. `rig` and the hands are in metres.

    seen_hands: in the order of their frames; some, but not the first or the last, may be of frames in which the hand
    was not seen (`MultiviewHand.unseen`). view_bias: of the detector; a first fit then tells from which side each
    keypoint was seen, and through what. motion: makes one solve of consecutive frames; None: every frame is on its own.
    """
    device = str(kinematics.offsets.device)
    shape = torch.as_tensor(betas).to(kinematics.offsets)
    prior = PosePrior.of(kinematics.model)
    watched = [seen_hand for seen_hand in seen_hands if seen_hand.view_count]
    seen = np.flatnonzero([seen_hand.view_count > 0 for seen_hand in seen_hands])
    points, valid = triangulated(watched).to(shape), valid_of(watched, shape.device)
    state = start(kinematics, points, shape, valid)
    state, _ = solve_poses(Problem(kinematics, observations_of(rig, watched, device), prior), state)
    return fit_from(kinematics, rig, seen_hands, _between(state, seen, len(seen_hands)), view_bias, motion)


def fit_from(
    kinematics: KeypointKinematics,
    rig: Rig,
    seen_hands: Sequence[MultiviewHand],
    state: HandState,
    view_bias: ViewBias | None = None,
    motion: MotionPrior | None = None,
    terms: Mapping[str, Term] | None = None,
) -> Fit:
    """Fit poses as `fit_poses` does, from a state near them. terms: what they should agree with besides, by name."""
    device = str(kinematics.offsets.device)
    prior = PosePrior.of(kinematics.model)
    frames = torch.tensor([seen_hand.frame for seen_hand in seen_hands], device=device)
    # Without a prior no two frames are neighbours.
    moves = Motion(frames, motion.interval_s, motion.sigma_m_s2) if motion else Motion(frames, 1.0, np.inf)
    problem = Problem(kinematics, observations_of(rig, seen_hands, device), prior, terms or {})
    solved = solve_sequence(problem, state, moves)
    corrections = None
    for _ in range(_BIAS_ITERATIONS if view_bias is not None else 0):
        corrections = apply_view_bias(view_bias, rig, kinematics, solved.state)
        problem = replace(problem, observations=observations_of(rig, seen_hands, device, corrections))
        solved = solve_sequence(problem, solved.state, moves)
    return Fit(problem, moves, solved, corrections)


def _between(state: HandState, seen: Int[np.ndarray, " seen"], n: int) -> HandState:
    """A state of `n` frames from that of some of them: the others turn evenly from the one before to the one after."""
    if len(seen) == n:
        return state
    after = np.searchsorted(seen, np.arange(n)).clip(1, len(seen) - 1)
    before = after - 1
    share = torch.as_tensor((np.arange(n) - seen[before]) / (seen[after] - seen[before])).to(state.translation)
    first, second = torch.as_tensor(before), torch.as_tensor(after)
    turned = interpolated_rotation(state.rotations[first], state.rotations[second], share[:, None])
    shifted = torch.lerp(state.translation[first], state.translation[second], share[:, None])
    return HandState(turned, shifted, state.betas[first])
