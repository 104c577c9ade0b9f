"""Light of a composite: the hand's, fitted to the background's, and the shadow that it throws on what is behind it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from handgen.media.arrays import Image
from handgen.stages.synthesize.warping import Placed

Color = Float[np.ndarray, " 3"]
_SAMPLES = 8  # a side
_CAST_SHARE = 0.5  # of an estimated cast: as often as not it is walls and things that are coloured, not their light
_CAST_RANGE = (0.88, 1.14)  # of a channel's gain: what cameras leave of lamplight and shade
_SKIN_OVER_SCENE = (0.85, 1.5)  # skin's grey level over a scene's mean: it is brighter than most of what is in rooms
_GAIN_RANGE = (0.45, 1.6)  # of grey levels; in light, which is grey level to the power of 2.2, 0.17 to 2.8
_CONTRAST_RANGE = (0.85, 1.2)
_LEVELS = np.arange(256)[:, None] / 255.0
_USUAL_SPREAD = 0.45  # standard deviation over mean of a picture with full contrast
_REDUCED = 4
_CONTACT_SHARE = 0.4  # of shadows: the hand touches the surface
_CONTACT, _DROP = (0.01, 0.06), (0.05, 0.22)  # how far a shadow is shifted, in hand sizes
_SOFTNESS = (0.3, 0.7)  # of a shadow, in its shift: the larger the lamp, the softer
_MIN_SIGMA_SHARE = 0.012  # of the hand's size
_CONTACT_DARKNESS, _DROP_DARKNESS = (0.3, 0.65), (0.12, 0.45)
_SKYLIGHT = np.array([1.0, 0.97, 0.92])  # a shadow is lit by the rest of the room or by the sky: a little bluer


def light_table(
    hand_mean: Color, background: Image, box: tuple[slice, slice], strength: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "1 256 3"]:
    """The table that takes the hand's colours towards the background's light.

    hand_mean: colour of the hand, grey levels. box: rows and columns where the hand will be, which count for half.
    strength: 0 to 1, the share of the way; as much as half of it is left out at random, for no estimate of a light is
    sure. Colours are multiplied, never shifted: what is red stays red.
    """
    share = strength * rng.uniform(0.5, 1.0)
    parts = (background, background[box])
    some = [cv2.resize(part, (_SAMPLES,) * 2, interpolation=cv2.INTER_NEAREST) for part in parts]
    means, deviations = (np.array(x)[:, 0] for x in cv2.meanStdDev(np.concatenate(some)))
    scene = means + 1.0
    # The mean colour of a scene is its light's (grey world: Buchsbaum, J. Franklin Institute 1980), as a rule.
    cast = np.clip((scene / scene.mean()) ** _CAST_SHARE, *_CAST_RANGE)
    skin = float(hand_mean.mean())
    gain = float(np.clip(rng.uniform(*_SKIN_OVER_SCENE) * scene.mean() / max(skin, 1.0), *_GAIN_RANGE))
    contrast = float(np.clip(deviations.mean() / scene.mean() / _USUAL_SPREAD, *_CONTRAST_RANGE))
    return _table((gain * cast) ** share, contrast**share, skin)


def _table(gains: Color, contrast: float, pivot: float) -> UInt8[np.ndarray, "1 256 3"]:
    """Grey levels times `gains`, contrast about `pivot`; what would be brighter than white bends towards it.

    x -> g x / (1 + (g - 1) x) has slope g at black and keeps white.
    """
    pivot = min(max(pivot / 255.0, 0.05), 0.95)
    x = np.minimum(pivot * (_LEVELS / pivot) ** contrast, 1)
    bright = np.maximum(gains, 1.0)
    x = np.minimum(gains, 1.0) * (bright * x / (1 + (bright - 1) * x))
    return (255 * x + 0.5).astype(np.uint8)[None]


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
    table = np.round(255 - darkness * np.arange(256)[:, None] * _SKYLIGHT).astype(np.uint8)[None]
    kept = cv2.LUT(cv2.merge((soft,) * 3), table)
    kept = cv2.resize(kept, (small.shape[1] * _REDUCED, small.shape[0] * _REDUCED))
    cv2.multiply(background, kept[:height, :width], dst=background, scale=1 / 255)
