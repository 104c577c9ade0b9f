"""The stage: a directory in, findings out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from handgen.engines.base import create_engine
from handgen.errors import HandgenError
from handgen.io import annotations as store
from handgen.io import shards, storage
from handgen.io.output import MANIFEST, kind_of
from handgen.io.schema import read_json
from handgen.io.storage import Location
from handgen.progress import Progress
from handgen.validate import annotations as check_annotations
from handgen.validate import shards as check_shards
from handgen.validate.findings import Findings, Report

# kind -> schema of its manifest, what checks it, command that makes it
CHECKS: dict[str, tuple[str, Callable[..., tuple[Findings, dict[str, Any], list[str]]], str]] = {
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
    """Check a directory of shards or of annotations, without changing it.

    digests: recompute the SHA-256 of every file. pixels: decode every image of shards, too; otherwise its header is
    read. workers: processes, or None for one per core.

    Raises HandgenError when `path` is no such directory.
    """
    began = time.perf_counter()
    kind = kind_of(path)
    if kind not in CHECKS:
        what = f"holds {kind}" if kind else f"no output of handgen (no {MANIFEST})"
        raise HandgenError(f"{path}: {what}; give a directory of shards or of annotations")
    schema, check, command = CHECKS[kind]
    findings, facts, notes = Findings(), dict[str, Any](), list[str]()
    if storage.size_of(path / MANIFEST) is None:
        findings.add("unfinished", str(path), f"has no {MANIFEST}", f"run `{command}` again, which finishes it")
    else:
        try:
            manifest = read_json(path / MANIFEST, schema)
        except HandgenError as error:
            findings.add("manifest", f"{path / MANIFEST}", str(error), f"run `{command}` again")
        else:
            show = progress or (lambda *_: None)
            findings, facts, notes = check(path, manifest, digests, pixels, create_engine("local", workers), show)
    return Report(path, kind, findings, facts, tuple(notes), time.perf_counter() - began)
