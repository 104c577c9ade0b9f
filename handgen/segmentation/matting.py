"""The soft cut of a hand: how much of each pixel is the hand's, and the hand's own colours there.

A camera blurs the hand's outline, so a pixel of its edge mixes the colours of hand and background in the shares of what
it saw of them. The mask, blurred as the camera blurs, gives the shares. The mixed colours are of no use in front of
another background: they are replaced by those a little deeper inside, and a screen's light is taken off the skin.

What an edge is like is measured once per view, from its picture (`handgen.segmentation.edge_blur`); the matte is made
anew for every sample, so it takes a few passes over the pixels and none in Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from handgen.media.arrays import Image, Mask

SCREENS = ("green", "blue")
MIN_BLUR_PX, MAX_BLUR_PX = 0.3, 8.0

_SMOOTH_PX = 1.1  # sigma at which a mask's outline loses its stairs; more would close gaps of three pixels
_UNSURE_PX = 5  # box in which that is averaged to find what is the hand's for sure: masks err by a pixel
_SURE = 0.96  # of that average: from here on, 3.1 px inside a sharp edge, a pixel's colour is the hand's alone
_LEAST_SHARE, _LEAST_WEIGHT = 0.3, 16  # of the hand in a pixel to count at all, and what it counts in 255 if it is all
_SPREAD_PX = 1.1  # sigma by which colours spread outwards, at half size
_GREEN_FROM, _GREEN_TO = 12, 36  # grey levels above the hand's usual: from hardly the screen's colour to as good as it
# Of the screen's channel to red, on skin in neutral light: 0.6 to 0.8 and 0.45 to 0.7 from dark to pale skin. A hand
# that has more of it is lit by the screen, all of it.
_SKIN_SHARE = {"green": 0.8, "blue": 0.7}
_LEAST_SIDE_PX = 8  # smaller pictures are not halved
_WIDE_BLUR_PX = 2.5  # from here on, the mask is blurred at half size


@dataclass(frozen=True)
class Edge:
    """Properties of the edges of a hand in a picture.

    blur_px: sigma of the Gaussian that a sharp edge would have to be blurred by; it includes the extent of the pixels.
    screen: "green" or "blue", if that is behind the hand.

    Raises ValueError when the blur is not positive or the screen unknown.
    """

    blur_px: float = 1.0
    screen: str | None = None

    def __post_init__(self) -> None:
        if not self.blur_px > 0:
            raise ValueError(f"blur_px must be above 0, got {self.blur_px}")
        if self.screen is not None and self.screen not in SCREENS:
            raise ValueError(f"screen must be one of {', '.join(SCREENS)} or None, got {self.screen!r}")


def matte_and_colors(image: Image, mask: Mask, edge: Edge) -> tuple[Mask, Image, Mask]:
    """Matte (how much of a pixel is the hand's, 0 to 255), the hand's own colours, and where (255) a pixel has them.

    mask: 0 to 255; an averaged-down one may be soft. edge: in pixels of `image`. The colours go on for some pixels
    around the hand; where the matte is 0 for far around, they mean nothing.

    The matte is the mask blurred like the picture: half at the mask's edge, Phi(d / blur) at the distance d from a
    straight one, and 0 in gaps that the blur does not fill. It is not estimated from the colours: with the masks that
    `handgen.segmentation.segment` finds that was not measurably better, since video stores colour at half the
    resolution.
    """
    blur_px = float(np.clip(edge.blur_px, MIN_BLUR_PX, MAX_BLUR_PX))
    smooth_px = max(blur_px, _SMOOTH_PX)
    soft = _blurred(mask, smooth_px)
    core = _core(cv2.blur(soft, (_UNSURE_PX, _UNSURE_PX)))
    inner = _Inner.of(image, cv2.max(core, cv2.LUT(soft, _least_weights())), smooth_px)
    colors = cv2.copyTo(image, core, inner.spread(mask.shape))
    if edge.screen is not None:
        colors = _without_spill(colors, inner, edge.screen)
    return cv2.LUT(soft, _steepened(round(min(blur_px / smooth_px, 1.0), 2))), colors, core


@cache
def _steepened(ratio: float) -> UInt8[np.ndarray, " 256"]:
    """Table that turns a mask blurred by a sigma into one blurred by `ratio` times that, exact at a straight edge."""
    normal = NormalDist()
    inner = [255 * normal.cdf(normal.inv_cdf(level / 255) / ratio) for level in range(1, 255)]
    return np.round([0, *inner, 255]).astype(np.uint8)


@cache
def _least_weights() -> UInt8[np.ndarray, " 256"]:
    """Weights of pixels by how much of each is the hand's: so little that it shows only on fingers without others."""
    level = np.arange(256) / 255
    weight = np.where(level > _LEAST_SHARE, np.maximum(_LEAST_WEIGHT * level**8, 1), 0)
    return np.round(weight).astype(np.uint8)


def _blurred(mask: Mask, sigma_px: float) -> Mask:
    if sigma_px > _WIDE_BLUR_PX:
        half = cv2.resize(mask, _halved(mask.shape), interpolation=cv2.INTER_AREA)
        return cv2.resize(_blurred(half, sigma_px / 2), mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
    kernel = cv2.getGaussianKernel(2 * int(np.ceil(2.6 * sigma_px)) + 1, sigma_px)
    return cv2.sepFilter2D(mask, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE)


def _halved(shape: tuple[int, ...]) -> tuple[int, int]:
    """Width and height of an image of `shape` at half size."""
    return (shape[1] + 1) // 2, (shape[0] + 1) // 2


def _core(deep: Mask) -> Mask:
    """Mask the pixels whose colours are the hand's alone; of a hand of few pixels, the best there are."""
    most = cv2.minMaxLoc(deep)[1]
    return cv2.threshold(deep, max(min(_SURE * 255, most) - 0.5, 0.5), 255, cv2.THRESH_BINARY)[1]


@dataclass(frozen=True)
class _Inner:
    """The hand's own colours at a fraction of the image's size. colors: times their weight."""

    colors: Float[np.ndarray, "rows columns 3"]
    weight: Float[np.ndarray, "rows columns"]

    @classmethod
    def of(cls, image: Image, weight: Mask, blur_px: float) -> _Inner:
        """At half the size, or as much less as the blur is wide."""
        colors = cv2.multiply(image, cv2.merge([weight] * 3), dtype=cv2.CV_32F)
        total: np.ndarray = weight.astype(np.float32)
        for _ in range(1 + round(np.log2(blur_px / _SMOOTH_PX))):
            if min(total.shape) < _LEAST_SIDE_PX:
                break
            size = _halved(total.shape)  # halving exactly, linear interpolation is the mean of four
            colors, total = cv2.resize(colors, size), cv2.resize(total, size)
        return cls(colors, total)

    def near(self) -> Mask:
        """255 at the hand's edge and around it, falling to 0 as deep inside as the mean over some places reaches."""
        return cv2.convertScaleAbs(255 - np.minimum(cv2.blur(self.weight, (7, 7)), 255), alpha=2)

    def mean(self, deep: Mask) -> Float[np.ndarray, " 3"]:
        """Colours of the hand, where `deep` is not 0 if there is such a place."""
        where = deep if cv2.countNonZero(deep) else None
        return np.array(cv2.mean(self.colors, where)[:3]) / max(cv2.mean(self.weight, where)[0], 1e-6)

    def spread(self, shape: tuple[int, ...]) -> Image:
        """At full size, with every pixel near the hand coloured as what is nearest of it; black far away."""
        colors, total = (cv2.GaussianBlur(x, (7, 7), _SPREAD_PX) for x in (self.colors, self.weight))
        small = cv2.convertScaleAbs(colors / np.maximum(total, 1e-3)[..., None])
        return cv2.resize(small, shape[1::-1], interpolation=cv2.INTER_LINEAR)


def _without_spill(colors: Image, inner: _Inner, screen: str) -> Image:
    """A screen's light on skin taken off: near the edge its channel stands out as much as deep inside, no more.

    What is green itself (a ring, a tattoo) keeps that deep inside and loses it towards the edge. As green as the
    screen, it loses it everywhere: a chroma key takes it for screen, and gaps that a mask closes look the same.
    """
    channels = list(cv2.split(colors))
    channel = SCREENS.index(screen) + 1
    lit, other = channels[channel], cv2.max(channels[0], channels[3 - channel])
    near = inner.near()
    mean = inner.mean(cv2.bitwise_not(cv2.convertScaleAbs(near, alpha=255)))
    usual = mean[channel] / max(mean[0], mean[3 - channel], 1.0)
    if usual > _SKIN_SHARE[screen]:
        lit = cv2.convertScaleAbs(lit, alpha=_SKIN_SHARE[screen] / usual)
        usual = _SKIN_SHARE[screen]
    excess = cv2.subtract(lit, cv2.convertScaleAbs(other, alpha=min(usual, 1.0)))
    near = cv2.resize(near, lit.shape[::-1], interpolation=cv2.INTER_LINEAR)
    over = np.maximum(excess, _GREEN_FROM) - _GREEN_FROM
    as_screen = cv2.convertScaleAbs(over, alpha=255 / (_GREEN_TO - _GREEN_FROM))
    excess = cv2.multiply(excess, cv2.max(near, as_screen), scale=1 / 255)
    channels[channel] = cv2.subtract(lit, excess)
    return cv2.merge(channels)
