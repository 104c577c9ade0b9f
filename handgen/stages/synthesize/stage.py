"""The stage: annotations and backgrounds in, shards out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from handgen import __version__
from handgen.errors import HandgenError
from handgen.hand.skeleton import SIDES
from handgen.io import shards
from handgen.progress import Progress
from handgen.runtime.engine import Engine
from handgen.runtime.engines import create_engine
from handgen.runtime.local import one_thread
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.stages.synthesize.plan import Plan, planned, reporter
from handgen.stages.synthesize.sample import SampleMaker
from handgen.stages.synthesize.shard import ShardResult, make_shard, release
from handgen.storage import filesystem
from handgen.storage.documents import schema_version
from handgen.storage.filesystem import Location
from handgen.storage.journal import Journal
from handgen.storage.output import MANIFEST, claim_output, invalidate_manifest

PREVIEW_SAMPLES = 24
_NAMED_CUTOUTS = 1000  # of damaged ones at most so many are listed in the manifest


@dataclass(frozen=True)
class SplitReport:
    """One split. asked, reached: its share of the views. subjects, sequences: how many."""

    name: str
    asked: float
    reached: float
    samples: int
    views: int
    subjects: int
    sequences: int


@dataclass(frozen=True)
class Report:
    """What a run did.

    samples, shards, bytes, sides: of the whole directory. written_samples: by this run; the rest was there
    already. left_out_samples: that could not be made, of damaged_cutouts (name and reason; of many the first).
    skipped_backgrounds: name and reason of unusable files. notes: what else a user should know.
    """

    out: Location
    samples: int
    sides: dict[str, int]
    shards: int
    bytes: int
    views: int
    splits: tuple[SplitReport, ...]
    written_samples: int
    left_out_samples: int
    damaged_cutouts: tuple[tuple[str, str], ...]
    seconds: float
    backgrounds: int
    skipped_backgrounds: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    @property
    def samples_per_s(self) -> float:
        """Of what this run wrote, preparation included."""
        return self.written_samples / max(self.seconds, 1e-9)

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        document = asdict(self) | {"out": str(self.out), "samples_per_s": round(self.samples_per_s, 2)}
        document["seconds"] = round(self.seconds, 3)
        for field in ("skipped_backgrounds", "damaged_cutouts"):
            document[field] = [{"name": name, "reason": reason} for name, reason in getattr(self, field)]
        return document


def run(
    annotations: Location | Sequence[Location],
    out: Location,
    backgrounds: Location | None,
    config: SynthesizeConfig,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Report:
    """Turn accepted views into shards of training samples.

    annotations: directories, in whatever order. backgrounds: a folder of pictures, or None to synthesize them.
    progress: called with what is being done and how much of it. overwrite: replace the shards of a different run in
    `out`.

    Raises HandgenError when the annotations, the backgrounds or the directory `out` cannot be used.
    """
    start = time.perf_counter()
    plan = planned(_several(annotations), out, backgrounds, config, progress)
    try:
        with claim_output(out, shards.KIND, plan.depends_on(), shards.OWNED, overwrite) as journal:
            engine = create_engine(config.engine, config.workers, config.engine_options)
            results = _make_shards(plan, engine, journal, progress)
            manifest = _manifest(plan, results, backgrounds)
            if filesystem.size_of(out / MANIFEST) is None:
                shards.write_manifest(out, manifest)
    finally:
        release()
    described = manifest["shards"]
    return Report(
        out=out,
        samples=manifest["samples"],
        sides={side: sum(shard["sides"][side] for shard in described) for side in SIDES},
        shards=len(described),
        bytes=sum(shard["bytes"] for shard in described),
        views=len(plan.table),
        splits=tuple(_split_report(plan, split) for split in manifest["splits"]),
        written_samples=sum(result.description["samples"] for result in results if result.written),
        left_out_samples=manifest["left_out"]["samples"],
        damaged_cutouts=tuple((entry["name"], entry["reason"]) for entry in manifest["left_out"]["cutouts"]),
        seconds=time.perf_counter() - start,
        backgrounds=len(plan.scan.backgrounds.names) if plan.scan else 0,
        skipped_backgrounds=tuple((entry["name"], entry["reason"]) for entry in manifest["backgrounds"]["skipped"]),
        notes=plan.notes,
    )


def _several(annotations: Location | Sequence[Location]) -> Sequence[Location]:
    return annotations if isinstance(annotations, Sequence) else [annotations]


def _split_report(plan: Plan, split: dict[str, Any]) -> SplitReport:
    groups = split["groups"]
    return SplitReport(
        name=split["name"],
        asked=split["share"],
        reached=split["views"] / len(plan.table),
        samples=split["samples"],
        views=split["views"],
        subjects=len({name for group in groups for name in group["subjects"]}),
        sequences=sum(len(group["sequences"]) for group in groups),
    )


def _make_shards(plan: Plan, engine: Engine, journal: Journal, progress: Progress | None) -> list[ShardResult]:
    """All shards in their order: those of the journal that are still there, the others written."""
    there = filesystem.sizes(plan.job.out)
    results: dict[int, ShardResult] = {}
    for number, entry in journal.entries.items():
        result = ShardResult.from_json(number, entry)
        if there.get(result.description["name"], 0) == result.description["bytes"]:
            results[number] = result
    count = plan.shards - len(results)
    if count:
        invalidate_manifest(plan.job.out)
    step, done = reporter(progress, "writing samples"), sum(_asked(result) for result in results.values())
    step(done, plan.samples)
    for result in engine.map_units(partial(make_shard, plan.job), plan.units(frozenset(results)), count):
        _check_arrived(plan.job.out, result)
        results[result.number] = result
        journal.add(result.number, result.to_json())
        done += _asked(result)
        step(done, plan.samples)
    return [results[number] for number in sorted(results)]


def _check_arrived(out: Location, result: ShardResult) -> None:
    """What a node of a cluster wrote where only it sees it would be lost."""
    path, size = out / result.description["name"], result.description["bytes"]
    if size and isinstance(path, Path) and filesystem.size_of(path) != size:
        raise HandgenError(
            f"{path}: a worker wrote it, but it is not here; all nodes must see the same {out}: use a directory that "
            "they share, or the URL of a store"
        )


def _asked(result: ShardResult) -> int:
    """How many samples the shard was to have."""
    return result.description["samples"] + sum(count for _, _, count in result.damaged)


def preview(
    annotations: Location | Sequence[Location],
    backgrounds: Location | None,
    config: SynthesizeConfig,
    count: int = PREVIEW_SAMPLES,
    progress: Progress | None = None,
) -> list[shards.Sample]:
    """The first samples that `run` with the same options would write, or fewer if it writes fewer.

    Raises HandgenError as `run` does.
    """
    plan = planned(_several(annotations), Path(), backgrounds, config, progress)
    maker, step = SampleMaker(plan.job), reporter(progress, "drawing the preview")
    found: list[shards.Sample] = []
    count = min(count, plan.samples)
    with one_thread():
        for unit in plan.units():
            maker.begin(unit)
            for place in range(min(count - len(found), len(unit.views))):
                found.append(maker.sample(unit, place))
                step(len(found), count)
            if len(found) == count:
                break
    return found


def _manifest(plan: Plan, results: list[ShardResult], backgrounds: Location | None) -> dict[str, Any]:
    """As in `shard_manifest.schema.json`."""
    described = [result.description for result in results if result.description["samples"]]
    if not described:
        reason = next(reason for result in results for _, reason, _ in result.damaged)
        raise HandgenError(f"no sample can be made of the cutouts; the first: {reason}")
    counts: Counter[str] = Counter()
    for shard in described:
        counts[shard["name"].rpartition("-")[0]] += shard["samples"]
    skipped = dict(plan.scan.skipped if plan.scan else ())
    skipped |= {name: reason for result in results for name, reason in result.problems}
    return {
        "kind": shards.KIND,
        "format_version": schema_version(shards.MANIFEST_SCHEMA),
        "created_by": __version__,
        "splits": [
            {
                "name": split.name,
                "share": split.share,
                "samples": counts[split.name],
                "views": split.views,
                "uses": list(split.uses),
                "groups": list(split.groups),
            }
            for split in plan.splits
        ],
        "samples": counts.total(),
        "left_out": _left_out(results),
        "shards": described,
        "seed": plan.config.seed,
        "size_px": [plan.config.size, plan.config.size],
        "flips": any(source.flips for source in plan.job.sources),
        "configuration": plan.configuration(),
        "annotations": [
            entry.source.document() | {"path": str(entry.source.root), "views": views}
            for entry, (_, views) in zip(plan.opened, plan.table.runs, strict=True)
        ],
        "backgrounds": {
            "source": "folder" if plan.scan else "synthesized",
            "path": None if backgrounds is None else str(backgrounds),
            "count": len(plan.scan.backgrounds.names) if plan.scan else 0,
            "skipped": [{"name": name, "reason": reason} for name, reason in sorted(skipped.items())],
        },
    }


def _left_out(results: list[ShardResult]) -> dict[str, Any]:
    """Samples that could not be made, and the damaged cutouts; of these the first by name."""
    counts: Counter[str] = Counter()
    reasons: dict[str, str] = {}
    for result in results:
        for name, reason, samples in result.damaged:
            counts[name] += samples
            reasons[name] = reason
    named = sorted(reasons)[:_NAMED_CUTOUTS]
    return {
        "samples": counts.total(),
        "damaged_cutouts": len(reasons),
        "cutouts": [{"name": name, "samples": counts[name], "reason": reasons[name]} for name in named],
    }
