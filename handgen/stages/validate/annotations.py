"""Annotations: every frame in one chunk, every record once, and the cutout of every view there and of its size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any
from uuid import uuid4

import numpy as np

from handgen.errors import HandgenError
from handgen.io import annotations as store
from handgen.io.annotations import Annotations
from handgen.io.camera_json import camera_from_document
from handgen.io.cutouts import CutoutTar
from handgen.io.shards import read_groups
from handgen.label_checks.checks import BatchExaminer, Part, conclude
from handgen.label_checks.evidence import HandModels, Tolerances, load_sides
from handgen.label_checks.findings import Checked, Findings, check_digest, check_files, name_first
from handgen.label_checks.rotations import transform_fault
from handgen.progress import Progress
from handgen.records.annotation import HandRecord, ViewRecord
from handgen.runtime.engines import Engine
from handgen.runtime.messages import advancing
from handgen.runtime.resumable_run import Units, map_missing
from handgen.stages.validate.cameras import check_cameras, check_rig
from handgen.stages.validate.records import LEFT_OUT, Setting, image_of, rotation_faults, view_faults
from handgen.storage import filesystem
from handgen.storage.filesystem import Location

_IN_MASK = 0.25  # of a hand's keypoints; records do not say which the other hand covers
_BATCH = 500  # cutouts that are looked at, and held, together
_AGAIN = "delete the chunk's files and run `handgen annotate` again"


@dataclass
class ChunkCheck:
    """The contents of one chunk. seen: the cameras that saw one hand, of every hand."""

    findings: Findings = field(default_factory=Findings)
    records: int = 0
    views: int = 0
    parts: list[Part] = field(default_factory=list)
    seen: set[frozenset[str]] = field(default_factory=set)


def check(
    root: Location, manifest: dict[str, Any], digests: bool, pixels: bool, engine: Engine, show: Progress
) -> Checked:
    """Check a finished annotations directory."""
    findings, where, chunks = Findings(), f"{root}/manifest.json", manifest["chunks"]

    def name_of(entry: dict[str, Any], suffix: str) -> str:
        return store.chunk_path(root, entry["index"], suffix).name

    expected: dict[str, int | None] = {
        name_of(entry, suffix): entry["files"][name]["bytes"] if "files" in entry else None
        for entry in chunks
        for name, suffix in store.FILES.items()
    }
    there = filesystem.file_sizes(root / store.CHUNKS)
    check_files(findings, root / store.CHUNKS, there, expected)
    frames = 0
    for number, entry in enumerate(chunks):
        if (entry["index"], entry["first_frame"]) != (number, frames):
            begins = f"is number {entry['index']} and begins with frame {entry['first_frame']}, not {frames}"
            findings.add("frames", where, f"chunk {number} {begins}", "run `handgen annotate` again")
        frames += entry["frames"]
    if frames != manifest["capture"]["frame_count"]:
        what = f"chunks have {frames} frames, the capture {manifest['capture']['frame_count']}"
        findings.add("frames", where, what, "run `handgen annotate` again")
    present = [entry for entry in chunks if all(name_of(entry, suffix) in there for suffix in store.FILES.values())]
    tolerances = Tolerances(pixels_per_part=None if pixels else Tolerances.pixels_per_part, in_mask=_IN_MASK)
    check_one = partial(check_chunk, root, uuid4().hex, frozenset(manifest["subjects"]), digests, tolerances)
    facts = {"frames": frames, "chunks": len(present), "records": 0, "views": 0}
    parts, seen = list[Part](), set[frozenset[str]]()
    units = Units("reading chunks", [entry["frames"] for entry in present], check_one, present.__getitem__)
    for _, found in map_missing(units, (), engine, show):
        findings.extend(found.findings)
        parts += found.parts
        seen |= found.seen
        facts["records"] += found.records
        facts["views"] += found.views
    notes = [] if digests else ["digests were not recomputed; --digests does"]
    if digests and any("files" not in entry for entry in chunks):
        notes.append("the manifest holds no digests: the annotations were made by an earlier version")
    _check_cameras(findings, root, manifest, seen)
    of_labels, label_notes = conclude(parts, f"{root}, ")
    findings.extend(of_labels)
    notes.append("rejected records and views were not looked at for what they mean")
    if (some := tolerances.pixels_per_part) is not None:
        notes.append(f"pixels of {some} of every {_BATCH} cutouts were looked at; --pixels: of all")
    return Checked(findings, facts, notes + label_notes)


def _check_cameras(findings: Findings, root: Location, manifest: dict[str, Any], seen: set[frozenset[str]]) -> None:
    """Check cameras one by one, and those that saw the same hands together: imports may have several rigs."""
    where = f"{root}/manifest.json"
    findings.looked_at["rotation"] += len(manifest["cameras"])
    for entry in manifest["cameras"]:
        fault = transform_fault(np.array(entry["cam_from_world"], float))
        findings.add_fault("rotation", f"{where}, camera {entry['name']}", fault)
    if "rotation" in findings.counts:
        return
    try:
        cameras = {entry["name"]: camera_from_document(entry, where) for entry in manifest["cameras"]}
    except HandgenError as error:
        findings.add("manifest", where, str(error), _AGAIN)
        return
    if len(cameras) < len(manifest["cameras"]):
        name = Counter(entry["name"] for entry in manifest["cameras"]).most_common(1)[0][0]
        findings.add("manifest", where, f"two cameras are called {name}", "run `handgen annotate` again")
    check_cameras(findings, where, list(cameras.values()))
    for names in _rigs(seen):
        rig = [cameras[name] for name in sorted(names) if name in cameras]
        check_rig(findings, where, rig, in_metres=True)


def _rigs(seen: set[frozenset[str]]) -> Iterable[set[str]]:
    """Group cameras by hands that they saw together; those that saw none with another are left out."""
    rig_of: dict[str, set[str]] = {}
    for names in sorted(seen, key=sorted):
        if len(names) > 1:
            rig = set(names).union(*(rig_of.get(name, ()) for name in names))
            rig_of.update(dict.fromkeys(rig, rig))
    return {id(rig): rig for rig in rig_of.values()}.values()


def check_chunk(
    root: Location, run: str, subjects: frozenset[str], digests: bool, tolerances: Tolerances, entry: dict[str, Any]
) -> ChunkCheck:
    """Check one chunk. run: a name of this run's own. entry: of the manifest."""
    found, index = ChunkCheck(), entry["index"]
    path, chunk_tar = (store.chunk_path(root, index, suffix) for suffix in (".jsonl", ".tar"))
    try:
        records = store.read_chunk(root, index)
    except HandgenError as error:
        for where, fault in rotation_faults(root, index):
            found.findings.add_fault("rotation", where, fault)
        if not found.findings.counts:
            found.findings.add("damaged records", str(path), str(error), _AGAIN)
        return found
    accepted = sum(record.accepted for record in records)
    if (len(records), accepted) != (entry["records"], entry["accepted"]):
        said = f"the manifest says {entry['records']}, {entry['accepted']}"
        found.findings.add("count", str(path), f"has {len(records)} records, {accepted} accepted; {said}", _AGAIN)
    _check_records(found.findings, path, records, subjects, entry)
    found.records, found.views = len(records), sum(len(record.views) for record in records)
    found.seen = {frozenset(view.camera.name for view in record.views) for record in records}
    setting = _open_setting(root, run)
    _check_cutouts(found, path, chunk_tar, records, setting, tolerances)
    if setting is not None:
        for record, view in [(one, view) for one in records if one.accepted for view in one.views]:
            where = f"{path}, frame {record.frame}, {record.side} hand of {record.subject}, {view.camera.name}"
            for name, wrong in view_faults(setting.cameras, record, view).items():
                found.findings.looked_at[name] += 1
                found.findings.add_fault(name, where, wrong)
    if digests and "files" in entry:
        for name, there in store.describe_chunk(root, index).items():
            file = store.chunk_path(root, index, store.FILES[name])
            check_digest(found.findings, file, there["sha256"], entry["files"][name]["sha256"], _AGAIN)
    return found


def _check_records(
    findings: Findings, path: Location, records: list[HandRecord], subjects: frozenset[str], entry: dict[str, Any]
) -> None:
    hands = Counter((record.frame, record.side, record.subject) for record in records)
    for (frame, side, subject), count in hands.items():
        where = f"{path}, frame {frame}, {side} hand of {subject}"
        if count > 1:
            findings.add("record twice", where, f"is there {count} times", _AGAIN)
        if not entry["first_frame"] <= frame < entry["first_frame"] + entry["frames"]:
            findings.add("frames", where, "is not one of the chunk's frames", _AGAIN)
        if subject not in subjects:
            findings.add("subject", where, "is nobody whom the manifest lists", _AGAIN)


@lru_cache(maxsize=1)
def _open_setting(root: Location, run: str) -> Setting | None:
    """Read once per process and `run`: imports have many cameras. None where the manifest has wrong ones, told once."""
    opened = Annotations(root)
    try:
        rig = {camera.name: camera for camera in opened.rig}
        models = {opened.manifest["hand_model"]["name"]: opened.hand_model}
        return Setting(rig, opened.betas, load_sides(opened.hand_model), models)
    except HandgenError:
        return None


def _check_cutouts(
    found: ChunkCheck,
    path: Location,
    chunk_tar: Location,
    records: list[HandRecord],
    setting: Setting | None,
    tolerances: Tolerances,
) -> None:
    """The cutouts of one chunk, and what their labels mean, a batch of them in memory at a time."""
    cutouts, decoded = dict[str, list[tuple[HandRecord, ViewRecord]]](), CutoutTar(chunk_tar)
    for record in advancing(records, len({record.frame for record in records}) / max(len(records), 1)):
        for view in record.views:
            cutouts.setdefault(view.cutout, []).append((record, view))
            try:
                decoded.cutout(view.cutout, view.camera.size_px, view.cutout_span)
            except HandgenError as error:
                found.findings.add("damaged cutout", f"{chunk_tar}, {view.cutout}", str(error), _AGAIN)
    for name, several in cutouts.items():
        if len(several) > 1:
            found.findings.add("cutout twice", f"{chunk_tar}, {name}", f"belongs to {len(several)} views", _AGAIN)
    models = HandModels({} if setting is None else setting.models)
    examiner = BatchExaminer(f"{path}, ", models, tolerances, LEFT_OUT, _BATCH)
    stray = set[str]()

    def take(name: str, members: dict[str, bytes]) -> None:
        for record, view in cutouts.pop(name):
            image = None if setting is None else image_of(setting, record, view, members)
            if image is not None:
                examiner.add(image)

    try:
        for name, members in read_groups(chunk_tar):
            if name in cutouts:
                take(name, members)
            else:
                stray.add(name)
    except HandgenError as error:
        found.findings.add("damaged cutouts", str(chunk_tar), str(error), _AGAIN)
    for name in list(cutouts):  # their labels mean something without the pictures
        take(name, {})
    found.parts = examiner.finish()
    if stray:
        found.findings.add("stray cutout", str(chunk_tar), f"no record names {name_first(stray)}", _AGAIN)
