"""Shards: every sample once, its labels, picture and mask agreeing, and every view used as often as asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import simplejpeg

from handgen.errors import HandgenError
from handgen.hand.skeleton import SIDES, other_side
from handgen.io import shards
from handgen.io.labelled import label_sample
from handgen.label_checks.checks import BATCH, BatchExaminer, Part, conclude
from handgen.label_checks.evidence import Fault, HandModels, Tolerances, model_beside
from handgen.label_checks.findings import Checked, Findings, check_digest, check_files, hash_values, name_first
from handgen.label_checks.rotations import transform_fault
from handgen.media import images
from handgen.progress import Progress
from handgen.records.labelled_image import LabelledImage
from handgen.runtime.engines import Engine
from handgen.runtime.messages import advancing
from handgen.runtime.resumable_run import Units, map_missing
from handgen.storage import filesystem
from handgen.storage.filesystem import Location

_PLACED = 200_000  # hands that are compared over the whole set, about
_AGAIN = "delete the shard and run `handgen synthesize` again"


@dataclass(frozen=True)
class ShardCheckJob:
    """All that the check of any shard needs. digests, pixels: whether they are checked, too."""

    root: Location
    seed: int
    subjects: dict[str, frozenset[str]]  # by split, as the manifest says
    digests: bool
    pixels: bool
    models: dict[str, str]
    tolerances: Tolerances


@dataclass
class ShardCheck:
    """The contents of one shard. span: first and last index of its samples. uses: samples by hashed view."""

    split: str
    name: str
    findings: Findings = field(default_factory=Findings)
    samples: int = 0
    sides: Counter[str] = field(default_factory=Counter)
    span: tuple[int, int] | None = None
    numbers: set[int] = field(default_factory=set)  # second numbers of the samples' seeds: the shard's own
    uses: Counter[int] = field(default_factory=Counter)
    parts: list[Part] = field(default_factory=list)


def check(
    root: Location, manifest: dict[str, Any], digests: bool, pixels: bool, engine: Engine, show: Progress
) -> Checked:
    """Check a finished shards directory."""
    findings = Findings()
    there = {name: size for name, size in filesystem.file_sizes(root).items() if name.endswith((".tar", ".partial"))}
    check_files(findings, root, there, {entry["name"]: entry["bytes"] for entry in manifest["shards"]})
    subjects = {
        split["name"]: frozenset(name for group in split["groups"] for name in group["subjects"])
        for split in manifest["splits"]
    }
    tolerances = Tolerances(
        pixels_per_part=None if pixels else Tolerances.pixels_per_part,
        share=min(1.0, _PLACED / max(manifest["samples"], 1)),
        shapes_vary=frozenset(entry["capture"] for entry in manifest["annotations"] if entry.get("shapes_vary")),
    )
    job = ShardCheckJob(root, manifest["seed"], subjects, digests, pixels, _models(manifest), tolerances)
    present = [entry for entry in manifest["shards"] if entry["name"] in there]
    checks: list[ShardCheck] = []
    uses: dict[str, Counter[int]] = {split["name"]: Counter() for split in manifest["splits"]}
    sizes = [entry["samples"] for entry in present]
    units = Units("reading shards", sizes, partial(check_shard, job), present.__getitem__)
    for _, found in map_missing(units, (), engine, show):
        findings.extend(found.findings)
        uses.setdefault(found.split, Counter()).update(found.uses)
        found.uses, found.findings = Counter(), Findings()
        checks.append(found)
    _check_whole(findings, root, manifest, checks)
    if len(checks) == len(manifest["shards"]):
        for split in manifest["splits"]:
            _check_uses(findings, root, split, uses[split["name"]], manifest["left_out"]["samples"])
    _check_splits(findings, root, manifest)
    of_labels, label_notes = conclude((part for found in checks for part in found.parts), f"{root}, ")
    findings.extend(of_labels)
    facts = {
        "samples": sum(found.samples for found in checks),
        "shards": len(checks),
        "views": sum(map(len, uses.values())),
        "left_out": manifest["left_out"]["samples"],
        "digests": len(checks) if digests else 0,
    }
    notes = [] if digests else ["digests were not recomputed; --digests does"]
    if facts["left_out"]:
        notes.append(f"{facts['left_out']} samples were left out when the shards were made: their cutouts are damaged")
    if (some := tolerances.pixels_per_part) is not None:
        notes.append(f"pixels of {some} pictures of every {BATCH} were looked at; --pixels: of all")
    counts = {"sample": facts["samples"], "rotation": facts["samples"], "file": len(manifest["shards"])}
    findings.looked_at.update(counts)
    return Checked(findings, facts, notes + label_notes)


def _models(manifest: dict[str, Any]) -> dict[str, str]:
    """Models that lie beside the annotations, by the names in labels."""
    names = {(entry["hand_model"]["name"], entry["path"]) for entry in manifest["annotations"]}
    return {name: beside for name, path in names if (beside := model_beside(path, name)) is not None}


def check_shard(job: ShardCheckJob, entry: dict[str, Any]) -> ShardCheck:
    """Check one shard. entry: of the manifest."""
    name = entry["name"]
    path, found = job.root / name, ShardCheck(name.rpartition("-")[0], name)
    examiner = BatchExaminer(f"{path}, sample ", HandModels(job.models), job.tolerances)
    try:
        for key, members in advancing(shards.read_groups(path)):
            try:
                examiner.add(_check_sample(job, found, path, key, members))
            except HandgenError as error:
                found.findings.add("sample", f"{path}, sample {key}", str(error), _AGAIN)
                found.samples += 1
    except HandgenError as error:
        found.findings.add("damaged shard", str(path), str(error), _AGAIN)
    else:
        sides = {side: found.sides[side] for side in SIDES}
        if (found.samples, sides) != (entry["samples"], entry["sides"]):
            what = f"holds {found.samples} samples {sides}; the manifest says {entry['samples']} {entry['sides']}"
            found.findings.add("count", str(path), what, _AGAIN)
    found.parts = examiner.finish()
    if job.digests:
        try:
            _, sha256 = filesystem.digest(path)
        except OSError as error:
            found.findings.add("damaged shard", str(path), f"cannot be read ({error.strerror or error})", _AGAIN)
        else:
            check_digest(found.findings, path, sha256, entry["sha256"], _AGAIN)
    return found


def _check_sample(
    job: ShardCheckJob, found: ShardCheck, path: Location, key: str, members: dict[str, bytes]
) -> LabelledImage:
    """Check what only shards have; return the labels, for the label checks."""
    where = f"{path}, sample {key}"
    document = shards.read_document(path, key, members)

    def wrong(what: str) -> None:
        found.findings.add("sample", where, what, _AGAIN)

    found.samples += 1
    found.sides[document["side"]] += 1
    index = document["index"]
    if document["key"] != key or key != f"{found.split}_{index:09d}":
        wrong(f"its labels say {document['key']}, number {index}")
    if found.span is not None and index <= found.span[1]:
        wrong(f"number {index} does not come after {found.span[1]}")
    found.span = (index, index) if found.span is None else (found.span[0], max(index, found.span[1]))
    found.numbers.add(document["seed"][1])
    if document["seed"][0] != job.seed:
        wrong(f"was made with seed {document['seed'][0]}, not {job.seed}")
    source = document["source"]
    if source["subject"] not in job.subjects.get(found.split, ()):
        wrong(f"is of {source['subject']}, who is not in split {found.split}")
    side = other_side(document["side"]) if document["mirrored"] else document["side"]
    found.uses[hash_values(source["capture"], source["frame"], source["camera"], side)] += 1
    sound = _picture_is_sound(document, members, where, job.pixels, wrong)
    image, fault = _label(key, document, members if sound else {})
    found.findings.add_fault("rotation", where, fault)
    return image


def _label(key: str, document: dict[str, Any], members: dict[str, bytes]) -> tuple[LabelledImage, Fault | None]:
    """Label a sample, without its transform where that is none, and find what is wrong with that."""
    fault = transform_fault(np.array(document["camera"]["cam_from_world"], float))
    if fault is None:
        return label_sample(key, document, members), None
    unplaced = {**document, "camera": {**document["camera"], "cam_from_world": np.eye(4).tolist()}}
    return replace(label_sample(key, unplaced, members), cam_from_world=None), fault


def _picture_is_sound(
    document: dict[str, Any], members: dict[str, bytes], where: str, pixels: bool, wrong: Callable[[str], None]
) -> bool:
    """Tell whether picture and mask can be read, of the labels' size and box. pixels: decode the picture, too."""
    size_px = tuple(document["camera"]["size_px"])
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(members[shards.IMAGE])
    except ValueError as error:
        wrong(f"its image cannot be read ({error})")
        return False
    if (width, height) != size_px:
        wrong(f"its image is {width}x{height}, its labels say {size_px[0]}x{size_px[1]}")
        return False
    if pixels:
        images.decode_rgb(members[shards.IMAGE], f"{where}.{shards.IMAGE}")
    mask = images.decode_mask(members[shards.MASK], f"{where}.{shards.MASK}", size_px)
    if list(cv2.boundingRect(mask)) != document["box_px"]:
        wrong(f"box_px is {document['box_px']}, the mask's box is {list(cv2.boundingRect(mask))}")
    return True


def _check_whole(findings: Findings, root: Location, manifest: dict[str, Any], checks: list[ShardCheck]) -> None:
    """Numbers of samples and seeds over all shards."""
    by_name = {found.name: found for found in checks}
    numbers: Counter[int] = Counter()
    for split in manifest["splits"]:
        last, before = -1, ""
        of_split = [entry for entry in manifest["shards"] if entry["name"].rpartition("-")[0] == split["name"]]
        for entry in of_split:
            found = by_name.get(entry["name"])
            if found is None or found.span is None:
                continue
            if found.span[0] <= last:
                what = f"its samples begin with number {found.span[0]}, but {before} ends with {last}"
                findings.add("sample twice", f"{root / found.name}", what, _AGAIN)
            last, before = found.span[1], found.name
            numbers.update(found.numbers)
        counted = sum(entry["samples"] for entry in of_split)
        if counted != split["samples"]:
            what = f"says {split['samples']} samples of split {split['name']}, its shards have {counted}"
            findings.add("count", f"{root}/manifest.json", what, "run `handgen synthesize` again")
    if any(count > 1 for count in numbers.values()):
        again = name_first(str(number) for number, count in numbers.items() if count > 1)
        findings.add("seed twice", str(root), f"shards share the seeds of number {again}", "make the shards again")
    if sum(split["samples"] for split in manifest["splits"]) != manifest["samples"]:
        what = f"says {manifest['samples']} samples, which is not the sum of its splits"
        findings.add("count", f"{root}/manifest.json", what, "run `handgen synthesize` again")


def _check_uses(findings: Findings, root: Location, split: dict[str, Any], uses: Counter[int], left_out: int) -> None:
    """Every view as often as asked. Where samples were left out some views are used less."""
    fewest, most = split["uses"]
    where = f"{root}, split {split['name']}"
    if too_often := sum(count > most for count in uses.values()):
        what = f"{too_often} views are used more than {most} times, up to {max(uses.values())} times"
        findings.add("view used too often", where, what, _AGAIN)
    if left_out:
        return
    if too_seldom := sum(count < fewest for count in uses.values()):
        findings.add("view used too seldom", where, f"{too_seldom} views are used less than {fewest} times", _AGAIN)
    if fewest and len(uses) != split["views"]:
        what = f"{len(uses)} views are used, the manifest says {split['views']}"
        findings.add("view lost", where, what, _AGAIN)


def _check_splits(findings: Findings, root: Location, manifest: dict[str, Any]) -> None:
    """No sequence in two splits, nor a subject, unless splits are by sequence."""
    by = manifest["configuration"].get("split_by", "subject")
    for what, key in (("sequence", "sequences"), ("subject", "subjects")):
        names = [{name for group in split["groups"] for name in group[key]} for split in manifest["splits"]]
        shared = {name for i, some in enumerate(names) for other in names[i + 1 :] for name in some & other}
        if shared and (what == "sequence" or by == "subject"):
            findings.add(f"{what} in two splits", str(root), name_first(shared), "make the shards again")
