"""The back of the hand: veins, tendons, hairs.

Anatomy: the dorsal venous network drains the fingers' veins between the knuckles and gathers towards both sides of the
wrist; the extensor tendons run from each knuckle to the middle of the wrist (Standring, "Gray's Anatomy").
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from handgen.hand.skeleton import FINGER_JOINTS
from handgen.stages.simulate.skin.canvas import Canvas, smooth_line, wobble
from handgen.stages.simulate.skin.places import Places

_LOW, _HIGH = (-0.20, -0.085), (0.13, 0.085)  # of the flat piece: x away from the fingers, z to the thumb
_PIXEL_M = 2.5e-4
_VEIN_SIGMA_M, _TENDON_SIGMA_M, _HAIR_SIGMA_M = (0.0009, 0.0016), 0.0022, 0.9e-4
_HAIR_M = (0.003, 0.009)


def draw_veins(places: Places, rng: np.random.Generator) -> Float[np.ndarray, " n"]:
    """Return how much of a vein is under each texel of the back, 0 to 1."""
    canvas = Canvas(_LOW, _HIGH, _PIXEL_M)
    rest = places.rest_joints_m[:, [0, 2]]
    knuckles = [rest[FINGER_JOINTS[finger][0]] for finger in ("index", "middle", "ring", "pinky")]
    ends = np.array([(0.02, 0.022), (0.03, -0.012)]) + rng.normal(0, 0.004, (2, 2))
    for first, second in zip(knuckles, knuckles[1:], strict=False):
        start = (first + second) / 2 + rng.normal(0, 0.003, 2)
        end = ends[int(rng.random() < 0.5)] if rng.random() < 0.5 else ends[0 if start[1] > 0 else 1]
        middle = (start + end) / 2 + rng.normal(0, 0.008, 2)
        _draw(canvas, np.stack([start, (start + middle) / 2 + rng.normal(0, 0.003, 2), middle, end]), rng)
        if rng.random() < 0.7:  # a branch to the neighbour
            other = middle + rng.normal(0, 0.005, 2) + (0.0, rng.choice([-0.016, 0.016]))
            _draw(canvas, np.stack([start + (0.012, 0), (start + other) / 2, other]), rng)
    for end in ends:  # on to the elbow
        far = np.array([0.12, end[1] + rng.normal(0, 0.012)])
        _draw(canvas, np.stack([end, (end + far) / 2 + rng.normal(0, 0.006, 2), far]), rng)
    return _on_back(places, canvas)


def draw_tendons(places: Places, rng: np.random.Generator) -> Float[np.ndarray, " n"]:
    """Return how high the extensor tendons stand out, 0 to 1."""
    canvas = Canvas(_LOW, _HIGH, _PIXEL_M)
    rest = places.rest_joints_m[:, [0, 2]]
    for finger in ("index", "middle", "ring", "pinky"):
        knuckle = rest[FINGER_JOINTS[finger][0]]
        wrist = np.array([-0.006, 0.35 * knuckle[1] + 0.004])
        line = smooth_line(np.stack([knuckle + (0.004, 0), knuckle + 0.5 * (wrist - knuckle), wrist]))
        canvas.draw(wobble(line, 3e-4, 0.02, rng), rng.uniform(0.6, 1.0), _TENDON_SIGMA_M)
    base, thumb = rest[FINGER_JOINTS["thumb"][0]], rest[FINGER_JOINTS["thumb"][1]]
    canvas.draw(smooth_line(np.stack([thumb, (base + thumb) / 2, base + (0.006, 0.002)])), 0.7, _TENDON_SIGMA_M)
    fading = np.clip(-places.atlas.position_m[:, 0] / 0.03, 0, 1)
    return _on_back(places, canvas) * fading


def draw_hairs(places: Places, per_cm2: float, rng: np.random.Generator) -> Float[np.ndarray, " n"]:
    """Return the share of each texel that hair covers: on the back, the first bones of the fingers and the forearm."""
    canvas = Canvas(_LOW, _HIGH)
    size_cm = (np.array(_HIGH) - _LOW) * 100
    for _ in range(int(per_cm2 * size_cm.prod() * 0.5)):
        root = rng.uniform(_LOW, _HIGH)
        ulnar = np.clip((0.02 - root[1]) / 0.06, 0.15, 1)  # denser at the little finger's side
        if rng.random() > ulnar:
            continue
        heading = np.arctan2(-0.75, -0.6) + rng.normal(0, 0.3)  # to the little finger and the tips
        reach = rng.uniform(*_HAIR_M) * np.array([np.cos(heading), np.sin(heading)])
        bend = np.array([-reach[1], reach[0]]) * rng.normal(0, 0.12)
        line = smooth_line(np.stack([root, root + reach / 2 + bend, root + reach]))
        canvas.draw(line, rng.uniform(0.3, 0.9), _HAIR_SIGMA_M)
    bare = np.isin(places.joint, [joint for chain in FINGER_JOINTS.values() for joint in chain[1:]])
    return np.where(bare, 0.0, _on_back(places, canvas))


def _draw(canvas: Canvas, points: np.ndarray, rng: np.random.Generator) -> None:
    line = wobble(smooth_line(points), 0.0012, 0.012, rng)
    canvas.draw(line, rng.uniform(0.5, 1.0), rng.uniform(*_VEIN_SIGMA_M))


def _on_back(places: Places, canvas: Canvas) -> Float[np.ndarray, " n"]:
    share = np.clip((places.facing_back - 0.2) / 0.4, 0, 1)
    return canvas.sample(places.atlas.position_m[:, [0, 2]]) * share
