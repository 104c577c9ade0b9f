"""Learn a person from many frames together: the shape of the hands, the detector's offsets on them, the unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from handgen.detect.view_bias import DetectorCalibration
from handgen.fit.initialization import betas_from_lengths, rigid_lengths, start
from handgen.fit.kinematics import HandState, KeypointKinematics
from handgen.fit.observations import (
    Corrections,
    Offsets,
    apply_view_bias,
    kinematics_of,
    observations_of,
    triangulated,
    valid_of,
)
from handgen.fit.residuals import PosePrior
from handgen.fit.solver import Problem, solve_poses, solve_shared
from handgen.geometry.camera import Rig, UnscaledRig
from handgen.hand.model import HandModel, forward_kinematics
from handgen.hand.skeleton import KEYPOINT_CARRIERS, MIRROR_X
from handgen.multiview.association import MultiviewHand

# Detection errors repeat from frame to frame: this many frames count as one against the priors of betas and offsets.
_FRAMES_PER_INDEPENDENT_ONE = 10
_OFFSET_ROUNDS = 3
HandsBySide = Mapping[str, Sequence[MultiviewHand]]
SURE_ERROR_SHARE = 0.05  # hands whose views disagree more teach the betas nothing
_SCALE_ROUNDS = 2  # the second changes the unit by less than a tenth of a per mille
OFFSET_SIGMA_M = 0.003  # how far a person's detector offsets stray from the ones measured on rendered hands


@dataclass(frozen=True)
class HandShape:
    """The betas that both hands of a person have in all frames. frames: how many they were learnt from."""

    betas: Float[np.ndarray, " 10"]
    frames: int = 0


def fit_subject(
    hand_model: str,
    detector: DetectorCalibration,
    rig: Rig,
    hands: HandsBySide,
    device: str = "cpu",
    offset_sigma_m: float = OFFSET_SIGMA_M,
) -> tuple[HandShape, DetectorCalibration]:
    """Fit the betas of one person and the detector's offsets on this person to hands of each side.

    They are the likeliest together: unit Gaussian betas, offsets with a deviation of `offset_sigma_m` around those
    given.
    """
    lengths = _median_lengths([hand for found in hands.values() for hand in found])
    offsets = detector.offsets_m
    corrections: list[Corrections | None] = [None] * len(hands)
    for _ in range(_OFFSET_ROUNDS):
        kinematics = {side: kinematics_of(hand_model, side, offsets, device) for side in hands}
        problems, states = _shared_fit(kinematics, rig, hands, corrections, lengths)
        betas = states[0].betas[0].cpu()
        offsets = likeliest_offsets(problems, states, offsets, detector.offsets_m, offset_sigma_m)
        fitted = zip(kinematics.values(), states, strict=True)
        corrections = [apply_view_bias(detector.view_bias, rig, kin, state) for kin, state in fitted]
    return HandShape(betas.numpy(), sum(map(len, hands.values()))), replace(detector, offsets_m=offsets)


def estimate_metres_per_unit(
    hand_model: str, detector: DetectorCalibration, rig: UnscaledRig, hands: HandsBySide, device: str = "cpu"
) -> tuple[float, float]:
    """The unit with which the person's hands have the model's mean size, and its standard deviation as a share of it.

    Of the bones' fitted shape the size alone is taken for mean: that people with such proportions have larger or
    smaller hands would make the unit surer by a tenth of that at best, and a detector's errors fake it (12 % once, of
    MediaPipe). The deviation is that of people's sizes and that of the hands' views together. hands: by side, in the
    unit of `rig`.
    """
    side = next(iter(hands))  # sizes are the same on both
    model = HandModel.load(hand_model, side)
    mean = torch.zeros(10, dtype=model.dtype)
    everyone = [hand for found in hands.values() for hand in found]
    rest = kinematics_of(hand_model, side, detector.offsets_m).rest(mean)
    scale = float((rigid_lengths(rest) / _median_lengths(everyone)).nanmedian())
    for _ in range(_SCALE_ROUNDS):
        in_metres = {side: [hand.scaled(scale) for hand in found] for side, found in hands.items()}
        shape, _ = fit_subject(hand_model, detector, rig.in_metres(scale), in_metres, device)
        scale *= _size(model, mean) / _size(model, torch.as_tensor(shape.betas))
    people = [(_size(model, each) - _size(model, -each)) / 2 for each in torch.eye(10, dtype=model.dtype)]
    views = float(np.median([hand.error_share for hand in everyone])) / np.sqrt(len(everyone))
    return scale, float(np.hypot(np.linalg.norm(people) / _size(model, mean), views))


def size_factor(hand_model: str, detector: DetectorCalibration, hands: Mapping[str, Sequence[MultiviewHand]]) -> float:
    """Size of a person's hands in the model's mean size, by their rigid lengths. hands: by side, in metres."""
    rest = kinematics_of(hand_model, next(iter(hands)), detector.offsets_m).rest(torch.zeros(10, dtype=torch.float64))
    lengths = _median_lengths([hand for found in hands.values() for hand in found])
    return float((lengths / rigid_lengths(rest)).nanmedian())


def _size(model: HandModel, betas: Float[Tensor, " 10"]) -> float:
    return float(rigid_lengths(model.rest_keypoints(betas)).sum())


def _shared_fit(
    kinematics: Mapping[str, KeypointKinematics],
    rig: Rig,
    hands: HandsBySide,
    corrections: Sequence[Corrections | None],
    lengths: Float[Tensor, " pairs"],
) -> tuple[list[Problem], list[HandState]]:
    problems: list[Problem] = []
    states: list[HandState] = []
    for (side, found), corrected in zip(hands.items(), corrections, strict=True):
        kin = kinematics[side]
        first = betas_from_lengths(kin, lengths.to(kin.offsets))
        observed = observations_of(rig, found, str(kin.offsets.device), corrected)
        problem = Problem(kin, observed, PosePrior.of(kin.model))
        points, valid = triangulated(found).to(first), valid_of(found, first.device)
        state, _ = solve_poses(problem, start(kin, points, first, valid), steps=6)
        problems.append(problem)
        states.append(state.with_betas(states[0].betas[0]) if states else state)
    return problems, solve_shared(problems, states, betas_weight=frames_per_independent_one(states))


def frames_per_independent_one(states: Sequence[HandState]) -> float:
    """The number of frames that count as one."""
    return float(min(_FRAMES_PER_INDEPENDENT_ONE, sum(map(len, states))))


def likeliest_offsets(
    problems: Sequence[Problem], states: Sequence[HandState], offsets_m: Offsets, expected_m: Offsets, sigma_m: float
) -> Offsets:
    """Take one Gauss-Newton step on the offsets with poses and betas held, under their prior around `expected_m`."""
    information = np.tile(np.eye(3), (21, 1, 1)) / sigma_m**2
    gradient = (offsets_m - expected_m) / sigma_m**2
    for problem, state in zip(problems, states, strict=True):
        points = problem.kinematics.keypoints(state)
        term = problem.observations.reprojection(points)
        rest = problem.kinematics.model.rest_joints.expand(len(state), -1, -1)
        rotations = forward_kinematics(state.rotations, rest)[0][:, list(KEYPOINT_CARRIERS)]
        local = torch.einsum("nkab,nkac,nkcd->kbd", rotations, term.information, rotations)
        pull = torch.einsum("nkab,nka->kb", rotations, term.gradient)
        mirror = pull.new_tensor((1.0, 1.0, 1.0) if problem.kinematics.model.side == "right" else MIRROR_X)
        information += (local * mirror * mirror[:, None]).cpu().numpy() / frames_per_independent_one(states)
        gradient += (pull * mirror).cpu().numpy() / frames_per_independent_one(states)
    return offsets_m - np.linalg.solve(information, gradient[..., None])[..., 0]


def _median_lengths(hands: Sequence[MultiviewHand]) -> Float[Tensor, " pairs"]:
    """Medians over frames of the lengths that no pose changes."""
    points = triangulated(hands)
    points[~valid_of(hands, points.device)] = torch.nan
    return rigid_lengths(points).nanmedian(0).values
