"""Observed hands -> fitted hands: from clusters of detections to model poses, and a subject's betas and scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from handgen.associate import Cluster
from handgen.cameras import Rig
from handgen.fit.kinematics import HandState, KeypointKinematics
from handgen.fit.residuals import Observations, PosePrior
from handgen.fit.solve import Problem, solve_poses, solve_shared
from handgen.fit.start import betas_from_lengths, rigid_lengths, start
from handgen.hand.model import HandModel, HandPose
from handgen.so3 import axis_angle_from_rotation

# Detection errors repeat from frame to frame: this many frames count as one when betas are weighed against their prior.
_FRAMES_PER_INDEPENDENT_ONE = 10
_SCALE_ROUNDS = 2


@dataclass(frozen=True)
class FittedHands:
    """`n` frames of one hand. keypoints: of the model; observed_keypoints: where the detector would put them. World, metres."""

    pose: HandPose
    keypoints: Float[np.ndarray, "n 21 3"]
    observed_keypoints: Float[np.ndarray, "n 21 3"]
    vertices: Float[np.ndarray, "n 778 3"]


@dataclass(frozen=True)
class Subject:
    """What a person's hands have in common in all frames. metres_per_unit: of the rig that was given."""

    betas: Float[np.ndarray, "10"]
    metres_per_unit: float
    frames: int


def kinematics_of(
    hand_model: str, side: str, offsets_m: Float[np.ndarray, "21 3"], device: str = "cpu"
) -> KeypointKinematics:
    """Keypoints of one side as a detector sees them. offsets_m: of the right hand; mirrored for the left."""
    model = HandModel.load(hand_model, side, device=device)
    mirrored = offsets_m if side == "right" else offsets_m * (-1.0, 1.0, 1.0)
    return KeypointKinematics(model, torch.as_tensor(mirrored))


def observations_of(rig: Rig, clusters: Sequence[Cluster], device: str = "cpu") -> Observations:
    """Detections as the solver wants them: ideal pixels, and weights that know each detection's noise."""
    n, views = len(clusters), len(rig)
    pixels = np.zeros((n, views, 21, 2))
    weight = np.zeros((n, views, 21))
    for i, cluster in enumerate(clusters):
        for v, view in enumerate(cluster.views):
            if view is not None:
                pixels[i, v] = view.ideal_px
                weight[i, v] = view.detection.confidence / view.noise_px**2
    projections = np.stack([camera.ideal_px_from_world for camera in rig])
    return Observations(*(torch.as_tensor(a, device=device) for a in (projections, pixels, weight)))


def triangulated(clusters: Sequence[Cluster], scale: float = 1.0) -> Float[Tensor, "n 21 3"]:
    """The clusters' triangulated keypoints, times `scale`."""
    return torch.as_tensor(np.stack([cluster.points_world for cluster in clusters])) * scale


def fit_poses(
    kinematics: KeypointKinematics, rig: Rig, clusters: Sequence[Cluster], betas: Float[np.ndarray, "10"]
) -> FittedHands:
    """Fit each cluster's pose with the subject's betas. `rig` and the clusters are in metres."""
    device = str(kinematics.offsets.device)
    shape = torch.as_tensor(betas).to(kinematics.offsets)
    problem = Problem(kinematics, observations_of(rig, clusters, device), PosePrior.of(kinematics.model))
    state, _ = solve_poses(problem, start(kinematics, triangulated(clusters).to(shape), shape))
    pose = HandPose(axis_angle_from_rotation(state.rotations), state.translation, state.betas)
    posed = kinematics.model(pose)
    return FittedHands(
        HandPose(pose.rotations.cpu(), pose.translation.cpu(), pose.betas.cpu()),
        posed.keypoints.cpu().numpy(),
        kinematics.keypoints(state).cpu().numpy(),
        posed.vertices.cpu().numpy(),
    )


def fit_subject(
    kinematics: Sequence[KeypointKinematics],
    rig: Rig,
    clusters: Sequence[Sequence[Cluster]],
    estimate_scale: bool,
) -> Subject:
    """Betas of one person from clusters of each side (one sequence per kinematics), and the scale of the world.

    estimate_scale: the rig's unit is unknown; choose it so that the hand has the model's mean size.
    """
    lengths = torch.cat([rigid_lengths(triangulated(found)) for found in clusters])
    zero = torch.zeros(10, dtype=torch.float64)
    mean_lengths = rigid_lengths(kinematics[0].rest(zero).cpu())
    scale = float((mean_lengths / lengths.median(0).values).median()) if estimate_scale else 1.0
    mean_size = float(rigid_lengths(kinematics[0].model.rest_keypoints(zero.to(kinematics[0].offsets))).sum())
    betas = zero
    for _ in range(_SCALE_ROUNDS if estimate_scale else 1):
        betas = _shared_betas(kinematics, rig.scaled(scale), clusters, scale, lengths * scale)
        if estimate_scale:
            model = kinematics[0].model
            size = float(rigid_lengths(model.rest_keypoints(betas.to(kinematics[0].offsets))).sum())
            scale *= mean_size / size
    if estimate_scale:
        betas = _shared_betas(kinematics, rig.scaled(scale), clusters, scale, lengths * scale)
    return Subject(betas.numpy(), scale, len(lengths))


def _shared_betas(
    kinematics: Sequence[KeypointKinematics],
    rig: Rig,
    clusters: Sequence[Sequence[Cluster]],
    scale: float,
    lengths: Float[Tensor, "frames pairs"],
) -> Float[Tensor, "10"]:
    first = betas_from_lengths(kinematics[0], lengths.median(0).values.to(kinematics[0].offsets))
    problems, states = [], []
    for side, found in zip(kinematics, clusters, strict=True):
        observations = observations_of(rig, found, str(side.offsets.device))
        problem = Problem(side, observations, PosePrior.of(side.model))
        state, _ = solve_poses(problem, start(side, triangulated(found, scale).to(first), first), steps=6)
        problems.append(problem)
        states.append(state)
    weight = max(1.0, len(lengths) / _FRAMES_PER_INDEPENDENT_ONE)
    solved = solve_shared(problems, states, betas_weight=weight)
    return solved[0].betas[0].cpu()


def in_metres(rig: Rig, clusters: Sequence[Cluster], factor: float) -> tuple[Rig, list[Cluster]]:
    """A rig and its clusters in a world scaled by `factor`."""
    return rig.scaled(factor), [replace(c, points_world=c.points_world * factor) for c in clusters]


def poses_as_arrays(pose: HandPose) -> tuple[Float[np.ndarray, "n 48"], Float[np.ndarray, "n 3"]]:
    """Poses and translations as records hold them."""
    return pose.rotations.reshape(len(pose), 48).numpy(), pose.translation.numpy()


def state_of(pose: HandPose) -> HandState:
    """A solver's state of given poses."""
    from handgen.so3 import rotation_from_axis_angle

    return HandState(rotation_from_axis_angle(pose.rotations), pose.translation, pose.betas)


def finite(fitted: FittedHands) -> Bool[np.ndarray, " n"]:
    """Frames whose fit is made of finite numbers."""
    return np.isfinite(fitted.keypoints).all((1, 2)) & np.isfinite(fitted.pose.rotations.numpy()).all((1, 2))
