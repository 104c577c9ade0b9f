"""The annotate stage: a capture -> annotations, chunk by chunk.

    1. detect      every chunk of frames -> detections/                   (parallel, resumable)
    2. subject     detections of chunks spread over the capture -> betas, cameras that moved, the scale if unknown
    3. fit         every chunk -> records, masks and cutouts in chunks/   (parallel, resumable)
    4. manifest    written last: the annotations are complete when it is there

A chunk's content depends on the capture, the configuration and the chunk's index alone, not on the number of processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

import torch

import handgen
from handgen.detect.base import Detector
from handgen.errors import HandgenError
from handgen.hand.model_files import load_hand
from handgen.io import annotations as store
from handgen.io.capture.capture import load_capture
from handgen.options import deciding_options
from handgen.progress import Progress
from handgen.runtime import reproducibility
from handgen.runtime.engine import Engine
from handgen.runtime.engines import create_engine
from handgen.runtime.local import one_thread
from handgen.stages.annotate.config import AnnotateConfig
from handgen.stages.annotate.detect import detect_chunk
from handgen.stages.annotate.fit import fit_chunk
from handgen.stages.annotate.job import Job, fetch_files
from handgen.stages.annotate.report import AnnotateReport, write_report
from handgen.stages.annotate.subject import estimate
from handgen.storage import filesystem
from handgen.storage.filesystem import Location
from handgen.storage.output import claim_output, invalidate_manifest


class _Done(Protocol):
    """What a unit gives back."""

    @property
    def index(self) -> int: ...


Result = TypeVar("Result", bound=_Done)

_PACKAGES = ("numpy", "scipy", "torch", "opencv", "simplejpeg", "ai-edge-litert")  # that make the bytes
_PREVIEWS = "previews"
_OWNED = (store.CHUNKS, store.DETECTIONS, _PREVIEWS)  # what a run writes besides run.json and manifest.json


def run(
    capture_path: Location,
    out: Location,
    config: AnnotateConfig,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> AnnotateReport:
    """Annotate the capture in folder `capture_path` into folder `out`.

    A rerun with the same configuration finishes what is missing. Raises HandgenError for what a user can fix.
    """
    began = time.perf_counter()
    show = progress or (lambda *_: None)
    check_device(config.device)
    if "://" in config.hand_model:
        raise HandgenError(f"{config.hand_model}: a hand model must be a file of this machine; copy it, both sides")
    capture = load_capture(
        capture_path,
        calibration=filesystem.location(config.calibration) if config.calibration else None,
        metres_per_unit=config.metres_per_unit,
        progress=partial(show, "fetch, MiB"),
    )
    if len(capture.rig) < config.min_views:
        raise HandgenError(
            f"{capture_path}: has {len(capture.rig)} of the {config.min_views} cameras that must see a hand "
            f"({', '.join(capture.rig.names)}); add calibrated cameras, or lower --min-views"
        )
    job = Job(capture, out, config, config.hands or capture.hands or "both", fetch_files(config.detector_options))
    if job.hands == "both" and config.hand_model.endswith(".npz") and "{side}" not in config.hand_model:
        raise HandgenError(
            f"{config.hand_model}: one file cannot be the model of both hands; put {{side}} where `left` or `right` "
            "goes in its name, or give --hands left or --hands right"
        )
    detector = job.detector()  # a missing network or keypoint file is said before anything is written
    models = {side: load_hand(config.hand_model, side).sha256 for side in job.sides}
    depends_on = _depends_on(job, detector, models)
    engine = create_engine(config.engine, config.workers, config.engine_options)
    with claim_output(out, store.KIND, depends_on, _OWNED, overwrite) as journal, one_thread():
        finished = store.finished_chunks(out, job.chunk_count, journal.entries)
        if len(finished) < job.chunk_count:
            invalidate_manifest(out)
        there = filesystem.sizes(out / store.DETECTIONS)
        detected = {index for index in range(job.chunk_count) if job.detections_path(index).name in there}
        for _ in _missing(job, engine, "detect", detected, partial(detect_chunk, job), show):
            pass
        estimated = estimate(job, detector, show)
        subject, job = estimated.subject, estimated.job
        written = 0
        for done in _missing(job, engine, "fit and segment", set(finished), partial(fit_chunk, job, subject), show):
            finished[done.index] = done.files
            journal.add(done.index, done.files)
            written += len(job.frames(done.index))
        report = write_report(job, estimated, finished, depends_on["configuration"], models)
    report = replace(report, written_frames=written, seconds=round(time.perf_counter() - began, 2))
    if config.preview:
        from handgen.stages.annotate.preview import write_previews

        rig = job.capture.rig.scaled(subject.metres_per_unit)
        previews = write_previews(capture, rig, out / _PREVIEWS, config.preview, partial(show, "preview"))
        report = replace(report, previews=tuple(previews))
    return report


def check_device(device: str) -> None:
    """Raise a HandgenError unless tensors can be put on `device`."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise HandgenError(
            f"--device {device}: cannot be used here ({reason}); use cpu, or cuda where torch has it"
        ) from None


def _depends_on(job: Job, detector: Detector, models: dict[str, str]) -> dict[str, Any]:
    """Everything that the content of the chunks depends on; where the capture lies is not of it."""
    configuration = deciding_options(job.config) | {"hands": job.hands, "subject": job.subject}
    rig = job.capture.rig
    return {
        "created_by": handgen.__version__,
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


def _missing(
    job: Job, engine: Engine, what: str, there: set[int], function: Callable[[int], Result], show: Progress
) -> Iterator[Result]:
    """Do the chunks that are not there yet, in parallel."""
    missing = [index for index in range(job.chunk_count) if index not in there]
    total = job.capture.frame_count
    done = total - sum(len(job.frames(index)) for index in missing)
    show(what, done, total)
    for result in engine.map_units(function, missing, len(missing)):
        done += len(job.frames(result.index))
        show(what, done, total)
        yield result
