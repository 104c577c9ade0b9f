"""What the simulated hands do: smooth ways through named poses while the whole hand moves about.

World frame of a simulated capture: metres, z up, the hands around the origin, the person at negative y, the
middle of the ring of cameras at positive y.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from handgen.hand.layout import FINGER_JOINTS, JOINT_COUNT, MCP_KEYPOINTS, WRIST
from handgen.hand.model import HandModel

Bend = tuple[float, float, float]  # flexion of a finger's three joints, degrees
_STRAIGHT: Bend = (4, 5, 3)
_CURLED: Bend = (78, 88, 50)


@dataclass(frozen=True)
class NamedPose:
    """Anatomical angles of one pose, degrees.

    index, middle, ring, pinky: flexion of knuckle and both hinges. spread: 1 fans the fingers out, 0 holds
    them together. thumb_base: flexion, abduction, twist. thumb: flexion of its two outer joints.
    """

    index: Bend
    middle: Bend
    ring: Bend
    pinky: Bend
    spread: float
    thumb_base: Bend
    thumb: tuple[float, float]


POSES: dict[str, NamedPose] = {
    "open": NamedPose(_STRAIGHT, _STRAIGHT, _STRAIGHT, _STRAIGHT, 1.0, (-8, 4, 0), (2, 2)),
    "flat": NamedPose(_STRAIGHT, _STRAIGHT, _STRAIGHT, _STRAIGHT, 0.0, (0, -6, 0), (5, 5)),
    "relaxed": NamedPose((18, 24, 12), (24, 30, 14), (28, 32, 16), (30, 30, 16), 0.25, (4, 2, 0), (12, 15)),
    "fist": NamedPose(_CURLED, _CURLED, _CURLED, _CURLED, 0.0, (38, -16, 12), (44, 50)),
    "point": NamedPose((5, 8, 4), (74, 86, 48), (76, 88, 48), (74, 84, 46), 0.0, (38, -14, 12), (40, 46)),
    "peace": NamedPose((4, 6, 4), (4, 6, 4), (72, 86, 48), (72, 84, 46), 0.9, (38, -16, 12), (42, 48)),
    "pinch": NamedPose((50, 48, 23), (24, 28, 14), (18, 22, 12), (14, 18, 10), 0.4, (12, 11, 5), (17, 21)),
    "grasp": NamedPose((36, 42, 24), (38, 44, 26), (40, 46, 26), (42, 46, 26), 0.5, (8, 22, 6), (16, 22)),
    "thumb_up": NamedPose(_CURLED, _CURLED, _CURLED, _CURLED, 0.0, (-18, -10, 0), (-4, -6)),
}
# The fan: abduction of each knuckle, degrees, positive to the thumb's side.
SPREAD_DEG = {"index": 9.0, "middle": 2.0, "ring": -5.0, "pinky": -12.0}


@dataclass(frozen=True)
class HandMotion:
    """One hand over all frames, as `handgen.hand.model.HandPose` means it.

    rotations: axis-angle, radians, world orientation first. translation: smplx's transl, metres.
    """

    rotations: Float[np.ndarray, "frames 16 3"]
    translation: Float[np.ndarray, "frames 3"]


def pose_angles_deg(pose: NamedPose) -> Float[np.ndarray, "15 3"]:
    """Flexion, abduction and twist of joints 1 to 15."""
    angles = np.zeros((JOINT_COUNT, 3))
    for finger, spread in SPREAD_DEG.items():
        joints = list(FINGER_JOINTS[finger])
        angles[joints, 0] = getattr(pose, finger)
        angles[joints[0], 1] = pose.spread * spread
    base, middle, tip = FINGER_JOINTS["thumb"]
    angles[base] = pose.thumb_base
    angles[middle, 0], angles[tip, 0] = pose.thumb
    return angles[1:]


def hand_pose(model: HandModel, angles_rad: Float[np.ndarray, "*batch 15 3"]) -> Float[np.ndarray, "*batch 15 3"]:
    """Axis-angle of joints 1 to 15 from anatomical angles, which are brought within their limits first."""
    limits = model.arrays.joint_limits_rad
    angles = np.clip(angles_rad, limits[..., 0], limits[..., 1])
    return np.einsum("...ja,jac->...jc", angles, model.arrays.joint_axes)


def raised_hand(model: HandModel) -> Float[np.ndarray, "3 3"]:
    """The rotation that points the fingers up and turns the palm to the middle of the cameras (+y)."""
    rest = model.rest_joints.cpu().numpy()
    fingers = np.sign(rest[FINGER_JOINTS["middle"][0], 0] - rest[0, 0])
    up, back = np.array([0.0, 0.0, 1.0]) * fingers, np.array([0.0, -1.0, 0.0])
    return np.stack([up, back, np.cross(up, back)], 1)  # where x, y and z of the rest pose go


def simulate_motion(
    model: HandModel,
    betas: Float[np.ndarray, " 10"],
    frames: int,
    frames_per_second: float,
    around: Float[np.ndarray, " 3"],
    rng: np.random.Generator,
) -> HandMotion:
    """A hand that goes through poses in random order, each a little varied, and turns and drifts around.

    around: the point that the palm moves about, metres.
    """
    time = np.arange(frames) / frames_per_second
    seconds_per_pose = 0.6
    count = max(2, int(np.ceil(time[-1] / seconds_per_pose)) + 1)
    names = ["open"]
    while len(names) < count:
        names.extend(rng.permutation([name for name in POSES if name != names[-1]]).tolist())
    keys = np.stack([pose_angles_deg(POSES[name]) for name in names[:count]])
    keys = keys + rng.normal(0, 1, keys.shape) * np.array([4.0, 1.5, 1.0])
    clock = np.arange(count) * seconds_per_pose
    angles = PchipInterpolator(clock, np.radians(keys), axis=0)(time)

    turn_deg = np.stack([_wander(time, rng, 2.2) for _ in range(3)], 1) * np.array([14.0, 14.0, 34.0])
    turn_deg += np.array([-6.0, 0.0, 0.0])
    orientation = Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix() @ raised_hand(model)
    center = around + np.stack([_wander(time, rng, 3.0) for _ in range(3)], 1) * np.array([0.04, 0.04, 0.03])

    rotations = np.zeros((frames, JOINT_COUNT, 3))
    rotations[:, 0] = Rotation.from_matrix(orientation).as_rotvec()
    rotations[:, 1:] = hand_pose(model, angles)
    keypoints = model.rest_keypoints(torch.as_tensor(betas, dtype=model.dtype)).cpu().numpy()
    palm = (keypoints[list(MCP_KEYPOINTS)].mean(0) - keypoints[WRIST]) * 0.9
    wrist = center - (orientation @ palm[:, None])[..., 0]
    return HandMotion(rotations, wrist - keypoints[WRIST])


def _wander(time: np.ndarray, rng: np.random.Generator, period_s: float) -> np.ndarray:
    """A smooth curve within -1 to 1: two sines of random phase, near `period_s` and half of it."""
    periods = period_s * np.array([1.0, 0.53]) * rng.uniform(0.8, 1.25, 2)
    phases = rng.uniform(0, 2 * np.pi, 2)
    return 0.7 * np.sin(2 * np.pi * time / periods[0] + phases[0]) + 0.3 * np.sin(
        2 * np.pi * time / periods[1] + phases[1]
    )
