"""Annotations: every frame in one chunk, every record once, and the cutout of every view there and of its size."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from handgen.engines.base import Engine
from handgen.errors import HandgenError
from handgen.io import annotations as store
from handgen.io import storage
from handgen.io.annotations import Annotations, HandRecord
from handgen.io.shards import read_groups
from handgen.io.storage import Location
from handgen.progress import Progress
from handgen.validate.findings import Findings, check_files, first

_AGAIN = "delete the chunk's files and run `handgen annotate` again"


@dataclass
class ChunkCheck:
    """What one chunk holds."""

    findings: Findings = field(default_factory=Findings)
    records: int = 0
    views: int = 0


def check(root: Location, manifest: dict[str, Any], digests: bool, pixels: bool, engine: Engine, show: Progress):
    """Findings, facts and notes of a finished annotations directory."""
    findings = Findings()
    chunks = manifest["chunks"]
    expected: dict[str, int | None] = {}
    for entry in chunks:
        for name, suffix in store.FILES.items():
            size = entry["files"][name]["bytes"] if "files" in entry else None
            expected[store.chunk_path(root, entry["index"], suffix).name] = size
    there = storage.sizes(root / store.CHUNKS)
    check_files(findings, root / store.CHUNKS, there, expected)
    frames = 0
    for number, entry in enumerate(chunks):
        if (entry["index"], entry["first_frame"]) != (number, frames):
            what = (
                f"chunk {number} is number {entry['index']} and begins with frame {entry['first_frame']}, not {frames}"
            )
            findings.add("frames", f"{root}/manifest.json", what, "run `handgen annotate` again")
        frames += entry["frames"]
    if frames != manifest["capture"]["frame_count"]:
        what = f"chunks have {frames} frames, the capture {manifest['capture']['frame_count']}"
        findings.add("frames", f"{root}/manifest.json", what, "run `handgen annotate` again")
    present = [
        entry
        for entry in chunks
        if all(store.chunk_path(root, entry["index"], suffix).name in there for suffix in store.FILES.values())
    ]
    records = views = 0
    show("reading chunks", 0, len(present))
    check_one = partial(check_chunk, root, frozenset(manifest["subjects"]), digests)
    for done, found in enumerate(engine.map_units(check_one, present, len(present)), 1):
        findings.extend(found.findings)
        records, views = records + found.records, views + found.views
        show("reading chunks", done, len(present))
    facts = {"frames": frames, "chunks": len(present), "records": records, "views": views}
    notes = [] if digests else ["digests were not recomputed; --digests does"]
    if digests and any("files" not in entry for entry in chunks):
        notes.append("the manifest holds no digests: the annotations were made by an earlier version")
    return findings, facts, notes


def check_chunk(root: Location, subjects: frozenset[str], digests: bool, entry: dict[str, Any]) -> ChunkCheck:
    """One chunk. entry: of the manifest."""
    found, index = ChunkCheck(), entry["index"]
    path = store.chunk_path(root, index, ".jsonl")
    try:
        records = store.read_chunk(root, index)
    except HandgenError as error:
        found.findings.add("damaged records", str(path), str(error), _AGAIN)
        return found
    counts = (len(records), sum(record.accepted for record in records))
    if counts != (entry["records"], entry["accepted"]):
        what = (
            f"has {counts[0]} records, {counts[1]} accepted; the manifest says {entry['records']}, {entry['accepted']}"
        )
        found.findings.add("count", str(path), what, _AGAIN)
    _check_records(found.findings, path, records, subjects, entry)
    _check_cutouts(found, root, index, records)
    if digests and "files" in entry:
        for name, said in store.describe_chunk(root, index).items():
            if said["sha256"] != entry["files"][name]["sha256"]:
                what = (
                    f"SHA-256 is {said['sha256'][:12]}..., the manifest says {entry['files'][name]['sha256'][:12]}..."
                )
                where = store.chunk_path(root, index, store.FILES[name])
                found.findings.add("digest", str(where), what, _AGAIN)
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


def _check_cutouts(found: ChunkCheck, root: Location, index: int, records: list[HandRecord]) -> None:
    path = store.chunk_path(root, index, ".tar")
    names = Counter(view.cutout for record in records for view in record.views)
    found.records, found.views = len(records), names.total()
    opened = Annotations(root)
    for record in records:
        for view in record.views:
            try:
                opened.cutout(index, view)
            except HandgenError as error:
                found.findings.add("damaged cutout", f"{path}, {view.cutout}", str(error), _AGAIN)
    for name, count in names.items():
        if count > 1:
            found.findings.add("cutout twice", f"{path}, {name}", f"belongs to {count} views", _AGAIN)
    try:
        stems = {key for key, _ in read_groups(path)}
    except HandgenError as error:
        found.findings.add("damaged cutouts", str(path), str(error), _AGAIN)
        return
    if stray := stems - names.keys():
        found.findings.add("stray cutout", str(path), f"no record names {first(stray)}", _AGAIN)
