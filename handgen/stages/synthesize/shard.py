"""One shard: the unit of work of `synthesize`. Its bytes depend on the job and the unit alone."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np

from handgen.io import shards
from handgen.io.cutouts import DamagedCutout
from handgen.runtime.messages import advancing
from handgen.runtime.resumable_run import Units
from handgen.stages.synthesize.plan import Plan
from handgen.stages.synthesize.sample import SampleMaker, ShardUnit, SynthesizeJob
from handgen.storage import filesystem
from handgen.storage.output import write_error

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShardResult:
    """The outcome of a unit. number: of the shard in the run. description: as in the manifest.

    written: False where it was there already. problems: name and reason of backgrounds that proved unreadable and were
    replaced. damaged: name, reason and number of samples of cutouts that proved damaged; these samples are left out.
    """

    number: int
    description: dict[str, Any]
    written: bool
    problems: tuple[tuple[str, str], ...] = ()
    damaged: tuple[tuple[str, str, int], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The journal's entry."""
        return {"description": self.description, "problems": self.problems, "damaged": self.damaged}

    @classmethod
    def from_json(cls, number: int, document: dict[str, Any]) -> ShardResult:
        """Read what `to_json` gave."""
        problems, damaged = (tuple(map(tuple, document[name])) for name in ("problems", "damaged"))
        return cls(number, document["description"], False, problems, damaged)


def shard_units(plan: Plan) -> Units[ShardResult]:
    """The step that writes the shards."""
    function = partial(make_shard, plan.job)
    return Units("writing samples", plan.shard_sizes, function, plan.unit, ShardResult.to_json, shard_files)


def shard_files(number: int, result: ShardResult) -> dict[str, int]:
    """The file of a shard and its bytes; 0 for one that holds no sample and is not written."""
    return {result.description["name"]: result.description["bytes"]}


def make_shard(job: SynthesizeJob, unit: ShardUnit) -> ShardResult:
    """Write one shard.

    One that is there already but was not noted down is made again, which tells what of its backgrounds and cutouts was
    damaged; the file stays if it is the same (`filesystem.whole_file`).
    """
    path, maker = job.out / unit.name, _maker(job)
    samples, damaged = _make_samples(maker, unit)
    try:
        if samples:
            description = shards.write_shard(path, samples)
        else:  # readers do not expect a tar without samples
            filesystem.remove(path)
            description = shards.describe_empty_shard(path)
    except OSError as error:
        raise write_error(error, path) from None
    log.info("%s: %d samples, %d damaged cutouts left out", unit.name, len(samples), len(damaged))
    return ShardResult(unit.number, description, True, tuple(sorted(maker.problems.items())), damaged)


def _make_samples(maker: SampleMaker, unit: ShardUnit) -> tuple[list[shards.Sample], tuple[tuple[str, str, int], ...]]:
    """All samples of a unit in their order but those whose cutouts are damaged, and these as `ShardResult` names them.

    Each background is decoded once.
    """
    maker.begin(unit)
    made: dict[int, shards.Sample] = {}
    left_out: Counter[str] = Counter()
    for place in advancing(np.argsort(unit.picks, kind="stable").tolist()):
        try:
            made[place] = maker.sample(unit, place)
        except DamagedCutout as error:
            row = unit.views[place]
            name = maker.name_of(int(row["source"]), row["cutout"].decode())
            maker.damaged[name] = str(error)
            left_out[name] += 1
    damaged = tuple((name, reason, left_out[name]) for name, reason in sorted(maker.damaged.items()))
    return [made[place] for place in sorted(made)], damaged


@lru_cache(maxsize=1)
def _maker(job: SynthesizeJob) -> SampleMaker:
    """One per process and run: it keeps files open and pictures decoded."""
    return SampleMaker(job)


def forget_run() -> None:
    """Forget what this process keeps of a run, whose files may change before the next."""
    _maker.cache_clear()
