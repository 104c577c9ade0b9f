"""Assign shards to readers so that each sample goes to exactly one of them.

A reader is one DataLoader worker of one rank. Where there are as many shards as readers, each reads its own; where
there are fewer, each reads a range of samples, which crosses shards where it must.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from handgen.errors import HandgenError
from handgen.storage.filesystem import Location


@dataclass(frozen=True)
class Shard:
    """One tar. samples: how many, as a manifest says; None where none does."""

    path: Location
    samples: int | None


@dataclass(frozen=True)
class ShardSlice:
    """A part of one shard for one reader: samples from `start` up to `stop` (None: the end)."""

    shard: Shard
    start: int = 0
    stop: int | None = None

    @property
    def samples(self) -> int | None:
        """Number of samples; None where that is not known."""
        stop = self.shard.samples if self.stop is None else self.stop
        return None if stop is None else stop - self.start


def assign_shards(shards: Sequence[Shard], reader: int, readers: int, even: bool = False) -> list[ShardSlice]:
    """Find what reader number `reader` of `readers` reads of shards in this order.

    even: every reader gets the same number of samples, and the remainder (fewer than `readers`) is left out. With it,
    or with fewer shards than readers, their numbers of samples must be known.

    Raises HandgenError when a reader would have nothing.
    """
    if readers <= len(shards) and not even:
        return [ShardSlice(shard) for shard in shards[reader::readers]]
    counts = np.array([shard.samples for shard in shards], dtype=int)
    total = int(counts.sum())
    if total < readers:
        raise HandgenError(
            f"{total} samples cannot be divided among {readers} readers (ranks times DataLoader workers); use fewer "
            "workers"
        )
    each = total // readers
    first, last = (each * n if even else total * n // readers for n in (reader, reader + 1))
    ends = np.cumsum(counts)
    return [
        ShardSlice(shard, max(0, first - int(begin)), min(int(end - begin), last - int(begin)))
        for shard, begin, end in zip(shards, ends - counts, ends, strict=True)
        if end > first and begin < last
    ]


def batches_per_worker(batches: int, of_worker: Sequence[int]) -> tuple[list[int], int]:
    """Count how many of the first `batches` batches of a DataLoader came from each worker, and whose turn is next.

    of_worker: how many each has in all. The loader takes one from each in turn, and passes over those that have no more
    (PyTorch, `DataLoader` of `IterableDataset`s with `in_order=True`).
    """
    taken = [0] * len(of_worker)
    left, turn = batches, 0
    while active := [worker for worker, count in enumerate(of_worker) if taken[worker] < count]:
        rounds = min(left // len(active), min(of_worker[worker] - taken[worker] for worker in active))
        if rounds == 0:
            for worker in active[:left]:
                taken[worker] += 1
            turn = active[left]
            break
        for worker in active:
            taken[worker] += rounds
        left -= rounds * len(active)
    return taken, turn
