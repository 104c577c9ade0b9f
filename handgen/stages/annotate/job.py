"""The job that a run of `annotate` is: its inputs, checked before anything is written, and what a chunk is made of."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from handgen.detect import registry
from handgen.detect.base import CameraFrames, DetectionTask, Detector
from handgen.errors import HandgenError
from handgen.hand.skeleton import SIDES
from handgen.io import annotations as store
from handgen.io.capture.capture import Capture, load_capture
from handgen.io.detections import read_detections
from handgen.media.arrays import Image
from handgen.media.image_folder import ImageFolder
from handgen.multiview.association import group_by_moment
from handgen.multiview.tracking import HandObservations, hands_of_detections
from handgen.options import deciding_options, options_of
from handgen.progress import Progress
from handgen.reconstruct.camera_delays import at_the_moment
from handgen.reconstruct.camera_hypotheses import Suspect
from handgen.reconstruct.single_view import SingleViewFinder
from handgen.records.detection import Detection
from handgen.runtime import reproducibility
from handgen.stages.annotate.config import AnnotateConfig
from handgen.storage import filesystem
from handgen.storage.filesystem import Location
from handgen.storage.local_copies import LocalCopy, fetch
from handgen.version import __version__

_CONTEXT_FRAMES = 12  # before and after a chunk that its hands are fitted with: more than a gap, so both sides know it
_PACKAGES = ("numpy", "scipy", "torch", "opencv", "simplejpeg", "ai-edge-litert")  # that make the bytes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AnnotateJob:
    """Everything that a process needs to do any chunk. hands: "left", "right" or "both".

    fetched: names of the detector's options that name files in a store, and these files. suspects: cameras that are not
    what the capture says, once that is known.
    """

    capture: Capture
    out: Location
    config: AnnotateConfig
    hands: str
    fetched: tuple[tuple[str, LocalCopy], ...] = ()
    suspects: tuple[Suspect, ...] = ()

    @property
    def inputs(self) -> list[Location]:
        """The places that a run reads."""
        return [self.capture.path, self.capture.calibration.path, *(source.path for source in self.capture.sources)]

    @property
    def left_out(self) -> frozenset[int]:
        """Numbers of the cameras whose pictures and detections are not used."""
        kept = self.config.keep_suspects
        return frozenset(self.capture.cameras.numbers[s.camera] for s in self.suspects if s.left_out and not kept)

    @property
    def delays(self) -> dict[int, float]:
        """Frames by which cameras that are used are late, by their numbers."""
        late = {self.capture.cameras.numbers[s.camera]: s.delay_frames for s in self.suspects}
        return {v: delay for v, delay in late.items() if delay and v not in self.left_out}

    @property
    def corrected_delays(self) -> dict[int, float]:
        """Delays like `delays`; none where several clocks differ: all cameras' mean is nearest to the moment then."""
        return {} if any(suspect.clocks_differ for suspect in self.suspects) else self.delays

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
        """Pictures of every camera that is used, frame by frame, one frame in memory at a time."""
        for pictures in self.capture.read(frames.start, frames.stop):
            yield [None if v in self.left_out else picture for v, picture in enumerate(pictures)]

    def timely_pictures(self, frames: range) -> Iterator[Sequence[Image | None]]:
        """Pictures like `pictures`, without those of late cameras: masks to learn from must be of the moment."""
        for pictures in self.pictures(frames):
            yield [None if v in self.corrected_delays else picture for v, picture in enumerate(pictures)]

    def trusted(self, detections: Sequence[Sequence[Sequence[Detection]]]) -> list[list[Sequence[Detection]]]:
        """Detections by frame and camera, without those of cameras that are left out."""
        return [[() if v in self.left_out else found for v, found in enumerate(frame)] for frame in detections]

    def detector(self) -> Detector:
        """The configured detector; HandgenError if something that it needs is missing."""
        side = self.hands if self.hands in SIDES else None
        cameras, sources = self.capture.cameras.names, self.capture.sources
        frames = {
            name: CameraFrames(source.frame_count, source.stems) for name, source in zip(cameras, sources, strict=True)
        }
        task = DetectionTask(cameras, 2 if side is None else 1, side, self.config.device, frames)
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
    found = job.trusted(detections_of_frames(job, frames) if detections is None else detections)
    single_view = None
    if job.config.min_views == 1:
        single_view = SingleViewFinder(job.config.hand_model, job.detector().offsets_m)
    hands = hands_of_detections(job.capture.rig, frames, found, job.hands, single_view)
    return [at_the_moment(hand, job.corrected_delays) for hand in hands] if job.corrected_delays else hands


def open_job(capture_path: Location, out: Location, config: AnnotateConfig, show: Progress) -> AnnotateJob:
    """Read the capture; HandgenError naming what of the configuration does not suit it."""
    _check_device(config.device)
    for option, place in _locations(config.detector_options).items():
        if _lies_in(place, out):
            raise HandgenError(f"--{option} {place}: lies in the output, which the run writes; give another --out")
    if "://" in config.hand_model:
        raise HandgenError(f"{config.hand_model}: a hand model must be a file of this machine; copy it, both sides")
    capture = load_capture(
        capture_path,
        calibration=filesystem.location(config.calibration) if config.calibration else None,
        metres_per_unit=config.metres_per_unit,
        progress=partial(show, "fetch, MiB"),
    )
    log.info(
        "%s: %d frames of cameras %s; calibration %s in %s, %s",
        *(capture_path, capture.frame_count, ", ".join(capture.cameras.names)),
        *(capture.calibration.format, capture.calibration.path, capture.calibration.unit_note),
    )
    for note in capture.notes:
        log.info("%s", note)
    if len(capture.cameras) < config.min_views:
        raise HandgenError(
            f"{capture_path}: has {len(capture.cameras)} of the {config.min_views} cameras that must see a hand "
            f"({', '.join(capture.cameras.names)}); add calibrated cameras, or lower --min-views"
        )
    job = AnnotateJob(
        capture, out, config, config.hands or capture.hands or "both", _fetch_files(config.detector_options)
    )
    for source in capture.sources:
        if isinstance(source, ImageFolder) and _lies_in(out, source.path):
            raise HandgenError(f"{out}: lies in a camera's folder of pictures, {source.path}; give another --out")
    if job.hands == "both" and config.hand_model.endswith(".npz") and "{side}" not in config.hand_model:
        raise HandgenError(
            f"{config.hand_model}: one file cannot be the model of both hands; put {{side}} where `left` or `right` "
            "goes in its name, or give --hands left or --hands right"
        )
    return job


def inputs_of_run(job: AnnotateJob, detector: Detector, models: dict[str, str]) -> dict[str, Any]:
    """Everything that the content of the chunks depends on, as `run.json` keeps it, wherever the capture lies."""
    configuration = deciding_options(job.config) | {"hands": job.hands, "subject": job.subject}
    rig = job.capture.cameras
    return {
        "created_by": __version__,
        "computed": reproducibility.fingerprint(_PACKAGES),
        "capture": job.capture.fingerprint(),
        "cameras": {c.name: [*c.size_px, *c.ideal_px_from_world.ravel(), *c.distortion] for c in rig},
        "configuration": configuration,
        "detector": {
            "fingerprint": detector.fingerprint(),
            "offsets_m": detector.offsets_m,
            "view_bias": detector.view_bias.to_json() if detector.view_bias else None,
        },
        "hand_model": models,
    }


def _check_device(device: str) -> None:
    """Raise a HandgenError unless tensors can be put on `device`."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise HandgenError(
            f"--device {device}: cannot be used here ({reason}); use cpu, or cuda where torch has it"
        ) from None


def _fetch_files(options: Any) -> tuple[tuple[str, LocalCopy], ...]:
    """The files that a detector's options of kind "location" name, where they lie in a store."""
    return tuple((name, fetch(place)) for name, place in _locations(options).items() if not isinstance(place, Path))


def _lies_in(place: Location, folder: Location) -> bool:
    here, there = (str(each.resolve() if isinstance(each, Path) else each).rstrip("/") for each in (place, folder))
    return f"{here}/".startswith(f"{there}/")


def _locations(options: Any) -> dict[str, Location]:
    """The places that a detector's options of kind "location" name."""
    return {
        each.name: filesystem.location(getattr(options, each.name))
        for each, described in options_of(options)
        if described.kind == "location" and getattr(options, each.name)
    }
