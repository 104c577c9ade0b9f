"""Takes the grain out of a path-traced picture, but neither its edges nor its texture.

An edge-avoiding filter in the manner of Dammertz et al., "Edge-Avoiding À-Trous Wavelet Transform for fast Global
Illumination Filtering" (2010): only the light that arrives is smoothed, not the colour of what it falls on, and
only between pixels that show the same surface under similar light.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from handgen.media.arrays import Light, Plane

_TAPS = ((-1, 0.25), (0, 0.5), (1, 0.25))  # offset in steps, weight
_STEPS_PX = (1, 2, 4)
_NORMAL_SIGMA = 0.3
_PLANE_SIGMA_M = 0.003  # off the pixel's own tangent plane
_LIGHT_SIGMA = 0.6  # of the light's size, at the first step; the later ones see less noise
_DARKEST = 0.02  # albedo, and light


@dataclass(frozen=True)
class Layer:
    """A path-traced picture and what it shows, as means over a pixel's samples; all 0 where a sample hits nothing.

    light: linear. alpha: which share of the samples hit something. covered: the same of the samples that albedo
    (linear), normal and position (world, metres) are means of.
    """

    light: Light
    alpha: Plane
    covered: Float[np.ndarray, "height width 1"]
    albedo: Light
    normal: Light
    position: Light


def denoise_layer(layer: Layer) -> Light:
    """The layer's light without grain, still multiplied by alpha."""
    alpha = layer.alpha[..., None]
    covered = layer.covered.clip(1e-3)
    albedo = layer.albedo / covered + _DARKEST
    arriving = layer.light / alpha.clip(1e-3) / albedo
    guides = np.concatenate([layer.normal / covered, layer.position / covered], -1)
    for iteration, step in enumerate(_STEPS_PX):
        arriving = _smooth(arriving, guides, layer.alpha, step, _LIGHT_SIGMA / 2**iteration)
    return arriving * albedo * alpha


def _smooth(
    arriving: Light, guides: Float[np.ndarray, "height width 6"], alpha: Plane, step: int, light_sigma: float
) -> Light:
    """One pass over the pixels `step` away in eight directions. guides: normal and position."""
    size, brightness = arriving.shape[:2], arriving.mean(-1)
    total, weights = np.zeros_like(arriving), np.zeros(size, arriving.dtype)
    for down, weight_down in _TAPS:
        for right, weight_right in _TAPS:
            here, there = _overlap(size, down * step, right * step)
            apart = guides[there] - guides[here]
            off_plane = np.einsum("hwc,hwc->hw", apart[..., 3:], guides[here][..., :3]) / _PLANE_SIGMA_M
            turned = np.einsum("hwc,hwc->hw", apart[..., :3], apart[..., :3]) / _NORMAL_SIGMA**2
            level = 0.5 * (brightness[here] + brightness[there]) + _DARKEST
            brighter = (brightness[there] - brightness[here]) / (light_sigma * level)
            similar = np.exp(-(off_plane**2) - turned - brighter**2)
            weight = weight_down * weight_right * alpha[there] * similar
            total[here] += weight[..., None] * arriving[there]
            weights[here] += weight
    return np.where(weights[..., None] > 1e-6, total / weights[..., None].clip(1e-6), arriving)


def _overlap(size: tuple[int, int], down: int, right: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The pixels that have a neighbour that far away, and those neighbours."""
    height, width = size
    here = slice(max(0, -down), height - max(0, down)), slice(max(0, -right), width - max(0, right))
    there = slice(max(0, down), height - max(0, -down)), slice(max(0, right), width - max(0, -right))
    return here, there
