import collections
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from support.annotations import write_annotations
from support.reading import keys_by_reader, stored_keys
from torch.utils.data import DataLoader

from handgen.data import load_shards
from handgen.errors import HandgenError
from handgen.io import shards
from handgen.media import images
from handgen.stages.synthesize import stage
from handgen.stages.synthesize.config import SynthesizeConfig

SAMPLES = 25


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    annotations = write_annotations(folder / "annotations", frames=2)
    config = SynthesizeConfig(samples=SAMPLES, size=64, samples_per_shard=6, workers=1)
    stage.run(annotations, folder / "shards", None, config)
    return folder / "shards"


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
        ("camera", document["camera"]["intrinsics"], (3, 3)),
    ):
        assert sample[name].shape == shape and sample[name].dtype == torch.float32
        assert np.allclose(sample[name].numpy(), stored, rtol=1e-6, atol=1e-6)
    assert sample["visible"].tolist() == [bool(v) for v in document["visible"]]
    assert int(sample["side"]) == ["left", "right"].index(document["side"])


@pytest.mark.parametrize("shuffle", [False, 4])
@pytest.mark.parametrize("workers", range(5))
@pytest.mark.parametrize("ranks", range(1, 9))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_sample_is_read_once_and_no_reader_has_none(root, monkeypatch, ranks, workers, shuffle):
    readers = ranks * max(workers, 1)  # of 25 samples in 5 shards
    if readers > SAMPLES:
        with pytest.raises(HandgenError, match=f"{SAMPLES} samples cannot be divided among {readers} readers"):
            keys_by_reader(monkeypatch, root, ranks, workers)
        return
    found = keys_by_reader(monkeypatch, root, ranks, workers, shuffle=shuffle)
    assert collections.Counter(key for keys in found for key in keys) == collections.Counter(stored_keys(root))
    assert min(map(len, found)) > 0
    if readers > 5:
        assert max(map(len, found)) - min(map(len, found)) <= 1


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_without_a_manifest_it_is_the_same(root, tmp_path, monkeypatch, ranks, workers):
    for path in root.glob("*.tar"):
        shutil.copy(path, tmp_path)
    pattern = str(tmp_path / "train-{000000..000004}.tar")
    assert [shard.samples for shard in load_shards(pattern).shards] == [None] * 5
    found = keys_by_reader(monkeypatch, pattern, ranks, workers, shuffle=3)
    assert collections.Counter(key for keys in found for key in keys) == collections.Counter(stored_keys(root))
    assert min(map(len, found)) > 0


def test_without_a_manifest_a_reader_without_samples_says_so(root, tmp_path, monkeypatch):
    shutil.copy(root / "train-000004.tar", tmp_path)  # one sample
    with pytest.raises(HandgenError, match="1 samples cannot be divided"), pytest.warns(UserWarning, match="2 readers"):
        keys_by_reader(monkeypatch, tmp_path / "train-000004.tar", 1, 2)


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("ranks", [2, 3, 5])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_even_readers_give_equally_many_and_leave_out_less_than_one_each(root, monkeypatch, ranks, workers):
    found = keys_by_reader(monkeypatch, root, ranks, workers, even=True, shuffle=5)
    assert {len(keys) for keys in found} == {SAMPLES // (ranks * workers)}
    keys = [key for keys in found for key in keys]
    assert len(set(keys)) == len(keys) and set(keys) <= set(stored_keys(root))


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


@pytest.mark.parametrize("workers", [1, 3])
def test_resampled_epochs_have_their_size_and_differ(root, monkeypatch, workers):
    options = {"resampled": True, "epoch_size": 40, "shuffle": 8}
    found = keys_by_reader(monkeypatch, root, 2, workers, **options)
    assert sum(map(len, found)) == 2 * 40
    assert all(set(keys) <= set(stored_keys(root)) for keys in found)
    assert len({tuple(keys) for keys in found}) == len(found)  # no two readers draw the same
    assert keys_by_reader(monkeypatch, root, 2, workers, **options) == found
    endless = iter(load_shards(root, resampled=True))
    assert len([next(endless) for _ in range(3 * SAMPLES)]) == 3 * SAMPLES


def test_all_samples_are_drawn_alike_whatever_the_size_of_their_shard(root):
    counts = collections.Counter(sample["key"] for sample in load_shards(root, resampled=True, epoch_size=3000))
    assert len(counts) == SAMPLES  # the last alone in its shard, the others six to a shard
    assert min(counts.values()) > 80 and max(counts.values()) < 160  # 120, deviation 10


def test_a_transform_is_applied_to_each_sample(root):
    def double(sample):
        return {"key": sample["key"], "double": sample["camera"] * 2}

    batch = next(iter(load_shards(root, batch_size=8, transform=double)))
    assert set(batch) == {"key", "double"} and batch["double"].shape == (8, 3, 3)


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
    assert 0 < len(list(dataset)) < SAMPLES
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
    with pytest.raises(ValueError, match="epoch_size"):
        load_shards(root, epoch_size=3)
    with pytest.raises(HandgenError, match="no such shard"):
        load_shards(tmp_path / "train-000000.tar")


def test_splits_are_named(root, tmp_path):
    assert len(load_shards(root, "train").shards) == 5
    with pytest.raises(HandgenError, match="no split 'val'; it has train"):
        load_shards(root, "val")
    both = tmp_path / "both"
    shutil.copytree(root, both)
    shutil.copy(both / "train-000004.tar", both / "val-000000.tar")
    manifest = json.loads((both / "manifest.json").read_text())
    manifest["splits"].append({**manifest["splits"][0], "name": "val"})
    manifest["shards"].append({**manifest["shards"][4], "name": "val-000000.tar"})
    (both / "manifest.json").write_text(json.dumps(manifest))
    assert [shard.path.name for shard in load_shards(both, "val").shards] == ["val-000000.tar"]
    with pytest.raises(HandgenError, match="has the splits train, val; say which"):
        load_shards(both)
    tars = [both / "train-000001.tar", both / "val-000000.tar"]
    assert [shard.samples for shard in load_shards(tars).shards] == [6, 1]  # as the manifest beside them says
    assert [shard.path.name for shard in load_shards(tars, "val").shards] == ["val-000000.tar"]
