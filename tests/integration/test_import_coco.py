import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.annotations import write_annotations
from support.export_sets import pictures_of, write_coco

from handgen.datasets.coco.reader import CocoReader, hands_of, mask_of
from handgen.errors import HandgenError
from handgen.media import images
from handgen.stages.synthesize import stage
from handgen.stages.synthesize.config import SynthesizeConfig


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("coco")
    annotations = write_annotations(root / "annotations", frames=3, accept_all=True)
    stage.run(annotations, root / "shards", None, SynthesizeConfig(samples=12, size=64, workers=1, seed=5))
    return pictures_of(root / "shards")


def test_pictures_come_back_as_they_were_written(pictures, tmp_path):
    reader = CocoReader(write_coco(tmp_path / "coco", pictures))
    read = list(reader)
    assert reader.count == len(read) == 12
    for there, here in zip(read, pictures, strict=True):
        [hand], labelled = there.hands, here.hands[0]
        assert (there.size_px, there.image, hand.side) == ((64, 64), here.image, "")
        np.testing.assert_allclose(hand.keypoints_px[hand.labelled], labelled.keypoints_px[hand.labelled])
        np.testing.assert_array_equal(hand.visible, labelled.visible)
        assert hand.box_px == tuple(map(float, labelled.box_px))
        mask, own = (images.decode_grey(picture.mask, "mask") > 127 for picture in (there, here))
        assert (mask & own).sum() > 0.9 * (mask | own).sum()  # an outline through the middles of its pixels


def runs(mask: np.ndarray) -> list[int]:
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *changes.tolist(), flat.size]).tolist()
    return [0, *lengths] if flat[0] else lengths


def packed(counts: list[int]) -> str:
    """Pack run lengths as pycocotools does (`rleToString` in cocoapi's maskApi.c)."""
    text = ""
    for k, count in enumerate(counts):
        value = count - counts[k - 2] if k > 2 else count
        while True:
            bits, value = value & 0x1F, value >> 5
            more = value != (-1 if bits & 0x10 else 0)
            text += chr((bits | (0x20 if more else 0)) + 48)
            if not more:
                break
    return text


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_run_lengths_give_the_mask_they_were_made_of(seed, is_packed):
    mask = np.kron(np.random.default_rng(seed).random((7, 5)) < 0.5, np.ones((3, 30))).astype(bool)
    counts = runs(mask)
    told = {"size": list(mask.shape), "counts": packed(counts) if is_packed else counts}
    drawn = mask_of(told, mask.shape[::-1], "a") > 127
    np.testing.assert_array_equal(drawn, mask)


def test_whole_bodies_give_the_hands_that_are_valid():
    body = {
        "lefthand_kpts": [1.0, 2.0, 2] * 21,
        "lefthand_box": [0, 0, 5, 5],
        "lefthand_valid": True,
        "righthand_kpts": [0] * 63,
        "righthand_box": [0] * 4,
        "righthand_valid": False,
    }
    [hand] = hands_of(body, "a")
    assert hand.side == "left" and hand.visible.all()


@pytest.mark.parametrize(
    ("outline", "side"), [([40, 10, 20, 20], "right"), ([2, 10, 20, 20], "left"), ([2, 2, 60, 60], None)]
)
def test_the_outline_of_a_whole_body_is_of_the_hand_that_it_lies_around(pictures, tmp_path, outline, side):
    left, top, width, height = outline
    corners = [left + 3, top, left + width, top, left + width, top + height, left, top + height, left, top + 3]

    def people(document):
        for entry in document["annotations"]:
            entry["segmentation"] = [corners]
            for name, x in (("left", 2), ("right", 40)):
                entry[f"{name}hand_kpts"] = [x + 5.0, 15.0, 2] * 21
                entry |= {f"{name}hand_box": [x, 10, 20, 20], f"{name}hand_valid": True}

    first = next(iter(CocoReader(write_coco(tmp_path / "coco", pictures[:1], people))))
    assert len(first.hands) == 2
    if side is None:  # the person's, as in COCO-WholeBody
        assert first.mask is None
    else:
        mask = images.decode_grey(first.mask, "mask") > 127
        assert first.hands[0].side == side and mask[20, left + 10] and not mask[5, 5]


@pytest.mark.parametrize("name", ["../x.jpg", "/etc/passwd", "a/../../x.jpg", "a\\b.jpg", "", None, 3])
def test_files_outside_the_data_set_are_refused(pictures, tmp_path, name):
    root = write_coco(tmp_path / "coco", pictures, lambda document: document["images"][0].update(file_name=name))
    with pytest.raises(HandgenError, match="file_name: .* is no path inside"):
        next(iter(CocoReader(root)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["annotations"][0].update(keypoints=[0] * 42), r"keypoints: must have shape \(63\), got \(42\)"),
        (lambda d: d["annotations"][0].update(bbox="box"), "box: must be numbers of shape"),
        (lambda d: d["images"][0].pop("width"), "has no id, file_name, width or height"),
        (lambda d: d["images"][0].update(width=10**9), "no size of a picture"),
        (lambda d: d["annotations"][0].update(segmentation={"size": [64, 64], "counts": [1]}), "do not make a mask"),
        (lambda d: d["annotations"][0].update(segmentation=[[1, 2, 3]]), "lists of x and y"),
        (lambda d: d["annotations"][0].update(segmentation=[[]]), "a polygon of 0 numbers; write 6 or more"),
        (lambda d: d["annotations"][0].update(segmentation=[[1] * 8, [1, 2, 3, 4]]), "a polygon of 4 numbers"),
        (lambda d: d.pop("categories"), "has no lists images, annotations, categories"),
    ],
)
def test_documents_of_another_layout_are_refused(pictures, tmp_path, change, said):
    root = write_coco(tmp_path / "coco", pictures, change)
    with pytest.raises(HandgenError, match=said):
        next(iter(CocoReader(root)))


def test_a_picture_that_is_not_there_is_none(pictures, tmp_path):
    root = write_coco(tmp_path / "coco", pictures)
    next((root / "images").iterdir()).unlink()
    assert sum(picture.image is None for picture in CocoReader(root)) == 1
    with pytest.raises(HandgenError, match="annotations"):
        CocoReader(tmp_path)
    (root / "annotations" / "train.json").write_text(json.dumps([]))
    with pytest.raises(HandgenError, match="is it COCO"):
        CocoReader(root)
