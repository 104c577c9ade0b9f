"""Make records and cutouts of the fitted hands of one frame; one frame's images are in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from handgen.fit.pose_fit import FittedHands
from handgen.geometry.camera import Rig
from handgen.hand.model import HandModel
from handgen.io.cutouts import Cutout
from handgen.media.arrays import Image
from handgen.multiview.association import MultiviewHand
from handgen.reconstruct import quality
from handgen.reconstruct.hand_view import PosedMesh, cut_out
from handgen.reconstruct.record_builder import add_views, build_view, median_iou, rounded
from handgen.reconstruct.settings import QualityLimits
from handgen.records.annotation import INTERPOLATED, KEYPOINTS, SILHOUETTE, HandRecord


@dataclass(frozen=True)
class FittedTrack:
    """One hand through a chunk: hands[i], as the detector saw it, and the i-th pose of `fitted` are of one frame."""

    side: str
    model: HandModel
    hands: tuple[MultiviewHand, ...]
    fitted: FittedHands

    def index(self, frame: int) -> int | None:
        """The place of `frame`, if the hand was seen then."""
        return next((i for i, hand in enumerate(self.hands) if hand.frame == frame), None)

    def mesh(self, i: int) -> PosedMesh:
        """The i-th pose."""
        return PosedMesh(self.model, self.fitted.vertices[i], self.fitted.keypoints[i])


def records_of_frame(
    frame: int,
    images: Sequence[Image | None],
    rig: Rig,
    tracks: Sequence[FittedTrack],
    subject: str,
    background: str,
    limits: QualityLimits,
) -> Iterator[tuple[HandRecord, list[tuple[str, Cutout]]]]:
    """Make the records of one frame's hands, each with its cutouts by key."""
    present = [(track, i) for track in tracks if (i := track.index(frame)) is not None]
    for track, i in present:
        other = next((t.mesh(k) for t, k in present if t is not track), None)
        errors = _errors(rig, track, i)
        record = _record(frame, track, i, errors, subject, limits)
        shown = [] if quality.IMPLAUSIBLE in record.reasons else images
        views, cutouts = [], []
        for v, (camera, image) in enumerate(zip(rig, shown, strict=False)):
            cutout = None if image is None else cut_out(image, camera, track.mesh(i), other)
            if cutout is None:
                continue
            segmented = cutout.segment(background)
            shares = segmented.iou, cutout.guides.visible_share
            reasons = quality.view_reasons(cutout.inside, errors[v], *shares, limits)
            key = f"{frame:08d}_{track.side}_{v:02d}"
            view, pixels = build_view(key, cutout, segmented, reasons, errors[v], track.hands[i].views[v])
            views.append(view)
            cutouts.append((key, pixels))
        record = add_views(record, views)
        if record.accepted and (iou := median_iou(views)) is not None:
            reasons = quality.weak_reasons(record.views_detected, len(views), iou)
            record = replace(record, accepted=not reasons, reasons=reasons)
        yield record, cutouts


def _errors(rig: Rig, track: FittedTrack, i: int) -> list[quality.ViewError | None]:
    """Measure how far the fit is from each view's detection."""
    here = track.fitted[np.array([i])]
    return [
        None
        if view is None
        else quality.view_error(here.expected_px(v, camera)[0], view.detection.keypoints_px, view.observed)
        for v, (camera, view) in enumerate(zip(rig, track.hands[i].views, strict=True))
    ]


def _record(
    frame: int,
    track: FittedTrack,
    i: int,
    errors: Sequence[quality.ViewError | None],
    subject: str,
    limits: QualityLimits,
) -> HandRecord:
    """The record without its views, rejected for what the fit alone says."""
    fitted, hand, arrays = track.fitted, track.hands[i], track.model.arrays
    excess = quality.limit_excess_rad(fitted.poses[i, 3:].reshape(15, 3), arrays.joint_axes, arrays.joint_limits_rad)
    known = [error for error in errors if error is not None]
    masked = "silhouette" in fitted.terms and fitted.terms["silhouette"][i] > 0
    source = KEYPOINTS if hand.view_count else SILHOUETTE if masked else INTERPOLATED
    covariance_mm2 = fitted.covariance_m2[i] * 1e6
    spread_mm = float(np.sqrt(np.trace(covariance_mm2, axis1=-2, axis2=-1)).mean())
    reasons = quality.record_reasons(
        known if source == KEYPOINTS else None, hand.conflicting_views, excess, spread_mm, limits
    )
    return HandRecord(
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
        views_detected=hand.view_count,
        reprojection_px=rounded(np.median([error.median_px for error in known])) if known else None,
    )


def _shares(costs: dict[str, float]) -> dict[str, float]:
    total = sum(costs.values())
    return {name: cost / total for name, cost in costs.items()} if total > 0 else {}
