"""Desks with what lies on them as a camera above sees them, and printed boards."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from handgen.stages.synthesize.drawing import Canvas, curve, ellipse, fill, line, paint_texture, quad, turned
from handgen.stages.synthesize.props import dull_color, flat_part, shape

_SURFACES = ("wood", "plaster", "weave")
_CELL_PX = 16  # of a printed board's squares


def workplace(size: int, rng: np.random.Generator) -> Canvas:
    """Return a desk with mats, keyboards, mice, screens and cables."""
    light = rng.random() < 0.5
    color = dull_color(rng, 205, 25, 0.5) if light else dull_color(rng, 95, 50, 0.5)
    canvas = np.full((size, size, 3), color, np.uint8)
    if rng.random() < 0.5:
        surface = _SURFACES[int(len(_SURFACES) * rng.random())]
        paint_texture(canvas, flat_part(surface, (size, size), rng.uniform(0.8, 2.5), rng), rng.uniform(0.1, 0.5))
    turn = rng.normal(0, 0.25) + rng.choice([0.0, np.pi / 2])
    for _ in range(int(rng.integers(1, 4))):
        thing = _THINGS[int(np.searchsorted(_THING_SHARES, rng.random()))]
        thing(canvas, rng.uniform(-0.1, 1.1, 2) * size, turn + rng.normal(0, 0.1), rng)
    for _ in range(rng.poisson(0.7)):
        cable = np.cumsum(rng.normal(0, 0.2, (6, 2)), 0) * size + rng.uniform(0, 1, 2) * size
        line(canvas, curve(cable), size * rng.uniform(0.006, 0.016), dull_color(rng, 60, 40))
    return canvas


def lay_board(canvas: Canvas, rng: np.random.Generator) -> None:
    """Lay print on a square canvas: a chessboard, one with markers as calibration uses them, or lines of words."""
    kind, size = rng.random(), len(canvas)
    print_ = _checks(kind < 0.45, rng) if kind < 0.7 else _words(rng)
    ink, paper = rng.uniform(5, 60), rng.uniform(170, 250)
    levels = (ink + (paper - ink) * print_)[..., None] * (1 + rng.normal(0, 0.03, 3))
    height, width = print_.shape
    long = size * rng.uniform(0.4, 1.5)
    across = turned(np.array([long, 0.0]), rng.uniform(0, 2 * np.pi))
    down = np.array([-across[1], across[0]]) * height / width * rng.uniform(0.5, 1.0)
    corner = rng.uniform(0, 1, 2) * size - (across + down) * rng.uniform(0.2, 0.8)
    corners = np.stack([corner, corner + across, corner + across + down, corner + down])
    corners += rng.normal(0, 0.03, (4, 2)) * long
    edge = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(edge, corners.astype(np.float32))
    picture = np.clip(levels, 0, 255).astype(np.uint8)
    cv2.warpPerspective(picture, matrix, (size, size), canvas, cv2.INTER_AREA, cv2.BORDER_TRANSPARENT)


def _checks(markers: bool, rng: np.random.Generator) -> Float[np.ndarray, "height width"]:
    """Squares of 0 and 1 with a margin; markers: black squares with white bits within the white ones."""
    rows, columns = rng.integers(3, 8, 2).tolist()
    cells = np.indices((rows, columns)).sum(0) % 2
    board = np.kron(cells, np.ones((_CELL_PX, _CELL_PX)))
    if markers:
        for row, column in np.argwhere(cells > 0) * _CELL_PX:
            marker = np.zeros((12, 12))
            marker[2:10, 2:10] = np.kron(rng.random((4, 4)) < 0.5, np.ones((2, 2)))
            board[row + 2 : row + 14, column + 2 : column + 14] = marker
    return np.pad(board, int(rng.integers(2, 16)), constant_values=1.0)


def _words(rng: np.random.Generator) -> Float[np.ndarray, "height width"]:
    """Words in lines, some of them larger."""
    page = np.ones((128, 96))
    row = 8
    while row < 118:
        tall = int(rng.integers(2, 4)) if rng.random() < 0.85 else int(rng.integers(5, 9))
        column = 8
        while column < 86:
            word = int(rng.integers(3, 16))
            page[row : row + tall, column : min(column + word, 88)] = rng.uniform(0, 0.4)
            column += word + tall
        row += tall + int(rng.integers(2, 5))
    return page


def _keyboard(canvas: Canvas, place: np.ndarray, turn: float, rng: np.random.Generator) -> None:
    key = len(canvas) * rng.uniform(0.035, 0.09)
    dark = rng.random() < 0.7
    body = dull_color(rng, 30, 12) if dark else dull_color(rng, 190, 20)
    keys = dull_color(rng, 55, 20) if dark else dull_color(rng, 235, 10)
    glow = dull_color(rng, 150, 60, 4.0) if rng.random() < 0.2 else keys
    columns, rows = int(rng.integers(10, 18)), int(rng.integers(4, 7))
    quad(canvas, place, turn, (columns * key * 1.04, rows * key * 1.08), body)
    for row in range(rows):
        x = -columns / 2 * key
        while x < (columns / 2 - 0.5) * key:
            wide = key * float(rng.choice([1, 1, 1, 1, 1, 1.5, 2]))
            middle = place + turned(np.array([x + wide / 2, (row + 0.5 - rows / 2) * key]), turn)
            quad(canvas, middle, turn, (wide * 0.86, key * 0.84), keys if rng.random() < 0.5 else glow)
            ellipse(canvas, middle, (0.12 * key, 0.12 * key), keys + (90 if dark else -110))
            x += wide


def _mat(canvas: Canvas, place: np.ndarray, turn: float, rng: np.random.Generator) -> None:
    across, down = len(canvas) * rng.uniform(0.5, 1.2, 2)
    if rng.random() < 0.6:  # its border
        quad(canvas, place, turn, (across * 1.02, down * 1.02), dull_color(rng, 110, 60, 3.0))
    quad(canvas, place, turn, (across, down), dull_color(rng, 30, 20, 2.0))
    for _ in range(int(rng.integers(0, 4))):
        middle = place + turned(rng.uniform(-0.45, 0.45, 2) * (across, down), turn)
        fill(canvas, shape(middle, len(canvas) * rng.uniform(0.02, 0.12), rng), dull_color(rng, 110, 60, 2.0))


def _mouse(canvas: Canvas, place: np.ndarray, turn: float, rng: np.random.Generator) -> None:
    long = len(canvas) * rng.uniform(0.09, 0.2)
    color = dull_color(rng, 35, 15) if rng.random() < 0.7 else dull_color(rng, 210, 20)
    shadow = place + len(canvas) * rng.normal(0, 0.015, 2)
    for middle, reach, tone in ((shadow, 1.05, 0.3), (place, 1.0, 1.0), (place - long * 0.1, 0.55, 1.2)):
        ellipse(canvas, middle, (long * reach, long * 0.6 * reach), color * tone, turn)
    ends = np.array([[0.2 * long, 0.0], [long, 0.0]])
    line(canvas, place + turned(ends, turn), 0.05 * long, color * 0.4)


def _screen(canvas: Canvas, place: np.ndarray, turn: float, rng: np.random.Generator) -> None:
    across = len(canvas) * rng.uniform(0.5, 1.1)
    size = np.array([across, 0.62 * across])
    quad(canvas, place, turn, (size[0] * 1.05, size[1] * 1.05), dull_color(rng, 25, 10))
    quad(canvas, place, turn, (size[0], size[1]), dull_color(rng, 160, 80, 1.5))
    for _ in range(int(rng.integers(3, 14))):  # windows
        inner = size * rng.uniform(0.05, 0.4, 2)
        middle = place + turned(rng.uniform(-0.5, 0.5, 2) * (size - inner), turn)
        quad(canvas, middle, turn, (inner[0], inner[1]), dull_color(rng, 130, 80, 2.0))


_THINGS = (_keyboard, _mat, _mouse, _screen)
_THING_SHARES = (0.35, 0.65, 0.85)
