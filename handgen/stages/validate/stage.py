"""The validate stage: a place in, findings out; nothing is written. What lies there is told by its files."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from handgen.datasets.registry import FORMATS
from handgen.errors import HandgenError
from handgen.io import annotations as store
from handgen.io import shards
from handgen.io.calibration_files.registry import calibration_suffixes
from handgen.io.capture.camera_files import list_sources
from handgen.io.capture.capture import KIND as CAPTURE
from handgen.label_checks.findings import Checked, Findings
from handgen.media.video import VIDEO_SUFFIXES
from handgen.progress import Progress
from handgen.runtime.engines import Engine, create_engine
from handgen.stages.validate import annotations as check_annotations
from handgen.stages.validate import exports
from handgen.stages.validate import shards as check_shards
from handgen.stages.validate.captures import check_calibration, check_capture
from handgen.stages.validate.report import ValidateReport
from handgen.storage import filesystem
from handgen.storage.documents import read_json
from handgen.storage.filesystem import Location
from handgen.storage.output import MANIFEST, RUN, kind_of

CALIBRATION = "calibration"
# kind -> schema of its manifest, what checks it, command that makes it
OUTPUTS: dict[str, tuple[str, Callable[..., Checked], str]] = {
    shards.KIND: (shards.MANIFEST_SCHEMA, check_shards.check, "handgen synthesize"),
    store.KIND: (store.MANIFEST_SCHEMA, check_annotations.check, "handgen annotate"),
}


def run(
    path: Location,
    digests: bool = False,
    pixels: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> ValidateReport:
    """Check a capture, a calibration, annotations, shards or an export, without changing it.

    digests: recompute the SHA-256 of every file. pixels: decode every picture and mask; otherwise of each part of a set
    some. workers: processes, or None for one per core.

    Raises HandgenError when `path` is none of these, or has a COCO file that is too large.
    """
    began = time.perf_counter()
    kind = _recognise_kind(path)
    engine = create_engine("local", workers)
    show = progress or (lambda *_: None)
    if kind == CALIBRATION:
        checked = check_calibration(path)
    elif kind == CAPTURE:
        checked = check_capture(path)
    elif kind in OUTPUTS:
        checked = _check_output(path, kind, digests, pixels, engine, show)
    elif kind_of(path) == exports.KIND and filesystem.size_of(path / MANIFEST) is None:
        checked = _report_unfinished(path, "handgen export")
    else:
        checked = exports.check(path, kind, digests, pixels, engine, show)
    findings, seconds = checked.findings, time.perf_counter() - began
    return ValidateReport(path, kind, findings, checked.facts, tuple(checked.notes), seconds, dict(findings.looked_at))


def _recognise_kind(path: Location) -> str:
    """The kind of a place, a format's name for exports. Raises HandgenError when it is none that is checked."""
    if isinstance(path, Path) and not path.is_dir():
        if path.suffix.lower() in VIDEO_SUFFIXES:
            raise HandgenError(f"{path}: a video; give the folder of the capture, which holds one per camera")
        if path.is_file():
            return CALIBRATION
        raise HandgenError(f"{path}: no such file or folder; correct the path")
    kind = kind_of(path)
    if kind in OUTPUTS:
        return kind
    if kind == exports.KIND and (stated := _stated_format(path)) is not None:
        return stated
    if (export := exports.recognise_format(path)) is not None:
        return export
    names = set(filesystem.list_names(path)) if filesystem.is_folder(path) else set()
    has_videos = any(name.lower().endswith(VIDEO_SUFFIXES) for name in names)
    if kind == CAPTURE or "capture.json" in names or has_videos or (isinstance(path, Path) and list_sources(path)):
        return CAPTURE
    if any(name.lower().endswith(calibration_suffixes()) or name == "camera_parameters" for name in names):
        return CALIBRATION
    if not names and not isinstance(path, Path):
        raise HandgenError(f"{path}: nothing is there; correct the path")
    what = f"holds {kind}" if kind else f"no output of handgen (no {MANIFEST})"
    raise HandgenError(
        f"{path}: {what}, no capture, no calibration and no export; give one of these "
        f"(exports: {', '.join(FORMATS.names())})"
    )


def _stated_format(path: Location) -> str | None:
    """The format that an export by handgen, finished or not, says it is in."""
    for name in (RUN, MANIFEST):
        with suppress(HandgenError, KeyError, TypeError):
            document = read_json(path / name)
            stated = document["depends_on"]["configuration"]["format"] if name == RUN else document["format"]
            return stated if stated in FORMATS.names() else None
    return None


def _check_output(path: Location, kind: str, digests: bool, pixels: bool, engine: Engine, show: Progress) -> Checked:
    """Check annotations or shards; without a readable manifest nothing else is looked at."""
    schema, check, command = OUTPUTS[kind]
    if filesystem.size_of(path / MANIFEST) is None:
        return _report_unfinished(path, command)
    try:
        manifest = read_json(path / MANIFEST, schema)
    except HandgenError as error:
        return _report_one("manifest", str(path / MANIFEST), str(error), f"run `{command}` again")
    return check(path, manifest, digests, pixels, engine, show)


def _report_unfinished(path: Location, command: str) -> Checked:
    return _report_one("unfinished", str(path), f"has no {MANIFEST}", f"run `{command}` again, which finishes it")


def _report_one(kind: str, where: str, what: str, fix: str) -> Checked:
    findings = Findings()
    findings.add(kind, where, what, fix)
    return Checked(findings, {})
