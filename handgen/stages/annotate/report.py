"""What annotating gave: counts, medians and notes, as `annotate` prints them and the manifest keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

import handgen
from handgen.fit.subject import Subject
from handgen.hand.model import HandModel
from handgen.hand.model_files import MOST_BETA, load_hand
from handgen.hand.skeleton import FINGER_KEYPOINTS, WRIST
from handgen.io import annotations as store
from handgen.io.camera_json import camera_document
from handgen.reconstruct import camera_check
from handgen.reconstruct.record_counts import Counts
from handgen.stages.annotate.job import AnnotateJob
from handgen.stages.annotate.subject import Estimate
from handgen.storage import filesystem
from handgen.storage.documents import schema_version
from handgen.storage.filesystem import Location
from handgen.storage.output import MANIFEST

_VOLATILE = ("out", "seconds", "written_frames", "frames_per_s", "previews")  # differ between runs of the same bytes


@dataclass(frozen=True)
class AnnotateReport:
    """What `annotate` did. reprojection_px and mask_iou: medians over accepted records; None if there are none.

    written_frames: fitted by this run; the rest was there already. views_detected_again: of the accepted ones, those
    that the detector found in a second look. cameras_moved: since
    the calibration. bridged: accepted records of frames in which no two views saw the hand.
    """

    out: Location
    frames: int
    records: dict[str, int]  # per side
    accepted: dict[str, int]
    rejected: dict[str, int]  # per reason
    views: int
    views_rejected: dict[str, int]
    views_detected_again: int
    bridged: int
    reprojection_px: float | None
    mask_iou: float | None
    metres_per_unit: float
    scale: str
    notes: tuple[str, ...]
    cameras_moved: tuple[dict[str, Any], ...] = ()
    written_frames: int = 0
    seconds: float = 0.0
    previews: tuple[Location, ...] = ()

    @property
    def frames_per_s(self) -> float:
        """Frames of the capture (all views together) per second, of what this run wrote."""
        return self.written_frames / max(self.seconds, 1e-9)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        document = asdict(self) | {"frames_per_s": round(self.frames_per_s, 3), "out": str(self.out)}
        return document | {"previews": [str(path) for path in self.previews], "notes": list(self.notes)}


def write_report(
    job: AnnotateJob,
    estimated: Estimate,
    files: Mapping[int, dict[str, Any]],
    configuration: dict[str, Any],
    models: dict[str, str],
) -> AnnotateReport:
    """Count what the chunks hold and write the manifest, which says that the annotations are complete.

    files: of each chunk, as in the manifest.
    """
    subject, check = estimated.subject, estimated.check
    counts = Counts()
    chunks = []
    for index in range(job.chunk_count):
        found = store.read_chunk(job.out, index)
        counts.add(found)
        frames = job.frames(index)
        accepted = sum(record.accepted for record in found)
        described = {"index": index, "first_frame": frames.start, "frames": len(frames)}
        chunks.append(described | {"records": len(found), "accepted": accepted, "files": files[index]})
    capture = job.capture
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
        metres_per_unit=capture.metres_per_unit or subject.metres_per_unit,
        scale=capture.scale if capture.scale_known else "estimated",
        notes=tuple(_notes(job, subject, counts) + camera_check.notes(check, job.config.refine_extrinsics)),
        cameras_moved=tuple(_moved(move) for move in check.moves if move.moved),
    )
    manifest = {
        "kind": store.KIND,
        "format_version": schema_version(store.MANIFEST_SCHEMA),
        "created_by": handgen.__version__,
        "capture": {
            "path": capture.path.resolve().name,
            "frame_count": capture.frame_count,
            "fps": capture.fps,
            "calibration_format": capture.calibration.format,
            "scale": report.scale,
            "metres_per_unit": report.metres_per_unit,
        },
        "cameras": [camera_document(camera) for camera in capture.rig.scaled(subject.metres_per_unit)],
        "hand_model": {"name": job.config.hand_model, "sha256": models},
        "subjects": {
            job.subject: {
                "betas": subject.betas.tolist(),
                "detector_offsets_m": subject.offsets_m.tolist(),
                "frames": subject.frames,
            }
        },
        "configuration": configuration,
        "chunks": chunks,
        "summary": {name: value for name, value in report.to_json().items() if name not in _VOLATILE},
    }
    if filesystem.size_of(job.out / MANIFEST) is None:
        store.write_manifest(job.out, manifest)
    return report


def _moved(move: camera_check.CameraMove) -> dict[str, Any]:
    values = {name: value for name, value in asdict(move).items() if name not in ("name", "moved", "motion_noises")}
    return {"camera": move.name} | {name: round(value, 3) for name, value in values.items()}


def _notes(job: AnnotateJob, subject: Subject, counts: Counts) -> list[str]:
    notes = list(job.capture.notes)
    if not job.capture.scale_known:
        notes.append(f"scale estimated from the hand: {subject.metres_per_unit:.6g} metres per calibration unit")
    if job.capture.scale_known and np.abs(subject.betas).max() > MOST_BETA:
        model = HandModel.load(job.config.hand_model, job.sides[0])
        rest = model.rest_keypoints(torch.as_tensor(subject.betas))
        length_mm = float((rest[FINGER_KEYPOINTS["middle"][-1]] - rest[WRIST]).norm()) * 1e3
        notes.append(
            f"the hand is {length_mm:.0f} mm long (wrist to middle fingertip), and its shape "
            f"{np.abs(subject.betas).max():.1f} standard deviations from the mean: is the calibration's unit right?"
        )
    if counts.seen_by_one:
        notes.append(
            f"{counts.seen_by_one} hands are seen by one camera alone: how far away they are is a guess by their size"
        )
    for side in job.sides:
        if note := load_hand(job.config.hand_model, side).note:
            notes.append(f"hand model, {side}: {note}")
        if not counts.records[side]:
            notes.append(f"no {side} hand was ever seen by two cameras")
    return notes
