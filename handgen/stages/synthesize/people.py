"""The person whose hand is filmed, as far as a camera sees them behind it: chest, head, an arm."""

from __future__ import annotations

import cv2
import numpy as np

from handgen.stages.synthesize.drawing import (
    Canvas,
    Color,
    curve,
    ellipse,
    fill,
    lay_in,
    line,
    outline_mask,
    paint_texture,
    shade,
)
from handgen.stages.synthesize.props import dull_color, flat_part

_LIGHT_SKIN, _DARK_SKIN = np.array([236.0, 198.0, 176.0]), np.array([92.0, 62.0, 48.0])  # sRGB
_HAIR = (np.array([28.0, 22.0, 20.0]), np.array([96.0, 66.0, 44.0]), np.array([150.0, 148.0, 146.0]))
_CLOTHS = ("weave", "knit", "stains")


def draw_somebody(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw a person from chest to head over a square canvas, near or farther, and often an arm.

    All that matters is what they have in common with a hand: skin, edges, and cloth, often black. Lengths are shares
    of the head's.
    """
    size = len(canvas)
    tall = size * rng.uniform(0.35, 1.1)
    middle = np.array([rng.uniform(-0.1, 1.1), rng.uniform(-0.25, 0.45)]) * size
    skin = _LIGHT_SKIN + (_DARK_SKIN - _LIGHT_SKIN) * rng.random()
    chin, cloth = middle + (0.0, 0.5 * tall), _cloth_color(rng)
    _draw_torso(canvas, chin, tall, cloth, rng)
    fill(canvas, np.array([[-0.2, -0.2], [0.2, -0.2], [0.24, 0.35], [-0.24, 0.35]]) * tall + chin, skin * 0.72)
    _draw_head(canvas, middle, tall, skin, rng)
    if rng.random() < 0.4:
        elbow = chin + np.array([rng.choice([-1.0, 1.0]), 1.0]) * tall
        _draw_forearm(canvas, elbow, tall, cloth if rng.random() < 0.5 else skin, skin, rng)


def _cloth_color(rng: np.random.Generator) -> Color:
    """Draw a garment's colour: black, white, blue more often than others."""
    kind = rng.random()
    if kind < 0.35:
        return np.full(3, rng.uniform(8, 50)) + rng.normal(0, 4, 3)
    if kind < 0.5:
        return np.full(3, rng.uniform(190, 240)) + rng.normal(0, 5, 3)
    if kind < 0.65:
        return np.array([0.5, 0.65, 1.0]) * rng.uniform(60, 170)
    return dull_color(rng, 110, 60, 2.0)


def _draw_torso(canvas: Canvas, chin: np.ndarray, tall: float, cloth: Color, rng: np.random.Generator) -> None:
    half, size = rng.uniform(0.85, 1.1), len(canvas)
    right = np.array([(0.3, 0.12), (0.9 * half, 0.38), (1.05 * half, 0.8), (1.1 * half, 4.0)])
    outline = np.concatenate([right, right[::-1] * (-1, 1)])
    garment = np.full_like(canvas, cloth.clip(5, 250))
    surface = flat_part(_CLOTHS[int(len(_CLOTHS) * rng.random())], (size, size), rng.uniform(0.8, 2.5), rng)
    paint_texture(garment, surface, rng.uniform(0.1, 0.4))
    folds = np.full((size, size), 128, np.uint8)
    for _ in range(int(rng.integers(2, 7))):
        down = chin + np.cumsum(rng.normal((0, 0.35), (0.25, 0.2), (5, 2)), 0) * tall
        line(folds, curve(down), 0.09 * tall, np.array([rng.uniform(60, 190)]))
    wide = (2 * int(0.05 * tall) + 1,) * 2
    shade(garment, cv2.blur(cv2.blur(folds, (7, 7)), wide))
    lay_in(canvas, garment, outline_mask(size, outline * tall + chin))


def _draw_head(canvas: Canvas, middle: np.ndarray, tall: float, skin: Color, rng: np.random.Generator) -> None:
    wide, size = tall * rng.uniform(0.32, 0.4), len(canvas)
    turn = rng.normal(0, 0.12) * wide  # of the face, to a side
    lit = rng.choice([-1.0, 1.0])
    hair = _HAIR[int(len(_HAIR) * rng.random())] * rng.uniform(0.6, 1.3)
    bald = rng.random() < 0.15
    if not bald:
        down = 0.35 * tall if rng.random() < 0.35 else -0.08 * tall  # long or short
        axes = (wide * 1.14, 0.5 * tall + max(down, 0.0) * 0.7)
        ellipse(canvas, middle + (0.0, down * 0.5 - 0.06 * tall), axes, hair)
    face = np.full_like(canvas, skin.clip(10, 250))
    across = (np.arange(size) - middle[0]) / wide * lit
    shade(face, np.repeat(np.clip(128 * (0.86 + 0.2 * across), 40, 200).astype(np.uint8)[None], size, 0))
    mask, full = np.zeros((size, size), np.uint8), np.array([255])
    ellipse(mask, middle + (0, 0.04 * tall), (wide, 0.46 * tall), full)
    for side in (-1, 1):  # ears
        ellipse(mask, middle + (side * wide, 0.02 * tall), (0.07 * tall, 0.1 * tall), full)
    lay_in(canvas, face, mask)
    _draw_face(canvas, middle, (wide, tall), turn, skin, hair, rng)
    nose = np.array([[turn, 0.0], [turn * 1.6 + 0.1 * wide * lit, 0.15 * tall]])
    nose = np.concatenate([nose, [[turn * 1.4 - 0.12 * wide * lit, 0.16 * tall]]])
    line(canvas, middle + nose, 0.012 * tall, skin * 0.7)
    if not bald:
        ellipse(canvas, middle - (0.0, 0.4 * tall), (wide * 1.02, rng.uniform(0.08, 0.2) * tall), hair)


def _draw_face(
    canvas: Canvas,
    middle: np.ndarray,
    size: tuple[float, float],
    turn: float,
    skin: Color,
    hair: Color,
    rng: np.random.Generator,
) -> None:
    """Eyes, brows, mouth; perhaps glasses and a beard."""
    wide, tall = size
    glasses = rng.random() < 0.35
    for side in (-1, 1):
        eye = middle + (turn + side * 0.42 * wide, -0.02 * tall)
        ellipse(canvas, eye, (0.16 * wide, 0.022 * tall), np.full(3, 215.0) * (skin.mean() / 200))
        ellipse(canvas, eye, (0.07 * wide, 0.024 * tall), np.full(3, 40.0))
        brow = np.array([[-0.2 * wide, -0.06 * tall], [0.0, -0.085 * tall], [0.2 * wide, -0.06 * tall]])
        line(canvas, eye + brow, 0.024 * tall, hair * 0.8)
        if glasses:
            ellipse(canvas, eye, (0.33 * wide, 0.08 * tall), skin * 0.35, line=max(1, round(0.012 * tall)))
    ellipse(
        canvas, middle + (turn, 0.27 * tall), (0.3 * wide, rng.uniform(0.012, 0.035) * tall), skin * (0.85, 0.6, 0.6)
    )
    if rng.random() < 0.3:
        ellipse(canvas, middle + (turn, 0.38 * tall), (0.6 * wide, 0.1 * tall), hair * 0.9)


def _draw_forearm(
    canvas: Canvas, elbow: np.ndarray, tall: float, color: Color, skin: Color, rng: np.random.Generator
) -> None:
    """Draw a forearm from an elbow up or across, bare or in its sleeve."""
    turn = rng.uniform(-np.pi, 0)
    along = np.array([np.cos(turn), np.sin(turn)])
    side, wrist = np.array([-along[1], along[0]]), elbow + along * tall * rng.uniform(0.9, 1.3)
    for part, tone in ((1.0, 0.75), (0.6, 1.0)):
        near, far = side * 0.19 * tall * part, side * 0.12 * tall * part
        fill(canvas, np.stack([elbow + near, wrist + far, wrist - far, elbow - near]), color.clip(5, 250) * tone)
    ellipse(canvas, wrist, (0.12 * tall, 0.12 * tall), skin)
