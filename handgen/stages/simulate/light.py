"""Light and colour of a simulated room: its lamps, how much arrives at a point, sRGB, and noise. Linear RGB; metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.ndimage import map_coordinates

from handgen.geometry.meshes import Points, Tracer

_LATTICE = 32
_SHADOW_RAYS, _AMBIENT_RAYS = 6, 16
_SPILL = 0.25  # of the light from everywhere that has the walls' colour
_START_M = 1.2e-3  # rays start this far off the surface, so as not to hit it


def linear_from_srgb(color: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
    """Linear light of sRGB values in 0 to 1."""
    return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(light: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
    """SRGB values of linear light, clipped to 0 to 1."""
    light = np.clip(light, 0.0, 1.0)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


class Noise:
    """Smooth noise over space with a feature size of about 1; repeats after 32."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._lattice = rng.uniform(-1, 1, (_LATTICE,) * 3).astype(np.float32)

    def __call__(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Values in -1 to 1."""
        return map_coordinates(self._lattice, (points % _LATTICE).T, order=1, mode="grid-wrap")

    def fractal(self, points: Float[np.ndarray, "n 3"], octaves: int = 3) -> Float[np.ndarray, " n"]:
        """Noise plus finer noise, each octave half as strong; values in about -1 to 1."""
        total = np.zeros(len(points))
        for octave in range(octaves):
            total += 0.5**octave * self(points * 2.0**octave + 7.3 * octave)
        return total / 1.5


@dataclass(frozen=True)
class Lighting:
    """A key light of some size, a weak fill light from the other side, and light from everywhere.

    key_position: its centre; key_half_size: of the cube it fills. fill_direction: unit, towards it. sky, ground: from
    above and below.
    """

    key_position: Float[np.ndarray, " 3"]
    key_half_size: float
    key: Float[np.ndarray, " 3"]
    fill_direction: Float[np.ndarray, " 3"]
    fill: Float[np.ndarray, " 3"]
    sky: Float[np.ndarray, " 3"]
    ground: Float[np.ndarray, " 3"]

    def ambient(self, normals: Points, openness: Float[np.ndarray, " n"]) -> Points:
        """Light from everywhere, dimmed by `openness` (0 to 1), and the fill light."""
        upward = (0.5 + 0.5 * normals[:, 2])[:, None]
        fill = (normals @ self.fill_direction).clip(0)[:, None] * (0.4 + 0.6 * openness[:, None])
        return (self.sky * upward + self.ground * (1 - upward)) * openness[:, None] + self.fill * fill

    def towards_key(self, points: Points) -> Points:
        """Unit directions to the key light."""
        towards = self.key_position - points
        return towards / np.linalg.norm(towards, axis=1, keepdims=True)


def make_lighting(rng: np.random.Generator, spill: Float[np.ndarray, " 3"] | None = None) -> Lighting:
    """A lit room: the key light in front of the person, above, on either side. spill: the colour of its walls."""
    side = rng.choice([-1.0, 1.0])
    warmth = rng.uniform(0.0, 1.0)
    key = np.array([1.0, 0.97 - 0.07 * warmth, 0.95 - 0.17 * warmth]) * rng.uniform(0.75, 1.0)
    fill_direction = np.array([-0.8 * side, 0.5, 0.3])
    tint = np.ones(3) if spill is None else (1 - _SPILL) + _SPILL * 3 * spill / spill.sum()
    return Lighting(
        key_position=np.array([side * rng.uniform(0.5, 1.2), rng.uniform(0.6, 1.2), rng.uniform(1.2, 1.5)]),
        key_half_size=rng.uniform(0.12, 0.4),
        key=key,
        fill_direction=fill_direction / np.linalg.norm(fill_direction),
        fill=np.array([0.85, 0.93, 1.0]) * rng.uniform(0.12, 0.3),
        sky=np.array([0.98, 1.0, 1.04]) * rng.uniform(0.38, 0.55) * tint,
        ground=np.array([1.0, 0.88, 0.76]) * rng.uniform(0.18, 0.3) * tint,
    )


def key_visibility(
    lighting: Lighting, points: Points, normals: Points, tracer: Tracer, rng: np.random.Generator
) -> Float[np.ndarray, " n"]:
    """Compute the share of the key light that each point sees."""
    starts = points + normals * _START_M
    seen = np.zeros(len(points))
    for _ in range(_SHADOW_RAYS):
        jitter = rng.uniform(-1, 1, points.shape) * lighting.key_half_size
        seen += ~tracer.blocked(starts, lighting.key_position + jitter - starts, 1.0)
    return seen / _SHADOW_RAYS


def openness(
    points: Points, normals: Points, tracer: Tracer, reach_m: float, rng: np.random.Generator
) -> Float[np.ndarray, " n"]:
    """Compute the share of the surroundings that each point sees, by cosine: ambient occlusion within `reach_m`."""
    starts = points + normals * _START_M
    seen = np.zeros(len(points))
    for _ in range(_AMBIENT_RAYS):
        sphere = rng.standard_normal(points.shape)
        sphere /= np.linalg.norm(sphere, axis=1, keepdims=True).clip(1e-9)
        directions = normals * 1.02 + sphere  # a cosine-weighted direction is the normal plus a point of the sphere
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        seen += ~tracer.blocked(starts, directions, reach_m)
    return seen / _AMBIENT_RAYS
