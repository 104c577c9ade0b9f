"""The end of a run of `import`: the chunks are counted, and the manifest and the report say what they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from handgen.datasets.reader import declared_models
from handgen.datasets.registry import get_format
from handgen.hand.model_files import MOST_BETA, load_hand
from handgen.io import annotations as store
from handgen.io.annotation_manifest import AnnotatedCapture, annotation_manifest, chunk_entry
from handgen.reconstruct.record_builder import Counts
from handgen.reconstruct.settings import QualityLimits
from handgen.stages.import_.chunk import ImportJob, read_imported
from handgen.stages.import_.report import ImportReport
from handgen.wording import count_of, counts_of

_NAMED_PICTURES = 5


def build_manifest(
    job: ImportJob, files: Sequence[dict[str, Any]], configuration: dict[str, Any], models: dict[str, str]
) -> tuple[dict[str, Any], ImportReport]:
    """The manifest of complete annotations, and the report of what they hold.

    files: of each chunk, as in the manifest. models: SHA-256 of the hand model by side.
    """
    counts, chunks, left_out = Counts(), list[dict[str, Any]](), Counter[str]()
    subjects, cameras = dict[str, dict[str, Any]](), dict[str, dict[str, Any]]()
    residuals, missing, missing_count = list[float](), list[str](), 0
    for index, described in enumerate(files):
        records = store.read_chunk(job.out, index)
        counts.add(records)
        chunks.append(chunk_entry(index, job.frames(index), records, described))
        found = read_imported(job.out, index)
        for name, entry in found["subjects"].items():
            known = subjects.setdefault(name, entry | {"frames": 0})
            known["frames"] += entry["frames"]
        cameras |= found["cameras"]
        left_out.update(found["left_out"])
        residuals += found["residual_mm"]
        missing += found["missing"][:_NAMED_PICTURES]
        missing_count += len(found["missing"])
    reader = job.reader
    betas = np.array([entry["betas"] for entry in subjects.values()]).reshape(-1, 10)
    people = {entry["person"] for entry in subjects.values()} - {store.UNNAMED_SUBJECT}
    residual = np.percentile(residuals, [50, 95]).round(3).tolist() if residuals else None
    report = ImportReport(
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
        nothing_accepted=_why_nothing(job, counts, left_out, missing_count),
        notes=tuple(_notes(job, betas, missing[:_NAMED_PICTURES], missing_count)),
    )
    manifest = annotation_manifest(
        AnnotatedCapture(f"{reader.format}-{reader.split}", job.count, None, reader.format),
        [cameras[name] for name in sorted(cameras)],
        job.hand_model,
        models,
        subjects,
        configuration,
        chunks,
        report.summary(),
    )
    return manifest, report


def _why_nothing(job: ImportJob, counts: Counts, left_out: Counter[str], missing_count: int) -> str | None:
    """Say why no record was accepted, with the figure that decided; None if one was."""
    if counts.records.total():
        return counts.why_nothing(QualityLimits(min_mask_iou=job.config.min_mask_iou))
    without = f"left out: {counts_of(left_out)}; missing pictures: {missing_count}"
    return f"no hand in {count_of(job.count, 'frame')} ({without})"


def _notes(job: ImportJob, betas: np.ndarray, missing: list[str], missing_count: int) -> list[str]:
    data_set = get_format(job.reader.format)
    notes = list(job.reader.notes)
    if job.fitted and job.config.hand_model is None and not declared_models(job.reader.root):
        notes.append(
            "MANO is not installed (`handgen models add`): the open hand was fitted to the data set's keypoints, and "
            "its hand parameters were not used"
        )
    if missing:
        notes.append(f"{missing_count} pictures are missing, the first: {', '.join(missing)}")
    if len(betas) and (far := int((np.abs(betas).max(1) > MOST_BETA).sum())):
        notes.append(
            f"{far} of {len(betas)} shapes are more than {MOST_BETA:g} standard deviations from the mean hand: their "
            "hands are rejected"
        )
    for side in data_set.sides:
        if note := load_hand(job.hand_model, side).note:
            notes.append(f"hand model, {side}: {note}")
    terms = f"{data_set.title}'s terms ({data_set.licence})"
    if declared_models(job.reader.root):
        terms = "an export of handgen's: the terms of what it was made of"
    notes.append(f"{terms} hold for these annotations and for all that is made of them")
    return notes
