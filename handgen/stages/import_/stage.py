"""The import stage: a data set in another project's format -> annotations, chunk by chunk.

    1. chunks      every chunk of frames -> records, masks and cutouts in chunks/    (parallel, resumable)
    2. manifest    written last: the annotations are complete when it is there

A chunk's content depends on the data set, the configuration and the chunk's index alone. Nothing is fetched, and
nothing is written anywhere but into the annotations.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from handgen.datasets.registry import get_format
from handgen.hand.model_files import load_hand
from handgen.io import annotations as store
from handgen.progress import Progress
from handgen.runtime.local import LocalEngine
from handgen.runtime.resumable_run import resumable_run
from handgen.stages.import_.chunk import IMPORTED, find_finished_chunks, import_units, take_new_pictures
from handgen.stages.import_.config import ImportConfig
from handgen.stages.import_.inputs import inputs_of_run, open_job
from handgen.stages.import_.manifest import build_manifest
from handgen.stages.import_.report import ImportReport
from handgen.storage.filesystem import Location

OWNED = (store.CHUNKS, IMPORTED)  # what a run writes besides run.json and manifest.json


def run(
    root: Path, out: Location, config: ImportConfig, progress: Progress | None = None, overwrite: bool = False
) -> ImportReport:
    """Make annotations of the data set in folder `root`.

    A rerun with the same configuration finishes what is missing. Raises HandgenError for what a user can fix.
    """
    began = time.perf_counter()
    job = open_job(root, out, config, progress or (lambda *_: None))
    models = {side: load_hand(job.hand_model, side).sha256 for side in get_format(config.format).sides}
    depends_on = inputs_of_run(job, models)
    engine = LocalEngine(config.workers)
    with resumable_run(out, store.KIND, depends_on, OWNED, overwrite, engine, progress, inputs=[root]) as resumable:
        finished = take_new_pictures(job, find_finished_chunks(job, resumable.noted), resumable)
        files = resumable.complete(import_units(job), finished)
        manifest, report = build_manifest(job, files, depends_on["configuration"], models)
        resumable.finish(manifest, store.MANIFEST_SCHEMA)
    return replace(report, written_frames=resumable.written, seconds=round(time.perf_counter() - began, 2))
