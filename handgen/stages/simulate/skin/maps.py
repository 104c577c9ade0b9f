"""A person's skin as maps that a renderer looks up: colour, gloss, slopes of the relief, folds; in several sizes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from handgen.stages.simulate.light import srgb_from_linear
from handgen.stages.simulate.skin.atlas import Atlas
from handgen.stages.simulate.skin.paint import FOLD_DEPTH_M, Layers, fill_empty

_LEVELS = 5  # each half as wide as the one before
_LARGEST_SLOPE = 1.6  # that is kept of the relief
_FOLD_SCALE = 1.5
_FOLD_TINT = np.array([0.13, 0.26, 0.26], np.float32)
_ROWS = 30000  # OpenCV's images have at most 32767 rows
_LINEAR = ((np.arange(256) / 255 + 0.055) / 1.055) ** 2.4
_LINEAR[:11] = np.arange(11) / 255 / 12.92
_LINEAR = _LINEAR.astype(np.float32)


@dataclass(frozen=True)
class SkinAt:
    """Looks of the skin at some points, read from its maps.

    albedo: linear. slope, fold_slope: of relief and folds along both axes of the atlas, metres per metre. fold: 0 to
    1.5. bends: what the fold bends with (`folds.Folds`).
    """

    albedo: Float[np.ndarray, "n 3"]
    gloss: Float[np.ndarray, " n"]
    slope: Float[np.ndarray, "n 2"]
    fold: Float[np.ndarray, " n"]
    fold_slope: Float[np.ndarray, "n 2"]
    bends: UInt8[np.ndarray, " n"]


@dataclass(frozen=True)
class SkinMaps:
    """Images of several sizes, the largest first.

    colors: sRGB, and gloss. slopes: of the relief, of the folds. bends: nearest, of the largest alone. texel_m: a
    texel's side.
    """

    colors: tuple[UInt8[np.ndarray, "s s 4"], ...]
    slopes: tuple[UInt8[np.ndarray, "s s 4"], ...]
    folds: tuple[UInt8[np.ndarray, "s s"], ...]
    bends: UInt8[np.ndarray, "s s"]
    texel_m: float

    @property
    def side_px(self) -> int:
        """Return the width and height of the largest."""
        return len(self.bends)

    def in_pose(
        self, openness: Float[np.ndarray, " 32"], footprint_texels: float
    ) -> tuple[Float[np.ndarray, "s s 3"], Float[np.ndarray, "s s"], Float[np.ndarray, "s s 2"]]:
        """Return maps of linear albedo, gloss and slopes, no finer than pixels see, with folds as a pose opens them.

        Slopes are of relief and folds together, along both axes of the maps.
        """
        level = _level(footprint_texels)
        step, colors = 2**level, self.colors[level]
        bends = self.bends[step // 2 :: step, step // 2 :: step][: len(colors), : len(colors)]
        fold = self.folds[level] * (_FOLD_SCALE / 255) * openness[bends]
        slopes = _slopes_of(self.slopes[level])
        slope = slopes[..., :2] + slopes[..., 2:] * openness[bends][..., None]
        return tint_folds(_LINEAR[colors[..., :3]], fold), colors[..., 3] / 255, slope

    def at(self, texels: Float[np.ndarray, "n 2"], footprint_texels: float) -> SkinAt:
        """Look up points; footprint_texels: how many texels a pixel covers, so that finer detail is averaged."""
        level = _level(footprint_texels)
        places = ((texels + 0.5) / 2**level - 0.5).astype(np.float32)
        color, slope = _sample(self.colors[level], places), _sample(self.slopes[level], places)
        fold = _sample(self.folds[level], places)
        nearest = np.clip(np.round(texels).astype(int), 0, len(self.bends) - 1)
        slopes = _slopes_of(slope)
        return SkinAt(
            _LINEAR[color[:, :3]],
            color[:, 3] * np.float32(1 / 255),
            slopes[:, :2],
            fold * np.float32(_FOLD_SCALE / 255),
            slopes[:, 2:],
            self.bends[nearest[:, 1], nearest[:, 0]],
        )


def _slopes_of(stored: UInt8[np.ndarray, "*points 4"]) -> Float[np.ndarray, "*points 4"]:
    slopes: np.ndarray = (stored.astype(np.float32) - 128) * np.float32(_LARGEST_SLOPE / 127)
    return slopes


def _level(footprint_texels: float) -> int:
    """Which of the sizes has texels about as large as a pixel."""
    return int(np.clip(np.floor(np.log2(max(footprint_texels, 1.0)) + 0.35), 0, _LEVELS - 1))


def tint_folds(
    albedo: Float[np.ndarray, "*points 3"], fold: Float[np.ndarray, "*points"]
) -> Float[np.ndarray, "*points 3"]:
    """Return the albedo in folds, whose light passes more skin: darker, and redder."""
    return albedo * np.exp(-fold[..., None] * _FOLD_TINT)


def make_maps(atlas: Atlas, layers: Layers) -> SkinMaps:
    """Lay a person's skin out, with averages of it for cameras that are farther away."""
    gloss = layers.gloss[:, None]
    color = np.concatenate([srgb_from_linear(layers.albedo), gloss], 1) * 255
    slopes = [
        _slopes(atlas.image(height), atlas.covered, atlas.texel_m)
        for height in (layers.height_m, -FOLD_DEPTH_M * layers.fold)
    ]
    slope = np.concatenate(slopes, -1).clip(-_LARGEST_SLOPE, _LARGEST_SLOPE) * (127 / _LARGEST_SLOPE) + 128
    fold = atlas.image(layers.fold.clip(0, _FOLD_SCALE) * (255 / _FOLD_SCALE))
    return SkinMaps(
        _pyramid(fill_empty(atlas.image(color), atlas.covered)),
        _pyramid(slope),
        _pyramid(fold),
        atlas.image(layers.bends).astype(np.uint8),
        atlas.texel_m,
    )


def _slopes(height_m: np.ndarray, covered: np.ndarray, texel_m: float) -> np.ndarray:
    """Slopes along x and y; none at the outline, where there is no neighbour."""
    inner = cv2.erode(covered.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    x = cv2.Sobel(height_m, cv2.CV_32F, 1, 0, scale=1 / 8)
    y = cv2.Sobel(height_m, cv2.CV_32F, 0, 1, scale=1 / 8)
    return np.stack([x, y], -1) * inner[..., None] / texel_m


def _pyramid(image: np.ndarray) -> tuple[np.ndarray, ...]:
    levels: list[np.ndarray] = [image.astype(np.float32)]
    for _ in range(_LEVELS - 1):
        side = levels[-1].shape[0] // 2
        levels.append(cv2.resize(levels[-1], (side, side), interpolation=cv2.INTER_AREA))
    return tuple(np.clip(np.round(level), 0, 255).astype(np.uint8) for level in levels)


def _sample(image: np.ndarray, places: np.ndarray) -> np.ndarray:
    parts = [
        cv2.remap(image, part[:, :1], part[:, 1:], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]
        for part in np.split(places, range(_ROWS, len(places), _ROWS))
        if len(part)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, *image.shape[2:]), image.dtype)
