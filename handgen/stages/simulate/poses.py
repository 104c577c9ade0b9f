"""Poses of simulated hands: how named ones vary, random ones, and how a pose is opened until no finger is in another.

Anatomical angles; what they are is said by `handgen.hand.model_files.HandArrays`.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from jaxtyping import Float

from handgen.hand.model import HandModel, HandPose
from handgen.hand.model_files import OPEN_HAND
from handgen.hand.skeleton import FINGER_JOINTS, JOINT_COUNT
from handgen.stages.simulate.named_poses import POSES, SPREAD_DEG, Angles, abduction_deg, closedness, pose_angles_deg
from handgen.stages.simulate.penetration import SelfProbe

# How people differ in a pose of one name, standard deviations in degrees of a finger's three joints: all fingers alike,
# from index to little finger, and each by its own. Closed hands differ more: how tightly, and where they bend.
_LOOSE = (0.3, 1.25)  # of one moment, times the deviations
_ALIKE_DEG, _SLOPE_DEG, _OWN_DEG = np.array([9.0, 9.0, 10.0]), np.array([9.0, 7.0, 5.0]), np.array([4.5, 4.5, 5.5])
_OPEN_SHARE, _CLOSED_SHARE = 0.5, 1.4  # of the deviations, by how closed a finger is
_LEAST_SHARE = np.array([1.2, 0.6, 1.0])  # straight fingers are held up or down from the knuckle
_CLOSED_SHIFT_DEG = np.array([-5.0, -3.0, 12.0])
_LESS = (0.85, 1.18)  # of all flexion
_SIDEWAYS_DEG, _FAN, _PLAY_DEG = 3.0, 0.35, (0.5, 1.0)  # of each knuckle, of the fan, of hinges
_THUMB_BASE_DEG, _THUMB_SHIFT_DEG, _THUMB_BEND_DEG = (8.0, 9.0, 4.0), (0.0, -12.0, 0.0), (10.0, 12.0)
_MIXED_SHARE, _OTHER_FINGER, _OTHER_THUMB = 0.7, 0.25, 0.4  # of random poses; of fingers and thumbs from elsewhere
_MOST_BEND_DEG = np.array([88.0, 112.0, 88.0])
_THUMB_LOW_DEG, _THUMB_HIGH_DEG = (
    np.array([-25.0, -28.0, -10.0, -10.0, -15.0]),
    np.array([35.0, 20.0, 14.0, 50.0, 66.0]),
)
TOLERANCE_M = 0.0045  # of fingers that press against each other: soft flesh (`flesh`), and limits of the skinning
_OPENINGS = (0.0, 0.05, 0.1, 0.16, 0.24, 0.34, 0.45)  # by which a pose is opened, one after the other
_THUMB_AWAY_DEG = np.array([-3.0, 9.0, 0.0])


def vary_angles(angles_deg: Angles, rng: np.random.Generator) -> Angles:
    """Take a pose as another person, or the same one a minute later, would."""
    angles, loose = angles_deg.copy(), rng.uniform(*_LOOSE)
    alike, slope = rng.normal(0, _ALIKE_DEG) * loose, rng.normal(0, _SLOPE_DEG) * loose
    fan = rng.normal(0, _FAN) * loose
    angles[:12, 0] *= rng.uniform(*_LESS)
    for place, (finger, sideways) in enumerate(SPREAD_DEG.items()):
        joints = np.array(FINGER_JOINTS[finger]) - 1
        closed = closedness(angles[joints, 0])
        share = np.maximum(_OPEN_SHARE + (_CLOSED_SHARE - _OPEN_SHARE) * closed, _LEAST_SHARE)
        change = alike + slope * (place - 1.5) / 1.5 + rng.normal(0, _OWN_DEG) * loose
        angles[joints, 0] += share * change + closed * _CLOSED_SHIFT_DEG * rng.uniform(0, 1.5)
        angles[joints[0], 1] += fan * sideways + rng.normal(0, _SIDEWAYS_DEG) * loose
    angles[:12, 1:] += rng.normal(0, 1, (12, 2)) * _PLAY_DEG
    angles[12] += rng.normal(_THUMB_SHIFT_DEG, _THUMB_BASE_DEG)
    angles[13:, 0] += rng.normal(0, _THUMB_BEND_DEG) * loose
    return angles


def random_angles_deg(rng: np.random.Generator) -> Angles:
    """Return a pose of no name: fingers of different named ones, or anywhere in the space of anatomical angles."""
    return vary_angles(_mixed_angles_deg(rng), rng) if rng.random() < _MIXED_SHARE else _any_angles_deg(rng)


def _mixed_angles_deg(rng: np.random.Generator) -> Angles:
    """Take some fingers, and perhaps the thumb, from other named poses."""

    def draw() -> Angles:
        return pose_angles_deg(list(POSES.values())[rng.integers(len(POSES))])

    angles = draw()
    for finger in SPREAD_DEG:
        if rng.random() < _OTHER_FINGER:
            joints = np.array(FINGER_JOINTS[finger]) - 1
            angles[joints] = draw()[joints]
    if rng.random() < _OTHER_THUMB:
        angles[12:] = draw()[12:]
    return angles


def _any_angles_deg(rng: np.random.Generator) -> Angles:
    """Draw every joint by its own, but neighbouring fingers alike, and outer joints mostly after the middle ones."""
    angles = np.zeros((JOINT_COUNT - 1, 3))
    curl = rng.uniform(0, 1)
    for finger in SPREAD_DEG:
        joints = np.array(FINGER_JOINTS[finger]) - 1
        mine = np.clip(curl + rng.normal(0, 0.2), 0, 1)
        knuckle, hinge = np.clip(rng.normal(mine, 0.25, 2), (-0.2, -0.05), 1.05) * _MOST_BEND_DEG[:2]
        outer = np.clip(rng.normal(0.6, 0.25), 0, 1) * hinge * _MOST_BEND_DEG[2] / _MOST_BEND_DEG[1] + rng.normal(0, 6)
        angles[joints, 0] = knuckle, hinge, outer
        bent = max(knuckle, 0.0) / _MOST_BEND_DEG[0]  # bent fingers cannot be spread
        spread = rng.uniform(-0.1, 1.1) * (1 - 0.6 * bent)
        angles[joints[0], 1] = abduction_deg(finger, spread, angles[joints, 0]) + rng.normal(0, _SIDEWAYS_DEG)
    thumb = rng.uniform(_THUMB_LOW_DEG, _THUMB_HIGH_DEG)
    angles[12], angles[13, 0], angles[14, 0] = thumb[:3], thumb[3], thumb[4]
    return angles


def settle(side: str, angles_rad: Angles) -> Angles | None:
    """Open a pose as little as it takes until no finger is in another: closed hands stay nearly as closed as they were.

    Fingers are bent less, and the thumb leaves the palm. None where even half open is not enough.
    """
    for share in _OPENINGS:
        opened = angles_rad.copy()
        opened[:, 0] *= 1 - share
        opened[12] += np.radians(_THUMB_AWAY_DEG) * share
        if is_free(side, opened):
            return opened
    return None


def is_free(side: str, angles_rad: Float[np.ndarray, "15 3"]) -> bool:
    """Tell whether a hand can take a pose without passing through itself.

    Judged on the open hand of mean shape, so that what a capture's seed makes of poses is the same for all people.
    """
    model, probe = _mean_hand(side)
    rotations = np.zeros((1, JOINT_COUNT, 3))
    rotations[0, 1:] = hand_pose(model, angles_rad)
    posed = model(HandPose(torch.as_tensor(rotations), model.template.new_zeros(1, 3), model.template.new_zeros(1, 10)))
    return not probe.passes(posed.vertices[0].numpy(), TOLERANCE_M)


@cache
def _mean_hand(side: str) -> tuple[HandModel, SelfProbe]:
    model = HandModel.load(OPEN_HAND, side)
    return model, SelfProbe.of(model)


def hand_pose(model: HandModel, angles_rad: Float[np.ndarray, "*batch 15 3"]) -> Float[np.ndarray, "*batch 15 3"]:
    """Axis-angle of joints 1 to 15 from anatomical angles, which are brought within their limits first."""
    limits = model.arrays.joint_limits_rad
    angles = np.clip(angles_rad, limits[..., 0], limits[..., 1])
    return np.einsum("...ja,jac->...jc", angles, model.arrays.joint_axes)
