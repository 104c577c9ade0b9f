"""One chunk of frames: fitted hands -> records and cutouts, one frame's images in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from handgen.fit.pose_fit import FittedHands
from handgen.geometry.camera import Camera, Rig
from handgen.hand.model import HandModel
from handgen.io.cutouts import Cutout
from handgen.multiview.association import MultiviewHand
from handgen.reconstruct import quality
from handgen.reconstruct.hand_view import hand_in_view
from handgen.reconstruct.settings import QualityLimits
from handgen.records.annotation import INTERPOLATED, KEYPOINTS, SILHOUETTE, HandRecord, ViewRecord
from handgen.segmentation.edge_blur import measured_blur_px

Image = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class Track:
    """One hand through a chunk: frames[i] has clusters[i] and the i-th pose of `fitted`."""

    side: str
    model: HandModel
    frames: tuple[int, ...]
    clusters: tuple[MultiviewHand, ...]
    fitted: FittedHands

    def index(self, frame: int) -> int | None:
        """Where `frame` is, if the hand was seen then."""
        return self.frames.index(frame) if frame in self.frames else None


def records_of_frame(
    frame: int,
    images: Sequence[Image | None],
    rig: Rig,
    tracks: Sequence[Track],
    subject: str,
    background: str,
    limits: QualityLimits,
) -> Iterator[tuple[HandRecord, list[tuple[str, Cutout]]]]:
    """The records of one frame's hands, each with its cutouts by key."""
    present = [(track, i) for track in tracks if (i := track.index(frame)) is not None]
    for track, i in present:
        others = [(t, k) for t, k in present if t is not track]
        other = others[0][0].fitted.vertices[others[0][1]] if others else None
        yield _record(frame, images, rig, track, i, other, subject, background, limits)


def _record(
    frame: int,
    images: Sequence[Image | None],
    rig: Rig,
    track: Track,
    i: int,
    other_vertices: Float[np.ndarray, "778 3"] | None,
    subject: str,
    background: str,
    limits: QualityLimits,
) -> tuple[HandRecord, list[tuple[str, Cutout]]]:
    fitted, cluster = track.fitted, track.clusters[i]
    arrays = track.model.arrays
    excess = quality.limit_excess_rad(fitted.poses[i, 3:].reshape(15, 3), arrays.joint_axes, arrays.joint_limits_rad)
    here = fitted[np.array([i])]
    errors: list[quality.ViewError | None] = []
    for v, (camera, view) in enumerate(zip(rig, cluster.views, strict=True)):
        if view is None:
            errors.append(None)
        else:
            expected_px = here.expected_px(v, camera)[0]
            errors.append(quality.view_error(expected_px, view.detection.keypoints_px, view.observed))
    known = [error for error in errors if error is not None]
    masked = "silhouette" in fitted.terms and fitted.terms["silhouette"][i] > 0
    source = KEYPOINTS if cluster.view_count else SILHOUETTE if masked else INTERPOLATED
    covariance_mm2 = fitted.covariance_m2[i] * 1e6
    spread_mm = float(np.sqrt(np.trace(covariance_mm2, axis1=-2, axis2=-1)).mean())
    reasons = quality.record_reasons(
        known if source == KEYPOINTS else None, cluster.conflicting_views, excess, spread_mm, limits
    )
    views, cutouts = [], []
    for v, camera in enumerate(rig):
        image = images[v]
        if image is None or quality.IMPLAUSIBLE in reasons:
            continue
        found = _view(frame, image, camera, track, i, v, other_vertices, errors[v], background, limits)
        if found:
            views.append(found[0])
            cutouts.append((found[0].cutout, found[1]))
    good = [view for view in views if view.accepted]
    if not good and not reasons:
        reasons = (quality.NO_GOOD_VIEW,)
    iou = float(np.median([view.mask_iou for view in good])) if good else None
    if iou is not None and not reasons:
        reasons = quality.weak_reasons(cluster.view_count, len(views), iou)
    record = HandRecord(
        frame=frame,
        side=track.side,
        subject=subject,
        pose=fitted.poses[i],
        translation_m=fitted.translations[i],
        keypoints_world_m=fitted.keypoints[i],
        accepted=not reasons,
        reasons=reasons,
        covariance_mm2=covariance_mm2,
        source=source,
        terms=_shares({name: float(cost[i]) for name, cost in fitted.terms.items()}),
        views_detected=cluster.view_count,
        reprojection_px=_rounded(np.median([e.median_px for e in known])) if known else None,
        mask_iou=None if iou is None else _rounded(iou),
        views=tuple(views),
    )
    return record, cutouts


def _shares(costs: dict[str, float]) -> dict[str, float]:
    total = sum(costs.values())
    return {name: cost / total for name, cost in costs.items()} if total > 0 else {}


def _rounded(value: float | np.floating) -> float:
    return round(float(value), 4)


def _view(
    frame: int,
    image: Image,
    camera: Camera,
    track: Track,
    i: int,
    v: int,
    other_vertices: np.ndarray | None,
    error: quality.ViewError | None,
    background: str,
    limits: QualityLimits,
) -> tuple[ViewRecord, Cutout] | None:
    """The record and cutout of one view, or None where the hand is outside its image."""
    vertices, keypoints = track.fitted.vertices[i], track.fitted.keypoints[i]
    found = hand_in_view(image, camera, track.model, vertices, keypoints, other_vertices, background)
    if found is None:
        return None
    segmented = found.segmented
    view = track.clusters[i].views[v]
    reasons = quality.view_reasons(found.inside, error, segmented.iou, found.guides.visible_share, limits)
    record = ViewRecord(
        camera=found.camera,
        cutout=f"{frame:08d}_{track.side}_{v:02d}",
        box_px=found.cutter.box_px,
        detected_px=None if view is None else np.column_stack([view.detection.keypoints_px, view.confidence]),
        reprojection_px=None if error is None else _rounded(error.median_px),
        mask_iou=_rounded(segmented.iou),
        accepted=not reasons,
        reasons=reasons,
        detected_again=view is not None and view.detection.again,
        edge_blur_px=measured_blur_px(found.crop, segmented.mask),
        screen=None if segmented.screen == "any" else segmented.screen,
    )
    arm = segmented.arm if cv2.countNonZero(segmented.arm) else None
    return record, Cutout(found.crop, segmented.mask, arm)
