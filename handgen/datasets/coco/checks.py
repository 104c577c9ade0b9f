"""Checks of COCO keypoints: numbers that belong together, files that are there, and the labels."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from handgen.datasets.checks import CheckContext
from handgen.datasets.coco.layout import (
    HIDDEN,
    LIKELY_SEEN,
    NOT_LABELLED,
    NUMBERS,
    SEEN,
    annotation_files,
    are_scores,
    person_keys,
)
from handgen.datasets.coco.reader import CocoReader, is_box
from handgen.errors import HandgenError, explain_unreadable
from handgen.hand.skeleton import KEYPOINT_COUNT, KEYPOINT_NAMES, SIDES
from handgen.label_checks.checks import BATCH, BatchExaminer, conclude_parts
from handgen.label_checks.evidence import HandModels, Tolerances
from handgen.label_checks.findings import MISSING, PUT_IT_THERE, Checked, Findings
from handgen.label_checks.order import REORDER
from handgen.storage import limits
from handgen.wording import count_of

_IN_MASK = 0.5  # COCO says which keypoints are hidden
_AGAIN = "correct the JSON file"
ABOUT = {
    "coco ids": "ids are unique; every annotation belongs to a picture and a category",
    "coco keypoints": "63 numbers, visibility 0, 1 or 2 or a score, num_keypoints (if there) the number above 0",
    "coco mask": "segmentations are polygons of three points or more, or run lengths of the picture's size",
    "coco names": "the category's names, where they are handgen's, come in handgen's order",
    "coco file": "names of pictures lead to places inside the data set",
}


def check(root: Path, context: CheckContext) -> Checked:
    """Check all JSON files of a data set. Raises HandgenError when a file is too large to be held."""
    whole, files = Checked(Findings(), {"pictures": 0, "hands": 0}), annotation_files(root)
    for file in files:
        with explain_unreadable(file):
            size = file.stat().st_size
        limits.JSON_TEXT.check(size, file, "divide it by pictures into several files, and check these")
    for done, file in enumerate(files, 1):
        one = check_file(root, file, context.tolerances(_IN_MASK))
        whole.findings.extend(one.findings)
        whole.notes.extend(one.notes)
        whole.facts.update({name: whole.facts[name] + one.facts[name] for name in whole.facts})
        context.show("reading files", done, len(files))
    return whole


def check_file(root: Path, file: Path, tolerances: Tolerances) -> Checked:
    """Check one JSON file of a data set and its pictures."""
    findings = Findings()
    try:
        reader = CocoReader(root, file)
    except HandgenError as error:
        findings.add("coco ids", str(file), str(error), _AGAIN)
        return Checked(findings, {"pictures": 0, "hands": 0})
    for check_document in (_check_ids, _check_names):
        check_document(findings, file, reader.document)
    notes = _check_keypoints(findings, file, reader.document)
    hands, examiner = 0, BatchExaminer(f"{file}, ", HandModels(), tolerances)
    wanted = tolerances.pixels_per_part  # of each batch, and as many of all at least
    stride = 1 if wanted is None else max(1, min(BATCH, reader.count) // wanted)
    for place, entry in enumerate(reader.document["images"]):
        findings.looked_at.update(("coco file", MISSING))
        try:
            image = reader.picture(entry, place % stride == 0)
            if not reader.path_of(image.name, f"{file}").is_file():
                findings.add(MISSING, f"{file}, {image.name}", "the picture is not there", PUT_IT_THERE)
        except HandgenError as error:
            kind = "coco file" if "file_name" in str(error) else "coco mask" if "segmentation" in str(error) else None
            findings.add(kind or "coco keypoints", f"{file}", str(error), _AGAIN)
            continue
        findings.looked_at["coco mask"] += image.mask is not None
        hands += len(image.hands)
        examiner.add(image)
    checked = conclude_parts(file, findings, examiner.finish(), {"pictures": reader.count, "hands": hands})
    checked.notes.extend(notes)
    return checked


def _check_ids(findings: Findings, file: Path, document: dict[str, Any]) -> None:
    known: dict[str, set[Any]] = {}
    for member in ("images", "annotations", "categories"):
        ids = [entry.get("id") if isinstance(entry, dict) else None for entry in document[member]]
        findings.looked_at["coco ids"] += len(ids)
        known[member] = {one for one in ids if isinstance(one, int | str)}
        if len(known[member]) < len(ids):
            what = f"{len(ids) - len(known[member])} {member} have an id that another has, or none"
            findings.add("coco ids", str(file), what, "number them anew")
    for entry in document["annotations"]:
        if not isinstance(entry, dict):
            continue
        for member, key in (("images", "image_id"), ("categories", "category_id")):
            value = entry.get(key)
            if not isinstance(value, int | str) or value not in known[member]:
                what = f"annotation {entry.get('id')} has {key} {value!r}, which is none of the {member}"
                findings.add("coco ids", str(file), what, _AGAIN)


def _check_keypoints(findings: Findings, file: Path, document: dict[str, Any]) -> list[str]:
    """Check visibilities and counts; returns notes on what other programs write otherwise, and is read all the same."""
    other: Counter[str] = Counter()
    for entry in document["annotations"]:
        if not isinstance(entry, dict):
            continue
        keys = [key for side in SIDES if (key := person_keys(side)[0]) in entry] or ["keypoints"]
        for key in keys:
            findings.looked_at["coco keypoints"] += 1
            where, points = f"{file}, annotation {entry.get('id')}", entry.get(key)
            if isinstance(points, list) and len(points) == KEYPOINT_COUNT and all(isinstance(p, list) for p in points):
                other["keypoints as lists of three, not 63 numbers in a row"] += 1
                points = [number for point in points for number in point]
            if not isinstance(points, list) or len(points) != NUMBERS:
                got = len(points) if isinstance(points, list) else type(points).__name__
                findings.add("coco keypoints", where, f"{key} has {got} numbers", f"write {NUMBERS}: x, y, v of each")
                continue
            flags = points[2::3]
            unknown = [flag for flag in flags if flag not in (NOT_LABELLED, HIDDEN, SEEN)]
            if unknown and all(isinstance(flag, int | float) for flag in flags) and are_scores(flags):
                other[f"scores as visibilities; from {LIKELY_SEEN} on they are taken for seen"] += 1
            elif unknown:
                what = f"{key} has a visibility of {unknown[0]}"
                findings.add("coco keypoints", where, what, "write 0 (not labelled), 1 (hidden) or 2 (seen)")
                continue
            if key == "keypoints" and "num_keypoints" not in entry:
                other["no num_keypoints, which COCO's evaluation reads"] += 1
            elif key == "keypoints" and entry["num_keypoints"] != sum(flag > 0 for flag in flags):
                what = f"num_keypoints is {entry['num_keypoints']}, {sum(flag > 0 for flag in flags)} are labelled"
                findings.add("coco keypoints", where, what, "write how many have a visibility above 0")
        boxes = entry.get("segmentation")
        if isinstance(boxes, list) and boxes and all(is_box(outline) for outline in boxes):
            other["a rectangle as segmentation, which is no mask"] += 1
    return [f"{file}: {count_of(count, 'annotation')} with {what}" for what, count in other.items()]


def _check_names(findings: Findings, file: Path, document: dict[str, Any]) -> None:
    for category in document["categories"]:
        names = category.get("keypoints") if isinstance(category, dict) else None
        if not isinstance(names, list) or len(names) != KEYPOINT_COUNT:
            continue
        findings.looked_at["coco names"] += 1
        if names != list(KEYPOINT_NAMES) and set(map(str, names)) == set(KEYPOINT_NAMES):
            place = next(i for i in range(KEYPOINT_COUNT) if names[i] != KEYPOINT_NAMES[i])
            findings.add("coco names", str(file), f"keypoint {place} is called {names[place]}", REORDER)
