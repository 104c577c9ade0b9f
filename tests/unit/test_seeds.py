"""Seeds of random streams: lists that begin with the run's own, so that no two purposes share a stream."""

import sys
from collections import defaultdict
from dataclasses import replace

import cv2
import numpy as np
import pytest
from support.annotations import write_annotations
from support.synthesize import PLAIN, maker_of

from handgen.stages.simulate import stage as simulate
from handgen.stages.simulate.config import SimulateConfig
from handgen.stages.synthesize import splits, views
from handgen.stages.synthesize import stage as synthesize

SEED = 1_000_003  # of a run here; nothing else has it


@pytest.fixture
def seeds(monkeypatch):
    """All seeds of generators made in a test, by the module that made them."""
    made, default_rng = defaultdict(list), np.random.default_rng

    def noted(seed=None):
        frame = sys._getframe(1)
        if "/handgen/" in frame.f_code.co_filename:
            made[frame.f_code.co_filename.rpartition("/handgen/")[2]].append(seed)
        return default_rng(seed)

    monkeypatch.setattr(np.random, "default_rng", noted)
    return made


def check(made, at_least):
    """Every stream is of a list that begins with the run's seed, or of a constant; no two modules share one."""
    lists = {}
    for module, found in made.items():
        for seed in found:
            if np.ndim(seed) == 0:
                assert seed is not None and abs(seed) < SEED / 2, f"{module}: {seed} is no list"
            elif seed[0] == SEED:
                key = tuple(map(int, seed))
                assert lists.setdefault(key, module) == module, f"{key}: {module} and {lists[key]}"
    assert len(lists) >= at_least


def test_synthesis_draws_from_streams_of_its_own(seeds, tmp_path):
    root = write_annotations(tmp_path / "a", frames=1, cameras=1)
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((256, 256, 3), 60 * number, np.uint8))
    seeds.clear()
    config = replace(PLAIN, samples=8, samples_per_shard=4, size=32, workers=1, seed=SEED)
    synthesize.run(root, tmp_path / "shards", tmp_path, config)
    splits.assign([splits.Group((i,), (str(i),), 9) for i in range(3)], (0.5, 0.5), SEED, ("a", "b"), "subject")
    check(seeds, at_least=8 + 3)  # samples, the orders of views, backgrounds and people


def test_simulation_draws_from_streams_of_its_own(seeds, tmp_path):
    config = SimulateConfig(
        views=2, frames=2, size=(64, 64), seed=SEED, background="green", sync_error_frames=0.5, workers=1, video=False
    )
    simulate.run(tmp_path / "capture", config)
    check(seeds, at_least=2 * 2 + 4)  # noise of each image; room, poses, rig and more


def test_numbers_that_add_up_alike_give_other_samples(tmp_path):
    """Seed, shard and place are three numbers: samples of (0, 1, 0), (1, 0, 0) and (0, 0, 1) have nothing in common."""
    root = write_annotations(tmp_path / "a", frames=1, cameras=1, sides=("right",), accept_all=True)
    cameras = []
    for seed, number, place in ((0, 1, 0), (1, 0, 0), (0, 0, 1)):
        maker, unit = maker_of(root, replace(PLAIN, size=32, seed=seed))
        zeros = np.zeros(2, int)
        unit = replace(unit, number=number, hands=zeros, others_at=zeros + views.NO_ROW, picks=zeros)
        document = maker.sample(unit, place).document
        assert document["seed"] == [seed, number, place]
        cameras.append(np.array(document["camera"]["intrinsics"]))
    assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(cameras, cameras[1:] + cameras[:1], strict=True))


def test_orders_of_rounds_whose_numbers_add_up_alike_differ():
    orders = [views._order_of_round(seed, turn, 50).tolist() for seed, turn in ((3, 0), (0, 3), (2, 1), (1, 2))]
    assert len({tuple(order) for order in orders}) == 4
