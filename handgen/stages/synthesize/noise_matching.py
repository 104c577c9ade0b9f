"""Noise and JPEG history of a composite: the hand's and the background's made alike.

A hand cut from a grainy frame and laid on a clean picture gives itself away, and so does the reverse. Levels are
grey levels (0 to 255) of standard deviation, as `noise_level` reads them. Noise comes from tiles made once per
process, added by saturating 8-bit operations; what a sample gets depends on its generator alone.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import simplejpeg
from jaxtyping import Float

from handgen.media.arrays import Image, Mask
from handgen.media.images import encode_jpeg

MAX_ADDED = 10.0  # grey levels; what reads as more is rather texture than noise
JPEG_PROBABILITY = 0.12  # of a round trip before the final encoding
JPEG_QUALITY = (40, 88)  # from messengers and old web pages to cameras
_NEGLIGIBLE = 0.5  # grey levels that 8 bits hide

_CELLS = 30  # per side, 3x3 px each, that a level is read from
_MIN_CELLS = 48
_QUANTILE = 0.3  # of the cells' responses; the rest may be texture and edges
_NORMAL_QUANTILE = 0.38532  # of |x|, x standard normal
_CLIPPED = (3, 252)  # means of cells beyond have lost part of their noise

_TILE_PX = 384
_BLOCK_PX = 256  # an image is covered by blocks, each from its own place of the tile
_STEPS = 4  # levels of tiles per doubling
_NEIGHBOR = 0.08  # weight of a pixel's neighbours, from demosaicing
_CHROMA = 0.35  # of the noise of each channel by itself, to the noise that all share
_SEED = 0x6A1


def noise_level(image: Image, mask: Mask | None = None) -> float:
    """Grey levels of the image's noise, where `mask` is not 0; NaN where too few pixels can tell.

    The response of a difference of two Laplacians, which no plane or edge along an axis has (Immerkaer, "Fast Noise
    Variance Estimation", 1996), on a grid of 3x3 px cells; of their magnitudes not the mean, which texture raises,
    but a low quantile. Exact for noise independent between pixels; smooth grain is read as less than it is, as
    the eye does. Clipped cells do not count.
    """
    height, width = image.shape[:2]
    rows, columns = min(_CELLS, height // 3), min(_CELLS, width // 3)
    if rows * columns < _MIN_CELLS:
        return float("nan")
    down, right = height // rows, width // columns
    # Green, which has most of the brightness and least of what JPEG takes away.
    cells = image[: rows * down, : columns * right, 1].reshape(rows, down, columns, right)[:, :3, :, :3]
    grey = cells.astype(np.int16)
    vertical = grey[:, 0] - 2 * grey[:, 1] + grey[:, 2]
    response = np.abs(vertical[..., 0] - 2 * vertical[..., 1] + vertical[..., 2])
    middle = grey[:, 1, :, 1]
    usable = (middle >= _CLIPPED[0]) & (middle <= _CLIPPED[1])
    if mask is not None:
        usable &= mask[1 : rows * down : down, 1 : columns * right : right] > 0
    counts = np.cumsum(np.bincount(response[usable], minlength=2))
    if counts[-1] < _MIN_CELLS:
        return float("nan")
    # A response of v stands for v - 0.5 to v + 0.5, and 0 for 0 to 0.5.
    edges = np.concatenate([[0.0], np.arange(len(counts)) + 0.5])
    quantile = np.interp(_QUANTILE * counts[-1], np.concatenate([[0], counts]), edges)
    return float(quantile / (_NORMAL_QUANTILE * 6))  # 6: the kernel's norm


def add_noise(image: Image, sigma: float, rng: np.random.Generator) -> Image:
    """The image with a camera's grain, in place: noise of brightness with some of colour, neighbours alike.

    sigma: grey levels as `noise_level` reads them, 0 to 32, met to a tenth. Raises ValueError for another sigma.
    """
    if not 0 <= sigma <= 32:
        raise ValueError(f"sigma must be 0 to 32 grey levels, got {sigma}")
    if sigma < _NEGLIGIBLE / 2:
        return image
    brighter, darker = _tiles(round(_STEPS * np.log2(sigma)))
    for top in range(0, image.shape[0], _BLOCK_PX):
        for left in range(0, image.shape[1], _BLOCK_PX):
            block = image[top : top + _BLOCK_PX, left : left + _BLOCK_PX]
            y, x = rng.integers(0, (_TILE_PX - block.shape[0] + 1, _TILE_PX - block.shape[1] + 1))
            place = (slice(y, y + block.shape[0]), slice(x, x + block.shape[1]))
            cv2.add(block, brighter[place], dst=block)
            cv2.subtract(block, darker[place], dst=block)
    return image


def match_grain(hand: Image, core: Mask, background: Image, rng: np.random.Generator) -> tuple[Image, Image]:
    """Hand and background with the grain of the noisier of the two, in place; at most `MAX_ADDED` is added.

    hand: its colours at the scale of the sample. core: not 0 where they are the hand's alone. background: all of
    the sample's, or the grain would end at a border.
    """
    of_hand, of_background = noise_level(hand, core), noise_level(background)
    missing = np.sqrt(abs(of_hand**2 - of_background**2))
    if missing > _NEGLIGIBLE:  # not so where a level is unknown
        add_noise(hand if of_hand < of_background else background, min(missing, MAX_ADDED), rng)
    return hand, background


def jpeg_history(image: Image, quality: int, offset: tuple[int, int]) -> Image:
    """The image after one JPEG round trip, in place, its first block of 8x8 px cut by `offset` (x, y, each 0 to 7).

    A file that was scaled or cropped after its compression has blocks that do not coincide with the sample's own.
    """
    x, y = offset
    if not (0 <= x < 8 and 0 <= y < 8):
        raise ValueError(f"offset must be 0 to 7 px, got {offset}")
    padded = cv2.copyMakeBorder(image, y, 0, x, 0, cv2.BORDER_REPLICATE)
    decoded = simplejpeg.decode_jpeg(encode_jpeg(padded, quality), colorspace="RGB")
    image[:] = decoded[y:, x:]
    return image


def draw_jpeg_history(image: Image, rng: np.random.Generator) -> Image:
    """The image after a round trip of some quality and offset, in place, or, more often, as it was."""
    if rng.random() >= JPEG_PROBABILITY:
        return image
    quality, x, y = rng.integers((JPEG_QUALITY[0], 0, 0), (JPEG_QUALITY[1] + 1, 8, 8))
    return jpeg_history(image, int(quality), (int(x), int(y)))


@cache  # at most 29 levels of 0.9 MB
def _tiles(step: int) -> tuple[Image, Image]:
    """Make what to add and what to subtract for noise of 2^(step / 4) grey levels."""
    scaled = np.rint(_unit_noise() * 2 ** (step / _STEPS)).astype(np.int16)
    return np.clip(scaled, 0, 255).astype(np.uint8), np.clip(-scaled, 0, 255).astype(np.uint8)


@cache
def _unit_noise() -> Float[np.ndarray, "tile tile 3"]:
    """Grain that `noise_level` would read as 1."""
    rng = np.random.default_rng(_SEED)
    shape = (_TILE_PX, _TILE_PX)
    noise = rng.standard_normal((*shape, 1)) + _CHROMA * rng.standard_normal((*shape, 3))
    kernel = np.array([_NEIGHBOR, 1.0, _NEIGHBOR])
    noise = np.asarray(cv2.sepFilter2D(noise, -1, kernel, kernel), np.float64)
    noise -= noise.mean((0, 1))
    grey = noise @ (0.299, 0.587, 0.114)
    laplacian = np.array([1.0, -2.0, 1.0])
    response = cv2.sepFilter2D(grey, -1, laplacian, laplacian)
    return (noise / (response.std() / 6)).astype(np.float32)
