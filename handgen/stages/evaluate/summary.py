"""Results of all spans -> the report's figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from handgen.errors import HandgenError
from handgen.hand.model_files import load_hand
from handgen.hand.skeleton import SIDES
from handgen.io.annotations import Annotations
from handgen.stages.evaluate import measures
from handgen.stages.evaluate.alignment import ALIGNMENTS
from handgen.stages.evaluate.masks import BOUNDARY_SHARE
from handgen.stages.evaluate.measures import Hands, distribution
from handgen.stages.evaluate.pairing import covered_frames
from handgen.stages.evaluate.report import EvaluateReport
from handgen.stages.evaluate.results import Coverage, Hand, Masks, Pixels, Series, Vertices
from handgen.stages.evaluate.spans import SpanJob, SpanResult, ViewErrors, join_surfaces
from handgen.stages.evaluate.surfaces import F_THRESHOLDS_MM, kind_of

_LISTED_HANDS = 200  # of those missed and those false
_REGENERATION_MM = 1.0


def summarise(
    report: EvaluateReport, annotated: Annotations, truth: Annotations, job: SpanJob, results: Sequence[SpanResult]
) -> EvaluateReport:
    """Fill in everything that is measured against truth. results: at least one, in the order of the frames."""
    hands = measures.join_errors([result.hands for result in results])
    views = _join_views(results)
    errors = {name: hands.errors_mm(name) for name in ALIGNMENTS}
    found = {name: summary for name, error in errors.items() if (summary := measures.keypoint_errors(error))}
    notes = list(report.notes)
    fps = job.config.fps or truth.manifest["capture"]["fps"] or annotated.manifest["capture"]["fps"]
    jitter = measures.jitter(hands, fps) if fps else None
    if not fps:
        notes.append("jitter is left out: neither manifest knows the frames per second; give --fps")
    elif jitter is None:
        notes.append("jitter is left out: no hand is matched in three consecutive frames")
    if not len(hands):
        notes.append(f"no annotated hand lies within {job.config.match_distance_mm:g} mm of a true one of its side")
    regeneration_mm = np.concatenate([result.regeneration_mm for result in results])
    if np.nanmax(regeneration_mm, initial=0.0) > _REGENERATION_MM:
        notes.append(
            f"the annotated keypoints are up to {np.nanmax(regeneration_mm):.1f} mm from those that their pose "
            "parameters give: keypoint errors are of the former, surface errors of the latter"
        )
    chunks = np.concatenate([result.chunks for result in results])
    return replace(
        report,
        notes=tuple(notes),
        coverage=_coverage(annotated, truth, results, hands, views),
        keypoints=found or None,
        relative_root_mm=measures.relative_root(hands),
        fingertips=measures.fingertips(hands.frame, errors["absolute"], job.config.fingertip_frames),
        pixels=_pixels(views, job),
        vertices=_vertices(annotated, truth, results),
        masks=_masks(views, job),
        shapes=measures.hand_shapes(hands, *_shared_betas(annotated, truth)),
        jitter=jitter,
        # In a turned world the covariances' axes are no longer those of the errors.
        uncertainty=None if job.config.align_world else measures.uncertainty(hands),
        worst=_worst(hands, errors, views, chunks, job.config.worst),
        missed=tuple(hand for result in results for hand in result.missed)[:_LISTED_HANDS],
        false=tuple(hand for result in results for hand in result.false)[:_LISTED_HANDS],
        series=Series(hands.frame, hands.side, errors["absolute"].mean(1), views.iou[np.isfinite(views.iou)]),
    )


def _join_views(results: Sequence[SpanResult]) -> ViewErrors:
    """All views; `hand` counts through all spans."""
    first = np.cumsum([0, *(len(result.hands) for result in results)])[:-1]
    parts = [result.views for result in results]
    return ViewErrors(
        hand=np.concatenate([part.hand + offset for part, offset in zip(parts, first, strict=True)]),
        camera=np.concatenate([part.camera for part in parts]),
        error_px=np.concatenate([part.error_px for part in parts]),
        iou=np.concatenate([part.iou for part in parts]),
        boundary_f=np.concatenate([part.boundary_f for part in parts]),
    )


def _coverage(
    annotated: Annotations, truth: Annotations, results: Sequence[SpanResult], hands: Hands, views: ViewErrors
) -> Coverage:
    missed = [hand for result in results for hand in result.missed]
    frames = sum(result.frames for result in results)
    covered = [sum(len(part) for part in covered_frames(source)) for source in (annotated, truth)]
    per_side = {}
    for side in SIDES:
        there, absent = int((hands.side == side).sum()), sum(hand.side == side for hand in missed)
        if there + absent:
            per_side[side] = there / (there + absent)
    true_hands = len(hands) + len(missed)
    return Coverage(
        frames=frames,
        annotated_frames_outside=covered[0] - frames,
        truth_frames_outside=covered[1] - frames,
        frames_with_truth=sum(result.frames_with_truth for result in results),
        truth_hands=true_hands,
        annotated_hands=len(hands),
        annotated_share=len(hands) / true_hands if true_hands else None,
        annotated_share_per_side=per_side,
        false_hands=sum(len(result.false) for result in results),
        wrong_side_hands=sum(result.wrong_side for result in results),
        unjudged_hands=sum(result.unjudged for result in results),
        views=len(views.hand),
        annotated_views=int(np.isfinite(views.iou).sum()),
    )


def _pixels(views: ViewErrors, job: SpanJob) -> Pixels | None:
    overall = distribution(views.error_px)
    if overall is None:
        return None
    each = {name: distribution(views.error_px[views.camera == i]) for i, name in enumerate(job.cameras)}
    return Pixels(overall, {name: found for name, found in each.items() if found is not None})


def _masks(views: ViewErrors, job: SpanJob) -> Masks | None:
    overlap, outline = distribution(views.iou), distribution(views.boundary_f)
    if overlap is None or outline is None:
        return None
    each = {name: distribution(views.iou[views.camera == i]) for i, name in enumerate(job.cameras)}
    means = {name: found.mean for name, found in each.items() if found is not None}
    return Masks(overlap.count, overlap, outline, BOUNDARY_SHARE, means)


def _vertices(annotated: Annotations, truth: Annotations, results: Sequence[SpanResult]) -> Vertices | None:
    parts = [result.surfaces for result in results if result.surfaces is not None]
    if not parts:
        return None
    found = join_surfaces(parts)
    as_is, fitted = distribution(found.error_mm), distribution(found.aligned_mm)
    if as_is is None or fitted is None:
        return None
    side = next(side for side in SIDES if (np.concatenate([r.hands.side for r in results]) == side).any())
    faces = [load_hand(source.hand_model, side).faces for source in (annotated, truth)]
    scores = found.f_scores.mean(0).tolist()
    names = [f"{threshold:g}_mm" for threshold in F_THRESHOLDS_MM]
    return Vertices(
        kind=kind_of(faces[0], faces[1]),
        absolute_mm=as_is,
        procrustes_mm=fitted,
        auc_absolute=measures.area_under(found.within / found.count),
        auc_procrustes=measures.area_under(found.aligned_within / found.count),
        f_scores=dict(zip(names, scores[0], strict=True)),
        f_scores_procrustes=dict(zip(names, scores[1], strict=True)),
    )


def _shared_betas(
    annotated: Annotations, truth: Annotations
) -> tuple[dict[str, np.ndarray] | None, dict[str, np.ndarray] | None]:
    """The betas of both, if one number means the same shape in both models."""
    sides = [side for side in SIDES if all(side in a.manifest["hand_model"]["sha256"] for a in (annotated, truth))]
    try:
        for side in sides:
            mine, true = (load_hand(source.hand_model, side) for source in (annotated, truth))
            same = np.array_equal(mine.shapedirs, true.shapedirs) and np.array_equal(mine.template, true.template)
            if not same:
                return None, None
    except HandgenError:  # the notes say so already
        return None, None
    return annotated.betas, truth.betas


def _worst(
    hands: Hands, errors: dict[str, np.ndarray], views: ViewErrors, chunks: np.ndarray, count: int
) -> tuple[Hand, ...]:
    """The hands with the largest absolute error, the worst first."""
    mean_mm = {name: error.mean(1) for name, error in errors.items()}
    found = []
    for row in np.argsort(-mean_mm["absolute"], kind="stable")[:count].tolist():
        seen = views.hand == row
        error_px, ious = views.error_px[seen], views.iou[seen]
        found.append(
            Hand(
                frame=int(hands.frame[row]),
                side=str(hands.side[row]),
                absolute_mm=float(mean_mm["absolute"][row]),
                procrustes_mm=float(mean_mm["procrustes"][row]),
                error_px=float(np.nanmean(error_px)) if np.isfinite(error_px).any() else None,
                mask_iou=float(np.nanmean(ious)) if np.isfinite(ious).any() else None,
                chunks=(int(chunks[row, 0]), int(chunks[row, 1])),
            )
        )
    return tuple(found)
