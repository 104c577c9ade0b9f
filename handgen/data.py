"""What a training script imports: shards -> torch samples.

    dataset = load_shards("shards", batch_size=32, shuffle=1000)
    for epoch in range(10):
        dataset.set_epoch(epoch)
        for batch in DataLoader(dataset, batch_size=None, num_workers=2):
            batch["image"], batch["keypoints_2d"]

Every sample is read exactly once per epoch, whatever the number of ranks and of DataLoader workers: each of
them reads its own shards, or, where there are fewer shards than readers, its own samples of all shards.
"""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import IterableDataset, default_collate, get_worker_info

from handgen.errors import HandgenError
from handgen.io import images, shards

_ORDER_BUFFER = 1000
Group = tuple[Path, str, dict[str, bytes]]


def load_shards(
    path: str | Path,
    *,
    batch_size: int | None = None,
    shuffle: bool | int = False,
    seed: int = 0,
    rank: int | None = None,
    world_size: int | None = None,
) -> ShardDataset:
    """The samples of a shards directory as an iterable torch dataset.

    batch_size: None yields samples; otherwise batches, the last of a worker may be smaller (use
    `DataLoader(dataset, batch_size=None)` with either). shuffle: False keeps the order of the shards; True,
    or the number of samples to mix in memory per worker (True: 1000), changes it with `seed` and the epoch.
    rank, world_size: of distributed training; by default torch.distributed's, else RANK and WORLD_SIZE of the
    environment, else one process. Ranks may get different numbers of samples.

    Raises HandgenError when `path` holds no finished shards.
    """
    if (rank is None) != (world_size is None):
        raise ValueError("give both rank and world_size, or neither")
    if rank is None or world_size is None:
        rank, world_size = _distributed()
    if not 0 <= rank < world_size:
        raise ValueError(f"rank must be 0 to {world_size - 1}, got {rank}")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    buffer = _ORDER_BUFFER if shuffle is True else int(shuffle)
    if buffer < 0:
        raise ValueError(f"shuffle must not be negative, got {shuffle}")
    return ShardDataset(Path(path), batch_size, buffer, seed, rank, world_size)


class ShardDataset(IterableDataset):
    """See `load_shards`. A sample is a dictionary of tensors.

    image (3, height, width) uint8 RGB; mask (height, width) bool; keypoints_2d (21, 2) pixels; visible (21,)
    bool; keypoints_3d (21, 3), metres, camera frame; pose (48,), betas (10,), translation (3,), the hand
    model's parameters in the camera frame; intrinsics (3, 3); is_right, 1 or 0; key, a string. Floats are
    float32.
    """

    def __init__(
        self, root: Path, batch_size: int | None, shuffle_buffer: int, seed: int, rank: int, world_size: int
    ) -> None:
        super().__init__()
        self.root = root
        self.manifest = shards.read_manifest(root)
        self.batch_size = batch_size
        self.shuffle_buffer = shuffle_buffer
        self.seed = seed
        self.rank, self.world_size = rank, world_size
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()  # living workers see it change

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass; without it every pass has the same order."""
        self._epoch[0] = epoch

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        workers, worker_id = (worker.num_workers, worker.id) if worker else (1, 0)
        order = random.Random(f"{self.seed} {int(self._epoch[0])}")  # the same in every reader
        groups = self._groups(self.rank * workers + worker_id, self.world_size * workers, order)
        if self.shuffle_buffer:
            groups = _mixed(groups, self.shuffle_buffer, random.Random(order.random() + worker_id))
        samples = (decode_sample(*group) for group in groups)
        return iter(samples) if self.batch_size is None else _batches(samples, self.batch_size)

    def _groups(self, reader: int, readers: int, order: random.Random) -> Iterator[Group]:
        """Encoded samples of one of all readers: ranks times workers."""
        paths = [self.root / shard["name"] for shard in self.manifest["shards"]]
        by_sample = readers > len(paths)
        if by_sample and reader == 0:
            warnings.warn(
                f"{self.root}: {readers} readers share {len(paths)} shards: each reads all of them and uses "
                "some samples; write more shards (--samples-per-shard), or use fewer DataLoader workers",
                stacklevel=2,
            )
        if self.shuffle_buffer:
            order.shuffle(paths)
        place = 0
        for path in paths if by_sample else paths[reader::readers]:
            for key, group in shards.read_groups(path):
                if not by_sample or place % readers == reader:
                    yield path, key, group
                place += 1


def decode_sample(path: Path, key: str, group: dict[str, bytes]) -> dict[str, Any]:
    """The tensors of one sample, as `ShardDataset` describes them.

    Raises HandgenError when a member is missing or damaged.
    """
    where = f"{path}, sample {key}"
    document = shards.read_document(path, key, group)
    image = images.decode_rgb(group[shards.IMAGE], f"{where}.{shards.IMAGE}")
    mask = images.decode_grey(group[shards.MASK], f"{where}.{shards.MASK}")
    width, height = document["camera"]["size_px"]
    if image.shape[:2] != (height, width) or mask.shape != (height, width):
        raise HandgenError(f"{where}: image or mask is not {width}x{height}, as its labels say; write it again")
    hand = document["hand"]
    return {
        "key": key,
        "image": torch.tensor(image).permute(2, 0, 1).contiguous(),
        "mask": torch.tensor(mask > 127),
        "keypoints_2d": torch.tensor(document["keypoints_2d"], dtype=torch.float32),
        "keypoints_3d": torch.tensor(document["keypoints_3d"], dtype=torch.float32),
        "visible": torch.tensor(document["visible"], dtype=torch.bool),
        "pose": torch.tensor(hand["pose"], dtype=torch.float32),
        "betas": torch.tensor(hand["betas"], dtype=torch.float32),
        "translation": torch.tensor(hand["translation_m"], dtype=torch.float32),
        "intrinsics": torch.tensor(document["camera"]["intrinsics"], dtype=torch.float32),
        "is_right": torch.tensor(int(document["side"] == "right")),
    }


def _distributed() -> tuple[int, int]:
    """Rank and number of ranks of this process."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    try:
        rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    except ValueError:
        raise HandgenError("the environment's RANK and WORLD_SIZE must be whole numbers") from None
    if not 0 <= rank < world_size:
        raise HandgenError(f"the environment's RANK {rank} is not below its WORLD_SIZE {world_size}")
    return rank, world_size


def _mixed(groups: Iterable[Group], size: int, order: random.Random) -> Iterator[Group]:
    """The same samples in a random order, `size` of them in memory, still encoded."""
    buffer: list[Group] = []
    for group in groups:
        buffer.append(group)
        if len(buffer) >= size:
            place = order.randrange(len(buffer))
            buffer[place], buffer[-1] = buffer[-1], buffer[place]
            yield buffer.pop()
    order.shuffle(buffer)
    yield from buffer


def _batches(samples: Iterable[dict[str, Any]], size: int) -> Iterator[dict[str, Any]]:
    """Stacked samples; keys become a list."""
    batch: list[dict[str, Any]] = []
    for sample in samples:
        batch.append(sample)
        if len(batch) == size:
            yield default_collate(batch)
            batch = []
    if batch:
        yield default_collate(batch)
