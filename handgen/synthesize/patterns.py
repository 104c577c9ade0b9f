"""Synthesized backgrounds: a ground of gradient or noise, stripes or plaid, and shapes."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8

_OCTAVES = (2, 4, 8, 16, 32, 64)  # cells per side
_SHIFT = 4  # sub-pixel bits of the coordinates OpenCV draws with


def draw_pattern(size: int, rng: np.random.Generator) -> UInt8[np.ndarray, "size size 3"]:
    """A square RGB background."""
    canvas = _gradient(size, rng)
    if rng.random() < 0.8:
        canvas += _noise(size, rng)[..., None] * _tint(rng, 60)
    if rng.random() < 0.4:
        canvas += _stripes(size, rng)[..., None] * _tint(rng, 60)
    image = np.clip(canvas, 0, 255).astype(np.uint8)
    if rng.random() < 0.8:
        image = _with_shapes(image, rng)
    if rng.random() < 0.5:
        sigma = rng.uniform(0.5, 3.0) * size / 224
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    if rng.random() < 0.6:  # grain, so that smooth areas are not flatter than a camera's
        grain = _grid(rng, size, size) * np.float32(rng.uniform(2, 12))
        image = np.clip(image + grain[..., None], 0, 255).astype(np.uint8)
    return image


def _grid(rng: np.random.Generator, rows: int, columns: int) -> Float[np.ndarray, "rows columns"]:
    """Values in [-1, 1]."""
    return rng.random((rows, columns), dtype=np.float32) * 2 - 1


def _tint(rng: np.random.Generator, amount: float) -> Float[np.ndarray, " 3"]:
    """An amplitude per channel, mostly grey."""
    grey = rng.uniform(0.1, 1.0)
    return (amount * (grey + rng.uniform(-0.25, 0.25, 3) * grey)).astype(np.float32)


def _gradient(size: int, rng: np.random.Generator) -> Float[np.ndarray, "size size 3"]:
    """Colours of a few corners, smoothly between them; colours of rooms are dull more often than bright."""
    cells = int(rng.integers(2, 4))
    base = rng.uniform(20, 235)
    colors = base + rng.uniform(-60, 60, (cells, cells, 1)) + rng.normal(0, rng.uniform(3, 25), (cells, cells, 3))
    interpolation = cv2.INTER_LINEAR if cells == 2 else cv2.INTER_CUBIC
    return cv2.resize(colors.astype(np.float32), (size, size), interpolation=interpolation)


def _noise(size: int, rng: np.random.Generator) -> Float[np.ndarray, "size size"]:
    """Noise of several octaves, stretched at random as wood or cloth is."""
    total = np.zeros((size, size), np.float32)
    falloff = rng.uniform(0.4, 0.9)
    stretch = int(2 ** rng.integers(0, 4)) if rng.random() < 0.4 else 1
    along_rows = rng.random() < 0.5
    for octave, cells in enumerate(_OCTAVES):
        fine, coarse = min(cells, size), max(1, min(cells, size) // stretch)
        grid = _grid(rng, fine, coarse) if along_rows else _grid(rng, coarse, fine)
        total += falloff**octave * cv2.resize(grid, (size, size), interpolation=cv2.INTER_LINEAR)
    return total


def _stripes(size: int, rng: np.random.Generator) -> Float[np.ndarray, "size size"]:
    """Stripes in one direction, or in two: plaid."""
    angle = rng.uniform(0, np.pi)
    position = np.arange(size, dtype=np.float32) / size - 0.5
    total = np.zeros((size, size), np.float32)
    for direction in (angle, angle + np.pi / 2)[: 1 + int(rng.random() < 0.5)]:
        frequency = 2 * np.pi * rng.uniform(2, 24)
        phase = frequency * (np.cos(direction) * position[None] + np.sin(direction) * position[:, None])
        wave = np.sin(phase + rng.uniform(0, 2 * np.pi))
        total += np.clip(wave * rng.uniform(1, 6), -1, 1)
    return total / 2


def _with_shapes(image: np.ndarray, rng: np.random.Generator) -> UInt8[np.ndarray, "size size 3"]:
    """A few filled polygons, ellipses and lines over the image; they shine through a little."""
    size = image.shape[0]
    layer = image.copy()
    for _ in range(int(rng.integers(2, 12))):
        color = tuple(float(c) for c in np.clip(rng.uniform(10, 245) + rng.normal(0, rng.uniform(5, 40), 3), 0, 255))
        center = rng.uniform(-0.1, 1.1, 2) * size
        radius = rng.uniform(0.04, 0.45) * size
        kind = rng.integers(3)
        if kind == 0:
            corners = int(rng.integers(3, 8))
            turns = np.sort(rng.uniform(0, 2 * np.pi, corners))
            rim = center + radius * rng.uniform(0.5, 1.2, (corners, 1)) * np.stack([np.cos(turns), np.sin(turns)], -1)
            points = np.round(rim * 2**_SHIFT).astype(np.int32)
            cv2.fillPoly(layer, [points], color, cv2.LINE_AA, _SHIFT)
        elif kind == 1:
            axes = np.round(radius * rng.uniform(0.4, 1.0, 2) * 2**_SHIFT).astype(int)
            middle = np.round(center * 2**_SHIFT).astype(int)
            angle = rng.uniform(0, 180)
            cv2.ellipse(layer, middle.tolist(), axes.tolist(), angle, 0, 360, color, -1, cv2.LINE_AA, _SHIFT)
        else:
            start, end = (np.round(rng.uniform(-0.2, 1.2, 2) * size * 2**_SHIFT).astype(int).tolist() for _ in "ab")
            cv2.line(layer, start, end, color, int(rng.integers(1, max(2, size // 12))), cv2.LINE_AA, _SHIFT)
    return cv2.addWeighted(layer, opacity := rng.uniform(0.6, 1.0), image, 1 - opacity, 0)
