"""A person: betas of both hands, the detector's offsets on them, and the world's scale, from many frames together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from handgen.detect.view_bias import ViewBias
from handgen.fit.corrections import Corrections
from handgen.fit.initialization import betas_from_lengths, rigid_lengths, start
from handgen.fit.kinematics import HandState, KeypointKinematics
from handgen.fit.observations import apply_view_bias, kinematics_of, observations_of, triangulated, valid_of
from handgen.fit.residuals import PosePrior
from handgen.fit.solver import Problem, solve_poses, solve_shared
from handgen.geometry.camera import Rig
from handgen.hand.model import HandModel, forward_kinematics
from handgen.hand.skeleton import KEYPOINT_CARRIERS, MIRROR_X
from handgen.multiview.association import MultiviewHand

# Detection errors repeat from frame to frame: this many frames count as one against the priors of betas and offsets.
_FRAMES_PER_INDEPENDENT_ONE = 10
_OFFSET_ROUNDS = 3
OFFSET_SIGMA_M = 0.003  # how far a person's detector offsets stray from the ones measured on rendered hands


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


def fit_subject(
    hand_model: str,
    offsets_m: Float[np.ndarray, "21 3"],
    rig: Rig,
    clusters: Mapping[str, Sequence[MultiviewHand]],
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
        offsets = likeliest_offsets(problems, states, offsets, offsets_m, offset_sigma_m)
        fitted = zip(kinematics.values(), states, strict=True)
        corrections = [apply_view_bias(view_bias, world, kin, state) for kin, state in fitted]
        if estimate_scale:
            scale *= mean_size / _size(model, betas)
    return Subject(betas.numpy(), scale, offsets, frames, view_bias)


def _size(model: HandModel, betas: Float[Tensor, " 10"]) -> float:
    return float(rigid_lengths(model.rest_keypoints(betas)).sum())


def _shared_fit(
    kinematics: Mapping[str, KeypointKinematics],
    rig: Rig,
    clusters: Mapping[str, Sequence[MultiviewHand]],
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
        points, valid = triangulated(found, scale).to(first), valid_of(found, first.device)
        state, _ = solve_poses(problem, start(kin, points, first, valid), steps=6)
        problems.append(problem)
        states.append(state.with_betas(states[0].betas[0]) if states else state)
    return problems, solve_shared(problems, states, betas_weight=repeats(states))


def repeats(states: Sequence[HandState]) -> float:
    """How many frames count as one."""
    return float(min(_FRAMES_PER_INDEPENDENT_ONE, sum(map(len, states))))


def likeliest_offsets(
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
        information += (local * mirror * mirror[:, None]).cpu().numpy() / repeats(states)
        gradient += (pull * mirror).cpu().numpy() / repeats(states)
    return offsets_m - np.linalg.solve(information, gradient[..., None])[..., 0]


def _median_lengths(clusters: Sequence[MultiviewHand]) -> Float[Tensor, " pairs"]:
    """Medians over frames of the lengths that no pose changes."""
    points = triangulated(clusters)
    points[~valid_of(clusters, points.device)] = torch.nan
    return rigid_lengths(points).nanmedian(0).values
