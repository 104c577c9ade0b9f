"""Drawing into a canvas, in place, to a sixteenth of a pixel: quadrangles, ellipses, curves, textures, layers."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, Int32, UInt8

from handgen.media.arrays import Mask

Canvas = UInt8[np.ndarray, "height width 3"]
Color = Float[np.ndarray, " 3"]

_SHIFT = 4  # sub-pixel bits of the coordinates that OpenCV draws with
_STEPS = 10  # of a rounded corner


def fill(canvas: Canvas, corners: Float[np.ndarray, "corners 2"], color: Color) -> None:
    """A filled polygon without dents."""
    cv2.fillConvexPoly(canvas, _fixed(corners), color.tolist(), cv2.LINE_AA, _SHIFT)


def outline_mask(size: int, corners: Float[np.ndarray, "corners 2"]) -> Mask:
    """A polygon of any kind, 255 inside."""
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [_fixed(corners)], 255, cv2.LINE_AA, _SHIFT)
    return mask


def box(canvas: Canvas, x: float, y: float, across: float, down: float, color: Color) -> None:
    """An upright rectangle of whole pixels."""
    left, top, right, bottom = (max(0, round(v)) for v in (x, y, x + across, y + down))
    canvas[top:bottom, left:right] = color


def quad(canvas: Canvas, middle: np.ndarray, turn_rad: float, size: tuple[float, float], color: Color) -> None:
    """A turned rectangle."""
    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]) * np.asarray(size)
    fill(canvas, middle + turned(corners, turn_rad), color.clip(0, 255))


def ellipse(
    canvas: np.ndarray,
    middle: np.ndarray | tuple[float, float],
    axes: tuple[float, float],
    color: np.ndarray,
    turn_rad: float = 0.0,
    line: int = -1,
) -> None:
    """An ellipse, filled, or a line of `line` pixels. axes: half lengths. color: of as many values as channels."""
    x, y = _fixed(np.asarray(middle, float)).tolist()
    across, down = np.maximum(_fixed(np.array(axes)), 1).tolist()
    degrees, tone = float(np.degrees(turn_rad)), np.clip(color, 0, 255).tolist()
    cv2.ellipse(canvas, (x, y), (across, down), degrees, 0, 360, tone, line, cv2.LINE_AA, _SHIFT)


def line(canvas: np.ndarray, points: Float[np.ndarray, "points 2"], width: float, color: np.ndarray) -> None:
    """A line through points, at least one pixel wide."""
    tone = np.clip(color, 0, 255).tolist()
    cv2.polylines(canvas, [_fixed(points)], False, tone, max(1, round(width)), cv2.LINE_AA, _SHIFT)


def curve(points: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, "more 2"]:
    """Return a smooth line through the middles of a line's pieces: a quadratic B-spline."""
    t = np.linspace(0, 1, _STEPS)[:, None]
    parts = []
    for a, b, c in zip(points, points[1:], points[2:], strict=False):
        parts.append((a + b) / 2 * (1 - t) ** 2 + 2 * b * t * (1 - t) + (b + c) / 2 * t**2)
    return np.concatenate(parts)


def turned(points: Float[np.ndarray, "*points 2"], turn_rad: float) -> Float[np.ndarray, "*points 2"]:
    """Return points turned about the origin."""
    cosine, sine = np.cos(turn_rad), np.sin(turn_rad)
    return points @ np.array([[cosine, sine], [-sine, cosine]])


def paint_texture(canvas: Canvas, detail: Mask, contrast: float) -> None:
    """Multiply a texture into a canvas. contrast: 1 is a standard deviation of about a quarter."""
    if canvas.size:
        table = np.clip(128 + contrast * (np.arange(256) - 128), 20, 255).astype(np.uint8)
        cv2.multiply(canvas, cv2.cvtColor(cv2.LUT(detail, table), cv2.COLOR_GRAY2BGR), dst=canvas, scale=1 / 128)


def shade(canvas: Canvas, levels: Mask) -> None:
    """Multiply each pixel by a level; 128 leaves it."""
    cv2.multiply(canvas, cv2.cvtColor(levels, cv2.COLOR_GRAY2BGR), dst=canvas, scale=1 / 128)


def lay_in(canvas: Canvas, layer: Canvas, mask: Mask) -> None:
    """Lay a picture over a canvas where a mask says so."""
    share = cv2.cvtColor(mask, cv2.COLOR_GRAY2BGR)
    upper, lower = cv2.multiply(layer, share, scale=1 / 255), cv2.multiply(canvas, 255 - share, scale=1 / 255)
    np.copyto(canvas, cv2.add(upper, lower))


def _fixed(points: np.ndarray) -> Int32[np.ndarray, "..."]:
    return np.round(points * 2**_SHIFT).astype(np.int32)
