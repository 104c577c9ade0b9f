"""Surfaces for synthesized backgrounds: tiles of wood, cloth, plaster and so on, made once per process.

A tile is one channel around 128 with a standard deviation of about `CONTRAST`, and continues over its borders.
The tiles come from a fixed seed: what is drawn per background is which part of which tile is laid where.
Natural pictures have a spectrum that falls as 1 / f in amplitude (Field 1987, "Relations between the statistics
of natural images and the response properties of cortical cells"); most tiles are noise of about that kind,
stretched or cut into boards.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float, UInt8

TILE_PX = 256
CONTRAST = 36.0
SURFACES = ("cloud", "stains", "plaster", "wood", "planks", "weave", "knit", "carpet", "tiles")
_SEED = 20_250
_GRAINS = 4

Tile = UInt8[np.ndarray, "tile tile"]


@lru_cache(maxsize=1)
def tiles() -> dict[str, Tile]:
    """One tile per name in `SURFACES`."""
    rng = np.random.default_rng(_SEED)
    place = np.arange(TILE_PX) / TILE_PX
    x, y = np.meshgrid(2 * np.pi * place, 2 * np.pi * place)
    wood = _noise(rng, 1.1, stretch=14)
    rings = np.sin(14 * y + 2.5 * _noise(rng, 1.6, stretch=5))
    boards = np.floor(8 * place).astype(int)
    shift, tone = rng.integers(0, TILE_PX, 8), rng.normal(0, 1, 8)
    planks = np.stack([np.roll(row, shift[board]) for row, board in zip(wood, boards, strict=True)])
    planks = planks + tone[boards][:, None] - 5.0 * ((8 * place) % 1 < 0.05)[:, None]
    threads = np.sin(48 * x) * (np.sin(48 * y) > 0) + np.sin(48 * y) * (np.sin(48 * y) <= 0)
    squares = (np.floor(4 * place)[:, None] * 4 + np.floor(4 * place)[None]).astype(int)
    joints = ((4 * place) % 1 < 0.04)[:, None] | ((4 * place) % 1 < 0.04)[None]
    made = {
        "cloud": _noise(rng, 1.0),
        "stains": _noise(rng, 1.5),
        "plaster": _noise(rng, 0.6) + 0.5 * _noise(rng, 1.2),
        "wood": wood + 0.8 * rings,
        "planks": planks,
        "weave": threads + 0.8 * _noise(rng, 0.7),
        "knit": np.sin(24 * x + 1.5 * np.abs(np.sin(12 * y))) + 0.7 * _noise(rng, 0.8),
        "carpet": _noise(rng, 0.25) + 0.4 * _noise(rng, 1.2),
        "tiles": 0.6 * _noise(rng, 1.0) + 0.5 * rng.normal(0, 1, 16)[squares] - 3.0 * joints,
    }
    return {name: _levels(made[name]) for name in SURFACES}


@lru_cache(maxsize=1)
def grains() -> tuple[UInt8[np.ndarray, "size size 3"], ...]:
    """Noise as of a sensor behind a colour filter: around 128, of 3 channels, a little smooth; larger than a tile."""
    rng = np.random.default_rng([_SEED, 1])
    made = []
    for _ in range(_GRAINS):
        noise = rng.normal(0, 1, (2 * TILE_PX, 2 * TILE_PX, 1)) + 0.5 * rng.normal(0, 1, (2 * TILE_PX, 2 * TILE_PX, 3))
        made.append(_levels(cv2.GaussianBlur(noise, (0, 0), 0.6)))
    return tuple(made)


def flat_part(
    name: str, size_px: tuple[int, int], repeats: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "h w"]:
    """A surface seen straight on. size_px: width and height. repeats: of the tile along the longer side."""
    return _seen(name, size_px, np.eye(3), repeats / max(size_px), rng)


def receding_part(
    name: str, size_px: tuple[int, int], vanishing_px: tuple[float, float], repeats: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "h w"]:
    """A level surface that recedes towards its vanishing point, which lies above the picture.

    repeats: of the tile along the lower border. With y counted from the vanishing line, what is seen at (x, y) lies
    in the plane at (x / y, 1 / y): the projective map below.
    """
    width, height = size_px
    x, y = vanishing_px
    near = height - y
    plane_from_px = np.array([[near, 0.0, -near * x], [0.0, 0.0, near * near], [0.0, 1.0, -y]])
    return _seen(name, size_px, plane_from_px, repeats / width, rng)


def _seen(
    name: str, size_px: tuple[int, int], plane_from_px: np.ndarray, tiles_per_unit: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "h w"]:
    turn = 2 * np.pi * rng.random() if rng.random() < 0.4 else 0.5 * np.pi * int(4 * rng.random())
    scale = tiles_per_unit * TILE_PX
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    shift = TILE_PX * rng.random(2)
    tile_from_plane = np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]], [0.0, 0.0, 1.0]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(
        tiles()[name], tile_from_plane @ plane_from_px, size_px, flags=flags, borderMode=cv2.BORDER_WRAP
    )


def _noise(rng: np.random.Generator, falloff: float, stretch: float = 1.0) -> Float[np.ndarray, "tile tile"]:
    """Noise of unit variance with amplitude f ** -falloff, features `stretch` times longer in x than in y."""
    fx, fy = np.fft.rfftfreq(TILE_PX)[None] * stretch, np.fft.fftfreq(TILE_PX)[:, None]
    frequency = np.hypot(fx, fy)
    frequency[0, 0] = np.inf  # no mean
    spectrum = np.fft.rfft2(rng.normal(0, 1, (TILE_PX, TILE_PX))) * frequency**-falloff
    noise = np.fft.irfft2(spectrum, (TILE_PX, TILE_PX))
    return noise / noise.std()


def _levels(values: np.ndarray) -> np.ndarray:
    values = values - values.mean()
    return np.clip(128 + CONTRAST / values.std() * values, 0, 255).round().astype(np.uint8)
