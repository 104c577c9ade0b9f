"""Chroma key: what is not screen."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from handgen.media.arrays import Image, Mask, Plane
from handgen.segmentation.guided_filter import guided
from handgen.segmentation.matting import SCREENS

MARGIN = 30  # grey levels by which a screen's channel exceeds both others
_SCREEN_SHARE = 0.7  # of the pixels around the hand, for the background to be a screen
_MIN_PIXELS = 16
_CORE_SHARE = 0.02  # of the hand's extent: from the mesh's edge to pixels that are the hand's
_FILTER_SHARE = 0.01  # of the hand's extent
_STEP_PX = 3  # of the pixels whose medians are taken


def screen_color(image: Image, around: Mask) -> str:
    """The screen colour that most pixels of `around` have: "green", "blue", or "any" if it is no screen."""
    if np.count_nonzero(around) < _MIN_PIXELS:
        return "any"
    found = (screen for screen in SCREENS if (excess(image, screen)[around > 0] > MARGIN).mean() > _SCREEN_SHARE)
    return next(found, "any")


def excess(image: Image, screen: str) -> Plane:
    """Grey levels by which the channel of the `screen`, "green" or "blue", exceeds the larger of the others."""
    red, green, blue = cv2.split(image)
    channel, other = (green, blue) if screen == "green" else (blue, green)
    return np.asarray(cv2.subtract(channel, cv2.max(red, other), dtype=cv2.CV_32F))


@dataclass(frozen=True)
class Key:
    """By how many grey levels (`excess`) the hand's colours look like screen, by median, and the screen's own."""

    hand: float
    screen: float

    @classmethod
    def of(cls, excess: Plane, signed_px: Plane, extent_px: float) -> Key:
        """Measure pixels well inside the mesh, which a screen's light may tint, and those of the screen around it.

        signed_px: distance from the mesh's edge, negative inside. extent_px: the hand's size.
        """
        some = np.s_[::_STEP_PX, ::_STEP_PX]
        seen, where = excess[some], signed_px[some]
        screens = seen[(seen > MARGIN) & (where > 0)]
        screen = float(np.median(screens)) if len(screens) else 2.0 * MARGIN
        hands = seen[(where < -_CORE_SHARE * extent_px) & (seen < screen / 2)]
        return cls(float(np.median(hands)) if len(hands) else 0.0, screen)

    @property
    def half(self) -> float:
        """The excess of a pixel that is half screen."""
        return (self.hand + self.screen) / 2

    def foreground(self, image: Image, excess: Plane, extent_px: float) -> Mask:
        """255 where less than half is screen.

        Video keeps colours at half its resolution, so the excess is drawn to the edges of the picture's brightness.
        """
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        limited = np.clip(excess, self.hand, self.screen, dtype=np.float32)
        sharp = guided(limited, grey, max(1, round(_FILTER_SHARE * extent_px)))
        return np.where(sharp < self.half, np.uint8(255), np.uint8(0))
