"""Fit and segment the hands of one chunk, of the capture and the detections of it and some frames around it alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from handgen.detect.view_bias import DetectorCalibration
from handgen.fit.subject import HandShape
from handgen.io import annotations as store
from handgen.io.cutouts import Cutout
from handgen.media.arrays import Image
from handgen.reconstruct.fit_hands import FittedTrack, HandFitter, records_of_frame
from handgen.reconstruct.fit_terms import weights_of
from handgen.reconstruct.mask_tracking import Redetect
from handgen.reconstruct.record_builder import log_decisions
from handgen.records.annotation import HandRecord
from handgen.runtime.messages import advancing
from handgen.runtime.resumable_run import Units
from handgen.stages.annotate.job import AnnotateJob, detections_of_frames, hands_of_frames
from handgen.stages.annotate.subject import Estimate

log = logging.getLogger(__name__)


def fit_units(estimated: Estimate) -> Units[dict[str, Any]]:
    """The step that writes the records and cutouts of every chunk; its results are as in the manifest."""
    job = estimated.job
    function = partial(fit_chunk, job, estimated.shape, estimated.detector)
    return Units("fit and segment", job.chunk_sizes, function, files=store.chunk_files)


def fit_chunk(job: AnnotateJob, shape: HandShape, detector: DetectorCalibration, index: int) -> dict[str, Any]:
    """Write one chunk's records and cutouts; returns what the manifest says of its files. shape: of the person."""
    frames = job.frames(index)
    rig = job.capture.rig
    by_masks = (job.config.track == "silhouette", weights_of(job.config.fit)["silhouette"] > 0)
    passes = 1 + sum(by_masks)  # over the pictures
    tracks = tracks_of_chunk(job, shape, detector, index, 1 / passes)
    records: list[HandRecord] = []

    def cutouts() -> Iterator[tuple[str, Cutout]]:
        detected = job.trusted(detections_of_frames(job, frames))
        pictures = advancing(job.pictures(frames), 1 / passes)
        for frame, images, seen in zip(frames, pictures, detected, strict=True):
            for record, found in records_of_frame(
                frame, images, rig, tracks, job.subject, job.config.background, job.config.limits, seen, job.delays
            ):
                records.append(record)
                yield from found

    described = store.write_chunk(job.out, index, records, cutouts())
    log_decisions(log, index, frames, records)
    return described


def tracks_of_chunk(
    job: AnnotateJob, shape: HandShape, detector: DetectorCalibration, index: int, share: float = 0.0
) -> list[FittedTrack]:
    """The hands of a chunk, fitted together with its context: its own frames, without those whose fit failed.

    share: of the work on a frame that is reading its pictures once.
    """
    fitter = HandFitter(job.config.fit, job.capture.rig, shape, detector, job.capture.fps)
    hands = hands_of_frames(job, job.with_context(index))
    for found in hands:
        log.info(
            "chunk %d: %s hand associated in %d frames, context included", index, found.side, len(found.seen_hands)
        )

    def pictures(frames: range) -> Iterator[Sequence[Image | None]]:
        return advancing(job.timely_pictures(frames), share)

    tracks = []
    for hand in fitter.fit(hands, job.frames(index), pictures, _redetect(job)):
        seen_hands, fitted = hand.finite(job.frames(index))
        if seen_hands:
            tracks.append(FittedTrack(hand.side, hand.model, seen_hands, fitted))
    return tracks


def _redetect(job: AnnotateJob) -> Redetect | None:
    """The detector, asked about one place in a picture; None if it looks at no pictures."""
    detector = job.detector()
    if job.config.track != "silhouette" or not detector.needs_images:
        return None
    views = [detector.start(name) for name in job.capture.rig.names]
    return lambda camera, image, guess_px, right: views[camera].detect_near(image, guess_px, right)
