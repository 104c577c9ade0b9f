"""The import stage: a data set in another project's format -> annotations, chunk by chunk.

    1. chunks      every chunk of frames -> records, masks and cutouts in chunks/    (parallel, resumable)
    2. manifest    written last: the annotations are complete when it is there

A chunk's content depends on the data set, the configuration and the chunk's index alone. Nothing is fetched, and
nothing is written anywhere but into the annotations.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import handgen
from handgen.datasets.reader import FORMATS, declared_models
from handgen.errors import HandgenError
from handgen.hand.model_files import MANO, MOST_BETA, OPEN_HAND, HandArrays, load_hand, mano_path
from handgen.io import annotations as store
from handgen.options import deciding_options
from handgen.progress import Progress
from handgen.reconstruct.record_counts import Counts
from handgen.runtime import reproducibility
from handgen.runtime.engines import create_engine
from handgen.runtime.local import one_thread
from handgen.stages.import_.chunk import IMPORTED, Job, import_chunk, imported_path, missing_picture, read_imported
from handgen.stages.import_.config import ImportConfig
from handgen.storage import filesystem
from handgen.storage.documents import schema_version
from handgen.storage.filesystem import Location
from handgen.storage.output import MANIFEST, claim_output, invalidate_manifest

_PACKAGES = ("numpy", "torch", "opencv", "simplejpeg")  # that make the bytes
_VOLATILE = ("out", "seconds", "written_frames")  # differ between runs of the same bytes
_NAMED_PICTURES = 5


@dataclass(frozen=True)
class Report:
    """What `import` did. frames: moments that were read; written_frames: by this run, the rest was there already.

    parameters: "taken over" or "fitted". residual_mm: from the data set's keypoints to the model's, median and 95 %
    over the hands. mask_iou: median over accepted records. left_out: hands without a record, per reason. shapes: sets
    of betas; people: who they are of, 0 if nobody knows.
    """

    out: Location
    format: str
    split: str
    frames: int
    hand_model: str
    parameters: str
    records: dict[str, int]  # per side
    accepted: dict[str, int]
    rejected: dict[str, int]  # per reason
    left_out: dict[str, int]
    missing_pictures: int
    views: int
    views_rejected: dict[str, int]
    mask_iou: float | None
    residual_mm: tuple[float, float] | None
    shapes: int
    people: int
    cameras: int
    notes: tuple[str, ...]
    written_frames: int = 0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"out": str(self.out), "notes": list(self.notes)}


def run(
    root: Path,
    out: Location,
    config: ImportConfig,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Report:
    """Make annotations of the data set in folder `root`.

    A rerun with the same configuration finishes what is missing. Raises HandgenError for what a user can fix.
    """
    began = time.perf_counter()
    show = progress or (lambda *_: None)
    show("read the index", 0, 1)
    hand_model, models, fitted = _hand_model(root, config)
    reader = FORMATS[config.format].open(root, config.split, {} if fitted else models)
    show("read the index", 1, 1)
    count = min(reader.moment_count, config.limit or reader.moment_count)
    job = Job(reader, out, config, hand_model, fitted, count)
    shas = {side: arrays.sha256 for side, arrays in models.items()}
    configuration = deciding_options(config) | {"split": reader.split, "hand_model": hand_model}
    depends_on = {
        "created_by": handgen.__version__,
        "computed": reproducibility.fingerprint(_PACKAGES),
        "data_set": reader.fingerprint(),
        "configuration": configuration,
        "hand_model": shas,
    }
    engine = create_engine("local", config.workers)
    written = 0
    with claim_output(out, store.KIND, depends_on, (store.CHUNKS, IMPORTED), overwrite) as journal, one_thread():
        finished = store.finished_chunks(out, job.chunk_count, journal.entries)
        beside = filesystem.sizes(out / IMPORTED)
        finished = {index: found for index, found in finished.items() if imported_path(out, index).name in beside}
        arrived = _with_new_pictures(job, finished)
        missing = [index for index in range(job.chunk_count) if index not in finished or index in arrived]
        if missing:
            invalidate_manifest(out)
        for index in arrived:  # incomplete until their records are written again
            filesystem.remove_file(store.chunk_path(out, index, ".jsonl"))
        done = count - sum(len(job.frames(index)) for index in missing)
        show("import frames", done, count)
        for result in engine.map_units(partial(import_chunk, job), missing, len(missing)):
            finished[result.index] = result.files
            journal.add(result.index, result.files)
            written += len(job.frames(result.index))
            show("import frames", done + written, count)
        report = _write_manifest(job, finished, configuration, shas)
    return replace(report, written_frames=written, seconds=round(time.perf_counter() - began, 2))


def _with_new_pictures(job: Job, finished: Iterable[int]) -> set[int]:
    """The chunks that were written without pictures which are there now.

    Raises HandgenError for the first that still is not there, unless that may be: before anything is changed.
    """
    root = Path(job.reader.root)
    found = set()
    for index in finished:
        paths = [root / name for name in read_imported(job.out, index)["missing"]]
        there = [path.is_file() for path in paths]
        if not job.config.skip_missing and not all(there):
            raise missing_picture(paths[there.index(False)])
        if any(there):
            found.add(index)
    return found


def _hand_model(root: Path, config: ImportConfig) -> tuple[str, dict[str, HandArrays], bool]:
    """Its name, the sides that the format has, and whether it is fitted to keypoints.

    An export of handgen's own says which model its parameters are of; those of others are MANO's.
    """
    sides = FORMATS[config.format].sides
    declared = declared_models(root)
    named = set(declared.values())
    name = config.hand_model
    if name is None:
        name = MANO if all(mano_path(side).is_file() for side in sides) and named <= {MANO} else OPEN_HAND
    if "://" in name:
        raise HandgenError(f"{name}: a hand model must be a file of this machine; copy it, both sides")
    models = {side: load_hand(name, side) for side in sides}
    is_declared = len(named) == 1 and any(arrays.sha256 in declared for arrays in models.values())
    if declared and not is_declared and name != OPEN_HAND:
        raise HandgenError(
            f"{root}: its hand parameters are of {', '.join(sorted(named))}, not of this {name}; give --hand-model "
            "with that model, or open to fit the open hand to the keypoints"
        )
    return name, models, name == OPEN_HAND and not is_declared


def _write_manifest(
    job: Job, files: dict[int, dict[str, Any]], configuration: dict[str, Any], shas: dict[str, str]
) -> Report:
    counts = Counts()
    chunks: list[dict[str, Any]] = []
    subjects: dict[str, dict[str, Any]] = {}
    cameras: dict[str, dict[str, Any]] = {}
    left_out: Counter[str] = Counter()
    residuals: list[float] = []
    missing: list[str] = []
    missing_count = 0
    for index in range(job.chunk_count):
        records = store.read_chunk(job.out, index)
        counts.add(records)
        found = read_imported(job.out, index)
        for name, entry in found["subjects"].items():
            known = subjects.setdefault(name, entry | {"frames": 0})
            known["frames"] += entry["frames"]
        cameras |= found["cameras"]
        left_out.update(found["left_out"])
        residuals += found["residual_mm"]
        missing += found["missing"][:_NAMED_PICTURES]
        missing_count += len(found["missing"])
        frames = job.frames(index)
        accepted = sum(record.accepted for record in records)
        described = {"index": index, "first_frame": frames.start, "frames": len(frames)}
        chunks.append(described | {"records": len(records), "accepted": accepted, "files": files[index]})
    reader = job.reader
    betas = np.array([entry["betas"] for entry in subjects.values()]).reshape(-1, 10)
    people = {entry["person"] for entry in subjects.values()} - {store.UNNAMED_SUBJECT}
    residual = np.percentile(residuals, [50, 95]).round(3).tolist() if residuals else None
    report = Report(
        out=job.out,
        format=reader.format,
        split=reader.split,
        frames=job.count,
        hand_model=job.hand_model,
        parameters="fitted" if job.fitted else "taken over",
        records=dict(counts.records),
        accepted=dict(counts.accepted),
        rejected=dict(counts.rejected),
        left_out=dict(left_out),
        missing_pictures=missing_count,
        views=counts.views,
        views_rejected=dict(counts.views_rejected),
        mask_iou=round(float(np.median(counts.ious)), 4) if counts.ious else None,
        residual_mm=None if residual is None else (residual[0], residual[1]),
        shapes=len(subjects),
        people=len(people),
        cameras=len(cameras),
        notes=tuple(_notes(job, betas, missing[:_NAMED_PICTURES], missing_count)),
    )
    manifest = {
        "kind": store.KIND,
        "format_version": schema_version(store.MANIFEST_SCHEMA),
        "created_by": handgen.__version__,
        "capture": {
            "path": f"{reader.format}-{reader.split}",
            "frame_count": job.count,
            "fps": None,
            "calibration_format": reader.format,
            "scale": "calibrated",
            "metres_per_unit": 1.0,
        },
        "cameras": [cameras[name] for name in sorted(cameras)],
        "hand_model": {"name": job.hand_model, "sha256": shas},
        "subjects": subjects,
        "configuration": configuration,
        "chunks": chunks,
        "summary": {name: value for name, value in report.to_json().items() if name not in _VOLATILE},
    }
    if filesystem.size_of(job.out / MANIFEST) is None:
        store.write_manifest(job.out, manifest)
    return report


def _notes(job: Job, betas: np.ndarray, missing: list[str], missing_count: int) -> list[str]:
    data_set = FORMATS[job.reader.format]
    notes = list(job.reader.notes)
    if job.fitted and job.config.hand_model is None and not declared_models(job.reader.root):
        notes.append(
            "MANO is not installed (`handgen models add`): the open hand was fitted to the data set's keypoints, and "
            "its hand parameters were not used"
        )
    if missing:
        notes.append(f"{missing_count} pictures are missing, the first: {', '.join(missing)}")
    if len(betas) and (far := int((np.abs(betas).max(1) > MOST_BETA).sum())):
        notes.append(f"{far} of {len(betas)} shapes are more than {MOST_BETA:g} standard deviations from the mean hand")
    for side in data_set.sides:
        if note := load_hand(job.hand_model, side).note:
            notes.append(f"hand model, {side}: {note}")
    terms = f"{data_set.title}'s terms ({data_set.licence})"
    if declared_models(job.reader.root):
        terms = "an export of handgen's: the terms of what it was made of"
    notes.append(f"{terms} hold for these annotations and for all that is made of them")
    return notes
