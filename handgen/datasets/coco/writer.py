"""COCO keypoints: hands as in OneHand10K (mmpose's `OneHand10KDataset`), or people as in COCO-WholeBody.

    annotations/train.json      images, annotations, categories
    images/000000/00000000.jpg  `file_name` is the path below `images`

Sources of the format: cocodataset.org/#format-data; github.com/open-mmlab/mmpose, `mmpose/datasets/datasets/hand`;
github.com/jin-s13/COCO-WholeBody, `data_format.md`. Keypoints are pixels with (0, 0) in the centre of the first one, as
mmpose's affine crops and OpenCV take them; boxes go from edge to edge, the first pixel's at 0, as pycocotools has them.
Visibility: 2 seen, 1 in the picture but hidden, 0 (and x = y = 0) outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from handgen.datasets.writer import ExportJob, File, Written, encoded, joined, write_joined, write_part
from handgen.hand.skeleton import KEYPOINT_NAMES, KEYPOINT_PARENTS, SIDES
from handgen.media import images
from handgen.records.labelled_image import Box, LabelledHand, LabelledImage, in_picture
from handgen.storage import filesystem
from handgen.storage.filesystem import Location

_BODY_NAMES = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)
_FACE_COUNT, _FOOT_COUNT = 68, 6
_NO_BOX = (0.0, 0.0, 0.0, 0.0)
_SUBPIXELS = 4  # per pixel and axis, for the outline: it then lies within an eighth of a pixel
_STRAIGHT_PX = 0.15  # how far an outline may leave the pixels' edges, to have fewer corners


class CocoWriter:
    """See the module."""

    sides: tuple[str, ...] = SIDES

    def __init__(self, job: ExportJob) -> None:
        self._job = job

    def write(self, unit: int, first: int, pictures: Iterable[LabelledImage]) -> Written:
        """See `handgen.datasets.writer.Writer`."""
        written = Written()
        entries, annotations = list[bytes](), list[bytes]()
        filesystem.make_folder(self._job.out / "images" / f"{unit:06d}")
        filesystem.put_many(self._pictures(unit, first, pictures, written, entries, annotations))
        write_part(self._job, unit, "images", entries, written)
        write_part(self._job, unit, "annotations", annotations, written)
        return written

    def _pictures(
        self,
        unit: int,
        first: int,
        pictures: Iterable[LabelledImage],
        written: Written,
        entries: list[bytes],
        annotations: list[bytes],
    ) -> Iterator[tuple[Location, bytes]]:
        for number, picture in enumerate(pictures, first):
            assert picture.image is not None
            width, height = picture.size_px
            name = f"{unit:06d}/{number:08d}.{picture.suffix}"
            entries.append(encoded({"id": number + 1, "file_name": name, "width": width, "height": height}))
            mask = _mask_of(picture)
            if self._job.config.wholebody:
                annotations.append(encoded(self._person(number, picture, mask)))
            else:
                # Two ids per picture, so that they do not depend on the others; from 1: pycocotools' evaluation takes
                # an annotation 0 for none.
                annotations += [
                    encoded(self._hand(2 * number + i + 1, number + 1, picture, hand, mask if i == 0 else None))
                    for i, hand in enumerate(picture.hands)
                ]
            written.hands += len(picture.hands)
            yield self._job.out / "images" / name, picture.image
        written.pictures[f"images/{unit:06d}"] = len(entries)

    def _hand(
        self,
        number: int,
        image_id: int,
        picture: LabelledImage,
        hand: LabelledHand,
        mask: Bool[np.ndarray, "height width"] | None,
    ) -> dict[str, Any]:
        keypoints = _triplets(hand, picture)
        box = box_of(hand, picture) or _NO_BOX
        return {
            "id": number,
            "image_id": image_id,
            "category_id": 1,
            "bbox": list(box),
            "area": box[2] * box[3] if mask is None else int(mask.sum()),
            "iscrowd": 0,
            "segmentation": _nothing(picture) if mask is None else self._segmentation(mask),
            "keypoints": keypoints.ravel().tolist(),
            "num_keypoints": int((keypoints[:, 2] > 0).sum()),
            "hand_type": hand.side,
        }

    def _person(
        self, number: int, picture: LabelledImage, mask: Bool[np.ndarray, "height width"] | None
    ) -> dict[str, Any]:
        """One annotation for both hands; the person's other parts are not labelled."""
        document: dict[str, Any] = {
            "id": number + 1,
            "image_id": number + 1,
            "category_id": 1,
            "iscrowd": 0,
            "keypoints": [0] * 3 * len(_BODY_NAMES),
            "num_keypoints": sum(int(in_picture(hand, picture).sum()) for hand in picture.hands),
            "segmentation": _nothing(picture) if mask is None else self._segmentation(mask),
        }
        for part, count in (("face", _FACE_COUNT), ("foot", _FOOT_COUNT)):
            document |= {f"{part}_kpts": [0] * 3 * count, f"{part}_valid": False}
        document["face_box"] = [0.0] * 4
        hands = {hand.side: hand for hand in reversed(picture.hands)}
        boxes = []
        for side in SIDES:
            hand = hands.get(side)
            box = box_of(hand, picture) if hand else None
            kpts = _triplets(hand, picture).ravel().tolist() if hand else [0] * 63
            document |= {f"{side}hand_box": list(box or _NO_BOX), f"{side}hand_valid": hand is not None}
            document[f"{side}hand_kpts"] = kpts
            boxes.append(box)
        document["bbox"] = list(union_of(boxes))
        document["area"] = document["bbox"][2] * document["bbox"][3] if mask is None else int(mask.sum())
        return document

    def _segmentation(self, mask: Bool[np.ndarray, "height width"]) -> Any:
        return run_lengths(mask) if self._job.config.segmentation == "rle" else outlines(mask)

    def finish(self, units: Sequence[Written]) -> list[File]:
        """See `handgen.datasets.writer.Writer`."""
        return [write_joined(self._job, f"annotations/{self._job.source.split}.json", self._document(units))]

    def _document(self, units: Sequence[Written]) -> Iterator[bytes]:
        yield b'{"info":' + encoded({"description": "hands, made by handgen"}) + b',"licenses":[],"categories":['
        yield encoded(_person_category() if self._job.config.wholebody else _hand_category())
        yield b'],\n"images":['
        yield from joined(self._job, "images", units)
        yield b'],\n"annotations":['
        yield from joined(self._job, "annotations", units)
        yield b"]}\n"

    def place(self, manifest: dict[str, Any]) -> None:
        """See `handgen.datasets.writer.Writer`: paths are relative."""

    def notes(self) -> list[str]:
        """See `handgen.datasets.writer.Writer`."""
        if self._job.config.wholebody:
            return ["people have hands only: body, face and feet are marked as not valid; num_keypoints is the hands'"]
        return ["in mmpose take OneHand10KDataset: its FreiHandDataset has every box at [0, 0, 224, 224]"]


def _hand_category() -> dict[str, Any]:
    bones = [[parent + 1, child + 1] for child, parent in enumerate(KEYPOINT_PARENTS) if parent >= 0]
    return {"id": 1, "name": "hand", "supercategory": "hand", "keypoints": list(KEYPOINT_NAMES), "skeleton": bones}


def _person_category() -> dict[str, Any]:
    return {"id": 1, "name": "person", "supercategory": "person", "keypoints": list(_BODY_NAMES), "skeleton": []}


def _mask_of(picture: LabelledImage) -> Bool[np.ndarray, "height width"] | None:
    if picture.mask is None:
        return None
    return images.decode_mask(picture.mask, f"{picture.name}, mask", picture.size_px) > 127


def _triplets(hand: LabelledHand, picture: LabelledImage) -> Float[np.ndarray, "21 3"]:
    """x, y, visibility."""
    inside = in_picture(hand, picture)
    flags = np.where(inside, np.where(hand.visible, 2, 1), 0)
    return np.column_stack([np.where(inside[:, None], np.round(hand.keypoints_px, 3), 0), flags])


def box_of(hand: LabelledHand, picture: LabelledImage) -> Box | None:
    """Of the hand's mask or, where there is none, of its keypoints in the picture; None of a hand that is outside."""
    if hand.box_px is not None:
        left, top, width, height = (float(value) for value in hand.box_px)
        return left, top, width, height
    inside = in_picture(hand, picture)
    if not inside.any():
        return None
    low, high = hand.keypoints_px[inside].min(0), hand.keypoints_px[inside].max(0)
    left, top = np.round(low + 0.5, 3).tolist()
    width, height = np.round(high - low, 3).tolist()
    return left, top, width, height


def union_of(boxes: Iterable[Box | None]) -> Box:
    """The box around several."""
    corners = np.array([(x, y, x + width, y + height) for x, y, width, height in filter(None, boxes)])
    if not len(corners):
        return _NO_BOX
    left, top = corners[:, :2].min(0).tolist()
    right, bottom = corners[:, 2:].max(0).tolist()
    return left, top, round(right - left, 3), round(bottom - top, 3)


def _nothing(picture: LabelledImage) -> dict[str, Any]:
    """Run lengths of a mask that is not known: pycocotools cannot draw an empty list."""
    width, height = picture.size_px
    return {"size": [height, width], "counts": [height * width]}


def run_lengths(mask: Bool[np.ndarray, "height width"]) -> dict[str, Any]:
    """COCO's RLE, not compressed: lengths of runs down the columns, of 0 and 1 in turn, beginning with 0."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs: Int[np.ndarray, " runs"] = np.diff(np.concatenate([[0], changes, [flat.size]]))
    counts = runs.tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


def outlines(mask: Bool[np.ndarray, "height width"]) -> list[list[float]]:
    """COCO's polygons: outlines along the pixels' edges, x and y in turn, the first pixel from 0 to 1."""
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    inner = mask[top : top + height, left : left + width].astype(np.uint8)
    fine: UInt8[np.ndarray, "rows columns"] = inner.repeat(_SUBPIXELS, 0).repeat(_SUBPIXELS, 1)
    contours, tree = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    corners = [cv2.approxPolyDP(contour, _STRAIGHT_PX * _SUBPIXELS, True)[:, 0] for contour in contours]
    polygons = []
    for i, outline in enumerate(corners):
        if tree[0, i, 3] < 0 and len(outline) >= 3:  # of an outer edge
            for hole in (corners[k] for k in range(len(corners)) if tree[0, k, 3] == i):
                outline = _with_hole(outline, hole)
            polygons.append(((outline + 0.5) / _SUBPIXELS + (left, top)).ravel().tolist())
    return polygons


def _with_hole(outline: Int[np.ndarray, "n 2"], hole: Int[np.ndarray, "m 2"]) -> Int[np.ndarray, "k 2"]:
    """One polygon of both, joined there and back where they are nearest: COCO knows no holes."""
    apart = np.linalg.norm((outline[:, None] - hole[None]).astype(float), axis=2)
    a, b = np.unravel_index(apart.argmin(), apart.shape)
    return np.concatenate([outline[: a + 1], hole[b:], hole[: b + 1], outline[a:]])
