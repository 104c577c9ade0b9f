"""The documents of an export (run.json and the manifest), whether those of an earlier run hold, and the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from handgen.datasets.registry import FORMATS, get_format
from handgen.datasets.source import Source
from handgen.datasets.writer import PARTS, ExportJob, File, Writer
from handgen.hand.model_files import MOST_BETA
from handgen.hand.skeleton import SIDES
from handgen.runtime import reproducibility
from handgen.stages.export.report import ExportReport
from handgen.stages.export.unit import UnitResult, folders_with_gaps
from handgen.storage import filesystem
from handgen.storage.documents import read_json, schema_version
from handgen.storage.filesystem import Location
from handgen.storage.output import MANIFEST, RUN, RUN_SCHEMA
from handgen.version import __version__
from handgen.wording import count_of

KIND, MANIFEST_SCHEMA = "export", "export_manifest"
_PACKAGES = ("numpy", "opencv", "simplejpeg")  # that make bytes
_LISTED_SUBJECTS = 100


def inputs_of_run(source: Source, configuration: dict[str, Any]) -> dict[str, Any]:
    """Everything that decides the bytes, wherever input and output lie."""
    return {
        "created_by": __version__,
        "computed": reproducibility.fingerprint(_PACKAGES),
        "source": source.sha256,
        "configuration": configuration,
    }


def owned_files(out: Location) -> tuple[str, ...]:
    """Patterns of the files that the export in `out` wrote and that go with it; others in its directory stay."""
    if filesystem.size_of(out / RUN) is None:
        return (PARTS,)
    found = read_json(out / RUN, RUN_SCHEMA)["depends_on"]
    format = str(found.get("configuration", {}).get("format")) if isinstance(found, dict) else ""
    return (PARTS, *(get_format(format).owned_files() if format in FORMATS.names() else ()))


def whole_manifest(out: Location, noted: Mapping[int, UnitResult]) -> dict[str, Any] | None:
    """The manifest, if there is one and all files are there; pictures are counted as far as the journal knows them."""
    if filesystem.size_of(out / MANIFEST) is None:
        return None
    manifest = read_json(out / MANIFEST, MANIFEST_SCHEMA)
    are_there = all(filesystem.size_of(out / file["name"]) == file["bytes"] for file in manifest["files"])
    return manifest if are_there and not folders_with_gaps(out, noted.values()) else None


def build_manifest(
    job: ExportJob,
    configuration: dict[str, Any],
    writer: Writer,
    results: Sequence[UnitResult],
    files: Sequence[File],
    counts: Sequence[dict[str, int]],
) -> dict[str, Any]:
    """The document of `export_manifest.schema.json`. counts: pictures of every unit by side, taken or not."""
    left_out: Counter[str] = Counter()
    betas: dict[str, float] = {}
    for result in results:
        left_out.update(result.written.left_out)
        betas = {name: max(result.betas.get(name, 0.0), betas.get(name, 0.0)) for name in betas | result.betas}
    if skipped := sum(sum(count.values()) - sum(count[side] for side in writer.sides) for count in counts):
        left_out[f"left hands: {writer.other_sides_option} takes them"] = skipped
    notes = writer.notes()
    if betas:
        subjects = count_of(len(betas), "subject")
        notes.append(
            f"{subjects} with a beta beyond {MOST_BETA:g} (up to {max(betas.values()):.2f}): written as it is, but "
            "HaMeR's loader then learns nothing from their parameters"
        )
    return {
        "kind": KIND,
        "format_version": schema_version(MANIFEST_SCHEMA),
        "created_by": __version__,
        "format": job.format,
        "source": {"kind": job.source.kind, "path": str(job.source.root), "sha256": job.source.sha256},
        "split": job.source.split,
        "configuration": configuration,
        "hand_models": dict(sorted(job.source.models.items())),
        "pictures": sum(result.pictures for result in results),
        "hands": sum(result.written.hands for result in results),
        "sides": {side: sum(result.sides[side] for result in results) for side in SIDES},
        "left_out": dict(sorted(left_out.items())),
        "betas_beyond_3": [
            {"subject": name, "largest": round(betas[name], 4)} for name in sorted(betas)[:_LISTED_SUBJECTS]
        ],
        "files": [asdict(file) for file in files],
        "notes": notes,
    }


def build_report(out: Location, manifest: dict[str, Any]) -> ExportReport:
    """The report of the whole export; what this run wrote and its seconds are not known yet."""
    return ExportReport(
        out=out,
        format=manifest["format"],
        pictures=manifest["pictures"],
        hands=manifest["hands"],
        sides=manifest["sides"],
        left_out=manifest["left_out"],
        files=len(manifest["files"]),
        bytes=sum(file["bytes"] for file in manifest["files"]),
        betas_beyond_3={entry["subject"]: entry["largest"] for entry in manifest["betas_beyond_3"]},
        notes=tuple(manifest["notes"]),
    )
