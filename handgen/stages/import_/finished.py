"""What an earlier run of `import` left, and which of it must be made again, since pictures have arrived."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from handgen.io import annotations as store
from handgen.runtime.resumable_run import ResumableRun
from handgen.stages.import_.chunk import IMPORTED, ImportJob, imported_path, missing_picture, read_imported
from handgen.storage import filesystem

Chunks = dict[int, dict[str, Any]]  # by index what the manifest says of the files of a chunk


def find_finished_chunks(job: ImportJob, noted: Mapping[int, dict[str, Any]]) -> Chunks:
    """The chunks whose files are all there."""
    beside = filesystem.sizes(job.out / IMPORTED)
    found = store.find_finished_chunks(job.out, job.chunk_count, noted)
    return {index: files for index, files in found.items() if imported_path(job.out, index).name in beside}


def take_new_pictures(job: ImportJob, finished: Chunks, resumable: ResumableRun) -> Chunks:
    """The finished chunks but those that were written without pictures which are there now; these become incomplete.

    Raises HandgenError for the first picture that still is not there, unless that may be: before anything is changed.
    """
    root = Path(job.reader.root)
    arrived = set()
    for index in finished:
        paths = [root / name for name in read_imported(job.out, index)["missing"]]
        there = [path.is_file() for path in paths]
        if not job.config.skip_missing and not all(there):
            raise missing_picture(paths[there.index(False)])
        if any(there):
            arrived.add(index)
    if arrived:
        resumable.invalidate()
    for index in arrived:
        filesystem.remove_file(store.chunk_path(job.out, index, ".jsonl"))
    return {index: files for index, files in finished.items() if index not in arrived}
