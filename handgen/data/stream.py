"""The samples that one reader reads of shards, encoded, in their order, from any place on.

A reader is one DataLoader worker of one rank; each sample goes to exactly one. Where there are as many shards as
readers, each reads its own; where there are fewer, each reads a range of samples, which crosses shards where it must.

Shuffling is webdataset's: a buffer of samples from which one is drawn at random. To go on in the middle, the same draws
are made with numbers in place of samples first; they tell which samples are still to come, and other shards are not
read.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import TypeVar

import numpy as np
import webdataset

from handgen.data.decode import Group
from handgen.errors import HandgenError
from handgen.io import shards
from handgen.storage.filesystem import Location

Item = TypeVar("Item")


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
        among = f"{readers} readers (ranks times DataLoader workers)"
        raise HandgenError(f"{total} samples cannot be divided among {among}; use fewer workers")
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


def stream(pieces: Iterable[ShardSlice], buffer: int, seed: str, skip: int = 0) -> Iterator[Group]:
    """Yield the samples of `pieces`, without the first `skip`.

    buffer: samples that are mixed; 0 keeps their order. The same arguments give the same order.

    Raises HandgenError when a shard is damaged, or holds another number of samples than its manifest says.
    """
    unread = None
    if skip:
        counts = [piece.samples for piece in pieces] if isinstance(pieces, list) else []
        if None not in counts:
            numbers = range(sum(counts)) if isinstance(pieces, list) else count()
            unread = _unread(numbers, buffer, seed, skip)
    groups: Iterator[Group | None] = _groups(pieces, unread)
    if buffer:
        groups = _shuffle(groups, buffer, seed)
    for group in islice(groups, skip, None):
        assert group is not None  # what is left out has been passed over
        yield group


def _shuffle(items: Iterator[Item], buffer: int, seed: str) -> Iterator[Item]:
    """Mix items in a buffer of so many, in an order that depends on the seed alone."""
    return webdataset.shuffle(buffer, initial=buffer, rng=random.Random(seed))(items)


@dataclass(frozen=True)
class _Unread:
    """Samples that are passed over, numbered as they come: all before `first` but those `kept`."""

    first: int
    kept: set[int]

    def covers(self, begin: int, end: int) -> bool:
        """Tell whether none of the samples `begin` to `end` - 1 is to come."""
        return end <= self.first and not any(begin <= number < end for number in self.kept)


def _unread(numbers: Iterable[int], buffer: int, seed: str, skip: int) -> _Unread:
    """Find which samples need not be read because they are passed over. numbers: of those there are, from 0 on."""
    if not buffer:
        return _Unread(skip, set())
    taken = 0

    def count_numbers() -> Iterator[int]:
        nonlocal taken
        for number in numbers:
            taken = number + 1
            yield number

    passed = set(islice(_shuffle(count_numbers(), buffer, seed), skip))
    return _Unread(taken, set(range(taken)) - passed)


def _groups(pieces: Iterable[ShardSlice], unread: _Unread | None) -> Iterator[Group | None]:
    """Yield the samples of the pieces, and None for each that is not read."""
    number = 0
    for piece in pieces:
        if unread is not None and piece.samples is not None and unread.covers(number, number + piece.samples):
            number += piece.samples
            yield from [None] * piece.samples
            continue
        found = 0
        for key, members in islice(shards.read_groups(piece.shard.path), piece.start, piece.stop):
            found += 1
            yield piece.shard.path, key, members
        if piece.samples not in (None, found):
            raise HandgenError(
                f"{piece.shard.path}: holds {found} of the {piece.samples} samples that its manifest says; run "
                "`handgen validate` on its directory"
            )
        number += found
