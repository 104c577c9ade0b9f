"""Write one shard or chunk in another format: the unit of work of `export`. Its bytes depend on job and unit alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np

from handgen.datasets.registry import get_format
from handgen.datasets.writer import PARTS, TOO_FEW, ExportJob, File, Writer, Written
from handgen.errors import HandgenError
from handgen.hand.model_files import MOST_BETA
from handgen.hand.skeleton import SIDES
from handgen.records.labelled_image import MIN_KEYPOINTS, LabelledImage, in_picture
from handgen.runtime.messages import advance
from handgen.runtime.resumable_run import ResumableRun, Units
from handgen.storage import filesystem
from handgen.storage.filesystem import Location


@dataclass
class UnitResult:
    """The result of one unit: pictures taken, sides of first hands, largest betas beyond `MOST_BETA` by subject."""

    unit: int
    written: Written
    pictures: int
    sides: dict[str, int]
    betas: dict[str, float]

    @classmethod
    def from_json(cls, number: int, document: dict[str, Any]) -> UnitResult:
        """Read the result of unit `number` from its journal's entry, which is `asdict` of it."""
        written = Written(**document["written"])
        written.files = [File(**file) for file in document["written"]["files"]]
        return cls(**{**document, "unit": number, "written": written})


def count_units(job: ExportJob) -> Units[dict[str, int]]:
    """The step that counts the pictures of every unit by side: the number of a picture is that of those before it."""
    return Units("counting", [1] * job.source.units, job.source.count)


def kept_pictures(job: ExportJob, writer: Writer, counts: Sequence[dict[str, int]]) -> list[int]:
    """Count the pictures of each unit that are written; HandgenError if it is none at all."""
    kept = [sum(count[side] for side in writer.sides) for count in counts]
    if not any(kept):
        there = ", ".join(f"{sum(count[side] for count in counts)} {side}" for side in SIDES)
        option = writer.other_sides_option if any(map(sum, map(dict.values, counts))) else ""
        hint = f"give {option}" if option else "annotate more, or see --include-rejected"
        raise HandgenError(f"{job.source.root}: nothing to write ({there} hands in all); {hint}")
    return kept


def export_units(job: ExportJob, kept: Sequence[int]) -> Units[UnitResult]:
    """The step that writes every unit. kept: how many pictures of each."""
    firsts = list(accumulate(kept, initial=0))
    function = partial(export_unit, job)
    return Units("writing", kept, function, lambda unit: (unit, firsts[unit]), asdict, unit_files)


def unit_files(unit: int, result: UnitResult) -> dict[str, int]:
    """The files of a unit that stay, and the pieces of JSON files, until the export is whole."""
    parts = {f"{PARTS}/{name}": size for name, size in result.written.parts.items()}
    return parts | {file.name: file.bytes for file in result.written.files}


def finished_units(out: Location, resumable: ResumableRun) -> dict[int, UnitResult]:
    """The units that an earlier run finished, and whose files are still there."""
    results = resumable.noted_as(UnitResult.from_json)
    found = resumable.in_place(results, unit_files)
    gaps = folders_with_gaps(out, found.values())
    return {unit: result for unit, result in found.items() if not gaps & result.written.pictures.keys()}


def folders_with_gaps(out: Location, results: Iterable[UnitResult]) -> set[str]:
    """Folders that have fewer files than pictures were written there."""
    counts: Counter[str] = Counter()
    for result in results:
        counts.update(result.written.pictures)
    return {folder for folder, count in counts.items() if sum(1 for _ in filesystem.list_names(out / folder)) < count}


def export_unit(job: ExportJob, unit_and_first: tuple[int, int]) -> UnitResult:
    """Write one unit. unit_and_first: its number, and that of its first picture."""
    unit, first = unit_and_first
    filesystem.make_folder(job.out / PARTS)
    writer = get_format(job.format).create_writer(job)
    result, too_few = UnitResult(unit, Written(), 0, dict.fromkeys(SIDES, 0), {}), list[int]()

    def taken() -> Iterator[LabelledImage]:
        """Pictures whose first hand is of a side that is taken, without other hands that are hardly in them."""
        for picture in job.source.read(unit):
            first_hand, *others = picture.hands
            if first_hand.side not in writer.sides:
                continue
            counts = [int(in_picture(hand, picture).sum()) for hand in others]
            seen = [hand for hand, count in zip(others, counts, strict=True) if count >= MIN_KEYPOINTS]
            too_few.append(sum(0 < count < MIN_KEYPOINTS for count in counts))
            result.pictures += 1
            result.sides[first_hand.side] += 1
            given = [hand.parameters for hand in (first_hand, *seen) if hand.parameters is not None]
            largest = max((float(np.abs(one.betas).max()) for one in given), default=0.0)
            if largest > MOST_BETA:
                result.betas[picture.subject] = max(largest, result.betas.get(picture.subject, 0.0))
            yield replace(picture, hands=(first_hand, *seen))
            advance()

    result.written = writer.write(unit, first, taken())
    result.written.leave_out(TOO_FEW, sum(too_few))
    return result
