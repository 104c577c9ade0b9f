"""COCO hand sets as people publish them: what is unusual and readable is a note, what is wrong stays a finding."""

import json

import numpy as np
import pytest
from support.annotations import write_annotations
from support.export_sets import pictures_of, write_coco

from handgen.datasets.coco.reader import CocoReader, hands_of, mask_of
from handgen.stages.synthesize import stage
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.stages.validate.stage import run


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("coco_sets")
    annotations = write_annotations(root / "annotations", frames=4, accept_all=True)
    stage.run(annotations, root / "shards", None, SynthesizeConfig(samples=16, size=96, workers=1, seed=5))
    return pictures_of(root / "shards")


def box_outline(box, closed=False):
    x, y, width, height = box
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    return corners + corners[:2] if closed else corners


def as_published(document):
    """No num_keypoints, boxes as outlines, scores as visibilities, lists of three."""
    rng = np.random.default_rng(0)
    for number, annotation in enumerate(document["annotations"]):
        del annotation["num_keypoints"]
        annotation["segmentation"] = [box_outline(annotation["bbox"], closed=number % 2 == 1)]
        points = np.array(annotation["keypoints"]).reshape(21, 3)
        points[:, 2] = np.where(points[:, 2] > 0, rng.uniform(0.6, 0.99, 21), 0).round(3)
        annotation["keypoints"] = points.tolist()


def test_a_set_as_people_publish_them_has_notes_and_no_findings(pictures, tmp_path):
    report = run(write_coco(tmp_path / "coco", pictures, as_published), pixels=True, workers=1)
    assert report.valid, report.findings.kept
    for words in ("no num_keypoints", "rectangle as segmentation", "scores as visibilities", "lists of three"):
        [note] = [note for note in report.notes if words in note]
        assert "16 annotations with" in note
    assert report.looked_at["coco keypoints"] == 16 and not report.looked_at["coco mask"]


def test_what_is_wrong_stays_a_finding(pictures, tmp_path):
    def wrong(document):
        as_published(document)
        first, second, third = document["annotations"][:3]
        first["num_keypoints"] = 99
        second["keypoints"][4][2] = 3.5
        third["keypoints"][0].append(1.0)

    report = run(write_coco(tmp_path / "coco", pictures, wrong), workers=1)
    texts = [finding.what for finding in report.findings.kept if finding.kind == "coco keypoints"]
    assert any("num_keypoints is 99" in text for text in texts)
    assert any("a visibility of" in text for text in texts) and any("64 numbers" in text for text in texts)


def test_turned_pictures_are_still_told_where_there_are_masks(pictures, tmp_path):
    """A set with its true outlines and its pictures turned: the check sees what it is there for."""

    def turned(document):
        for annotation in document["annotations"]:
            annotation["segmentation"] = [
                [96 - value if i % 2 == 0 else value for i, value in enumerate(outline)]
                for outline in annotation["segmentation"]
            ]

    report = run(write_coco(tmp_path / "coco", pictures, turned), pixels=True, workers=1)
    assert not report.valid and any("mirrored" in finding.what for finding in report.findings.kept)


def test_the_reader_takes_nested_keypoints_scores_and_no_boxes_for_masks(pictures, tmp_path):
    plain = list(CocoReader(write_coco(tmp_path / "plain", pictures)))
    other = list(CocoReader(write_coco(tmp_path / "other", pictures, as_published)))
    for one, two in zip(plain, other, strict=True):
        np.testing.assert_allclose(two.hands[0].keypoints_px, one.hands[0].keypoints_px)
        np.testing.assert_array_equal(two.hands[0].labelled, one.hands[0].labelled)
        assert two.hands[0].visible.any() and one.mask is not None and two.mask is None


def test_scores_from_a_half_on_are_seen():
    points = [[float(k), 2.0, score] for k, score in enumerate(np.linspace(0, 1, 21))]
    [hand] = hands_of({"keypoints": points, "bbox": [0, 0, 9, 9]}, "a")
    np.testing.assert_array_equal(hand.visible, np.linspace(0, 1, 21) >= 0.5)
    assert hand.labelled.sum() == 20


@pytest.mark.parametrize(
    ("outline", "is_mask"),
    [
        (box_outline([2, 3, 20, 10]), False),
        (box_outline([2, 3, 20, 10], closed=True), False),
        ([2, 3, 22, 3, 22, 13], True),  # a triangle
        ([2, 3, 22, 4, 21, 14, 1, 13], True),  # a tilted one
        ([2, 3, 22, 13, 22, 3, 2, 13], True),  # its corners, crossed
        ([2, 3, 22, 3, 22, 13, 12, 20, 2, 13], True),
    ],
)
def test_upright_rectangles_are_no_masks(outline, is_mask):
    assert (mask_of([outline], (40, 30), "a") is not None) == is_mask
    with_another = mask_of([outline, [5, 5, 9, 9, 5, 9]], (40, 30), "a")
    assert with_another is not None  # one part of several may be anything


def test_nonsense_is_a_finding_and_no_crash(pictures, tmp_path):
    def nonsense(document):
        for annotation, points in zip(
            document["annotations"], ([[]] * 21, [[None] * 3] * 21, [["a", {}, []]] * 21, {}, None), strict=False
        ):
            annotation["keypoints"] = points
            annotation["segmentation"] = [["a"], [1, 2, 3], 5, None]

    root = write_coco(tmp_path / "coco", pictures, nonsense)
    assert len(json.loads((root / "annotations" / "train.json").read_text())["annotations"]) == 16
    assert not run(root, workers=1).valid
