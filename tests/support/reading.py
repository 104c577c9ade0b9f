"""Shards to read, and readers that stand for DataLoader workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from handgen.data import ShardDataset, load_shards
from handgen.io import shards


def stored_keys(root: Path) -> list[str]:
    return [key for path in sorted(root.glob("*.tar")) for key, _ in shards.read_groups(path)]


def as_worker(monkeypatch: pytest.MonkeyPatch, dataset: ShardDataset, worker: int, workers: int) -> Iterator[Any]:
    """Yield what one of several DataLoader workers would give; 0 workers: the main process."""
    info = SimpleNamespace(id=worker, num_workers=workers) if workers else None
    monkeypatch.setattr("handgen.data.dataset.get_worker_info", lambda: info)
    return iter(dataset)


def keys_by_reader(monkeypatch, root, ranks: int, workers: int, **options: Any) -> list[list[str]]:
    """Keys that each worker of each rank reads."""
    found = []
    for rank in range(ranks):
        for worker in range(max(workers, 1)):
            dataset = load_shards(root, rank=rank, world_size=ranks, **options)
            found.append([sample["key"] for sample in as_worker(monkeypatch, dataset, worker, workers)])
    return found


def as_loader(monkeypatch, dataset: ShardDataset, workers: int) -> Iterator[Any]:
    """Yield what a DataLoader gives: of its workers in turn, passing over those that have no more."""
    readers = [as_worker(monkeypatch, dataset, worker, workers) for worker in range(workers)]
    while readers:
        for reader in list(readers):
            try:
                yield next(reader)
            except StopIteration:
                readers.remove(reader)
