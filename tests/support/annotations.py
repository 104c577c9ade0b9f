"""A small annotations directory of posed open hands, drawn by filling shaded triangles from back to front."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch

from handgen.geometry.camera import Camera
from handgen.geometry.rigid import Rigid
from handgen.hand.model import HandModel, HandPose, PosedHand
from handgen.hand.skeleton import JOINT_COUNT
from handgen.io.annotations import MANIFEST_SCHEMA, Cutout, write_chunk
from handgen.io.camera_json import camera_document
from handgen.records.annotation import HandRecord, ViewRecord
from handgen.storage.documents import write_json

SKIN = (205, 150, 125)
GREEN = (40, 190, 60)  # of the capture's background: a halo of it is easy to see
SUBJECT = "subject_0"
BETAS = np.array([0.8, -0.6, 0.4, 0.3, -0.2, 0.5, 0.1, -0.4, 0.2, 0.1])


@cache
def open_hand(side: str) -> HandModel:
    return HandModel.load("open", side)


def looking_at(center: np.ndarray, target: np.ndarray) -> Rigid:
    """cam_from_world of a camera at `center` looking at `target`, with world y downwards."""
    z = (target - center) / np.linalg.norm(target - center)
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= np.linalg.norm(x)
    rotation = np.stack([x, np.cross(z, x), z])
    return Rigid(rotation, -rotation @ center)


def ring_cameras(count: int, size_px: tuple[int, int] = (960, 720)) -> list[Camera]:
    """Cameras half a metre from the origin, on the side of negative z."""
    cameras = []
    for i in range(count):
        angle = np.deg2rad(-50 + 100 * i / max(1, count - 1))
        center = 0.55 * np.array([np.sin(angle), -0.35, -np.cos(angle)])
        intrinsics = np.array([[900.0, 0, 470.3], [0, 905.0, 362.8], [0, 0, 1]])
        cameras.append(Camera(f"cam{i}", size_px, intrinsics, cam_from_world=looking_at(center, np.zeros(3))))
    return cameras


def random_pose(side: str, rng: np.random.Generator, betas: np.ndarray = BETAS) -> HandPose:
    """A hand near the origin, turned anyhow, with fingers bent within the joints' limits."""
    model = open_hand(side)
    axes, limits = model.arrays.joint_axes, model.arrays.joint_limits_rad
    amount = limits[..., 0] + rng.uniform(0.25, 0.75, (15, 3)) * (limits[..., 1] - limits[..., 0])
    bend = np.einsum("jk,jkc->jc", amount, axes)
    turn = rng.normal(size=3)
    turn *= rng.uniform(0, np.pi) / np.linalg.norm(turn)
    rotations = torch.tensor(np.concatenate([turn[None], bend]))[None]
    pose = HandPose(rotations, torch.zeros(1, 3, dtype=torch.float64), torch.tensor(betas)[None])
    offset = -model(pose).keypoints[0].mean(0) + torch.tensor(rng.uniform(-0.03, 0.03, 3))
    return HandPose(rotations, offset[None], torch.tensor(betas)[None])


def moved(pose: HandPose, x_m: float) -> HandPose:
    return HandPose(pose.rotations, pose.translation + torch.tensor([x_m, 0.0, 0.0]), pose.betas)


def draw_hand(
    camera: Camera, hand: PosedHand, faces: np.ndarray, color: tuple[int, int, int] = SKIN, flat: bool = False
) -> Cutout:
    """The hand in an ideal camera before a green wall. flat: without shading."""
    vertices = camera.cam_from_world.apply(hand.vertices[0].numpy())
    pixels, _ = camera.project_cam(vertices)
    triangles = vertices[faces]
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    light = np.array([-0.4, -0.6, -0.7])
    shade = 0.45 + 0.6 * np.abs(normals @ light)
    width, height = camera.size_px
    image = np.empty((height, width, 3), np.uint8)
    image[:] = GREEN
    mask = np.zeros((height, width), np.uint8)
    corners = np.round(pixels[faces] * 16).astype(np.int32)
    for i in np.argsort(-triangles[..., 2].mean(1)):
        tone = color if flat else tuple(float(min(255, c * shade[i])) for c in color)
        cv2.fillConvexPoly(image, corners[i], tone, cv2.LINE_8, 4)
        cv2.fillConvexPoly(mask, corners[i], 255, cv2.LINE_8, 4)
    if not flat:  # a camera's own blur, which mixes the wall's colour into the hand's edge
        image = cv2.GaussianBlur(image, (0, 0), 0.7)
    return Cutout(image, mask)


def with_band(cutout: Cutout) -> Cutout:
    """The cutout with an arm that comes from its left border."""
    height, width = cutout.mask.shape
    arm = np.zeros_like(cutout.mask)
    arm[height // 3 : 2 * height // 3, : width // 2] = 255
    return replace(cutout, arm=np.where(cutout.mask > 0, np.uint8(0), arm))


def hand_record(side: str, frame: int, pose: HandPose, views: list[ViewRecord]) -> HandRecord:
    rounded = HandPose(
        torch.tensor(np.round(pose.rotations.numpy(), 6)),
        torch.tensor(np.round(pose.translation.numpy(), 6)),
        pose.betas,
    )
    keypoints = open_hand(side)(rounded).keypoints[0].numpy()
    return HandRecord(
        frame=frame,
        side=side,
        subject=SUBJECT,
        pose=rounded.rotations.numpy().reshape(3 * JOINT_COUNT),
        translation_m=rounded.translation[0].numpy(),
        keypoints_world_m=keypoints,
        accepted=True,
        reprojection_px=1.25,
        mask_iou=0.95,
        views=tuple(views),
    )


def write_annotations(
    root: Path,
    frames: int = 3,
    cameras: int = 2,
    sides: tuple[str, ...] = ("left", "right"),
    chunk_frames: int = 2,
    color: tuple[int, int, int] = SKIN,
    flat: bool = False,
    seed: int = 0,
    accept_all: bool = False,
    left_color: tuple[int, int, int] | None = None,
    apart_m: float = 0.0,
    arms: bool = False,
) -> Path:
    """Write annotations in which every view is accepted but the last of frame 0's first hand, or all.

    left_color: of left hands, where it differs. apart_m: how far the two hands are moved from each other, along x.
    arms: every cutout has one, a band beside its hand. Each hand is drawn without the other one.
    """
    rng = np.random.default_rng(seed)
    rig = ring_cameras(cameras)
    chunks = []
    for index, first in enumerate(range(0, frames, chunk_frames)):
        records, cutouts = [], []
        for frame in range(first, min(first + chunk_frames, frames)):
            for side in sides:
                pose = random_pose(side, rng)
                pose = moved(pose, apart_m / 2 if side == "left" else -apart_m / 2)
                hand = open_hand(side)(pose)
                tone = left_color if left_color and side == "left" else color
                views = []
                for i, camera in enumerate(rig):
                    key = f"{frame:06d}_{side}_{camera.name}"
                    pixels, _ = camera.project(hand.vertices[0].numpy())
                    left, top = np.floor(pixels.min(0)).astype(int) - 20
                    width, height = np.ceil(pixels.max(0)).astype(int) + 21 - (left, top)
                    crop = camera.cropped(int(left), int(top), int(width), int(height))
                    cutout = draw_hand(crop, hand, open_hand(side).faces, tone, flat)
                    cutouts.append((key, with_band(cutout) if arms else cutout))
                    accepted = accept_all or not (frame == 0 and side == sides[0] and i == cameras - 1)
                    views.append(
                        ViewRecord(
                            camera=crop,
                            cutout=key,
                            box_px=(int(left), int(top), int(width), int(height)),
                            detected_px=None,
                            reprojection_px=1.0 + i,
                            mask_iou=0.9,
                            accepted=accepted,
                            reasons=() if accepted else ("a test",),
                        )
                    )
                records.append(hand_record(side, frame, pose, views))
        write_chunk(root, index, records, cutouts)
        chunks.append(
            {
                "index": index,
                "first_frame": first,
                "frames": min(chunk_frames, frames - first),
                "records": len(records),
                "accepted": len(records),
            }
        )
    write_json(
        root / "manifest.json",
        {
            "kind": "annotations",
            "format_version": 1,
            "created_by": "handgen test",
            "capture": {
                "path": "drawn",
                "frame_count": frames,
                "calibration_format": "handgen",
                "fps": 30.0,
                "scale": "calibrated",
                "metres_per_unit": 1.0,
            },
            "cameras": [camera_document(camera) for camera in rig],
            "hand_model": {"name": "open", "sha256": {side: open_hand(side).arrays.sha256 for side in sides}},
            "subjects": {SUBJECT: {"betas": BETAS.tolist(), "frames": frames}},
            "configuration": {},
            "chunks": chunks,
            "summary": {},
        },
        MANIFEST_SCHEMA,
    )
    return root
