"""The truth about a frame, in the format of annotations: what the hands are, and which pixels are theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np

from handgen.geometry.camera import Camera
from handgen.geometry.raster import mesh_mask
from handgen.hand.model import PosedHand
from handgen.io.cutouts import Cutout
from handgen.records.annotation import HandRecord, ViewRecord
from handgen.segmentation.crops import Cutter
from handgen.segmentation.edge_blur import measured_blur_px
from handgen.stages.simulate.config import SimulateConfig
from handgen.stages.simulate.scene import GREEN, Scene, SimulatedHand

_LEAST_SEEN = 0.15  # of the hand, as a share of the model's silhouette: views that show less are no good


def record_frame(
    scene: Scene, frame: int, write: Callable[[int, np.ndarray], None]
) -> Iterator[tuple[HandRecord, list[tuple[str, Cutout]]]]:
    """Render all cameras, `write(view, image)` each; gives the truth of each hand with its cutouts by key.

    The truth is of the moment that the frame should be of; masks show what the camera saw, even if its clock is off.
    """
    pixels, labels = [], []
    for i, camera in enumerate(scene.rig):
        moment, rays, background = scene.moment(frame, i), scene.rays[i], scene.backgrounds[i]
        view = moment.view(camera, rays, background)
        light = view.light
        if scene.path_tracer is not None:
            seed = int(scene.sensor_noise(frame, i).integers(2**31))
            light = scene.path_tracer.view(moment, camera, rays, background, seed)
        image = scene.sensors[i].develop(light, scene.sensor_noise(frame, i))
        write(i, image)
        pixels.append(image)
        labels.append(view.hand)
    screen = GREEN if scene.config.background == GREEN else None
    for owner, hand in enumerate(scene.hands):
        motion = hand.path(np.array([scene.time_s(frame)]))
        posed = hand.pose(motion)
        views, cutouts = [], []
        for i, camera in enumerate(scene.rig):
            mask = np.where(labels[i] == owner, 255, 0).astype(np.uint8)
            key = f"{frame:08d}_{hand.side}_{i:02d}"
            found = _view(camera, hand, posed, key, pixels[i], mask, screen)
            if found:
                views.append(found[0])
                cutouts.append((key, found[1]))
        ious = [view.mask_iou for view in views if view.accepted and view.mask_iou is not None]
        record = HandRecord(
            frame=frame,
            side=hand.side,
            subject=subject_of(scene.config),
            pose=motion.rotations[0].reshape(48),
            translation_m=motion.translation[0],
            keypoints_world_m=posed.keypoints[0].numpy(),
            accepted=bool(ious),
            reasons=() if ious else ("no_view_shows_the_hand",),
            mask_iou=round(float(np.median(ious)), 4) if ious else None,
            views=tuple(views),
        )
        yield record, cutouts


def _view(
    camera: Camera,
    hand: SimulatedHand,
    posed: PosedHand,
    key: str,
    image: np.ndarray,
    mask: np.ndarray,
    screen: str | None,
) -> tuple[ViewRecord, Cutout] | None:
    """The truth about one hand in one view, or None where the camera cannot see it."""
    vertices = posed.vertices[0].numpy()
    _, inside = camera.project(posed.keypoints[0].numpy())
    if not inside.any():
        return None
    cutter = Cutter(camera, vertices)
    cut_mask = np.where(cutter.cut(mask) > 127, 255, 0)
    cutout = Cutout(cutter.cut(image), cut_mask.astype(np.uint8))
    target = cutter.camera
    model = mesh_mask(target.project(vertices)[0], hand.model.faces, target.size_px)
    both = cv2.countNonZero(cv2.bitwise_and(model, cutout.mask))
    either = cv2.countNonZero(cv2.bitwise_or(model, cutout.mask))
    seen = both / max(cv2.countNonZero(model), 1) >= _LEAST_SEEN
    record = ViewRecord(
        camera=target,
        cutout=key,
        box_px=cutter.box_px,
        detected_px=None,
        reprojection_px=None,
        mask_iou=round(both / max(either, 1), 4),
        accepted=bool(seen and inside.all()),
        reasons=(() if inside.all() else ("outside_image",)) + (() if seen else ("hidden",)),
        edge_blur_px=measured_blur_px(cutout.image, cutout.mask),
        screen=screen,
    )
    return record, cutout


def subject_of(config: SimulateConfig) -> str:
    """Name of the person, who is the same in all captures of one subject seed."""
    return f"seed-{config.seed if config.subject_seed is None else config.subject_seed}"
