"""The annotate stage: a capture -> annotations, chunk by chunk.

    1. detect      every chunk of frames -> detections/                   (parallel, resumable)
    2. subject     detections of chunks spread over the capture -> betas, and the scale if it is unknown
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

import numpy as np
import torch

import handgen
from handgen.associate import Cluster, evenly
from handgen.chunks import Job, detect_chunk, fit_chunk, hands_of_frames
from handgen.config import AnnotateConfig
from handgen.detect.base import Detector
from handgen.engines.local import default_workers, map_units, one_thread
from handgen.errors import HandgenError
from handgen.fit.subject import Subject, fit_subject
from handgen.hand.assets import load_hand
from handgen.hand.layout import SIDES
from handgen.io import annotations as store
from handgen.io.capture import load_capture
from handgen.io.output import claim_output, writing
from handgen.progress import Progress
from handgen.report import AnnotateReport, write_report

_PREVIEWS = "previews"
_OWNED = (store.CHUNKS, store.DETECTIONS, _PREVIEWS)  # what a run writes besides run.json and manifest.json
_SUBJECT_CHUNKS = 32  # betas are fitted on frames of so many chunks, spread over the capture
_SUBJECT_FRAMES_PER_SIDE = 256
_SUBJECT_MAX_ERROR_SHARE = 0.05  # frames whose views disagree more teach the betas nothing


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
            f"({', '.join(capture.rig.names)}); add calibrated cameras, or lower --min-views (2 at least)"
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
        subject = _estimate_subject(job, detector, show)
        is_there = partial(store.chunk_is_complete, out)
        written = _for_missing(job, "fit and segment", is_there, partial(fit_chunk, job, subject), show)
        report = write_report(job, subject, depends_on["configuration"], models)
    report = replace(report, written_frames=written, seconds=round(time.perf_counter() - began, 2))
    if config.preview:
        from handgen.preview import write_previews

        rig = capture.rig.scaled(subject.metres_per_unit)
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


def _estimate_subject(job: Job, detector: Detector, show: Progress) -> Subject:
    """Betas, detector offsets and scale from the best frames of chunks spread over the capture."""
    chosen = np.unique(np.linspace(0, job.chunk_count - 1, min(job.chunk_count, _SUBJECT_CHUNKS)).round().astype(int))
    good: dict[str, list[Cluster]] = {side: [] for side in SIDES}
    for done, index in enumerate(chosen.tolist()):
        show("subject", done, len(chosen))
        for hand in hands_of_frames(job, job.frames(index)):
            found = [c for c in hand.clusters.values() if c.view_count >= job.config.min_views and not c.dissenting]
            good[hand.side] += [c for c in found if c.error_share < _SUBJECT_MAX_ERROR_SHARE]
    show("subject", len(chosen), len(chosen))
    picked = {side: evenly(found, _SUBJECT_FRAMES_PER_SIDE) for side, found in good.items() if found}
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
