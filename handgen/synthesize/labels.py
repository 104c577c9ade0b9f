"""The labels of a sample: keypoints and model parameters in the frame of its virtual camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float

from handgen.cameras import Camera
from handgen.hand.assets import HandArrays
from handgen.hand.layout import JOINT_COUNT, MIRROR_X, MIRROR_X_ROTATION, SIDES, other_side
from handgen.io.annotations import HandRecord, ViewRecord
from handgen.synthesize.virtual_camera import VirtualView

POSE_CONVENTION = "axis-angle, full"
_FLIP_POSE = np.tile(MIRROR_X_ROTATION, JOINT_COUNT)
_FLIP_POINT = np.array(MIRROR_X)
_MIRROR_TOLERANCE = 1e-5  # metres, and as sharp for weights


@dataclass(frozen=True)
class RestWrist:
    """Where a model's wrist rests, which its poses turn about: `at + by_beta @ betas`, metres."""

    at: Float[np.ndarray, " 3"]
    by_beta: Float[np.ndarray, "3 10"]

    @classmethod
    def of(cls, arrays: HandArrays) -> RestWrist:
        """Of one side of a model."""
        row = arrays.joint_regressor[0]
        return cls(row @ arrays.template, np.einsum("v,vcb->cb", row, arrays.shapedirs))

    def __call__(self, betas: Float[np.ndarray, " 10"]) -> Float[np.ndarray, " 3"]:
        """Of one shape."""
        return self.at + self.by_beta @ betas


def sides_mirror(right: HandArrays, left: HandArrays) -> bool:
    """Whether the left model is the right one mirrored in x: vertices, shapes, correctives and weights."""
    flip = _FLIP_POINT
    correctives = np.einsum("a,b->ab", flip, flip).reshape(-1)  # of the entries of a joint's rotation
    pairs = (
        (left.template, right.template * flip),
        (left.shapedirs, right.shapedirs * flip[:, None]),
        (left.posedirs, right.posedirs * flip[:, None] * np.tile(correctives, JOINT_COUNT - 1)),
        (left.joint_regressor, right.joint_regressor),
        (left.weights, right.weights),
    )
    return all(np.abs(a - b).max() < _MIRROR_TOLERANCE for a, b in pairs)


def hand_in_camera(
    record: HandRecord, betas: Float[np.ndarray, " 10"], rest_wrist: RestWrist, view: VirtualView
) -> tuple[Float[np.ndarray, " 48"], Float[np.ndarray, " 3"]]:
    """Pose and translation in the frame of the sample's camera; of the other side where the view is mirrored.

    The model poses about its rest wrist J, so a point p of the hand that is R (p - J) + J + t in the world
    becomes Q (...) + c under a rigid change of frame: the orientation is Q R and the translation Q (J + t) +
    c - J.
    """
    cam_from_world = view.camera.cam_from_world
    rotation, translation = cam_from_world.rotation, cam_from_world.translation
    if view.mirrored:  # back to the unmirrored frame, in which the record's hand lives; mirrored below
        rotation, translation = rotation * np.outer(_FLIP_POINT, _FLIP_POINT), translation * _FLIP_POINT
    wrist = rest_wrist(betas)
    pose = record.pose.copy()
    pose[:3] = cv2.Rodrigues(rotation @ cv2.Rodrigues(record.pose[:3])[0])[0][:, 0]
    moved = rotation @ (wrist + record.translation_m) + translation - wrist
    if view.mirrored:
        return pose * _FLIP_POSE, moved * _FLIP_POINT
    return pose, moved


@dataclass(frozen=True)
class Source:
    """Where a sample comes from. camera: of the capture's whole, distorted image, which the view was cut from."""

    capture: str
    model: str
    model_sha256: dict[str, str]
    record: HandRecord
    view: ViewRecord
    camera: Camera
    betas: Float[np.ndarray, " 10"]


def sample_document(
    source: Source,
    view: VirtualView,
    rest_wrist: RestWrist,
    key: str,
    index: int,
    seed: list[int],
    background: str,
) -> dict[str, Any]:
    """The JSON of one sample, as `sample.schema.json` describes it.

    2D keypoints are projected from the 3D keypoints with the camera as they are written, digits cut off
    included.
    """
    record = source.record
    side = other_side(record.side) if view.mirrored else record.side
    assert side in SIDES
    pose, translation = hand_in_camera(record, source.betas, rest_wrist, view)
    points = np.round(view.points_cam(record.keypoints_world_m), 7)
    pixels, in_sample = view.camera.project_cam(points)
    _, in_cutout = source.view.camera.project(record.keypoints_world_m)
    _, in_capture = source.camera.project(record.keypoints_world_m)  # a cutout may reach outside the image
    return {
        "key": key,
        "side": side,
        "keypoints_2d": np.round(pixels, 4).tolist(),
        "keypoints_3d": points.tolist(),
        "visible": (in_sample & in_cutout & in_capture).astype(int).tolist(),
        "hand": {
            "model": source.model,
            "model_sha256": source.model_sha256[side],
            "convention": POSE_CONVENTION,
            "pose": np.round(pose, 7).tolist(),
            "betas": source.betas.tolist(),
            "translation_m": np.round(translation, 7).tolist(),
        },
        "camera": {
            "size_px": list(view.camera.size_px),
            "intrinsics": view.camera.intrinsics.tolist(),
            "cam_from_world": np.round(view.camera.cam_from_world.as_matrix(), 9).tolist(),
        },
        "mirrored": view.mirrored,
        "source": {
            "capture": source.capture,
            "frame": record.frame,
            "subject": record.subject,
            "camera": source.view.camera.name,
            "reprojection_px": source.view.reprojection_px,
            "mask_iou": source.view.mask_iou,
        },
        "background": background,
        "index": index,
        "seed": seed,
    }
