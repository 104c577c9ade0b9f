"""Cutouts: the part of a picture around a hand, without lens distortion, and the camera that sees it."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from handgen.geometry.camera import Camera, resampling_maps
from handgen.geometry.rigid import Rigid
from handgen.media.arrays import Mask

Box = tuple[int, int, int, int]  # left, top, width, height

_MARGIN = 0.35  # of the hand's box, around it, so that the background's colours can be learnt and edges feathered
MASK_THRESHOLD = 127  # above it a pixel of a mask that was resampled, or came as a JPEG, is the hand's
_MAX_SIDE_PX = 1024  # a larger hand is stored smaller: no network sees more


class Cutter:
    """Takes the pixels of one cutout out of pictures of one camera.

    camera: of the cutout: ideal, at the picture's own camera's place. box_px: the cutout in the ideal full image (of a
    fisheye: in the image of an ideal camera of the same focal length that looks at the hand). It may reach outside.
    """

    def __init__(self, source: Camera, vertices_world: Float[np.ndarray, "n 3"]) -> None:
        """Around `vertices_world`, which must lie in front of the camera `source`."""
        self.source = source
        # A fisheye's picture is too wide for one ideal image, so its cutouts get a camera that looks at the hand.
        ideal = source.ideal() if source.lens == "pinhole" else looking_at(source, vertices_world.mean(0))
        pixels, _ = ideal.project(vertices_world)
        low, high = pixels.min(0), pixels.max(0)
        margin = _MARGIN * (high - low).max()
        left, top = (int(x) for x in np.floor(low - margin))
        width, height = (int(x) for x in np.ceil(high + margin) - (left, top))
        self.box_px: Box = (left, top, width, height)
        self.camera = ideal.cropped(left, top, width, height)
        if max(width, height) > _MAX_SIDE_PX:
            scale = _MAX_SIDE_PX / max(width, height)
            self.camera = self.camera.resized((max(1, round(width * scale)), max(1, round(height * scale))))

    def cut(self, image: UInt8[np.ndarray, "height width *channels"]) -> UInt8[np.ndarray, "rows columns *channels"]:
        """The cutout's pixels: a plain copy without distortion, else resampled; black outside the picture."""
        if self._is_copy:
            left, top, width, height = self.box_px
            crop = np.zeros((height, width, *image.shape[2:]), np.uint8)
            rows = slice(max(top, 0), max(min(top + height, image.shape[0]), 0))
            columns = slice(max(left, 0), max(min(left + width, image.shape[1]), 0))
            part = image[rows, columns]
            crop[rows.start - top :, columns.start - left :][: part.shape[0], : part.shape[1]] = part
            return crop
        return cv2.remap(image, *self._maps, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT)

    def cut_mask(self, mask: Mask) -> UInt8[np.ndarray, "rows columns"]:
        """The cutout of a mask of the whole picture, 0 and 255."""
        return cv2.threshold(self.cut(mask), MASK_THRESHOLD, 255, cv2.THRESH_BINARY)[1]

    @cached_property
    def picture(self) -> UInt8[np.ndarray, "rows columns"]:
        """255 where the cutout shows the picture, 0 where it reaches outside."""
        if self._is_copy:
            left, top, width, height = self.box_px
            columns, rows = np.arange(left, left + width), np.arange(top, top + height)[:, None]
        else:
            columns, rows = self._maps
        full_width, full_height = self.source.size_px
        inside = (columns >= 0) & (columns <= full_width - 1) & (rows >= 0) & (rows <= full_height - 1)
        return np.where(inside, np.uint8(255), np.uint8(0))

    @property
    def _is_copy(self) -> bool:
        return self.source.is_ideal and self.camera.size_px == self.box_px[2:]

    @cached_property
    def _maps(self) -> tuple[np.ndarray, np.ndarray]:
        return resampling_maps(self.camera, self.source)


def box_around(mask: Mask, margin_px: int) -> tuple[slice, slice]:
    """Rows and columns of a mask and of a margin, inside the picture; all of them if the mask is empty."""
    left, top, width, height = cv2.boundingRect(mask)
    if not width:
        return slice(0, mask.shape[0]), slice(0, mask.shape[1])
    return (
        slice(max(0, top - margin_px), min(mask.shape[0], top + height + margin_px)),
        slice(max(0, left - margin_px), min(mask.shape[1], left + width + margin_px)),
    )


def looking_at(camera: Camera, point_world: Float[np.ndarray, " 3"]) -> Camera:
    """An ideal camera at the same place, turned so that its axis goes through a point."""
    forward = camera.cam_from_world.apply(point_world)
    forward = forward / np.linalg.norm(forward)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    turned_from_cam = Rigid(np.stack([right, np.cross(forward, right), forward]), np.zeros(3))
    return replace(camera.ideal(), cam_from_world=turned_from_cam @ camera.cam_from_world)
