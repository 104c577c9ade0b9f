"""The evaluate stage: annotations and their truth, or their capture -> figures, and a report to look at.

1. check     do both mean the same by their numbers?                     `conventions`
2. measure   every chunk of frames -> matched hands, arrays of errors    `against_truth`, `spans` (parallel)
3. leave one view out, if asked for                                      `leave_one_out` (parallel)
4. report    figures -> evaluation.json, plots, one page                 `page`
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from typing import Any

from handgen.errors import HandgenError
from handgen.io.annotations import Annotations
from handgen.options import deciding_options
from handgen.progress import Progress
from handgen.runtime.local import LocalEngine, limit_threads
from handgen.stages.evaluate.against_truth import measure_against_truth
from handgen.stages.evaluate.config import EvaluateConfig
from handgen.stages.evaluate.document import KIND
from handgen.stages.evaluate.leave_one_out import leave_one_out
from handgen.stages.evaluate.report import EvaluateReport
from handgen.stages.evaluate.results import source_of
from handgen.storage import filesystem, limits
from handgen.storage.documents import write_json
from handgen.storage.filesystem import Location
from handgen.storage.output import MANIFEST, invalidate_manifest, prepare_output, writing
from handgen.version import __version__

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
) -> EvaluateReport:
    """Measure the annotations in folder `annotations`.

    truth: annotations to measure against, or a capture that holds some in `truth/`. Without it `config.capture` must
    name the capture, to leave one view out. report_dir: where to write a page, plots and `evaluation.json`; overwrite:
    replace those of another run there. Raises HandgenError for what a user can fix.
    """
    if truth is None and config.capture is None:
        raise ValueError("run: give truth, or config.capture to leave one view out; neither leaves nothing to compare")
    began = time.perf_counter()
    annotated = Annotations(annotations)
    true = _open_truth(truth) if truth is not None else None
    engine = LocalEngine(config.workers)
    if report_dir is not None:
        inputs = [annotations, *([] if truth is None else [truth])]
        with writing(report_dir):
            prepare_output(report_dir, KIND, _inputs_of_run(annotated, true, config), OWNED, overwrite, inputs)
            invalidate_manifest(report_dir)
    report = EvaluateReport(source_of(annotated), None, config, ())
    if true is not None:
        report = measure_against_truth(annotated, true, config, engine, progress)
    if config.capture is not None:
        calibration = filesystem.location(config.calibration) if config.calibration else None
        with limit_threads():
            left_out = leave_one_out(annotations, filesystem.location(config.capture), calibration, engine, progress)
        report = replace(report, leave_one_out=left_out)
    report = replace(report, seconds=round(time.perf_counter() - began, 2))
    if report_dir is not None:
        from handgen.stages.evaluate.page import write_page

        with writing(report_dir):
            write_page(report, annotated, true, report_dir, progress or (lambda *_: None))
            write_json(report_dir / DOCUMENT, report.to_json(), KIND)
    return report


def _open_truth(path: Location) -> Annotations:
    """The truth in `path`, or in its folder `truth`. HandgenError when there is none."""
    root = path if filesystem.size_of(path / TRUTH / MANIFEST) is None else path / TRUTH
    if filesystem.size_of(root / MANIFEST) is None:
        raise HandgenError(
            f"{path}: holds no truth (no {MANIFEST}, no {TRUTH}/{MANIFEST}); give the folder that `handgen simulate` "
            "wrote, or annotations to compare with"
        )
    return Annotations(root)


def _inputs_of_run(annotated: Annotations, truth: Annotations | None, config: EvaluateConfig) -> dict[str, Any]:
    """Everything that the figures of a report depend on, as `run.json` keeps it."""

    def digest(source: Annotations) -> str:
        return hashlib.sha256(filesystem.read(source.root / MANIFEST, limits.JSON_TEXT)).hexdigest()

    return {
        "created_by": __version__,
        "annotations": digest(annotated),
        "truth": digest(truth) if truth else None,
        "configuration": deciding_options(config) | {"capture": config.capture is not None},
    }
