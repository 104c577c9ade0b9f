"""Lines drawn on a flat piece of skin: creases, wrinkles, veins, hairs."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

_PIXEL_M = 1.25e-4
_SHIFT = 4  # fractional bits of drawn points


class Canvas:
    """A plane with two axes, metres, on which lines are drawn; 0 where nothing is."""

    def __init__(self, low_m: tuple[float, float], high_m: tuple[float, float], pixel_m: float = _PIXEL_M) -> None:
        self._low, self._pixel_m = np.array(low_m), pixel_m
        width, height = np.ceil((np.array(high_m) - self._low) / pixel_m).astype(int) + 1
        self.values = np.zeros((height, width), np.float32)

    def draw(self, line_m: Float[np.ndarray, "points 2"], strength: float, sigma_m: float) -> None:
        """Draw one line; its profile is a Gaussian that peaks at `strength`. Lines do not add up: the stronger wins."""
        places = (line_m - self._low) / self._pixel_m
        reach = int(np.ceil(3.5 * sigma_m / self._pixel_m)) + 2
        height, width = self.values.shape
        left, top = np.clip(np.floor(places.min(0)).astype(int) - reach, 0, (width, height))
        right, bottom = np.clip(np.ceil(places.max(0)).astype(int) + reach, 0, (width, height))
        if left >= right or top >= bottom:
            return
        blank = np.ones((bottom - top, right - left), np.uint8)
        points = np.round((places - (left, top)) * 2**_SHIFT).astype(np.int32)
        cv2.polylines(blank, [points], False, 0, 1, cv2.LINE_8, _SHIFT)
        distance = cv2.distanceTransform(blank, cv2.DIST_L2, 3) * self._pixel_m
        part = self.values[top:bottom, left:right]
        np.maximum(part, strength * np.exp(-((distance / sigma_m) ** 2) / 2), out=part)

    def sample(self, points_m: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
        """Return the values at some points; 0 outside."""
        places = ((points_m - self._low) / self._pixel_m).astype(np.float32)
        found = np.empty(len(places), np.float32)
        for start in range(0, len(places), 30000):  # OpenCV's images have at most 32767 rows
            part = places[start : start + 30000]
            found[start : start + 30000] = cv2.remap(
                self.values, part[:, :1], part[:, 1:], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
            )[:, 0]
        return found


def smooth_line(points_m: Float[np.ndarray, "k 2"], step_m: float = 2.5e-4) -> Float[np.ndarray, "points 2"]:
    """Return a dense smooth curve through a few points (Catmull-Rom)."""
    padded = np.concatenate([2 * points_m[:1] - points_m[1:2], points_m, 2 * points_m[-1:] - points_m[-2:-1]])
    pieces = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        count = max(2, int(np.linalg.norm(c - b) / step_m))
        t = np.linspace(0, 1, count, endpoint=False)[:, None]
        pieces.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.concatenate([*pieces, points_m[-1:]])


def wobble(
    line_m: Float[np.ndarray, "points 2"], amplitude_m: float, period_m: float, rng: np.random.Generator
) -> Float[np.ndarray, "points 2"]:
    """Shift the points of a line smoothly sideways, as skin does."""
    steps = np.linalg.norm(np.diff(line_m, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    knots = np.arange(0, along[-1] + 2 * period_m, period_m)
    shift = np.interp(along, knots, rng.normal(0, amplitude_m, len(knots)))
    kernel = max(3, int(period_m / max(steps.mean(), 1e-9)) | 1)
    shift = cv2.GaussianBlur(shift[None].astype(np.float32), (kernel, 1), 0)[0] if kernel < len(shift) else shift
    direction = np.gradient(line_m, axis=0)
    normal = np.stack([-direction[:, 1], direction[:, 0]], 1)
    return line_m + shift[:, None] * normal / np.linalg.norm(normal, axis=1, keepdims=True).clip(1e-12)
