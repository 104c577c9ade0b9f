"""Pictures of single hands: the annotated and the true skeleton and both masks, on the annotation's own cutouts."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8

from handgen.io.annotations import Annotations
from handgen.records.annotation import HandRecord, ViewRecord
from handgen.stages.evaluate.masks import resample_mask, resample_points
from handgen.stages.evaluate.results import Hand
from handgen.visualize.drawing import OUTLINE_COLOR, ViewLabel, draw_mask_outline, draw_skeleton, overlay_views

TRUTH_COLOR = (255, 70, 200)  # of skeleton and mask; the annotation's are in the fingers' colours and turquoise
_CELL_PX = (400, 400)
_VIEWS = 2


@dataclass(frozen=True)
class Picture:
    """An RGB picture of one hand. views: camera and 2D error, px, from left to right."""

    image: UInt8[np.ndarray, "height width 3"]
    views: tuple[tuple[str, float], ...]


def picture_of(hand: Hand, annotated: Annotations, truth: Annotations) -> Picture | None:
    """The views where the annotation is farthest off, at most two; None where there is no cutout.

    The true skeleton is drawn where the truth's camera has it in the full picture, so that both are compared on pixels.
    """
    record = _record(annotated, hand.chunks[0], hand)
    true_record = _nearest(truth, hand, record)
    found = [shown for view in record.views if (shown := _view(view, record, true_record, hand, annotated, truth))]
    found = sorted(found, key=lambda shown: -shown[2])[:_VIEWS]
    if not found:
        return None
    labels = [ViewLabel(view.camera.name, error_px, view.mask_iou) for view, _, error_px in found]
    image = overlay_views([drawn for _, drawn, _ in found], labels, columns=len(found), cell_px=_CELL_PX)
    return Picture(image, tuple((view.camera.name, error_px) for view, _, error_px in found))


def _record(annotations: Annotations, chunk: int, hand: Hand) -> HandRecord:
    return next(r for r in annotations.records(chunk) if r.frame == hand.frame and r.side == hand.side)


def _nearest(truth: Annotations, hand: Hand, record: HandRecord) -> HandRecord:
    same = [r for r in truth.records(hand.chunks[1]) if r.frame == hand.frame and r.side == hand.side]
    middle = record.keypoints_world_m.mean(0)
    return min(same, key=lambda other: float(np.linalg.norm(other.keypoints_world_m.mean(0) - middle)))


def _view(
    view: ViewRecord,
    record: HandRecord,
    true_record: HandRecord,
    hand: Hand,
    annotated: Annotations,
    truth: Annotations,
) -> tuple[ViewRecord, np.ndarray, float] | None:
    """One view drawn, and how far off the annotation is there, px of the full picture."""
    name = view.camera.name
    if name not in annotated.rig.names or name not in truth.rig.names:
        return None
    camera, true_camera = annotated.rig[name], truth.rig[name]
    if camera.size_px != true_camera.size_px:  # not the same picture
        return None
    true_px, visible = true_camera.project(true_record.keypoints_world_m)
    own_px, _ = camera.project(record.keypoints_world_m)
    if not visible.any():
        return None
    error_px = float(np.linalg.norm(own_px - true_px, axis=1)[visible].mean())
    cutout = annotated.cutout(hand.chunks[0], view)
    zoom = min(_CELL_PX[0] / view.camera.size_px[0], _CELL_PX[1] / view.camera.size_px[1])
    size_px = (max(1, round(view.camera.size_px[0] * zoom)), max(1, round(view.camera.size_px[1] * zoom)))
    shown = view.camera.resized(size_px)
    drawn = cv2.resize(cutout.image, size_px, interpolation=cv2.INTER_LINEAR)
    true_view = next((other for other in true_record.views if other.camera.name == name), None)
    if true_view is not None:
        mask = truth.cutout(hand.chunks[1], true_view).mask
        drawn = draw_mask_outline(drawn, resample_mask(mask, true_view.camera, true_camera, shown, camera), TRUTH_COLOR)
    mask = cv2.resize(cutout.mask, size_px, interpolation=cv2.INTER_NEAREST)
    drawn = draw_mask_outline(drawn, mask, OUTLINE_COLOR)
    true_shown_px = resample_points(true_px, camera, shown)
    drawn = draw_skeleton(drawn, true_shown_px, visible, TRUTH_COLOR)
    own_shown_px, _ = shown.project(record.keypoints_world_m)
    return view, draw_skeleton(drawn, own_shown_px), error_px
