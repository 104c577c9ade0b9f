"""The annotate stage: a capture -> annotations, chunk by chunk.

    1. detect      every chunk of frames -> detections/                   (parallel, resumable)
    2. subject     detections of chunks spread over the capture -> betas, and the scale if it is unknown
    3. fit         every chunk -> records, masks and cutouts in chunks/   (parallel, resumable)
    4. manifest    written last: the annotations are complete when it is there

A chunk's content depends on the capture, the configuration and the chunk's index alone, not on the number of processes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import handgen
from handgen.associate import Cluster, HandObservations, clusters_of_frame, hands_of_frames
from handgen.cameras import Rig
from handgen.config import AnnotateConfig
from handgen.detect import registry
from handgen.detect.base import Detection, Detector
from handgen.engines.local import default_workers, map_units
from handgen.errors import HandgenError
from handgen.fit.hands import Subject, fit_poses, fit_subject, in_metres, kinematics_of
from handgen.hand.assets import load_hand
from handgen.hand.layout import FINGER_KEYPOINTS, SIDES, WRIST
from handgen.hand.model import HandModel
from handgen.io import annotations as store
from handgen.io.annotations import HandRecord
from handgen.io.capture import Capture, load_capture
from handgen.io.detections import DetectionRecord, read_detections, write_detections
from handgen.io.output import claim_output
from handgen.io.schema import schema_version
from handgen.records import Track, records_of_frame

Progress = Callable[[str, int, int], None]  # what is being done, units done, units in all

SUBJECT = "0"
KIND = "annotations"
OWNED = (store.CHUNKS, store.DETECTIONS, "previews")  # what a run writes besides run.json and manifest.json
_MAX_BETA = 3.0  # standard deviations of the model's population
_SUBJECT_CHUNKS = 32  # betas are fitted on frames of so many chunks, spread over the capture
_SUBJECT_FRAMES_PER_SIDE = 256
_SUBJECT_MAX_ERROR_SHARE = 0.05  # frames whose views disagree more teach the betas nothing


@dataclass(frozen=True)
class AnnotateReport:
    """What `annotate` did. reprojection_px and mask_iou: medians over accepted records; None if there are none."""

    out: Path
    frames: int
    records: dict[str, int]  # per side
    accepted: dict[str, int]
    rejected: dict[str, int]  # per reason
    views: int
    views_rejected: dict[str, int]
    reprojection_px: float | None
    mask_iou: float | None
    metres_per_unit: float
    scale: str
    seconds: float
    notes: tuple[str, ...]
    previews: tuple[Path, ...] = ()

    @property
    def frames_per_s(self) -> float:
        """Frames of the capture (all views together) per second."""
        return self.frames / max(self.seconds, 1e-9)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        document = asdict(self) | {"frames_per_s": round(self.frames_per_s, 3), "out": str(self.out)}
        return document | {"previews": [str(path) for path in self.previews], "notes": list(self.notes)}


@dataclass(frozen=True)
class _Job:
    """What a worker process needs to do any chunk."""

    capture: Capture
    out: Path
    config: AnnotateConfig
    hands: str

    def frames(self, index: int) -> range:
        first = index * self.config.chunk_frames
        return range(first, min(first + self.config.chunk_frames, self.capture.frame_count))

    @property
    def chunk_count(self) -> int:
        return -(-self.capture.frame_count // self.config.chunk_frames)

    def detector(self) -> Detector:
        return registry.create(
            self.config.detector,
            cameras=self.capture.rig.names,
            keypoints_path=Path(self.config.keypoints) if self.config.keypoints else None,
            max_hands=1 if self.hands in SIDES else 2,
            side=self.hands if self.hands in SIDES else None,
        )

    def detections_path(self, index: int) -> Path:
        return self.out / store.DETECTIONS / f"{index:06d}.jsonl"


def run(
    capture_path: Path,
    out: Path,
    config: AnnotateConfig,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> AnnotateReport:
    """Annotate the capture in folder `capture_path` into folder `out`.

    A rerun with the same configuration finishes what is missing. Raises HandgenError for what a user can fix.
    """
    began = time.perf_counter()
    report_progress = progress or (lambda *_: None)
    capture = load_capture(
        capture_path,
        calibration=Path(config.calibration) if config.calibration else None,
        metres_per_unit=config.metres_per_unit,  # type: ignore[arg-type]
    )
    job = _Job(capture, out, config, config.hands or capture.hands or "both")
    detector = job.detector()  # a missing network or keypoint file is said before anything is written
    models = {side: load_hand(config.hand_model, side).sha256 for side in SIDES}
    claim_output(out, KIND, _fingerprint(job, models), OWNED, overwrite)
    workers = config.workers or default_workers()
    _detect_all(job, workers, report_progress)
    subject = _estimate_subject(job, detector, report_progress)
    _fit_all(job, subject, workers, report_progress)
    report = _finish(job, subject, models, time.perf_counter() - began)
    if config.preview:
        from handgen.preview import write_previews

        rig = capture.rig.scaled(subject.metres_per_unit)
        previews = write_previews(capture, rig, out, config.preview, partial(report_progress, "preview"))
        report = replace(report, previews=tuple(previews))
    return report


def _fingerprint(job: _Job, models: dict[str, str]) -> dict[str, Any]:
    """What the content of the chunks depends on."""
    configuration = asdict(job.config)
    for name in ("workers", "preview", "device"):
        configuration.pop(name)
    return {
        "capture": str(job.capture.path.resolve()),
        "frames": job.capture.frame_count,
        "cameras": {c.name: [*c.size_px, *c.ideal_px_from_world.ravel(), *c.distortion] for c in job.capture.rig},
        "configuration": configuration | {"hands": job.hands},
        "hand_model": models,
    }


# --- 1. detect


def _detect_all(job: _Job, workers: int, progress: Progress) -> None:
    missing = [index for index in range(job.chunk_count) if not job.detections_path(index).exists()]
    done = job.capture.frame_count - sum(len(job.frames(index)) for index in missing)
    progress("detect", done, job.capture.frame_count)
    for frames in map_units(partial(_detect_chunk, job), missing, min(workers, max(len(missing), 1))):
        done += frames
        progress("detect", done, job.capture.frame_count)


def _detect_chunk(job: _Job, index: int) -> int:
    """Write the detections of one chunk; each camera starts without memory, so chunks do not depend on each other."""
    detector, frames = job.detector(), job.frames(index)
    views = [detector.start(name) for name in job.capture.rig.names]
    blank = np.zeros((1, 1, 3), np.uint8)
    nothing = (blank,) * len(views)
    images_of_frames = (
        job.capture.read(frames.start, frames.stop) if detector.needs_images else (nothing for _ in frames)
    )

    def rows() -> Iterator[DetectionRecord]:
        for frame, images in zip(frames, images_of_frames, strict=True):
            for name, view, image in zip(job.capture.rig.names, views, images, strict=True):
                if image is not None:
                    for found in view.detect(image, frame):
                        yield DetectionRecord(name, frame, found.keypoints_px, found.confidence, found.right)

    path = job.detections_path(index)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_detections(path, rows())
    return len(frames)


# --- 2. subject


def _hands_of_chunk(job: _Job, rig: Rig, index: int) -> list[HandObservations]:
    """Associate one chunk's detections. Works in any world unit."""
    frames = job.frames(index)
    by_frame: dict[int, list[list[Detection]]] = {frame: [[] for _ in rig.names] for frame in frames}
    for row in read_detections(job.detections_path(index)):
        if row.frame in by_frame and row.camera in rig.names:
            detection = Detection(row.keypoints_px, row.confidence, row.right)
            by_frame[row.frame][rig.names.index(row.camera)].append(detection)
    clusters = [
        [c for c in clusters_of_frame(rig, frame, found) if c.view_count >= job.config.min_views]
        for frame, found in by_frame.items()
    ]
    return hands_of_frames(clusters, job.hands)


def _estimate_subject(job: _Job, detector: Detector, progress: Progress) -> Subject:
    rig = job.capture.rig
    chosen = np.unique(np.linspace(0, job.chunk_count - 1, min(job.chunk_count, _SUBJECT_CHUNKS)).round().astype(int))
    good: dict[str, list[Cluster]] = {side: [] for side in SIDES}
    for done, index in enumerate(chosen.tolist()):
        progress("subject", done, len(chosen))
        for hand in _hands_of_chunk(job, rig, index):
            good[hand.side] += [c for c in hand.clusters.values() if c.error_share < _SUBJECT_MAX_ERROR_SHARE]
    progress("subject", len(chosen), len(chosen))
    picked = {
        side: [
            found[i]
            for i in np.unique(np.linspace(0, len(found) - 1, min(len(found), _SUBJECT_FRAMES_PER_SIDE)).astype(int))
        ]
        for side, found in good.items()
        if found
    }
    if not picked:
        if not job.capture.scale_known:
            raise HandgenError(
                f"{job.capture.path}: no hand was seen by two cameras, so the scale cannot be estimated from it; "
                "give --metres-per-unit X, and look at `handgen inspect` for the calibration"
            )
        return Subject(np.zeros(10), 1.0, detector.offsets_m, 0)
    return fit_subject(
        job.config.hand_model, detector.offsets_m, rig, picked, not job.capture.scale_known, job.config.device
    )


# --- 3. fit


def _fit_all(job: _Job, subject: Subject, workers: int, progress: Progress) -> None:
    missing = [i for i in range(job.chunk_count) if not store.chunk_path(job.out, i, ".jsonl").exists()]
    done = job.capture.frame_count - sum(len(job.frames(index)) for index in missing)
    progress("fit and segment", done, job.capture.frame_count)
    for frames in map_units(partial(_fit_chunk, job, subject), missing, min(workers, max(len(missing), 1))):
        done += frames
        progress("fit and segment", done, job.capture.frame_count)


def _fit_chunk(job: _Job, subject: Subject, index: int) -> int:
    frames = job.frames(index)
    tracks = []
    rig = job.capture.rig.scaled(subject.metres_per_unit)
    for hand in _hands_of_chunk(job, job.capture.rig, index):
        kinematics = kinematics_of(job.config.hand_model, hand.side, subject.offsets_m, job.config.device)
        _, clusters = in_metres(job.capture.rig, list(hand.clusters.values()), subject.metres_per_unit)
        fitted = fit_poses(kinematics, rig, clusters, subject.betas)
        tracks.append(Track(hand.side, kinematics.model, tuple(hand.clusters), tuple(clusters), fitted))
    records: list[HandRecord] = []

    def cutouts() -> Iterator[tuple[str, store.Cutout]]:
        images_of_frames = job.capture.read(frames.start, frames.stop)
        for frame, images in zip(frames, images_of_frames, strict=True):
            for record, found in records_of_frame(frame, images, rig, tracks, SUBJECT, job.config):
                records.append(record)
                yield from found

    store.write_chunk(job.out, index, records, cutouts())
    return len(frames)


# --- 4. manifest and report


def _finish(job: _Job, subject: Subject, models: dict[str, str], seconds: float) -> AnnotateReport:
    records: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    views_rejected: Counter[str] = Counter()
    errors, ious, views = [], [], 0
    chunks = []
    for index in range(job.chunk_count):
        found = store.read_chunk(job.out, index)
        good = [record for record in found if record.accepted]
        records.update(record.side for record in found)
        accepted.update(record.side for record in good)
        rejected.update(reason for record in found for reason in record.reasons)
        errors += [record.reprojection_px for record in good if record.reprojection_px is not None]
        ious += [record.mask_iou for record in good if record.mask_iou is not None]
        views += sum(view.accepted for record in good for view in record.views)
        views_rejected.update(reason for record in good for view in record.views for reason in view.reasons)
        frames = job.frames(index)
        chunks.append(
            {
                "index": index,
                "first_frame": frames.start,
                "frames": len(frames),
                "records": len(found),
                "accepted": len(good),
            }
        )
    scale = job.capture.scale if job.capture.scale_known else "estimated"
    factor = job.capture.metres_per_unit or subject.metres_per_unit
    notes = list(job.capture.notes)
    if scale == "estimated":
        notes.append(f"scale estimated from the hand: {factor:.6g} metres per calibration unit")
    if np.abs(subject.betas).max() > _MAX_BETA:
        notes.append(
            f"the hand is {_hand_length_mm(job, subject):.0f} mm long (wrist to middle fingertip), and its shape "
            f"{np.abs(subject.betas).max():.1f} standard deviations from the mean: is the calibration's unit right?"
        )
    for side in SIDES if job.hands == "both" else (job.hands,):
        if not records[side]:
            notes.append(f"no {side} hand was ever seen by two cameras")
    report = AnnotateReport(
        out=job.out,
        frames=job.capture.frame_count,
        records=dict(records),
        accepted=dict(accepted),
        rejected=dict(rejected),
        views=views,
        views_rejected=dict(views_rejected),
        reprojection_px=round(float(np.median(errors)), 3) if errors else None,
        mask_iou=round(float(np.median(ious)), 4) if ious else None,
        metres_per_unit=factor,
        scale=scale,
        seconds=round(seconds, 2),
        notes=tuple(notes),
    )
    store.write_manifest(job.out, _manifest(job, subject, models, chunks, report))
    return report


def _hand_length_mm(job: _Job, subject: Subject) -> float:
    rest = HandModel.load(job.config.hand_model, "right").rest_keypoints(torch.as_tensor(subject.betas))
    return float((rest[FINGER_KEYPOINTS["middle"][-1]] - rest[WRIST]).norm()) * 1e3


def _manifest(
    job: _Job,
    subject: Subject,
    models: dict[str, str],
    chunks: Sequence[dict[str, Any]],
    report: AnnotateReport,
) -> dict[str, Any]:
    configuration = _fingerprint(job, models)["configuration"]
    summary = report.to_json()
    for volatile in ("out", "seconds", "frames_per_s", "previews"):  # the same bytes on every run
        summary.pop(volatile)
    return {
        "kind": "annotations",
        "format_version": schema_version(store.MANIFEST_SCHEMA),
        "created_by": handgen.__version__,
        "capture": {
            "path": str(job.capture.path.resolve()),
            "frame_count": job.capture.frame_count,
            "calibration_format": job.capture.calibration.format,
            "scale": report.scale,
            "metres_per_unit": report.metres_per_unit,
        },
        "cameras": [
            {
                "name": camera.name,
                "size_px": camera.size_px,
                "lens": camera.lens,
                "intrinsics": camera.intrinsics.tolist(),
                "distortion": camera.distortion.tolist(),
                "cam_from_world": camera.cam_from_world.as_matrix().tolist(),
            }
            for camera in job.capture.rig.scaled(subject.metres_per_unit)
        ],
        "hand_model": {"name": job.config.hand_model, "sha256": models},
        "subjects": {
            SUBJECT: {
                "betas": subject.betas.tolist(),
                "detector_offsets_m": subject.offsets_m.tolist(),
                "frames": subject.frames,
            }
        },
        "configuration": configuration,
        "chunks": list(chunks),
        "summary": summary,
    }
