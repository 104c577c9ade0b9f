"""Everything that a process needs to do any chunk of a capture, and what earlier steps left of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain

from handgen.detect import registry
from handgen.detect.base import DetectionTask, Detector
from handgen.hand.skeleton import SIDES
from handgen.io import annotations as store
from handgen.io.capture.capture import Capture
from handgen.io.detections import read_detections
from handgen.media.arrays import Image
from handgen.multiview.association import group_by_moment
from handgen.multiview.tracking import HandObservations, hands_of_detections
from handgen.reconstruct.single_view import SingleViewFinder
from handgen.records.detection import Detection
from handgen.stages.annotate.config import AnnotateConfig
from handgen.storage.filesystem import Location
from handgen.storage.local_copies import LocalCopy

_CONTEXT_FRAMES = 12  # before and after a chunk that its hands are fitted with: more than a gap, so both sides know it


@dataclass(frozen=True)
class AnnotateJob:
    """Everything that a process needs to do any chunk. hands: "left", "right" or "both".

    fetched: names of the detector's options that name files in a store, and these files.
    """

    capture: Capture
    out: Location
    config: AnnotateConfig
    hands: str
    fetched: tuple[tuple[str, LocalCopy], ...] = ()

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
    def subject(self) -> str:
        """Name of the capture's one person."""
        return self.config.subject or self.capture.subject or store.UNNAMED_SUBJECT

    @property
    def sides(self) -> tuple[str, ...]:
        """The hands to look for."""
        return SIDES if self.hands == "both" else (self.hands,)

    @property
    def chunk_count(self) -> int:
        """Number of chunks of the capture."""
        return -(-self.capture.frame_count // self.config.chunk_frames)

    @property
    def chunk_sizes(self) -> list[int]:
        """Number of frames of each chunk."""
        return [len(self.frames(index)) for index in range(self.chunk_count)]

    def pictures(self, frames: range) -> Iterator[Sequence[Image | None]]:
        """Pictures of every camera, frame by frame, one frame in memory at a time."""
        return self.capture.read(frames.start, frames.stop)

    def detector(self) -> Detector:
        """The configured detector; HandgenError if something that it needs is missing."""
        side = self.hands if self.hands in SIDES else None
        task = DetectionTask(self.capture.cameras.names, 2 if side is None else 1, side, self.config.device)
        with ExitStack() as stack:
            copies = {name: str(copy.path()) for name, copy in self.fetched}
            for _, copy in self.fetched:
                stack.enter_context(copy.named_by_origin())
            options = replace(self.config.detector_options, **copies)
            return registry.create_detector(self.config.detector, task, options)

    def detections_path(self, index: int) -> Location:
        """Place of the detections of one chunk."""
        return self.out / store.DETECTIONS / f"{index:06d}.jsonl"


def detections_of_frames(job: AnnotateJob, frames: range) -> list[list[list[Detection]]]:
    """Read the detections of `frames`, per frame and camera."""
    size = job.config.chunk_frames
    files = (job.detections_path(index) for index in range(frames.start // size, -(-frames.stop // size)))
    rows = chain.from_iterable(map(read_detections, files))
    return group_by_moment(rows, job.capture.cameras.names, job.capture.source_frames[frames.start : frames.stop])


def hands_of_frames(
    job: AnnotateJob, frames: range, detections: Sequence[Sequence[Sequence[Detection]]] | None = None
) -> list[HandObservations]:
    """Associate the detections of `frames` (default: as written); the capture is in metres."""
    found = detections_of_frames(job, frames) if detections is None else detections
    single_view = None
    if job.config.min_views == 1:
        single_view = SingleViewFinder(job.config.hand_model, job.detector().offsets_m)
    return hands_of_detections(job.capture.rig, frames, found, job.hands, single_view)
