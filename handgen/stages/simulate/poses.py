"""Poses of simulated hands: named ones, random ones, the anatomical angles behind them, and touches of both hands.

World frame of a simulated capture: metres, z up, the hands around the origin, the person at negative y, facing +y: the
right hand at positive x.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import torch
from jaxtyping import Float

from handgen.hand.model import HandModel, HandPose
from handgen.hand.model_files import OPEN_HAND
from handgen.hand.skeleton import FINGER_JOINTS, JOINT_COUNT, SIDES
from handgen.stages.simulate.penetration import SelfProbe

Bend = tuple[float, float, float]  # flexion of a finger's three joints, degrees
_STRAIGHT: Bend = (4, 5, 3)
_CURLED: Bend = (78, 88, 50)
# The fan: abduction of each knuckle, degrees, positive to the thumb's side.
SPREAD_DEG = {"index": 9.0, "middle": 2.0, "ring": -5.0, "pinky": -12.0}
_NOISE_DEG = (4.0, 1.5, 1.0)  # of each angle of a pose: flexion, abduction, twist
_CURL_BEND = (80.0, 95.0, 0.65)  # a random curl of 1: knuckle, middle joint, and the outer joint as a share of that
_CURL_NOISE = 0.18  # between neighbouring fingers, which move together
_THUMB_LOW_DEG, _THUMB_HIGH_DEG = np.array([-12.0, -8.0, -5.0, 0.0, 0.0]), np.array([14.0, 18.0, 8.0, 35.0, 45.0])
_THUMB_STAYS_OUT = 0.45  # mean curl of index and middle beyond which a random thumb keeps out of their way
_SAME_POSE_SHARE = 0.45  # of fingers that take their bend from where their neighbour took it
_TOLERANCE_M = 0.002  # of fingers that press against each other: soft flesh, and limits of the skinning
INTERLEAVE, CLASP = "interleave", "clasp"
APART_M = 0.27  # between the palms, where poses change: no fingers reach that far
_LEAN_DEG, _ROOF_DEG, _POKE_YAW_DEG = 25.0, 14.0, 35.0  # away from the person; tips together; an arm from the side
# Flexion and abduction of the knuckles that interleave: gaps of one width where the fingers cross, short ones inwards.
_FAN_DEG = {"index": (14.0, 17.0), "middle": (16.0, 6.0), "ring": (20.0, -5.0), "pinky": (30.0, -22.0)}
_BEND_NOISE_DEG, _TURN_NOISE_DEG = 2.0, 3.0  # from one capture to the next
Angles = Float[np.ndarray, "15 3"]


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


# The thumbs of fist, point and peace lie on the middle phalanges in front of them: solved for that, not guessed.
POSES: dict[str, NamedPose] = {
    "open": NamedPose(_STRAIGHT, _STRAIGHT, _STRAIGHT, _STRAIGHT, 1.0, (-8, 4, 0), (2, 2)),
    "flat": NamedPose(_STRAIGHT, _STRAIGHT, _STRAIGHT, _STRAIGHT, 0.0, (0, -6, 0), (5, 5)),
    "relaxed": NamedPose((18, 24, 12), (24, 30, 14), (28, 32, 16), (30, 30, 16), 0.25, (4, 2, 0), (12, 15)),
    "fist": NamedPose(_CURLED, _CURLED, _CURLED, _CURLED, 0.0, (13, 3, 3), (3, 55)),
    "point": NamedPose((5, 8, 4), (74, 86, 48), (76, 88, 48), (74, 84, 46), 0.0, (17, 7, -13), (23, 28)),
    "peace": NamedPose((4, 6, 4), (4, 6, 4), (72, 86, 48), (72, 84, 46), 0.9, (19, 1, -13), (36, 11)),
    "pinch": NamedPose((50, 48, 23), (24, 28, 14), (18, 22, 12), (14, 18, 10), 0.4, (12, 11, 5), (17, 21)),
    "grasp": NamedPose((36, 42, 24), (38, 44, 26), (40, 46, 26), (42, 46, 26), 0.5, (8, 22, 6), (16, 22)),
    "thumb_up": NamedPose(_CURLED, _CURLED, _CURLED, _CURLED, 0.0, (-18, -10, 0), (-4, -6)),
}


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


def vary_angles(angles_deg: Float[np.ndarray, "15 3"], rng: np.random.Generator) -> Float[np.ndarray, "15 3"]:
    """A pose as another person, or the same one a minute later, would take it."""
    return angles_deg + rng.normal(0, 1, angles_deg.shape) * np.array(_NOISE_DEG)


def random_angles_deg(rng: np.random.Generator) -> Float[np.ndarray, "15 3"]:
    """A pose of no name: fingers curled by their own, or bent like those of different named ones; not yet `is_free`."""
    return _curl_angles_deg(rng) if rng.random() < 0.5 else _recombine_angles_deg(rng)


def _curl_angles_deg(rng: np.random.Generator) -> Float[np.ndarray, "15 3"]:
    """Every finger curled by its own, but neighbours alike; outer joints follow. The thumb keeps out of their way."""
    angles = np.zeros((JOINT_COUNT, 3))
    curl = rng.uniform(0, 1) if rng.random() < 0.5 else rng.beta(0.6, 0.6)
    spread = rng.uniform(-0.1, 1.2)
    curls = {}
    for finger, sideways in SPREAD_DEG.items():
        curl = float(np.clip(curl + rng.normal(0, _CURL_NOISE) + (rng.random() < 0.15) * rng.uniform(-0.8, 0.8), 0, 1))
        curls[finger] = curl
        knuckle, hinge, outer = FINGER_JOINTS[finger]
        angles[knuckle, 0] = curl * _CURL_BEND[0] + rng.normal(0, 6)
        angles[hinge, 0] = curl * _CURL_BEND[1] + rng.normal(0, 6)
        angles[outer, 0] = _CURL_BEND[2] * angles[hinge, 0] + rng.normal(0, 3)
        angles[knuckle, 1] = sideways * spread * (1 - 0.8 * curl)  # bent fingers cannot be spread
    base, middle, tip = FINGER_JOINTS["thumb"]
    thumb = rng.uniform(_THUMB_LOW_DEG, _THUMB_HIGH_DEG)
    if curls["index"] + curls["middle"] > 2 * _THUMB_STAYS_OUT:
        thumb = rng.uniform(_THUMB_LOW_DEG, np.array([0.0, 4.0, 2.0, 10.0, 20.0]))
    angles[base], angles[middle, 0], angles[tip, 0] = thumb[:3], thumb[3], thumb[4]
    return angles[1:]


def _recombine_angles_deg(rng: np.random.Generator) -> Float[np.ndarray, "15 3"]:
    """Fingers from different named poses, each somewhere between there and straight."""
    poses = list(POSES.values())
    pose, spread = poses[rng.integers(len(poses))], rng.uniform(0, 1.1)
    angles = np.concatenate([np.zeros((1, 3)), pose_angles_deg(pose)])  # of which the thumb's stay
    for finger, sideways in SPREAD_DEG.items():
        if rng.random() > _SAME_POSE_SHARE:
            pose = poses[rng.integers(len(poses))]
        share = 1 - 0.35 * rng.random()
        knuckle, hinge, outer = FINGER_JOINTS[finger]
        angles[[knuckle, hinge], 0] = share * np.array(getattr(pose, finger)[:2])
        angles[outer, 0] = _CURL_BEND[2] * angles[hinge, 0]
        angles[knuckle, 1] = sideways * spread * (1 - 0.8 * angles[knuckle, 0] / _CURL_BEND[0])
    return vary_angles(angles[1:], rng)


def is_free(side: str, angles_rad: Float[np.ndarray, "15 3"]) -> bool:
    """Tell whether a hand can take a pose without passing through itself.

    Judged on the open hand of mean shape, so that what a capture's seed makes of poses is the same for all people.
    """
    model, probe = _mean_hand(side)
    rotations = np.zeros((1, JOINT_COUNT, 3))
    rotations[0, 1:] = hand_pose(model, angles_rad)
    posed = model(HandPose(torch.as_tensor(rotations), model.template.new_zeros(1, 3), model.template.new_zeros(1, 10)))
    return not probe.passes(posed.vertices[0].numpy(), _TOLERANCE_M)


@cache
def _mean_hand(side: str) -> tuple[HandModel, SelfProbe]:
    model = HandModel.load(OPEN_HAND, side)
    return model, SelfProbe.of(model)


def hand_pose(model: HandModel, angles_rad: Float[np.ndarray, "*batch 15 3"]) -> Float[np.ndarray, "*batch 15 3"]:
    """Axis-angle of joints 1 to 15 from anatomical angles, which are brought within their limits first."""
    limits = model.arrays.joint_limits_rad
    angles = np.clip(angles_rad, limits[..., 0], limits[..., 1])
    return np.einsum("...ja,jac->...jc", angles, model.arrays.joint_axes)


@dataclass(frozen=True)
class Encounter:
    """Both hands of one kind of touch.

    angles_deg: per side, while the hands move. closed_deg: per side, what fingers close to once the hands have met.
    turns_deg: per side, Euler angles xyz in the world after the palm was turned to the other hand. offset_m: of the
    left palm from the right one across the axis (y, z), halved between them. nearest_m: along x between the palms at
    their nearest.
    """

    name: str
    angles_deg: Mapping[str, Angles]
    turns_deg: Mapping[str, tuple[float, float, float]]
    closed_deg: Mapping[str, Angles] = field(default_factory=dict)
    offset_m: tuple[float, float] = (0.0, 0.0)
    nearest_m: float = APART_M

    def closing_deg(self, side: str, share: float | Float[np.ndarray, "15 1"]) -> Angles:
        """The fingers of a side that has closed by `share`."""
        open_deg = self.angles_deg[side]
        return open_deg + share * (self.closed_deg.get(side, open_deg) - open_deg)


def encounters() -> list[Encounter]:
    """All kinds, not fitted to any hands. Angles of the right hand; the left one mirrors them."""
    flat = pose_angles_deg(replace(POSES["flat"], thumb_base=(0, -28, 0), thumb=(0, 0)))  # the thumb beside the palm
    arched, fanned = (dict.fromkeys(SIDES, x) for x in (_bent(flat, (20, 10, 6), 0.4), _fan_out(flat, (2, 4))))
    lean = dict.fromkeys(SIDES, (-_LEAN_DEG, 0.0, 0.0))
    roof = dict.fromkeys(SIDES, (-_LEAN_DEG, -_ROOF_DEG, 0.0))
    poke = {"right": (0.0, -80.0, -_POKE_YAW_DEG), "left": (-20.0, 0.0, _POKE_YAW_DEG)}
    point, fist = pose_angles_deg(POSES["point"]), pose_angles_deg(POSES["fist"])
    return [
        Encounter("palms", dict.fromkeys(SIDES, flat), lean),
        Encounter("fingertips", arched, roof, dict.fromkeys(SIDES, _bent(flat, (46, 18, 10), 0.4))),
        Encounter(INTERLEAVE, fanned, roof),
        Encounter(CLASP, fanned, roof, dict.fromkeys(SIDES, _fan_out(flat, (80, 45)))),
        Encounter("point", {"right": point, "left": flat}, poke),
        Encounter("grasp", {"right": fist, "left": flat}, poke, {"left": _bent(flat, (70, 80, 45), 0.3)}),
    ]


def _bent(angles_deg: Angles, bend_deg: tuple[float, float, float], spread: float) -> Angles:
    """All four fingers bent alike and fanned out, the thumb as it is."""
    fan = pose_angles_deg(replace(POSES["open"], spread=spread))
    angles = angles_deg.copy()
    angles[:12, 1] = fan[:12, 1]
    angles[:12, 0] = np.tile(bend_deg, 4)
    return angles


def _fan_out(angles_deg: Angles, hinges_deg: tuple[float, float]) -> Angles:
    """All four fingers as `_FAN_DEG` and their outer joints bent alike, the thumb as it is."""
    angles = angles_deg.copy()
    for finger, knuckle_deg in _FAN_DEG.items():
        knuckle, hinge, outer = np.array(FINGER_JOINTS[finger]) - 1
        angles[knuckle, :2] = knuckle_deg
        angles[[hinge, outer], 0] = hinges_deg
    return angles


def vary_encounter(kind: Encounter, rng: np.random.Generator) -> Encounter:
    """Vary a touch as another person would do it, both hands alike, or fingers would not meet."""
    bend = np.zeros((15, 3))
    bend[:, 0] = rng.normal(0, _BEND_NOISE_DEG, 15)
    x, y, z = rng.normal(0, _TURN_NOISE_DEG, 3)
    return replace(
        kind,
        angles_deg={side: angles + bend for side, angles in kind.angles_deg.items()},
        closed_deg={side: angles + bend for side, angles in kind.closed_deg.items()},
        turns_deg={side: (turn[0] + x, turn[1] + y, turn[2] + z) for side, turn in kind.turns_deg.items()},
    )
