"""The places behind a hand, painted on small canvases: table, desk, wall, shelf, outdoors, busy print."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from handgen.stages.synthesize.drawing import Canvas, fill, paint_texture
from handgen.stages.synthesize.props import (
    dull_color,
    flat_part,
    hang_things,
    lay_things,
    receding_part,
    shape,
    stand_things,
)

_WALLS = ("plaster", "cloud", "stains", "planks", "tiles", "weave")
_TABLES = ("wood", "planks", "wood", "stains", "cloud", "weave", "tiles", "plaster")
_CLOTHS = ("weave", "knit", "carpet", "wood", "stains", "plaster")


def table(size: int, rng: np.random.Generator) -> Canvas:
    """A table or floor that recedes to a wall, with things on it and behind it."""
    edge = int(size * (0.1 + 0.65 * rng.random()))
    canvas = np.empty((size, size, 3), np.uint8)
    _paint_wall(canvas[:edge], rng)
    hang_things(canvas[:edge], rng)
    stand_things(canvas[:edge], edge, 0.25, int(5 * rng.random()), rng)
    canvas[:edge] = defocus(canvas[:edge], size * (0.004 + 0.022 * rng.random() ** 2))
    front = canvas[edge:]
    front[:] = dull_color(rng, 120, 55)
    vanishing = (size * (0.2 + 0.6 * rng.random()), -size * (0.08 + 0.5 * rng.random()))
    name = _TABLES[int(rng.random() * len(_TABLES))]
    detail = receding_part(name, (size, size - edge), vanishing, 0.4 + 1.2 * rng.random(), rng)
    paint_texture(front, detail, _contrast(rng))
    if rng.random() < 0.7:
        _shade(front, np.linspace(0.75 + 0.5 * rng.random(), 1.0, len(front)))
    stand_things(canvas, edge + 0.12 * size, 0.3, int(3.5 * rng.random()), rng)
    lay_things(canvas, (edge + 0.1 * size, size), 0.35, int(4 * rng.random()), rng)
    return canvas


def desk(size: int, rng: np.random.Generator) -> Canvas:
    """A surface seen from above, with papers, books and plates on it."""
    canvas = np.full((size, size, 3), dull_color(rng, 125, 55), np.uint8)
    names = _TABLES if rng.random() < 0.6 else _CLOTHS
    name = names[int(rng.random() * len(names))]
    paint_texture(canvas, flat_part(name, (size, size), 0.4 + 1.2 * rng.random(), rng), _contrast(rng))
    lay_things(canvas, (0, size), 1.0, int(9 * rng.random()), rng)
    if rng.random() < 0.5:
        _cast_shadow(canvas, rng)
    return canvas


def wall(size: int, rng: np.random.Generator) -> Canvas:
    """A wall near or far, perhaps with a door, a window, pictures."""
    canvas = np.empty((size, size, 3), np.uint8)
    _paint_wall(canvas, rng)
    if rng.random() < 0.75:
        hang_things(canvas, rng)
    if rng.random() < 0.4:  # a corner of the room: the other wall gets other light
        corner = canvas[:, : int(size * rng.random())]
        corner[:] = np.clip(corner * np.float32(0.6 + 0.7 * rng.random()), 0, 255)
    if rng.random() < 0.4:
        _cast_shadow(canvas, rng)
    return defocus(canvas, size * (0.003 + 0.02 * rng.random()))


def shelf(size: int, rng: np.random.Generator) -> Canvas:
    """Shelves with books and boxes."""
    canvas = np.full((size, size, 3), dull_color(rng, 70, 30), np.uint8)
    board = dull_color(rng, 130, 60)
    tall = int(size * (0.18 + 0.3 * rng.random()))
    thick = max(1, int(0.03 * size))
    palette = np.array([dull_color(rng, 120, 60, 2.0) for _ in range(10)])
    thin = size * (0.02 + 0.05 * rng.random())
    for top in range(-int(tall * rng.random()), size, tall):
        edges = np.cumsum(thin * (0.4 + 1.6 * rng.random(64)))
        which = np.minimum(np.searchsorted(edges, np.arange(size)), 63)
        books = palette[(rng.random(64) * 10).astype(int)] * (0.7 + 0.6 * rng.random((64, 1)))
        stands = rng.random(64) < 0.85
        upper = np.where(stands, tall * (0.08 + 0.35 * rng.random(64) ** 2), tall)
        low, high = max(0, top), min(size, top + tall - thick)
        if high > low:
            rows = np.arange(low, high)[:, None] - top
            inside = rows > upper[which][None]
            np.copyto(canvas[low:high], np.clip(books, 0, 255).astype(np.uint8)[which][None], where=inside[..., None])
        canvas[max(0, top + tall - thick) : max(0, top + tall)] = board
    paint_texture(canvas, flat_part("cloud", (size, size), 0.7, rng), 0.5)
    return defocus(canvas, size * (0.004 + 0.03 * rng.random()))


def outdoors(size: int, rng: np.random.Generator) -> Canvas:
    """Sky, leaves, trunks or houses, and the ground; far out of focus as a rule."""
    horizon = int(size * (0.2 + 0.5 * rng.random()))
    sky = np.array([150 + 60 * rng.random(), 185 + 30 * rng.random(), 215 + 30 * rng.random()])
    canvas = np.full((size, size, 3), sky, np.uint8)
    _shade(canvas[:horizon], np.linspace(0.8, 1.1, horizon))
    if rng.random() < 0.4:
        stand_things(canvas, horizon, 0.5, int(2 + 5 * rng.random()), rng)
    leaves = flat_part("cloud", (size, size), 0.5 + rng.random(), rng)
    level = np.clip(128 + 40 * float(rng.normal()) + np.linspace(30, -30, size), 0, 255).astype(np.uint8)
    green = np.array([60 + 60 * rng.random(), 80 + 50 * rng.random(), 35 + 30 * rng.random()])
    plants = np.full_like(canvas, green)
    paint_texture(plants, flat_part("plaster", (size, size), 0.6, rng), 1.6)
    cv2.copyTo(plants, cv2.compare(leaves, np.repeat(level[:, None], size, 1), cv2.CMP_GT), canvas)
    ground = canvas[horizon + int(0.2 * size * rng.random()) :]
    ground[:] = green * (0.8 + 0.5 * rng.random()) if rng.random() < 0.5 else dull_color(rng, 130, 40)
    detail = receding_part("plaster", (size, len(ground)), (size / 2, -0.1 * size), 0.8, rng)
    paint_texture(ground, detail, 1.0)
    return defocus(canvas, size * (0.005 + 0.035 * rng.random()))


def busy(size: int, rng: np.random.Generator) -> Canvas:
    """Shapes over shapes, sizes by a power law ("dead leaves": the edges of natural pictures), or a print on cloth."""
    palette = [dull_color(rng, 120, 60, 2.0) for _ in range(6)]
    canvas = np.full((size, size, 3), palette[0], np.uint8)
    if rng.random() < 0.35:
        _print(canvas, palette, rng)
    else:
        radii = size * np.minimum(0.055 / np.sqrt(rng.random(50)), 0.35)
        for radius in np.sort(radii)[::-1]:
            color = np.clip(palette[int(6 * rng.random())] * (0.7 + 0.6 * rng.random()), 0, 255)
            fill(canvas, shape(size * rng.random(2), radius, rng), color)
    name = ("weave", "cloud", "knit", "stains")[int(4 * rng.random())]
    paint_texture(canvas, flat_part(name, (size, size), 0.5 + rng.random(), rng), 0.8)
    return canvas


def defocus(image: Canvas, sigma_px: float) -> Canvas:
    """Blur nearly as a Gaussian does: two boxes of side k have variance (k^2 - 1) / 6, at the same cost for all k."""
    side = max(1, 2 * round((np.sqrt(6 * sigma_px**2 + 1) - 1) / 2) + 1)
    return cv2.blur(cv2.blur(image, (side, side)), (side, side)) if side > 1 else image


def _contrast(rng: np.random.Generator) -> float:
    """Draw a texture's contrast, mostly a low one."""
    return 0.15 + 0.75 * rng.random() ** 2


def _shade(canvas: np.ndarray, rows: Float[np.ndarray, " height"]) -> None:
    """Multiply each row by a factor, in place."""
    levels = np.clip(128 * rows, 0, 255).astype(np.uint8)
    cv2.multiply(canvas, np.broadcast_to(levels[:, None, None], canvas.shape).copy(), dst=canvas, scale=1 / 128)


def _paint_wall(canvas: np.ndarray, rng: np.random.Generator) -> None:
    canvas[:] = dull_color(rng, 155, 50, 0.7)
    name = _WALLS[int(rng.random() * len(_WALLS))]
    strong = 0.25 if name in ("planks", "tiles", "weave") else 0.5
    detail = flat_part(name, canvas.shape[1::-1], 0.5 + rng.random(), rng)
    paint_texture(canvas, detail, strong * _contrast(rng) * 2)


def _cast_shadow(canvas: np.ndarray, rng: np.random.Generator) -> None:
    """The soft shadow of something out of sight."""
    size = len(canvas)
    cells = np.full((24, 24), 255, np.uint8)
    fill(cells, shape(24 * rng.random(2), 24 * (0.2 + 0.3 * rng.random()), rng), np.full(3, 110 + 100 * rng.random()))
    soft = cv2.resize(cv2.blur(cells, (3, 3)), (size, size), interpolation=cv2.INTER_LINEAR)
    cv2.multiply(canvas, cv2.cvtColor(soft, cv2.COLOR_GRAY2BGR), dst=canvas, scale=1 / 255)


def _print(canvas: np.ndarray, palette: list[np.ndarray], rng: np.random.Generator) -> None:
    """Stripes or checks of several colours, turned."""
    size = len(canvas)
    strip = np.array(palette)[(6 * rng.random(16)).astype(int)].astype(np.uint8)
    widths = np.minimum(np.searchsorted(np.cumsum(0.3 + rng.random(16)), np.arange(64) * 12.8 / 64), 15)
    cells = np.broadcast_to(strip[widths][None], (64, 64, 3))
    if rng.random() < 0.6:
        cells = cv2.addWeighted(cells.copy(), 0.5, np.ascontiguousarray(cells.transpose(1, 0, 2)), 0.5, 0)
    turn = cv2.getRotationMatrix2D((32, 32), 360 * rng.random(), size / 64 * (0.3 + 0.9 * rng.random()))
    cv2.warpAffine(np.ascontiguousarray(cells), turn, (size, size), dst=canvas, borderMode=cv2.BORDER_WRAP)
