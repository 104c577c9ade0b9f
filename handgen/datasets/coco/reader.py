"""Read COCO keypoints of hands (`handgen.datasets.coco.layout`), a JSON file as a whole: `handgen.storage.limits`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Int, UInt8

from handgen.datasets import reader as base
from handgen.datasets.coco import layout
from handgen.datasets.coco.layout import IMAGES, MEMBERS, NUMBERS, annotation_files
from handgen.errors import HandgenError
from handgen.hand.skeleton import KEYPOINT_COUNT, SIDES
from handgen.media import images
from handgen.records.labelled_image import Box, LabelledHand, LabelledImage
from handgen.storage import limits
from handgen.storage.documents import read_json

_BITS, _MORE, _MOST_CHARACTERS = 5, 32, 10  # of a run length's character; the flag that another follows; of a length
_SHIFT = 4  # bits of fraction for OpenCV's polygons
_FEWEST_NUMBERS = 6  # a polygon has; pycocotools takes no fewer
# Overlap (intersection by union) of a person's outline and a hand's box from which on the outline is that hand's, and
# how much better it must be than the other hand's. Keypoints' boxes of a fist have 0.6 of its outline's.
_OVERLAP, _CLEARLY = 0.4, 0.1


class CocoReader:
    """The pictures of a JSON file, or of the only one of a folder. HandgenError for none, and for wrong labels."""

    def __init__(self, root: Path, file: Path | None = None) -> None:
        self.root = root
        files = annotation_files(root) if file is None else [file]
        if not files:
            raise HandgenError(f"{root}: no annotations/*.json; give the folder of a COCO data set")
        self.file = files[0]
        self.document = read_json(self.file)
        if not isinstance(self.document, dict) or not all(isinstance(self.document.get(m), list) for m in MEMBERS):
            raise HandgenError(f"{self.file}: has no lists {', '.join(MEMBERS)}; is it COCO?")

    @cached_property
    def of_image(self) -> dict[Any, list[dict[str, Any]]]:
        """Annotations by the number of their picture."""
        found: dict[Any, list[dict[str, Any]]] = {}
        for entry in self.document["annotations"]:
            if isinstance(entry, dict) and isinstance(entry.get("image_id"), int | str):
                found.setdefault(entry["image_id"], []).append(entry)
        return found

    @property
    def count(self) -> int:
        """The number of pictures."""
        return len(self.document["images"])

    def __iter__(self) -> Iterator[LabelledImage]:
        """Iterate over all pictures."""
        for entry in self.document["images"]:
            yield self.picture(entry, True)

    def picture(self, entry: Any, read: bool) -> LabelledImage:
        """Make the picture of one entry of the document. read: its file, and draw the first hand's mask."""
        where = f"{self.file}, image {entry.get('id') if isinstance(entry, dict) else entry!r}"
        try:
            name, size_px = entry["file_name"], (int(entry["width"]), int(entry["height"]))
            found = self.of_image.get(entry["id"], [])
        except (KeyError, TypeError, ValueError):
            raise HandgenError(f"{where}: has no id, file_name, width or height") from None
        if min(size_px) < 1 or size_px[0] * size_px[1] > limits.PIXEL_COUNT.allowed:
            raise HandgenError(f"{where}: {size_px[0]}x{size_px[1]} is no size of a picture")
        several = [hands_of(one, f"{where}, annotation {one.get('id')}") for one in found]
        path = self.path_of(name, where)
        mask = None
        if read and found and several[0]:
            mask = mask_of(found[0].get("segmentation"), size_px, where)
            if mask is not None and is_person(found[0]):
                several[0], mask = _put_masked_hand_first(several[0], mask)
        hands = [hand for some in several for hand in some]
        return LabelledImage(
            name=name,
            size_px=size_px,
            hands=tuple(hands),
            image=base.read_bytes(path) if read else None,
            suffix=path.suffix[1:].lower(),
            mask=None if mask is None else images.encode_mask_png(mask),
        )

    def path_of(self, name: Any, where: str) -> Path:
        """The file of a picture. Raises HandgenError for a name that leads out of the data set."""
        folder = self.root / IMAGES
        return base.inside(folder if folder.is_dir() else self.root, name, f"{where}: file_name")


def is_person(annotation: dict[str, Any]) -> bool:
    """Tell whether an annotation is of a whole body."""
    return any(layout.person_keys(side)[0] in annotation for side in SIDES)


def hands_of(annotation: dict[str, Any], where: str) -> list[LabelledHand]:
    """The hands of an annotation: one, or the valid ones of a body; "" for no side. HandgenError for wrong numbers."""
    if is_person(annotation):
        keys = {side: layout.person_keys(side) for side in SIDES}
        return [
            _hand(annotation.get(keypoints), annotation.get(box), side, where)
            for side, (keypoints, box, valid) in keys.items()
            if annotation.get(valid)
        ]
    side = annotation.get("hand_type", "")
    return [_hand(annotation.get("keypoints"), annotation.get("bbox"), side if side in SIDES else "", where)]


def _hand(keypoints: Any, box: Any, side: str, where: str) -> LabelledHand:
    nested = isinstance(keypoints, list) and len(keypoints) == KEYPOINT_COUNT  # as some sets have them
    shape = (KEYPOINT_COUNT, 3) if nested else (NUMBERS,)
    points = base.numbers(keypoints, shape, f"{where}: keypoints").reshape(KEYPOINT_COUNT, 3)
    seen = layout.LIKELY_SEEN if layout.are_scores(points[:, 2].tolist()) else layout.SEEN
    left, top, width, height = base.numbers(box, (4,), f"{where}: box").tolist()
    found: Box = (left, top, width, height)
    return LabelledHand(
        side=side,
        keypoints_px=points[:, :2],
        visible=points[:, 2] >= seen,
        labelled=points[:, 2] > layout.NOT_LABELLED,
        box_px=found,
    )


def _put_masked_hand_first(
    hands: list[LabelledHand], mask: UInt8[np.ndarray, "height width"]
) -> tuple[list[LabelledHand], UInt8[np.ndarray, "height width"] | None]:
    """Put the hand that a person's mask is of first; the mask becomes None where it is of neither hand."""
    overlaps = [_overlap(cv2.boundingRect(mask), hand.box_px) for hand in hands]
    best = int(np.argmax(overlaps))
    others = max((overlap for i, overlap in enumerate(overlaps) if i != best), default=-1.0)
    if overlaps[best] < _OVERLAP or overlaps[best] < others + _CLEARLY:
        return hands, None
    return [hands[best], *hands[:best], *hands[best + 1 :]], mask


def _overlap(one: Sequence[float], two: Sequence[float] | None) -> float:
    """Intersection by union of two boxes (left, top, width, height)."""
    if two is None:
        return 0.0
    shared = 1.0
    for axis in (0, 1):
        end = min(one[axis] + one[axis + 2], two[axis] + two[axis + 2])
        shared *= max(0.0, end - max(one[axis], two[axis]))
    union = one[2] * one[3] + two[2] * two[3] - shared
    return shared / union if union > 0 else 0.0


def mask_of(segmentation: Any, size_px: tuple[int, int], where: str) -> UInt8[np.ndarray, "height width"] | None:
    """The mask (0, 255) of polygons or run lengths; None where there are none. HandgenError for anything else.

    A polygon that is an upright rectangle repeats the hand's box and is no mask of it.
    """
    width, height = size_px
    if not segmentation:
        return None
    if isinstance(segmentation, dict):
        return _from_runs(segmentation, size_px, where)
    mask = np.zeros((height, width), np.uint8)
    try:
        outlines = [np.asarray(outline, np.float64).reshape(-1, 2) - 0.5 for outline in segmentation]
    except (TypeError, ValueError, OverflowError):
        raise HandgenError(f"{where}: segmentation must be lists of x and y in turn") from None
    if fewest := [outline.size for outline in outlines if outline.size < _FEWEST_NUMBERS]:
        what = f"segmentation has a polygon of {fewest[0]} numbers"
        raise HandgenError(f"{where}: {what}; write {_FEWEST_NUMBERS} or more, or [] for none")
    if all(map(is_box, outlines)):
        return None
    if np.isfinite(np.concatenate(outlines)).all() and np.abs(np.concatenate(outlines)).max() < 1e6:
        fixed = [np.round(outline * (1 << _SHIFT)).astype(np.int32) for outline in outlines]
        cv2.fillPoly(mask, fixed, 255, cv2.LINE_8, _SHIFT)
    return mask


def is_box(outline: Any) -> bool:
    """Tell whether x and y in turn go along an upright rectangle, closed or not."""
    try:
        points = np.asarray(outline, np.float64).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError):
        return False
    corners, steps = np.unique(points, axis=0), np.diff(points, axis=0)
    return len(corners) == 4 and all(len(set(axis)) == 2 for axis in corners.T) and bool((steps == 0).any(1).all())


def _from_runs(runs: dict[str, Any], size_px: tuple[int, int], where: str) -> UInt8[np.ndarray, "height width"]:
    width, height = size_px
    runs_given, pixels = runs.get("counts"), width * height
    if isinstance(runs_given, str):
        limits.ENTRY.check(len(runs_given), f"{where}: the run lengths of segmentation")
        counts = _unpack_runs(runs_given, pixels)
    else:
        whole = isinstance(runs_given, list) and all(isinstance(n, int) and 0 <= n <= pixels for n in runs_given)
        counts = np.array(runs_given, np.int64) if whole else None
    if counts is None or (counts < 0).any() or runs.get("size") != [height, width] or counts.sum() != pixels:
        raise HandgenError(f"{where}: the run lengths of segmentation do not make a mask of {width}x{height}")
    values = np.arange(len(counts)) % 2 * 255
    return np.ascontiguousarray(np.repeat(values.astype(np.uint8), counts).reshape(width, height).T)


def _unpack_runs(text: str, pixels: int) -> Int[np.ndarray, " n"] | None:
    """Unpack run lengths from pycocotools' text: five bits and a flag per character, each less the last but one.

    Returns None for a text that is none, or has lengths beyond a picture of so many pixels.
    """
    if not text.isascii():
        return None
    bits = np.frombuffer(text.encode(), np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(bits & _MORE == 0)  # of each length, its highest bits
    if not len(ends) or ends[-1] != len(bits) - 1 or bits.min() < 0 or bits.max() >= 2 * _MORE:
        return None
    starts = np.r_[0, ends[:-1] + 1]
    places = np.arange(len(bits)) - np.repeat(starts, ends - starts + 1)
    if places.max() >= _MOST_CHARACTERS:
        return None
    lengths = np.add.reduceat((bits & _MORE - 1) << _BITS * places, starts)
    lengths -= np.where(bits[ends] & _MORE >> 1, np.int64(1) << _BITS * (places[ends] + 1), 0)
    if np.abs(lengths).max() > pixels:
        return None
    lengths[1::2], lengths[2::2] = np.cumsum(lengths[1::2]), np.cumsum(lengths[2::2])
    return lengths
