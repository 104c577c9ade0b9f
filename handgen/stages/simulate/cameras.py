"""The cameras of a simulated capture: places, errors of their calibration, the rays of their pixels, and sensors.

World frame of a simulated capture: metres, z up, the hands around the origin, the person at negative y.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy.interpolate import RectBivariateSpline
from scipy.spatial.transform import Rotation

from handgen.geometry.camera import Camera, Rig
from handgen.geometry.rigid import Rigid
from handgen.media.arrays import Image, Light
from handgen.media.images import decode_rgb, encode_jpeg
from handgen.stages.simulate.light import srgb_from_linear


@dataclass(frozen=True)
class Lens:
    """A kind of lens, by ranges."""

    focal_share: tuple[float, float]
    k1: tuple[float, float]
    k2: tuple[float, float]


UP = np.array([0.0, 0.0, 1.0])
VOLUME_M = 0.15  # half the side of the cube that the hands move in
_DISTANCE_M = (0.65, 0.78)
# Focal length as a share of the image's width, and the first two coefficients of distortion. A phone's main camera is
# about 26 mm of 36 mm wide film; an action camera's lens is 15 to 19 mm.
LENSES: dict[str, Lens] = {
    "webcam": Lens((1.26, 1.34), (-0.09, -0.03), (0.0, 0.03)),
    "phone": Lens((0.68, 0.85), (-0.03, 0.06), (-0.08, 0.02)),
    "wide": Lens((0.42, 0.55), (-0.32, -0.2), (0.04, 0.1)),
}
MIXED_LENSES = "any"  # another one in each rig
_NEARER = 0.5  # as far from the hands as this power of the focal length says
_RING_STEP_DEG = 46.0  # between neighbours
_RING_HALF_DEG = 125.0  # how far round the ring reaches: not behind the person
_RING_ELEVATIONS_DEG = (14.0, 34.0, 58.0)
_STEREO_STEP_DEG, _STEREO_ELEVATION_DEG = 22.0, 24.0
_CAGE_ELEVATIONS_DEG = (-22.0, 72.0)  # the lowest stay above the table
_CAGE_GAP_DEG = 50.0  # about the person's side, where the arm comes in
_GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))
_LIGHT = np.linspace(0, 2, 16384)  # at which a sensor's tone curve is known
_GREY = np.tile([0.299, 0.587, 0.114], (3, 1))  # of red, green and blue (ITU-R BT.601)
_LEAST_GRAIN_PX, _SHARPENED_PX = 0.3, 1.0
_DEFOCUSED, _DEFOCUS_SHARE = 0.35, (0.001, 0.006)  # share of cameras, sigma as a share of the width
_COMPRESSED, _JPEG_QUALITY = 0.4, (60, 93)  # share of cameras that compress before anybody else does
_GRID_PX = 8  # between the points at which a lens is inverted
SUBPIXELS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))  # x, y; where edge pixels are sampled


def _lens(kind: str, rng: np.random.Generator) -> Lens:
    return LENSES[str(rng.choice(list(LENSES))) if kind == MIXED_LENSES else kind]


def look_at(position: Float[np.ndarray, 3], target: Float[np.ndarray, 3], roll_rad: float = 0.0) -> Rigid:
    """`cam_from_world` of a camera at `position` that looks at `target`, upright but for `roll_rad`."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, UP)
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    turn = np.array([[np.cos(roll_rad), -np.sin(roll_rad), 0], [np.sin(roll_rad), np.cos(roll_rad), 0], [0, 0, 1]])
    rotation = turn @ np.stack([right, down, forward])
    return Rigid(rotation, -rotation @ position)


def make_rig(
    kind: str,
    views: int,
    size_px: tuple[int, int],
    rng: np.random.Generator,
    widen: float = 1.0,
    lens_kind: str = "webcam",
) -> Rig:
    """Cameras `cam_0`... 0.65 to 0.8 m from the hands (nearer with shorter lenses), with lenses that distort.

    kind: "ring", "cage" or "stereo" (`SimulateConfig`). widen: how much farther away they stand, for a larger volume.
    lens_kind: of `LENSES`, or `MIXED_LENSES`.
    """
    lens = _lens(lens_kind, rng)
    nearer = (np.mean(lens.focal_share) / np.mean(LENSES["webcam"].focal_share)) ** _NEARER
    directions = {"ring": _ring, "cage": _cage, "stereo": _stereo}[kind](views)
    width, height = size_px
    cameras = []
    for i, (azimuth_deg, elevation_deg) in enumerate(directions):
        azimuth, elevation = np.radians((azimuth_deg, elevation_deg) + rng.uniform(-4, 4, 2))
        distance_m = rng.uniform(*_DISTANCE_M) * widen * nearer
        direction = [np.sin(azimuth) * np.cos(elevation), np.cos(azimuth) * np.cos(elevation), np.sin(elevation)]
        target = rng.uniform(-0.015, 0.015, 3) - [0, 0, 0.01]
        focal_px = width * rng.uniform(*lens.focal_share)
        first = [focal_px, 0, (width - 1) / 2 + rng.uniform(-4, 4)]
        second = [0, focal_px * rng.uniform(0.998, 1.002), (height - 1) / 2 + rng.uniform(-4, 4)]
        intrinsics = np.array([first, second, [0, 0, 1]])
        distortion = np.array([rng.uniform(*lens.k1), rng.uniform(*lens.k2), *rng.uniform(-5e-4, 5e-4, 2), 0.0])
        pose = look_at(distance_m * np.array(direction), target, rng.normal(0, 0.03))
        cameras.append(Camera(f"cam_{i}", size_px, intrinsics, distortion, "pinhole", pose))
    return Rig(tuple(cameras))


def _ring(views: int) -> list[tuple[float, float]]:
    """Azimuths and elevations, degrees: an arc about the front (azimuth 0 is +y), heights in turn."""
    step = min(_RING_STEP_DEG, 2 * _RING_HALF_DEG / max(views - 1, 1))
    tiers = _RING_ELEVATIONS_DEG[: 2 if step == _RING_STEP_DEG else 3]
    return [((i - (views - 1) / 2) * step, tiers[i % len(tiers)]) for i in range(views)]


def _cage(views: int) -> list[tuple[float, float]]:
    """Evenly over a band of the sphere, by a golden spiral, but for the side that the arm comes from."""
    low, high = np.sin(np.radians(_CAGE_ELEVATIONS_DEG))
    directions = []
    for i in range(views):
        elevation = np.degrees(np.arcsin(low + (high - low) * (i + 0.5) / views))
        turn = (i * _GOLDEN_ANGLE / (2 * np.pi)) % 1.0
        directions.append(((turn - 0.5) * (360 - _CAGE_GAP_DEG), float(elevation)))
    return directions


def _stereo(views: int) -> list[tuple[float, float]]:
    """Side by side in front."""
    return [((i - (views - 1) / 2) * _STEREO_STEP_DEG, _STEREO_ELEVATION_DEG) for i in range(views)]


def perturbed_rig(rig: Rig, error_px: float, rng: np.random.Generator) -> Rig:
    """The rig as a calibration with an RMS reprojection error of `error_px` over the hands' volume would have it.

    Every camera is turned, moved and zoomed a little, at random, in proportions that move the pixels about alike.
    """
    if error_px == 0:
        return rig
    corners = np.stack(np.meshgrid(*[(-VOLUME_M, 0.0, VOLUME_M)] * 3), -1).reshape(-1, 3)
    return Rig(tuple(_perturb_camera(camera, error_px, corners, rng) for camera in rig))


def _perturb_camera(camera: Camera, error_px: float, points: np.ndarray, rng: np.random.Generator) -> Camera:
    ideal = camera.ideal()
    exact, _ = ideal.project(points)
    focal_px = camera.intrinsics[0, 0]
    depth_m = float(np.linalg.norm(camera.center_world))
    turn, shift, zoom = rng.standard_normal(3), rng.standard_normal(3), rng.standard_normal()
    center_px = rng.standard_normal(2)

    def move_camera(amount: float) -> Camera:
        """With each kind of error worth about `amount` pixels."""
        angle = amount / focal_px
        delta = Rigid(Rotation.from_rotvec(turn * angle).as_matrix(), shift * angle * depth_m)
        intrinsics = camera.intrinsics.copy()
        intrinsics[:2, :2] *= 1 + zoom * amount / (focal_px * VOLUME_M / depth_m)
        intrinsics[:2, 2] += center_px * amount
        return replace(camera, intrinsics=intrinsics, cam_from_world=delta @ camera.cam_from_world)

    amount = error_px
    for _ in range(4):  # the error is nearly linear in the amount
        off, _ = move_camera(amount).ideal().project(points)
        amount *= error_px / float(np.sqrt(((off - exact) ** 2).sum(-1).mean()))
    return move_camera(amount)


class PixelRays:
    """The rays of one camera's (distorted) pixels, computed once. origin: the optical centre, metres.

    pixel_rad: the angle of one pixel near the axis.

    The lens is inverted on a coarse grid and interpolated by cubic splines: exact to far below a thousandth of a pixel.
    """

    def __init__(self, camera: Camera) -> None:
        width, height = camera.size_px
        columns, rows = (np.arange(-_GRID_PX, side + 2 * _GRID_PX, _GRID_PX) for side in (width, height))
        grid = np.stack(np.meshgrid(columns, rows), -1).astype(float)
        ideal, _ = camera.undistort(grid)
        places = np.arange(height + 1), np.arange(width + 1)
        fine = [RectBivariateSpline(rows, columns, ideal[..., axis])(*places) for axis in (0, 1)]
        homogeneous = np.stack([*fine, np.ones_like(fine[0])], -1)
        directions = homogeneous @ np.linalg.inv(camera.intrinsics).T @ camera.cam_from_world.rotation
        self._field = directions.astype(np.float32)
        self.origin = camera.center_world
        self.pixel_rad = 1 / float(camera.intrinsics[0, 0])  # that one pixel spans near the axis

    def all(self) -> Float[np.ndarray, "pixels 3"]:
        """Unit directions of all pixels, row by row, world frame."""
        return _unit(self._field[:-1, :-1].reshape(-1, 3))

    def at(
        self, rows: Int[np.ndarray, " n"], columns: Int[np.ndarray, " n"], shift_px: tuple[float, float] = (0.0, 0.0)
    ) -> Float[np.ndarray, "n 3"]:
        """Unit directions of some pixels, or of points `shift_px` (x, y, below one pixel) from them."""
        direction = self._field[rows, columns]
        if any(shift_px):
            right = self._field[rows, columns + 1] - direction
            down = self._field[rows + 1, columns] - direction
            direction = direction + shift_px[0] * right + shift_px[1] * down
        return _unit(direction)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.sqrt((vectors * vectors).sum(-1, keepdims=True))


def local_range(values: np.ndarray) -> np.ndarray:
    """Largest minus smallest value in each 3x3 neighbourhood."""
    box = np.ones((3, 3), np.uint8)
    return cv2.dilate(values, box) - cv2.erode(values, box)


@dataclass(frozen=True)
class Sensor:
    """From light to the pixels of one camera.

    gain: exposure and white balance. blur_px: sigma of the optics. shot_noise, read_noise: variance per unit of light,
    and deviation. grain_px: size of the noise that demosaicing and noise reduction leave. contrast: of the tone curve,
    0 for sRGB's own. saturation: 1 for none changed. sharpening: strength of the edges drawn after. defocus_px: sigma
    of what is far behind the hands. jpeg_quality: of the camera's own compression, 0 for none.
    """

    gain: Float[np.ndarray, " 3"]
    blur_px: float
    shot_noise: float
    read_noise: float
    grain_px: float
    contrast: float
    saturation: float
    sharpening: float
    defocus_px: float
    jpeg_quality: int

    def develop(self, light: Light, rng: np.random.Generator) -> Image:
        """The RGB image of linear light: blur, noise, tone and colour, sharpening."""
        exposed: np.ndarray = cv2.GaussianBlur(light * self.gain.astype(np.float32), (0, 0), self.blur_px)
        deviation = np.maximum(exposed, 0)  # in place from here: these are the largest arrays there are
        deviation *= self.shot_noise
        deviation += self.read_noise**2
        np.sqrt(deviation, out=deviation)
        noise = rng.standard_normal(exposed.shape, dtype=np.float32)
        if self.grain_px > _LEAST_GRAIN_PX:
            noise = cv2.GaussianBlur(noise, (0, 0), self.grain_px) * (2 * np.sqrt(np.pi) * self.grain_px)
        deviation *= noise
        exposed += deviation
        exposed *= (len(_LIGHT) - 1) / _LIGHT[-1]
        image = self._curve.take(np.clip(exposed, 0, len(_LIGHT) - 1, out=exposed).astype(np.intp))
        if self.saturation != 1:
            image = cv2.transform(image, self.saturation * np.eye(3) + (1 - self.saturation) * _GREY)
        if self.sharpening:
            image = cv2.addWeighted(
                image, 1 + self.sharpening, cv2.GaussianBlur(image, (0, 0), _SHARPENED_PX), -self.sharpening, 0
            )
        if self.jpeg_quality:
            image = decode_rgb(encode_jpeg(image, self.jpeg_quality), "a camera's picture")
        return image

    def far(self, light: Light) -> Light:
        """Return what lies far behind the hands as the lens shows it."""
        return cv2.GaussianBlur(light, (0, 0), self.defocus_px) if self.defocus_px else light

    @cached_property
    def _curve(self) -> UInt8[np.ndarray, " levels"]:
        """The tone curve over `_LIGHT`: sRGB's, with a soft shoulder, bent into an S about a middle grey."""
        # The shoulder keeps lit skin from clipping.
        level = srgb_from_linear(np.where(_LIGHT > 0.8, 0.8 + 0.2 * np.tanh((_LIGHT - 0.8) / 0.2), _LIGHT))
        bent = level + self.contrast * level * (1 - level) * (2 * level - 0.9)
        return np.round(bent.clip(0, 1) * 255).astype(np.uint8)


def make_sensor(rng: np.random.Generator, width_px: int, plain: bool = False) -> Sensor:
    """A webcam or a phone like its neighbours, but not quite. plain: with nothing but exposure, blur and noise."""
    gain = rng.uniform(0.85, 1.15) * np.array([rng.uniform(0.96, 1.04), 1.0, rng.uniform(0.96, 1.04)])
    sensor = Sensor(
        gain,
        blur_px=rng.uniform(0.5, 0.75),
        shot_noise=rng.uniform(1e-4, 8e-4),
        read_noise=rng.uniform(0.001, 0.005),
        grain_px=rng.uniform(0.0, 0.7),
        contrast=rng.uniform(-0.1, 0.5),
        saturation=rng.uniform(0.8, 1.15),
        sharpening=max(0.0, rng.uniform(-0.3, 0.9)),
        defocus_px=width_px * rng.uniform(*_DEFOCUS_SHARE) if rng.random() < _DEFOCUSED else 0.0,
        jpeg_quality=int(rng.integers(*_JPEG_QUALITY)) if rng.random() < _COMPRESSED else 0,
    )
    if not plain:
        return sensor
    return replace(sensor, grain_px=0.0, contrast=0.0, saturation=1.0, sharpening=0.0, defocus_px=0.0, jpeg_quality=0)
