"""Checks of handgen's own directories: the manifest first, then the files that belong to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from handgen.errors import HandgenError
from handgen.io import annotations as store
from handgen.io import shards
from handgen.label_checks.findings import Checked, Findings
from handgen.progress import Progress
from handgen.runtime.engine import Engine
from handgen.stages.validate import annotations as check_annotations
from handgen.stages.validate import shards as check_shards
from handgen.storage import filesystem
from handgen.storage.documents import read_json
from handgen.storage.filesystem import Location
from handgen.storage.output import MANIFEST

# kind -> schema of its manifest, what checks it, command that makes it
OUTPUTS: dict[str, tuple[str, Callable[..., Checked], str]] = {
    shards.KIND: (shards.MANIFEST_SCHEMA, check_shards.check, "handgen synthesize"),
    store.KIND: (store.MANIFEST_SCHEMA, check_annotations.check, "handgen annotate"),
}


def check_output(path: Location, kind: str, digests: bool, pixels: bool, engine: Engine, show: Progress) -> Checked:
    """Check annotations or shards; without a readable manifest nothing else is looked at."""
    schema, check, command = OUTPUTS[kind]
    if filesystem.size_of(path / MANIFEST) is None:
        return report_unfinished(path, command)
    try:
        manifest = read_json(path / MANIFEST, schema)
    except HandgenError as error:
        return _report_one("manifest", str(path / MANIFEST), str(error), f"run `{command}` again")
    return check(path, manifest, digests, pixels, engine, show)


def report_unfinished(path: Location, command: str) -> Checked:
    """Say that a run of `command` has not come to its end there."""
    return _report_one("unfinished", str(path), f"has no {MANIFEST}", f"run `{command}` again, which finishes it")


def _report_one(kind: str, where: str, what: str, fix: str) -> Checked:
    findings = Findings()
    findings.add(kind, where, what, fix)
    return Checked(findings, dict[str, Any](), [])
