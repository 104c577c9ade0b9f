"""Learn from a capture's detections what its chunks have in common: the unit, cameras that moved, the person.

The unit comes first: from there on the capture is in metres.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from handgen.detect.base import Detector
from handgen.detect.view_bias import DetectorCalibration
from handgen.errors import HandgenError
from handgen.fit.observations import kinematics_of
from handgen.fit.pose_fit import fit_poses
from handgen.fit.silhouette.shape import SeenHand, shape_from_masks
from handgen.fit.subject import SURE_ERROR_SHARE, HandShape, estimate_metres_per_unit, fit_subject
from handgen.geometry.camera import UnscaledRig
from handgen.hand.skeleton import SIDES
from handgen.media.arrays import Image
from handgen.multiview.association import MultiviewHand, evenly_spaced
from handgen.multiview.tracking import HandObservations, hands_in_any_unit
from handgen.progress import Progress
from handgen.reconstruct.camera_check import ExtrinsicsCheck, check_extrinsics
from handgen.reconstruct.camera_hypotheses import find_suspects, notes_of
from handgen.reconstruct.hand_side import check_sides
from handgen.reconstruct.hand_size import check_possible, hand_size
from handgen.reconstruct.mask_refinement import masks_of_frames
from handgen.reconstruct.view_agreement import notes_left_out, why_none_sure
from handgen.records.detection import Detection
from handgen.stages.annotate.job import AnnotateJob, detections_of_frames, hands_of_frames
from handgen.wording import counts_of

_CHUNKS = 32  # that are looked at, spread over the capture
_FRAMES_PER_SIDE = 256
_MASKED_FRAMES_PER_SIDE = 16  # whose masks the shape is learnt from

log = logging.getLogger(__name__)

Sample = list[tuple[range, list[list[list[Detection]]]]]  # frames, and their detections by frame and camera


@dataclass(frozen=True)
class Estimate:
    """shape, detector: of the person. check: of the cameras. job: its capture in metres, as the chunks are fitted.

    size: of the hands, in people's mean size; None where that is not known. unit_sigma: standard deviation of an
    estimated unit, as a share of it. notes: on views that disagree.
    """

    shape: HandShape
    detector: DetectorCalibration
    check: ExtrinsicsCheck
    job: AnnotateJob
    size: float | None = None
    unit_sigma: float | None = None
    notes: tuple[str, ...] = ()


@dataclass
class _Evidence:
    """Hands by side, those that are sure among them, and all detections by frame and camera."""

    hands: dict[str, list[MultiviewHand]] = field(default_factory=lambda: {side: [] for side in SIDES})
    sure: dict[str, list[MultiviewHand]] = field(default_factory=lambda: {side: [] for side in SIDES})
    detections: dict[int, Sequence[Sequence[Detection]]] = field(default_factory=dict)

    def add(self, hands: Sequence[HandObservations], min_views: int) -> None:
        """Add the hands of some frames; those count as sure that `min_views` views saw alike."""
        for hand in hands:
            seen = list(hand.seen_hands.values())
            self.hands[hand.side] += seen
            agreed = [each for each in seen if each.view_count >= min_views and not each.conflicting_views]
            self.sure[hand.side] += [each for each in agreed if each.error_share < SURE_ERROR_SHARE]

    def picked(self) -> dict[str, list[MultiviewHand]]:
        """Sure hands of each side, spread over the capture."""
        return {side: evenly_spaced(found, _FRAMES_PER_SIDE) for side, found in self.sure.items() if found}


def estimate(job: AnnotateJob, detector: Detector, show: Progress) -> Estimate:
    """Estimate what is wrong with cameras, the unit (if unknown), moved cameras and the person, from some frames.

    Raises HandgenError if no hand gives the unit, or hands are of a size that no person's have.
    """
    calibration = DetectorCalibration(detector.offsets_m, detector.view_bias)
    sample = _sample(job, show)
    suspects = find_suspects(
        job.capture.cameras, {f: found for frames, all_ in sample for f, found in zip(frames, all_, strict=True)}
    )
    explained = tuple(suspect for suspect in suspects if suspect.hypothesis is not None)
    job = replace(job, suspects=explained)
    log.info("looked at %d of %d chunks", len(sample), job.chunk_count)
    unit_sigma = None
    if isinstance(job.capture.cameras, UnscaledRig):
        metres_per_unit, unit_sigma = _metres_per_unit(job, job.capture.cameras, calibration, sample)
        job = replace(job, capture=job.capture.in_metres(metres_per_unit))
    evidence = _evidence(job, sample)
    check = check_extrinsics(job.capture.rig, evidence.hands, evidence.detections)
    unexplained = tuple(s for s in suspects if s.hypothesis is None and s.camera not in check.moved)
    moved = job.config.refine_extrinsics and check.moved
    if moved or unexplained:
        capture = replace(job.capture, cameras=check.rig) if moved else job.capture
        job = replace(job, capture=capture, suspects=explained + unexplained)
        evidence = _evidence(job, sample)
    for suspect in job.suspects:
        left_out = job.capture.cameras.numbers[suspect.camera] in job.left_out
        log.info("camera %s, %s: %s", suspect.camera, "left out" if left_out else "used", suspect.note())
    for move in check.moves:
        log.log(logging.INFO if move.moved else logging.DEBUG, "since the calibration: %s", move)
    estimated = job.capture.scale == "estimated"
    size = None if estimated else hand_size(job.config.hand_model, calibration, evidence.picked())
    check_possible(job.capture.path, size, job.capture.metres_per_unit or 1.0)
    if job.hands != "both" or not detector.needs_images:  # else the detector's own word on sides was asked
        config = job.config
        check_sides(job.capture.path, config.hand_model, calibration, job.capture.rig, evidence.picked(), config.device)
    shape, person = HandShape(np.zeros(10)), calibration
    if picked := evidence.picked():
        shape, person = fit_subject(job.config.hand_model, calibration, job.capture.rig, picked, job.config.device)
    if job.config.refine == "silhouette":
        shape, person = _refine_with_masks(job, calibration, shape, person, evidence.sure, show)
    log.info(
        "hands that are sure: %s; betas %s; %.6g m per unit of the calibration (%s); their size: %s of people's mean",
        *(counts_of({side: len(found) for side, found in evidence.sure.items()}), shape.betas.round(2).tolist()),
        *(job.capture.metres_per_unit, job.capture.scale, "unknown part" if size is None else f"{size:.3f}"),
    )
    log.debug("offsets of the detector on this person, mm: %s", (person.offsets_m * 1e3).round(1).tolist())
    notes = (*detector.notes, *notes_left_out(evidence.hands, job.capture.rig.names))
    if not picked and any(evidence.hands.values()):
        why = why_none_sure(job.capture.rig, evidence.hands, evidence.detections.values())
        notes = (*notes, f"{why}; the hands' shape is people's mean")
    return Estimate(shape, person, check, job, size, unit_sigma, notes)


def _sample(job: AnnotateJob, show: Progress) -> Sample:
    """The frames and detections of chunks spread over the capture."""
    sample, chosen = (
        [],
        np.unique(np.linspace(0, job.chunk_count - 1, min(job.chunk_count, _CHUNKS)).round().astype(int)),
    )
    for done, index in enumerate(chosen.tolist()):
        show("subject", done, len(chosen))
        frames = job.frames(index)
        sample.append((frames, detections_of_frames(job, frames)))
    show("subject", len(chosen), len(chosen))
    return sample


def _metres_per_unit(
    job: AnnotateJob, rig: UnscaledRig, detector: DetectorCalibration, sample: Sample
) -> tuple[float, float]:
    """The only place where hands are in the calibration's unit."""
    evidence = _Evidence()
    for frames, detections in sample:
        evidence.add(hands_in_any_unit(rig, frames, job.trusted(detections), job.hands), min_views=2)
    if picked := evidence.picked():
        return estimate_metres_per_unit(job.config.hand_model, detector, rig, picked, job.config.device)
    if job.suspects:
        raise HandgenError(f"{job.capture.path}: " + "; ".join(notes_of(job.suspects)))
    moments = (found for _, detections in sample for found in job.trusted(detections))
    raise HandgenError(
        f"{job.capture.path}: {why_none_sure(rig, evidence.hands, moments)}, so the scale cannot be estimated; "
        "give --metres-per-unit X, and look at `handgen inspect` for the calibration"
        + "".join(f"; {note}" for note in notes_left_out(evidence.hands, rig.names))
    )


def _evidence(job: AnnotateJob, sample: Sample) -> _Evidence:
    found = _Evidence()
    for frames, detections in sample:
        trusted = job.trusted(detections)
        found.detections |= dict(zip(frames, trusted, strict=True))
        found.add(hands_of_frames(job, frames, trusted), job.config.min_views)
    return found


def _refine_with_masks(
    job: AnnotateJob,
    detector: DetectorCalibration,
    shape: HandShape,
    person: DetectorCalibration,
    sure: Mapping[str, Sequence[MultiviewHand]],
    show: Progress,
) -> tuple[HandShape, DetectorCalibration]:
    """Fit the shape and the person's offsets again so that masks agree with them. detector: on anybody."""
    rig, fits = job.capture.rig, []
    for side, found in sure.items():
        if hands := evenly_spaced(found, _MASKED_FRAMES_PER_SIDE):
            kinematics = kinematics_of(job.config.hand_model, side, person.offsets_m, job.config.device)
            fits.append(fit_poses(kinematics, rig, hands, shape.betas, person.view_bias))
    frames = sorted({frame for fit in fits for frame in fit.frames.tolist()})

    def pictures() -> Iterator[Sequence[Image | None]]:
        for done, frame in enumerate(frames):
            show("hand shape", done, len(frames))
            yield from job.timely_pictures(range(frame, frame + 1))
        show("hand shape", len(frames), len(frames))

    masks = masks_of_frames(fits, frames, pictures(), rig, job.config.background)
    seen = [SeenHand(fit, views) for fit, views in zip(fits, masks, strict=True)]
    return shape_from_masks(shape, person, job.config.hand_model, seen, detector.offsets_m, job.config.device)
