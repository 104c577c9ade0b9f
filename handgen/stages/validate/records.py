"""Records of annotations against their cameras and detections, and as labelled pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import orjson
from jaxtyping import Float

from handgen.errors import HandgenError
from handgen.geometry.camera import Camera
from handgen.geometry.rigid import Rigid
from handgen.hand.model_files import HandArrays
from handgen.hand.skeleton import KEYPOINT_COUNT
from handgen.io import annotations as store
from handgen.io.labelled import label_hand
from handgen.label_checks.evidence import Fault
from handgen.label_checks.geometry import HAND_LENGTH_M, hand_length_m
from handgen.label_checks.rotations import transform_fault
from handgen.multiview.association import keypoint_extent
from handgen.records.annotation import HandRecord, ViewRecord
from handgen.records.labelled_image import LabelledHand, LabelledImage
from handgen.storage import filesystem, limits
from handgen.storage.filesystem import Location

LEFT_OUT = (
    "reprojection",
    "visible",
    "world",
    "betas per person",
    "key twice",
    "picture twice",
)  # true by construction
_CAMERA_PX, _CAMERA_M = 1e-3, 1e-6
_DETECTED = 0.25  # of the hand's extent in the picture: accepted fits are nearer than a tenth to what was detected
_DETECTED_PX = 6.0
_SURE = 0.3  # confidence of a keypoint that counts


@dataclass(frozen=True)
class Setting:
    """The capture that records are compared with. cameras, betas: by name. arrays: of the hand model, by side, if here.

    models: its file as `load_hand` takes it, by its name.
    """

    cameras: dict[str, Camera]
    betas: dict[str, Float[np.ndarray, " 10"]]
    arrays: dict[str, HandArrays]
    models: dict[str, str]


def image_of(setting: Setting, record: HandRecord, view: ViewRecord, members: dict[str, bytes]) -> LabelledImage | None:
    """Label a view of a record; None where either is rejected, or its camera unknown. members: of its cutout."""
    if not record.accepted or not view.accepted or view.camera.name not in setting.cameras:
        return None
    betas, arrays = setting.betas.get(record.subject), setting.arrays.get(record.side)
    if betas is not None and arrays is not None:
        hand = label_hand(record, view, betas, arrays)
    else:
        points = view.camera.cam_from_world.apply(record.keypoints_world_m)
        pixels, visible = view.camera.project_cam(points)
        hand = LabelledHand(record.side, pixels, visible, keypoints_cam_m=points)
    _, shown = setting.cameras[view.camera.name].project(record.keypoints_world_m)
    return LabelledImage(
        name=f"frame {record.frame}, {record.side} hand of {record.subject}, {view.camera.name}",
        size_px=view.camera.size_px,
        hands=(replace(hand, visible=hand.visible & shown, labelled=np.ones(KEYPOINT_COUNT, bool)),),
        image=members.get("jpg"),
        mask=members.get("mask.png"),
        intrinsics=view.camera.intrinsics,
        cam_from_world=view.camera.cam_from_world,
        subject=record.subject,
        camera=view.camera.name,
        frame=record.frame,
    )


def view_faults(cameras: Mapping[str, Camera], record: HandRecord, view: ViewRecord) -> dict[str, Fault | None]:
    """Find, by check, what is wrong with the camera of a view and with where the hand is in it."""
    faults = {"view camera": _view_fault(cameras, view)}
    low, high = HAND_LENGTH_M  # only what can be metres is compared: else cameras are not to blame
    if view.accepted and view.detected_px is not None and low <= hand_length_m(record.keypoints_world_m) <= high:
        faults["detections"] = _detection_fault(cameras, record, view)
    return faults


def _view_fault(cameras: Mapping[str, Camera], view: ViewRecord) -> Fault | None:
    """Find how the camera of a cutout differs from the capture's, cropped to its box."""
    name = view.camera.name
    if name not in cameras:
        return Fault(f"camera {name} is none of the manifest's", "name one of the manifest's cameras")
    left, top, width, height = view.box_px
    if min(width, height) < 1:
        return Fault(f"its box is {width}x{height} px", "write left, top, width and height of the cutout")
    wanted, is_ = cameras[name].ideal().cropped(left, top, width, height), view.camera
    if is_.size_px != wanted.size_px:
        return Fault(f"the cutout is {is_.size_px}, its box {wanted.size_px} px", "write the size of box_px")
    off = is_.intrinsics - wanted.intrinsics
    if np.abs(off).max() > _CAMERA_PX:
        shift = off[:2, 2]
        if np.abs(off[:2, :2]).max() >= _CAMERA_PX:
            fix = "write the intrinsics of the whole picture, cropped"
            return Fault("the cutout's focal length is not the camera's", fix)
        half = "half a pixel: " if np.abs(np.abs(shift) - 0.5).max() < 0.01 else ""
        off_px = f"({shift[0]:.2f}, {shift[1]:.2f})"
        what = f"{half}the cutout's principal point is {off_px} px from the camera's, less box_px"
        return Fault(what, "let (0, 0) be the centre of the first pixel; take box_px off the camera's principal point")
    if not _differs(is_.cam_from_world, wanted.cam_from_world):
        return None
    misread = _misreadings(wanted.cam_from_world).items()
    like = next((name for name, changed in misread if not _differs(is_.cam_from_world, changed)), None)
    fact = f"looks like {like}" if like else "is not its camera's"
    return Fault(f"the cutout's cam_from_world {fact}", "write cam_from_world of the manifest")


def _differs(one: Rigid, two: Rigid) -> bool:
    return float(np.abs(one.as_matrix() - two.as_matrix()).max()) > _CAMERA_M


def _misreadings(transform: Rigid) -> dict[str, Rigid]:
    """The transforms that may be written by mistake for this one, by name."""
    return {
        "world_from_cam": transform.inverse(),
        "its rotation transposed": Rigid(transform.rotation.T, transform.translation),
        "a translation in millimetres": Rigid(transform.rotation, transform.translation * 1000),
    }


def _detection_fault(cameras: Mapping[str, Camera], record: HandRecord, view: ViewRecord) -> Fault | None:
    """Find why a hand is not where the detector saw it, through the manifest's camera."""
    if view.detected_px is None or view.camera.name not in cameras:
        return None
    camera, detected = cameras[view.camera.name], view.detected_px
    sure = detected[:, 2] > _SURE
    if sure.sum() < 5:
        return None
    limit_px = max(_DETECTED_PX, _DETECTED * keypoint_extent(detected[sure, :2]))
    off_px = _distance_px(camera, record.keypoints_world_m, detected, sure)
    if off_px <= limit_px:
        return None
    what = f"the hand is {off_px:.0f} px (median) from where the detector saw it"
    if not np.isfinite(off_px):
        what = "the hand is behind the camera that saw it"
    for misreading, changed in _misreadings(camera.cam_from_world).items():
        turned = replace(camera, cam_from_world=changed)
        if _distance_px(turned, record.keypoints_world_m, detected, sure) <= limit_px:
            return Fault(f"{what}; the camera's cam_from_world looks like {misreading}", "write cam_from_world, metres")
    return Fault(what, "check the camera, and that keypoints and camera share one world and unit")


def _distance_px(camera: Camera, points_world: np.ndarray, detected: np.ndarray, sure: np.ndarray) -> float:
    points = camera.cam_from_world.apply(points_world)
    if (points[:, 2] <= 0).any():
        return float("inf")
    pixels, _ = camera.project_cam(points)
    return float(np.median(np.linalg.norm(pixels - detected[:, :2], axis=1)[sure]))


def rotation_faults(root: Location, index: int) -> list[tuple[str, Fault]]:
    """Views of a chunk that cannot be read because their rotation is none: where, and what it is."""
    path = store.chunk_path(root, index, ".jsonl")
    found = []
    try:
        for record in map(orjson.loads, filesystem.read(path, limits.RECORDS).splitlines()):
            for view in record["views"]:
                fault = transform_fault(np.array(view["cam_from_world"], float))
                if fault is not None:
                    where = f"frame {record['frame']}, {record['side']} hand of {record['subject']}, {view['camera']}"
                    found.append((f"{path}, {where}", fault))
    except (HandgenError, OSError, ValueError, KeyError, TypeError):  # no records at all, which their reader says
        return []
    return found
