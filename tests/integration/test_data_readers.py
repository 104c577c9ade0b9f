"""Shards are read by other people's readers."""

from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset
from support.annotations import write_annotations
from support.reading import stored_keys
from torch.utils.data import DataLoader

from handgen.data import load_shards
from handgen.stages.synthesize import stage
from handgen.stages.synthesize.config import SynthesizeConfig


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("readers")
    annotations = write_annotations(folder / "annotations", frames=2)
    config = SynthesizeConfig(samples=14, size=64, samples_per_shard=4, workers=1)
    stage.run(annotations, folder / "shards", None, config)
    return folder / "shards"


def test_plain_webdataset(root):
    urls = str(root / "train-{000000..000003}.tar")
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8"))
    assert [sample["__key__"] for sample in samples] == stored_keys(root)
    for theirs, ours in zip(samples, load_shards(root), strict=True):
        assert (theirs["jpg"] == ours["image"].permute(1, 2, 0).numpy()).mean() > 0.9  # another JPEG decoder
        assert ((theirs["mask.png"] > 0).any(-1) == ours["mask"].numpy()).all()
        assert np.allclose(theirs["json"]["keypoints_3d"], ours["keypoints_3d"], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("streaming", [True, False])
def test_hugging_face_datasets(root, tmp_path, monkeypatch, streaming):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    datasets = pytest.importorskip("datasets")
    found = datasets.load_dataset(
        "webdataset",
        data_files={"train": str(root / "*.tar")},
        split="train",
        streaming=streaming,
        cache_dir=str(tmp_path / "cache"),
    )
    samples = list(found)
    assert [sample["__key__"] for sample in samples] == stored_keys(root)
    for theirs, ours in zip(samples, load_shards(root), strict=True):
        assert theirs["jpg"].size == (64, 64) and theirs["mask.png"].size == (64, 64)
        assert theirs["json"]["side"] == ["left", "right"][int(ours["side"])]
        assert np.allclose(theirs["json"]["keypoints_2d"], ours["keypoints_2d"], atol=1e-3)


@pytest.mark.slow
def test_torch_dataloader(root):
    loader = DataLoader(load_shards(root, batch_size=3), batch_size=None, num_workers=2, pin_memory=False)
    batches = list(loader)
    assert sorted(key for batch in batches for key in batch["key"]) == sorted(stored_keys(root))
    assert all(batch["image"].dtype == torch.uint8 and batch["image"].shape[1:] == (3, 64, 64) for batch in batches)
    singles = DataLoader(load_shards(root), batch_size=4, num_workers=0)  # batches made by the loader
    assert [len(batch["key"]) for batch in singles] == [4, 4, 4, 2]
