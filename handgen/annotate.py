"""The annotate stage: a capture -> annotations, chunk by chunk.

    1. detect      every chunk of frames -> detections/                   (parallel, resumable)
    2. subject     detections of chunks spread over the capture -> betas, cameras that moved, the scale if unknown
    3. fit         every chunk -> records, masks and cutouts in chunks/   (parallel, resumable)
    4. manifest    written last: the annotations are complete when it is there

A chunk's content depends on the capture, the configuration and the chunk's index alone, not on the number of processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

import handgen
from handgen.chunks import fit_chunk
from handgen.config import AnnotateConfig
from handgen.detect.base import Detector
from handgen.detecting import detect_chunk
from handgen.engines.local import default_workers, map_units, one_thread
from handgen.errors import HandgenError
from handgen.estimate import estimate
from handgen.hand.assets import load_hand
from handgen.io import annotations as store
from handgen.io.capture import load_capture
from handgen.io.output import claim_output, writing
from handgen.job import Job
from handgen.progress import Progress
from handgen.report import AnnotateReport, write_report

_PREVIEWS = "previews"
_OWNED = (store.CHUNKS, store.DETECTIONS, _PREVIEWS)  # what a run writes besides run.json and manifest.json


def run(
    capture_path: Path,
    out: Path,
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
    capture = load_capture(
        capture_path,
        calibration=Path(config.calibration) if config.calibration else None,
        metres_per_unit=config.metres_per_unit,  # type: ignore[arg-type]
    )
    if len(capture.rig) < config.min_views:
        raise HandgenError(
            f"{capture_path}: has {len(capture.rig)} of the {config.min_views} cameras that must see a hand "
            f"({', '.join(capture.rig.names)}); add calibrated cameras, or lower --min-views"
        )
    job = Job(capture, out, config, config.hands or capture.hands or "both")
    if job.hands == "both" and config.hand_model.endswith(".npz") and "{side}" not in config.hand_model:
        raise HandgenError(
            f"{config.hand_model}: one file cannot be the model of both hands; put {{side}} where `left` or `right` "
            "goes in its name, or give --hands left or --hands right"
        )
    detector = job.detector()  # a missing network or keypoint file is said before anything is written
    models = {side: load_hand(config.hand_model, side).sha256 for side in job.sides}
    depends_on = _depends_on(job, detector, models)
    with writing(out), one_thread():
        claim_output(out, store.KIND, depends_on, _OWNED, overwrite)
        _for_missing(job, "detect", lambda index: job.detections_path(index).exists(), partial(detect_chunk, job), show)
        estimated = estimate(job, detector, show)
        subject, job = estimated.subject, estimated.job
        is_there = partial(store.chunk_is_complete, out)
        written = _for_missing(job, "fit and segment", is_there, partial(fit_chunk, job, subject), show)
        report = write_report(job, estimated, depends_on["configuration"], models)
    report = replace(report, written_frames=written, seconds=round(time.perf_counter() - began, 2))
    if config.preview:
        from handgen.preview import write_previews

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
    configuration = asdict(job.config) | {"hands": job.hands}
    for name in ("workers", "preview", "calibration", "keypoints"):
        configuration.pop(name)
    rig = job.capture.rig
    return {
        "created_by": handgen.__version__,
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


def _for_missing(
    job: Job, what: str, is_there: Callable[[int], bool], function: Callable[[int], int], show: Progress
) -> int:
    """Do the chunks that are not there yet, in parallel; returns how many frames that was."""
    missing = [index for index in range(job.chunk_count) if not is_there(index)]
    total = job.capture.frame_count
    there = done = total - sum(len(job.frames(index)) for index in missing)
    show(what, done, total)
    workers = min(job.config.workers or default_workers(), max(len(missing), 1))
    for frames in map_units(function, missing, workers):
        done += frames
        show(what, done, total)
    return done - there
