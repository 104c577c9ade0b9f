"""Detecting the hands of one chunk: every camera by itself, then once more where the others say that a hand must be."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from handgen.detect.base import Detector
from handgen.io import annotations as store
from handgen.io.detections import write_detections
from handgen.multiview.association import group_by_moment
from handgen.multiview.tracking import hands_in_any_unit
from handgen.reconstruct.fit_hands import BRIDGED_FRAMES
from handgen.reconstruct.redetection import search_regions, views_to_search
from handgen.records.detection import Detection, DetectionRecord
from handgen.runtime.messages import advancing
from handgen.runtime.resumable_run import Units
from handgen.stages.annotate.job import AnnotateJob
from handgen.storage import filesystem

_SHARE_AGAIN = 0.2  # of a frame's work that is looking again

log = logging.getLogger(__name__)


def detect_units(job: AnnotateJob) -> Units[None]:
    """The step that writes the detections of every chunk."""
    return Units("detect", job.chunk_sizes, partial(detect_chunk, job))


def detected_chunks(job: AnnotateJob) -> set[int]:
    """The chunks whose detections are there."""
    there = filesystem.file_sizes(job.out / store.DETECTIONS)
    return {index for index in range(job.chunk_count) if job.detections_path(index).name in there}


def detect_chunk(job: AnnotateJob, index: int) -> None:
    """Write the detections of one chunk, each camera without memory of others, by frames of the camera's own video."""
    detector, frames = job.detector(), job.frames(index)
    names = job.capture.cameras.names
    views = [detector.start(name) for name in names]
    rows = []
    again = job.config.redetect and detector.needs_images
    for numbers, images in advancing(_pictures(job, detector, frames), 1 - _SHARE_AGAIN * again):
        for name, view, number, image in zip(names, views, numbers, images, strict=True):
            if number >= 0 and image is not None:
                rows += [_row(name, number, found) for found in view.detect(image, number)]
    if again:
        rows += _redetect_missed(job, detector, frames, rows)
    seen = Counter(row.camera for row in rows)
    log.info(
        "chunk %d, frames %d to %d: %d detections (%s), %d of them found when searched again",
        *(index, frames.start, frames.stop - 1, len(rows), ", ".join(f"{name} {seen[name]}" for name in names)),
        sum(row.again for row in rows),
    )
    path = job.detections_path(index)
    filesystem.make_folder(path.parent)
    write_detections(path, sorted(rows, key=lambda row: (row.frame, names.index(row.camera))))


def _pictures(job: AnnotateJob, detector: Detector, frames: range) -> Iterator[tuple[list[int], Sequence[Any]]]:
    """Every camera's own frame number and picture at each moment; an empty one where no detector looks at it."""
    numbers = job.capture.source_frames[frames.start : frames.stop].tolist()
    nothing = (np.zeros((1, 1, 3), np.uint8),) * len(job.capture.cameras)
    pictures = job.pictures(frames) if detector.needs_images else (nothing for _ in frames)
    return zip(numbers, pictures, strict=True)


def _row(camera: str, number: int, found: Detection) -> DetectionRecord:
    return DetectionRecord(camera, number, found.keypoints_px, found.confidence, found.right, found.redetected)


def _redetect_missed(
    job: AnnotateJob, detector: Detector, frames: range, rows: Sequence[DetectionRecord]
) -> list[DetectionRecord]:
    """Search views that missed a hand where it must be."""
    rig = job.capture.cameras
    detections = group_by_moment(rows, rig.names, job.capture.source_frames[frames.start : frames.stop])
    hands = hands_in_any_unit(rig, frames, detections, job.hands)
    regions = views_to_search(rig, hands, BRIDGED_FRAMES)
    log.debug("frames %d to %d: %d places to search again", frames.start, frames.stop - 1, len(regions))

    def pictures(wanted: range) -> Iterator[tuple[list[int], Sequence[Any]]]:
        return advancing(_pictures(job, detector, wanted), _SHARE_AGAIN)

    found = search_regions(detector, rig.names, regions, pictures)
    return [_row(rig.names[region.camera], number, detection) for region, number, detection in found]
