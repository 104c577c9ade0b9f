"""The inputs of a run of `annotate`: the capture, the model and the detector, checked before anything is written."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch

from handgen.detect.base import Detector
from handgen.errors import HandgenError
from handgen.hand.model_files import load_hand
from handgen.io.capture.capture import load_capture
from handgen.options import deciding_options, options_of
from handgen.progress import Progress
from handgen.runtime import reproducibility
from handgen.stages.annotate.config import AnnotateConfig
from handgen.stages.annotate.job import AnnotateJob
from handgen.storage import filesystem
from handgen.storage.filesystem import Location
from handgen.storage.local_copies import LocalCopy, fetch
from handgen.version import __version__

_PACKAGES = ("numpy", "scipy", "torch", "opencv", "simplejpeg", "ai-edge-litert")  # that make the bytes


def open_job(capture_path: Location, out: Location, config: AnnotateConfig, show: Progress) -> AnnotateJob:
    """Read the capture and check that the configuration suits it.

    Raises HandgenError naming what does not.
    """
    _check_device(config.device)
    if "://" in config.hand_model:
        raise HandgenError(f"{config.hand_model}: a hand model must be a file of this machine; copy it, both sides")
    capture = load_capture(
        capture_path,
        calibration=filesystem.location(config.calibration) if config.calibration else None,
        metres_per_unit=config.metres_per_unit,
        progress=partial(show, "fetch, MiB"),
    )
    if len(capture.cameras) < config.min_views:
        raise HandgenError(
            f"{capture_path}: has {len(capture.cameras)} of the {config.min_views} cameras that must see a hand "
            f"({', '.join(capture.cameras.names)}); add calibrated cameras, or lower --min-views"
        )
    job = AnnotateJob(
        capture, out, config, config.hands or capture.hands or "both", _fetch_files(config.detector_options)
    )
    if job.hands == "both" and config.hand_model.endswith(".npz") and "{side}" not in config.hand_model:
        raise HandgenError(
            f"{config.hand_model}: one file cannot be the model of both hands; put {{side}} where `left` or `right` "
            "goes in its name, or give --hands left or --hands right"
        )
    return job


def hand_model_digests(job: AnnotateJob) -> dict[str, str]:
    """SHA-256 of the hand model by side; HandgenError where it cannot be read."""
    return {side: load_hand(job.config.hand_model, side).sha256 for side in job.sides}


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
    places = {
        each.name: filesystem.location(getattr(options, each.name))
        for each, described in options_of(options)
        if described.kind == "location" and getattr(options, each.name)
    }
    return tuple((name, fetch(place)) for name, place in places.items() if not isinstance(place, Path))
