"""How simulated hands move: smooth ways through poses while the whole hand moves about, at any moment.

World frame of a simulated capture: metres, z up, the hands around the origin, the person at negative y, the
middle of the cameras at positive y.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from handgen.hand.layout import FINGER_JOINTS, JOINT_COUNT, MCP_KEYPOINTS, WRIST
from handgen.hand.model import HandModel
from handgen.simulate.poses import POSES, hand_pose, pose_angles_deg, random_angles_deg, varied

_PALM_SHARE = 0.9  # of the way from the wrist to the knuckles: the point that placements are about
_MARGIN_S = 1.0  # of poses before the first and after the last frame, whose exposures reach a little beyond


@dataclass(frozen=True)
class MotionStyle:
    """A temper. seconds_per_pose: from one pose to the next. random_share: of poses without a name.

    turn_deg: largest turns about x, y and z; drift_m: largest shifts; both with periods near `period_s`.
    """

    seconds_per_pose: float
    random_share: float
    turn_deg: tuple[float, float, float]
    drift_m: tuple[float, float, float]
    period_s: float


STYLES = {
    "calm": MotionStyle(0.8, 0.4, (14.0, 14.0, 34.0), (0.04, 0.04, 0.03), 2.8),
    "fast": MotionStyle(0.35, 0.4, (20.0, 20.0, 40.0), (0.065, 0.05, 0.045), 0.8),
}


@dataclass(frozen=True)
class HandMotion:
    """One hand at some moments, as `handgen.hand.model.HandPose` means it.

    rotations: axis-angle, radians, world orientation first. translation: smplx's transl, metres.
    """

    rotations: Float[np.ndarray, "times 16 3"]
    translation: Float[np.ndarray, "times 3"]


class HandPath(Protocol):
    """One hand over a whole capture."""

    def at(self, times_s: Float[np.ndarray, " times"]) -> HandMotion:
        """The hand at these moments; a little before the first frame and after the last one, too."""
        ...


def raised_hand(model: HandModel) -> Float[np.ndarray, "3 3"]:
    """The rotation that points the fingers up and turns the palm to the middle of the cameras (+y)."""
    rest = model.rest_joints.cpu().numpy()
    fingers = np.sign(rest[FINGER_JOINTS["middle"][0], 0] - rest[0, 0])
    up, back = np.array([0.0, 0.0, 1.0]) * fingers, np.array([0.0, -1.0, 0.0])
    return np.stack([up, back, np.cross(up, back)], 1)  # where x, y and z of the rest pose go


def placed(
    model: HandModel,
    betas: Float[np.ndarray, " 10"],
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
    betas: Float[np.ndarray, " 10"]
    angles_rad: PchipInterpolator
    turn_rad: Wander
    drift_m: Wander
    around: Float[np.ndarray, " 3"]

    def at(self, times_s: Float[np.ndarray, " times"]) -> HandMotion:
        """See `HandPath`."""
        orientation = Rotation.from_euler("xyz", self.turn_rad(times_s)).as_matrix() @ raised_hand(self.model)
        within = times_s.clip(self.angles_rad.x[0], self.angles_rad.x[-1])
        return placed(self.model, self.betas, orientation, self.around + self.drift_m(times_s), self.angles_rad(within))


def single_hand(
    model: HandModel,
    betas: Float[np.ndarray, " 10"],
    seconds: float,
    style: MotionStyle,
    around: Float[np.ndarray, " 3"],
    rng: np.random.Generator,
) -> SingleHand:
    """A random path of `seconds`. around: the point that the palm moves about, metres."""
    clock = np.arange(-_MARGIN_S, seconds + _MARGIN_S + style.seconds_per_pose, style.seconds_per_pose)
    keys, last = [], ""
    for _ in clock:
        if rng.random() < style.random_share:
            keys.append(random_angles_deg(rng))
            continue
        last = str(rng.choice([name for name in POSES if name != last]))
        keys.append(varied(pose_angles_deg(POSES[last]), rng))
    limits = model.arrays.joint_limits_rad
    angles = np.radians(np.stack(keys)).clip(limits[..., 0], limits[..., 1])
    turn = Wander.draw(np.radians(style.turn_deg), 0.75 * style.period_s, rng)
    drift = Wander.draw(np.array(style.drift_m), style.period_s, rng)
    return SingleHand(model, betas, PchipInterpolator(clock, angles, axis=0), turn, drift, around)


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
