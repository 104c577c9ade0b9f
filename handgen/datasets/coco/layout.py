"""COCO keypoints: hands as in OneHand10K (mmpose's `OneHand10KDataset`), or people as in COCO-WholeBody.

    annotations/NAME.json       images, annotations, categories
    images/000000/00000000.jpg  `file_name` is the path below `images`, or below the data set

Sources of the format: cocodataset.org/#format-data; github.com/open-mmlab/mmpose, `mmpose/datasets/datasets/hand`;
github.com/jin-s13/COCO-WholeBody, `data_format.md`. Nothing in three dimensions, no camera. Keypoints are x, y and
visibility, pixels with (0, 0) in the centre of the first one, as mmpose's affine crops and OpenCV take them. Boxes and
outlines go along the edges of pixels, the first pixel's at 0, as pycocotools has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from handgen.hand.skeleton import KEYPOINT_COUNT
from handgen.storage.output import MANIFEST, RUN

ANNOTATIONS, IMAGES = "annotations", "images"
OWNED = (IMAGES, ANNOTATIONS)  # by an export
MEMBERS = ("images", "annotations", "categories")
NUMBERS = 3 * KEYPOINT_COUNT
NOT_LABELLED, HIDDEN, SEEN = 0, 1, 2  # visibility of a keypoint; x and y of one that is not labelled are 0
LIKELY_SEEN = 0.5  # where visibilities are a network's scores
BODY_NAMES = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)
FACE_COUNT, FOOT_COUNT = 68, 6


def person_keys(side: str) -> tuple[str, str, str]:
    """The members of a person's annotation for one hand: keypoints, box, and whether it is labelled."""
    return f"{side}hand_kpts", f"{side}hand_box", f"{side}hand_valid"


def are_scores(visibilities: Sequence[float]) -> bool:
    """Tell whether visibilities are scores from 0 to 1 instead of 0, 1 and 2."""
    return all(0 <= value <= 1 for value in visibilities) and any(value % 1 for value in visibilities)


def annotation_files(root: Path) -> list[Path]:
    """The JSON files of a data set in its `annotations` folder, else in itself."""
    folder = root / ANNOTATIONS if (root / ANNOTATIONS).is_dir() else root
    return sorted(path for path in folder.glob("*.json") if path.name not in (MANIFEST, RUN))


def is_coco(root: Path) -> bool:
    """Tell whether a folder holds COCO's annotations and pictures."""
    return (root / IMAGES).is_dir() and (root / ANNOTATIONS).is_dir() and bool(annotation_files(root))
