"""A cutout laid into a background: matte, edge colours, light, warp, blend.

The matte comes from the mask, drawn in by under half a pixel and about one pixel soft. Colours near the edge
are replaced by those just inside it, so that nothing of the old background shines through. What is shrunk is
averaged first. All work is done inside the hand's box.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from handgen.errors import HandgenError
from handgen.io.annotations import Cutout

_PAD_PX = 4
_EDGE_SIGMA_PX = 1.0  # of the blur that makes the matte: at distance d inside a straight edge it is Phi(d / sigma)
_MATTE_START, _MATTE_END = 0.5, 0.84  # where the matte is 0 and 1: d = 0 and d = 1 px
_SOFT_FROM = 1.3  # from this magnification on, the background is softened as the hand is


def composite(
    cutout: Cutout,
    background: UInt8[np.ndarray, "height width 3"],
    sample_px_from_cutout_px: Float[np.ndarray, "3 3"],
    light_matching: float,
    rng: np.random.Generator,
) -> tuple[UInt8[np.ndarray, "height width 3"], UInt8[np.ndarray, "height width"]]:
    """The hand on the background, and its mask: 255 where at least half of a pixel's colour is the hand's.

    light_matching: the largest share of the way from the hand's light to the background's.

    Raises HandgenError when the cutout's mask is empty.
    """
    left, top, width, height = cv2.boundingRect(cutout.mask)
    if not width:
        raise HandgenError("the mask is empty")
    rows = slice(max(0, top - _PAD_PX), top + height + _PAD_PX)
    columns = slice(max(0, left - _PAD_PX), left + width + _PAD_PX)
    homography = sample_px_from_cutout_px @ _shift(columns.start, rows.start)
    image, mask = cutout.image[rows, columns], cutout.mask[rows, columns]
    scale = _magnification(homography, (image.shape[1] / 2, image.shape[0] / 2))
    image, mask, homography = _preshrunk(image, mask, homography, scale)

    matte, core = matte_and_core(mask)
    colors = _extend_colors(image, core)
    colors = _lit_like(colors, core, background, light_matching * rng.random())

    size_px = (background.shape[1], background.shape[0])
    box = _target_box(homography, (image.shape[1], image.shape[0]), size_px)
    result, result_mask = background.copy(), np.zeros(background.shape[:2], np.uint8)
    if scale > _SOFT_FROM:
        result = cv2.GaussianBlur(result, (0, 0), 0.4 * scale)
    if box is None:
        return result, result_mask
    x, y, width, height = box
    local = _shift(-x, -y) @ homography
    warped = cv2.warpPerspective(
        colors, local, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    alpha = cv2.warpPerspective(matte, local, (width, height), flags=cv2.INTER_LINEAR)
    target = result[y : y + height, x : x + width]
    target[:] = cv2.blendLinear(warped, np.ascontiguousarray(target), alpha, 1 - alpha)
    result_mask[y : y + height, x : x + width] = np.where(alpha >= 0.5, 255, 0)
    return result, result_mask


def matte_and_core(
    mask: UInt8[np.ndarray, "height width"],
) -> tuple[Float[np.ndarray, "height width"], UInt8[np.ndarray, "height width"]]:
    """How much of each pixel is the hand's (0 to 1), and where (255) its colour is the hand's alone."""
    soft = cv2.GaussianBlur(mask.astype(np.float32) / 255, (5, 5), _EDGE_SIGMA_PX)
    matte = np.clip((soft - _MATTE_START) / (_MATTE_END - _MATTE_START), 0, 1)
    core = np.where(soft >= _MATTE_END, 255, 0).astype(np.uint8)
    return matte, core


def _extend_colors(
    image: UInt8[np.ndarray, "height width 3"], core: UInt8[np.ndarray, "height width"]
) -> UInt8[np.ndarray, "height width 3"]:
    """The image, every pixel near the core but outside it replaced by the mean of core pixels nearby."""
    inside = core > 0
    weight = inside.astype(np.float32)
    total = cv2.boxFilter(image * weight[..., None], -1, (5, 5), normalize=False)
    count = cv2.boxFilter(weight, -1, (5, 5), normalize=False)
    rim = ~inside & (count > 0.5)
    extended = image.copy()
    extended[rim] = np.round(total[rim] / count[rim][:, None])
    return extended


def _lit_like(
    colors: UInt8[np.ndarray, "height width 3"],
    core: UInt8[np.ndarray, "height width"],
    background: UInt8[np.ndarray, "rows columns 3"],
    strength: float,
) -> UInt8[np.ndarray, "height width 3"]:
    """Brightness, contrast and half the colour moved towards the background's, by a table per channel."""
    if strength <= 0 or not core.any():
        return colors
    hand_mean, hand_std = (v[:, 0] for v in cv2.meanStdDev(colors, mask=core))
    there_mean, there_std = (v[:, 0] for v in cv2.meanStdDev(np.ascontiguousarray(background[::4, ::4])))
    difference = there_mean - hand_mean
    brightness = np.clip(difference.mean(), -90, 90)
    tint = np.clip(difference - difference.mean(), -40, 40)
    mean = hand_mean + strength * (brightness + 0.5 * tint)
    gain = 1 + strength * (np.clip(there_std.mean() / max(hand_std.mean(), 1.0), 0.7, 1.4) - 1)
    values = np.arange(256)[:, None]
    table = np.clip(np.round((values - hand_mean) * gain + mean), 0, 255).astype(np.uint8)
    return cv2.LUT(colors, table[None])


def _preshrunk(
    image: np.ndarray, mask: np.ndarray, homography: np.ndarray, scale: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image and mask averaged down to nearly the sample's scale, where bilinear warping alone would alias."""
    if scale >= 0.7:
        return image, mask, homography
    height, width = image.shape[:2]
    small = (max(2, round(width * scale * 1.2)), max(2, round(height * scale * 1.2)))
    x, y = width / small[0], height / small[1]
    large_from_small = np.array([[x, 0, 0.5 * x - 0.5], [0, y, 0.5 * y - 0.5], [0, 0, 1]])
    return (
        cv2.resize(image, small, interpolation=cv2.INTER_AREA),
        cv2.resize(mask, small, interpolation=cv2.INTER_AREA),
        homography @ large_from_small,
    )


def _shift(x: float, y: float) -> Float[np.ndarray, "3 3"]:
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def _magnification(homography: np.ndarray, point: tuple[float, float]) -> float:
    """Sample pixels per source pixel at a point: the root of the map's area factor, |det H| / w^3."""
    depth = homography[2] @ (*point, 1.0)
    return float(np.sqrt(abs(np.linalg.det(homography) / depth**3)))


def _target_box(
    homography: np.ndarray, source_px: tuple[int, int], target_px: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    """The part of the target that the source reaches: left, top, width, height; None if it misses it."""
    width, height = source_px
    corners = np.array([[-1, -1, 1], [width, -1, 1], [width, height, 1], [-1, height, 1]], float) @ homography.T
    if (corners[:, 2] <= 1e-9).any():  # a very wide source: warp the whole target
        return (0, 0, *target_px)
    pixels = corners[:, :2] / corners[:, 2:]
    low = np.clip(np.floor(pixels.min(0)), 0, target_px).astype(int)
    high = np.clip(np.ceil(pixels.max(0)) + 1, 0, target_px).astype(int)
    if (high <= low).any():
        return None
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])
