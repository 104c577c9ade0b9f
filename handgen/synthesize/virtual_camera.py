"""The one geometric change of synthesis: a virtual camera at the place of the real one.

A sample is what a distortion-free camera at the cutout camera's optical centre would see with another
direction, roll and focal length, and perhaps in a mirror. Rotation, scale, shift and flip are all properties
of this camera, so pixels, mask, keypoints, pose and camera cannot disagree. Since the optical centre stays,
pixels move by a homography.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from handgen.cameras import MIN_DEPTH_M, Camera
from handgen.config import SynthesizeConfig
from handgen.hand.layout import MIRROR_X
from handgen.rigid import Rigid

MIRROR = np.diag(MIRROR_X)  # of space
_FLESH_M = 0.012  # skin reaches this far beyond the keypoints


@dataclass(frozen=True)
class VirtualView:
    """How one sample sees one cutout.

    camera: in the capture's world, or in the world mirrored in x where `mirrored`.
    sample_px_from_cutout_px: the homography of the pixels, mirroring included.
    cam_from_cutout_cam: rotation between the camera frames before mirroring.
    """

    camera: Camera
    sample_px_from_cutout_px: Float[np.ndarray, "3 3"]
    cam_from_cutout_cam: Float[np.ndarray, "3 3"]
    mirrored: bool

    @property
    def unmirrored_camera(self) -> Camera:
        """The virtual camera in the capture's own world."""
        if not self.mirrored:
            return self.camera
        there = self.camera.cam_from_world
        cam_from_world = Rigid(MIRROR @ there.rotation @ MIRROR, MIRROR @ there.translation)
        intrinsics = _pixel_flip(self.camera.size_px) @ self.camera.intrinsics @ MIRROR
        return Camera(self.camera.name, self.camera.size_px, intrinsics, cam_from_world=cam_from_world)

    def points_cam(self, points_world: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Points of the capture's (unmirrored) world in the frame of the sample's camera, metres."""
        return self.camera.cam_from_world.apply(points_world @ MIRROR if self.mirrored else points_world)


def seen_by(view: VirtualView, cutout_camera: Camera) -> VirtualView:
    """The same sample of another cutout, whose ideal camera stands where the first one's does."""
    straight = _pixel_flip(view.camera.size_px) if view.mirrored else np.eye(3)
    turn = view.unmirrored_camera.cam_from_world.rotation @ cutout_camera.cam_from_world.rotation.T
    homography = straight @ view.unmirrored_camera.intrinsics @ turn @ np.linalg.inv(cutout_camera.intrinsics)
    return VirtualView(view.camera, homography, turn, view.mirrored)


def in_front(camera: Camera, keypoints_world: Float[np.ndarray, "n 3"]) -> bool:
    """Whether the camera could see the whole hand: every keypoint lies in front of it."""
    return _in_front(camera.cam_from_world.apply(keypoints_world))


def _in_front(points_cam: Float[np.ndarray, "n 3"]) -> bool:
    return bool(points_cam[:, 2].min() > 10 * MIN_DEPTH_M)


def draw_view(
    camera: Camera,
    keypoints_world: Float[np.ndarray, "21 3"],
    config: SynthesizeConfig,
    mirrored: bool,
    rng: np.random.Generator,
) -> VirtualView:
    """A random virtual camera that looks at the hand. `camera` is the cutout's, ideal.

    Raises ValueError when a keypoint is not in front of the camera.
    """
    points = camera.cam_from_world.apply(keypoints_world)
    if not _in_front(points):
        raise ValueError(f"camera {camera.name}: the hand is not in front of it")
    rotation = _looking_along(points.mean(0))
    roll = math.radians(rng.uniform(-config.rotation_deg, config.rotation_deg))
    cosine, sine = math.cos(roll), math.sin(roll)
    rotation = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]]) @ rotation
    share = rng.uniform(*config.hand_share)
    shift = rng.uniform(-config.shift_share, config.shift_share, 2)

    center, radius = _slope_box(points @ rotation.T)
    shift_slope = shift * 2 * radius / share  # the sample's side spans a slope of 2 * radius / share
    rotation = _looking_along(np.array([*(center - shift_slope), 1.0])) @ rotation
    _, radius = _slope_box(points @ rotation.T)
    focal = share * config.size / (2 * radius)
    middle = (config.size - 1) / 2
    intrinsics = np.array([[focal, 0.0, middle], [0.0, focal, middle], [0.0, 0.0, 1.0]])
    return _view(camera, rotation, intrinsics, (config.size, config.size), mirrored)


def _view(
    camera: Camera, rotation: np.ndarray, intrinsics: np.ndarray, size_px: tuple[int, int], mirrored: bool
) -> VirtualView:
    homography = intrinsics @ rotation @ np.linalg.inv(camera.intrinsics)
    there = camera.cam_from_world
    turned, moved = rotation @ there.rotation, rotation @ there.translation
    if mirrored:
        flip = _pixel_flip(size_px)
        homography = flip @ homography
        intrinsics = flip @ intrinsics @ MIRROR
        turned, moved = turned * np.outer(MIRROR_X, MIRROR_X), moved * MIRROR_X
    sample_camera = Camera(camera.name, size_px, intrinsics, cam_from_world=Rigid(turned, moved))
    return VirtualView(sample_camera, homography, rotation, mirrored)


def _pixel_flip(size_px: tuple[int, int]) -> Float[np.ndarray, "3 3"]:
    """Mirrors pixels left to right; its own inverse."""
    return np.array([[-1.0, 0.0, size_px[0] - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def _slope_box(points_cam: Float[np.ndarray, "n 3"]) -> tuple[Float[np.ndarray, " 2"], float]:
    """Centre and half the longer side of the box around x / z and y / z, flesh included."""
    depth = points_cam[:, 2]
    slope = points_cam[:, :2] / depth[:, None]
    (left, top), (right, bottom) = slope.min(0).tolist(), slope.max(0).tolist()
    half = max(right - left, bottom - top) / 2
    center = np.array([(left + right) / 2, (top + bottom) / 2])
    return center, half + _FLESH_M * len(depth) / float(depth.sum())


def _looking_along(direction: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "3 3"]:
    """The smallest rotation that takes `direction`, which must point forward, to the optical axis.

    Rodrigues' formula for the turn from d to z about d x z: I + K + K^2 / (1 + d_z).
    """
    x, y, z = (direction / math.sqrt(direction @ direction)).tolist()
    k = 1 / (1 + z)
    return np.array([[1 - k * x * x, -k * x * y, -x], [-k * x * y, 1 - k * y * y, -y], [x, y, z]])
