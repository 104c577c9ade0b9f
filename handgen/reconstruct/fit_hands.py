"""Associated detections -> fitted hands -> records and cutouts.

Every hand is fitted through all its frames, both are kept apart, and refined by masks. Records are made of one frame at
a time, whose images alone are in memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from handgen.detect.view_bias import DetectorCalibration
from handgen.fit.observations import kinematics_of
from handgen.fit.pose_fit import Fit, FittedHands, MotionPrior, fit_from, fit_poses
from handgen.fit.silhouette.term import POSE_CONTOUR_POINTS, SilhouetteTerm
from handgen.fit.subject import HandShape
from handgen.geometry.camera import Rig
from handgen.hand.model import HandModel
from handgen.io.cutouts import Cutout
from handgen.media.arrays import Image
from handgen.multiview.association import (
    MultiviewHand,
    keypoint_extent,
    lies_on,
    support_of_side,
    unused_detections,
)
from handgen.multiview.tracking import HandObservations
from handgen.reconstruct import quality
from handgen.reconstruct.camera_delays import label_offset_px
from handgen.reconstruct.fit_terms import FitScene, ReadPictures, solve_with_terms
from handgen.reconstruct.hand_view import PosedMesh, cut_out
from handgen.reconstruct.mask_tracking import MaskTrack, Redetect, merge_frames, track_by_masks
from handgen.reconstruct.record_builder import add_views, build_view, median_iou, rounded
from handgen.reconstruct.settings import FitSettings, QualityLimits
from handgen.records.annotation import INTERPOLATED, KEYPOINTS, SILHOUETTE, HandRecord
from handgen.records.detection import Detection
from handgen.segmentation.evidence import mask_evidence

BRIDGED_FRAMES = 10  # longest gap that a hand is carried across


@dataclass(frozen=True)
class FittedHand:
    """One hand: seen_hands[i] and the i-th pose are of the same frame."""

    side: str
    seen_hands: tuple[MultiviewHand, ...]
    fit: Fit

    @property
    def model(self) -> HandModel:
        """The hand's model."""
        return self.fit.problem.kinematics.model

    def finite(self, frames: range) -> tuple[tuple[MultiviewHand, ...], FittedHands]:
        """The hand in some frames, without those whose fit failed."""
        hands = self.fit.hands()
        kept = np.flatnonzero(hands.finite & [seen_hand.frame in frames for seen_hand in self.seen_hands])
        return tuple(self.seen_hands[i] for i in kept), hands[kept]


@dataclass(frozen=True)
class HandFitter:
    """Fits the hands of one person in front of one rig. fps: of the frames; None where the capture does not know."""

    settings: FitSettings
    rig: Rig
    shape: HandShape
    detector: DetectorCalibration
    fps: float | None

    @property
    def motion(self) -> MotionPrior | None:
        """Prior on the hands' motion; None: every frame is on its own."""
        return MotionPrior.of(self.fps, self.settings.acceleration_mm_s2)

    def fit(
        self, hands: Sequence[HandObservations], frames: range, pictures: ReadPictures, redetect: Redetect | None = None
    ) -> list[FittedHand]:
        """Fit the hands, one per side at most. frames: whose masks refine the fit. redetect: for hands without any."""
        if self.motion is not None:
            hands = [hand.bridge_gaps(BRIDGED_FRAMES) for hand in hands]
        seen = [list(hand.seen_hands.values()) for hand in hands]
        fits = [self._fit_keypoints(hand.side, found) for hand, found in zip(hands, seen, strict=True)]
        if self.settings.track == "silhouette" and fits:
            tracks = [MaskTrack(fit, hand.side, self.detector) for hand, fit in zip(hands, fits, strict=True)]
            track_by_masks(tracks, frames, pictures(frames), self.rig, self.settings.background, redetect)
            for k, track in enumerate(tracks):
                if track.states:
                    fits[k], seen[k] = self._merge(track, seen[k])
        fits = solve_with_terms(fits, self.settings, FitScene(self.rig, frames, pictures, self.settings.background))
        return [FittedHand(h.side, tuple(found), fit) for h, found, fit in zip(hands, seen, fits, strict=True)]

    def _fit_keypoints(self, side: str, seen: Sequence[MultiviewHand]) -> Fit:
        settings, detector = self.settings, self.detector
        kinematics = kinematics_of(settings.hand_model, side, detector.offsets_m, settings.device)
        return fit_poses(kinematics, self.rig, seen, self.shape.betas, detector.view_bias, self.motion)

    def _merge(self, track: MaskTrack, seen: Sequence[MultiviewHand]) -> tuple[Fit, list[MultiviewHand]]:
        """One fit of the frames that were fitted and those that the hand was carried through."""
        frames, state = merge_frames(track)
        known = {hand.frame: hand for hand in seen} | track.seen_hands
        together = [known.get(frame) or MultiviewHand.unseen(frame, len(self.rig)) for frame in frames]
        place = {frame: i for i, frame in enumerate(frames)}
        masks = [replace(view, frame=place[frame]) for frame, views in track.masks.items() for view in views]
        kinematics = track.fit.problem.kinematics
        term = SilhouetteTerm(kinematics.model, masks, len(frames), independent=POSE_CONTOUR_POINTS).refreshed(state)
        terms = {"silhouette": term}
        fit = fit_from(kinematics, self.rig, together, state, self.detector.view_bias, self.motion, terms)
        return fit, together


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
    detections: Sequence[Sequence[Detection]] = (),
    delays: Mapping[int, float] | None = None,
) -> Iterator[tuple[HandRecord, list[tuple[str, Cutout]]]]:
    """Make the records of one frame's hands, each with its cutouts by key.

    detections: all of the frame, by camera; what belongs to no hand speaks against one in the same place. delays:
    frames by which a camera is late, by its number.
    """
    present = [(track, i) for track in tracks if (i := track.index(frame)) is not None]
    spare = unused_detections(detections or [()] * len(rig), [track.hands[i] for track, i in present])
    for track, i in present:
        other = next((t.mesh(k) for t, k in present if t is not track), None)
        errors, moments = view_errors(rig, track, i), [hand.frame for hand in track.hands]
        at_moment = view_errors(rig, track, i, delays or {})
        record = _record(frame, track, i, at_moment, subject, limits)
        shown = [] if quality.IMPLAUSIBLE in record.reasons else images
        views, cutouts = [], []
        for v, (camera, image) in enumerate(zip(rig, shown, strict=False)):
            cutout = None if image is None else cut_out(image, camera, track.mesh(i), other)
            if cutout is None:
                continue
            segmented = cutout.segment(background)
            observed, extent = track.hands[i].views[v], cutout.extent_px
            projected = camera.project(track.fitted.keypoints[i])[0]
            delay = (delays or {}).get(v, 0.0)
            offset_px = label_offset_px(camera, track.fitted.keypoints, moments, i, delay)
            reasons = quality.view_reasons(
                cutout.inside,
                errors[v],
                segmented.iou,
                cutout.guides.visible_share,
                limits,
                mask_evidence(cutout.crop, segmented.mask, cutout.guides, extent),
                observed is None and lies_on(projected, spare[v]),
                offset_px / keypoint_extent(projected),
            )
            key = f"{frame:08d}_{track.side}_{v:02d}"
            view, pixels = build_view(key, cutout, segmented, reasons, errors[v], observed)
            views.append(view)
            cutouts.append((key, pixels))
        record = add_views(record, views)
        if record.accepted and (iou := median_iou(views)) is not None:
            reasons = quality.weak_reasons(record.views_detected, len(views), iou)
            record = replace(record, accepted=not reasons, reasons=reasons)
        yield record, cutouts


def view_errors(rig: Rig, track: FittedTrack, i: int, late: Collection[int] = ()) -> list[quality.ViewError | None]:
    """Measure how far the fit is from each view's detection; of late cameras, from where that was at the moment."""
    here = track.fitted[np.array([i])]
    errors: list[quality.ViewError | None] = []
    for v, (camera, view) in enumerate(zip(rig, track.hands[i].views, strict=True)):
        if view is None:
            errors.append(None)
        elif v in late:
            errors.append(quality.view_error(here.expected_px(v, camera.ideal())[0], view.ideal_px, view.observed))
        else:
            expected_px = here.expected_px(v, camera)[0]
            errors.append(quality.view_error(expected_px, view.detection.keypoints_px, view.observed))
    return errors


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
    support = [support_of_side(view.detection, track.side) for view in hand.views if view is not None]
    reasons = quality.record_reasons(
        known if source == KEYPOINTS else None,
        hand.conflicting_views,
        excess,
        spread_mm,
        limits,
        float(np.median(support)) if support else 1.0,
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
