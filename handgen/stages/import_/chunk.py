"""One chunk of a data set: its moments -> records and cutouts. Runs in any process, in any order.

Beside the chunk, `imported/INDEX.json` says what the manifest takes together at the end: subjects and their betas,
cameras, what was left out, which pictures were not there. It is written before the chunk is complete.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from handgen.datasets.reader import Moment, Reader, make_camera
from handgen.datasets.registry import get_format
from handgen.errors import HandgenError
from handgen.geometry.camera import Camera
from handgen.io import annotations as store
from handgen.io.camera_json import camera_document
from handgen.io.cutouts import Cutout
from handgen.reconstruct.record_builder import log_decisions
from handgen.reconstruct.settings import QualityLimits
from handgen.records.annotation import HandRecord
from handgen.records.labelled_image import LabelledImage
from handgen.runtime.messages import advancing
from handgen.runtime.resumable_run import ResumableRun, Units
from handgen.stages.import_.config import ImportConfig
from handgen.stages.import_.posing import PosedHand, posed_hands
from handgen.stages.import_.records import records_of_moment
from handgen.storage import filesystem
from handgen.storage.documents import dumps, read_json, write_json
from handgen.storage.filesystem import Location

IMPORTED = "imported"
Chunks = dict[int, dict[str, Any]]  # by index what the manifest says of the files of a chunk
_NUMBERS = ("size_px", "intrinsics", "cam_from_world")  # that a camera's name tells apart

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImportJob:
    """Everything that a process needs to do any chunk. count: of the moments that are read. fitted: to keypoints."""

    reader: Reader
    out: Location
    config: ImportConfig
    hand_model: str
    fitted: bool
    count: int

    def frames(self, index: int) -> range:
        """The numbers of a chunk's moments."""
        size = self.config.chunk_frames
        return range(self.count)[index * size : (index + 1) * size]

    @property
    def chunk_count(self) -> int:
        """The number of chunks."""
        return -(-self.count // self.config.chunk_frames)


def import_units(job: ImportJob) -> Units[dict[str, Any]]:
    """The step that imports every chunk; its results are as in the manifest."""
    sizes = [len(job.frames(index)) for index in range(job.chunk_count)]
    return Units("import frames", sizes, partial(import_chunk, job), files=store.chunk_files)


def import_chunk(job: ImportJob, index: int) -> dict[str, Any]:
    """Write the records and cutouts of one chunk; returns what the manifest says of its files."""
    frames = job.frames(index)
    left_out: Counter[str] = Counter()
    labels = list(job.reader.moments(frames.start, frames.stop, pictures=False))
    hands = posed_hands(labels, job.hand_model, job.fitted, get_format(job.config.format).sides, left_out)
    del labels
    found, records = _Found(job), list[HandRecord]()

    def cutouts() -> Iterator[tuple[str, Cutout]]:
        limits = QualityLimits(min_mask_iou=job.config.min_mask_iou)
        for frame, present in advancing(zip(frames, hands, strict=True)):
            (moment,) = job.reader.moments(frame, frame + 1)
            cameras, model = found.cameras_of(moment), (job.hand_model, job.fitted)
            made = records_of_moment(frame, moment, present, cameras, *model, limits, str(job.reader.root))
            for record, pixels in made:
                records.append(record)
                yield from pixels
        found.write(index, hands, left_out)  # like the tar before the records, which say that a chunk is complete

    described = store.write_chunk(job.out, index, records, cutouts())
    log_decisions(log, index, frames, records)
    return described


class _Found:
    """Cameras, subjects and missing pictures of a chunk, which the manifest needs besides its records."""

    def __init__(self, job: ImportJob) -> None:
        self._job = job
        self._cameras: dict[str, dict[str, Any]] = {}
        self._missing: list[str] = []

    def cameras_of(self, moment: Moment) -> list[Camera | None]:
        """The camera of each picture; None of pictures that are not there. HandgenError unless these may be missing."""
        missing = [image.name for image in moment.images if image.image is None]
        if missing and not self._job.config.skip_missing:
            raise missing_picture(Path(self._job.reader.root) / missing[0])
        self._missing += missing
        return [None if image.image is None else self._camera(image) for image in moment.images]

    def write(self, index: int, hands: list[list[PosedHand]], left_out: Counter[str]) -> None:
        """Write `imported/INDEX.json`."""
        subjects: dict[str, dict[str, Any]] = {}
        for hand in chain.from_iterable(hands):
            new = {"betas": hand.betas.tolist(), "person": hand.person, "frames": 0}
            subjects.setdefault(hand.subject, new)["frames"] += 1
        document = {
            "subjects": subjects,
            "cameras": self._cameras,
            "left_out": dict(left_out),
            "missing": self._missing,
            "residual_mm": [hand.residual_mm for hand in chain.from_iterable(hands)],
        }
        filesystem.make_folder(self._job.out / IMPORTED)
        write_json(imported_path(self._job.out, index), document)

    def _camera(self, image: LabelledImage) -> Camera:
        """By its name and numbers, so that it has the same name in every chunk."""
        assert image.intrinsics is not None and image.cam_from_world is not None
        world = image.cam_from_world
        camera = make_camera("", image.size_px, image.intrinsics, world.rotation, world.translation, image.name)
        document = camera_document(camera)
        values = [np.round(np.array(document[key], float), 9).tolist() for key in _NUMBERS]
        name = f"{image.camera}-{hashlib.sha256(dumps(values)).hexdigest()[:12]}"
        self._cameras.setdefault(name, document | {"name": name})
        return replace(camera, name=name)


def missing_picture(path: Path) -> HandgenError:
    """The error for a picture that is not there."""
    return HandgenError(
        f"{path}: is missing; finish the download, or --skip-missing to do without the pictures that are not there"
    )


def imported_path(out: Location, index: int) -> Location:
    """`imported/000017.json` of chunk 17."""
    return out / IMPORTED / f"{index:06d}.json"


def read_imported(out: Location, index: int) -> dict[str, Any]:
    """Read what `import_chunk` wrote beside a chunk."""
    return read_json(imported_path(out, index))


def find_finished_chunks(job: ImportJob, noted: Mapping[int, dict[str, Any]]) -> Chunks:
    """The chunks whose files are all there."""
    beside = filesystem.file_sizes(job.out / IMPORTED)
    found = store.find_finished_chunks(job.out, job.chunk_count, noted)
    return {index: files for index, files in found.items() if imported_path(job.out, index).name in beside}


def take_new_pictures(job: ImportJob, finished: Chunks, resumable: ResumableRun) -> Chunks:
    """The finished chunks but those that were written without pictures which are there now; these become incomplete.

    Raises HandgenError for the first picture that still is not there, unless that may be: before anything is changed.
    """
    root = Path(job.reader.root)
    arrived = set()
    for index in finished:
        paths = [root / name for name in read_imported(job.out, index)["missing"]]
        there = [path.is_file() for path in paths]
        if not job.config.skip_missing and not all(there):
            raise missing_picture(paths[there.index(False)])
        if any(there):
            arrived.add(index)
    if arrived:
        resumable.invalidate()
    for index in arrived:
        filesystem.remove_file(store.chunk_path(job.out, index, ".jsonl"))
    return {index: files for index, files in finished.items() if index not in arrived}
