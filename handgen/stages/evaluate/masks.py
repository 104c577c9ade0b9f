"""Masks of two cutouts against each other, brought onto one grid through the pixels of the full picture.

The cutouts of annotations and truth have their own ideal cameras, and the cameras behind them may be calibrated
differently; what they share is the picture that both were cut from.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from jaxtyping import Float

from handgen.geometry.camera import Camera, resampling_maps
from handgen.media.arrays import Mask

BOUNDARY_SHARE = 0.008  # of the diagonal: how far two outlines may be apart. Source: DAVIS (Perazzi et al., CVPR 2016)
_GRID_STEP_PX = 4  # lens models are smooth: every fourth pixel is mapped, the others lie between


def resample_mask(mask: Mask, cutout: Camera, picture: Camera, target_cutout: Camera, target_picture: Camera) -> Mask:
    """A cutout's mask as seen in another cutout of the same picture: 0 or 255, 0 where the first shows nothing.

    picture, target_picture: the picture's camera as either side has calibrated it. cutout, target_cutout: the ideal
    cameras of the cutouts, each at the place of its picture's camera.
    """
    if _same_lens(picture, target_picture):  # then the lens plays no part: two ideal cameras at one place
        turn = target_cutout.cam_from_world.rotation @ cutout.cam_from_world.rotation.T
        target_from_cutout = target_cutout.intrinsics @ turn @ np.linalg.inv(cutout.intrinsics)
        moved = cv2.warpPerspective(mask, target_from_cutout, target_cutout.size_px, flags=cv2.INTER_LINEAR)
    else:
        map_x, map_y = _maps(cutout, picture, target_cutout, target_picture)
        moved = cv2.remap(mask, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.where(moved > 127, np.uint8(255), np.uint8(0))


def resample_points(picture_px: Float[np.ndarray, "n 2"], picture: Camera, cutout: Camera) -> Float[np.ndarray, "n 2"]:
    """Pixels of the full picture in a cutout of it; NaN where the lens model cannot say."""
    ideal, valid = picture.undistort(picture_px)
    rays = np.concatenate([ideal, np.ones((len(ideal), 1))], 1) @ np.linalg.inv(picture.intrinsics).T
    cutout_from_picture = cutout.cam_from_world.rotation @ picture.cam_from_world.rotation.T
    seen = rays @ cutout_from_picture.T @ cutout.intrinsics.T
    ahead = valid & (seen[:, 2] > 1e-6)
    return np.where(ahead[:, None], seen[:, :2] / np.where(ahead, seen[:, 2], 1.0)[:, None], np.nan)


def _same_lens(a: Camera, b: Camera) -> bool:
    return (
        a.lens == b.lens
        and np.array_equal(a.intrinsics, b.intrinsics)
        and np.array_equal(a.distortion, b.distortion)
        and np.array_equal(a.cam_from_world.rotation, b.cam_from_world.rotation)
    )


def _maps(
    cutout: Camera, picture: Camera, target_cutout: Camera, target_picture: Camera
) -> tuple[Float[np.ndarray, "rows columns"], Float[np.ndarray, "rows columns"]]:
    """Map each pixel of `target_cutout` to its place in `cutout`: float32 maps for `cv2.remap`."""
    width, height = target_cutout.size_px
    knots = [-(-(length - 1) // _GRID_STEP_PX) for length in (width, height)]  # the last at or behind the last pixel
    padded = target_cutout.cropped(0, 0, *(_GRID_STEP_PX * count + 1 for count in knots))
    coarse = np.stack([m[::_GRID_STEP_PX, ::_GRID_STEP_PX] for m in resampling_maps(padded, target_picture)], -1)
    seen = resample_points(coarse.reshape(-1, 2).astype(float), picture, cutout).reshape(coarse.shape)
    seen = np.where(np.isfinite(seen), seen, -1e4).astype(np.float32)
    steps = (np.arange(length, dtype=np.float32) / _GRID_STEP_PX for length in (width, height))
    column, row = np.meshgrid(*steps)
    map_x, map_y = (cv2.remap(np.ascontiguousarray(m), column, row, cv2.INTER_LINEAR) for m in np.moveaxis(seen, -1, 0))
    return np.asarray(map_x, np.float32), np.asarray(map_y, np.float32)


def iou(mask: Mask, truth: Mask) -> float:
    """Area in both over area in either, 0 to 1; two empty masks agree."""
    either = cv2.countNonZero(cv2.bitwise_or(mask, truth))
    return cv2.countNonZero(cv2.bitwise_and(mask, truth)) / either if either else 1.0


def boundary_tolerance_px(size_px: tuple[int, int]) -> int:
    """Return how far outlines may be apart in a picture of (width, height): `BOUNDARY_SHARE` of its diagonal."""
    return math.ceil(BOUNDARY_SHARE * math.hypot(*size_px))


def boundary_f(mask: Mask, truth: Mask, tolerance_px: float) -> float:
    """Harmonic mean of the shares of either outline that lie within `tolerance_px` of the other, 0 to 1.

    Source: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation", CVPR 2016.
    Two empty masks agree; one empty mask scores 0.
    """
    outlines = _outline(mask), _outline(truth)
    if not outlines[0].any() or not outlines[1].any():
        return float(outlines[0].any() == outlines[1].any())
    away = [cv2.distanceTransform((~one).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for one in outlines]
    precision = float((away[1][outlines[0]] <= tolerance_px).mean())
    recall = float((away[0][outlines[1]] <= tolerance_px).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _outline(mask: Mask) -> np.ndarray:
    """The mask's own pixels that touch the outside; the picture's edge is no outside."""
    inside = mask > 127
    eroded = cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE) > 0
    return inside & ~eroded
