"""Sleeves of many kinds: tight or wide, ribbed, rolled up or with a cuff; plain, striped, checked, heathered.

Drawn from the person's seed; how often what is worn is not measured anywhere, and meant to be wide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from handgen.geometry.meshes import Points
from handgen.stages.simulate.light import Noise, linear_from_srgb

ELBOW_M = 0.27  # from the wrist
_SEGMENTS = 48
_STEP_M = 0.006  # from ring to ring of vertices: stripes of two centimetres keep their edges
_CLOTHS = ("plain", "heathered", "rings", "stripes", "checks")
_CLOTH_SHARES = (0.4, 0.2, 0.15, 0.1, 0.15)
_CUFFS = ("hem", "ribbed", "rolled", "shirt")
_CUFF_SHARES = (0.4, 0.25, 0.15, 0.2)
_FIT, _FOLDS = (1.03, 1.32), (0.35, 1.6)  # of the arm's radius; of the folds, wider sleeves more
_PATTERN_M, _BAND_M = (0.014, 0.045), (0.02, 0.06)  # one stripe and its gap; a cuff's length
_SMALLEST, _LARGEST = 0.01, 0.9  # of linear albedo


@dataclass(frozen=True)
class Sleeve:
    """Clothes of a person's arms. color, second: linear albedo, the second of stripes and cuffs.

    cloth, cuff: of `_CLOTHS`, `_CUFFS`. fit: of the arm's radius. folds: their strength. pattern_m, band_m: lengths.
    """

    color: Float[np.ndarray, " 3"]
    second: Float[np.ndarray, " 3"]
    cloth: str
    cuff: str
    fit: float
    folds: float
    pattern_m: float
    band_m: float


def draw_sleeve(color: Float[np.ndarray, " 3"], rng: np.random.Generator) -> Sleeve:
    """A random sleeve whose first colour is given."""
    wide = rng.random()
    return Sleeve(
        color=color,
        second=linear_from_srgb(rng.uniform(0.08, 0.92) * rng.uniform(0.6, 1.0, 3)),
        cloth=str(rng.choice(_CLOTHS, p=_CLOTH_SHARES)),
        cuff=str(rng.choice(_CUFFS, p=_CUFF_SHARES)),
        fit=_FIT[0] + (_FIT[1] - _FIT[0]) * wide,
        folds=float(rng.uniform(*_FOLDS)) * (0.4 + wide),
        pattern_m=float(rng.uniform(*_PATTERN_M)),
        band_m=float(rng.uniform(*_BAND_M)),
    )


@dataclass(frozen=True)
class SleeveMesh:
    """A tube of cloth around the forearm, which lies along +x, from the cuff to the elbow; metres, linear albedo."""

    vertices: Points
    faces: Int[np.ndarray, "faces 3"]
    albedo: Points


def sleeve_mesh(arm: Points, cuff_m: float, sleeve: Sleeve, rng: np.random.Generator) -> SleeveMesh:
    """Dress an arm. arm: its vertices, along +x from the wrist. cuff_m: where the sleeve begins. rng: of the folds."""
    along_m = np.arange(cuff_m + 0.012, ELBOW_M + 0.02, _STEP_M)
    rings_m = np.concatenate([[cuff_m + 0.004, cuff_m, cuff_m, cuff_m + 0.003], along_m])
    turned_in = np.concatenate([[0.75, 0.93, 0.97, 1.0], np.ones(len(along_m))])
    arm = arm[(arm[:, 0] > 0.06) & (arm[:, 0] < 0.17)]
    angle = np.linspace(0, 2 * np.pi, _SEGMENTS, endpoint=False)
    circle, phase = np.stack([np.cos(angle), np.sin(angle)], 1), rng.uniform(0, 2 * np.pi, 4)
    rings = []
    for x, inner in zip(rings_m, turned_in, strict=True):
        near = arm[np.abs(arm[:, 0] - min(x, 0.15)) < 0.02]
        center, half = (near[:, 1:].max(0) + near[:, 1:].min(0)) / 2, np.ptp(near[:, 1:], axis=0) / 2
        fit, thicker_m, flat = _cut_of(sleeve, x - cuff_m)
        fold = np.sin(75 * x + 2 * angle + phase[0]) * np.sin(3 * angle + 20 * x + phase[1])
        fold = 0.05 * fold + 0.03 * np.sin(140 * x + angle + phase[2])
        radius = half * fit * inner + (0.003 + thicker_m) * (inner >= 0.97)
        radius = radius * (1 + (fold * sleeve.folds * (1 - flat) * (x > cuff_m + 0.01))[:, None])
        rings.append(np.concatenate([np.full((_SEGMENTS, 1), x), center + radius * circle], 1))
    vertices = np.concatenate(rings)
    around = np.tile(angle, len(rings_m))
    albedo = _albedo(sleeve, vertices, np.repeat(rings_m - cuff_m, _SEGMENTS), around, rng)
    return SleeveMesh(vertices, tube_faces(len(rings), _SEGMENTS), albedo)


def _cut_of(sleeve: Sleeve, behind_cuff_m: float) -> tuple[float, float, float]:
    """Fit, what is thicker, metres, and how much folds are held flat, so far behind the cuff."""
    inside = behind_cuff_m < sleeve.band_m
    beyond = float(np.clip((behind_cuff_m - sleeve.band_m) / 0.03, 0, 1))
    if sleeve.cuff == "ribbed":
        return 1.02 + (sleeve.fit + 0.06 - 1.02) * beyond, 0.0, 1 - beyond
    if sleeve.cuff == "rolled":
        return sleeve.fit, 0.004 if inside else 0.0, 0.4 if inside else 0.0
    if sleeve.cuff == "shirt":
        return min(sleeve.fit, 1.15) + max(sleeve.fit - 1.15, 0) * beyond, 0.001 if inside else 0.0, 1 - beyond
    return sleeve.fit, 0.0, 0.0


def _albedo(
    sleeve: Sleeve,
    vertices: Points,
    behind_cuff_m: Float[np.ndarray, " n"],
    around: Float[np.ndarray, " n"],
    rng: np.random.Generator,
) -> Points:
    noise = Noise(rng)
    ring = np.mod(behind_cuff_m / sleeve.pattern_m, 1) < 0.5
    stripe = np.mod(np.round(around / (2 * np.pi) * 12) / 2, 1) < 0.5
    second = {
        "rings": ring.astype(float),
        "stripes": stripe.astype(float),
        "checks": (ring.astype(float) + stripe) / 2,
        "heathered": 0.5 + 0.5 * noise.fractal(vertices / 0.002),
    }.get(sleeve.cloth, np.zeros(len(vertices)))
    if sleeve.cuff == "rolled":  # the inside of the cloth shows
        second = np.where(behind_cuff_m < sleeve.band_m, 0.35, second)
    weave = 1 + 0.3 * noise.fractal(vertices / 0.004)
    if sleeve.cuff == "ribbed":
        ribs = 1 - 0.25 * (np.mod(np.round(around / (2 * np.pi) * _SEGMENTS), 2) > 0)
        weave = weave * np.where(behind_cuff_m < sleeve.band_m, ribs, 1.0)
    mixed = sleeve.color + second[:, None] * (sleeve.second - sleeve.color)
    return (mixed * weave[:, None]).clip(_SMALLEST, _LARGEST)


def tube_faces(rings: int, segments: int) -> Int[np.ndarray, "faces 3"]:
    """Faces of a tube of rings of vertices, seen from outside when the rings turn about their path."""
    index = np.arange(rings * segments).reshape(rings, segments)
    a, b = index[:-1], np.roll(index, -1, 1)[:-1]
    c, d = index[1:], np.roll(index, -1, 1)[1:]
    return np.concatenate([np.stack([a, b, c], -1), np.stack([b, d, c], -1)]).reshape(-1, 3)
