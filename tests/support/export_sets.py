"""Small sets in other projects' formats, written here so that what is tested is what others write."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from handgen.hand.skeleton import KEYPOINT_NAMES
from handgen.io import shards
from handgen.io.labelled import label_sample
from handgen.media import images
from handgen.records.labelled_image import LabelledHand, LabelledImage
from handgen.storage.documents import loads
from handgen.storage.tar import write_tar

Entry = dict[str, Any]
PICTURES_PER_TAR = 9


def pictures_of(root: Path) -> list[LabelledImage]:
    """The samples of shards."""
    return [
        label_sample(key, loads(group["json"], key), group)
        for tar in sorted(root.glob("*.tar"))
        for key, group in shards.read_groups(tar)
    ]


def entry_of(picture: LabelledImage, hand: LabelledHand) -> Entry:
    """Return what HaMeR's tars have of a hand."""
    inside = hand.visible[:, None]
    low, high = hand.keypoints_px[hand.visible].min(0), hand.keypoints_px[hand.visible].max(0)
    return {
        "keypoints_2d": np.hstack([hand.keypoints_px, inside]).astype(np.float32),
        "keypoints_3d": np.hstack([hand.keypoints_cam_m, np.ones((21, 1))]).astype(np.float32),
        "center": ((low + high) / 2).astype(np.float32),
        "scale": (2 * (high - low) / 200).astype(np.float32),
        "hand_pose": hand.parameters.pose.astype(np.float32),
        "betas": hand.parameters.betas.astype(np.float32),
        "right": np.float32(hand.side == "right"),
        "has_hand_pose": np.float32(1),
        "has_betas": np.float32(1),
        "extra_info": {"detection_npz_idx": 0, "fitting_loss": np.array({"reprojection_loss": 3.0})},
    }


def write_hamer(
    root: Path,
    pictures: list[LabelledImage],
    change: Callable[[Entry], Any] = lambda entry: [entry],
) -> Path:
    """Tars, of pictures with five keypoints seen. change: from a picture's dictionary to what is pickled."""
    pictures = [picture for picture in pictures if picture.hands[0].visible.sum() >= 5]

    def members(some: list[LabelledImage]):
        for picture in some:
            packed = io.BytesIO()
            mask = images.decode_grey(picture.mask, "mask") > 127
            np.savez_compressed(packed, masks=mask[None])
            yield f"{picture.name}.jpg", picture.image
            yield f"{picture.name}.data.pyd", pickle.dumps(change(entry_of(picture, picture.hands[0])))
            yield f"{picture.name}.detection.npz", packed.getvalue()

    root.mkdir(parents=True)
    for number in range(0, len(pictures), PICTURES_PER_TAR):
        some = pictures[number : number + PICTURES_PER_TAR]
        write_tar(root / f"{number // PICTURES_PER_TAR:06d}.tar", members(some))
    return root


def write_coco(
    root: Path, pictures: list[LabelledImage], change: Callable[[dict[str, Any]], None] = lambda document: None
) -> Path:
    """A folder as mmpose's OneHand10K has it. change: of the document."""
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    entries, annotations = [], []
    for number, picture in enumerate(pictures):
        name, hand = f"{picture.name}.jpg", picture.hands[0]
        (root / "images" / name).write_bytes(picture.image)
        width, height = picture.size_px
        entries.append({"id": number, "file_name": name, "width": width, "height": height})
        mask = images.decode_grey(picture.mask, "mask")
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        x, y = hand.keypoints_px.T
        inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
        flags = np.where(inside, np.where(hand.visible, 2, 1), 0)
        keypoints = np.column_stack([np.where(inside[:, None], hand.keypoints_px, 0), flags])
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 1,
                "bbox": list(map(float, cv2.boundingRect(mask))),
                "area": int((mask > 0).sum()),
                "iscrowd": 0,
                "segmentation": [(line[:, 0] + 0.5).ravel().tolist() for line in outlines if len(line) > 2],
                "keypoints": keypoints.ravel().tolist(),
                "num_keypoints": int((flags > 0).sum()),
            }
        )
    category = {"id": 1, "name": "hand", "keypoints": list(KEYPOINT_NAMES), "skeleton": []}
    document = {"images": entries, "annotations": annotations, "categories": [category]}
    change(document)
    (root / "annotations" / "train.json").write_text(json.dumps(document))
    return root
