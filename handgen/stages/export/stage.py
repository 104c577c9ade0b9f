"""The export stage: shards or annotations -> another project's files.

1. count       pictures of every shard or chunk, which number the files       (parallel)
2. write       every shard or chunk -> pictures, and pieces of JSON files     (parallel, resumable)
3. finish      the pieces of JSON files are joined
4. manifest    written last: the export is complete when it is there
"""

from __future__ import annotations

import time
from dataclasses import replace

from handgen.datasets.registry import get_format
from handgen.datasets.source import open_source
from handgen.datasets.writer import PARTS, ExportJob
from handgen.progress import Progress
from handgen.runtime.engines import create_engine
from handgen.runtime.resumable_run import resumable_run
from handgen.stages.export import manifest as documents
from handgen.stages.export.config import ExportConfig, recorded_options
from handgen.stages.export.report import ExportReport
from handgen.stages.export.unit import UnitResult, count_units, export_units, finished_units, kept_pictures
from handgen.storage import filesystem
from handgen.storage.filesystem import Location


def run(
    source_path: Location,
    out: Location,
    config: ExportConfig,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> ExportReport:
    """Write the samples of shards, or the accepted views of annotations, as another project's data set.

    A rerun with the same options finishes what is missing. overwrite: replace another export in `out`.

    Raises HandgenError when the input or the directory `out` cannot be used.
    """
    began = time.perf_counter()
    source = open_source(source_path, config.split, config.include_rejected)
    job = ExportJob(source, out, config.format, config.format_options, config.model_is_mano)
    configuration = recorded_options(config) | {"split": source.split}
    depends_on = documents.inputs_of_run(source, configuration)
    engine = create_engine(config.engine, config.workers, config.engine_options)
    owned = documents.owned_files(out)
    with resumable_run(
        out, documents.KIND, depends_on, owned, overwrite, engine, progress, inputs=[source_path]
    ) as resumable:
        writer = get_format(config.format).create_writer(job)
        manifest = documents.whole_manifest(out, resumable.noted_as(UnitResult.from_json))
        if manifest is None:
            resumable.invalidate()
            counts = list(resumable.do(count_units(job)).values())
            kept = kept_pictures(job, writer, counts)
            results = resumable.complete(export_units(job, kept), finished_units(out, resumable))
            files = writer.finish([result.written for result in results])
            manifest = documents.build_manifest(job, configuration, writer, results, files, counts)
            resumable.finish(manifest, documents.MANIFEST_SCHEMA)
        writer.place(manifest)
        filesystem.remove(out / PARTS)
    report = documents.build_report(out, manifest)
    return replace(report, written_pictures=resumable.written, seconds=time.perf_counter() - began)
