"""The one geometric change of synthesis: a virtual camera at the place of the real one.

A sample is what a distortion-free camera at the cutout camera's optical centre would see with another
direction, roll and focal length, and perhaps in a mirror. Rotation, scale, shift and flip are all properties
of this camera, so pixels, mask, keypoints, pose and camera cannot disagree. Since the optical centre stays,
pixels move by a homography.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
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

    def points_cam(self, points_world: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Points of the capture's (unmirrored) world in the frame of the sample's camera, metres."""
        return self.camera.cam_from_world.apply(points_world @ MIRROR if self.mirrored else points_world)


def in_front(camera: Camera, keypoints_world: Float[np.ndarray, "n 3"]) -> bool:
    """Whether the camera could see the whole hand: every keypoint lies in front of it."""
    return bool((camera.cam_from_world.apply(keypoints_world)[:, 2] > 10 * MIN_DEPTH_M).all())


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
    if not in_front(camera, keypoints_world):
        raise ValueError(f"camera {camera.name}: the hand is not in front of it")
    points = camera.cam_from_world.apply(keypoints_world)
    rotation = _looking_along(points.mean(0))
    roll = np.deg2rad(rng.uniform(-config.rotation_deg, config.rotation_deg))
    rotation = _rotation((0.0, 0.0, roll)) @ rotation
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
    cam_from_world = Rigid(rotation, np.zeros(3)) @ camera.cam_from_world
    if mirrored:
        flip = np.array([[-1.0, 0.0, size_px[0] - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        homography = flip @ homography
        intrinsics = flip @ intrinsics @ MIRROR
        cam_from_world = Rigid(MIRROR @ cam_from_world.rotation @ MIRROR, MIRROR @ cam_from_world.translation)
    sample_camera = Camera(camera.name, size_px, intrinsics, cam_from_world=cam_from_world)
    return VirtualView(sample_camera, homography, rotation, mirrored)


def _slope_box(points_cam: Float[np.ndarray, "n 3"]) -> tuple[Float[np.ndarray, " 2"], float]:
    """Centre and half the longer side of the box around x / z and y / z, flesh included."""
    slope = points_cam[:, :2] / points_cam[:, 2:]
    low, high = slope.min(0), slope.max(0)
    return (low + high) / 2, float((high - low).max() / 2 + _FLESH_M / points_cam[:, 2].mean())


def _looking_along(direction: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "3 3"]:
    """The smallest rotation that takes `direction` to the optical axis."""
    direction = direction / np.linalg.norm(direction)
    axis = np.cross(direction, (0.0, 0.0, 1.0))
    sine = np.linalg.norm(axis)
    if sine < 1e-12:
        return np.eye(3)
    return _rotation(axis / sine * np.arctan2(sine, direction[2]))


def _rotation(axis_angle: Float[np.ndarray, " 3"] | tuple[float, float, float]) -> Float[np.ndarray, "3 3"]:
    return cv2.Rodrigues(np.asarray(axis_angle, dtype=float))[0]
