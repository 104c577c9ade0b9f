"""A cutout brought to its place in a sample: read no larger than needed, matte, warp. All inside the hand's box."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from handgen.errors import HandgenError
from handgen.io.cutouts import Cutout
from handgen.media.arrays import Image, Mask
from handgen.segmentation.crops import box_around
from handgen.segmentation.matting import Edge, matte_and_colors

_BLUR_SIGMAS = 3.0  # of its edge's blur: so far beyond its mask a hand shows
_ALIAS_SCALE = 0.49  # below it bilinear warping would miss pixels: they are averaged down first
_SPARE = 1.2  # how much larger than the sample's scale pixels stay then
_ARM_FADE = 0.12  # of the cutout's shorter side: over it a forearm fades out towards the cutout's border

Homography = Float[np.ndarray, "3 3"]
Box = tuple[int, int, int, int]  # left, top, width, height


@dataclass(frozen=True)
class Placed:
    """Something laid into a sample at left, top.

    colors: its own, also where little of it is seen. alpha: how much of each pixel is its own, 0 to 255.
    """

    left: int
    top: int
    colors: Image
    alpha: Mask

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns of the sample."""
        height, width = self.alpha.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    def overlap(self, other: Placed) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
        """Rows and columns of the part that both cover, in this one and in the other; None where they do not meet."""
        (rows, columns), (its_rows, its_columns) = self.box, other.box
        top, bottom = max(rows.start, its_rows.start), min(rows.stop, its_rows.stop)
        left, right = max(columns.start, its_columns.start), min(columns.stop, its_columns.stop)
        if bottom <= top or right <= left:
            return None
        mine, its = (
            (slice(top - layer.top, bottom - layer.top), slice(left - layer.left, right - layer.left))
            for layer in (self, other)
        )
        return mine, its

    @property
    def solid(self) -> Mask:
        """255 where a pixel is all its own."""
        return above(self.alpha, 250)


@dataclass(frozen=True)
class PlacedHand:
    """A hand in a sample. layer: with its forearm, if that is kept. mask: 255 where at least half is the hand's."""

    layer: Placed
    mask: Mask

    @classmethod
    def nothing(cls, size_px: tuple[int, int]) -> PlacedHand:
        """No pixel of a hand."""
        layer = Placed(0, 0, np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1), np.uint8))
        return cls(layer, np.zeros(size_px[::-1], np.uint8))


def above(values: Mask, level: int) -> Mask:
    """255 where the values are larger, else 0."""
    return cv2.threshold(values, level, 255, cv2.THRESH_BINARY)[1]


def magnification(homography: Homography, point: tuple[float, float]) -> float:
    """Sample pixels per source pixel at a point: the root of the map's area factor, |det H| / w^3."""
    (a, b, c), (d, e, f), (g, h, i) = homography.tolist()
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return math.sqrt(abs(determinant / (g * point[0] + h * point[1] + i) ** 3))


class Pixels:
    """A cutout as `place_hand` reads it: colours and matte, made once for all samples that show it.

    cutout: its pixels. edge: in pixels of the cutout. hard: cut along the mask, colours as they are.
    """

    def __init__(self, cutout: Cutout, edge: Edge, hard: bool = False) -> None:
        self.cutout, self.edge, self.hard = cutout, edge, hard

    @cached_property
    def hand(self) -> Layers:
        """Alpha of the hand alone."""
        return self._layers(self.cutout.mask)

    @cached_property
    def hand_and_arm(self) -> Layers:
        """With the forearm, which fades out towards the cutout's border, where there is one."""
        mask, arm = self.cutout.mask, self.cutout.arm
        if arm is None:
            return self.hand
        both = self._layers(cv2.max(mask, arm))
        alpha = cv2.extractChannel(both.pixels, 3)
        own = cv2.min(alpha, mask)
        cv2.insertChannel(cv2.multiply(alpha, _fade(mask.shape), scale=1 / 255), both.pixels, 3)
        return Layers(both.pixels, both.box, own)

    @cached_property
    def is_empty(self) -> bool:
        """Tell whether there is no hand in it."""
        return not self.cutout.mask.any()

    @property
    def nbytes(self) -> int:
        """In memory, at most."""
        height, width = self.cutout.mask.shape
        return height * width * (5 if self.cutout.arm is None else 14)

    def halve(self) -> Pixels:
        """At half the size."""
        return Pixels(self.cutout.halved(), replace(self.edge, blur_px=self.edge.blur_px / 2), self.hard)

    def _layers(self, mask: Mask) -> Layers:
        box = box_around(mask, math.ceil(_BLUR_SIGMAS * self.edge.blur_px) + 2)
        image, part = self.cutout.image[box], mask[box]
        if self.hard:
            alpha, colors = above(part, 127), image
        else:
            alpha, colors, _ = matte_and_colors(np.ascontiguousarray(image), np.ascontiguousarray(part), self.edge)
        pixels = np.zeros((*mask.shape, 4), np.uint8)
        pixels[box] = cv2.merge((*cv2.split(colors), alpha))
        return Layers(pixels, box)


@dataclass(frozen=True)
class Layers:
    """Colours and alpha of a cutout, where they are (rows, columns), and what of alpha is the hand's, if not all."""

    pixels: UInt8[np.ndarray, "height width 4"]
    box: tuple[slice, slice]
    own: Mask | None = None


def place_hand(
    source: Pixels, sample_px_from_cutout_px: Homography, size_px: tuple[int, int], keep_forearm: bool = False
) -> PlacedHand | None:
    """A cutout's hand in a sample of `size_px`; None outside it. Raises HandgenError when the mask is empty."""
    if source.is_empty:
        raise HandgenError("the mask is empty")
    layers = source.hand_and_arm if keep_forearm else source.hand
    rows, columns = layers.box
    homography = sample_px_from_cutout_px @ _shift(columns.start, rows.start)
    parts = [layers.pixels[layers.box]] + ([] if layers.own is None else [layers.own[layers.box]])
    source_px = (columns.stop - columns.start, rows.stop - rows.start)
    scale = magnification(homography, (source_px[0] / 2, source_px[1] / 2))
    if scale < _ALIAS_SCALE:
        size = (max(2, round(source_px[0] * scale * _SPARE)), max(2, round(source_px[1] * scale * _SPARE)))
        x, y = source_px[0] / size[0], source_px[1] / size[1]
        homography = homography @ np.array([[x, 0, 0.5 * x - 0.5], [0, y, 0.5 * y - 0.5], [0, 0, 1]])
        parts = [cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in parts]
        source_px = size
    box = _target_box(homography, source_px, size_px)
    if box is None:
        return None
    x, y, width, height = box
    local = _shift(-x, -y) @ homography
    # Colours and alpha go through one warp. What lies outside is black, and alpha is 0 there.
    warped = [cv2.warpPerspective(part, local, (width, height)) for part in parts]
    red, green, blue, alpha = cv2.split(warped[0])
    if source.hard:
        alpha = above(alpha, 127)
    left, top, width, height = cv2.boundingRect(alpha)
    if not width:
        return None
    tight = (slice(top, top + height), slice(left, left + width))
    colors = cv2.merge((red[tight], green[tight], blue[tight]))
    placed = Placed(x + left, y + top, colors, np.ascontiguousarray(alpha[tight]))
    result = np.zeros(size_px[::-1], np.uint8)
    result[placed.box] = above(placed.alpha if layers.own is None else warped[1][tight], 127)
    return PlacedHand(placed, result)


def _fade(shape: tuple[int, int]) -> Mask:
    """255 inside a cutout, falling to 0 at its border."""
    reach = max(1.0, _ARM_FADE * min(shape))
    y, x = (np.minimum(np.arange(n), n - 1 - np.arange(n)) / reach for n in shape)
    return (255 * np.clip(np.minimum(y[:, None], x), 0, 1)).astype(np.uint8)


def _shift(x: float, y: float) -> Homography:
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def _target_box(homography: np.ndarray, source_px: tuple[int, int], target_px: tuple[int, int]) -> Box | None:
    """The part of the target that the source reaches: left, top, width, height; None if it misses it."""
    width, height = source_px
    (a, b, c), (d, e, f), (g, h, i) = homography.tolist()
    across, down = [], []
    for x, y in ((-1, -1), (width, -1), (width, height), (-1, height)):
        depth = g * x + h * y + i
        if depth <= 1e-9:  # a very wide source: warp the whole target
            return (0, 0, *target_px)
        across.append((a * x + b * y + c) / depth)
        down.append((d * x + e * y + f) / depth)
    left, right = (min(max(n, 0), target_px[0]) for n in (math.floor(min(across)), math.ceil(max(across)) + 1))
    top, bottom = (min(max(n, 0), target_px[1]) for n in (math.floor(min(down)), math.ceil(max(down)) + 1))
    return (left, top, right - left, bottom - top) if right > left and bottom > top else None
