"""Measuring annotations against truth: what the two have in common, every span of frames, and the report's figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from handgen.errors import HandgenError
from handgen.hand.model_files import load_hand
from handgen.hand.skeleton import SIDES
from handgen.io.annotations import Annotations
from handgen.progress import Progress
from handgen.runtime.engines import Engine
from handgen.runtime.resumable_run import Units, map_missing
from handgen.stages.evaluate.config import EvaluateConfig
from handgen.stages.evaluate.conventions import check_conventions
from handgen.stages.evaluate.matched import Hands, Matched, ViewErrors, join_rows, join_views
from handgen.stages.evaluate.metrics.registry import NotMeasuredError, all_metrics
from handgen.stages.evaluate.pairing import Span, common_spans, covered_frames
from handgen.stages.evaluate.report import EvaluateReport
from handgen.stages.evaluate.results import Coverage, Hand, Series, source_of
from handgen.stages.evaluate.spans import SpanJob, SpanResult, measure_span
from handgen.stages.evaluate.surfaces import join_surfaces

Betas = dict[str, np.ndarray]  # by subject
_LISTED_HANDS = 200  # of those missed and those false
_REGENERATION_MM = 1.0


def measure_against_truth(
    annotated: Annotations, truth: Annotations, config: EvaluateConfig, engine: Engine, progress: Progress | None
) -> EvaluateReport:
    """Everything that the truth tells; HandgenError where the two do not mean the same by their numbers."""
    spans = common_spans(annotated, truth)
    motion, world_notes = check_conventions(annotated, truth, spans, config)
    cameras, camera_notes = _common_cameras(annotated, truth)
    model_notes = _model_notes(annotated, truth)
    job = SpanJob(annotated.root, truth.root, config, cameras, not model_notes, motion)
    units = Units("measure", [len(span.frames) for span in spans], partial(measure_span, job), spans.__getitem__)
    results = dict(map_missing(units, (), engine, progress))
    report = EvaluateReport(
        annotations=source_of(annotated),
        truth=source_of(truth),
        config=config,
        notes=(*_frame_notes(annotated, truth, spans), *world_notes, *camera_notes, *model_notes),
    )
    return _summarise(report, annotated, truth, job, [results[index] for index in range(len(spans))])


def _frame_notes(annotated: Annotations, truth: Annotations, spans: list[Span]) -> list[str]:
    """Notes on the frames that the two directories do not have in common."""
    notes = []
    ours, theirs = (source.manifest["capture"]["path"] for source in (annotated, truth))
    if ours != theirs:
        notes.append(f"the annotations are of the capture {ours!r}, the truth of {theirs!r}: are they the same?")
    common = sum(len(span.frames) for span in spans)
    mine, true = (sum(map(len, covered_frames(source))) - common for source in (annotated, truth))
    if mine or true:
        alone = f"{mine} only in the annotations, {true} only in the truth"
        notes.append(f"compared on the {common} frames that both cover; {alone}")
    fps, true_fps = (source.manifest["capture"]["fps"] for source in (annotated, truth))
    if None not in (fps, true_fps) and abs(fps - true_fps) > 1e-3 * true_fps:
        rates = f"the annotations are of {fps:g} frames/s, the truth of {true_fps:g}"
        notes.append(f"{rates}: are they frames of the same moments?")
    return notes


def _common_cameras(annotated: Annotations, truth: Annotations) -> tuple[tuple[str, ...], list[str]]:
    """Cameras that see the same picture in both, and what is left out."""
    notes, names = [], []
    for camera in truth.rig:
        if camera.name not in annotated.rig.names:
            continue
        size_px = annotated.rig[camera.name].size_px
        if size_px == camera.size_px:
            names.append(camera.name)
        else:
            notes.append(
                f"camera {camera.name}: pictures of {size_px[0]}x{size_px[1]} in the annotations, "
                f"{camera.size_px[0]}x{camera.size_px[1]} in the truth; left out of 2D errors and masks"
            )
    for what, ours, theirs in (("annotations", annotated, truth), ("truth", truth, annotated)):
        lone = [name for name in ours.rig.names if name not in theirs.rig.names]
        if lone:
            notes.append(f"only the {what} have camera {', '.join(lone)}: left out of 2D errors and masks")
    return tuple(names), notes


def _model_notes(annotated: Annotations, truth: Annotations) -> list[str]:
    """Why surfaces cannot be compared, if they cannot."""
    notes = []
    for what, source in (("annotations", annotated), ("truth", truth)):
        told = source.manifest["hand_model"]["sha256"]
        for side in (side for side in SIDES if side in told):
            try:
                found = load_hand(source.hand_model, side).sha256
            except HandgenError as error:
                notes.append(f"surfaces are not compared: the {what}' {side} hand model cannot be read ({error})")
                continue
            if found != told[side]:
                notes.append(
                    f"surfaces are not compared: the {side} hand model {source.hand_model} is not the one that the "
                    f"{what} were made with (SHA-256 {found[:12]} now, {told[side][:12]} then)"
                )
    return notes


def _summarise(
    report: EvaluateReport, annotated: Annotations, truth: Annotations, job: SpanJob, results: Sequence[SpanResult]
) -> EvaluateReport:
    """Fill in everything that is measured against truth. results: at least one, in the order of the frames."""
    matched = _matched(annotated, truth, job, results)
    hands, views, errors = matched.hands, matched.views, matched.errors_mm
    notes, metrics = list(report.notes), {}
    for name, metric in all_metrics():
        try:
            metrics[name] = metric.measure(matched)
        except NotMeasuredError as error:
            notes.append(str(error))
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
        metrics=metrics,
        worst=_worst(hands, errors, views, chunks, job.config.worst),
        missed=tuple(hand for result in results for hand in result.matches.missed)[:_LISTED_HANDS],
        false=tuple(hand for result in results for hand in result.matches.false)[:_LISTED_HANDS],
        series=Series(hands.frame, hands.side, errors["absolute"].mean(1), views.iou[np.isfinite(views.iou)]),
    )


def _matched(annotated: Annotations, truth: Annotations, job: SpanJob, results: Sequence[SpanResult]) -> Matched:
    hands = join_rows([result.hands for result in results])
    surfaces = [result.surfaces for result in results if result.surfaces is not None]
    betas, truth_betas = _shared_betas(annotated, truth)
    return Matched(
        hands=hands,
        views=join_views([result.views for result in results], [len(result.hands) for result in results]),
        cameras=job.cameras,
        config=job.config,
        fps=job.config.fps or truth.manifest["capture"]["fps"] or annotated.manifest["capture"]["fps"],
        surfaces=join_surfaces(surfaces) if surfaces else None,
        betas=betas,
        truth_betas=truth_betas,
    )


def _coverage(
    annotated: Annotations, truth: Annotations, results: Sequence[SpanResult], hands: Hands, views: ViewErrors
) -> Coverage:
    missed = [hand for result in results for hand in result.matches.missed]
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
        frames_with_truth=sum(result.matches.frames_with_truth for result in results),
        truth_hands=true_hands,
        annotated_hands=len(hands),
        annotated_share=len(hands) / true_hands if true_hands else None,
        annotated_share_per_side=per_side,
        false_hands=sum(len(result.matches.false) for result in results),
        wrong_side_hands=sum(result.matches.wrong_side for result in results),
        unjudged_hands=sum(result.matches.unjudged for result in results),
        views=len(views.hand),
        annotated_views=int(np.isfinite(views.iou).sum()),
    )


def _shared_betas(annotated: Annotations, truth: Annotations) -> tuple[Betas | None, Betas | None]:
    """The betas of both, if one number means the same shape in both models."""
    sides = [side for side in SIDES if all(side in a.manifest["hand_model"]["sha256"] for a in (annotated, truth))]
    try:
        for side in sides:
            mine, true = (load_hand(source.hand_model, side) for source in (annotated, truth))
            if not (np.array_equal(mine.shapedirs, true.shapedirs) and np.array_equal(mine.template, true.template)):
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
