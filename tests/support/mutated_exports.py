"""Changes of data sets in other projects' formats, made of the pictures of shards, or of drawn hands."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from handgen.hand.conversions import mirror_points, mirror_pose, relative_from_full
from handgen.hand.model_files import load_hand
from handgen.hand.skeleton import FINGER_KEYPOINTS, KEYPOINT_ORDERS
from handgen.records.labelled_image import LabelledImage
from handgen.storage.tar import write_tar
from support.data_sets import write_freihand, write_interhand
from support.export_sets import Entry, write_coco, write_hamer
from support.mutated_sets import manifest
from support.mutations import members_of


def hamer(change: Callable[[Entry], Any]) -> Callable[[Path, list[LabelledImage]], Path]:
    """Tars whose dictionaries are changed, in place or to what is returned."""

    def changed(entry: Entry) -> Any:
        result = change(entry)
        return [entry] if result is None else result

    return lambda root, pictures: write_hamer(root, pictures, changed)


def coco(change: Callable[[dict[str, Any]], None]) -> Callable[[Path, list[LabelledImage]], Path]:
    """A COCO folder whose document is changed."""
    return lambda root, pictures: write_coco(root, pictures, change)


def entry(name: str, value: Callable[[Any], Any]) -> Callable[[Path, list[LabelledImage]], Path]:
    """Tars with one value of every dictionary changed."""
    return hamer(lambda found: found.update({name: value(found[name])}))


def each_annotation(change: Callable[[dict[str, Any]], None]) -> Callable[[Path, list[LabelledImage]], Path]:
    """A COCO folder with every annotation changed."""

    def change_document(document: dict[str, Any]) -> None:
        for annotation in document["annotations"]:
            change(annotation)

    return coco(change_document)


def _mirrored_left(found: Entry) -> None:
    """Make it a right hand, which HaMeR's loader would mirror again."""
    if not found["right"]:
        found["hand_pose"] = mirror_pose(found["hand_pose"]).astype(np.float32)
        found["keypoints_3d"][:, :3] = mirror_points(found["keypoints_3d"][:, :3])


def _wrong_hand_without_pose(found: Entry) -> None:
    found["right"] = np.float32(1 - found["right"])
    found["has_hand_pose"] = np.float32(0)


def _relative(found: Entry) -> None:
    arrays = load_hand("open", "right" if found["right"] else "left")
    found["hand_pose"] = relative_from_full(found["hand_pose"].astype(float), arrays).astype(np.float32)


def _nan_of_no_confidence(points: np.ndarray) -> np.ndarray:
    points[3] = (np.nan, np.nan, np.nan, 0)
    return points


def _nan_confidence(points: np.ndarray) -> np.ndarray:
    points[3, 2] = np.nan
    return points


def _second_hand(found: Entry) -> list[Entry]:
    return [found, {**found, "extra_info": {"detection_npz_idx": 1}}]


def _small_masks(root: Path, pictures: list[LabelledImage]) -> Path:
    write_hamer(root, pictures)
    for path in root.glob("*.tar"):
        members = []
        for name, data in members_of(path):
            if name.endswith(".npz"):
                packed = io.BytesIO()
                np.savez(packed, masks=np.ones((1, 8, 8), bool))
                data = packed.getvalue()
            members.append((name, data))
        write_tar(path, members)
    return root


def _corners(annotation: dict[str, Any]) -> None:
    left, top, width, height = annotation["bbox"]
    annotation["bbox"] = [left, top, left + width, top + height]


def _reordered(annotation: dict[str, Any]) -> None:
    keypoints = np.array(annotation["keypoints"]).reshape(21, 3)
    annotation["keypoints"] = keypoints[list(KEYPOINT_ORDERS["interhand"])].ravel().tolist()


def _swapped_names(document: dict[str, Any]) -> None:
    names = document["categories"][0]["keypoints"]
    order = np.arange(21)
    order[list(FINGER_KEYPOINTS["ring"])] = FINGER_KEYPOINTS["pinky"]
    order[list(FINGER_KEYPOINTS["pinky"])] = FINGER_KEYPOINTS["ring"]
    document["categories"][0]["keypoints"] = [names[i] for i in order]


def _outside(document: dict[str, Any]) -> None:
    document["images"][0]["file_name"] = "../../etc/passwd"


def _without_pictures(root: Path, pictures: list[LabelledImage]) -> Path:
    _, *others = sorted((write_coco(root, pictures) / "images").iterdir())
    for path in others:
        path.unlink()
    return root


def freihand(change: Callable[[np.ndarray], None]) -> Callable[[Path, list[LabelledImage]], Path]:
    """FreiHAND's files with every entry (61 numbers) of mano.json changed."""

    def write(root: Path, _: list[LabelledImage]) -> Path:
        write_freihand(root)
        values = np.array(json.loads((root / "training_mano.json").read_text()))
        for value in values:
            change(value[0])
        (root / "training_mano.json").write_text(json.dumps(values.tolist()))
        return root

    return write


def interhand(change: Callable[[dict[str, Any]], None]) -> Callable[[Path, list[LabelledImage]], Path]:
    """InterHand2.6M's files with data.json changed."""

    def write(root: Path, _: list[LabelledImage]) -> Path:
        write_interhand(root)
        manifest(change, "annotations/val/InterHand2.6M_val_data.json")(root)
        return root

    return write


def each_of_interhand(**values: Any) -> Callable[[Path, list[LabelledImage]], Path]:
    """Change it with values of all annotations changed."""

    def change(document: dict[str, Any]) -> None:
        for annotation in document["annotations"]:
            annotation.update(values)

    return interhand(change)


def _one_picture_left(write: Callable[[Path], Any], folder: str) -> Callable[[Path, list[LabelledImage]], Path]:
    def write_it(root: Path, _: list[LabelledImage]) -> Path:
        write(root)
        for path in sorted((root / folder).rglob("*.jpg"))[1:]:
            path.unlink()
        return root

    return write_it


def _spoilt_second_split(root: Path, _: list[LabelledImage]) -> Path:
    for split in ("test", "val"):
        write_interhand(root, split=split)
    manifest(lambda document: document["annotations"].clear(), "annotations/val/InterHand2.6M_val_data.json")(root)
    return root


def _spoilt_evaluation(root: Path, _: list[LabelledImage]) -> Path:
    for split in ("training", "evaluation"):
        write_freihand(root, split=split)
    points = 1000 * np.array(json.loads((root / "evaluation_xyz.json").read_text()))
    (root / "evaluation_xyz.json").write_text(json.dumps(points.tolist()))
    return root


EXPORTS: list[tuple[str, Callable[[Path, list[LabelledImage]], Path], str, str]] = [
    ("HaMeR: a dictionary in place of a list", hamer(lambda found: found), "hamer list", "not a list"),
    ("HaMeR: keypoints_3d without confidence", entry("keypoints_3d", lambda a: a[:, :3]), "hamer arrays", "(21, 3)"),
    ("HaMeR: double precision", entry("hand_pose", lambda a: a.astype(float)), "hamer arrays", "float64"),
    ("HaMeR: Python numbers as flags", entry("has_betas", float), "hamer numbers", "np.float32(1)"),
    ("HaMeR: a flag of NaN", entry("has_hand_pose", lambda _: np.float32(np.nan)), "hamer numbers", "not finite"),
    ("HaMeR: boxes not padded", entry("scale", lambda a: a / 2), "hamer padding", "pad them"),
    ("HaMeR: scale in pixels", entry("scale", lambda a: 200 * a), "hamer box", "divide it by 200"),
    ("HaMeR: no index of the mask", entry("extra_info", lambda _: {}), "hamer mask", "detection_npz_idx"),
    (
        "HaMeR: low confidence",
        entry("keypoints_2d", lambda a: a * np.float32([1, 1, 0.1])),
        "hamer confidence",
        "0 keypoints",
    ),
    (
        "HaMeR: NaN with confidence 0",
        entry("keypoints_3d", _nan_of_no_confidence),
        "hamer arrays",
        "0 times NaN is NaN",
    ),
    ("HaMeR: a confidence of NaN", entry("keypoints_2d", _nan_confidence), "hamer arrays", "keypoints_2d has a value"),
    ("HaMeR: a centre of NaN", entry("center", lambda a: a * np.float32(np.nan)), "hamer arrays", "center has a value"),
    (
        "HaMeR: fitting_loss as a dictionary",
        entry("extra_info", lambda info: {**info, "fitting_loss": {"reprojection_loss": 3.0}}),
        "hamer loss",
        "no np.array",
    ),
    ("HaMeR: a second hand's mask that is not there", hamer(_second_hand), "hamer mask", "but there are 1 masks"),
    ("HaMeR: masks of another size", _small_masks, "hamer mask", "as the picture is"),
    ("HaMeR: left hands stored mirrored", hamer(_mirrored_left), "projection", "mirrored in x"),
    ("HaMeR: mean pose missing", hamer(_relative), "mean pose", "missing"),
    ("HaMeR: left for right, no poses", hamer(_wrong_hand_without_pose), "handedness", "bend backwards"),
    (
        "HaMeR: 3D keypoints in millimetres",
        entry("keypoints_3d", lambda a: a * np.float32([1000] * 3 + [1])),
        "metres",
        "milli",
    ),
    ("COCO: box by its corners", each_annotation(_corners), "box", "left, top, right, bottom"),
    ("COCO: InterHand2.6M's order", each_annotation(_reordered), "joint order in 2D", "interhand"),
    ("COCO: names in another order", coco(_swapped_names), "coco names", "pinky_mcp"),
    ("COCO: num_keypoints of all", each_annotation(lambda a: a.update(num_keypoints=99)), "coco keypoints", "99"),
    ("COCO: 42 numbers", each_annotation(lambda a: a.update(keypoints=a["keypoints"][:42])), "coco keypoints", "63"),
    (
        "COCO: an annotation of no picture",
        each_annotation(lambda a: a.update(image_id=999)),
        "coco ids",
        "none of the images",
    ),
    ("COCO: a file outside the data set", coco(_outside), "coco file", "no path inside"),
    ("COCO: a polygon of nothing", each_annotation(lambda a: a.update(segmentation=[[]])), "coco mask", "6 or more"),
    ("FreiHAND: scale inverted", freihand(lambda v: v.put(60, 1 / v[60])), "freihand root", "scale is z / f"),
    (
        "FreiHAND: uv_root in another picture's pixels",
        freihand(lambda v: v.put([58, 59], v[58:60] / 2)),
        "freihand root",
        "pixel",
    ),
    (
        "FreiHAND: pictures that are not there",
        _one_picture_left(write_freihand, "training/rgb"),
        "missing picture",
        "not there",
    ),
    ("FreiHAND: millimetres in the second split", _spoilt_evaluation, "freihand root", "mm from"),
    (
        "InterHand2.6M: no annotations",
        interhand(lambda d: d["annotations"].clear()),
        "interhand annotations",
        "no pictures",
    ),
    ("InterHand2.6M: no annotations in the second split", _spoilt_second_split, "interhand annotations", "no pictures"),
    (
        "InterHand2.6M: a picture without one",
        interhand(lambda d: d["annotations"].pop()),
        "interhand annotations",
        "leaves it out",
    ),
    (
        "InterHand2.6M: an annotation of no picture",
        interhand(lambda d: d["images"].pop()),
        "interhand annotations",
        "of no picture",
    ),
    ("InterHand2.6M: joints of both hands", each_of_interhand(joint_valid=[[1]] * 42), "interhand joints", "21 joints"),
    ("InterHand2.6M: no joint valid", each_of_interhand(joint_valid=[[0]] * 42), "interhand joints", "no joint valid"),
    ("InterHand2.6M: the other hand's type", each_of_interhand(hand_type="left"), "interhand hand type", "says right"),
    ("InterHand2.6M: a box beside the hands", each_of_interhand(bbox=[0, 0, 20, 20]), "box", "0%"),
    ("InterHand2.6M: a box without numbers", each_of_interhand(bbox=None), "interhand annotations", "bbox"),
    (
        "InterHand2.6M: pictures that are not there",
        _one_picture_left(write_interhand, "images"),
        "missing picture",
        "there",
    ),
    ("COCO: a picture that is not there", _without_pictures, "missing picture", "not there"),
]
