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

from handgen.geometry.camera import MIN_DEPTH_M, Camera
from handgen.geometry.rigid import Rigid
from handgen.hand.skeleton import MIRROR_X
from handgen.stages.synthesize.config import SynthesizeConfig

MIRROR = np.diag(MIRROR_X)  # of space
Keypoints = Float[np.ndarray, "21 3"]
_FLESH_M = 0.012  # skin reaches this far beyond the keypoints


@dataclass(frozen=True)
class VirtualView:
    """The view of one sample. camera: in the capture's world, or in the world mirrored in x where `mirrored`."""

    camera: Camera
    mirrored: bool

    def points_cam(self, points_world: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Points of the capture's (unmirrored) world in the frame of the sample's camera, metres."""
        return self.camera.cam_from_world.apply(points_world @ MIRROR if self.mirrored else points_world)

    def sample_px_from_cutout_px(self, cutout: Camera) -> Float[np.ndarray, "3 3"]:
        """The homography of the pixels, mirroring included. cutout: an ideal camera at the same place."""
        world_from_cutout = cutout.cam_from_world.rotation.T @ np.linalg.inv(cutout.intrinsics)
        if self.mirrored:
            world_from_cutout = MIRROR @ world_from_cutout
        return self.camera.intrinsics @ self.camera.cam_from_world.rotation @ world_from_cutout


def are_in_front(points_cam: Float[np.ndarray, "n 3"]) -> bool:
    """Tell whether a camera could see all points, which are in its own frame."""
    return bool(points_cam[:, 2].min() > 10 * MIN_DEPTH_M)


def draw_view(
    camera: Camera, keypoints_world: Keypoints, config: SynthesizeConfig, mirrored: bool, rng: np.random.Generator
) -> VirtualView:
    """A random virtual camera that looks at the hand. `camera` is the cutout's, ideal.

    Raises ValueError when a keypoint is not in front of the camera.
    """
    points = camera.cam_from_world.apply(keypoints_world)
    if not are_in_front(points):
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
    there = camera.cam_from_world
    cam_from_world = Rigid(rotation @ there.rotation, rotation @ there.translation)
    straight = Camera(camera.name, (config.size, config.size), intrinsics, cam_from_world=cam_from_world)
    return VirtualView(in_mirror(straight) if mirrored else straight, mirrored)


def in_mirror(camera: Camera) -> Camera:
    """The camera that sees the world mirrored in x in a mirrored picture; twice gives the camera itself."""
    there = camera.cam_from_world
    flip = np.array([[-1.0, 0.0, camera.size_px[0] - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    cam_from_world = Rigid(MIRROR @ there.rotation @ MIRROR, MIRROR @ there.translation)
    return Camera(camera.name, camera.size_px, flip @ camera.intrinsics @ MIRROR, cam_from_world=cam_from_world)


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
