"""One span of frames: matched hands -> arrays of errors. Runs in any process; spans do not depend on each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from handgen.errors import HandgenError
from handgen.geometry.camera import MIN_DEPTH_M, Camera
from handgen.geometry.rigid import Rigid
from handgen.hand.model import HandModel, HandPose
from handgen.hand.skeleton import JOINT_COUNT, KEYPOINT_COUNT, SIDES
from handgen.io.annotations import Annotations
from handgen.records.annotation import HandRecord
from handgen.runtime.messages import advancing
from handgen.stages.evaluate.config import EvaluateConfig
from handgen.stages.evaluate.masks import boundary_f, boundary_tolerance_px, iou, resample_mask
from handgen.stages.evaluate.matched import Hands, ViewErrors
from handgen.stages.evaluate.pairing import Matches, Pair, Span, match_span
from handgen.stages.evaluate.surfaces import HandMesh, SurfaceErrors, join_surfaces, surface_errors
from handgen.storage.filesystem import Location

_POSED_AT_ONCE = 64  # hands; their vertices are held in memory together

_NOWHERE_M = 1e6  # no hand is farther off


@dataclass(frozen=True)
class SpanJob:
    """Everything that a process needs to do any span.

    cameras: names that both have, with pictures of the same size. vertices: whether both hand models could be read.
    """

    annotated: Location
    truth: Location
    config: EvaluateConfig
    cameras: tuple[str, ...]
    vertices: bool
    truth_from_annotated: Rigid | None


@dataclass(frozen=True)
class SpanResult:
    """Errors of one span. matches: without the pairs, which are measured.

    chunks: (n, 2), the chunks of each matched hand's cutouts, annotated and true. regeneration_mm: (n,), how far the
    annotated keypoints are from those that the pose parameters give.
    """

    frames: int
    matches: Matches
    hands: Hands
    chunks: Int[np.ndarray, "n 2"]
    views: ViewErrors
    surfaces: SurfaceErrors | None
    regeneration_mm: Float[np.ndarray, " n"]


def measure_span(job: SpanJob, span: Span) -> SpanResult:
    """Match and measure the hands of one span."""
    annotated, truth = Annotations(job.annotated), Annotations(job.truth)
    found = match_span(annotated, truth, span, job.config, job.truth_from_annotated)
    pairs, found.pairs = found.pairs, []
    surfaces, regeneration_mm = _surfaces(annotated, truth, pairs, job)
    chunks = np.array([(p.annotated_chunk, p.truth_chunk) for p in pairs], dtype=int).reshape(-1, 2)
    views = _views(annotated, truth, pairs, job)
    return SpanResult(len(span.frames), found, _hands(pairs), chunks, views, surfaces, regeneration_mm)


def _hands(pairs: Sequence[Pair]) -> Hands:
    return Hands(
        frame=np.array([pair.truth.frame for pair in pairs], dtype=int),
        side=np.array([pair.truth.side for pair in pairs], dtype=object),
        subject=np.array([pair.annotated.subject for pair in pairs], dtype=object),
        truth_subject=np.array([pair.truth.subject for pair in pairs], dtype=object),
        annotated_m=np.array([pair.keypoints_truth_world_m for pair in pairs]).reshape(-1, 21, 3),
        truth_m=np.array([pair.truth.keypoints_world_m for pair in pairs]).reshape(-1, 21, 3),
        sigma_m=np.array([_sigma_m(pair.annotated) for pair in pairs]).reshape(-1, 21, 3),
    )


def _sigma_m(record: HandRecord) -> Float[np.ndarray, "21 3"]:
    if record.covariance_mm2 is None:
        return np.full((KEYPOINT_COUNT, 3), np.nan)
    return np.sqrt(np.diagonal(record.covariance_mm2, axis1=-2, axis2=-1)) / 1e3


def _views(annotated: Annotations, truth: Annotations, pairs: Sequence[Pair], job: SpanJob) -> ViewErrors:
    """The views in which the truth shows the hand."""
    rows: list[tuple[int, int, np.ndarray, float, float]] = []
    cameras = {name: (annotated.rig[name], truth.rig[name]) for name in job.cameras}
    share = len({pair.truth.frame for pair in pairs}) / max(len(pairs), 1)
    for hand, pair in enumerate(advancing(pairs, share)):
        mine = {view.camera.name: view for view in pair.annotated.views}
        for true_view in pair.truth.views:
            name = true_view.camera.name
            if not true_view.accepted or name not in cameras:
                continue
            camera, true_camera = cameras[name]
            error = _error_px(pair, camera, true_camera)
            scores = np.nan, np.nan
            view = mine.get(name)
            if view is not None and (view.accepted or job.config.include_rejected):
                mask = annotated.cutout(pair.annotated_chunk, view).mask
                true_mask = truth.cutout(pair.truth_chunk, true_view).mask
                moved = resample_mask(mask, view.camera, camera, true_view.camera, true_camera)
                tolerance_px = boundary_tolerance_px(true_view.camera.size_px)
                scores = iou(moved, true_mask), boundary_f(moved, true_mask, tolerance_px)
            rows.append((hand, job.cameras.index(name), error, *scores))
    hands, names, errors, ious, boundaries = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    return ViewErrors(
        hand=np.array(hands, dtype=int),
        camera=np.array(names, dtype=int),
        error_px=np.array(errors, dtype=np.float32).reshape(-1, 21),
        iou=np.array(ious, dtype=float),
        boundary_f=np.array(boundaries, dtype=float),
    )


def _error_px(pair: Pair, camera: Camera, true_camera: Camera) -> Float[np.ndarray, " 21"]:
    """Distance in the full picture, either side through its own camera; NaN where the true keypoint is not in it."""
    points_cam = camera.cam_from_world.apply(pair.annotated.keypoints_world_m)
    pixels, _ = camera.project_cam(points_cam)
    true_pixels, visible = true_camera.project(pair.truth.keypoints_world_m)
    comparable = visible & (points_cam[:, 2] > MIN_DEPTH_M)
    return np.where(comparable, np.linalg.norm(pixels - true_pixels, axis=1), np.nan)


def _surfaces(
    annotated: Annotations, truth: Annotations, pairs: Sequence[Pair], job: SpanJob
) -> tuple[SurfaceErrors | None, Float[np.ndarray, " n"]]:
    """Surface errors of all pairs, and how far the annotated keypoints are from the parameters' own."""
    regeneration_mm = np.full(len(pairs), np.nan)
    if not job.vertices or not pairs:
        return None, regeneration_mm
    parts, order = [], []
    for side in SIDES:
        rows = [i for i, pair in enumerate(pairs) if pair.truth.side == side]
        for first in range(0, len(rows), _POSED_AT_ONCE):
            chosen = rows[first : first + _POSED_AT_ONCE]
            mesh = _pose_hands(annotated, side, [pairs[i].annotated for i in chosen])
            given_m = np.stack([pairs[i].annotated.keypoints_world_m for i in chosen])
            regeneration_mm[chosen] = np.linalg.norm(mesh.keypoints - given_m, axis=2).mean(1) * 1e3
            if job.truth_from_annotated is not None:
                move = job.truth_from_annotated.apply
                mesh = HandMesh(move(mesh.vertices), mesh.faces, move(mesh.keypoints))
            parts.append(surface_errors(mesh, _pose_hands(truth, side, [pairs[i].truth for i in chosen])))
            order += chosen
    return join_surfaces(parts, np.argsort(order)), regeneration_mm


def _pose_hands(annotations: Annotations, side: str, records: Sequence[HandRecord]) -> HandMesh:
    """The surfaces that the records' parameters give, in their own world."""
    for record in records:
        if record.subject not in annotations.betas:
            raise HandgenError(
                f"{annotations.root}: frame {record.frame} is of subject {record.subject!r}, which the manifest does "
                "not describe; add its betas there"
            )
    model = HandModel.load(annotations.hand_model, side)
    pose = HandPose(
        torch.as_tensor(np.stack([record.pose for record in records])).reshape(-1, JOINT_COUNT, 3),
        torch.as_tensor(np.stack([record.translation_m for record in records])),
        torch.as_tensor(np.stack([annotations.betas[record.subject] for record in records])),
    )
    posed = model(pose)
    if not (posed.vertices.abs() < _NOWHERE_M).all():  # whose squares, or it itself, are no numbers
        raise HandgenError(
            f"{annotations.root}: pose, translation or betas of a {side} hand give a surface that is nowhere; "
            f"`handgen validate {annotations.root}` says which are wrong"
        )
    return HandMesh(posed.vertices.numpy(), model.faces, posed.keypoints.numpy())
