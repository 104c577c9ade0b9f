"""One shard: the unit of work of `synthesize`. Its bytes depend on the job and the unit alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from handgen.errors import HandgenError
from handgen.io import shards
from handgen.synthesize.sample import Job, SampleMaker, ShardUnit


@dataclass(frozen=True)
class ShardResult:
    """What became of a unit. description: as in the manifest. written: False where it was there already.

    problems: name and reason of backgrounds that proved unreadable and were replaced.
    """

    index: int
    description: dict[str, Any]
    written: bool
    problems: tuple[tuple[str, str], ...] = ()


def make_shard(job: Job, unit: ShardUnit) -> ShardResult:
    """Write one shard, unless it is there already and whole."""
    path = job.out / shards.shard_name(job.config.split, unit.index)
    if path.is_file():
        try:
            description = shards.describe_shard(path)
            if description["samples"] == len(unit.views):
                return ShardResult(unit.index, description, False)
        except HandgenError:
            pass  # damaged since: written anew
    maker = _maker(job)
    maker.problems.clear()
    samples = make_samples(maker, unit)
    try:
        description = shards.write_shard(path, samples)
    except OSError as error:
        raise HandgenError(f"{path}: cannot be written ({error.strerror}); what is finished is kept") from None
    return ShardResult(unit.index, description, True, tuple(sorted(maker.problems.items())))


def make_samples(maker: SampleMaker, unit: ShardUnit) -> list[shards.Sample]:
    """All samples of a unit, in their order; each background is decoded once."""
    made: dict[int, shards.Sample] = {}
    for place in np.argsort(unit.picks, kind="stable"):
        made[int(place)] = maker.sample(unit, int(place))
    return [made[place] for place in range(len(made))]


@lru_cache(maxsize=1)
def _maker(job: Job) -> SampleMaker:
    """One per process and run: it keeps files open and pictures decoded."""
    return SampleMaker(job)


def release() -> None:
    """Forget what this process keeps of a run, whose files may change before the next."""
    _maker.cache_clear()
