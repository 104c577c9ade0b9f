import itertools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.annotations import write_annotations
from support.reading import as_loader
from torch.utils.data import DataLoader

from handgen.data import load_shards
from handgen.data.stream import batches_per_worker
from handgen.io import shards
from handgen.stages.synthesize import stage
from handgen.stages.synthesize.config import SynthesizeConfig

SAMPLES = 37


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    annotations = write_annotations(folder / "annotations", frames=2)
    config = SynthesizeConfig(samples=SAMPLES, size=32, samples_per_shard=5, workers=1, augment="none")
    stage.run(annotations, folder / "shards", None, config)
    return folder / "shards"


def keys_of(items) -> list:
    return [item["key"] for item in items]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    workers=st.integers(1, 4), shuffle=st.sampled_from([0, 3, 12, 100]), batch_size=st.sampled_from([None, 1, 3, 4]),
    share=st.floats(0, 1), even=st.booleans(), rank=st.integers(0, 1),
)  # fmt: skip
def test_the_rest_of_an_epoch_is_what_it_would_have_been(
    root, monkeypatch, workers, shuffle, batch_size, share, even, rank
):
    def dataset():
        return load_shards(
            root, batch_size=batch_size, shuffle=shuffle, seed=2, even=even, rank=rank, world_size=2
        )  # fmt: skip

    whole = dataset()
    whole.set_epoch(3)
    expected = keys_of(as_loader(monkeypatch, whole, workers))
    taken = round(share * (len(expected) - 1))
    resumed = dataset()
    resumed.resume(epoch=3, batches=taken)
    assert keys_of(as_loader(monkeypatch, resumed, workers)) == expected[taken:]
    resumed.set_epoch(4)  # other epochs are whole
    whole.set_epoch(4)
    assert keys_of(as_loader(monkeypatch, resumed, workers)) == keys_of(as_loader(monkeypatch, whole, workers))


def test_shards_that_are_passed_over_are_not_read(root, monkeypatch):
    read, read_groups = [], shards.read_groups
    monkeypatch.setattr(shards, "read_groups", lambda path: read.append(path.name) or read_groups(path))
    dataset = load_shards(root)
    dataset.resume(0, 31)
    assert len(list(dataset)) == SAMPLES - 31 and read == ["train-000006.tar", "train-000007.tar"]
    read.clear()
    shuffled = load_shards(root, shuffle=2)
    shuffled.resume(0, 31)
    assert len(list(shuffled)) == SAMPLES - 31 and len(read) < 8


def test_resampled_readers_go_on_as_well(root, monkeypatch):
    def dataset():
        return load_shards(root, resampled=True, epoch_size=50, shuffle=6, batch_size=4)

    expected = keys_of(as_loader(monkeypatch, dataset(), 3))
    resumed = dataset()
    resumed.resume(0, 7)
    assert keys_of(as_loader(monkeypatch, resumed, 3)) == expected[7:]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=5), st.integers(0, 50))
def test_batches_are_counted_as_a_loader_takes_them(of_worker, batches):
    queues = [[worker] * count for worker, count in enumerate(of_worker)]
    order = [queue[turn] for turn in range(10) for queue in queues if turn < len(queue)]
    taken, turn = batches_per_worker(batches, of_worker)
    assert taken == [order[:batches].count(worker) for worker in range(len(of_worker))]
    if batches < len(order):
        assert turn == order[batches]


@pytest.mark.slow
def test_a_real_loader_counts_likewise(root):
    def loader(dataset):
        return DataLoader(dataset, batch_size=None, num_workers=2)

    expected = keys_of(loader(load_shards(root, batch_size=4, shuffle=8)))
    resumed = load_shards(root, batch_size=4, shuffle=8)
    resumed.resume(0, 5)
    assert keys_of(loader(resumed)) == expected[5:]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_torchdatas_loader_saves_and_restores_its_state(root, workers):
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

    def loader():
        return stateful(load_shards(root, batch_size=4, shuffle=8), batch_size=None, num_workers=workers)

    expected = keys_of(loader())
    first = loader()
    begun = keys_of(itertools.islice(first, 4))
    state = first.state_dict()
    second = loader()
    second.load_state_dict(state)
    assert begun + keys_of(second) == expected
