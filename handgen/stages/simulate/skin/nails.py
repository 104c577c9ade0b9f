"""Finger nails: plate, lunula, free edge, the fold around them, and polish."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from handgen.hand.skeleton import FINGER_JOINTS, FINGERS
from handgen.stages.simulate.skin.places import Places

# Length and half width of the plate as a share of the last bone's length, and where it begins.
_BEGINS, _LENGTH, _HALF_WIDTH_M = 0.42, 0.47, {"thumb": 0.0072, "pinky": 0.0044}
_USUAL_HALF_WIDTH_M = 0.0055
_SOFT_M = 2.5e-4


@dataclass(frozen=True)
class Nails:
    """Shares, 0 to 1, per texel: the plate, its pale moon, its white free edge, the dark fold around it."""

    plate: Float[np.ndarray, " n"]
    lunula: Float[np.ndarray, " n"]
    edge: Float[np.ndarray, " n"]
    fold: Float[np.ndarray, " n"]


def draw_nails(places: Places, beyond_m: float, rng: np.random.Generator) -> Nails:
    """Draw all nails; beyond_m: length of the free edge."""
    parts = np.zeros((4, len(places.joint)))
    for finger in FINGERS:
        mine = places.of_finger(finger)
        joint = FINGER_JOINTS[finger][-1]
        along, _, across = places.local(joint, mine).T
        length = places.joints[joint].length_m
        begin, end = _BEGINS * length, (_BEGINS + _LENGTH) * length
        half = _HALF_WIDTH_M.get(finger, _USUAL_HALF_WIDTH_M) * rng.uniform(0.92, 1.08)
        middle = (begin + end) / 2
        # A rounded rectangle, by the distance to it.
        x, z = (along - middle) / ((end - begin) / 2), across / half
        outside = (np.abs(x) ** 3.2 + np.abs(z) ** 3.2) ** (1 / 3.2) - 1
        inside_m = -outside * half
        back = np.clip((places.facing_back[mine] - 0.15) / 0.2, 0, 1)
        plate = _soft(inside_m) * back
        moon = _soft(0.0021 * rng.uniform(0.6, 1.3) - (along - begin) - 9.0 * across**2 / half * 0.35) * plate
        edge = _soft(along - (end - 0.0004 - 0.6 * beyond_m) + 0.5 * across**2 / half * 0.35) * plate
        fold = np.exp(-((inside_m + 2e-4) ** 2) / (2 * (3.5e-4) ** 2)) * back * (along < end - 0.001)
        parts[:, mine] = np.stack([plate, moon if finger != "pinky" else 0.3 * moon, edge, fold])
    return Nails(*parts)


def _soft(inside_m: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(inside_m / _SOFT_M, -30, 30)))
