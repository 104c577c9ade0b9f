"""The shadow that a hand throws on what is behind it. Worked out small, since shadows are soft."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from handgen.media.arrays import Image
from handgen.stages.synthesize.warping import Placed

_REDUCED = 4
_CONTACT_SHARE = 0.4  # of shadows: the hand touches the surface
_CONTACT, _DROP = (0.01, 0.06), (0.05, 0.22)  # how far a shadow is shifted, in hand sizes
_SOFTNESS = (0.3, 0.7)  # of a shadow, in its shift: the larger the lamp, the softer
_MIN_SIGMA_SHARE = 0.012  # of the hand's size
_CONTACT_DARKNESS, _DROP_DARKNESS = (0.3, 0.65), (0.12, 0.45)
_SKYLIGHT = np.array([1.0, 0.97, 0.92])  # a shadow is lit by the rest of the room or by the sky: a little bluer


def throw_shadow(background: Image, layers: Sequence[Placed], rng: np.random.Generator) -> None:
    """Darken `background`, in place, by the soft shadow of `layers`."""
    height, width = background.shape[:2]
    small = np.zeros((-(-height // _REDUCED), -(-width // _REDUCED)), np.uint8)
    size = 0.0
    for layer in layers:
        alpha = layer.alpha[::_REDUCED, ::_REDUCED]  # what is to be blurred need not be averaged
        top, left = layer.top // _REDUCED, layer.left // _REDUCED
        target = small[top : top + alpha.shape[0], left : left + alpha.shape[1]]
        np.maximum(target, alpha[: target.shape[0], : target.shape[1]], out=target)
        size = max(size, float(np.sqrt(layer.alpha.size)))
    contact = rng.random() < _CONTACT_SHARE
    shift = size * rng.uniform(*(_CONTACT if contact else _DROP))
    direction = rng.uniform(0, 2 * np.pi)
    darkness = rng.uniform(*(_CONTACT_DARKNESS if contact else _DROP_DARKNESS))
    sigma = max(_MIN_SIGMA_SHARE * size, shift * rng.uniform(*_SOFTNESS)) / _REDUCED
    dx, dy = (shift * f(direction) / _REDUCED for f in (np.cos, np.sin))
    moved = cv2.warpAffine(small, np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]]), small.shape[::-1])
    soft = cv2.GaussianBlur(moved, (0, 0), max(sigma, 0.3))
    kept = cv2.LUT(cv2.merge((soft,) * 3), _keep_table(darkness))
    kept = cv2.resize(kept, (small.shape[1] * _REDUCED, small.shape[0] * _REDUCED))
    cv2.multiply(background, kept[:height, :width], dst=background, scale=1 / 255)


def _keep_table(darkness: float) -> UInt8[np.ndarray, "1 256 3"]:
    """Table of the light, in 255, by how much of a pixel lies in the shadow."""
    return np.round(255 - darkness * np.arange(256)[:, None] * _SKYLIGHT).astype(np.uint8)[None]
