"""Things in front of the hand: sticks, cards, blobs, other hands. What they hide is read off their own alpha."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from handgen.media.arrays import Image
from handgen.stages.synthesize.warping import Placed

_SHIFT = 4  # sub-pixel bits of the coordinates OpenCV draws with
_STICK_WIDTH = (0.04, 0.16)  # of the hand's size
_BLOB_SIZE = (0.15, 0.45)
MOST_HIDDEN = 0.5  # of the hand's pixels; an occluder that hides more is made smaller
_TRIES = 3
_STEP_PX = 4
_EDGE_SIGMA_PX = 0.6

Outline = Float[np.ndarray, "corners 2"]


def draw_occluder(hand: Placed, background: Image, rng: np.random.Generator) -> Placed | None:
    """A stick, card or blob over a part of the hand; None where it would have to hide more than half of it."""
    size = float(np.sqrt(hand.alpha.size))
    height, width = background.shape[:2]
    target = point_on(hand, rng)
    if target is None:
        return None
    kind = int(rng.integers(3))
    scale = 1.0
    for _ in range(_TRIES):
        outline = _OUTLINES[kind](target, size * scale, (width, height), rng)
        box = _box(outline, (width, height))
        if box is None:
            return None
        x, y, w, h = box
        alpha = np.zeros((h, w), np.uint8)
        points = np.round((outline - (x, y)) * (1 << _SHIFT)).astype(np.int32)
        cv2.fillPoly(alpha, [points], 255, cv2.LINE_AA, _SHIFT)
        layer = Placed(x, y, _texture(background, box, rng), cv2.GaussianBlur(alpha, (0, 0), _EDGE_SIGMA_PX))
        if hidden_share(hand, layer) <= MOST_HIDDEN:
            return layer
        scale *= 0.6
    return None


def point_on(hand: Placed, rng: np.random.Generator) -> Float[np.ndarray, " 2"] | None:
    """A pixel of the sample that shows the hand; None where none does."""
    ys, xs = np.nonzero(hand.alpha[::_STEP_PX, ::_STEP_PX] > 127)
    if not len(xs):
        return None
    place = int(rng.integers(len(xs)))
    return np.array([hand.left + _STEP_PX * xs[place], hand.top + _STEP_PX * ys[place]], float)


def hidden_share(hand: Placed, occluder: Placed) -> float:
    """Compute the share of the hand's alpha that the occluder covers."""
    common = hand.overlap(occluder)
    if common is None:
        return 0.0
    mine, its = common
    covered = cv2.sumElems(cv2.multiply(hand.alpha[mine], occluder.alpha[its], scale=1 / 255))[0]
    return covered / max(cv2.sumElems(hand.alpha)[0], 1.0)


def _stick(target: np.ndarray, size: float, size_px: tuple[int, int], rng: np.random.Generator) -> Outline:
    """A pen, a cable, a branch: long, narrow, from somewhere outside or ending on the hand."""
    angle = rng.uniform(0, 2 * np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]]) * size * rng.uniform(*_STICK_WIDTH) / 2
    start = target - along * size * rng.uniform(0.1, 1.2)
    end = target + along * sum(size_px) if rng.random() < 0.7 else target + along * size * rng.uniform(0.1, 0.8)
    taper = rng.uniform(0.5, 1.0)
    return np.stack([start + taper * across, end + across, end - across, start - taper * across])


def _card(target: np.ndarray, size: float, size_px: tuple[int, int], rng: np.random.Generator) -> Outline:
    """A phone, a book, a box: four corners, a little out of square."""
    angle = rng.uniform(0, 2 * np.pi)
    along = np.array([np.cos(angle), np.sin(angle)]) * size * rng.uniform(*_BLOB_SIZE) / 2
    across = np.array([-along[1], along[0]]) * rng.uniform(0.5, 1.6)
    center = target + rng.uniform(-0.15, 0.15, 2) * size
    corners = np.stack([along + across, along - across, -along - across, across - along])
    return center + corners * rng.uniform(0.85, 1.15, (4, 1))


def _blob(target: np.ndarray, size: float, size_px: tuple[int, int], rng: np.random.Generator) -> Outline:
    """A cup, a ball, a leaf: round with a few waves."""
    turns = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radius = size * rng.uniform(*_BLOB_SIZE) / 2
    waves = np.ones_like(turns)
    for k in (2, 3, 5):
        waves += rng.uniform(0, 0.16) * np.cos(k * turns + rng.uniform(0, 2 * np.pi))
    stretch = np.array([rng.uniform(0.7, 1.4), 1.0])
    rim = radius * waves[:, None] * np.stack([np.cos(turns), np.sin(turns)], -1) * stretch
    return target + rng.uniform(-0.15, 0.15, 2) * size + rim


_OUTLINES = (_stick, _card, _blob)


def _box(outline: np.ndarray, size_px: tuple[int, int]) -> tuple[int, int, int, int] | None:
    low = np.clip(np.floor(outline.min(0)) - 2, 0, size_px).astype(int)
    high = np.clip(np.ceil(outline.max(0)) + 3, 0, size_px).astype(int)
    (x, y), (width, height) = low.tolist(), (high - low).tolist()
    return None if min(width, height) < 2 else (x, y, width, height)


def _texture(background: np.ndarray, box: tuple[int, int, int, int], rng: np.random.Generator) -> Image:
    """Fill the occluder with a piece of the picture from elsewhere, or one colour; light falls off across it."""
    _, _, width, height = box
    if rng.random() < 0.5:
        rows, columns = background.shape[:2]
        top, left = int(rng.integers(rows - height + 1)), int(rng.integers(columns - width + 1))
        colors = cv2.flip(background[top : top + height, left : left + width], -1)
    else:
        base = np.clip(rng.uniform(20, 230) + rng.normal(0, rng.uniform(5, 45), 3), 0, 255)
        colors = np.full((height, width, 3), base.astype(np.uint8))
    low, high = np.sort(rng.uniform(0.55, 1.1, 2))
    corners = rng.uniform(low, high, (2, 2)).astype(np.float32)
    shade = cv2.resize((corners * 200).astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.multiply(colors, cv2.merge((shade, shade, shade)), scale=1 / 200)
