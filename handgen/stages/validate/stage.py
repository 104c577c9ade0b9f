"""The stage: recognise a place by its files, and check what is there."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from handgen.datasets.registry import FORMATS
from handgen.errors import HandgenError
from handgen.io import annotations as store
from handgen.io import shards
from handgen.io.calibration_files.registry import SUFFIXES
from handgen.io.capture.camera_files import list_sources
from handgen.io.capture.capture import KIND as CAPTURE
from handgen.label_checks.findings import Checked, Findings, Report
from handgen.media.video import VIDEO_SUFFIXES
from handgen.progress import Progress
from handgen.runtime.engine import Engine
from handgen.runtime.engines import create_engine
from handgen.stages.validate import annotations as check_annotations
from handgen.stages.validate import exports
from handgen.stages.validate import shards as check_shards
from handgen.stages.validate.captures import check_calibration, check_capture
from handgen.storage import filesystem
from handgen.storage.documents import read_json
from handgen.storage.filesystem import Location
from handgen.storage.output import MANIFEST, RUN, kind_of

CALIBRATION = "calibration"
# kind -> schema of its manifest, what checks it, command that makes it
CHECKS: dict[str, tuple[str, Callable[..., Checked], str]] = {
    shards.KIND: (shards.MANIFEST_SCHEMA, check_shards.check, "handgen synthesize"),
    store.KIND: (store.MANIFEST_SCHEMA, check_annotations.check, "handgen annotate"),
}


def run(
    path: Location,
    digests: bool = False,
    pixels: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Check a capture, a calibration, annotations, shards or an export, without changing it.

    digests: recompute the SHA-256 of every file. pixels: decode every picture and mask; otherwise of each part of a set
    some. workers: processes, or None for one per core.

    Raises HandgenError when `path` is none of these, or has a COCO file that is too large.
    """
    began = time.perf_counter()
    kind = recognise(path)
    engine = create_engine("local", workers)
    show = progress or (lambda *_: None)
    if kind == CALIBRATION:
        checked = check_calibration(path)
    elif kind == CAPTURE:
        checked = check_capture(path)
    elif kind in CHECKS:
        checked = _check_output(path, kind, digests, pixels, engine, show)
    elif _is_unfinished(path):
        checked = Checked(Findings(), dict[str, Any](), [])
        checked.findings.add("unfinished", str(path), f"has no {MANIFEST}", "run `handgen export` again, to finish it")
    else:
        checked = exports.check(path, kind, digests, pixels, engine, show)
    seconds = time.perf_counter() - began
    return Report(path, kind, checked.findings, checked.facts, tuple(checked.notes), seconds, dict(checked.looked_at))


def recognise(path: Location) -> str:
    """The kind of a place: a key of `CHECKS`, "capture", "calibration", or the name of an export's format.

    Raises HandgenError when it is none of these.
    """
    if isinstance(path, Path) and path.is_file():
        return CALIBRATION
    kind = kind_of(path)
    if kind in CHECKS:
        return kind
    if kind == exports.KIND and (said := _stated_format(path)) is not None:
        return said
    if (export := exports.recognise_format(path)) is not None:
        return export
    names = set(filesystem.names(path)) if filesystem.is_folder(path) else set()
    has_videos = any(name.lower().endswith(VIDEO_SUFFIXES) for name in names)
    if kind == CAPTURE or "capture.json" in names or has_videos or (isinstance(path, Path) and list_sources(path)):
        return CAPTURE
    if any(name.lower().endswith(SUFFIXES) or name == "camera_parameters" for name in names):
        return CALIBRATION
    what = f"holds {kind}" if kind else f"no output of handgen (no {MANIFEST})"
    raise HandgenError(
        f"{path}: {what}, no capture, no calibration and no export; give one of these "
        f"(exports: {', '.join(FORMATS.names())})"
    )


def _stated_format(path: Location) -> str | None:
    """The format that an export by handgen says it is in, finished or not."""
    for name in (RUN, MANIFEST):
        with suppress(HandgenError, KeyError, TypeError):
            document = read_json(path / name)
            said = document["depends_on"]["configuration"]["format"] if name == RUN else document["format"]
            return said if said in FORMATS.names() else None
    return None


def _is_unfinished(path: Location) -> bool:
    """Whether a run of `handgen export` has not come to its end there."""
    return kind_of(path) == exports.KIND and filesystem.size_of(path / MANIFEST) is None


def _check_output(path: Location, kind: str, digests: bool, pixels: bool, engine: Engine, show: Progress) -> Checked:
    """Check a directory of handgen's: its manifest first, then the files that belong to it."""
    schema, check, command = CHECKS[kind]
    findings = Findings()
    if filesystem.size_of(path / MANIFEST) is None:
        findings.add("unfinished", str(path), f"has no {MANIFEST}", f"run `{command}` again, which finishes it")
        return Checked(findings, dict[str, Any](), [])
    try:
        manifest = read_json(path / MANIFEST, schema)
    except HandgenError as error:
        findings.add("manifest", f"{path / MANIFEST}", str(error), f"run `{command}` again")
        return Checked(findings, dict[str, Any](), [])
    return check(path, manifest, digests, pixels, engine, show)
