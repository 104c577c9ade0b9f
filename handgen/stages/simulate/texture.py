"""Procedural colour: noise in space, so that all cameras see the same pattern on the same thing."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.ndimage import map_coordinates

_LATTICE = 32


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
