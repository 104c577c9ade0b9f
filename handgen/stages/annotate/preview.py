"""Overlay pictures of annotated frames: every view with skeletons, mesh outlines and how good the fit is there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from handgen.geometry.camera import Camera
from handgen.geometry.meshes import mesh_mask
from handgen.hand.model import HandModel, single_pose
from handgen.io.annotations import Annotations
from handgen.io.capture.capture import Capture
from handgen.media import images
from handgen.records.annotation import HandRecord
from handgen.storage.filesystem import Location
from handgen.visualize.drawing import (
    ACCEPTED_COLOR,
    REJECTED_COLOR,
    ViewLabel,
    draw_mask_outline,
    draw_skeleton,
    overlay_views,
)

_CELL_PX = (960, 720)
_ZOOM_MARGIN = 0.6  # of the hands' box, kept around them


def write_previews(
    capture: Capture, folder: Location, count: int, progress: Callable[[int, int], None]
) -> list[Location]:
    """Write `count` pictures FRAME.png, of frames spread over the complete annotations that `folder` lies in."""
    annotations = Annotations(folder.parent)
    frames = sorted({record.frame for _, record in annotations})
    chosen = [
        frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int))
    ]
    sides = annotations.manifest["hand_model"]["sha256"]
    models = {side: HandModel.load(annotations.hand_model, side) for side in sides}
    chunk_frames = annotations.manifest["configuration"]["chunk_frames"]
    written = []
    for done, frame in enumerate(chosen):
        progress(done, len(chosen))
        records = [r for r in annotations.records(frame // chunk_frames) if r.frame == frame]
        pictures, labels = [], []
        (views,) = capture.read(frame, frame + 1)
        for camera, image in zip(annotations.rig, views, strict=True):
            if image is not None:
                picture, label = _draw(image, camera, records, models, annotations.betas)
                pictures.append(picture)
                labels.append(label)
        path = folder / f"{frame:08d}.png"
        images.write_png(path, overlay_views(pictures, labels, cell_px=_CELL_PX))
        written.append(path)
    progress(len(chosen), len(chosen))
    return written


def _draw(
    image: np.ndarray,
    camera: Camera,
    records: list[HandRecord],
    models: dict[str, HandModel],
    betas: dict[str, np.ndarray],
) -> tuple[np.ndarray, ViewLabel]:
    """One view with its hands, zoomed to them, and what to write over it."""
    errors, ious, accepted, points = [], [], [], []
    for record in records:
        model = models[record.side]
        view = next((v for v in record.views if v.camera.name == camera.name), None)
        good = record.accepted and view is not None and view.accepted
        vertices = model(single_pose(record.pose, record.translation_m, betas[record.subject])).vertices[0].numpy()
        vertices_px, _ = camera.project(vertices)
        keypoints_px, visible = camera.project(record.keypoints_world_m)
        if view is None or not visible.any():
            continue
        outline = mesh_mask(vertices_px, model.faces, image.shape[1::-1])
        image = draw_mask_outline(image, outline, ACCEPTED_COLOR if good else REJECTED_COLOR)
        image = draw_skeleton(image, keypoints_px, visible)
        points.append(vertices_px)
        accepted.append(good)
        errors += [view.reprojection_px] if view.reprojection_px is not None else []
        ious += [view.mask_iou] if view.mask_iou is not None else []
    label = ViewLabel(
        camera.name,
        float(np.median(errors)) if errors else None,
        float(np.median(ious)) if ious else None,
        all(accepted) if accepted else None,
    )
    return (_zoomed(image, np.concatenate(points)) if points else image), label


def _zoomed(image: np.ndarray, points_px: np.ndarray) -> np.ndarray:
    """The part of an image around its hands."""
    low, high = points_px.min(0), points_px.max(0)
    margin = _ZOOM_MARGIN * (high - low).max()
    height, width = image.shape[:2]
    left, top = (int(x) for x in np.clip(low - margin, 0, (width - 1, height - 1)))
    right, bottom = (int(x) for x in np.clip(high + margin, (left + 1, top + 1), (width, height)))
    return image[top:bottom, left:right]
