"""Shards -> torch samples by webdataset, for training scripts.

    dataset = load_shards("shards", "train", batch_size=32, shuffle=True)
    for epoch in range(10):
        dataset.set_epoch(epoch)
        for batch in DataLoader(dataset, batch_size=None, num_workers=2):
            batch["image"], batch["keypoints_2d"]

Every sample is read exactly once per epoch, whatever the number of ranks and of DataLoader workers.
"""

from handgen.data.dataset import ShardDataset, load_shards
from handgen.data.decode import HandSample

__all__ = ["HandSample", "ShardDataset", "load_shards"]
