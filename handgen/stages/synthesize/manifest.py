"""The end of a run of `synthesize`: the manifest and the report say what the shards hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from handgen.errors import HandgenError
from handgen.hand.skeleton import SIDES
from handgen.io import shards
from handgen.stages.synthesize.plan import Plan
from handgen.stages.synthesize.report import SplitReport, SynthesizeReport
from handgen.stages.synthesize.shard import ShardResult
from handgen.storage.documents import schema_version
from handgen.storage.filesystem import Location
from handgen.version import __version__

_NAMED_CUTOUTS = 1000  # of damaged ones at most so many are listed in the manifest


def build_manifest(plan: Plan, results: Sequence[ShardResult], backgrounds: Location | None) -> dict[str, Any]:
    """The document of `shard_manifest.schema.json`. Raises HandgenError when no sample could be made at all."""
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
            **plan.backgrounds(),
            "path": None if backgrounds is None else str(backgrounds),
            "skipped": [{"name": name, "reason": reason} for name, reason in sorted(skipped.items())],
        },
    }


def _left_out(results: Sequence[ShardResult]) -> dict[str, Any]:
    """The number of samples that could not be made, and of damaged cutouts; the first of these by name."""
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


def build_report(plan: Plan, results: Sequence[ShardResult], manifest: dict[str, Any]) -> SynthesizeReport:
    """Sum up the run and the whole directory; the seconds are not known yet."""
    described, backgrounds, left_out = manifest["shards"], manifest["backgrounds"], manifest["left_out"]
    return SynthesizeReport(
        out=plan.job.out,
        samples=manifest["samples"],
        sides={side: sum(shard["sides"][side] for shard in described) for side in SIDES},
        shards=len(described),
        bytes=sum(shard["bytes"] for shard in described),
        views=len(plan.table),
        splits=tuple(_split_report(plan, split) for split in manifest["splits"]),
        written_samples=sum(result.description["samples"] for result in results if result.written),
        left_out_samples=left_out["samples"],
        damaged_cutouts=tuple((entry["name"], entry["reason"]) for entry in left_out["cutouts"]),
        backgrounds=backgrounds["count"],
        skipped_backgrounds=tuple((entry["name"], entry["reason"]) for entry in backgrounds["skipped"]),
        notes=plan.notes,
    )


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
