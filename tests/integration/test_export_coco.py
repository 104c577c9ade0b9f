"""COCO files, read by pycocotools, xtcocotools and datasets (format: `handgen.datasets.coco.writer`)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from support.annotations import write_annotations
from support.export import decoded, export

from handgen.datasets.coco.writer import outlines, run_lengths


@pytest.fixture(scope="module")
def exported(shards_to_export, tmp_path_factory):
    out = tmp_path_factory.mktemp("coco") / "out"
    return out, export(shards_to_export, out, "coco")


def test_hands_come_back_as_they_were(exported, samples_to_export):
    out, report = exported
    data = COCO(str(out / "annotations" / "train.json"))
    assert len(data.imgs) == len(samples_to_export) == report.pictures
    for image, sample in zip(data.loadImgs(sorted(data.imgs)), samples_to_export, strict=True):
        picture = (out / "images" / image["file_name"]).read_bytes()
        assert picture == sample.jpeg
        assert decoded(picture).shape == (image["height"], image["width"], 3)
        found = data.loadAnns(sorted(data.getAnnIds(imgIds=[image["id"]])))
        assert [hand["hand_type"] for hand in found] == [hand["side"] for hand in sample.named]
        for annotation, hand in zip(found, sample.named, strict=True):
            keypoints = np.array(annotation["keypoints"]).reshape(21, 3)
            truth, visible = np.array(hand["keypoints_2d"]), np.array(hand["visible"], bool)
            inside = ((truth >= -0.5) & (truth <= 223.5)).all(1)
            assert (np.abs(keypoints[inside, :2] - truth[inside]) < 1e-3).all()
            assert (keypoints[:, 2] == np.where(inside, np.where(visible, 2, 1), 0)).all()
            assert (keypoints[~inside] == 0).all()
            assert annotation["num_keypoints"] == inside.sum() and annotation["iscrowd"] == 0
        own = found[0]
        assert own["bbox"] == sample.labels["box_px"] and own["area"] == sample.mask.sum()
        assert (data.annToMask(own).astype(bool) == sample.mask).all()
        assert mask_utils.toBbox(data.annToRLE(own)).tolist() == sample.labels["box_px"]


def test_the_category_names_the_keypoints_and_bones(exported):
    data = COCO(str(exported[0] / "annotations" / "train.json"))
    (category,) = data.loadCats(data.getCatIds())
    assert category["name"] == "hand" and category["keypoints"][0] == "wrist"
    assert len(category["keypoints"]) == 21 and len(category["skeleton"]) == 20
    assert [1, 6] in category["skeleton"] and [8, 9] in category["skeleton"]  # wrist to index knuckle, index to its tip


def test_outlines_cover_the_masks(shards_to_export, samples_to_export, tmp_path):
    export(shards_to_export, tmp_path / "out", "coco", segmentation="polygon")
    data = COCO(str(tmp_path / "out" / "annotations" / "train.json"))
    overlaps = []
    for number, sample in enumerate(samples_to_export, 1):
        (own,) = (a for a in data.loadAnns(data.getAnnIds(imgIds=[number])) if a["id"] == 2 * number - 1)
        assert isinstance(own["segmentation"], list)
        drawn = data.annToMask(own).astype(bool)
        overlaps.append((drawn & sample.mask).sum() / (drawn | sample.mask).sum())
    # an eighth of a pixel inside the edge, which pycocotools' rounding takes back; of a hole's slit a few pixels
    assert np.median(overlaps) > 0.999 and min(overlaps) > 0.99


def test_a_hand_without_a_mask_has_a_box_of_its_keypoints(exported, samples_to_export):
    data = COCO(str(exported[0] / "annotations" / "train.json"))
    others = 0
    for number, sample in enumerate(samples_to_export, 1):
        for annotation in data.loadAnns(data.getAnnIds(imgIds=[number])):
            if annotation["id"] == 2 * number - 1:
                continue
            keypoints = np.array(annotation["keypoints"]).reshape(21, 3)
            known = keypoints[keypoints[:, 2] > 0, :2]
            assert sample.labels["other_hand"] and not data.annToMask(annotation).any()
            if len(known):
                low, size = np.array(annotation["bbox"][:2]), np.array(annotation["bbox"][2:])
                assert np.allclose(low, known.min(0) + 0.5, atol=2e-3)
                assert np.allclose(low + size, known.max(0) + 0.5, atol=3e-3)
                others += 1
    assert others > 5


def test_whole_bodies_have_both_hands(shards_to_export, samples_to_export, tmp_path):
    export(shards_to_export, tmp_path / "out", "coco", wholebody=True)
    data = COCO(str(tmp_path / "out" / "annotations" / "train.json"))
    assert len(data.anns) == len(samples_to_export)
    for number, sample in enumerate(samples_to_export, 1):
        (person,) = data.loadAnns(data.getAnnIds(imgIds=[number]))
        whole = person["keypoints"] + person["foot_kpts"] + person["face_kpts"]
        whole += person["lefthand_kpts"] + person["righthand_kpts"]
        assert len(whole) == 133 * 3
        sides = {hand["side"]: hand for hand in sample.named}
        for side in ("left", "right"):
            assert person[f"{side}hand_valid"] == (side in sides)
            keypoints = np.array(person[f"{side}hand_kpts"]).reshape(21, 3)
            if side in sides:
                inside = keypoints[:, 2] > 0
                truth = np.array(sides[side]["keypoints_2d"])
                assert (np.abs(keypoints[inside, :2] - truth[inside]) < 1e-3).all()
            else:
                assert not keypoints.any() and person[f"{side}hand_box"] == [0, 0, 0, 0]
        assert person[f"{sample.labels['side']}hand_box"] == sample.labels["box_px"]
        assert (data.annToMask(person).astype(bool) == sample.mask).all()
        assert person["num_keypoints"] == sum(sample.inside(hand).sum() for hand in sample.named) > 0
        boxes = np.array([person[f"{side}hand_box"] for side in sides])
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
        around = np.concatenate([corners[:, :2].min(0), corners[:, 2:].max(0)])
        assert np.allclose(np.array(person["bbox"])[[0, 1]], around[:2], atol=1e-6)
        assert np.allclose(np.array(person["bbox"])[:2] + person["bbox"][2:], around[2:], atol=2e-3)


@pytest.mark.parametrize("wholebody", [False, True])
def test_xtcocotools_finds_perfect_hands_perfect(wholebody, shards_to_export, tmp_path, numpy_1_python):
    export(shards_to_export, tmp_path / "out", "coco", wholebody=wholebody)
    script = Path(__file__).parents[1] / "support" / "xtcocotools_reader.py"
    path = tmp_path / "out" / "annotations" / "train.json"
    run = subprocess.run([numpy_1_python, script, path], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    expected = ["righthand", "lefthand"] if wholebody else ["hand"]
    assert sorted(found) == sorted(expected) and all(score == pytest.approx(1.0) for score in found.values())


def test_pycocotools_finds_perfect_hands_perfect(exported):
    data = COCO(str(exported[0] / "annotations" / "train.json"))
    found = [{"image_id": a["image_id"], "category_id": 1, "keypoints": a["keypoints"], "score": 1.0}
             for a in data.anns.values() if a["num_keypoints"]]  # fmt: skip
    evaluation = COCOeval(data, data.loadRes(found), "keypoints")
    evaluation.params.kpt_oks_sigmas = np.full(21, 0.05)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0) and evaluation.stats[5] == pytest.approx(1.0)


def test_hugging_face_reads_the_annotations(exported, samples_to_export, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    found = datasets.load_dataset(
        "json", data_files=str(exported[0] / "annotations" / "train.json"), field="images", split="train",
        cache_dir=str(tmp_path),
    )  # fmt: skip
    assert found["file_name"][0] == "000000/00000000.jpg" and len(found) == len(samples_to_export)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.floats(0, 1))
@settings(max_examples=60)
def test_run_lengths_are_those_of_pycocotools(seed, height, width, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    rle = run_lengths(mask)
    assert sum(rle["counts"]) == mask.size
    assert (mask_utils.decode(mask_utils.frPyObjects(rle, height, width)).astype(bool) == mask).all()


def test_outlines_of_nothing_and_of_all():
    assert outlines(np.zeros((5, 7), bool)) == []
    (all_of_it,) = outlines(np.ones((5, 7), bool))
    corners = np.array(all_of_it).reshape(-1, 2)
    assert np.abs(corners.min(0) - 0).max() < 0.2 and np.abs(corners.max(0) - [7, 5]).max() < 0.2


def test_views_of_annotations_with_rejected_ones_when_asked(tmp_path):
    annotations = write_annotations(tmp_path / "a", frames=2, cameras=2)  # one view is rejected
    assert export(annotations, tmp_path / "out", "coco").pictures == 7
    assert export(annotations, tmp_path / "all", "coco", include_rejected=True).pictures == 8
    document = json.loads((tmp_path / "out" / "annotations" / "train.json").read_text())
    assert len({image["file_name"] for image in document["images"]}) == 7
