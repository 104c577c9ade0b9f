"""Write COCO keypoints of hands or of people (`handgen.datasets.coco.layout`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from handgen.datasets import writer as base
from handgen.datasets.coco import layout
from handgen.datasets.coco.layout import ANNOTATIONS, BODY_NAMES, IMAGES, NUMBERS
from handgen.datasets.options import CocoOptions
from handgen.datasets.writer import ExportJob, File, Writer, Written, encode_entry, hand_box, join_parts
from handgen.hand.skeleton import KEYPOINT_NAMES, KEYPOINT_PARENTS, SIDES
from handgen.media import images
from handgen.records.labelled_image import LabelledHand, LabelledImage, in_picture

_Mask = Bool[np.ndarray, "height width"]
_SUBPIXELS = 4  # per pixel and axis, for the outline: it then lies within an eighth of a pixel
_STRAIGHT_PX = 0.15  # how far an outline may leave the pixels' edges, to have fewer corners


class CocoWriter(Writer):
    """Writes COCO's files."""

    def __init__(self, job: ExportJob) -> None:
        self._job = job
        self._options: CocoOptions = job.options

    def write(self, unit: int, first: int, pictures: Iterable[LabelledImage]) -> Written:
        """Write the pictures of a unit, and its pieces of the JSON file."""
        entries, annotations = list[bytes](), list[bytes]()

        def describe(number: int, name: str, picture: LabelledImage) -> None:
            width, height = picture.size_px
            entries.append(encode_entry({"id": number + 1, "file_name": name, "width": width, "height": height}))
            mask = _decode_mask(picture)
            if self._options.wholebody:
                annotations.append(encode_entry(self._person(number, picture, mask)))
                return
            # Two ids per picture, so that they do not depend on the others; from 1: pycocotools' evaluation takes
            # an annotation 0 for none.
            for i in range(len(picture.hands)):
                annotations.append(encode_entry(self._hand(number, i, picture, mask if i == 0 else None)))

        written = base.write_pictures(self._job, IMAGES, unit, first, pictures, describe)
        base.write_part(self._job, unit, "images", entries, written)
        base.write_part(self._job, unit, "annotations", annotations, written)
        return written

    def _hand(self, number: int, i: int, picture: LabelledImage, mask: _Mask | None) -> dict[str, Any]:
        hand = picture.hands[i]
        keypoints = _triplets(hand, picture)
        box = hand_box(hand, picture) or base.NO_BOX
        return {
            "id": 2 * number + i + 1,
            "image_id": number + 1,
            "category_id": 1,
            "bbox": list(box),
            "area": box[2] * box[3] if mask is None else int(mask.sum()),
            "iscrowd": 0,
            "segmentation": _unknown_mask(picture) if mask is None else self._segmentation(mask),
            "keypoints": keypoints.ravel().tolist(),
            "num_keypoints": int((keypoints[:, 2] > layout.NOT_LABELLED).sum()),
            "hand_type": hand.side,
        }

    def _person(self, number: int, picture: LabelledImage, mask: _Mask | None) -> dict[str, Any]:
        """One annotation for both hands; the person's other parts are not labelled."""
        document: dict[str, Any] = {
            "id": number + 1,
            "image_id": number + 1,
            "category_id": 1,
            "iscrowd": 0,
            "keypoints": [0] * 3 * len(BODY_NAMES),
            "num_keypoints": sum(int(in_picture(hand, picture).sum()) for hand in picture.hands),
            "segmentation": _unknown_mask(picture) if mask is None else self._segmentation(mask),
        }
        for part, count in (("face", layout.FACE_COUNT), ("foot", layout.FOOT_COUNT)):
            document |= {f"{part}_kpts": [0] * 3 * count, f"{part}_valid": False}
        document["face_box"] = [0.0] * 4
        hands = {hand.side: hand for hand in reversed(picture.hands)}
        boxes = []
        for side in SIDES:
            hand = hands.get(side)
            box = hand_box(hand, picture) if hand else None
            keypoints = _triplets(hand, picture).ravel().tolist() if hand else [0] * NUMBERS
            keypoints_key, box_key, valid_key = layout.person_keys(side)
            document |= {box_key: list(box or base.NO_BOX), valid_key: hand is not None, keypoints_key: keypoints}
            boxes.append(box)
        document["bbox"] = list(base.union_of(boxes))
        document["area"] = document["bbox"][2] * document["bbox"][3] if mask is None else int(mask.sum())
        return document

    def _segmentation(self, mask: _Mask) -> Any:
        return run_lengths(mask) if self._options.segmentation == "rle" else outlines(mask)

    def finish(self, units: Sequence[Written]) -> list[File]:
        """Write the JSON file."""
        return [base.write_file(self._job, f"{ANNOTATIONS}/{self._job.source.split}.json", self._document(units))]

    def _document(self, units: Sequence[Written]) -> Iterator[bytes]:
        yield b'{"info":' + encode_entry({"description": "hands, made by handgen"}) + b',"licenses":[],"categories":['
        bones = [[parent + 1, child + 1] for child, parent in enumerate(KEYPOINT_PARENTS) if parent >= 0]
        hand, person = _category("hand", KEYPOINT_NAMES, bones), _category("person", BODY_NAMES, [])
        yield encode_entry(person if self._options.wholebody else hand)
        yield b'],\n"images":['
        yield from join_parts(self._job, "images", units)
        yield b'],\n"annotations":['
        yield from join_parts(self._job, "annotations", units)
        yield b"]}\n"

    def notes(self) -> list[str]:
        """Remarks on mmpose's loaders, and on what people lack."""
        if self._options.wholebody:
            return ["people have hands only: body, face and feet are marked as not valid; num_keypoints is the hands'"]
        return ["in mmpose take OneHand10KDataset: its FreiHandDataset has every box at [0, 0, 224, 224]"]


def _category(name: str, keypoints: Sequence[str], bones: list[list[int]]) -> dict[str, Any]:
    return {"id": 1, "name": name, "supercategory": name, "keypoints": list(keypoints), "skeleton": bones}


def _decode_mask(picture: LabelledImage) -> _Mask | None:
    if picture.mask is None:
        return None
    return images.decode_mask(picture.mask, f"{picture.name}, mask", picture.size_px) > 127


def _triplets(hand: LabelledHand, picture: LabelledImage) -> Float[np.ndarray, "21 3"]:
    """x, y and visibility of each keypoint."""
    inside = in_picture(hand, picture)
    flags = np.where(inside, np.where(hand.visible, layout.SEEN, layout.HIDDEN), layout.NOT_LABELLED)
    return np.column_stack([np.where(inside[:, None], np.round(hand.keypoints_px, 3), 0), flags])


def _unknown_mask(picture: LabelledImage) -> dict[str, Any]:
    """Run lengths for a mask that is not known: pycocotools cannot draw an empty list."""
    width, height = picture.size_px
    return {"size": [height, width], "counts": [height * width]}


def run_lengths(mask: _Mask) -> dict[str, Any]:
    """Encode a mask as COCO's RLE, not compressed: runs down the columns, of 0 and 1 in turn, beginning with 0."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs: Int[np.ndarray, " runs"] = np.diff(np.concatenate([[0], changes, [flat.size]]))
    counts = runs.tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


def outlines(mask: _Mask) -> list[list[float]]:
    """Encode a mask as COCO's polygons along the pixels' edges: x and y in turn, the first pixel from 0 to 1."""
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    inner = mask[top : top + height, left : left + width].astype(np.uint8)
    fine: UInt8[np.ndarray, "rows columns"] = inner.repeat(_SUBPIXELS, 0).repeat(_SUBPIXELS, 1)
    contours, tree = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    corners = [cv2.approxPolyDP(contour, _STRAIGHT_PX * _SUBPIXELS, True)[:, 0] for contour in contours]
    polygons = []
    for i, outline in enumerate(corners):
        if tree[0, i, 3] < 0 and len(outline) >= 3:  # an outer edge
            for hole in (corners[k] for k in range(len(corners)) if tree[0, k, 3] == i):
                outline = _join_hole(outline, hole)
            polygons.append(((outline + 0.5) / _SUBPIXELS + (left, top)).ravel().tolist())
    return polygons


def _join_hole(outline: Int[np.ndarray, "n 2"], hole: Int[np.ndarray, "m 2"]) -> Int[np.ndarray, "k 2"]:
    """Join an outline and a hole to one polygon, there and back where they are nearest: COCO knows no holes."""
    apart = np.linalg.norm((outline[:, None] - hole[None]).astype(float), axis=2)
    a, b = np.unravel_index(apart.argmin(), apart.shape)
    return np.concatenate([outline[: a + 1], hole[b:], hole[: b + 1], outline[a:]])
