"""InterHand2.6M's files, read as its loader reads them (format: `handgen.datasets.interhand.writer`)."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from support.annotations import write_annotations
from support.export import export, mean_pose, true_vertices, vertices

MM = 1000
ROOT = {"right": 20, "left": 41}
# From each finger's tip to the palm, thumb to pinky, the wrist last; what they are in handgen's order.
OURS = [4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9, 16, 15, 14, 13, 20, 19, 18, 17, 0]


class InterHand:
    """Per annotation what `dataset.py` computes: joints in the camera (mm) and the picture (px), validity, type."""

    def __init__(self, root, split="train"):
        folder, stem = root / "annotations" / split, f"InterHand2.6M_{split}"
        self.root, self.split = root, split
        self.db = COCO(str(folder / f"{stem}_data.json"))
        self.cameras, self.joints, self.mano = (
            json.loads((folder / f"{stem}_{name}.json").read_text())
            for name in ("camera", "joint_3d", "MANO_NeuralAnnot")
        )

    def __iter__(self):
        for annotation in self.db.anns.values():
            image = self.db.loadImgs(annotation["image_id"])[0]
            capture, camera, frame = str(image["capture"]), str(image["camera"]), str(image["frame_idx"])
            int(camera), int(frame)  # which it keeps as numbers
            position, rotation, focal, center = (
                np.array(self.cameras[capture][name][camera]) for name in ("campos", "camrot", "focal", "princpt")
            )
            world = np.array(self.joints[capture][frame]["world_coord"])
            in_camera = (world - position) @ rotation.T
            valid = np.array(annotation["joint_valid"]).reshape(42)
            for side, joints in (("right", slice(0, 21)), ("left", slice(21, 42))):
                valid[joints] *= valid[ROOT[side]]
            with np.errstate(divide="ignore", invalid="ignore"):  # hands that are not there
                pixels = in_camera[:, :2] / in_camera[:, 2:] * focal + center
            yield annotation, image, in_camera, pixels, valid, self.mano[capture][frame], (rotation, position)


@pytest.fixture(scope="module")
def exported(shards_to_export, tmp_path_factory):
    out = tmp_path_factory.mktemp("interhand") / "out"
    return out, export(shards_to_export, out, "interhand")


def camera_vertices(parameters, side, camera):
    """The mesh of NeuralAnnot's parameters, from the world (m) into the camera."""
    rotation, position = camera
    pose = np.array(parameters["pose"])
    pose[3:] += mean_pose(side)
    world = vertices(side, pose, parameters["shape"], parameters["trans"])
    return (world - position / MM) @ rotation.T


def test_hands_come_back_as_they_were(exported, samples_to_export):
    out, report = exported
    items = list(InterHand(out))
    assert len(items) == len(samples_to_export) == report.pictures
    for (annotation, image, in_camera, pixels, valid, mano, camera), sample in zip(
        items, samples_to_export, strict=True
    ):
        assert (out / "images" / "train" / image["file_name"]).read_bytes() == sample.jpeg
        sides = {hand["side"]: hand for hand in sample.named}
        assert annotation["hand_type"] == ("interacting" if len(sides) == 2 else sample.labels["side"])
        for side, first in (("right", 0), ("left", 21)):
            joints = slice(first, first + 21)
            assert (valid[joints] == (side in sides)).all()
            assert (mano[side] is None) == (side not in sides)
            if side not in sides:
                continue
            hand = sides[side]
            assert np.abs(in_camera[joints] - MM * np.array(hand["keypoints_3d"])[OURS]).max() < 2e-3
            assert np.abs(pixels[joints] - np.array(hand["keypoints_2d"])[OURS]).max() < 0.01
            assert np.abs(camera_vertices(mano[side], side, camera) - true_vertices(hand)).max() * MM < 0.1
        assert image["capture"] == 0 and image["width"] == 224 and image["seq_name"] == "drawn"


def test_boxes_are_around_the_masks_and_the_other_hands_keypoints(exported, samples_to_export):
    for annotation, sample in zip(InterHand(exported[0]).db.anns.values(), samples_to_export, strict=True):
        x, y, w, h = sample.labels["box_px"]
        low, high = np.array([x, y], float), np.array([x + w, y + h], float)
        for other in sample.named[1:]:
            points = np.array(other["keypoints_2d"])[sample.inside(other)] + 0.5  # from the picture's edge
            low, high = np.minimum(low, points.min(0)), np.maximum(high, points.max(0))
        assert np.allclose(annotation["bbox"], [*low, *(high - low)], atol=3e-3)


def test_views_of_one_frame_share_its_joints(tmp_path):
    annotations = write_annotations(tmp_path / "a", frames=3, cameras=2, accept_all=True, apart_m=0.1)
    export(annotations, tmp_path / "out", "interhand")
    data = InterHand(tmp_path / "out")
    assert sorted(data.joints["0"]) == ["0", "1", "2"]
    assert all(frame["hand_type"] == "interacting" for frame in data.joints["0"].values())
    records = [json.loads(line) for path in sorted((annotations / "chunks").glob("*.jsonl")) for line in path.open()]
    by_hand = {(record["frame"], record["side"]): record for record in records}
    for (frame, side), record in by_hand.items():
        both = np.array(data.joints["0"][str(frame)]["world_coord"])
        world = both[:21] if side == "right" else both[21:]
        assert np.abs(world - MM * np.array(record["keypoints_world_m"])[OURS]).max() < 1e-3
        parameters = data.mano["0"][str(frame)][side]
        pose = np.array(parameters["pose"])
        pose[3:] += mean_pose(side)
        expected = vertices(side, record["pose"], parameters["shape"], record["translation_m"])
        assert np.abs(vertices(side, pose, parameters["shape"], parameters["trans"]) - expected).max() * MM < 0.1
    views = {view["cutout"]: view for record in records for view in record["views"]}
    assert len(data.db.imgs) == len(views)


def test_the_skeleton_is_a_tree_of_42_joints(exported):
    lines = (exported[0] / "annotations" / "skeleton.txt").read_text().splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    assert [int(number) for _, number, _ in rows] == list(range(42))
    parents = [int(parent) for *_, parent in rows]
    assert parents[20] == parents[41] == -1 and parents[0] == 1 and parents[3] == 20 and parents[24] == 41
    assert rows[0][0] == "r_thumb4" and rows[41][0] == "l_wrist" and rows[4][0] == "r_index4"
