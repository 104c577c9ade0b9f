"""Measuring annotations against truth: what the two have in common, then every span of frames."""

from __future__ import annotations

from functools import partial

from handgen.errors import HandgenError
from handgen.hand.model_files import load_hand
from handgen.hand.skeleton import SIDES
from handgen.io.annotations import Annotations
from handgen.progress import Progress
from handgen.runtime.engines import Engine
from handgen.runtime.resumable_run import Units, map_missing
from handgen.stages.evaluate.config import EvaluateConfig
from handgen.stages.evaluate.conventions import check_conventions
from handgen.stages.evaluate.inputs import source_of
from handgen.stages.evaluate.pairing import Span, common_spans, covered_frames
from handgen.stages.evaluate.report import EvaluateReport
from handgen.stages.evaluate.spans import SpanJob, measure_span
from handgen.stages.evaluate.summary import summarise


def measure_against_truth(
    annotated: Annotations, truth: Annotations, config: EvaluateConfig, engine: Engine, progress: Progress | None
) -> EvaluateReport:
    """Everything that the truth tells; HandgenError where the two do not mean the same by their numbers."""
    spans = common_spans(annotated, truth)
    options = (config.match_distance_mm, config.include_rejected, config.align_world)
    conventions = check_conventions(annotated, truth, spans, *options)
    cameras, camera_notes = _common_cameras(annotated, truth)
    model_notes = _model_notes(annotated, truth)
    job = SpanJob(annotated.root, truth.root, config, cameras, not model_notes, conventions.truth_from_annotated)
    units = Units("measure", [len(span.frames) for span in spans], partial(measure_span, job), spans.__getitem__)
    results = dict(map_missing(units, (), engine, progress))
    report = EvaluateReport(
        annotations=source_of(annotated),
        truth=source_of(truth),
        config=config,
        notes=(*_frame_notes(annotated, truth, spans), *conventions.notes, *camera_notes, *model_notes),
    )
    return summarise(report, annotated, truth, job, [results[index] for index in range(len(spans))])


def _frame_notes(annotated: Annotations, truth: Annotations, spans: list[Span]) -> list[str]:
    """Notes on the frames that the two directories do not have in common."""
    notes = []
    captures = [source.manifest["capture"]["path"] for source in (annotated, truth)]
    if captures[0] != captures[1]:
        notes.append(
            f"the annotations are of the capture {captures[0]!r}, the truth of {captures[1]!r}: are they the same?"
        )
    common = sum(len(span.frames) for span in spans)
    mine, true = (sum(map(len, covered_frames(source))) - common for source in (annotated, truth))
    if mine or true:
        notes.append(
            f"compared on the {common} frames that both cover; {mine} only in the annotations, {true} only in the truth"
        )
    fps = [source.manifest["capture"]["fps"] for source in (annotated, truth)]
    if None not in fps and abs(fps[0] - fps[1]) > 1e-3 * fps[1]:
        notes.append(
            f"the annotations are of {fps[0]:g} frames/s, the truth of {fps[1]:g}: are they frames of the same moments?"
        )
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
