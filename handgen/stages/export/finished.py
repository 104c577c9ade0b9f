"""The state that an earlier run of `export` left: whether it is complete, and which units are finished."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from handgen.datasets.registry import FORMATS, get_format
from handgen.datasets.writer import PARTS
from handgen.runtime.resumable_run import ResumableRun
from handgen.stages.export.manifest import MANIFEST_SCHEMA
from handgen.stages.export.unit import UnitResult, unit_files
from handgen.storage import filesystem
from handgen.storage.documents import read_json
from handgen.storage.filesystem import Location
from handgen.storage.output import MANIFEST, RUN, RUN_SCHEMA


def owned_files(out: Location) -> tuple[str, ...]:
    """Patterns of the files that the export in `out` wrote and that go with it; others in its directory stay."""
    if filesystem.size_of(out / RUN) is None:
        return (PARTS,)
    found = read_json(out / RUN, RUN_SCHEMA)["depends_on"]
    format = str(found.get("configuration", {}).get("format")) if isinstance(found, dict) else ""
    return (PARTS, *(get_format(format).owned_files() if format in FORMATS.names() else ()))


def whole_manifest(out: Location, noted: Mapping[int, dict[str, Any]]) -> dict[str, Any] | None:
    """The manifest, if there is one and all files are there; pictures are counted as far as the journal knows them."""
    if filesystem.size_of(out / MANIFEST) is None:
        return None
    manifest = read_json(out / MANIFEST, MANIFEST_SCHEMA)
    are_there = all(filesystem.size_of(out / file["name"]) == file["bytes"] for file in manifest["files"])
    return manifest if are_there and not _folders_with_gaps(out, map(UnitResult.from_json, noted.values())) else None


def finished_units(out: Location, resumable: ResumableRun) -> dict[int, UnitResult]:
    """The units that an earlier run finished, and whose files are still there."""
    results = {unit: UnitResult.from_json(document) for unit, document in resumable.noted.items()}
    found = resumable.in_place(results, unit_files)
    gaps = _folders_with_gaps(out, found.values())
    return {unit: result for unit, result in found.items() if not gaps & result.written.pictures.keys()}


def _folders_with_gaps(out: Location, results: Iterable[UnitResult]) -> set[str]:
    """Folders that have fewer files than pictures were written there."""
    counts: Counter[str] = Counter()
    for result in results:
        counts.update(result.written.pictures)
    return {folder for folder, count in counts.items() if sum(1 for _ in filesystem.names(out / folder)) < count}
