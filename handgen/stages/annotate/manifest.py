"""The end of a run of `annotate`: the chunks are counted, and the manifest and the report say what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from handgen.fit.subject import HandShape
from handgen.hand.model import HandModel
from handgen.hand.model_files import MOST_BETA, load_hand
from handgen.hand.skeleton import FINGER_KEYPOINTS, WRIST, other_side
from handgen.io import annotations as store
from handgen.io.annotation_manifest import AnnotatedCapture, annotation_manifest, chunk_entry
from handgen.io.camera_json import camera_document
from handgen.reconstruct import camera_check
from handgen.reconstruct.camera_hypotheses import Suspect, notes_of
from handgen.reconstruct.hand_size import size_notes
from handgen.reconstruct.record_builder import Counts
from handgen.stages.annotate.job import AnnotateJob
from handgen.stages.annotate.report import AnnotateReport
from handgen.stages.annotate.subject import Estimate


def build_manifest(
    estimated: Estimate, files: Sequence[dict[str, Any]], configuration: dict[str, Any], models: dict[str, str]
) -> tuple[dict[str, Any], AnnotateReport]:
    """The manifest and report of complete annotations. files: of each chunk. models: the model's SHA-256 by side."""
    job, shape, check = estimated.job, estimated.shape, estimated.check
    counts = Counts()
    chunks = []
    for index, described in enumerate(files):
        records = store.read_chunk(job.out, index)
        counts.add(records)
        chunks.append(chunk_entry(index, job.frames(index), records, described))
    capture, metres_per_unit = job.capture, job.capture.metres_per_unit
    assert metres_per_unit is not None  # estimated where the calibration did not say
    report = AnnotateReport(
        out=job.out,
        frames=capture.frame_count,
        records=dict(counts.records),
        accepted=dict(counts.accepted),
        rejected=dict(counts.rejected),
        views=counts.views,
        views_rejected=dict(counts.views_rejected),
        views_detected_again=counts.views_detected_again,
        bridged=counts.bridged,
        reprojection_px=round(float(np.median(counts.errors_px)), 3) if counts.errors_px else None,
        mask_iou=round(float(np.median(counts.ious)), 4) if counts.ious else None,
        metres_per_unit=metres_per_unit,
        scale=capture.scale,
        notes=(
            *_notes(estimated, counts),
            *size_notes(estimated.size, metres_per_unit),
            *estimated.notes,
            *camera_check.notes(check, job.config.refine_extrinsics),
            *notes_of(job.suspects),
            *counts.useless_cameras(),
        ),
        cameras_suspect=tuple(_describe_suspect(job, suspect) for suspect in job.suspects),
        nothing_accepted=counts.why_nothing(job.config.limits),
        cameras_moved=tuple(_describe_move(move) for move in check.moves if move.moved),
    )
    person = {"betas": shape.betas.tolist(), "detector_offsets_m": estimated.detector.offsets_m.tolist()}
    manifest = annotation_manifest(
        AnnotatedCapture(
            capture.path.resolve().name,
            capture.frame_count,
            capture.fps,
            capture.calibration.format,
            report.scale,
            report.metres_per_unit,
        ),
        [camera_document(camera) for camera in capture.rig],
        job.config.hand_model,
        models,
        {job.subject: person | {"frames": shape.frames}},
        configuration,
        chunks,
        report.summary(),
    )
    return manifest, report


def _describe_move(move: camera_check.CameraMove) -> dict[str, Any]:
    values = {name: value for name, value in asdict(move).items() if name not in ("name", "moved", "motion_noises")}
    return {"camera": move.name} | {name: round(value, 3) for name, value in values.items()}


def _describe_suspect(job: AnnotateJob, suspect: Suspect) -> dict[str, Any]:
    left_out = job.capture.cameras.numbers[suspect.camera] in job.left_out
    return {"camera": suspect.camera, "cause": suspect.note(), "left_out": left_out}


def _notes(estimate: Estimate, counts: Counts) -> list[str]:
    job, shape = estimate.job, estimate.shape
    notes = list(job.capture.notes)
    estimated = job.capture.scale == "estimated"
    if estimated:
        assert estimate.unit_sigma is not None
        length_mm = _length_mm(job, shape)
        notes.append(
            f"scale estimated from the hand: {job.capture.metres_per_unit:.6g} metres per calibration unit, sure to "
            f"{100 * estimate.unit_sigma:.1f} % by what people's hands are like (this one: {length_mm:.0f} +- "
            f"{length_mm * estimate.unit_sigma:.0f} mm, wrist to middle fingertip)"
        )
    if not estimated and np.abs(shape.betas).max() > MOST_BETA:
        notes.append(
            f"the hand is {_length_mm(job, shape):.0f} mm long (wrist to middle fingertip), and its shape "
            f"{np.abs(shape.betas).max():.1f} standard deviations from the mean: is the calibration's unit right?"
        )
    if counts.seen_by_one:
        notes.append(
            f"{counts.seen_by_one} hands are seen by one camera alone: how far away they are is a guess by their size"
        )
    for side in job.sides:
        if note := load_hand(job.config.hand_model, side).note:
            notes.append(f"hand model, {side}: {note}")
        if not counts.records[side]:
            other = "" if len(job.sides) > 1 else f"; is it a {other_side(side)} hand (--hands {other_side(side)})?"
            notes.append(f"no {side} hand was ever seen by two cameras that agree{other}")
    return notes


def _length_mm(job: AnnotateJob, shape: HandShape) -> float:
    """Length of the open hand from the wrist to the tip of the middle finger."""
    rest = HandModel.load(job.config.hand_model, job.sides[0]).rest_keypoints(torch.as_tensor(shape.betas))
    return float((rest[FINGER_KEYPOINTS["middle"][-1]] - rest[WRIST]).norm()) * 1e3
