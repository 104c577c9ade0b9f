"""Surfaces and things of synthesized backgrounds, painted into a canvas in place, and their colours.

A tile of a surface is one channel around 128 with a standard deviation of about `CONTRAST`, and continues over its
borders. The tiles are made once per process, from a fixed seed: what is drawn per background is which part of which
tile is laid where. Natural pictures have a spectrum that falls as 1 / f in amplitude (Field 1987, "Relations between
the statistics of natural images and the response properties of cortical cells"); most tiles are noise of about that
kind, stretched or cut into boards. Sizes and places of things are drawn relative to the canvas's width.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from handgen.media.arrays import Mask
from handgen.stages.synthesize.drawing import box, ellipse, fill, line

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


def flat_part(name: str, size_px: tuple[int, int], repeats: float, rng: np.random.Generator) -> Mask:
    """A surface seen straight on. size_px: width and height. repeats: of the tile along the longer side."""
    return _seen(name, size_px, np.eye(3), repeats / max(size_px), rng)


def receding_part(
    name: str, size_px: tuple[int, int], vanishing_px: tuple[float, float], repeats: float, rng: np.random.Generator
) -> Mask:
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
) -> Mask:
    turn = 2 * np.pi * rng.random() if rng.random() < 0.4 else 0.5 * np.pi * int(4 * rng.random())
    scale = tiles_per_unit * TILE_PX
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    shift = TILE_PX * rng.random(2)
    tile_from_plane = np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]], [0.0, 0.0, 1.0]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    seen = tile_from_plane @ plane_from_px
    return cv2.warpPerspective(tiles()[name], seen, size_px, flags=flags, borderMode=cv2.BORDER_WRAP)


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


def dull_color(rng: np.random.Generator, mean: float, spread: float, vivid: float = 1.0) -> Float[np.ndarray, " 3"]:
    """A colour as of paint and things: more often grey or brownish than bright. vivid: factor of the saturation."""
    value = np.clip(mean + spread * float(rng.normal()), 25, 240)
    brownish = rng.random() < 0.55
    hue = 0.6 + 0.4 * float(rng.normal()) if brownish else 2 * np.pi * rng.random()  # 0.6: orange
    saturation = min(0.7, (0.16 if brownish else 0.08) * vivid * float(rng.standard_exponential()))
    turns = hue - np.array([0.0, 2 * np.pi / 3, 4 * np.pi / 3])
    return np.clip(value * (1 + saturation * np.cos(turns)), 0, 255)


def hang_things(canvas: np.ndarray, rng: np.random.Generator) -> None:
    """Windows, doors, pictures, cupboards: upright rectangles, some in frames, a window bright."""
    height, width = canvas.shape[:2]
    for _ in range(int(4 * rng.random())):
        across, down = width * (0.1 + 0.4 * rng.random()), width * (0.1 + 0.5 * rng.random())
        x, y = width * rng.random() - across / 2, height * rng.random() - down / 2
        bright = rng.random() < 0.3
        inside = np.array([235.0, 240.0, 245.0]) if bright else dull_color(rng, 120, 60, 1.3)
        box(canvas, x, y, across, down, dull_color(rng, 150, 60))
        frame = width * (0.005 + 0.02 * rng.random())
        box(canvas, x + frame, y + frame, across - 2 * frame, down - 2 * frame, inside)
        if bright and rng.random() < 0.6:  # bars
            box(canvas, x + across / 2 - frame / 2, y, frame, down, dull_color(rng, 150, 60))
        elif rng.random() < 0.5:
            tone = inside * (0.6 + 0.8 * rng.random())
            box(canvas, x + 2 * frame, y + down * rng.random(), across - 4 * frame, down / 3, tone)


def stand_things(canvas: np.ndarray, foot: float, largest: float, count: int, rng: np.random.Generator) -> None:
    """Boxes, bottles, cups and screens that stand at row `foot` or a little nearer, lit from one side."""
    width = canvas.shape[1]
    lit_left = rng.random() < 0.5
    for _ in range(count):
        across, down = width * largest * (0.15 + 0.85 * rng.random(2))
        x, y = width * rng.random() - across / 2, foot + 0.06 * width * rng.random() - down
        color = dull_color(rng, 115, 60, 1.8)
        dark = color * (0.5 + 0.35 * rng.random())
        if rng.random() < 0.5:
            side = across * (0.15 + 0.3 * rng.random())
            box(canvas, x, y, across, down, color)
            box(canvas, x if not lit_left else x + across - side, y, side, down, dark)
        else:  # round: darker towards one edge, in steps
            for part in range(4):
                tone = color + (dark - color) * (part if lit_left else 3 - part) / 3
                box(canvas, x + across * part / 4, y, across / 4 + 1, down, tone)
            ellipse(canvas, (x + across / 2, y), (across / 2, across / 8), color * 0.8)


def lay_things(
    canvas: np.ndarray, rows: tuple[float, float], squash: float, count: int, rng: np.random.Generator
) -> None:
    """Papers, books, plates and pens on a surface between two rows, each with its shadow. squash: height by width."""
    width = canvas.shape[1]
    reach = np.array([1.0, squash])
    light = 0.02 * width * rng.normal(0, 1, 2) * reach
    for _ in range(count):
        middle = np.array([width * rng.random(), rows[0] + (rows[1] - rows[0]) * rng.random()])
        kind = rng.random()
        long = width * (0.06 + 0.3 * rng.random())
        wide = long * (0.06 if kind > 0.85 else 0.5 + 0.4 * rng.random())
        turn = 2 * np.pi * rng.random()
        color = dull_color(rng, 205, 25, 0.4) if kind < 0.3 else dull_color(rng, 120, 65, 1.8)
        shadow = canvas[int(max(0, min(rows[0], len(canvas) - 1)))].mean(0) * 0.45
        if 0.55 < kind < 0.8:
            ellipse(canvas, middle + light, (long / 2, long / 2 * squash), shadow)
            ellipse(canvas, middle, (long / 2, long / 2 * squash), color)
            ellipse(canvas, middle, (long / 3, long / 3 * squash), color * (0.8 + 0.3 * rng.random()))
            continue
        along = np.array([np.cos(turn), np.sin(turn)]) * long / 2
        over = np.array([-np.sin(turn), np.cos(turn)]) * wide / 2
        corners = np.array([along + over, along - over, -along - over, -along + over]) * reach + middle
        fill(canvas, corners + light * 0.6, shadow)
        fill(canvas, corners, color)
        if kind < 0.2:  # lines of writing
            for step in np.linspace(-0.7, 0.7, 6):
                ends = np.array([0.8 * along + step * over, -0.8 * along + step * over]) * reach + middle
                line(canvas, ends, 1, color * 0.75)


def shape(middle: np.ndarray, radius: float, rng: np.random.Generator) -> Float[np.ndarray, "corners 2"]:
    """An irregular polygon of three to twelve corners."""
    corners = 3 + int(10 * rng.random())
    turns = 2 * np.pi * (np.arange(corners) + 0.7 * rng.random(corners)) / corners
    reach = radius * (0.6 + 0.5 * rng.random((corners, 1)))
    return middle + reach * np.stack([np.cos(turns), np.sin(turns)], -1)
