"""Folds of the skin: flexion creases of palm and fingers, and wrinkles over the knuckles.

Anatomy: flexion creases lie where the skin is bound down, the finger's over its joints but the first, which lies
between knuckle and middle joint; the palm has a distal and a proximal transverse crease and the thenar crease
(Standring, "Gray's Anatomy", ch. "Wrist and hand"; Kimura, Kitagawa, "Embryological development of human palmar,
plantar, and digital flexion creases", Anat. Rec. 216, 1986).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from handgen.hand.skeleton import FINGER_JOINTS, FINGERS, JOINT_COUNT
from handgen.stages.simulate.skin.canvas import Canvas, smooth_line, wobble
from handgen.stages.simulate.skin.places import Places

# A fold deepens as joint `bends[texel]` flexes; wrinkles, which are numbered after all joints, open instead.
WRINKLE_OF_JOINT = JOINT_COUNT
_CREASE_SIGMA_M, _FINE_SIGMA_M, _WRINKLE_SIGMA_M = 5.2e-4, 2.6e-4, 3.8e-4
_HALF_WIDTH_M = 0.013  # of the flat piece of skin that a finger's creases are drawn on
# Along the bone from the joint, metres, and strength. The first crease of a finger lies at a share of its bone.
_MIDDLE_CREASES = ((-0.0012, 1.0), (0.0013, 0.75))
_OUTER_CREASES = ((-0.0004, 0.9),)
_FIRST_CREASE_SHARE = {"index": 0.47, "middle": 0.43, "ring": 0.45, "pinky": 0.5}
_THUMB_CREASES: dict[int, tuple[tuple[float, float], ...]] = {
    1: ((0.0, 0.7), (0.0045, 0.45)),
    2: ((-0.0008, 1.0), (0.0022, 0.6)),
}
# Palm: x away from the fingers, z to the thumb, metres, through the mean hand's joints.
_PALM_LINES = {
    "distal": (((-0.056, -0.047), (-0.066, -0.030), (-0.074, -0.010), (-0.081, 0.006), (-0.094, 0.013)), 1.0),
    "proximal": (((-0.077, 0.043), (-0.070, 0.026), (-0.060, 0.006), (-0.049, -0.016), (-0.040, -0.034)), 0.9),
    "thenar": (((-0.078, 0.044), (-0.071, 0.029), (-0.054, 0.010), (-0.034, 0.001), (-0.012, 0.001)), 1.0),
    "wrist": (((0.006, -0.026), (0.004, -0.006), (0.005, 0.014), (0.007, 0.032)), 0.7),
    "wrist 2": (((0.013, -0.026), (0.011, -0.004), (0.012, 0.016), (0.014, 0.032)), 0.45),
    "middle": (((-0.022, -0.004), (-0.045, -0.008), (-0.070, -0.003)), 0.3),
}
_PALM_JITTER_M = 0.0022
_PALM_LOW, _PALM_HIGH = (-0.115, -0.06), (0.03, 0.08)


@dataclass(frozen=True)
class Folds:
    """Strength 0 to about 1 of the fold at each texel, and what it bends with (see `WRINKLE_OF_JOINT`)."""

    strength: Float[np.ndarray, " n"]
    bends: Int[np.ndarray, " n"]


def draw_folds(places: Places, age: float, rng: np.random.Generator) -> Folds:
    """Draw a person's creases and wrinkles. age: 0 smooth to 1, of fine lines and wrinkles."""
    strength = np.zeros(len(places.joint), np.float32)
    bends = places.joint.copy()
    palmar = _smoothstep(0.1, -0.45, places.facing_back)
    dorsal = _smoothstep(0.2, 0.6, places.facing_back)

    palm = np.flatnonzero(places.off_fingers | (places.finger == FINGERS.index("thumb")))
    values = _palm_canvas(age, rng).sample(places.atlas.position_m[palm][:, [0, 2]])
    strength[palm] = values * palmar[palm]
    for finger in FINGERS:
        mine = places.of_finger(finger)
        for place, joint in enumerate(FINGER_JOINTS[finger]):
            local = places.local(joint, mine)
            near = np.abs(local[:, 0]) < 0.05
            chosen, flat = mine[near], local[near][:, [0, 2]]
            creases = _finger_canvas(finger, place, places.joints[joint].length_m, age, rng).sample(flat)
            strength[chosen] = np.maximum(strength[chosen], creases * palmar[chosen])
            wrinkles = _knuckle_canvas(place, finger, age, rng).sample(flat) * dorsal[chosen]
            stronger = wrinkles > strength[chosen]
            strength[chosen] = np.maximum(strength[chosen], wrinkles)
            bends[chosen[stronger]] = WRINKLE_OF_JOINT + joint
    return Folds(strength, bends)


def fold_openness(flexion_rad: Float[np.ndarray, " 16"]) -> Float[np.ndarray, " 32"]:
    """Return how strong each fold is in a pose: creases deepen with bending, wrinkles are pulled flat.

    flexion_rad: of each joint, 0 of the wrist. The palm's creases (joint 0) follow the four knuckles.
    """
    bent = np.clip(flexion_rad / np.radians(80), -0.2, 1.2)
    bent[0] = np.clip(bent[[1, 4, 7, 10]].mean(), 0, 1)
    return np.concatenate([0.62 + 0.6 * bent.clip(0), (1.0 - 0.9 * bent).clip(0.12, 1.15)])


def _palm_canvas(age: float, rng: np.random.Generator) -> Canvas:
    canvas = Canvas(_PALM_LOW, _PALM_HIGH)
    shared = rng.normal(0, _PALM_JITTER_M, 2)  # the two that begin together between thumb and index
    for name, (points, strength) in _PALM_LINES.items():
        line = np.array(points) + rng.normal(0, _PALM_JITTER_M, (len(points), 2))
        if name in ("proximal", "thenar"):
            line[0] = np.array(points[0]) + shared
        strong = strength * rng.uniform(0.7, 1.15)
        line = wobble(smooth_line(line), 2.5e-4, 0.004, rng)
        canvas.draw(line, strong, _CREASE_SIGMA_M * rng.uniform(0.8, 1.3))
        for _ in range(rng.poisson(3)):  # branches
            start = int(rng.integers(len(line) // 4, len(line)))
            along = line[min(start + 8, len(line) - 1)] - line[max(start - 8, 0)]
            heading = np.arctan2(along[1], along[0]) + rng.choice([-1, 1]) * rng.uniform(0.2, 0.7)
            canvas.draw(_fine_line(line[start], heading, rng.uniform(0.004, 0.012), rng), 0.45 * strong, _FINE_SIGMA_M)
    for _ in range(int(26 + 70 * age)):
        root = rng.uniform((-0.095, -0.042), (0.0, 0.042))
        heading = rng.choice([0.0, np.pi / 2, 0.9, -0.9]) + rng.normal(0, 0.35)
        line = _fine_line(root, heading, rng.uniform(0.004, 0.02), rng)
        canvas.draw(line, rng.uniform(0.1, 0.3 + 0.25 * age), _FINE_SIGMA_M)
    return canvas


def _fine_line(start: np.ndarray, heading: float, length_m: float, rng: np.random.Generator) -> np.ndarray:
    direction = np.array([np.cos(heading), np.sin(heading)])
    bend = np.array([-direction[1], direction[0]]) * rng.normal(0, 0.12) * length_m
    points = np.stack([start, start + direction * length_m / 2 + bend, start + direction * length_m])
    return wobble(smooth_line(points), 1.5e-4, 0.002, rng)


def _across(offset_m: float, bow_m: float, rng: np.random.Generator, half_m: float = _HALF_WIDTH_M) -> np.ndarray:
    """Return a line across a finger, `offset_m` along it, whose ends lag by `bow_m`."""
    z = np.linspace(-half_m, half_m, 7)
    points = np.stack([offset_m - bow_m * (z / half_m) ** 2, z], 1)
    points[:, 0] += rng.normal(0, 2.2e-4, len(z))
    return wobble(smooth_line(points), 1.6e-4, 0.0025, rng)


def _finger_canvas(finger: str, place: int, length_m: float, age: float, rng: np.random.Generator) -> Canvas:
    """Return the palmar creases about one joint of a finger: x along, z across."""
    canvas = Canvas((-0.02, -_HALF_WIDTH_M), (0.035, _HALF_WIDTH_M))
    creases: tuple[tuple[float, float], ...]
    if finger == "thumb":
        creases = _THUMB_CREASES.get(place, ())
    elif place == 0:
        first = _FIRST_CREASE_SHARE[finger] * length_m
        creases = ((first, 1.0), (first - 0.0022, 0.5)) if rng.random() < 0.6 else ((first, 1.0),)
    else:
        creases = _MIDDLE_CREASES if place == 1 else _OUTER_CREASES
    for offset, strength in creases:
        line = _across(offset + rng.normal(0, 4e-4), rng.uniform(0, 0.001), rng)
        canvas.draw(line, strength * rng.uniform(0.75, 1.15), _CREASE_SIGMA_M * rng.uniform(0.8, 1.25))
    for _ in range(rng.poisson(4 + 8 * age)):  # fine ones beside them, some along the finger
        along = rng.random() < 0.3
        start = np.array([rng.normal(0.002, 0.005), rng.uniform(-0.008, 0.008)])
        line = _fine_line(start, rng.normal(0.0 if along else np.pi / 2, 0.25), rng.uniform(0.003, 0.009), rng)
        canvas.draw(line, rng.uniform(0.15, 0.4), _FINE_SIGMA_M)
    return canvas


def _knuckle_canvas(place: int, finger: str, age: float, rng: np.random.Generator) -> Canvas:
    """Return the wrinkles over the back of one joint: lens-shaped bundles over hinges, faint ones over knuckles."""
    canvas = Canvas((-0.018, -_HALF_WIDTH_M), (0.018, _HALF_WIDTH_M))
    middle = place == 1 or (finger == "thumb" and place == 2)
    count, reach, strong = (7, 0.0065, 1.0) if middle else (4, 0.0032, 0.7) if place == 2 else (5, 0.009, 0.22)
    for step in np.linspace(-1, 1, count):
        offset = step * reach + rng.normal(0, 3e-4)
        half = 0.0085 * (1 - 0.45 * abs(step)) * rng.uniform(0.75, 1.1)
        line = _across(offset, 0.0016 * step, rng, half)
        canvas.draw(line, strong * rng.uniform(0.45, 1.0) * (0.6 + 0.6 * age) * (1 - 0.4 * abs(step)), _WRINKLE_SIGMA_M)
    return canvas


def _smoothstep(low: float, high: float, values: np.ndarray) -> np.ndarray:
    share = np.clip((values - low) / (high - low), 0, 1)
    return share * share * (3 - 2 * share)
