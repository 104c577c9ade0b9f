"""Synthesized backgrounds: rooms, people, desks, shelves, outdoors, busy prints, as a camera near a hand sees them.

A place is painted on a canvas smaller than the picture, the more so the less it is in focus, then lit, enlarged
and given grain. All lengths are shares of the side, so that a place looks the same at every size.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import UInt8

from handgen.stages.synthesize.people import draw_somebody
from handgen.stages.synthesize.props import grains
from handgen.stages.synthesize.scenes import busy, defocus, desk, outdoors, shelf, table, wall
from handgen.stages.synthesize.workplace import lay_board, workplace

_SCENES = (table, desk, wall, shelf, outdoors, busy, workplace)
_SHARES = (0.26, 0.16, 0.16, 0.08, 0.08, 0.1, 0.16)  # of backgrounds that show each
_INDOORS = (table, wall, shelf, outdoors)  # where somebody may be behind the hand
_SOMEBODY, _BOARD = 0.4, 0.12  # shares of those with somebody, and of all with a printed board
_CANVAS_SHARE = (0.45, 1.0)  # of the side
_CANVAS_MAX_PX = 320
_LIGHT_CELLS = 12
_NEUTRAL = 110.0  # the level of light and clouds that changes nothing; leaves room to brighten


def draw_pattern(size: int, rng: np.random.Generator) -> UInt8[np.ndarray, "size size 3"]:
    """A square RGB background."""
    sharp = rng.random()  # from 0 to 1
    share = _CANVAS_SHARE[0] + (_CANVAS_SHARE[1] - _CANVAS_SHARE[0]) * sharp
    canvas_px = max(8, min(_CANVAS_MAX_PX, round(size * share)))
    kind = int(np.searchsorted(np.cumsum(_SHARES), rng.random()))
    scene = _SCENES[min(kind, len(_SCENES) - 1)]
    image = scene(canvas_px, rng)
    if scene in _INDOORS and rng.random() < _SOMEBODY:
        draw_somebody(image, rng)
    if rng.random() < _BOARD:
        lay_board(image, rng)
    if rng.random() < 0.5:  # held a little askew
        turn = cv2.getRotationMatrix2D((canvas_px / 2, canvas_px / 2), float(rng.normal(0, 6)), 1.12)
        image = cv2.warpAffine(image, turn, (canvas_px, canvas_px), borderMode=cv2.BORDER_REFLECT_101)
    image = _lit(image, rng)
    if rng.random() < 0.4 - 0.35 * sharp:
        image = defocus(image, canvas_px * (0.006 + 0.02 * rng.random()))
    if rng.random() < 0.05:
        image = _with_bokeh(image, rng)
    image = cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC)
    return _with_grain(cv2.LUT(image, _tone(rng)), rng)


def _lit(image: np.ndarray, rng: np.random.Generator) -> UInt8[np.ndarray, "size size 3"]:
    """Light that falls off, a lamp or a window's patch, vignetting, the light's colour: smooth, so on a coarse grid."""
    place = (np.arange(_LIGHT_CELLS, dtype=np.float32) + 0.5) / _LIGHT_CELLS - 0.5
    x, y = place[None], place[:, None]
    slope = rng.normal(0, 0.5, 2)
    stops = slope[0] * x + slope[1] * y - 2 * rng.random() * 0.35 * (x * x + y * y)
    light: np.ndarray = np.repeat(np.exp(stops)[..., None], 3, -1)
    warmth = float(rng.normal(0, 0.08))
    light *= np.exp(np.array([warmth, float(rng.normal(0, 0.02)), -warmth]))
    if rng.random() < 0.35:
        spot = rng.random(2) * 1.4 - 0.7
        spread = 0.15 + 0.35 * rng.random()
        glow = np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / (2 * spread**2))
        tint = np.exp(np.array([0.15, 0.0, -0.2]) * float(rng.normal(0.5, 1)))
        light *= 1 + (0.2 + 0.9 * rng.random()) * glow[..., None] * tint
    levels = np.clip(_NEUTRAL * light, 0, 255).astype(np.uint8)
    return cv2.multiply(image, cv2.resize(levels, image.shape[:2]), scale=1 / _NEUTRAL)


def _with_bokeh(image: np.ndarray, rng: np.random.Generator) -> UInt8[np.ndarray, "size size 3"]:
    """Lamps far out of focus: bright discs, added."""
    size = len(image)
    radius = size * (0.02 + 0.06 * rng.random())
    discs = np.zeros_like(image)
    for _ in range(int(4 + 16 * rng.random())):
        color = np.array([1.0, 0.55 + 0.45 * rng.random(), 0.2 + 0.8 * rng.random()]) * (40 + 150 * rng.random())
        x, y = (rng.random(2) * size).astype(int).tolist()
        cv2.circle(discs, (x, y), max(1, round(radius * (0.8 + 0.4 * rng.random()))), color.tolist(), -1, cv2.LINE_AA)
    return cv2.add(image, cv2.blur(discs, (3, 3)))


def _tone(rng: np.random.Generator) -> UInt8[np.ndarray, " 256"]:
    """Exposure, gamma and the lifted blacks of haze, as one table."""
    values = np.arange(256, dtype=np.float32) / 255
    gamma, gain = np.exp(rng.normal(0, 0.18, 2))
    black = max(0.0, float(rng.normal(0.01, 0.03)))
    toned = black + (1 - black) * 0.93 * gain * values**gamma
    return np.clip(255 * toned, 0, 255).astype(np.uint8)


def _with_grain(image: np.ndarray, rng: np.random.Generator) -> UInt8[np.ndarray, "size size 3"]:
    """Sensor noise, so that smooth places are not flatter than a camera's."""
    size = len(image)
    amount = 0.02 + 0.1 * rng.random() ** 2
    noise = grains()[int(rng.random() * len(grains()))]
    if size > len(noise):
        noise = np.tile(noise, (-(-size // len(noise)),) * 2 + (1,))
    top, left = (rng.random(2) * (len(noise) - size + 1)).astype(int)
    return cv2.addWeighted(image, 1.0, noise[top : top + size, left : left + size], amount, -128 * amount)
