"""Shards as an iterable torch dataset: splits, ranks, workers, epochs, and going on in the middle of one."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any

import torch
import webdataset
from torch.utils.data import IterableDataset, get_worker_info

from handgen.arguments import check_arguments
from handgen.data.decode import HandSample, collate, decode_sample
from handgen.data.stream import Shard, ShardSlice, assign_shards, batches_per_worker, stream
from handgen.errors import HandgenError
from handgen.io import shards
from handgen.io.shards import read_groups
from handgen.storage import filesystem
from handgen.storage.documents import read_json
from handgen.storage.filesystem import Location, location
from handgen.storage.output import MANIFEST

_BUFFER = 1000
Urls = str | Location | Sequence[str | Location]


@dataclass(frozen=True)
class _ReadOptions:
    """Options of reading, as `load_shards` takes them."""

    batch_size: int | None
    buffer: int
    seed: int
    resampled: bool
    epoch_size: int | None
    even: bool
    rank: int
    world_size: int


@check_arguments
def load_shards(
    urls: Urls,
    split: str | None = None,
    *,
    batch_size: int | None = None,
    shuffle: bool | int = False,
    seed: int = 0,
    resampled: bool = False,
    epoch_size: int | None = None,
    even: bool = False,
    transform: Callable[[HandSample], Any] | None = None,
    rank: int | None = None,
    world_size: int | None = None,
) -> ShardDataset:
    """Open shards as an iterable torch dataset of `HandSample`s.

    urls: a shards directory, a tar, a pattern of tars such as `dir/train-{000000..000099}.tar`, or several of these;
    paths or fsspec URLs. split: which of a directory's; None where it has one.
    batch_size: None yields samples; otherwise batches, of which the last of a worker may be smaller. With either, give
    `DataLoader` batch_size=None. shuffle: False keeps the order of the shards; True, or the number of samples to mix in
    memory per worker (True: 1000), changes it with `seed` and the epoch.
    resampled: shards are drawn at random, again and again, instead of each being read once: an endless epoch, or
    `epoch_size` samples for each rank. even: every reader gets the same number of samples, so that ranks take equally
    many steps; the remainder of an epoch, fewer samples than there are readers, is left out.
    transform: of each sample, in the worker.
    rank, world_size: of distributed training; by default torch.distributed's, else RANK and WORLD_SIZE of the
    environment, else one process.

    Raises HandgenError when there are no finished shards, or no such split.
    """
    if (rank is None) != (world_size is None):
        raise ValueError("give both rank and world_size, or neither")
    if rank is None or world_size is None:
        rank, world_size = _rank_and_world_size()
    if not 0 <= rank < world_size:
        raise ValueError(f"rank must be 0 to {world_size - 1}, got {rank}")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if epoch_size is not None and (not resampled or epoch_size < 1):
        raise ValueError("epoch_size must be at least 1, and is for resampled=True")
    if resampled and even:
        raise ValueError("even is for epochs that read every sample; with resampled give epoch_size")
    buffer = _BUFFER if shuffle is True else int(shuffle)
    if buffer < 0:
        raise ValueError(f"shuffle must not be negative, got {shuffle}")
    how = _ReadOptions(batch_size, buffer, seed, resampled, epoch_size, even, rank, world_size)
    return ShardDataset(find_shards(urls, split), how, transform)


class ShardDataset(IterableDataset[Any]):
    """An iterable dataset over shards, as `load_shards` makes it.

    shards: what is read, with the number of samples of each where a manifest says it.
    """

    def __init__(
        self, found: Sequence[Shard], how: _ReadOptions, transform: Callable[[HandSample], Any] | None = None
    ) -> None:
        super().__init__()
        self.shards, self._how, self._transform = tuple(found), how, transform
        # Epoch, and from where it is read on: epoch and batches. Living workers see it change.
        self._place = torch.zeros(3, dtype=torch.int64).share_memory_()
        self._state: dict[str, int] | None = None  # of this reader: where it goes on
        self._given = 0  # samples of this epoch that this reader gave

    @property
    def rank(self) -> int:
        """The rank of this process."""
        return self._how.rank

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return self._how.world_size

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass; without it every pass has the same order."""
        self._place[0] = epoch

    def resume(self, epoch: int, batches: int) -> None:
        """Let the next pass go on in the middle of an epoch, after `batches` batches (samples without batch_size).

        They are counted as this rank took them from one DataLoader, with the number of workers that it has now too.
        Other epochs are read whole. What was passed over is not decoded, and most of it not read.
        """
        if batches < 0:
            raise ValueError(f"batches must not be negative, got {batches}")
        self._place[:] = torch.tensor([epoch, epoch, batches])

    def state_dict(self) -> dict[str, int]:
        """Return this reader's position, which torchdata's StatefulDataLoader asks for in each worker."""
        return {"epoch": int(self._place[0]), "given": self._given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from a `state_dict` of the same reader."""
        self._state = dict(state)

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        workers, worker = (info.num_workers, info.id) if info else (1, 0)
        epoch, resumed_epoch, batches = self._place.tolist()
        if self._state is not None:
            epoch, skip = self._state["epoch"], self._state["given"]
            self._place[0], self._state = epoch, None
        elif batches and epoch == resumed_epoch:
            worker, skip = self._resume_part(epoch, worker, workers, batches)
        else:
            skip = 0
        self._given = skip
        how = self._how
        groups = stream(self._pieces(epoch, worker, workers), how.buffer, self._seed(epoch, worker, workers), skip)
        if how.epoch_size is not None:
            groups = islice(groups, max(0, self._epoch_share(worker, workers) - skip))
        decoded: Iterator[Any] = map(decode_sample, groups)
        if self._transform is not None:
            decoded = map(self._transform, decoded)
        if how.batch_size is not None:
            decoded = webdataset.batched(how.batch_size, collation_fn=collate)(decoded)
        return self._count_given(decoded)

    def _count_given(self, items: Iterator[Any]) -> Iterator[Any]:
        for item in items:
            self._given += 1 if self._how.batch_size is None else self._how.batch_size
            yield item

    def _pieces(self, epoch: int, worker: int, workers: int) -> Iterator[ShardSlice] | list[ShardSlice]:
        how = self._how
        if how.resampled:
            rng = random.Random(self._seed(epoch, worker, workers))
            return (ShardSlice(rng.choice(self.shards)) for _ in count())  # all equally likely, so all samples are too
        readers = how.world_size * workers
        order = list(self._counted_shards() if readers > len(self.shards) or how.even else self.shards)
        if how.buffer:
            random.Random(f"{how.seed} {epoch}").shuffle(order)  # the same in every reader
        if readers > len(order) and not how.even and how.rank + worker == 0:
            warnings.warn(
                f"{readers} readers share {len(order)} shards, so that each reads a part of one; write more shards "
                "(--samples-per-shard), or use fewer DataLoader workers",
                stacklevel=2,
            )
        return assign_shards(order, how.rank * workers + worker, readers, how.even)

    def _counted_shards(self) -> Sequence[Shard]:
        """Return the shards with their numbers of samples, which are counted where no manifest says them."""
        self.shards = tuple(
            shard if shard.samples is not None else replace(shard, samples=sum(1 for _ in read_groups(shard.path)))
            for shard in self.shards
        )
        return self.shards

    def _seed(self, epoch: int, worker: int, workers: int) -> str:
        return f"{self._how.seed} {epoch} {self._how.rank} {worker} of {workers}"

    def _epoch_share(self, worker: int, workers: int) -> int:
        """Count the samples of one worker in a resampled epoch."""
        assert self._how.epoch_size is not None
        return self._how.epoch_size // workers + (worker < self._how.epoch_size % workers)

    def _resume_part(self, epoch: int, worker: int, workers: int, batches: int) -> tuple[int, int]:
        """Find whose part this worker takes in the rest of an epoch, and how many samples that one has given.

        A loader begins with its first worker, so that one takes the part of the worker whose turn it was.
        """
        size = self._how.batch_size or 1
        counts = [self._count(epoch, other, workers) for other in range(workers)]
        taken, turn = batches_per_worker(batches, [-(-count // size) for count in counts])
        part = (worker + turn) % workers
        return part, min(taken[part] * size, counts[part])

    def _count(self, epoch: int, worker: int, workers: int) -> int:
        """Count the samples of a worker in an epoch."""
        if self._how.resampled:
            return 2**62 if self._how.epoch_size is None else self._epoch_share(worker, workers)
        self._counted_shards()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pieces = self._pieces(epoch, worker, workers)
        return sum(piece.samples or 0 for piece in pieces)


def find_shards(urls: Urls, split: str | None = None) -> list[Shard]:
    """Find the shards that `load_shards` reads, with their numbers of samples where a manifest lies beside them.

    Raises HandgenError when there are none.
    """
    several = urls if isinstance(urls, Sequence) and not isinstance(urls, str) else [urls]
    noted: dict[Location, dict[str, int]] = {}
    found: list[Shard] = []
    for url in several:
        for text in webdataset.shardlists.expand_urls(url) if isinstance(url, str) and "{" in url else [url]:
            place = location(text)
            is_tar = place.name.endswith(".tar")
            found += [_single_shard(place, noted)] if is_tar else _shards_of_directory(place, split)
    if not found:
        raise HandgenError("no shards were named; give a directory of shards, or tars")
    if split is not None:
        chosen = [shard for shard in found if shard.path.name.rpartition("-")[0] == split]
        if not chosen:
            raise HandgenError(f"{found[0].path}: is not of split {split!r}; its tars would be {split}-000000.tar")
        found = chosen
    return found


def _shards_of_directory(root: Location, split: str | None) -> list[Shard]:
    manifest = shards.read_manifest(root)
    names = [entry["name"] for entry in manifest["splits"]]
    if split is None and len(names) > 1:
        raise HandgenError(f"{root}: has the splits {', '.join(names)}; say which: load_shards(..., {names[0]!r})")
    if split is not None and split not in names:
        raise HandgenError(f"{root}: has no split {split!r}; it has {', '.join(names)}")
    entries = [e for e in manifest["shards"] if e["name"].rpartition("-")[0] == (split or names[0])]
    return [Shard(root / entry["name"], entry["samples"]) for entry in entries]


def _single_shard(path: Location, noted: dict[Location, dict[str, int]]) -> Shard:
    """Make a tar's entry, with its number of samples if a manifest beside it says it. noted: manifests, by folder."""
    folder = path.parent
    if folder not in noted:
        manifest = folder / MANIFEST
        entries = [] if filesystem.size_of(manifest) is None else read_json(manifest, shards.MANIFEST_SCHEMA)["shards"]
        noted[folder] = {entry["name"]: entry["samples"] for entry in entries}
    if not filesystem.is_remote(path) and filesystem.size_of(path) is None:
        raise HandgenError(f"{path}: no such shard; give a directory of shards, or tars that are there")
    return Shard(path, noted[folder].get(path.name))


def _rank_and_world_size() -> tuple[int, int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    try:
        rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    except ValueError:
        raise HandgenError("the environment's RANK and WORLD_SIZE must be whole numbers") from None
    if not 0 <= rank < world_size:
        raise HandgenError(f"the environment's RANK {rank} is not below its WORLD_SIZE {world_size}")
    return rank, world_size
