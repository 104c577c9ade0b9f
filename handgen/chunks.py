"""What annotating one chunk of frames takes: detect, associate, fit, segment. Runs in any process, in any order.

Each function reads the capture and what earlier steps wrote for the same chunk, and writes its own files; nothing else
decides their content.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from handgen.associate import by_moment
from handgen.bootstrap import Look, missed
from handgen.cameras import Rig
from handgen.config import AnnotateConfig
from handgen.detect import registry
from handgen.detect.base import Detection, Detector
from handgen.fit.evidence import in_metres, kinematics_of
from handgen.fit.hands import MotionPrior, fit_poses, keep_apart
from handgen.fit.subject import Subject
from handgen.hand.layout import SIDES
from handgen.io import annotations as store
from handgen.io.annotations import HandRecord
from handgen.io.capture import Capture
from handgen.io.detections import DetectionRecord, read_detections, write_detections
from handgen.records import Track, records_of_frame
from handgen.tracks import HandObservations, hands_of_detections

SUBJECT = "0"  # one person per capture
BRIDGED_FRAMES = 10  # longest gap that a hand is carried across
_CONTEXT_FRAMES = 12  # before and after a chunk that its hands are fitted with: more than a gap, so both sides know it


@dataclass(frozen=True)
class Job:
    """What a process needs to do any chunk. hands: "left", "right" or "both"."""

    capture: Capture
    out: Path
    config: AnnotateConfig
    hands: str

    def frames(self, index: int) -> range:
        """The frames of one chunk."""
        first = index * self.config.chunk_frames
        return range(first, min(first + self.config.chunk_frames, self.capture.frame_count))

    def with_context(self, index: int) -> range:
        """The frames of one chunk and some before and after it."""
        frames = self.frames(index)
        return range(
            max(frames.start - _CONTEXT_FRAMES, 0), min(frames.stop + _CONTEXT_FRAMES, self.capture.frame_count)
        )

    @property
    def sides(self) -> tuple[str, ...]:
        """The hands to look for."""
        return SIDES if self.hands == "both" else (self.hands,)

    @property
    def chunk_count(self) -> int:
        """How many chunks the capture has."""
        return -(-self.capture.frame_count // self.config.chunk_frames)

    def detector(self) -> Detector:
        """The configured detector; HandgenError if something that it needs is missing."""
        return registry.create(
            self.config.detector,
            cameras=self.capture.rig.names,
            keypoints_path=Path(self.config.keypoints) if self.config.keypoints else None,
            max_hands=1 if self.hands in SIDES else 2,
            side=self.hands if self.hands in SIDES else None,
        )

    def detections_path(self, index: int) -> Path:
        """Where the detections of one chunk are."""
        return self.out / store.DETECTIONS / f"{index:06d}.jsonl"


def detect_chunk(job: Job, index: int) -> int:
    """Write the detections of one chunk; returns its number of frames.

    Every camera starts without memory, so that chunks do not depend on each other. Frame numbers are those of the
    camera's own video, as in every file of detections.
    """
    detector, frames = job.detector(), job.frames(index)
    names = job.capture.rig.names
    views = [detector.start(name) for name in names]
    rows = []
    for numbers, images in _pictures(job, detector, frames):
        for name, view, number, image in zip(names, views, numbers, images, strict=True):
            if number >= 0 and image is not None:
                rows += [_row(name, number, found) for found in view.detect(image, number)]
    if job.config.look_again and detector.needs_images:
        rows += _second_looks(job, detector, frames, rows)
    path = job.detections_path(index)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_detections(path, sorted(rows, key=lambda row: (row.frame, names.index(row.camera))))
    return len(frames)


def _pictures(job: Job, detector: Detector, frames: range) -> Iterator[tuple[list[int], Sequence[Any]]]:
    """Of each moment every camera's own frame number, and its picture; an empty one where no detector looks at it."""
    numbers = job.capture.source_frames[frames.start : frames.stop].tolist()
    nothing = (np.zeros((1, 1, 3), np.uint8),) * len(job.capture.rig)
    pictures = job.capture.read(frames.start, frames.stop) if detector.needs_images else (nothing for _ in frames)
    return zip(numbers, pictures, strict=True)


def _row(camera: str, number: int, found: Detection) -> DetectionRecord:
    return DetectionRecord(camera, number, found.keypoints_px, found.confidence, found.right, found.again)


def _second_looks(
    job: Job, detector: Detector, frames: range, rows: Sequence[DetectionRecord]
) -> list[DetectionRecord]:
    """What views see that missed a hand, when they are looked at again where it must be."""
    rig = job.capture.rig
    detections = by_moment(rows, rig.names, job.capture.source_frames[frames.start : frames.stop])
    by_frame: dict[int, list[Look]] = {}
    for look in missed(rig, hands_of_detections(rig, frames, detections, job.hands), BRIDGED_FRAMES):
        by_frame.setdefault(look.frame, []).append(look)
    if not by_frame:
        return []
    views = [detector.start(name) for name in rig.names]
    found_again = []
    wanted = range(min(by_frame), max(by_frame) + 1)
    for frame, (numbers, images) in zip(wanted, _pictures(job, detector, wanted), strict=True):
        for look in by_frame.get(frame, []):
            number, image = numbers[look.camera], images[look.camera]
            if number < 0 or image is None:
                continue
            found = views[look.camera].detect_near(image, look.guess_px, look.right)
            if found is not None:
                found_again.append(_row(rig.names[look.camera], number, replace(found, again=True)))
    return found_again


def detections_of_frames(job: Job, frames: range) -> list[list[list[Detection]]]:
    """What was written of `frames`: per frame and camera."""
    size = job.config.chunk_frames
    files = (job.detections_path(index) for index in range(frames.start // size, -(-frames.stop // size)))
    rows = chain.from_iterable(map(read_detections, files))
    return by_moment(rows, job.capture.rig.names, job.capture.source_frames[frames.start : frames.stop])


def hands_of_frames(
    job: Job, frames: range, detections: Sequence[Sequence[Sequence[Detection]]] | None = None
) -> list[HandObservations]:
    """Associate the detections of `frames` (default: as written); the world is the capture's rig, in whatever unit."""
    found = detections_of_frames(job, frames) if detections is None else detections
    return hands_of_detections(job.capture.rig, frames, found, job.hands)


def fit_chunk(job: Job, subject: Subject, index: int) -> int:
    """Write the records and cutouts of one chunk; returns its number of frames."""
    frames = job.frames(index)
    rig = job.capture.rig.scaled(subject.metres_per_unit)
    tracks = tracks_of_chunk(job, rig, subject, index)
    records: list[HandRecord] = []

    def cutouts() -> Iterator[tuple[str, store.Cutout]]:
        pictures = job.capture.read(frames.start, frames.stop)
        for frame, images in zip(frames, pictures, strict=True):
            for record, found in records_of_frame(frame, images, rig, tracks, SUBJECT, job.config):
                records.append(record)
                yield from found

    store.write_chunk(job.out, index, records, cutouts())
    return len(frames)


def tracks_of_chunk(job: Job, rig: Rig, subject: Subject, index: int) -> list[Track]:
    """The hands of a chunk, fitted together with its context: its own frames, without those whose fit failed."""
    motion = MotionPrior.of(job.capture.fps, job.config.acceleration_mm_s2)
    hands = hands_of_frames(job, job.with_context(index))
    if motion is not None:
        hands = [hand.bridged(BRIDGED_FRAMES) for hand in hands]
    clusters = [in_metres(list(hand.clusters.values()), subject.metres_per_unit) for hand in hands]
    fits = []
    for hand, seen in zip(hands, clusters, strict=True):
        kinematics = kinematics_of(job.config.hand_model, hand.side, subject.offsets_m, job.config.device)
        fits.append(fit_poses(kinematics, rig, seen, subject.betas, subject.view_bias, motion))
    if len(fits) == 2:
        fits = list(keep_apart(*fits))
    tracks = []
    for hand, seen, fit in zip(hands, clusters, fits, strict=True):
        fitted = fit.hands()
        kept = np.flatnonzero(fitted.finite & [cluster.frame in job.frames(index) for cluster in seen])
        if len(kept):
            chosen = tuple(seen[i] for i in kept)
            frames = tuple(cluster.frame for cluster in chosen)
            tracks.append(Track(hand.side, fit.problem.kinematics.model, frames, chosen, fitted[kept]))
    return tracks
