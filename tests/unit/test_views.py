from dataclasses import replace

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.annotations import BETAS, write_annotations
from support.synthesize import PLAIN, maker_of

from handgen.errors import HandgenError
from handgen.stages.synthesize.sample import ShardUnit
from handgen.stages.synthesize.sources import open_sources
from handgen.stages.synthesize.views import (
    NO_ROW,
    REUSES,
    ROW,
    ViewTable,
    order_views,
    source_view,
    spread,
    usable_views,
)


def table_of(root, include_rejected=False):
    opened = open_sources([root], want_flips=True)
    return opened[0], usable_views(opened, include_rejected)


@given(
    count=st.integers(1, 40), samples=st.integers(1, 400), shard=st.integers(1, 60), seed=st.integers(0, 2**60)
)  # fmt: skip
def test_every_view_is_used_equally_often_whatever_the_shards(count, samples, shard, seed):
    whole = order_views(count, samples, seed, 0, samples)
    parts = [order_views(count, samples, seed, f, min(f + shard, samples)) for f in range(0, samples, shard)]
    assert (np.concatenate(parts) == whole).all() and len(whole) == samples
    counts = np.bincount(whole, minlength=count)
    assert counts.max() - counts.min() <= 1


def test_rounds_differ_and_a_view_comes_in_a_row():
    order = order_views(7, 7 * REUSES * 2, 3, 0, 7 * REUSES * 2)
    first, second = order.reshape(2, 7, REUSES)
    assert (first == first[:, :1]).all()
    assert (first[:, 0] != second[:, 0]).any()


def test_spread_keeps_the_uses_of_a_view_on_different_backgrounds_but_near():
    views = np.repeat(np.arange(100), REUSES)
    picks = np.random.default_rng(0).permutation(np.repeat(np.arange(100), REUSES))
    placed = spread(views, picks)
    assert sorted(placed) == sorted(views)
    assert len(set(zip(placed.tolist(), picks.tolist(), strict=True))) == len(views)
    work = placed[np.argsort(picks, kind="stable")]
    for view in range(100):
        where = np.flatnonzero(work == view)
        assert np.ptp(where) < 16 * REUSES  # so few pictures are in memory at once


def test_rows_hold_what_the_records_say_and_who_is_beside_whom(tmp_path):
    root = write_annotations(tmp_path, frames=3, cameras=2, accept_all=True)
    opened, table = table_of(root)
    assert len(table) == 3 * 2 * 2
    records = {(r.frame, r.side): r for _, r in opened.annotations}
    places = np.arange(len(table))
    others = ShardUnit.of(table, 0, (0, "train", 0), 0, places, places).others
    for row, other in zip(table.rows, others, strict=True):
        view = source_view(row, opened.source, opened.annotations.betas)
        record = records[view.frame, view.side]
        recorded = next(v for v in record.views if v.camera.name == view.camera.name)
        assert view.cutout == recorded.cutout and view.camera.size_px == recorded.camera.size_px
        assert (view.pose == record.pose).all() and (view.translation_m == record.translation_m).all()
        assert (view.keypoints_world_m == record.keypoints_world_m).all()
        assert (view.camera.intrinsics == recorded.camera.intrinsics).all()
        assert (view.betas == BETAS).all() and view.mask_iou == recorded.mask_iou
        beside = source_view(other, opened.source, opened.annotations.betas)
        assert (beside.frame, beside.camera.name) == (view.frame, view.camera.name)
        assert beside.side != view.side


@given(places=st.lists(st.integers(0, 10), min_size=1, max_size=60))
def test_a_unit_holds_each_row_once_and_gives_every_sample_its_own(places):
    rows = np.zeros(11, ROW)
    rows["frame"] = np.arange(11)
    rows["other"] = [1, 0, NO_ROW, 4, 3, 6, 5, NO_ROW, 9, 8, NO_ROW]
    unit = ShardUnit.of(ViewTable(rows, ()), 3, (0, "train", 3), 7, np.array(places), np.arange(len(places)))
    assert len(np.unique(unit.rows["frame"])) == len(unit.rows)
    assert unit.views["frame"].tolist() == places
    for place, other in zip(places, unit.others, strict=True):
        assert (other["chunk"] == NO_ROW) if rows["other"][place] == NO_ROW else other["frame"] == rows["other"][place]


def test_rejected_views_are_left_out_unless_asked_for(tmp_path):
    root = write_annotations(tmp_path, frames=1, cameras=2)
    _, table = table_of(root)
    assert len(table) == 3 and len(table_of(root, True)[1]) == 4
    alone = table.rows["other"] == NO_ROW
    assert alone.sum() == 1  # the hand whose companion was rejected
    places = np.arange(len(table))
    assert (
        ShardUnit.of(table, 0, (0, "train", 0), 0, places, places).others["chunk"] == NO_ROW
    ).tolist() == alone.tolist()


def test_records_that_do_not_fit_the_model_are_an_error(tmp_path):
    root = write_annotations(tmp_path, frames=1, cameras=1)
    manifest = (root / "manifest.json").read_bytes()
    beta = f"{BETAS[0]}".encode()
    assert beta in manifest
    (root / "manifest.json").write_bytes(manifest.replace(beta, b"2.9", 1))
    with pytest.raises(HandgenError, match=r"frame 0, .* mm from the record's"):
        table_of(root)


def test_a_view_of_a_camera_that_the_manifest_does_not_list_is_an_error(tmp_path):
    root = write_annotations(tmp_path, frames=1, cameras=2)
    manifest = orjson.loads((root / "manifest.json").read_bytes())
    manifest["cameras"] = manifest["cameras"][1:]
    (root / "manifest.json").write_bytes(orjson.dumps(manifest))
    with pytest.raises(HandgenError, match=r"is of camera 'cam0', which the manifest does not list"):
        table_of(root)


def test_keypoints_that_the_capture_does_not_show_are_not_visible(tmp_path):
    """The capture's image ends in the middle of the hand; the cutout reaches beyond it, black there."""
    root = write_annotations(tmp_path, frames=1, cameras=1, sides=("right",), accept_all=True)
    opened, table = table_of(root)
    assert table.rows["shown"].all()
    full = opened.annotations.rig["cam0"]
    pixels, _ = full.project(table.rows[0]["keypoints_world_m"])
    border = int(np.median(pixels[:, 0]))
    manifest = orjson.loads((root / "manifest.json").read_bytes())
    manifest["cameras"][0]["size_px"][0] = border
    (root / "manifest.json").write_bytes(orjson.dumps(manifest))
    expected = pixels[:, 0] <= border - 0.5
    assert 0 < expected.sum() < 21
    maker, unit = maker_of(root, replace(PLAIN, hand_share=(0.5, 0.5), shift_share=0.0, flip_probability=0.0))
    assert unit.views["shown"][0].tolist() == expected.tolist()
    assert maker.sample(unit, 0).document["visible"] == expected.astype(int).tolist()
