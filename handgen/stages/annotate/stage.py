"""The annotate stage: a capture -> annotations, chunk by chunk.

    1. detect      every chunk of frames -> detections/                   (parallel, resumable)
    2. subject     detections of chunks spread over the capture -> betas, cameras that moved, the scale if unknown
    3. fit         every chunk -> records, masks and cutouts in chunks/   (parallel, resumable)
    4. manifest    written last: the annotations are complete when it is there

A chunk's content depends on the capture, the configuration and the chunk's index alone, not on the number of processes.
"""

from __future__ import annotations

import time
from dataclasses import replace

from handgen.hand.model_files import load_hand
from handgen.io import annotations as store
from handgen.progress import Progress
from handgen.runtime.engines import create_engine
from handgen.runtime.resumable_run import resumable_run
from handgen.stages.annotate.config import AnnotateConfig
from handgen.stages.annotate.detect import detect_units, detected_chunks
from handgen.stages.annotate.fit import fit_units
from handgen.stages.annotate.job import inputs_of_run, open_job
from handgen.stages.annotate.manifest import build_manifest
from handgen.stages.annotate.report import AnnotateReport
from handgen.stages.annotate.subject import estimate
from handgen.storage.filesystem import Location

PREVIEWS = "previews"
OWNED = (store.CHUNKS, store.DETECTIONS, PREVIEWS)  # what a run writes besides run.json and manifest.json


def run(
    capture_path: Location,
    out: Location,
    config: AnnotateConfig,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> AnnotateReport:
    """Annotate a capture into `out`, finishing what an earlier run left; HandgenError for what a user can fix."""
    began = time.perf_counter()
    show = progress or (lambda *_: None)
    job = open_job(capture_path, out, config, show)
    detector = job.detector()  # a missing network or keypoint file is said before anything is written
    models = {side: load_hand(config.hand_model, side).sha256 for side in job.sides}
    depends_on = inputs_of_run(job, detector, models)
    engine = create_engine(config.engine, config.workers, config.engine_options)
    with resumable_run(out, store.KIND, depends_on, OWNED, overwrite, engine, progress, inputs=job.inputs) as resumable:
        finished = store.find_finished_chunks(out, job.chunk_count, resumable.noted)
        if len(finished) < job.chunk_count:
            resumable.invalidate()
        resumable.do(detect_units(job), detected_chunks(job))
        estimated = estimate(job, detector, show)
        files = resumable.complete(fit_units(estimated), finished)
        manifest, report = build_manifest(estimated, files, depends_on["configuration"], models)
        resumable.finish(manifest, store.MANIFEST_SCHEMA)
    report = replace(report, written_frames=resumable.written, seconds=round(time.perf_counter() - began, 2))
    if config.preview:
        from handgen.stages.annotate.preview import write_previews

        previews = write_previews(job.capture, out / PREVIEWS, config.preview, lambda *done: show("preview", *done))
        report = replace(report, previews=tuple(previews))
    return report
