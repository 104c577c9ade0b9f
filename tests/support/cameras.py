"""Cameras that look at a place, and rigs around it."""

import numpy as np

from handgen.geometry.camera import Camera, Rig, UnscaledRig
from handgen.geometry.rigid import Rigid


def look_at(name: str, center, target, focal: float = 800.0, size_px=(640, 480), distortion=()) -> Camera:
    """A camera at `center` looking at `target`, world y up."""
    forward = np.asarray(target, float) - center
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    width, height = size_px
    intrinsics = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return Camera(
        name, size_px, intrinsics, np.array(distortion, float), "pinhole", Rigid(rotation, -rotation @ center)
    )


def ring(views: int, radius: float = 0.7, distortion=()) -> Rig:
    """Cameras around the origin, at different heights."""
    angles = 2 * np.pi * np.arange(views) / views
    return Rig(
        tuple(
            look_at(
                f"cam{i}",
                np.array([radius * np.cos(a), 0.2 + 0.2 * np.sin(2 * a), radius * np.sin(a)]),
                np.zeros(3),
                distortion=distortion,
            )
            for i, a in enumerate(angles)
        )
    )


def in_units(rig: Rig, metres_per_unit: float) -> UnscaledRig:
    """The rig as a calibration in another unit has it."""
    return UnscaledRig(tuple(camera.scaled(1 / metres_per_unit) for camera in rig))
