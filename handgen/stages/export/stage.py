"""The stage: shards or annotations in, another project's files out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np

from handgen import __version__
from handgen.datasets.writer import PARTS, File, Job, Writer
from handgen.errors import HandgenError
from handgen.hand.model_files import MOST_BETA
from handgen.hand.skeleton import SIDES
from handgen.options import deciding_options
from handgen.progress import Progress
from handgen.runtime import reproducibility
from handgen.runtime.engine import Engine
from handgen.runtime.engines import create_engine
from handgen.stages.export.config import ExportConfig
from handgen.stages.export.sources import Source, open_source
from handgen.stages.export.unit import WRITERS, UnitResult, export_unit
from handgen.storage import filesystem
from handgen.storage.documents import read_json, schema_version, write_json
from handgen.storage.filesystem import Location
from handgen.storage.journal import Journal
from handgen.storage.output import MANIFEST, RUN, RUN_SCHEMA, claim_output, invalidate_manifest

KIND, MANIFEST_SCHEMA = "export", "export_manifest"
OWNED: dict[str, tuple[str, ...]] = {  # what an export of each format has besides run.json and manifest.json
    "hamer": ("[0-9][0-9][0-9][0-9][0-9][0-9].tar", "dataset.yaml"),
    "freihand": ("training", "training_*.json"),
    "coco": ("images", "annotations"),
    "interhand": ("images", "annotations"),
}
_PACKAGES = ("numpy", "opencv", "simplejpeg")  # that make bytes
_LISTED_SUBJECTS = 100


@dataclass(frozen=True)
class Report:
    """What a run did. pictures, hands, sides, left_out (hands, by reason): of the whole export.

    written_pictures: by this run. betas_beyond_3: subjects with a beta beyond 3 and the largest.
    """

    out: Location
    format: str
    pictures: int
    hands: int
    sides: dict[str, int]
    left_out: dict[str, int]
    files: int
    bytes: int
    betas_beyond_3: dict[str, float]
    written_pictures: int
    seconds: float
    notes: tuple[str, ...] = field(default=())

    @property
    def pictures_per_s(self) -> float:
        """Of what this run wrote."""
        return self.written_pictures / max(self.seconds, 1e-9)

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self) | {
            "out": str(self.out),
            "seconds": round(self.seconds, 3),
            "pictures_per_s": round(self.pictures_per_s, 2),
        }


def run(
    source_path: Location,
    out: Location,
    config: ExportConfig,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Report:
    """Write the samples of shards, or the accepted views of annotations, as another project's data set.

    A rerun with the same options finishes what is missing. overwrite: replace another export in `out`.

    Raises HandgenError when the input or the directory `out` cannot be used.
    """
    began = time.perf_counter()
    show = progress or (lambda *_: None)
    source = open_source(source_path, config.split, config.include_rejected)
    job = Job(source, out, config)
    engine = create_engine(config.engine, config.workers, config.engine_options)
    with claim_output(out, KIND, _depends_on(job), _owned(out), overwrite) as journal:
        writer, new = WRITERS[config.format](job), 0
        finished = _finished(out, journal)
        if finished is None:
            finished, new = _export(job, writer, engine, journal, show)
            writer.place(finished)
            write_json(out / MANIFEST, finished, MANIFEST_SCHEMA)
        else:
            writer.place(finished)
        filesystem.remove(out / PARTS)
    return Report(
        out=out,
        format=config.format,
        pictures=finished["pictures"],
        hands=finished["hands"],
        sides=finished["sides"],
        left_out=finished["left_out"],
        files=len(finished["files"]),
        bytes=sum(file["bytes"] for file in finished["files"]),
        betas_beyond_3={entry["subject"]: entry["largest"] for entry in finished["betas_beyond_3"]},
        written_pictures=new,
        seconds=time.perf_counter() - began,
        notes=tuple(finished["notes"]),
    )


def _owned(out: Location) -> tuple[str, ...]:
    """What the export that is there wrote, and may be removed with it: other files in its directory stay."""
    if filesystem.size_of(out / RUN) is None:
        return (PARTS,)
    found = read_json(out / RUN, RUN_SCHEMA)["depends_on"]
    format = found.get("configuration", {}).get("format") if isinstance(found, dict) else None
    return (PARTS, *OWNED.get(str(format), ()))


def _finished(out: Location, journal: Journal) -> dict[str, Any] | None:
    """The manifest, if there is one and all files are there; pictures are counted as far as the journal knows them."""
    if filesystem.size_of(out / MANIFEST) is None:
        return None
    manifest = read_json(out / MANIFEST, MANIFEST_SCHEMA)
    there = all(filesystem.size_of(out / file["name"]) == file["bytes"] for file in manifest["files"])
    noted = [UnitResult.from_json(document).written.pictures for document in journal.entries.values()]
    return manifest if there and not _short_of_pictures(out, noted) else None


def _short_of_pictures(out: Location, noted: Iterable[dict[str, int]]) -> set[str]:
    """Folders that have fewer files than were written there."""
    counts: Counter[str] = Counter()
    for pictures in noted:
        counts.update(pictures)
    return {folder for folder, count in counts.items() if sum(1 for _ in filesystem.names(out / folder)) < count}


def _depends_on(job: Job) -> dict[str, Any]:
    """What decides the bytes; where input and output lie is not of it."""
    return {
        "created_by": __version__,
        "computed": reproducibility.fingerprint(_PACKAGES),
        "source": job.source.sha256,
        "configuration": deciding_options(job.config) | {"split": job.source.split},
    }


def _export(job: Job, writer: Writer, engine: Engine, journal: Journal, show: Progress) -> tuple[dict[str, Any], int]:
    """Everything but the manifest, which it returns, and how many pictures were written now."""
    counts = _counts(job, engine, show)
    kept = [sum(count[side] for side in writer.sides) for count in counts]
    total, done = sum(kept), 0
    if not total:
        there = ", ".join(f"{sum(count[side] for count in counts)} {side}" for side in SIDES)
        mirror = job.config.format == "freihand" and any(count["left"] for count in counts)  # or they would be kept
        hint = "give --mirror-left" if mirror else "annotate more, or see --include-rejected"
        raise HandgenError(f"{job.source.root}: nothing to write ({there} hands in all); {hint}")
    firsts = np.concatenate([[0], np.cumsum(kept)]).tolist()
    results = _there(job, journal)
    done = sum(result.pictures for result in results.values())
    new = 0
    invalidate_manifest(job.out)
    show("writing", done, total)
    missing = [(unit, firsts[unit]) for unit in range(len(kept)) if unit not in results]
    for result in engine.map_units(partial(export_unit, job), missing, len(missing)):
        results[result.unit] = result
        journal.add(result.unit, result.to_json())
        new += result.pictures
        show("writing", done + new, total)
    ordered = [results[unit] for unit in range(len(kept))]
    files = writer.finish([result.written for result in ordered])
    skipped = sum(map(sum, map(dict.values, counts))) - total
    return _manifest(job, writer, ordered, files, skipped), new


def _counts(job: Job, engine: Engine, show: Progress) -> list[dict[str, int]]:
    """Pictures of every unit by side: the number of a picture is that of those before it."""
    counts: dict[int, dict[str, int]] = {}
    units = range(job.source.units)
    if len(units):
        show("counting", 0, len(units))
        for unit, count in engine.map_units(partial(_count, job.source), units, len(units)):
            counts[unit] = count
            show("counting", len(counts), len(units))
    return [counts[unit] for unit in units]


def _count(source: Source, unit: int) -> tuple[int, dict[str, int]]:
    return unit, source.count(unit)


def _there(job: Job, journal: Journal) -> dict[int, UnitResult]:
    """Units that an earlier run finished, and whose files are still there."""
    found = {}
    parts, whole = filesystem.sizes(job.out / PARTS), filesystem.sizes(job.out)
    for unit, document in journal.entries.items():
        result = UnitResult.from_json(document)
        sizes = {file.name: file.bytes for file in result.written.files}
        if result.written.parts.items() <= parts.items() and sizes.items() <= whole.items():
            found[unit] = result
    short = _short_of_pictures(job.out, [result.written.pictures for result in found.values()])
    return {unit: result for unit, result in found.items() if not short & result.written.pictures.keys()}


def _manifest(
    job: Job, writer: Writer, results: Sequence[UnitResult], files: Sequence[File], skipped: int
) -> dict[str, Any]:
    """As in `export_manifest.schema.json`."""
    left_out: Counter[str] = Counter()
    betas: dict[str, float] = {}
    for result in results:
        left_out.update(result.written.left_out)
        betas = {name: max(result.betas.get(name, 0.0), betas.get(name, 0.0)) for name in betas | result.betas}
    if skipped:
        left_out["left hands: --mirror-left takes them"] = skipped
    notes = writer.notes()
    if betas:
        notes.append(
            f"{len(betas)} subjects have a beta beyond {MOST_BETA:g} (up to {max(betas.values()):.2f}): written as it "
            "is, but HaMeR's loader then learns nothing from their parameters"
        )
    return {
        "kind": KIND,
        "format_version": schema_version(MANIFEST_SCHEMA),
        "created_by": __version__,
        "format": job.config.format,
        "source": {"kind": job.source.kind, "path": str(job.source.root), "sha256": job.source.sha256},
        "split": job.source.split,
        "configuration": _depends_on(job)["configuration"],
        "hand_models": dict(sorted(job.source.models.items())),
        "pictures": sum(result.pictures for result in results),
        "hands": sum(result.written.hands for result in results),
        "sides": {side: sum(result.sides[side] for result in results) for side in SIDES},
        "left_out": dict(sorted(left_out.items())),
        "betas_beyond_3": [
            {"subject": name, "largest": round(betas[name], 4)} for name in sorted(betas)[:_LISTED_SUBJECTS]
        ],
        "files": [file.to_json() for file in files],
        "notes": notes,
    }
