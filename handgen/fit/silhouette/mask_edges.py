"""The edges of hand masks, prepared once per fit: signed distances, contour points, and where a mask says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float

from handgen.geometry.camera import Camera
from handgen.media.arrays import Mask, Plane
from handgen.segmentation.segment import signed_distance_px

_DOWNSCALING_NOISE_PX = 0.3  # what a threshold after shrinking adds to an edge's noise: a pixel's rounding, 12**-0.5
_SHORT_SHARE = 0.05  # of the longest contour of a mask: shorter ones are specks and pinholes
_MIN_CONTOUR_PX = 10
_SILENT_MARGIN_PX = 1.5  # beyond where the mask says nothing: its edge there is blurred by half a pixel or two


@dataclass(frozen=True)
class MaskView:
    """A mask of one hand in one view of one frame of a batch.

    frame: index into the batch. camera: ideal, of the mask's pixels (`handgen.segmentation.crops.Cutter.camera`).
    mask: 255 on the hand, 0 elsewhere. unknown: 255 where the mask says nothing, because something hides the hand or
    continues it (the other hand, the forearm, the picture's border); None: nowhere. sigma_px: noise of the mask's
    edge; it grows with the hand's extent in the picture.
    """

    frame: int
    camera: Camera
    mask: Mask
    unknown: Mask | None = None
    sigma_px: float = 1.0

    def __post_init__(self) -> None:
        width, height = self.camera.size_px
        for name, array in (("mask", self.mask), ("unknown", self.unknown)):
            if array is not None and array.shape != (height, width):
                raise ValueError(f"MaskView.{name}: expected ({height}, {width}), got {array.shape}")
        if not self.camera.is_ideal:
            raise ValueError(f"MaskView: camera {self.camera.name} must have no distortion")
        if self.sigma_px <= 0:
            raise ValueError(f"MaskView.sigma_px: must be positive, got {self.sigma_px}")

    def shrunk(self, side_px: int) -> MaskView:
        """No side longer than `side_px`."""
        width, height = self.camera.size_px
        scale = side_px / max(width, height)
        if scale >= 1:
            return self
        size = max(2, round(width * scale)), max(2, round(height * scale))
        mask = cv2.resize(self.mask, size, interpolation=cv2.INTER_AREA)
        unknown = None if self.unknown is None else cv2.resize(self.unknown, size, interpolation=cv2.INTER_AREA)
        return MaskView(
            self.frame,
            self.camera.resized(size),
            np.where(mask > 127, np.uint8(255), np.uint8(0)),
            None if unknown is None else np.where(unknown > 0, np.uint8(255), np.uint8(0)),
            float(np.hypot(self.sigma_px * scale, _DOWNSCALING_NOISE_PX)),
        )


@dataclass(frozen=True)
class MaskEdges:
    """Edges of `views` masks, padded to one size; pixels of the shrunk masks.

    distance: to the mask's edge, negative inside. heard: where that distance is to an edge that the mask vouches for.
    points: on the mask's contour, evenly spaced. normals: outward there. points_heard: which of them say something.
    """

    distance: Float[np.ndarray, "views height width"]
    reliable: Bool[np.ndarray, "views height width"]
    points: Float[np.ndarray, "views points 2"]
    normals: Float[np.ndarray, "views points 2"]
    points_reliable: Bool[np.ndarray, "views points"]

    @classmethod
    def of(cls, views: Sequence[MaskView], points: int) -> MaskEdges:
        """Prepare masks that are already small. points: per mask."""
        width, height = (max((view.camera.size_px[axis] for view in views), default=2) for axis in (0, 1))
        count = len(views)
        pixels = np.zeros((count, height, width), np.float32), np.zeros((count, height, width), bool)
        along = np.zeros((count, points, 2)), np.zeros((count, points, 2)), np.zeros((count, points), bool)
        edges = cls(*pixels, *along)
        for i, view in enumerate(views):
            inside = (view.mask > 127).astype(np.uint8)
            contour = _contour(inside, points)
            if contour is None or inside.all():
                continue  # no edge: nothing is heard
            rows, columns = inside.shape
            distance = signed_distance_px(255 * inside)
            reliable = _find_reliable(inside, view.unknown, distance)
            edges.distance[i] = cv2.copyMakeBorder(distance, 0, height - rows, 0, width - columns, cv2.BORDER_REPLICATE)
            edges.reliable[i, :rows, :columns] = reliable
            column, row = contour.T
            slope = np.stack([cv2.Sobel(distance, cv2.CV_32F, dx, 1 - dx)[row, column] for dx in (1, 0)], 1)
            steepness = np.linalg.norm(slope, axis=1)
            edges.normals[i] = slope / steepness.clip(min=1e-6)[:, None]
            # OpenCV's contours run through the centres of the outermost pixels of the mask, half a pixel inside.
            edges.points[i] = contour - distance[row, column][:, None] * edges.normals[i]
            # The distance is flat on a ridge, which a line of single pixels is.
            edges.points_reliable[i] = reliable[row, column] & (steepness > 1)
        return edges


def _contour(inside: Mask, points: int) -> np.ndarray | None:
    """Pixels (x, y) evenly along all contours worth the name, or None."""
    contours, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    longest = max(map(len, contours), default=0)
    kept = [c[:, 0] for c in contours if len(c) >= max(_MIN_CONTOUR_PX, _SHORT_SHARE * longest)]
    if not kept:
        return None
    chain = np.concatenate(kept)
    return chain[(np.arange(points) * len(chain)) // points]


def _find_reliable(inside: Mask, unknown: Mask | None, distance: Plane) -> Bool[np.ndarray, "height width"]:
    """Mask the pixels whose distance is that to a true edge: no unknown pixel, where one may lie unseen, is nearer.

    Beyond the mask's own border nothing is known either where the hand reaches it.
    """
    known = np.pad(1 - inside, 1, mode="edge")
    known[1:-1, 1:-1] = 1 if unknown is None else unknown == 0
    if known.all():
        return np.ones(inside.shape, bool)
    to_unknown = cv2.distanceTransform(known, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    return to_unknown > np.abs(distance) + _SILENT_MARGIN_PX
