"""The annotations directory: what `annotate` writes and `synthesize`, `evaluate` and `inspect` read.

    manifest.json             kind, versions, hand model, subjects' betas, cameras, configuration, chunks, summary;
                              written last
    chunks/000000.jsonl       one record per hand and frame (`annotation_record.schema.json`)
    chunks/000000.tar         per record and view KEY.jpg (RGB crop, undistorted), KEY.mask.png (0 or 255) and, where
                              the forearm was found, KEY.arm.png (likewise)
    detections/000000.jsonl   what the detector saw (`detection.schema.json`), so that a rerun need not look again

A chunk is complete when its .jsonl and its .tar are there: both appear when whole, the .jsonl last. Records say where
in the tar their cutouts lie, so that one read gets a cutout, from a disk or a store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from jaxtyping import Float, UInt8

from handgen.errors import HandgenError, explain_unreadable
from handgen.geometry.camera import Rig
from handgen.hand.skeleton import SIDES
from handgen.io.camera_json import camera_from_document
from handgen.io.cutouts import Cutout, CutoutTar, encode_cutout
from handgen.io.places import no_annotations
from handgen.records.annotation import HandRecord, ViewRecord
from handgen.storage import filesystem, limits
from handgen.storage.documents import dumps, loads, read_json, validate
from handgen.storage.filesystem import Location, whole_file
from handgen.storage.json_fields import from_document, to_document
from handgen.storage.local_copies import fetch
from handgen.storage.output import MANIFEST, kind_of
from handgen.storage.tar import Span, write_tar

KIND = "annotations"
UNNAMED_SUBJECT = "0"  # the person of a capture that does not say who it is
CHUNKS, DETECTIONS = "chunks", "detections"
RECORD_SCHEMA, MANIFEST_SCHEMA = "annotation_record", "annotation_manifest"
FILES = {"records": ".jsonl", "cutouts": ".tar"}  # of a chunk
_TARS = 64


def chunk_path(root: Location, index: int, suffix: str) -> Location:
    """`chunks/000017.jsonl` of chunk 17."""
    return root / CHUNKS / f"{index:06d}{suffix}"


def write_chunk(
    root: Location, index: int, records: Iterable[HandRecord], cutouts: Iterable[tuple[str, Cutout]]
) -> dict[str, dict[str, Any]]:
    """Write one chunk, the .jsonl last; returns bytes and SHA-256 of records and cutouts, as the manifest has them."""
    filesystem.make_folder(root / CHUNKS)
    members = (member for key, cutout in cutouts for member in encode_cutout(key, cutout))
    tar = write_tar(chunk_path(root, index, ".tar"), members)
    path = chunk_path(root, index, ".jsonl")
    digest, size = hashlib.sha256(), 0
    with whole_file(path) as file:
        for record in records:
            views = tuple(replace(view, cutout_span=tar.spans.get(view.cutout)) for view in record.views)
            line = dumps(to_document(replace(record, views=views)))
            validate(orjson.loads(line), RECORD_SCHEMA, f"{path}, frame {record.frame}")
            size += file.write(line)
            digest.update(line)
    return {
        "records": {"bytes": size, "sha256": digest.hexdigest()},
        "cutouts": {"bytes": tar.bytes, "sha256": tar.sha256},
    }


def describe_chunk(root: Location, index: int) -> dict[str, dict[str, Any]]:
    """Describe a chunk as `write_chunk` did, by reading its files; HandgenError where one cannot be read."""
    digests = {name: filesystem.digest(chunk_path(root, index, suffix)) for name, suffix in FILES.items()}
    return {name: {"bytes": size, "sha256": sha256} for name, (size, sha256) in digests.items()}


def chunk_files(index: int, described: Mapping[str, dict[str, Any]]) -> dict[str, int]:
    """Names below the annotations' folder and bytes of the files of a chunk, by what `write_chunk` returned."""
    return {f"{CHUNKS}/{index:06d}{suffix}": described[name]["bytes"] for name, suffix in FILES.items()}


def find_finished_chunks(root: Location, count: int, noted: Mapping[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Find which of `count` chunks are complete, and describe their files as noted, else by reading them."""
    there = filesystem.file_sizes(root / CHUNKS)
    found = {}
    for index in range(count):
        sizes = {name: there.get(chunk_path(root, index, suffix).name) for name, suffix in FILES.items()}
        entry = noted.get(index)
        entry = entry if entry is not None and entry.keys() >= FILES.keys() else None  # of another kind of run
        if entry is not None and all(entry[name]["bytes"] == size for name, size in sizes.items()):
            found[index] = entry
        elif entry is None and None not in sizes.values():
            found[index] = describe_chunk(root, index)
    return found


def read_chunk(root: Location, index: int) -> list[HandRecord]:
    """The records of one chunk, validated."""
    path = chunk_path(root, index, ".jsonl")
    with explain_unreadable(path, "run `handgen annotate` again to finish the annotations"):
        most = limits.RECORD_LINE.allowed
        with BytesIO(filesystem.read(path, limits.RECORDS)) as file:
            lines = iter(lambda: file.readline(most + 1), b"")
            return [_read_record(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)]


def _read_record(line: bytes, where: str) -> HandRecord:
    limits.RECORD_LINE.check(len(line), where)
    document = loads(line, where)
    validate(document, RECORD_SCHEMA, where, line)
    try:
        return from_document(HandRecord, document)
    except ValueError as error:
        raise HandgenError(f"{where}: {error}; the annotations were changed or damaged") from None


class Annotations:
    """A complete annotations directory, opened for reading; HandgenError when its manifest is missing or another's."""

    def __init__(self, root: str | Location) -> None:
        self.root = root = filesystem.location(root)
        if filesystem.size_of(root / MANIFEST) is None or kind_of(root) not in (KIND, None):
            raise no_annotations(root)
        self.manifest = read_json(root / MANIFEST, MANIFEST_SCHEMA)
        self._tars: dict[int, CutoutTar] = {}
        self._fetched: dict[tuple[Location, Span], bytes] = {}

    @property
    def chunk_count(self) -> int:
        """Number of chunks."""
        return len(self.manifest["chunks"])

    @property
    def hand_model(self) -> str:
        """The hand model as `model_files.load_hand` takes it; one in the directory itself is named relative to it."""
        name = self.manifest["hand_model"]["name"]
        if not name.endswith(".npz"):
            return name
        files = [self.root / name.replace("{side}", side) for side in SIDES]
        there = [file for file in files if filesystem.size_of(file) is not None]
        if not there:
            return name
        if isinstance(self.root, Path):
            return str(self.root / name)
        folder = there[0].parent
        copies = fetch(folder, {file.name for file in there}.intersection).path()
        return str(copies / name.rpartition("/")[2])

    @cached_property
    def betas(self) -> dict[str, Float[np.ndarray, " 10"]]:
        """Shape coefficients per subject."""
        return {name: np.array(subject["betas"]) for name, subject in self.manifest["subjects"].items()}

    def betas_of(self, record: HandRecord) -> Float[np.ndarray, " 10"]:
        """Shape coefficients of the record's subject. Raises HandgenError where the manifest does not list them."""
        if record.subject not in self.betas:
            raise HandgenError(
                f"{self.root}: frame {record.frame} is of subject {record.subject!r}, "
                "whom the manifest does not list; run `handgen annotate` again"
            )
        return self.betas[record.subject]

    @property
    def capture(self) -> str:
        """Name of the capture."""
        return Path(self.manifest["capture"]["path"]).name or "capture"

    def people(self, capture: str) -> dict[str, str]:
        """The person that each subject is, as samples name them; one without a name gets the capture's before it."""
        said = {name: subject.get("person", name) for name, subject in self.manifest["subjects"].items()}
        return {name: f"{capture}/{person}" if person == UNNAMED_SUBJECT else person for name, person in said.items()}

    @cached_property
    def rig(self) -> Rig:
        """The cameras of the capture as they were used: of whole, distorted images, world in metres."""
        where = str(self.root / MANIFEST)
        try:
            return Rig(tuple(camera_from_document(entry, where) for entry in self.manifest["cameras"]))
        except ValueError as error:
            raise HandgenError(f"{where}: {error}; the annotations were changed or damaged") from None

    def records(self, chunk: int) -> list[HandRecord]:
        """All records of one chunk, accepted or not."""
        return read_chunk(self.root, chunk)

    def __iter__(self) -> Iterator[tuple[int, HandRecord]]:
        """Every record with its chunk's index, one chunk in memory at a time."""
        for chunk in range(self.chunk_count):
            for record in self.records(chunk):
                yield chunk, record

    def cutout(self, chunk: int, view: ViewRecord) -> Cutout:
        """The pixels of one view; HandgenError when a member is missing, unreadable or not of the record's size."""
        return self.named_cutout(chunk, view.cutout, view.camera.size_px, view.cutout_span)

    def named_cutout(
        self,
        chunk: int,
        name: str,
        size_px: tuple[int, int],
        span: Span | None = None,
        reduced: int = 1,
        with_arm: bool = True,
    ) -> Cutout:
        """The pixels of a cutout, as `handgen.io.cutouts.CutoutTar.cutout` gives them."""
        return self._tar(chunk).cutout(name, size_px, span, reduced, with_arm)

    def read_encoded_cutout(self, chunk: int, view: ViewRecord) -> tuple[bytes, UInt8[np.ndarray, "height width"]]:
        """Read the picture of one view as a JPEG, and its mask. Raises HandgenError as `cutout` does."""
        return self._tar(chunk).read_encoded(view.cutout, view.camera.size_px, view.cutout_span)

    def fetch(self, spans: Iterable[tuple[int, Span]]) -> None:
        """Fetch the cutouts at these places (chunk, span) from a store, all at once; forget those fetched before.

        Those beyond what memory may hold are left to be read when they are asked for.
        """
        if filesystem.is_remote(self.root):
            self._fetched.clear()
            wanted, room = [], limits.FETCHED.allowed
            for chunk, span in spans:
                room -= span[1]
                if room >= 0:
                    wanted.append((chunk_path(self.root, chunk, ".tar"), span))
            self._fetched |= filesystem.read_ranges(wanted)

    def _tar(self, chunk: int) -> CutoutTar:
        if chunk not in self._tars:
            if len(self._tars) >= _TARS:  # so that memory does not grow with the capture
                del self._tars[next(iter(self._tars))]
            self._tars[chunk] = CutoutTar(chunk_path(self.root, chunk, ".tar"), self._fetched)
        return self._tars[chunk]
