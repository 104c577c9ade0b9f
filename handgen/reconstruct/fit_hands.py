"""Associated detections -> fitted hands: every hand through all its frames, both kept apart, and refined by masks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8

from handgen.fit.contact.separation import keep_apart
from handgen.fit.observations import in_metres, kinematics_of
from handgen.fit.pose_fit import Fit, FittedHands, MotionPrior, fit_from, fit_poses
from handgen.fit.silhouette.term import SilhouetteTerm
from handgen.fit.subject import Subject
from handgen.geometry.camera import Rig
from handgen.hand.model import HandModel
from handgen.multiview.association import MultiviewHand
from handgen.multiview.tracking import HandObservations
from handgen.reconstruct.mask_refinement import INDEPENDENT, refined
from handgen.reconstruct.mask_tracking import MaskTrack, Redetect, joined, track_by_masks

Image = UInt8[np.ndarray, "height width 3"]
# Pictures of a range of frames, one frame at a time, an entry per camera.
ReadPictures = Callable[[range], Iterable[Sequence[Image | None]]]

BRIDGED_FRAMES = 10  # longest gap that a hand is carried across


@dataclass(frozen=True)
class HowToFit:
    """What decides the fit of given detections.

    motion: None: every frame is on its own. track: "silhouette" to carry hands by their masks through frames that the
    detector is silent in, or "keypoints". refine: "silhouette" or "none". background: of the masks, as in
    `handgen.segmentation.segment.segment`.
    """

    hand_model: str
    subject: Subject
    motion: MotionPrior | None
    refine: str
    background: str
    device: str = "cpu"
    track: str = "keypoints"


@dataclass(frozen=True)
class FittedHand:
    """One hand: clusters[i] and the i-th pose are of the same frame."""

    side: str
    clusters: tuple[MultiviewHand, ...]
    fit: Fit

    @property
    def model(self) -> HandModel:
        """The hand's model."""
        return self.fit.problem.kinematics.model

    def finite(self, frames: range) -> tuple[tuple[MultiviewHand, ...], FittedHands]:
        """Those of some frames whose fit did not fail."""
        hands = self.fit.hands()
        kept = np.flatnonzero(hands.finite & [cluster.frame in frames for cluster in self.clusters])
        return tuple(self.clusters[i] for i in kept), hands[kept]


def fit_hands(
    how: HowToFit,
    rig: Rig,
    hands: Sequence[HandObservations],
    frames: range,
    pictures: ReadPictures,
    redetect: Redetect | None = None,
) -> list[FittedHand]:
    """Fit the hands of one person, at most one of each side.

    rig: in metres; the hands' clusters are in its world before it was scaled by the subject's. frames: whose masks
    refine the fit; the hands may have others besides. look_again: the detector, for hands whose masks are lost.
    """
    if how.motion is not None:
        hands = [hand.bridged(BRIDGED_FRAMES) for hand in hands]
    clusters = [in_metres(list(hand.clusters.values()), how.subject.metres_per_unit) for hand in hands]
    fits = []
    for hand, seen in zip(hands, clusters, strict=True):
        kinematics = kinematics_of(how.hand_model, hand.side, how.subject.offsets_m, how.device)
        fits.append(fit_poses(kinematics, rig, seen, how.subject.betas, how.subject.view_bias, how.motion))
    if how.track == "silhouette" and fits:
        on_their_way = [MaskTrack(fit, hand.side, how.subject) for hand, fit in zip(hands, fits, strict=True)]
        track_by_masks(on_their_way, frames, pictures(frames), rig, how.background, redetect)
        for k, carried in enumerate(on_their_way):
            if carried.states:
                fits[k], clusters[k] = _joined(how, rig, carried, clusters[k])
    if len(fits) == 2:
        fits = list(keep_apart(*fits))
    if how.refine == "silhouette" and fits:
        fits = refined(fits, frames, pictures(frames), rig, how.background)
    return [FittedHand(h.side, tuple(c), f) for h, c, f in zip(hands, clusters, fits, strict=True)]


def _joined(
    how: HowToFit, rig: Rig, hand: MaskTrack, clusters: Sequence[MultiviewHand]
) -> tuple[Fit, list[MultiviewHand]]:
    """One fit of the frames that were fitted and those that the hand was carried through."""
    frames, state = joined(hand)
    known = {cluster.frame: cluster for cluster in clusters} | hand.clusters
    together = [known.get(frame) or MultiviewHand.unseen(frame, len(rig)) for frame in frames]
    place = {frame: i for i, frame in enumerate(frames)}
    masks = [replace(view, frame=place[frame]) for frame, views in hand.masks.items() for view in views]
    kinematics = hand.fit.problem.kinematics
    term = SilhouetteTerm(kinematics.model, masks, len(frames), independent=INDEPENDENT).refreshed(state)
    terms = {"silhouette": term}
    return fit_from(kinematics, rig, together, state, how.subject.view_bias, how.motion, terms), together
