"""The evaluate stage: annotations and their truth, or their capture -> figures, and a report to look at.

1. check     do both mean the same by their numbers?                     `conventions`
2. measure   every chunk of frames -> matched hands, arrays of errors    `spans` (parallel)
3. leave one view out, if asked for                                      `leave_one_out` (parallel)
4. report    figures -> evaluation.json, plots, one page                 `page`
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from functools import partial
from typing import Any

import handgen
from handgen.errors import HandgenError
from handgen.hand.model_files import load_hand
from handgen.hand.skeleton import SIDES
from handgen.io.annotations import Annotations
from handgen.options import deciding_options
from handgen.progress import Progress
from handgen.runtime.local import default_workers, map_units, one_thread
from handgen.stages.evaluate.config import EvaluateConfig
from handgen.stages.evaluate.conventions import check_conventions
from handgen.stages.evaluate.leave_one_out import leave_one_out
from handgen.stages.evaluate.pairing import Span, common_spans, covered_frames
from handgen.stages.evaluate.report import KIND, SCHEMA, Report
from handgen.stages.evaluate.results import Source
from handgen.stages.evaluate.spans import Job, SpanResult, measure_span
from handgen.stages.evaluate.summary import summarise
from handgen.storage import filesystem
from handgen.storage.documents import write_json
from handgen.storage.filesystem import Location
from handgen.storage.output import MANIFEST, invalidate_manifest, prepare_output, writing

TRUTH = "truth"  # where a simulated capture keeps it
DOCUMENT = "evaluation.json"
OWNED = (DOCUMENT, "report.html", "plots", "worst")  # what a run writes besides run.json


def run(
    annotations: Location,
    truth: Location | None,
    config: EvaluateConfig,
    progress: Progress | None = None,
    report_dir: Location | None = None,
    overwrite: bool = False,
) -> Report:
    """Measure the annotations in folder `annotations`.

    truth: annotations to measure against, or a capture that holds some in `truth/`. Without it `config.capture` must
    name the capture, to leave one view out. report_dir: where to write a page, plots and `evaluation.json`; overwrite:
    replace those of another run there. Raises HandgenError for what a user can fix.
    """
    if truth is None and config.capture is None:
        raise ValueError("run: give truth, or config.capture to leave one view out; neither leaves nothing to compare")
    began = time.perf_counter()
    annotated = Annotations(annotations)
    true = open_truth(truth) if truth is not None else None
    if report_dir is not None:
        with writing(report_dir):
            prepare_output(report_dir, KIND, _depends_on(annotated, true, config), OWNED, overwrite)
            invalidate_manifest(report_dir)
    report = Report(source_of(annotated), None, config, ())
    if true is not None:
        report = _against_truth(annotated, true, config, progress)
    if config.capture is not None:
        workers = config.workers or default_workers()
        calibration = filesystem.location(config.calibration) if config.calibration else None
        with one_thread():
            left_out = leave_one_out(annotations, filesystem.location(config.capture), calibration, workers, progress)
        report = replace(report, leave_one_out=left_out)
    report = replace(report, seconds=round(time.perf_counter() - began, 2))
    if report_dir is not None:
        from handgen.stages.evaluate.page import write_page

        with writing(report_dir):
            write_page(report, annotated, true, report_dir, partial(progress, "report") if progress else None)
            write_json(report_dir / DOCUMENT, report.to_json(), SCHEMA)
    return report


def open_truth(path: Location) -> Annotations:
    """The truth in `path`, or in its folder `truth`. HandgenError when there is none."""
    root = path if filesystem.size_of(path / TRUTH / MANIFEST) is None else path / TRUTH
    if filesystem.size_of(root / MANIFEST) is None:
        raise HandgenError(
            f"{path}: holds no truth (no {MANIFEST}, no {TRUTH}/{MANIFEST}); give the folder that `handgen simulate` "
            "wrote, or annotations to compare with"
        )
    return Annotations(root)


def source_of(annotations: Annotations) -> Source:
    """What the report says of a directory."""
    manifest = annotations.manifest
    return Source(
        path=str(annotations.root),
        capture=manifest["capture"]["path"],
        hand_model=manifest["hand_model"]["name"],
        frame_count=manifest["capture"]["frame_count"],
        fps=manifest["capture"]["fps"],
        cameras=annotations.rig.names,
    )


def _against_truth(
    annotated: Annotations, truth: Annotations, config: EvaluateConfig, progress: Progress | None
) -> Report:
    show = progress or (lambda *_: None)
    spans = common_spans(annotated, truth)
    options = (config.match_distance_mm, config.include_rejected, config.align_world)
    conventions = check_conventions(annotated, truth, spans, *options)
    cameras, camera_notes = _common_cameras(annotated, truth)
    model_notes = _model_notes(annotated, truth)
    job = Job(annotated.root, truth.root, config, cameras, not model_notes, conventions.truth_from_annotated)
    results: dict[int, SpanResult] = {}
    total, done = sum(len(span.frames) for span in spans), 0
    show("measure", 0, total)
    workers = max(1, min(config.workers or default_workers(), len(spans)))
    for index, result in map_units(partial(_numbered, job), list(enumerate(spans)), workers):
        results[index] = result
        done += result.frames
        show("measure", done, total)
    report = Report(
        annotations=source_of(annotated),
        truth=source_of(truth),
        config=config,
        notes=(*_frame_notes(annotated, truth, spans), *conventions.notes, *camera_notes, *model_notes),
    )
    return summarise(report, annotated, truth, job, [results[index] for index in sorted(results)])


def _numbered(job: Job, item: tuple[int, Span]) -> tuple[int, SpanResult]:
    index, span = item
    return index, measure_span(job, span)


def frames_outside(annotated: Annotations, truth: Annotations, spans: list[Span]) -> tuple[int, int]:
    """How many frames only the annotations cover, and how many only the truth."""
    common = sum(len(span.frames) for span in spans)
    counts = [sum(len(frames) for frames in covered_frames(source)) for source in (annotated, truth)]
    return counts[0] - common, counts[1] - common


def _frame_notes(annotated: Annotations, truth: Annotations, spans: list[Span]) -> list[str]:
    """What the two directories do not have in common in time."""
    notes = []
    captures = [source.manifest["capture"]["path"] for source in (annotated, truth)]
    if captures[0] != captures[1]:
        notes.append(
            f"the annotations are of the capture {captures[0]!r}, the truth of {captures[1]!r}: are they the same?"
        )
    mine, true = frames_outside(annotated, truth, spans)
    common = sum(len(span.frames) for span in spans)
    if mine or true:
        notes.append(
            f"compared on the {common} frames that both cover; {mine} only in the annotations, {true} only in the truth"
        )
    fps = [source.manifest["capture"]["fps"] for source in (annotated, truth)]
    if None not in fps and abs(fps[0] - fps[1]) > 1e-3 * fps[1]:
        notes.append(
            f"the annotations are of {fps[0]:g} frames/s, the truth of {fps[1]:g}: are they frames of the same moments?"
        )
    return notes


def _common_cameras(annotated: Annotations, truth: Annotations) -> tuple[tuple[str, ...], list[str]]:
    """Cameras that see the same picture in both, and what is left out."""
    notes, names = [], []
    for camera in truth.rig:
        if camera.name not in annotated.rig.names:
            continue
        size_px = annotated.rig[camera.name].size_px
        if size_px == camera.size_px:
            names.append(camera.name)
        else:
            notes.append(
                f"camera {camera.name}: pictures of {size_px[0]}x{size_px[1]} in the annotations, "
                f"{camera.size_px[0]}x{camera.size_px[1]} in the truth; left out of 2D errors and masks"
            )
    for what, ours, theirs in (("annotations", annotated, truth), ("truth", truth, annotated)):
        lone = [name for name in ours.rig.names if name not in theirs.rig.names]
        if lone:
            notes.append(f"only the {what} have camera {', '.join(lone)}: left out of 2D errors and masks")
    return tuple(names), notes


def _model_notes(annotated: Annotations, truth: Annotations) -> list[str]:
    """Why surfaces cannot be compared, if they cannot."""
    notes = []
    for what, source in (("annotations", annotated), ("truth", truth)):
        told = source.manifest["hand_model"]["sha256"]
        for side in (side for side in SIDES if side in told):
            try:
                found = load_hand(source.hand_model, side).sha256
            except HandgenError as error:
                notes.append(f"surfaces are not compared: the {what}' {side} hand model cannot be read ({error})")
                continue
            if found != told[side]:
                notes.append(
                    f"surfaces are not compared: the {side} hand model {source.hand_model} is not the one that the "
                    f"{what} were made with (SHA-256 {found[:12]} now, {told[side][:12]} then)"
                )
    return notes


def _depends_on(annotated: Annotations, truth: Annotations | None, config: EvaluateConfig) -> dict[str, Any]:
    """What the figures of a report depend on."""

    def digest(source: Annotations) -> str:
        return hashlib.sha256(filesystem.read(source.root / MANIFEST)).hexdigest()

    return {
        "created_by": handgen.__version__,
        "annotations": digest(annotated),
        "truth": digest(truth) if truth else None,
        "configuration": deciding_options(config) | {"capture": config.capture is not None},
    }
