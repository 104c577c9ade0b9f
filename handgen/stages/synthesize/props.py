"""Things that stand, hang or lie in synthesized backgrounds, painted into a canvas in place, and their colours.

Sizes and places are drawn relative to the canvas's width.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

_SHIFT = 4  # sub-pixel bits of the coordinates that OpenCV draws with


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
        _box(canvas, x, y, across, down, dull_color(rng, 150, 60))
        frame = width * (0.005 + 0.02 * rng.random())
        _box(canvas, x + frame, y + frame, across - 2 * frame, down - 2 * frame, inside)
        if bright and rng.random() < 0.6:  # bars
            _box(canvas, x + across / 2 - frame / 2, y, frame, down, dull_color(rng, 150, 60))
        elif rng.random() < 0.5:
            tone = inside * (0.6 + 0.8 * rng.random())
            _box(canvas, x + 2 * frame, y + down * rng.random(), across - 4 * frame, down / 3, tone)


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
            _box(canvas, x, y, across, down, color)
            _box(canvas, x if not lit_left else x + across - side, y, side, down, dark)
        else:  # round: darker towards one edge, in steps
            for part in range(4):
                tone = color + (dark - color) * (part if lit_left else 3 - part) / 3
                _box(canvas, x + across * part / 4, y, across / 4 + 1, down, tone)
            _ellipse(canvas, (x + across / 2, y), (across / 2, across / 8), color * 0.8)


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
            _ellipse(canvas, middle + light, (long / 2, long / 2 * squash), shadow)
            _ellipse(canvas, middle, (long / 2, long / 2 * squash), color)
            _ellipse(canvas, middle, (long / 3, long / 3 * squash), color * (0.8 + 0.3 * rng.random()))
            continue
        along = np.array([np.cos(turn), np.sin(turn)]) * long / 2
        over = np.array([-np.sin(turn), np.cos(turn)]) * wide / 2
        corners = np.array([along + over, along - over, -along - over, -along + over]) * reach + middle
        fill(canvas, corners + light * 0.6, shadow)
        fill(canvas, corners, color)
        if kind < 0.2:  # lines of writing
            for step in np.linspace(-0.7, 0.7, 6):
                ends = np.array([0.8 * along + step * over, -0.8 * along + step * over]) * reach + middle
                start, end = _fix_place(ends).tolist()
                cv2.line(canvas, start, end, (color * 0.75).tolist(), 1, cv2.LINE_AA, _SHIFT)


def shape(middle: np.ndarray, radius: float, rng: np.random.Generator) -> Float[np.ndarray, "corners 2"]:
    """An irregular polygon of three to twelve corners."""
    corners = 3 + int(10 * rng.random())
    turns = 2 * np.pi * (np.arange(corners) + 0.7 * rng.random(corners)) / corners
    reach = radius * (0.6 + 0.5 * rng.random((corners, 1)))
    return middle + reach * np.stack([np.cos(turns), np.sin(turns)], -1)


def fill(canvas: np.ndarray, corners: Float[np.ndarray, "corners 2"], color: np.ndarray) -> None:
    """A filled polygon without dents."""
    cv2.fillConvexPoly(canvas, _fix_place(corners), color.tolist(), cv2.LINE_AA, _SHIFT)


def _box(canvas: np.ndarray, x: float, y: float, across: float, down: float, color: np.ndarray) -> None:
    """An upright rectangle of whole pixels."""
    left, top, right, bottom = (max(0, round(v)) for v in (x, y, x + across, y + down))
    canvas[top:bottom, left:right] = color


def _ellipse(
    canvas: np.ndarray, middle: np.ndarray | tuple[float, float], axes: tuple[float, float], color: np.ndarray
) -> None:
    center, reach = _fix_place(np.asarray(middle)).tolist(), np.maximum(_fix_place(np.array(axes)), 1).tolist()
    cv2.ellipse(canvas, center, reach, 0, 0, 360, color.tolist(), -1, cv2.LINE_AA, _SHIFT)


def _fix_place(points: np.ndarray) -> np.ndarray:
    return np.round(points * 2**_SHIFT).astype(np.int32)
