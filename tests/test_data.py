import collections
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from annotations_fixture import write_annotations
from torch.utils.data import DataLoader

from handgen.config import SynthesizeConfig
from handgen.data import load_shards
from handgen.errors import HandgenError
from handgen.io import images, shards
from handgen.synthesize import stage

SAMPLES = 25


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    annotations = write_annotations(folder / "annotations", frames=2)
    config = SynthesizeConfig(samples=SAMPLES, size=64, samples_per_shard=6, workers=1)
    stage.run(annotations, folder / "shards", None, config)
    return folder / "shards"


def stored_keys(root: Path) -> list[str]:
    return [key for path in sorted(root.glob("*.tar")) for key, _ in shards.read_groups(path)]


def test_samples_are_tensors_equal_to_what_is_stored(root):
    samples = list(load_shards(root))
    assert [sample["key"] for sample in samples] == stored_keys(root)
    path = root / "train-000000.tar"
    key, group = next(shards.read_groups(path))
    document = shards.read_document(path, key, group)
    sample = samples[0]
    assert sample["image"].shape == (3, 64, 64) and sample["image"].dtype == torch.uint8
    assert (sample["image"].permute(1, 2, 0).numpy() == images.decode_rgb(group["jpg"], "jpg")).all()
    assert sample["mask"].shape == (64, 64) and sample["mask"].dtype == torch.bool
    assert (sample["mask"].numpy() == (images.decode_grey(group["mask.png"], "png") > 0)).all()
    for name, stored, shape in (
        ("keypoints_2d", document["keypoints_2d"], (21, 2)),
        ("keypoints_3d", document["keypoints_3d"], (21, 3)),
        ("pose", document["hand"]["pose"], (48,)),
        ("betas", document["hand"]["betas"], (10,)),
        ("translation", document["hand"]["translation_m"], (3,)),
        ("intrinsics", document["camera"]["intrinsics"], (3, 3)),
    ):
        assert sample[name].shape == shape and sample[name].dtype == torch.float32
        assert np.allclose(sample[name].numpy(), stored, rtol=1e-6, atol=1e-6)
    assert sample["visible"].tolist() == [bool(v) for v in document["visible"]]
    assert bool(sample["is_right"]) == (document["side"] == "right")


@pytest.mark.parametrize("shuffle", [False, 4])
@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_every_sample_is_read_once_by_all_ranks_together(root, ranks, shuffle):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        keys = [
            sample["key"]
            for rank in range(ranks)
            for sample in load_shards(root, rank=rank, world_size=ranks, shuffle=shuffle)
        ]
    assert collections.Counter(keys) == collections.Counter(stored_keys(root))


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "workers"), [(1, 2), (2, 2), (1, 7)])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_sample_is_read_once_by_all_workers_together(root, ranks, workers):
    keys: list[str] = []
    for rank in range(ranks):
        dataset = load_shards(root, rank=rank, world_size=ranks, batch_size=4, shuffle=True)
        for batch in DataLoader(dataset, batch_size=None, num_workers=workers):
            keys += batch["key"]
    assert collections.Counter(keys) == collections.Counter(stored_keys(root))


def test_more_readers_than_shards_warn(root):
    with pytest.warns(UserWarning, match="9 readers share 5 shards"):
        list(load_shards(root, rank=0, world_size=9))


def test_the_epoch_changes_the_order_and_the_seed_repeats_it(root):
    dataset = load_shards(root, shuffle=True, seed=1)
    first = [sample["key"] for sample in dataset]
    assert [sample["key"] for sample in dataset] == first
    dataset.set_epoch(1)
    second = [sample["key"] for sample in dataset]
    assert second != first and sorted(second) == sorted(first)
    again = load_shards(root, shuffle=True, seed=1)
    assert [sample["key"] for sample in again] == first != stored_keys(root)


@pytest.mark.slow
def test_living_workers_see_the_epoch(root):
    dataset = load_shards(root, batch_size=5, shuffle=True)
    loader = DataLoader(dataset, batch_size=None, num_workers=1, persistent_workers=True)
    first = [key for batch in loader for key in batch["key"]]
    dataset.set_epoch(3)
    assert [key for batch in loader for key in batch["key"]] != first


def test_batches_are_stacked(root):
    batches = list(load_shards(root, batch_size=8))
    assert [len(batch["key"]) for batch in batches] == [8, 8, 8, 1]
    assert batches[0]["image"].shape == (8, 3, 64, 64)
    assert batches[0]["keypoints_3d"].shape == (8, 21, 3)


def test_rank_comes_from_the_environment(root, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    dataset = load_shards(root)
    assert (dataset.rank, dataset.world_size) == (1, 2)
    assert len(list(dataset)) < SAMPLES == dataset.manifest["samples"]
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(HandgenError, match="WORLD_SIZE"):
        load_shards(root)


def test_misuse_and_unfinished_directories(root, tmp_path):
    with pytest.raises(ValueError, match="both"):
        load_shards(root, rank=0)
    with pytest.raises(ValueError, match="batch_size"):
        load_shards(root, batch_size=0)
    with pytest.raises(HandgenError, match="handgen synthesize"):
        load_shards(tmp_path)


def test_plain_webdataset_reads_the_shards(root):
    import webdataset

    urls = [str(path) for path in sorted(root.glob("*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8"))
    assert [sample["__key__"] for sample in samples] == stored_keys(root)
    ours = next(iter(load_shards(root)))
    assert samples[0]["jpg"].shape == (64, 64, 3)
    assert (samples[0]["mask.png"] > 0).any()
    assert np.allclose(samples[0]["json"]["keypoints_3d"], ours["keypoints_3d"], atol=1e-6)


@pytest.mark.slow
def test_the_training_example_learns(root):
    script = Path(__file__).parents[1] / "scripts" / "train_keypoints.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, str(script), str(root), "6"],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in result.stdout.splitlines()]
    assert len(losses) == 6 and losses[-1] < 0.8 * losses[0]
