"""Move simulated hands: smooth ways through poses while the whole hand moves about, at any moment.

World frame of a simulated capture: metres, z up, the hands around the origin, the person at negative y, the cameras at
positive y.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from handgen.hand.model import HandModel, HandPose, PosedHand
from handgen.hand.skeleton import FINGER_JOINTS, JOINT_COUNT, MCP_KEYPOINTS, WRIST
from handgen.stages.simulate.named_poses import POSES, pose_angles_deg
from handgen.stages.simulate.poses import hand_pose, is_free, random_angles_deg, settle, vary_angles

Betas = Float[np.ndarray, " 10"]
Vector = Float[np.ndarray, " 3"]
_PALM_SHARE = 0.9  # of the way from the wrist to the knuckles: the point that placements are about
_MARGIN_S = 1.0  # of poses before the first and after the last frame, whose exposures reach a little beyond
_MOST_KEYS = 256  # poses before a path repeats them: what a path costs does not grow with the capture for ever
_BETWEEN = (1 / 3, 2 / 3)  # of the way from a pose to the one before, where it is looked at as well
_MOST_TRIES = 12  # at a pose in which the hand does not pass through itself


@dataclass(frozen=True)
class MotionStyle:
    """A temper. seconds_per_pose: from one pose to the next. random_share: of poses without a name.

    turn_deg: largest turns about x, y and z; drift_m: largest shifts; with periods near those given. bend_deg: largest
    flexion and deviation of the wrist, as often as it turns. names: of poses.
    """

    seconds_per_pose: float
    random_share: float
    turn_deg: tuple[float, float, float]
    turn_period_s: float
    drift_m: tuple[float, float, float]
    drift_period_s: float
    bend_deg: tuple[float, float] = (0.0, 0.0)
    names: tuple[str, ...] = tuple(POSES)


STYLES = {
    "calm": MotionStyle(0.8, 0.4, (14.0, 14.0, 34.0), 2.1, (0.04, 0.04, 0.03), 2.8),
    "fast": MotionStyle(0.3, 0.4, (20.0, 20.0, 40.0), 0.6, (0.065, 0.05, 0.045), 0.55),
    "free": MotionStyle(0.8, 0.4, (75.0, 40.0, 180.0), 5.0, (0.04, 0.04, 0.03), 2.8, (45.0, 18.0)),
}


@dataclass(frozen=True)
class HandMotion:
    """One hand at some moments, as `handgen.hand.model.HandPose` means it.

    rotations: axis-angle, radians, world orientation first. translation: smplx's transl, metres. wrist_rad: flexion and
    deviation against the forearm, which the model has no part of; None for a straight wrist.
    """

    rotations: Float[np.ndarray, "times 16 3"]
    translation: Float[np.ndarray, "times 3"]
    wrist_rad: Float[np.ndarray, "times 2"] | None = None


# One hand at any moments (seconds) of a capture; a little before the first frame and after the last one, too.
HandPath = Callable[[Float[np.ndarray, " times"]], HandMotion]


def finger_direction(model: HandModel) -> float:
    """The sign of x along which the fingers lie at rest."""
    rest = model.rest_joints.cpu().numpy()
    return float(np.sign(rest[FINGER_JOINTS["middle"][0], 0] - rest[0, 0]))


def raised_hand(model: HandModel) -> Float[np.ndarray, "3 3"]:
    """The rotation that points the fingers up and turns the palm to the middle of the cameras (+y)."""
    fingers = finger_direction(model)
    up, back = np.array([0.0, 0.0, 1.0]) * fingers, np.array([0.0, -1.0, 0.0])
    return np.stack([up, back, np.cross(up, back)], 1)  # where x, y and z of the rest pose go


def posed(model: HandModel, betas: Betas, motion: HandMotion) -> PosedHand:
    """The model's vertices, joints and keypoints along a motion, metres."""
    shape = torch.as_tensor(np.tile(betas, (len(motion.translation), 1)))
    return model(HandPose(torch.as_tensor(motion.rotations), torch.as_tensor(motion.translation), shape))


def posed_vertices(model: HandModel, betas: np.ndarray, motion: HandMotion) -> Float[np.ndarray, "times 778 3"]:
    """The model's mesh along a motion, metres."""
    return posed(model, betas, motion).vertices.numpy()


def hand_motion_at(
    model: HandModel,
    betas: Betas,
    orientation: Float[np.ndarray, "times 3 3"],
    palm_m: Float[np.ndarray, "times 3"],
    angles_rad: Float[np.ndarray, "times 15 3"],
) -> HandMotion:
    """A hand whose palm is at `palm_m`, turned by `orientation`, with these anatomical angles."""
    rotations = np.zeros((len(palm_m), JOINT_COUNT, 3))
    rotations[:, 0] = Rotation.from_matrix(orientation).as_rotvec()
    rotations[:, 1:] = hand_pose(model, angles_rad)
    keypoints = model.rest_keypoints(torch.as_tensor(betas, dtype=model.dtype)).cpu().numpy()
    palm = (keypoints[list(MCP_KEYPOINTS)].mean(0) - keypoints[WRIST]) * _PALM_SHARE
    return HandMotion(rotations, palm_m - orientation @ palm - keypoints[WRIST])


@dataclass(frozen=True)
class SingleHand:
    """A hand that goes through poses in random order and turns and drifts around. A `HandPath`."""

    model: HandModel
    betas: Betas
    angles_rad: PchipInterpolator
    turn_rad: Wander
    drift_m: Wander
    bend_rad: Wander
    around: Vector

    def __call__(self, times_s: Float[np.ndarray, " times"]) -> HandMotion:
        """The hand at these moments."""
        orientation = Rotation.from_euler("xyz", self.turn_rad(times_s)).as_matrix() @ raised_hand(self.model)
        angles = self.angles_rad(times_s.clip(self.angles_rad.x[0], self.angles_rad.x[-1]))
        motion = hand_motion_at(self.model, self.betas, orientation, self.around + self.drift_m(times_s), angles)
        return replace(motion, wrist_rad=self.bend_rad(times_s))


def single_hand(
    model: HandModel, betas: Betas, seconds: float, style: MotionStyle, around: Vector, rng: np.random.Generator
) -> SingleHand:
    """A random path of `seconds`. around: the point that the palm moves about, metres."""
    clock = np.arange(-_MARGIN_S, seconds + _MARGIN_S + style.seconds_per_pose, style.seconds_per_pose)
    keys = _keys_rad(model, min(len(clock), _MOST_KEYS), style, rng)
    angles = PchipInterpolator(clock, keys[np.arange(len(clock)) % len(keys)], axis=0)
    turn = Wander.draw(np.radians(style.turn_deg), style.turn_period_s, rng)
    drift = Wander.draw(np.array(style.drift_m), style.drift_period_s, rng)
    bend = Wander.draw(np.radians(style.bend_deg), style.turn_period_s, rng)
    return SingleHand(model, betas, angles, turn, drift, bend, around)


def _keys_rad(
    model: HandModel, count: int, style: MotionStyle, rng: np.random.Generator
) -> Float[np.ndarray, "count 15 3"]:
    """Poses one after the other, between which (`_BETWEEN`) the hand passes through itself no more than in them."""
    limits = model.arrays.joint_limits_rad
    keys = [np.radians(pose_angles_deg(POSES["relaxed"]))]
    name = last = "relaxed"
    while len(keys) <= count:
        for _ in range(_MOST_TRIES):
            name, angles_deg = last, random_angles_deg(rng)
            if rng.random() >= style.random_share:
                name = str(rng.choice([other for other in style.names if other != last]))
                angles_deg = vary_angles(pose_angles_deg(POSES[name]), rng)
            found = settle(model.side, np.radians(angles_deg).clip(limits[..., 0], limits[..., 1]))
            if found is not None and all(is_free(model.side, found + share * (keys[-1] - found)) for share in _BETWEEN):
                key = found
                break
        else:
            name, key = "relaxed", keys[0]
        keys.append(key)
        last = name
    return np.stack(keys[1:])


@dataclass(frozen=True)
class Wander:
    """Smooth curves within +-`reach`: per axis two sines of random phase."""

    reach: Float[np.ndarray, " axes"]
    periods_s: Float[np.ndarray, "axes 2"]
    phases: Float[np.ndarray, "axes 2"]

    @classmethod
    def draw(cls, reach: Float[np.ndarray, " axes"], period_s: float, rng: np.random.Generator) -> Wander:
        """Curves with periods near `period_s` and half of it."""
        periods = period_s * np.array([1.0, 0.53]) * rng.uniform(0.8, 1.25, (len(reach), 2))
        return cls(reach, periods, rng.uniform(0, 2 * np.pi, (len(reach), 2)))

    def __call__(self, times_s: Float[np.ndarray, " times"]) -> Float[np.ndarray, "times axes"]:
        """The curves at some moments."""
        waves = np.sin(2 * np.pi * times_s[:, None, None] / self.periods_s + self.phases)
        return self.reach * (waves @ np.array([0.7, 0.3]))
