"""What stands close behind a filmed hand: the person it belongs to, a desk with what is on it, printed boards.

These are what crops of real hands have and empty rooms have not: edges of full contrast near the fingers, skin that is
no hand, black cloth, keys and print.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from handgen.stages.synthesize.props import dull_color, fill, flat_part, shape

Canvas = UInt8[np.ndarray, "size size 3"]
Color = Float[np.ndarray, " 3"]

_LIGHT_SKIN, _DARK_SKIN = np.array([236.0, 198.0, 176.0]), np.array([92.0, 62.0, 48.0])  # sRGB
_HAIR = (np.array([28.0, 22.0, 20.0]), np.array([96.0, 66.0, 44.0]), np.array([150.0, 148.0, 146.0]))
_SHIFT = 4  # sub-pixel bits of the coordinates that OpenCV draws with
_TURNED = 10  # points of a rounded corner


def somebody(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw a person from chest to head over a canvas, near or farther, and often an arm."""
    size = len(canvas)
    tall = size * rng.uniform(0.35, 1.1)  # of the head
    middle = np.array([rng.uniform(-0.1, 1.1), rng.uniform(-0.25, 0.45)]) * size
    skin = _LIGHT_SKIN + (_DARK_SKIN - _LIGHT_SKIN) * rng.random()
    lit = rng.choice([-1.0, 1.0])
    chin = middle + (0.0, 0.5 * tall)
    cloth = _cloth_color(rng)
    _torso(canvas, chin, tall, cloth, rng)
    neck = np.array([[-0.2, -0.2], [0.2, -0.2], [0.24, 0.35], [-0.24, 0.35]]) * tall + chin
    fill(canvas, neck, skin * 0.72)
    _head(canvas, middle, tall, skin, lit, rng)
    if rng.random() < 0.4:
        _limb(canvas, chin + np.array([rng.choice([-1.0, 1.0]), 1.0]) * tall, tall, skin, cloth, rng)


def workplace(size: int, rng: np.random.Generator) -> Canvas:
    """Return a desk as a camera above it sees it: mats, keyboards, mice, cables, papers, the edge of a screen."""
    light = rng.random() < 0.5
    canvas = np.full((size, size, 3), dull_color(rng, 205 if light else 95, 25 if light else 50, 0.5), np.uint8)
    if rng.random() < 0.5:
        _texture(canvas, ("wood", "plaster", "weave")[int(3 * rng.random())], rng.uniform(0.1, 0.5), rng)
    turn = rng.normal(0, 0.25) + rng.choice([0.0, np.pi / 2])
    for _ in range(int(rng.integers(1, 4))):
        place, kind = rng.uniform(-0.1, 1.1, 2) * size, rng.random()
        angle = turn + rng.normal(0, 0.1)
        if kind < 0.35:
            _keyboard(canvas, place, angle, rng)
        elif kind < 0.65:
            _mat(canvas, place, angle, rng)
        elif kind < 0.85:
            _mouse(canvas, place, angle, rng)
        else:
            _screen(canvas, place, angle, rng)
    for _ in range(rng.poisson(0.7)):
        points = np.cumsum(rng.normal(0, 0.2, (6, 2)), 0) * size + rng.uniform(0, 1, 2) * size
        thick = max(1, round(size * rng.uniform(0.006, 0.016)))
        cv2.polylines(canvas, [_fix(_rounded(points))], False, dull_color(rng, 60, 40).tolist(), thick, cv2.LINE_AA, _SHIFT)
    return canvas


def lay_board(canvas: Canvas, rng: np.random.Generator) -> None:
    """Lay a printed board somewhere: squares, with or without markers in the white ones, or lines of print."""
    cells = (int(rng.integers(3, 8)), int(rng.integers(3, 8)))
    ink, paper = rng.uniform(5, 60), rng.uniform(170, 250)
    kind = rng.random()
    if kind < 0.7:
        print_ = _checks(cells, kind < 0.45, rng)
    else:
        print_ = _lines(rng)
    picture = (ink + (paper - ink) * print_).astype(np.uint8)
    size = len(canvas)
    width, height = picture.shape[1], picture.shape[0]
    long = size * rng.uniform(0.4, 1.5)
    across = np.array([np.cos(turn := rng.uniform(0, 2 * np.pi)), np.sin(turn)]) * long
    down = np.array([-across[1], across[0]]) * height / width * rng.uniform(0.5, 1.0)
    corner = rng.uniform(0, 1, 2) * size - (across + down) * rng.uniform(0.2, 0.8)
    quad = np.stack([corner, corner + across, corner + across + down, corner + down]) + rng.normal(0, 0.03, (4, 2)) * long
    edge = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(edge, quad.astype(np.float32))
    tint = np.array([1.0, 1.0, 1.0]) * (1 + rng.normal(0, 0.03, 3))
    colored = np.clip(picture[..., None] * tint, 0, 255).astype(np.uint8)
    cv2.warpPerspective(colored, matrix, (size, size), canvas, cv2.INTER_AREA, cv2.BORDER_TRANSPARENT)


def _checks(cells: tuple[int, int], markers: bool, rng: np.random.Generator) -> Float[np.ndarray, "height width"]:
    """Squares of 0 and 1, with a margin; markers: black squares with white bits within the white ones."""
    each = 16
    board = (np.indices(cells).sum(0) % 2).astype(np.float32)
    large = np.kron(board, np.ones((each, each), np.float32))
    if markers:
        for row, column in np.argwhere(board > 0):
            inside = np.zeros((12, 12), np.float32)
            inside[2:10, 2:10] = np.kron(rng.random((4, 4)) < 0.5, np.ones((2, 2)))
            large[row * each + 2 : row * each + 14, column * each + 2 : column * each + 14] = inside
    return np.pad(large, int(rng.integers(2, 16)), constant_values=1.0)


def _lines(rng: np.random.Generator) -> Float[np.ndarray, "height width"]:
    """Words in lines, larger ones above."""
    page = np.ones((128, 96), np.float32)
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


def _cloth_color(rng: np.random.Generator) -> Color:
    """Draw a garment's colour: black, white, blue or grey more often than others."""
    kind = rng.random()
    if kind < 0.35:
        return np.full(3, rng.uniform(8, 50)) + rng.normal(0, 4, 3)
    if kind < 0.5:
        return np.full(3, rng.uniform(190, 240)) + rng.normal(0, 5, 3)
    if kind < 0.65:
        return np.array([0.5, 0.65, 1.0]) * rng.uniform(60, 170)
    return dull_color(rng, 110, 60, 2.0)


def _torso(canvas: Canvas, chin: np.ndarray, tall: float, cloth: Color, rng: np.random.Generator) -> None:
    half = tall * rng.uniform(0.85, 1.1)
    outline = [(-0.3 * tall, 0.12 * tall), (0.3 * tall, 0.12 * tall), (half * 0.9, 0.38 * tall), (half * 1.05, 0.8 * tall)]
    outline += [(half * 1.1, 4 * tall), (-half * 1.1, 4 * tall), (-half * 1.05, 0.8 * tall), (-half * 0.9, 0.38 * tall)]
    mask = np.zeros(canvas.shape[:2], np.uint8)
    cv2.fillPoly(mask, [_fix(np.array(outline) + chin)], 255, cv2.LINE_AA, _SHIFT)
    size = len(canvas)
    garment = np.full_like(canvas, cloth.clip(5, 250))
    _texture(garment, ("weave", "knit", "stains")[int(3 * rng.random())], rng.uniform(0.1, 0.4), rng)
    folds = np.full((size, size), 128, np.uint8)
    for _ in range(int(rng.integers(2, 7))):
        line = chin + np.cumsum(rng.normal((0, 0.35), (0.25, 0.2), (5, 2)), 0) * tall
        cv2.polylines(folds, [_fix(_rounded(line))], False, rng.uniform(60, 190), max(1, int(0.09 * tall)), 8, _SHIFT)
    soft = cv2.blur(cv2.blur(folds, (7, 7)), (2 * int(0.05 * tall) + 1,) * 2)
    cv2.multiply(garment, cv2.cvtColor(soft, cv2.COLOR_GRAY2BGR), dst=garment, scale=1 / 128)
    _lay_in(canvas, garment, mask)


def _head(
    canvas: Canvas, middle: np.ndarray, tall: float, skin: Color, lit: float, rng: np.random.Generator
) -> None:
    wide = tall * rng.uniform(0.32, 0.4)
    turned = rng.normal(0, 0.12) * wide  # of the face, to a side
    hair = _HAIR[int(3 * rng.random())] * rng.uniform(0.6, 1.3)
    bald = rng.random() < 0.15
    if not bald:
        long = rng.random() < 0.35
        down = 0.35 * tall if long else -0.08 * tall
        _blob(canvas, middle + (0.0, down * 0.5 - 0.06 * tall), (wide * 1.14, 0.5 * tall + max(down, 0.0) * 0.7), hair)
    face = np.full_like(canvas, skin.clip(10, 250))
    size = len(canvas)
    across = (np.arange(size) - middle[0]) / wide * lit
    shade = np.clip(128 * (0.86 + 0.2 * across), 40, 200).astype(np.uint8)
    cv2.multiply(face, cv2.cvtColor(np.repeat(shade[None], size, 0), cv2.COLOR_GRAY2BGR), dst=face, scale=1 / 128)
    mask = np.zeros((size, size), np.uint8)
    cv2.ellipse(mask, _at(middle + (0, 0.04 * tall)), _reach(wide, 0.46 * tall), 0, 0, 360, 255, -1, cv2.LINE_AA, _SHIFT)
    for side in (-1, 1):  # ears
        cv2.ellipse(mask, _at(middle + (side * wide, 0.02 * tall)), _reach(0.07 * tall, 0.1 * tall), 0, 0, 360, 255, -1, cv2.LINE_AA, _SHIFT)
    _lay_in(canvas, face, mask)
    dark, red = skin * 0.35, skin * (0.85, 0.6, 0.6)
    thin = max(1, round(0.012 * tall))
    for side in (-1, 1):
        eye = middle + (turned + side * 0.42 * wide, -0.02 * tall)
        _blob(canvas, eye, (0.16 * wide, 0.022 * tall), np.full(3, 215.0) * (skin.mean() / 200))
        _blob(canvas, eye, (0.07 * wide, 0.024 * tall), np.full(3, 40.0))
        brow = eye + np.array([[-0.2 * wide, -0.06 * tall], [0.0, -0.085 * tall], [0.2 * wide, -0.06 * tall]])
        cv2.polylines(canvas, [_fix(brow)], False, (hair * 0.8).tolist(), 2 * thin, cv2.LINE_AA, _SHIFT)
    nose = middle + np.array([[turned, 0.0], [turned * 1.6 + 0.1 * wide * lit, 0.15 * tall], [turned * 1.4 - 0.12 * wide * lit, 0.16 * tall]])
    cv2.polylines(canvas, [_fix(nose)], False, (skin * 0.7).tolist(), thin, cv2.LINE_AA, _SHIFT)
    _blob(canvas, middle + (turned, 0.27 * tall), (0.3 * wide, rng.uniform(0.012, 0.035) * tall), red)
    if rng.random() < 0.3:
        _blob(canvas, middle + (turned, 0.38 * tall), (0.6 * wide, 0.1 * tall), hair * 0.9)
    if rng.random() < 0.35:
        for side in (-1, 1):
            eye = _at(middle + (turned + side * 0.42 * wide, -0.01 * tall))
            cv2.ellipse(canvas, eye, _reach(0.33 * wide, 0.08 * tall), 0, 0, 360, dark.tolist(), thin, cv2.LINE_AA, _SHIFT)
    if not bald:
        _blob(canvas, middle - (0.0, 0.4 * tall), (wide * 1.02, rng.uniform(0.08, 0.2) * tall), hair)


def _limb(
    canvas: Canvas, elbow: np.ndarray, tall: float, skin: Color, cloth: Color, rng: np.random.Generator
) -> None:
    """Draw a forearm from an elbow up or across, bare or in its sleeve."""
    turn = rng.uniform(-np.pi, 0)
    along = np.array([np.cos(turn), np.sin(turn)])
    side = np.array([-along[1], along[0]])
    wrist = elbow + along * tall * rng.uniform(0.9, 1.3)
    thick, thin = 0.19 * tall, 0.12 * tall
    for part, shade in ((1.0, 0.75), (0.6, 1.0)):
        outline = np.stack([elbow + side * thick * part, wrist + side * thin * part, wrist - side * thin * part, elbow - side * thick * part])
        fill(canvas, outline, (cloth if rng.random() < 0.5 else skin).clip(5, 250) * shade)
    _blob(canvas, wrist, (thin, thin), skin)


def _keyboard(canvas: Canvas, place: np.ndarray, turn: float, rng: np.random.Generator) -> None:
    key = len(canvas) * rng.uniform(0.035, 0.09)
    dark = rng.random() < 0.7
    body, keys = (dull_color(rng, 30, 12), dull_color(rng, 55, 20)) if dark else (dull_color(rng, 190, 20), dull_color(rng, 235, 10))
    lines, rows = int(rng.integers(10, 18)), int(rng.integers(4, 7))
    _quad(canvas, place, turn, (lines * key * 1.04, rows * key * 1.08), body)
    glow = dull_color(rng, 150, 60, 4.0) if rng.random() < 0.2 else None
    for row in range(rows):
        x = -lines / 2 * key
        while x < lines / 2 * key - 0.5 * key:
            wide = key * float(rng.choice([1, 1, 1, 1, 1, 1.5, 2]))
            offset = np.array([x + wide / 2, (row + 0.5 - rows / 2) * key])
            _quad(canvas, place + _turned(offset, turn), turn, (wide * 0.86, key * 0.84), keys if glow is None or rng.random() < 0.5 else glow)
            letter = place + _turned(offset, turn)
            _blob(canvas, letter, (0.12 * key, 0.12 * key), keys + (90 if dark else -110))
            x += wide


def _mat(canvas: Canvas, place: np.ndarray, turn: float, rng: np.random.Generator) -> None:
    reach = len(canvas) * rng.uniform(0.5, 1.2, 2)
    color = dull_color(rng, 30, 20, 2.0)
    if rng.random() < 0.6:
        _quad(canvas, place, turn, reach * 1.02, dull_color(rng, 110, 60, 3.0))
    _quad(canvas, place, turn, reach, color)
    for _ in range(int(rng.integers(0, 4))):  # print
        corners = place + _turned(rng.uniform(-0.45, 0.45, 2) * reach, turn)
        fill(canvas, shape(corners, len(canvas) * rng.uniform(0.02, 0.12), rng), dull_color(rng, 110, 60, 2.0))


def _mouse(canvas: Canvas, place: np.ndarray, turn: float, rng: np.random.Generator) -> None:
    long = len(canvas) * rng.uniform(0.09, 0.2)
    color = dull_color(rng, 35, 15) if rng.random() < 0.7 else dull_color(rng, 210, 20)
    degrees = float(np.degrees(turn))
    shadow = place + len(canvas) * rng.normal(0, 0.015, 2)
    for at, reach, tone in ((shadow, 1.05, color * 0.3), (place, 1.0, color), (place - long * 0.1, 0.55, color * 1.2)):
        cv2.ellipse(canvas, _at(at), _reach(long * reach, long * 0.6 * reach), degrees, 0, 360, tone.clip(0, 255).tolist(), -1, cv2.LINE_AA, _SHIFT)
    ends = np.stack([place + _turned(np.array([0.2 * long, 0.0]), turn), place + _turned(np.array([long, 0.0]), turn)])
    cv2.polylines(canvas, [_fix(ends)], False, (color * 0.4).tolist(), max(1, round(0.05 * long)), cv2.LINE_AA, _SHIFT)


def _screen(canvas: Canvas, place: np.ndarray, turn: float, rng: np.random.Generator) -> None:
    reach = len(canvas) * rng.uniform(0.5, 1.1) * np.array([1.0, 0.62])
    _quad(canvas, place, turn, reach * 1.05, dull_color(rng, 25, 10))
    _quad(canvas, place, turn, reach, dull_color(rng, 160, 80, 1.5))
    for _ in range(int(rng.integers(3, 14))):
        inner = reach * rng.uniform(0.05, 0.4, 2)
        offset = rng.uniform(-0.5, 0.5, 2) * (reach - inner)
        _quad(canvas, place + _turned(offset, turn), turn, inner, dull_color(rng, 130, 80, 2.0))


def _texture(canvas: Canvas, name: str, contrast: float, rng: np.random.Generator) -> None:
    table = np.clip(128 + contrast * (np.arange(256) - 128), 20, 255).astype(np.uint8)
    detail = cv2.LUT(flat_part(name, canvas.shape[1::-1], rng.uniform(0.8, 2.5), rng), table)
    cv2.multiply(canvas, cv2.cvtColor(detail, cv2.COLOR_GRAY2BGR), dst=canvas, scale=1 / 128)


def _lay_in(canvas: Canvas, layer: Canvas, mask: np.ndarray) -> None:
    share = cv2.cvtColor(mask, cv2.COLOR_GRAY2BGR)
    np.copyto(canvas, cv2.add(cv2.multiply(layer, share, scale=1 / 255), cv2.multiply(canvas, 255 - share, scale=1 / 255)))


def _rounded(points: np.ndarray) -> np.ndarray:
    """Return a smooth line through the middles of a line's pieces (a quadratic B-spline)."""
    t = np.linspace(0, 1, _TURNED)[:, None]
    parts = []
    for a, b, c in zip(points, points[1:], points[2:], strict=False):
        start, end = (a + b) / 2, (b + c) / 2
        parts.append(start * (1 - t) ** 2 + 2 * b * t * (1 - t) + end * t**2)
    return np.concatenate(parts)


def _quad(
    canvas: Canvas, middle: np.ndarray, turn: float, reach: tuple[float, float] | np.ndarray, color: Color
) -> None:
    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]) * np.asarray(reach)
    fill(canvas, middle + _turned(corners, turn), color.clip(0, 255))


def _turned(points: np.ndarray, turn: float) -> np.ndarray:
    cosine, sine = np.cos(turn), np.sin(turn)
    return points @ np.array([[cosine, sine], [-sine, cosine]])


def _blob(canvas: Canvas, middle: np.ndarray, reach: tuple[float, float], color: Color) -> None:
    cv2.ellipse(canvas, _at(middle), _reach(*reach), 0, 0, 360, color.clip(0, 255).tolist(), -1, cv2.LINE_AA, _SHIFT)


def _at(point: np.ndarray) -> tuple[int, int]:
    x, y = _fix(np.asarray(point)).tolist()
    return x, y


def _reach(across: float, down: float) -> tuple[int, int]:
    return max(1, round(across * 2**_SHIFT)), max(1, round(down * 2**_SHIFT))


def _fix(points: np.ndarray) -> np.ndarray:
    return np.round(points * 2**_SHIFT).astype(np.int32)
