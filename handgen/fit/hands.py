"""Observed hands -> fitted hands: from clusters of detections to model poses, and a subject's betas and scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from handgen.associate import Cluster
from handgen.cameras import Camera, Rig
from handgen.detect.bias import ViewBias
from handgen.fit.corrections import Corrections, corrections_of
from handgen.fit.kinematics import HandState, KeypointKinematics
from handgen.fit.residuals import Observations, PosePrior
from handgen.fit.solve import Problem, solve_poses, solve_shared
from handgen.fit.start import betas_from_lengths, rigid_lengths, start
from handgen.hand.layout import KEYPOINT_CARRIERS, MIRROR_X
from handgen.hand.model import HandModel, HandPose, forward_kinematics
from handgen.so3 import axis_angle_from_rotation

# Detection errors repeat from frame to frame: this many frames count as one against the priors of betas and offsets.
_FRAMES_PER_INDEPENDENT_ONE = 10
_OFFSET_ROUNDS = 3
_SECOND_LOOKS = 2  # a third moves keypoints by another 0.02 mm on average, against 0.13 mm of the second
OFFSET_SIGMA_M = 0.003  # how far a person's detector offsets stray from the ones measured on rendered hands


@dataclass(frozen=True)
class FittedHands:
    """`n` frames of one hand in the world, metres.

    poses, translations: as a record holds them (`handgen.hand.model.HandPose`). keypoints: of the model.
    observed_keypoints: where the detector would put them, by its constant offsets. shift_px: what the side that they
    are seen from adds to that, in the rig's ideal images.
    """

    poses: Float[np.ndarray, "n 48"]
    translations: Float[np.ndarray, "n 3"]
    keypoints: Float[np.ndarray, "n 21 3"]
    observed_keypoints: Float[np.ndarray, "n 21 3"]
    shift_px: Float[np.ndarray, "n views 21 2"]
    vertices: Float[np.ndarray, "n 778 3"]

    def __getitem__(self, frames: Int[np.ndarray, " kept"]) -> FittedHands:
        """Some of the frames."""
        arrays = (self.poses, self.translations, self.keypoints, self.observed_keypoints, self.shift_px, self.vertices)
        return FittedHands(*(array[frames] for array in arrays))

    def expected_px(self, view: int, camera: Camera) -> Float[np.ndarray, "n 21 2"]:
        """Where the detector should have seen the keypoints in a camera, the rig's number `view`; its own pixels.

        The shift is that of the ideal image: a few pixels, which a lens distorts by a few per cent.
        """
        return camera.project(self.observed_keypoints)[0] + self.shift_px[:, view]

    @property
    def finite(self) -> Bool[np.ndarray, " n"]:
        """Frames whose fit is made of finite numbers."""
        return np.isfinite(self.vertices).all((1, 2)) & np.isfinite(self.poses).all(1)


@dataclass(frozen=True)
class Subject:
    """What a person's hands have in common in all frames.

    metres_per_unit: of the rig that was given. offsets_m: (21, 3), the detector's offsets on this person, as
    `detect.base.Detector.offsets_m`. frames: how many it was learnt from. view_bias: of the detector, on anybody.
    """

    betas: Float[np.ndarray, " 10"]
    metres_per_unit: float
    offsets_m: Float[np.ndarray, "21 3"]
    frames: int
    view_bias: ViewBias | None = None


def kinematics_of(
    hand_model: str, side: str, offsets_m: Float[np.ndarray, "21 3"], device: str = "cpu"
) -> KeypointKinematics:
    """Keypoints of one side as a detector sees them. offsets_m: of the right hand; mirrored for the left."""
    model = HandModel.load(hand_model, side, device=device)
    mirrored = offsets_m if side == "right" else offsets_m * MIRROR_X
    return KeypointKinematics(model, torch.as_tensor(mirrored))


def observations_of(
    rig: Rig, clusters: Sequence[Cluster], device: str = "cpu", corrections: Corrections | None = None
) -> Observations:
    """Detections as the solver wants them: ideal pixels, and weights that know each detection's noise.

    corrections: of the same frames, from an earlier fit.
    """
    n, views = len(clusters), len(rig)
    pixels = np.zeros((n, views, 21, 2))
    weight = np.zeros((n, views, 21))
    for i, cluster in enumerate(clusters):
        for v, view in enumerate(cluster.views):
            if view is not None:
                pixels[i, v] = view.ideal_px
                weight[i, v] = view.confidence / view.noise_px**2
    if corrections is not None:
        pixels = pixels - corrections.shift_px
        weight = weight / corrections.noise_factor**2
    projections = np.stack([camera.ideal_px_from_world for camera in rig])
    return Observations(*(torch.as_tensor(a, device=device) for a in (projections, pixels, weight)))


def triangulated(clusters: Sequence[Cluster], scale: float = 1.0) -> Float[Tensor, "n 21 3"]:
    """The clusters' triangulated keypoints, times `scale`."""
    return torch.as_tensor(np.stack([cluster.points_world for cluster in clusters])) * scale


def _valid(clusters: Sequence[Cluster], device: torch.device) -> Bool[Tensor, "n 21"]:
    return torch.as_tensor(np.stack([cluster.valid for cluster in clusters]), device=device)


def _median_lengths(clusters: Sequence[Cluster]) -> Float[Tensor, " pairs"]:
    """Medians over frames of the lengths that no pose changes."""
    points = triangulated(clusters)
    points[~_valid(clusters, points.device)] = torch.nan
    return rigid_lengths(points).nanmedian(0).values


def fit_poses(
    kinematics: KeypointKinematics,
    rig: Rig,
    clusters: Sequence[Cluster],
    betas: Float[np.ndarray, " 10"],
    view_bias: ViewBias | None = None,
) -> FittedHands:
    """Fit each cluster's pose with the subject's betas. `rig` and the clusters are in metres.

    view_bias: of the detector; a first fit then tells from which side each keypoint was seen, and through what.
    """
    device = str(kinematics.offsets.device)
    shape = torch.as_tensor(betas).to(kinematics.offsets)
    prior = PosePrior.of(kinematics.model)
    points, valid = triangulated(clusters).to(shape), _valid(clusters, shape.device)
    state = start(kinematics, points, shape, valid)
    state, _ = solve_poses(Problem(kinematics, observations_of(rig, clusters, device), prior), state)
    corrections = None
    for _ in range(_SECOND_LOOKS if view_bias is not None else 0):
        corrections = _corrections(view_bias, rig, kinematics, state)
        observed = observations_of(rig, clusters, device, corrections)
        state, _ = solve_poses(Problem(kinematics, observed, prior), state)
    pose = _pose_of(state)
    posed = kinematics.model(pose)
    return FittedHands(
        poses=pose.rotations.reshape(len(pose), 48).cpu().numpy(),
        translations=pose.translation.cpu().numpy(),
        keypoints=posed.keypoints.cpu().numpy(),
        observed_keypoints=kinematics.keypoints(state).cpu().numpy(),
        shift_px=np.zeros((len(pose), len(rig), 21, 2)) if corrections is None else corrections.shift_px,
        vertices=posed.vertices.cpu().numpy(),
    )


def _pose_of(state: HandState) -> HandPose:
    return HandPose(axis_angle_from_rotation(state.rotations), state.translation, state.betas)


def _corrections(
    view_bias: ViewBias | None, rig: Rig, kinematics: KeypointKinematics, state: HandState
) -> Corrections | None:
    """What the detector's habits do to hands in this state; None without any."""
    if view_bias is None:
        return None
    pose = _pose_of(state)
    posed = kinematics.model(pose)
    return corrections_of(view_bias, rig, kinematics.model, posed, pose.rotations.cpu().numpy())


def fit_subject(
    hand_model: str,
    offsets_m: Float[np.ndarray, "21 3"],
    rig: Rig,
    clusters: Mapping[str, Sequence[Cluster]],
    estimate_scale: bool,
    device: str = "cpu",
    offset_sigma_m: float = OFFSET_SIGMA_M,
    view_bias: ViewBias | None = None,
) -> Subject:
    """Betas of one person from clusters of each side, the detector's offsets on this person, and the world's scale.

    Betas and offsets are the likeliest ones together: unit Gaussian betas, offsets with a deviation of `offset_sigma_m`
    around those given. view_bias: of the detector, what comes on top. estimate_scale: the rig's unit is unknown; choose
    it so that the hand has the model's mean size.
    """
    lengths = _median_lengths([cluster for found in clusters.values() for cluster in found])
    frames = sum(len(found) for found in clusters.values())
    side = next(iter(clusters))  # sizes are the same on both
    model = HandModel.load(hand_model, side)
    betas = torch.zeros(10, dtype=model.dtype)
    mean_size = _size(model, betas)
    scale = 1.0
    if estimate_scale:
        seen = kinematics_of(hand_model, side, offsets_m).rest(betas)
        scale = float((rigid_lengths(seen) / lengths).nanmedian())
    offsets = offsets_m
    corrections: list[Corrections | None] = [None] * len(clusters)
    for _ in range(_OFFSET_ROUNDS):
        kinematics = {side: kinematics_of(hand_model, side, offsets, device) for side in clusters}
        world = rig.scaled(scale)
        problems, states = _shared_fit(kinematics, world, clusters, corrections, scale, lengths * scale)
        betas = states[0].betas[0].cpu()
        offsets = _likeliest_offsets(problems, states, offsets, offsets_m, offset_sigma_m)
        fitted = zip(kinematics.values(), states, strict=True)
        corrections = [_corrections(view_bias, world, kin, state) for kin, state in fitted]
        if estimate_scale:
            scale *= mean_size / _size(model, betas)
    return Subject(betas.numpy(), scale, offsets, frames, view_bias)


def _size(model: HandModel, betas: Float[Tensor, " 10"]) -> float:
    return float(rigid_lengths(model.rest_keypoints(betas)).sum())


def _shared_fit(
    kinematics: Mapping[str, KeypointKinematics],
    rig: Rig,
    clusters: Mapping[str, Sequence[Cluster]],
    corrections: Sequence[Corrections | None],
    scale: float,
    lengths: Float[Tensor, " pairs"],
) -> tuple[list[Problem], list[HandState]]:
    problems: list[Problem] = []
    states: list[HandState] = []
    for (side, found), corrected in zip(clusters.items(), corrections, strict=True):
        kin = kinematics[side]
        first = betas_from_lengths(kin, lengths.to(kin.offsets))
        observed = observations_of(rig, found, str(kin.offsets.device), corrected)
        problem = Problem(kin, observed, PosePrior.of(kin.model))
        points, valid = triangulated(found, scale).to(first), _valid(found, first.device)
        state, _ = solve_poses(problem, start(kin, points, first, valid), steps=6)
        problems.append(problem)
        states.append(state.with_betas(states[0].betas[0]) if states else state)
    return problems, solve_shared(problems, states, betas_weight=_repeats(states))


def _repeats(states: Sequence[HandState]) -> float:
    """How many frames count as one."""
    return float(min(_FRAMES_PER_INDEPENDENT_ONE, sum(map(len, states))))


def _likeliest_offsets(
    problems: Sequence[Problem],
    states: Sequence[HandState],
    offsets_m: Float[np.ndarray, "21 3"],
    expected_m: Float[np.ndarray, "21 3"],
    sigma_m: float,
) -> Float[np.ndarray, "21 3"]:
    """One Gauss-Newton step on the offsets with poses and betas held, under their prior around `expected_m`."""
    information = np.tile(np.eye(3), (21, 1, 1)) / sigma_m**2
    gradient = (offsets_m - expected_m) / sigma_m**2
    for problem, state in zip(problems, states, strict=True):
        points = problem.kinematics.keypoints(state)
        term = problem.observations.reprojection(points)
        rest = problem.kinematics.model.rest_joints.expand(len(state), -1, -1)
        rotations = forward_kinematics(state.rotations, rest)[0][:, list(KEYPOINT_CARRIERS)]
        local = torch.einsum("nkab,nkac,nkcd->kbd", rotations, term.information, rotations)
        pull = torch.einsum("nkab,nka->kb", rotations, term.gradient)
        is_right = problem.kinematics.model.side == "right"
        mirror = torch.ones(3).to(pull) if is_right else torch.tensor(MIRROR_X).to(pull)
        information += (local * mirror * mirror[:, None]).cpu().numpy() / _repeats(states)
        gradient += (pull * mirror).cpu().numpy() / _repeats(states)
    return offsets_m - np.linalg.solve(information, gradient[..., None])[..., 0]


def in_metres(clusters: Sequence[Cluster], factor: float) -> list[Cluster]:
    """Clusters in a world scaled by `factor`."""
    return [replace(cluster, points_world=cluster.points_world * factor) for cluster in clusters]
