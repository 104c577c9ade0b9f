"""The truth about a frame, in the format of annotations: what the hands are, and which pixels are theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np

from handgen.geometry.camera import Camera
from handgen.io.cutouts import Cutout
from handgen.reconstruct.hand_view import PosedMesh, cut_out
from handgen.reconstruct.record_builder import add_views, build_view
from handgen.records.annotation import HandRecord, ViewRecord
from handgen.segmentation.segment import Segmented, iou
from handgen.stages.simulate.config import SimulateConfig
from handgen.stages.simulate.scene import GREEN, Scene

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
        mesh = PosedMesh(hand.model, posed.vertices[0].numpy(), posed.keypoints[0].numpy())
        views, cutouts = [], []
        for i, camera in enumerate(scene.rig):
            mask = np.where(labels[i] == owner, 255, 0).astype(np.uint8)
            key = f"{frame:08d}_{hand.side}_{i:02d}"
            found = _view(camera, mesh, key, pixels[i], mask, screen)
            if found:
                views.append(found[0])
                cutouts.append((key, found[1]))
        record = HandRecord(
            frame=frame,
            side=hand.side,
            subject=subject_of(scene.config),
            pose=motion.rotations[0].reshape(48),
            translation_m=motion.translation[0],
            keypoints_world_m=mesh.keypoints,
            accepted=True,
        )
        yield add_views(record, views, "no_view_shows_the_hand"), cutouts


def _view(
    camera: Camera, hand: PosedMesh, key: str, image: np.ndarray, mask: np.ndarray, screen: str | None
) -> tuple[ViewRecord, Cutout] | None:
    """The truth about one hand in one view, or None where the camera cannot see it."""
    cutout = cut_out(image, camera, hand, min_side_px=1)
    if cutout is None:
        return None
    seen = cutout.cutter.cut_mask(mask)
    shown = cv2.countNonZero(cv2.bitwise_and(cutout.mesh, seen)) / max(cv2.countNonZero(cutout.mesh), 1)
    outside, hidden = not cutout.inside.all(), shown < _LEAST_SEEN
    reasons = (("outside_image",) if outside else ()) + (("hidden",) if hidden else ())
    segmented = Segmented(seen, iou(cutout.mesh, seen), screen or "any", np.zeros_like(seen))
    return build_view(key, cutout, segmented, reasons)


def subject_of(config: SimulateConfig) -> str:
    """Name of the person, who is the same in all captures of one subject seed."""
    return f"seed-{config.seed if config.subject_seed is None else config.subject_seed}"
