"""`annotations` of InterHand2.6M's data.json: all that its loader takes pictures by.

Source: github.com/facebookresearch/InterHand2.6M, `data/InterHand2.6M/dataset.py`: it goes through `annotations`, and
takes bbox, joint_valid and hand_type from there; joint_3d.json gives the coordinates alone.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Bool, Int

from handgen.datasets import reader as base
from handgen.errors import HandgenError
from handgen.hand.skeleton import KEYPOINT_COUNT
from handgen.label_checks.findings import Findings
from handgen.records.labelled_image import LabelledImage
from handgen.storage.json_stream import list_entries, nested_entries, read_value

ANNOTATIONS, JOINTS, HAND_TYPE = "interhand annotations", "interhand joints", "interhand hand type"
LAYOUT = {
    ANNOTATIONS: "annotations has a bbox for every picture, and no entry of no picture: the loader goes by them",
    JOINTS: "joint_valid has 42 numbers, calls a joint valid, and none that joint_3d has not",
    HAND_TYPE: "hand_type is right, left or interacting, and names no hand that joint_3d's does not",
}
_SIDES = {"right": {"right"}, "left": {"left"}, "interacting": {"right", "left"}}
_COUNT = 2 * KEYPOINT_COUNT
_START = "InterHand2.6M_"
_AGAIN = "correct data.json, or get it again"


def folders_of(root: Path) -> dict[str, Path]:
    """The folder of each split's files; that of its own name where there are several."""
    found: dict[str, Path] = {}
    for path in sorted(root.glob(f"annotations/*/{_START}*_data.json")):
        split = path.name.removeprefix(_START).removesuffix("_data.json")
        if split not in found or path.parent.name == split:
            found[split] = path.parent
    return found


class AnnotatedPictures:
    """Annotations of one split, by picture; 40 bytes are held of each, and a few numbers of each frame.

    Raises HandgenError when a file is missing or damaged.
    """

    def __init__(self, root: Path, split: str) -> None:
        folder = folders_of(root)[split]
        self.findings, self.looked_at = Findings(), Counter[str]()
        self._data, self._joints = (folder / f"{_START}{split}_{name}.json" for name in ("data", "joint_3d"))
        self._split = split
        self._id_of = _sorted(_names(self._data, split), 2)
        self._places = _sorted(self._annotations(), 3)
        self._frames = dict(_frames(self._joints))
        self._check_whole()

    def _annotations(self) -> Iterator[tuple[int, int, int]]:
        """Picture, first byte and number of bytes of each."""
        for entry in list_entries(self._data, "annotations"):
            number = _number(entry.value, "image_id")
            if number is None:
                what = f"the annotation at byte {entry.first} has no image_id"
                self.findings.add(ANNOTATIONS, str(self._data), what, _AGAIN)
            else:
                yield number, entry.first, entry.length

    def _check_whole(self) -> None:
        self.looked_at[ANNOTATIONS] += len(self._places)
        if not len(self._places):
            what = "annotations is empty: the loader finds no pictures"
            self.findings.add(ANNOTATIONS, str(self._data), what, "write an annotation for every picture")
            return
        strays = np.setdiff1d(self._places[:, 0], self._id_of[:, 1])
        if len(strays):
            what = f"{len(strays)} annotations are of no picture (image_id {strays[0]} the first)"
            self.findings.add(ANNOTATIONS, str(self._data), what, _AGAIN)

    def look(self, images: list[LabelledImage]) -> list[LabelledImage]:
        """Compare the annotations of some pictures with joint_3d; returns the pictures with the annotations' boxes."""
        if not len(self._places):
            return images
        with self._data.open("rb") as file:
            return [self._look(image, file) for image in images]

    def _look(self, image: LabelledImage, file: BinaryIO) -> LabelledImage:
        where = f"{self._data}, {image.name}"
        row = _found(self._id_of, _hash(image.name))
        place = None if row is None else _found(self._places, int(row[1]))
        if place is None:
            what = "has no annotation: the loader leaves it out"
            self.findings.add(ANNOTATIONS, where, what, "write one, or leave the picture out")
            return image
        known, told_type = self._frames.get((image.capture.removeprefix("capture"), str(image.frame)), (None, None))
        document = read_value(file, int(place[1]), int(place[2]), where)
        self._check_joints(document, known, where)
        self._check_type(document, told_type, where)
        try:
            left, top, width, height = base.numbers(document.get("bbox"), (4,), "bbox").tolist()
        except HandgenError as error:
            self.findings.add(ANNOTATIONS, where, str(error), _AGAIN)
            return image
        return replace(image, hands=tuple(replace(hand, box_px=(left, top, width, height)) for hand in image.hands))

    def _check_joints(self, document: dict[str, Any], known: Bool[np.ndarray, " 42"] | None, where: str) -> None:
        self.looked_at[JOINTS] += 1
        try:
            valid = _flags(document)
        except HandgenError as error:
            self.findings.add(JOINTS, where, str(error), _AGAIN)
            return
        if known is None:  # which the reader says
            return
        if (unknown := int((valid & ~known).sum())) > 0:
            what = f"joint_valid calls {unknown} joints valid that joint_3d does not"
            self.findings.add(JOINTS, where, what, "let both say the same")
        elif known.any() and not valid.any():
            what = f"joint_valid calls no joint valid, joint_3d {int(known.sum())}"
            self.findings.add(JOINTS, where, what, "let both say the same")

    def _check_type(self, document: dict[str, Any], told_type: str | None, where: str) -> None:
        self.looked_at[HAND_TYPE] += 1
        said = document.get("hand_type")
        sides = _SIDES.get(said) if isinstance(said, str) else None
        if sides is None:
            what = f"hand_type is {str(said)[:40]!r}"
            self.findings.add(HAND_TYPE, where, what, f"write {', '.join(_SIDES)}")
        elif told_type is not None and not sides <= _SIDES[told_type]:
            what = f"hand_type is {said}, joint_3d says {told_type}"
            self.findings.add(HAND_TYPE, where, what, "let both say the same")


def _names(path: Path, split: str) -> Iterator[tuple[int, int]]:
    """Of every picture its name's hash, as readers call it, and its number."""
    for entry in list_entries(path, "images"):
        number, name = _number(entry.value, "id"), entry.value.get("file_name") if entry.value else None
        if number is not None and isinstance(name, str):
            plain = name.encode("latin-1", "replace").decode("utf-8", "replace")  # as the stream gives text
            yield _hash(f"images/{split}/{plain}"), number


def _hash(name: str) -> int:
    """63 bits: among a million names two are alike with a chance of 1 in ten million."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") >> 1


def _frames(path: Path) -> Iterator[tuple[tuple[str, str], tuple[Bool[np.ndarray, " 42"], str | None]]]:
    """By capture and frame, which joints joint_3d has and its hand_type."""
    for entry in nested_entries(path):
        try:
            valid, said = _flags(entry.value), entry.value.get("hand_type")
        except HandgenError:  # which the reader says
            continue
        yield (entry.keys[0], entry.keys[1]), (valid, said if isinstance(said, str) and said in _SIDES else None)


def _flags(document: Any) -> Bool[np.ndarray, " 42"]:
    """joint_valid: 42 numbers, or lists of one."""
    value = document.get("joint_valid") if isinstance(document, dict) else None
    if isinstance(value, list):
        value = [one[0] if isinstance(one, list) and len(one) == 1 else one for one in value]
    return base.numbers(value, (_COUNT,), "joint_valid") > 0


def _number(entry: Any, key: str) -> int | None:
    value = entry.get(key) if isinstance(entry, dict) else None
    return value if isinstance(value, int) and abs(value) < 2**62 else None


def _sorted(rows: Iterator[tuple[int, ...]], width: int) -> Int[np.ndarray, "n width"]:
    """Rows by their first number."""
    flat = array("q")
    for row in rows:
        flat.extend(row)
    table = np.frombuffer(flat, np.int64).reshape(-1, width) if len(flat) else np.zeros((0, width), np.int64)
    return table[np.argsort(table[:, 0], kind="stable")]


def _found(table: Int[np.ndarray, "n width"], key: int) -> Int[np.ndarray, " width"] | None:
    row = int(np.searchsorted(table[:, 0], key))
    return table[row] if row < len(table) and table[row, 0] == key else None
