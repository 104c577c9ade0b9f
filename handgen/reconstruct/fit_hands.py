"""Associated detections -> fitted hands: every hand through all its frames, both kept apart, and refined by masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from handgen.detect.view_bias import DetectorCalibration
from handgen.fit.observations import kinematics_of
from handgen.fit.pose_fit import Fit, FittedHands, MotionPrior, fit_from, fit_poses
from handgen.fit.silhouette.term import POSE_CONTOUR_POINTS, SilhouetteTerm
from handgen.fit.subject import HandShape
from handgen.geometry.camera import Rig
from handgen.hand.model import HandModel
from handgen.multiview.association import MultiviewHand
from handgen.multiview.tracking import HandObservations
from handgen.reconstruct.fit_terms import FitScene, ReadPictures, solve_with_terms
from handgen.reconstruct.mask_tracking import MaskTrack, Redetect, merge_frames, track_by_masks
from handgen.reconstruct.settings import FitSettings

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
