"""Checks of InterHand2.6M: its labels, and `annotations` of data.json, by which its loader takes pictures.

The loader (`data/InterHand2.6M/dataset.py`) takes bbox, joint_valid and hand_type there, from joint_3d coordinates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Bool, Int

from handgen.datasets import reader as base
from handgen.datasets.checks import CheckContext, SplitCheck, check_splits
from handgen.datasets.interhand import layout
from handgen.datasets.interhand.layout import HAND_TYPES
from handgen.datasets.interhand.reader import InterhandReader, valid_joints
from handgen.errors import HandgenError
from handgen.label_checks.evidence import Fault
from handgen.label_checks.findings import Checked, hash_bytes
from handgen.records.labelled_image import LabelledImage
from handgen.storage import filesystem
from handgen.storage.json_stream import list_entries, nested_entries, read_value

ANNOTATIONS, JOINTS, HAND_TYPE = "interhand annotations", "interhand joints", "interhand hand type"
ABOUT = {
    ANNOTATIONS: "annotations has a bbox for every picture, and no entry of no picture: the loader goes by them",
    JOINTS: "joint_valid has 42 numbers, calls a joint valid, and none that joint_3d has not",
    HAND_TYPE: "hand_type is right, left or interacting, and names no hand that joint_3d's does not",
}
_AGAIN, _SAME = "correct data.json, or get it again", "let both say the same"


def check(root: Path, context: CheckContext) -> Checked:
    """Check all splits that are there."""
    splits = list(layout.folders_of(root))
    return check_splits(root, InterhandReader.format, InterhandReader, splits, context, AnnotatedPictures)


class AnnotatedPictures(SplitCheck):
    """Compares the annotations of one split with joint_3d. HandgenError when a file is missing or damaged.

    Held are 40 bytes of each picture, and a few numbers of each frame.
    """

    def __init__(self, root: Path, split: str) -> None:
        super().__init__()
        folder = layout.folders_of(root)[split]
        self._data, self._joints = (folder / layout.labels_file(split, part) for part in (layout.DATA, layout.JOINTS))
        self._id_of = _sort_rows(_names(self._data, split), 2)
        self._places = _sort_rows(self._annotations(), 3)
        self._frames = dict(_frames(self._joints))
        self.findings.looked_at[ANNOTATIONS] += len(self._places)
        strays = np.setdiff1d(self._places[:, 0], self._id_of[:, 1])
        if not len(self._places):
            what = "annotations is empty: the loader finds no pictures"
            self.findings.add(ANNOTATIONS, str(self._data), what, "write an annotation for every picture")
        elif len(strays):
            what = f"{len(strays)} annotations are of no picture (image_id {strays[0]} the first)"
            self.findings.add(ANNOTATIONS, str(self._data), what, _AGAIN)

    def _annotations(self) -> Iterator[tuple[int, int, int]]:
        """Read the picture, first byte and number of bytes of each annotation."""
        for entry in list_entries(self._data, "annotations"):
            number = _number(entry.value, "image_id")
            if number is None:
                what = f"the annotation at byte {entry.first} has no image_id"
                self.findings.add(ANNOTATIONS, str(self._data), what, _AGAIN)
            else:
                yield number, entry.first, entry.length

    def look(self, images: list[LabelledImage]) -> list[LabelledImage]:
        """Compare the annotations of some pictures with joint_3d; returns the pictures with the annotations' boxes."""
        if not len(self._places):
            return images
        with filesystem.open_read(self._data) as file:
            return [self._look(image, file) for image in images]

    def _look(self, image: LabelledImage, file: BinaryIO) -> LabelledImage:
        where = f"{self._data}, {image.name}"
        row = _find_row(self._id_of, _hash(image.name))
        place = None if row is None else _find_row(self._places, int(row[1]))
        if place is None:
            what = "has no annotation: the loader leaves it out"
            self.findings.add(ANNOTATIONS, where, what, "write one, or leave the picture out")
            return image
        known, told_type = self._frames.get((image.capture.removeprefix("capture"), str(image.frame)), (None, None))
        document = read_value(file, int(place[1]), int(place[2]), where)
        self.findings.looked_at.update((JOINTS, HAND_TYPE))
        self.findings.add_fault(JOINTS, where, _joints_fault(document, known))
        self.findings.add_fault(HAND_TYPE, where, _type_fault(document, told_type))
        try:
            left, top, width, height = base.numbers(document.get("bbox"), (4,), "bbox").tolist()
        except HandgenError as error:
            self.findings.add(ANNOTATIONS, where, str(error), _AGAIN)
            return image
        return replace(image, hands=tuple(replace(hand, box_px=(left, top, width, height)) for hand in image.hands))


def _joints_fault(document: dict[str, Any], known: Bool[np.ndarray, " 42"] | None) -> Fault | None:
    """Compare the valid joints with those of joint_3d. known: None where the reader says what is wrong there."""
    try:
        valid = valid_joints(document, "joint_valid")
    except HandgenError as error:
        return Fault(str(error), _AGAIN)
    if known is None:
        return None
    if (unknown := int((valid & ~known).sum())) > 0:
        return Fault(f"joint_valid calls {unknown} joints valid that joint_3d does not", _SAME)
    if known.any() and not valid.any():
        return Fault(f"joint_valid calls no joint valid, joint_3d {int(known.sum())}", _SAME)
    return None


def _type_fault(document: dict[str, Any], told_type: str | None) -> Fault | None:
    said = document.get("hand_type")
    sides = HAND_TYPES.get(said) if isinstance(said, str) else None
    if sides is None:
        return Fault(f"hand_type is {str(said)[:40]!r}", f"write {', '.join(HAND_TYPES)}")
    if told_type is not None and not sides <= HAND_TYPES[told_type]:
        return Fault(f"hand_type is {said}, joint_3d says {told_type}", _SAME)
    return None


def _names(path: Path, split: str) -> Iterator[tuple[int, int]]:
    """Read the number of every picture, and the hash of its name as readers call it."""
    for entry in list_entries(path, "images"):
        number, name = _number(entry.value, "id"), entry.value.get("file_name") if entry.value else None
        if number is not None and isinstance(name, str):
            plain = name.encode("latin-1", "replace").decode("utf-8", "replace")  # as the stream gives text
            yield _hash(f"{layout.picture_folder(split)}/{plain}"), number


def _hash(name: str) -> int:
    """Hash a name to 63 bits, which fit into a signed number."""
    return hash_bytes(name.encode()) >> 1


def _frames(path: Path) -> Iterator[tuple[tuple[str, str], tuple[Bool[np.ndarray, " 42"], str | None]]]:
    """Read the valid joints and hand_type of joint_3d, by capture and frame."""
    for entry in nested_entries(path):
        try:
            valid, said = valid_joints(entry.value, "joint_valid"), entry.value.get("hand_type")
        except HandgenError:  # which the reader says
            continue
        yield (entry.keys[0], entry.keys[1]), (valid, said if isinstance(said, str) and said in HAND_TYPES else None)


def _number(entry: Any, key: str) -> int | None:
    value = entry.get(key) if isinstance(entry, dict) else None
    return value if isinstance(value, int) and abs(value) < 2**62 else None


def _sort_rows(rows: Iterator[tuple[int, ...]], width: int) -> Int[np.ndarray, "n width"]:
    table = np.fromiter(chain.from_iterable(rows), np.int64).reshape(-1, width)
    return table[np.argsort(table[:, 0], kind="stable")]


def _find_row(table: Int[np.ndarray, "n width"], key: int) -> Int[np.ndarray, " width"] | None:
    row = int(np.searchsorted(table[:, 0], key))
    return table[row] if row < len(table) and table[row, 0] == key else None
