"""The boundary of writers, and what several of them need: boxes, and JSON files made from the pieces of units.

A unit (a shard or a chunk) is written at once: pictures, or a tar, and a *piece* of each JSON file in `.parts`. When
all are there, the pieces are joined in the order of the units. So memory depends on the size of a unit alone, a killed
run loses the units that it was at, and the bytes do not depend on how many processes there were.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import orjson

from handgen.datasets.source import Source
from handgen.hand.model_files import MANO
from handgen.hand.skeleton import SIDES
from handgen.records.labelled_image import MIN_KEYPOINTS, Box, LabelledHand, LabelledImage, in_picture
from handgen.storage import filesystem
from handgen.storage.filesystem import Location

PARTS = ".parts"
TOO_FEW = f"fewer than {MIN_KEYPOINTS} keypoints in the picture"
NO_BOX = (0.0, 0.0, 0.0, 0.0)  # left, top, width, height along pixels' edges, as in COCO and InterHand2.6M
_BLOCK_BYTES = 2**20
_BETWEEN = b",\n"


@dataclass(frozen=True)
class ExportJob:
    """All that a process needs to write any unit.

    format: a name of `handgen.datasets.registry.FORMATS`. options: that format's own. model_is_mano: whether a hand
    model that is not called "mano" is MANO all the same.
    """

    source: Source
    out: Location
    format: str
    options: Any
    model_is_mano: bool = False

    def is_mano(self, model: str | None) -> bool:
        """Tell whether a hand model of this name is MANO, into which other projects' loaders put the parameters."""
        return model == MANO or self.model_is_mano

    @property
    def all_mano(self) -> bool:
        """True where all hand models of the source are MANO."""
        return all(map(self.is_mano, self.source.models.values()))


@dataclass(frozen=True)
class File:
    """A file of the export. name: below its directory."""

    name: str
    bytes: int
    sha256: str


@dataclass
class Written:
    """The result of writing a unit.

    left_out: hands that the format cannot hold, by reason. parts: bytes by name in `.parts`. files: those that stay as
    they are, pictures left out. pictures: how many, by the folder below `out` that they are in.
    """

    hands: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)
    files: list[File] = field(default_factory=list)
    pictures: dict[str, int] = field(default_factory=dict)

    def leave_out(self, reason: str, count: int) -> None:
        """Count hands that are left out, if there are any."""
        if count:
            self.left_out[reason] = self.left_out.get(reason, 0) + count


class Writer(Protocol):
    """A writer of one format. other_sides_option: the flag by which pictures of all sides are taken; may be empty."""

    other_sides_option: str = ""

    @property
    def sides(self) -> tuple[str, ...]:
        """The sides of first hands that are taken; pictures of others are counted as left out."""
        return SIDES

    def write(self, unit: int, first: int, pictures: Iterable[LabelledImage]) -> Written:
        """Write a unit. first: number of its first picture in the whole export."""

    def finish(self, units: Sequence[Written]) -> list[File]:
        """Write the files that need all units, in their order; return all files of the export but pictures."""

    def place(self, manifest: dict[str, Any]) -> None:
        """Write the files that depend on where the export lies, if any; called in every run: it may have been moved."""

    def notes(self) -> list[str]:
        """Remarks for somebody who loads the export."""


def write_pictures(
    job: ExportJob,
    folder: str,
    unit: int,
    first: int,
    pictures: Iterable[LabelledImage],
    describe: Callable[[int, str, LabelledImage], None],
) -> Written:
    """Write a unit's pictures as FOLDER/000017/00000042.jpg: the unit, then the picture's number in the whole export.

    describe: takes the number, the name below `folder` and the picture, before that is written.
    """
    written, below = Written(), f"{folder}/{unit:06d}"
    written.pictures[below] = 0

    def files() -> Iterator[tuple[Location, bytes]]:
        for number, picture in enumerate(pictures, first):
            name = f"{number:08d}.{picture.suffix}"
            describe(number, f"{unit:06d}/{name}", picture)
            written.hands += len(picture.hands)
            written.pictures[below] += 1
            assert picture.image is not None
            yield job.out / below / name, picture.image

    filesystem.make_folder(job.out / below)
    filesystem.put_many(files())
    return written


def part_name(unit: int, kind: str) -> str:
    """`000017.images` of unit 17."""
    return f"{unit:06d}.{kind}"


def write_part(job: ExportJob, unit: int, kind: str, entries: Iterable[bytes], written: Written) -> None:
    """Write a unit's piece of a JSON file: members of a list or of an object, encoded."""
    data = _BETWEEN.join(entries)
    filesystem.put(job.out / PARTS / part_name(unit, kind), data)
    written.parts[part_name(unit, kind)] = len(data)


def join_parts(job: ExportJob, kind: str, units: Sequence[Written]) -> Iterator[bytes]:
    """Read the pieces of one kind in the order of the units, with commas between."""
    names = [part_name(number, kind) for number in range(len(units))]
    filled = [name for name, written in zip(names, units, strict=True) if written.parts.get(name)]
    for i, name in enumerate(filled):
        if i:
            yield _BETWEEN
        with filesystem.open_read(job.out / PARTS / name) as file:
            while block := file.read(_BLOCK_BYTES):
                yield block


def write_file(job: ExportJob, name: str, blocks: Iterable[bytes]) -> File:
    """Write a file from pieces; it appears when it is whole."""
    path = job.out / name
    filesystem.make_folder(path.parent)
    digest, size = hashlib.sha256(), 0
    with filesystem.whole_file(path) as file:
        for block in blocks:
            file.write(block)
            digest.update(block)
            size += len(block)
    return File(name, size, digest.hexdigest())


def encode_entry(value: Any) -> bytes:
    """One entry as JSON, on one line."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY, default=np.ndarray.tolist)  # views of others


def hand_box(hand: LabelledHand, picture: LabelledImage) -> Box | None:
    """The box of a hand's mask, else of its keypoints in the picture; None for a hand that is outside."""
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
    """The box around several; `NO_BOX` around none."""
    corners = np.array([(x, y, x + width, y + height) for x, y, width, height in filter(None, boxes)])
    if not len(corners):
        return NO_BOX
    left, top = corners[:, :2].min(0).tolist()
    right, bottom = corners[:, 2:].max(0).tolist()
    return left, top, round(right - left, 3), round(bottom - top, 3)
