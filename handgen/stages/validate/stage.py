"""The validate stage: a place in, findings out.

    1. recognise   what lies there, by its files         `recognise`
    2. check       what that kind of thing can get wrong

Nothing is written.
"""

from __future__ import annotations

import time

from handgen.io.capture.capture import KIND as CAPTURE
from handgen.progress import Progress
from handgen.runtime.engines import create_engine
from handgen.stages.validate import exports
from handgen.stages.validate.captures import check_calibration, check_capture
from handgen.stages.validate.outputs import OUTPUTS, check_output, report_unfinished
from handgen.stages.validate.recognise import CALIBRATION, is_unfinished_export, recognise_kind
from handgen.stages.validate.report import ValidateReport
from handgen.storage.filesystem import Location


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
    kind = recognise_kind(path)
    engine = create_engine("local", workers)
    show = progress or (lambda *_: None)
    if kind == CALIBRATION:
        checked = check_calibration(path)
    elif kind == CAPTURE:
        checked = check_capture(path)
    elif kind in OUTPUTS:
        checked = check_output(path, kind, digests, pixels, engine, show)
    elif is_unfinished_export(path):
        checked = report_unfinished(path, "handgen export")
    else:
        checked = exports.check(path, kind, digests, pixels, engine, show)
    return ValidateReport.of(path, kind, checked, time.perf_counter() - began)
