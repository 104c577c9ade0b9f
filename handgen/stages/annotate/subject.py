"""What a capture's detections say as a whole, before its chunks are fitted: the person, the scale, moved cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from handgen.detect.base import Detector
from handgen.errors import HandgenError
from handgen.fit.observations import in_metres, kinematics_of
from handgen.fit.pose_fit import fit_poses
from handgen.fit.silhouette.shape import SeenHand, shape_from_masks
from handgen.fit.subject import Subject, fit_subject
from handgen.hand.skeleton import SIDES
from handgen.multiview.association import MultiviewHand, evenly_spaced
from handgen.progress import Progress
from handgen.reconstruct.camera_check import ExtrinsicsCheck, check_extrinsics
from handgen.reconstruct.mask_refinement import masks_of_frames
from handgen.records.detection import Detection
from handgen.stages.annotate.job import AnnotateJob, detections_of_frames, hands_of_frames

_CHUNKS = 32  # that are looked at, spread over the capture
_FRAMES_PER_SIDE = 256
_MASKED_FRAMES_PER_SIDE = 16  # whose masks the shape is learnt from
_MAX_ERROR_SHARE = 0.05  # frames whose views disagree more teach the betas nothing


@dataclass(frozen=True)
class Estimate:
    """subject: the person. check: of the cameras. job: with the rig that the chunks are to be fitted with."""

    subject: Subject
    check: ExtrinsicsCheck
    job: AnnotateJob


@dataclass
class _Evidence:
    """Hands by side, those that are sure among them, and all detections by frame and camera."""

    hands: dict[str, list[MultiviewHand]] = field(default_factory=lambda: {side: [] for side in SIDES})
    sure: dict[str, list[MultiviewHand]] = field(default_factory=lambda: {side: [] for side in SIDES})
    detections: dict[int, Sequence[Sequence[Detection]]] = field(default_factory=dict)


def estimate(job: AnnotateJob, detector: Detector, show: Progress) -> Estimate:
    """The person and the rig, from frames spread over the capture.

    Raises HandgenError where the scale must come from the hand and no hand was seen by two cameras.
    """
    evidence = _evidence(job, show)
    check = check_extrinsics(job.capture.rig, evidence.hands, evidence.detections)
    if job.config.refine_extrinsics and check.moved:
        job = replace(job, capture=replace(job.capture, rig=check.rig))
        evidence = _evidence(job, show)
    subject = _subject(job, detector, evidence.sure)
    if job.config.refine == "silhouette":
        subject = _reshaped(job, detector, subject, evidence.sure)
    in_mm = [replace(move, shift_mm=move.shift_mm * subject.metres_per_unit) for move in check.moves]
    return Estimate(subject, replace(check, moves=tuple(in_mm)), job)


def _evidence(job: AnnotateJob, show: Progress) -> _Evidence:
    found = _Evidence()
    chosen = np.unique(np.linspace(0, job.chunk_count - 1, min(job.chunk_count, _CHUNKS)).round().astype(int))
    for done, index in enumerate(chosen.tolist()):
        show("subject", done, len(chosen))
        frames = job.frames(index)
        detections = detections_of_frames(job, frames)
        found.detections |= dict(zip(frames, detections, strict=True))
        for hand in hands_of_frames(job, frames, detections):
            clusters = list(hand.clusters.values())
            found.hands[hand.side] += clusters
            agreed = [c for c in clusters if c.view_count >= job.config.min_views and not c.conflicting_views]
            found.sure[hand.side] += [c for c in agreed if c.error_share < _MAX_ERROR_SHARE]
    show("subject", len(chosen), len(chosen))
    return found


def _reshaped(
    job: AnnotateJob, detector: Detector, subject: Subject, sure: Mapping[str, Sequence[MultiviewHand]]
) -> Subject:
    """The subject with a shape that masks agree with."""
    rig = job.capture.rig.scaled(subject.metres_per_unit)
    fits = []
    for side, found in sure.items():
        clusters = in_metres(evenly_spaced(found, _MASKED_FRAMES_PER_SIDE), subject.metres_per_unit)
        if clusters:
            kinematics = kinematics_of(job.config.hand_model, side, subject.offsets_m, job.config.device)
            fits.append(fit_poses(kinematics, rig, clusters, subject.betas, subject.view_bias))
    frames = sorted({frame for fit in fits for frame in fit.frames.tolist()})
    pictures = (images for frame in frames for images in job.pictures(range(frame, frame + 1)))
    masks = masks_of_frames(fits, frames, pictures, rig, job.config.background)
    hands = [SeenHand(fit, views) for fit, views in zip(fits, masks, strict=True)]
    return shape_from_masks(subject, job.config.hand_model, hands, detector.offsets_m, job.config.device)


def _subject(job: AnnotateJob, detector: Detector, sure: Mapping[str, Sequence[MultiviewHand]]) -> Subject:
    picked = {side: evenly_spaced(found, _FRAMES_PER_SIDE) for side, found in sure.items() if found}
    known = job.capture.scale_known
    if picked:
        return fit_subject(
            job.config.hand_model,
            detector.offsets_m,
            job.capture.rig,
            picked,
            not known,
            job.config.device,
            view_bias=detector.view_bias,
        )
    if not known:
        raise HandgenError(
            f"{job.capture.path}: no hand was seen by two cameras, so the scale cannot be estimated from it; "
            "give --metres-per-unit X, and look at `handgen inspect` for the calibration"
        )
    return Subject(np.zeros(10), 1.0, detector.offsets_m, 0, detector.view_bias)
