"""Cameras. This module owns the conventions that every other one uses.

- World frame: the calibration's own, scaled to metres; until the unit is known, cameras are in an `UnscaledRig`.
- Camera frame: OpenCV, x right, y down, z forward.
- Pixel (0, 0) is the centre of the first pixel; so the image covers [-0.5, width - 0.5].
- Intrinsics are 3x3 and take camera coordinates to pixels. Distortion is OpenCV's, in its order:
  "pinhole" k1 k2 p1 p2 [k3 [k4 k5 k6 [s1 s2 s3 s4 [tx ty]]]], "fisheye" k1 k2 k3 k4.
  Source: OpenCV, "Camera Calibration and 3D Reconstruction" and its "Fisheye camera model".
- "Ideal" pixels are those of the same camera without distortion: `intrinsics @ (x / z, y / z, 1)`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float

from handgen.arguments import convert
from handgen.geometry.rigid import Rigid

Lens = Literal["pinhole", "fisheye"]
Maps = tuple[Float[np.ndarray, "height width"], Float[np.ndarray, "height width"]]
DISTORTION_LENGTHS: dict[str, tuple[int, ...]] = {"pinhole": (0, 4, 5, 8, 12, 14), "fisheye": (4,)}
MIN_DEPTH_M = 1e-3  # nearer points are at or behind the lens
_NEWTON_STEPS = 20
_KNOT_SPACING_PX = 4
_MAX_SLOPE = 3.0  # tan of the widest half angle that the distortion is examined for (72 degrees)


@dataclass(frozen=True)
class Camera:
    """One calibrated camera.

    size_px: width, height. intrinsics: (3, 3), pixels. distortion: OpenCV's coefficients, see the module.
    """

    name: str
    size_px: tuple[int, int]
    intrinsics: Float[np.ndarray, "3 3"]
    distortion: Float[np.ndarray, " coefficients"] = field(default_factory=lambda: np.zeros(0))
    lens: Lens = "pinhole"
    cam_from_world: Rigid = field(default_factory=Rigid.identity)

    def __post_init__(self) -> None:
        for name, kind in (("intrinsics", np.ndarray), ("distortion", np.ndarray), ("cam_from_world", Rigid)):
            if not isinstance(value := getattr(self, name), kind):
                convert(f"Camera: {name}", value, kind)
        rows = self.intrinsics.tolist() if self.intrinsics.shape == (3, 3) else []
        if not rows or not all(map(math.isfinite, sum(rows, []))) or rows[0][0] <= 0 or rows[1][1] <= 0:
            raise ValueError(f"camera {self.name}: intrinsics must be a finite 3x3 matrix with positive focal lengths")
        if max(abs(rows[2][0]), abs(rows[2][1]), abs(rows[2][2] - 1), abs(rows[1][0])) > 1e-9:
            raise ValueError(f"camera {self.name}: the intrinsics are not an upper triangular matrix ending in 0 0 1")
        if self.lens not in DISTORTION_LENGTHS:
            raise ValueError(f"camera {self.name}: lens must be one of {list(DISTORTION_LENGTHS)}, got {self.lens!r}")
        allowed = DISTORTION_LENGTHS[self.lens]
        if self.distortion.ndim != 1 or len(self.distortion) not in allowed:
            raise ValueError(
                f"camera {self.name}: a {self.lens} lens has {allowed} distortion coefficients, "
                f"got {self.distortion.shape}"
            )
        if len(self.distortion) and not np.isfinite(self.distortion).all():
            raise ValueError(f"camera {self.name}: a distortion coefficient is not finite")
        if min(self.size_px) < 1:
            raise ValueError(f"camera {self.name}: the image size must be positive, got {self.size_px}")

    @property
    def is_ideal(self) -> bool:
        """True if pixels are already undistorted."""
        return self.lens == "pinhole" and not self.distortion.any()

    @property
    def center_world(self) -> Float[np.ndarray, " 3"]:
        """The optical centre, metres."""
        return self.cam_from_world.inverse().translation

    @property
    def ideal_px_from_world(self) -> Float[np.ndarray, "3 4"]:
        """The projection matrix to ideal homogeneous pixels."""
        transform = self.cam_from_world
        return self.intrinsics @ np.concatenate([transform.rotation, transform.translation[:, None]], 1)

    def project(
        self, points_world: Float[np.ndarray, "*batch 3"]
    ) -> tuple[Float[np.ndarray, "*batch 2"], Bool[np.ndarray, "*batch"]]:
        """Pixels, and which of them are in front of the camera and inside the image."""
        return self.project_cam(self.cam_from_world.apply(points_world))

    def project_cam(
        self, points_cam: Float[np.ndarray, "*batch 3"]
    ) -> tuple[Float[np.ndarray, "*batch 2"], Bool[np.ndarray, "*batch"]]:
        """Project points in camera coordinates (metres)."""
        depth = points_cam[..., 2]
        in_front = depth > MIN_DEPTH_M
        slope = points_cam[..., :2] / np.where(in_front, depth, 1.0)[..., None]
        pixels = self._pixels_from_slope(self._distort(slope))
        valid = in_front & self.contains(pixels) & (np.linalg.norm(slope, axis=-1) <= self._slope_limit)
        return pixels, valid

    def contains(self, pixels: Float[np.ndarray, "*batch 2"]) -> Bool[np.ndarray, "*batch"]:
        """A mask of the pixels that lie inside the image."""
        return inside_image(pixels, self.size_px)

    def undistort(
        self, pixels: Float[np.ndarray, "*batch 2"]
    ) -> tuple[Float[np.ndarray, "*batch 2"], Bool[np.ndarray, "*batch"]]:
        """Ideal pixels of distorted ones, and for which of them the lens model could be inverted."""
        if self.is_ideal:
            return pixels.astype(float), np.isfinite(pixels).all(-1)
        distorted = self._slope_from_pixels(pixels.astype(float))
        slope, step = distorted.copy(), 1e-6
        for _ in range(_NEWTON_STEPS):
            miss = self._distort(slope) - distorted
            column_x = (self._distort(slope + (step, 0)) - self._distort(slope - (step, 0))) / (2 * step)
            column_y = (self._distort(slope + (0, step)) - self._distort(slope - (0, step))) / (2 * step)
            det = column_x[..., 0] * column_y[..., 1] - column_x[..., 1] * column_y[..., 0]
            det = np.where(np.abs(det) < 1e-9, 1e-9, det)
            delta_x = (column_y[..., 1] * miss[..., 0] - column_y[..., 0] * miss[..., 1]) / det
            delta_y = (column_x[..., 0] * miss[..., 1] - column_x[..., 1] * miss[..., 0]) / det
            delta = np.stack([delta_x, delta_y], -1)
            slope = np.clip(slope - np.clip(delta, -0.5, 0.5), -_MAX_SLOPE * 4, _MAX_SLOPE * 4)
            if np.nanmax(np.abs(delta), initial=0.0) < 1e-12:
                break
        miss_px = np.abs(self._pixels_from_slope(self._distort(slope)) - pixels).max(-1)
        valid = (miss_px < 1e-3) & (np.linalg.norm(slope, axis=-1) <= self._slope_limit)
        return self._pixels_from_slope(slope), valid

    def ideal(self) -> Camera:
        """The camera without its distortion."""
        return replace(self, distortion=np.zeros(0), lens="pinhole")

    def scaled(self, factor: float) -> Camera:
        """The camera in a world whose unit is 1 / `factor` of today's."""
        transform = self.cam_from_world
        return replace(self, cam_from_world=Rigid(transform.rotation, transform.translation * factor))

    def cropped(self, left: int, top: int, width: int, height: int) -> Camera:
        """The camera of the sub-image whose first pixel is (left, top); it may reach outside the image."""
        intrinsics = self.intrinsics.copy()
        intrinsics[:2, 2] -= (left, top)
        return replace(self, size_px=(width, height), intrinsics=intrinsics)

    def resized(self, size_px: tuple[int, int]) -> Camera:
        """The camera after its image is resized (pixel centres at integers: c becomes (c + 0.5) s - 0.5)."""
        scale = np.array(size_px) / np.array(self.size_px)
        intrinsics = self.intrinsics.copy()
        intrinsics[:2] *= scale[:, None]
        intrinsics[:2, 2] += 0.5 * scale - 0.5
        return replace(self, size_px=size_px, intrinsics=intrinsics)

    def _slope_from_pixels(self, pixels: np.ndarray) -> np.ndarray:
        k = self.intrinsics
        y = (pixels[..., 1] - k[1, 2]) / k[1, 1]
        x = (pixels[..., 0] - k[0, 2] - k[0, 1] * y) / k[0, 0]
        return np.stack([x, y], -1)

    def _pixels_from_slope(self, slope: np.ndarray) -> np.ndarray:
        return slope @ self.intrinsics[:2, :2].T + self.intrinsics[:2, 2]

    def _distort(self, slope: np.ndarray) -> np.ndarray:
        """Distorted (x / z, y / z) of ideal ones."""
        if self.is_ideal:
            return slope
        if self.lens == "fisheye":
            radius = np.linalg.norm(slope, axis=-1, keepdims=True)
            theta = np.arctan(radius)
            square = theta**2
            k1, k2, k3, k4 = self.distortion
            distorted = theta * (1 + square * (k1 + square * (k2 + square * (k3 + square * k4))))
            return slope * np.where(radius < 1e-9, 1.0, distorted / np.maximum(radius, 1e-9))
        points = np.concatenate([slope, np.ones_like(slope[..., :1])], -1).reshape(-1, 1, 3)
        if not len(points):
            return slope
        projected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), np.eye(3), self.distortion)
        return projected.reshape(slope.shape)

    @cached_property
    def _slope_limit(self) -> float:
        """Beyond this |(x / z, y / z)| the lens polynomial turns back and would fold far points into the image."""
        if self.is_ideal:
            return np.inf
        radius = np.linspace(0.0, _MAX_SLOPE, 601)
        ray = self._distort(np.stack([radius, np.zeros_like(radius)], -1))
        turns = np.flatnonzero(np.diff(np.linalg.norm(ray, axis=-1)) <= 0)
        return float(radius[turns[0]]) if len(turns) else np.inf


@dataclass(frozen=True)
class CameraSet:
    """Cameras in a fixed order and in one world, whose unit is not said: what needs no unit takes any such set."""

    cameras: tuple[Camera, ...]

    def __post_init__(self) -> None:
        names = [camera.name for camera in self.cameras]
        if len(set(names)) != len(names):
            raise ValueError(f"rig: camera names must differ, got {names}")

    def __len__(self) -> int:
        return len(self.cameras)

    def __iter__(self) -> Iterator[Camera]:
        return iter(self.cameras)

    def __getitem__(self, name: str) -> Camera:
        return self.cameras[self.numbers[name]]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Camera names, in order."""
        return tuple(camera.name for camera in self.cameras)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The place of each camera by its name."""
        return {name: number for number, name in enumerate(self.names)}

    def baselines(self) -> Float[np.ndarray, "views views"]:
        """Distances between the optical centres, in the unit of the world."""
        centers = np.stack([camera.center_world for camera in self.cameras])
        return np.linalg.norm(centers[:, None] - centers[None], axis=-1)


@dataclass(frozen=True)
class Rig(CameraSet):
    """The cameras of a capture in a world in metres."""

    def project(
        self, points_world: Float[np.ndarray, "*batch 3"]
    ) -> tuple[Float[np.ndarray, "views *batch 2"], Bool[np.ndarray, "views *batch"]]:  # noqa: F821
        """Pixels in every camera, and which of them are in front of it and inside its image."""
        pixels, valid = zip(*(camera.project(points_world) for camera in self.cameras), strict=True)
        return np.stack(pixels), np.stack(valid)

    def baselines_m(self) -> Float[np.ndarray, "views views"]:
        """Distances between the optical centres, metres."""
        return self.baselines()


@dataclass(frozen=True)
class UnscaledRig(CameraSet):
    """The cameras of a capture in the unit of their calibration, as long as nobody knows how long that is.

    It offers nothing that needs a length: `in_metres` makes a `Rig` of it once the unit is known.
    """

    def in_metres(self, metres_per_unit: float) -> Rig:
        """The rig in metres."""
        return Rig(tuple(camera.scaled(metres_per_unit) for camera in self.cameras))


def inside_image(pixels: Float[np.ndarray, "*batch 2"], size_px: tuple[int, int]) -> Bool[np.ndarray, "*batch"]:
    """A mask of the pixels that lie inside an image of that width and height, whose outermost pixels are whole."""
    width, height = size_px
    x, y = pixels[..., 0], pixels[..., 1]
    return (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)


def resampling_maps(target: Camera, source: Camera) -> Maps:
    """Map each pixel of `target` to its place in `source`: float32 maps for `cv2.remap`.

    The two cameras must share their optical centre; they may differ in rotation, lens and size. Pixels of `target`
    that `source` cannot see map to (-1e4, -1e4), outside any image. `target` must be ideal.
    """
    if not target.is_ideal:
        raise ValueError(f"camera {target.name}: the target of a resampling must have no distortion")
    width, height = target.size_px
    columns, rows = _knots(width), _knots(height)
    map_x, map_y, seen = _seen_by(source, target, columns, rows)
    if seen.all():  # smooth between the knots: linear interpolation is exact to about 0.002 px
        along_x, along_y = _interpolation(columns, width), _interpolation(rows, height)
        map_x, map_y = (along_y @ m @ along_x.T for m in (map_x, map_y))
    else:
        map_x, map_y, seen = _seen_by(source, target, np.arange(float(width)), np.arange(float(height)))
        map_x, map_y = (np.where(seen, m, -1e4) for m in (map_x, map_y))
    return map_x.astype(np.float32), map_y.astype(np.float32)


def _knots(length: int) -> Float[np.ndarray, " knots"]:
    """Positions every few pixels from the first to the last one."""
    return np.unique(np.append(np.arange(0.0, length, _KNOT_SPACING_PX), length - 1.0))


def _interpolation(knots: Float[np.ndarray, " knots"], length: int) -> Float[np.ndarray, "length knots"]:
    """The matrix of linear interpolation from values at the knots to every pixel."""
    basis = np.eye(len(knots))
    return np.stack([np.interp(np.arange(length), knots, row) for row in basis], 1)


def _seen_by(
    source: Camera, target: Camera, columns: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels x and y of `source` on a grid of pixels of `target`, and which of them it can see."""
    slope = target._slope_from_pixels(np.stack(np.meshgrid(columns, rows), -1))
    source_from_target = source.cam_from_world.rotation @ target.cam_from_world.rotation.T
    rays = np.concatenate([slope, np.ones_like(slope[..., :1])], -1) @ source_from_target.T
    in_front = rays[..., 2] > 1e-6
    slope = rays[..., :2] / np.where(in_front, rays[..., 2], 1.0)[..., None]
    pixels = source._pixels_from_slope(source._distort(slope))
    seen = in_front & (np.linalg.norm(slope, axis=-1) <= source._slope_limit)
    return pixels[..., 0], pixels[..., 1], seen
