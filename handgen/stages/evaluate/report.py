"""The report of evaluating: figures with their units, as `evaluate` prints them and `evaluation.json` keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from handgen.runtime.report import ReadableReport
from handgen.stages.evaluate.config import EvaluateConfig
from handgen.stages.evaluate.distributions import PCK_THRESHOLDS_MM, spread
from handgen.stages.evaluate.document import EvaluationDocument, Options, encode_report
from handgen.stages.evaluate.leave_one_out import LeaveOneOut
from handgen.stages.evaluate.metrics.over_frames import largest_bone_spread_mm, mean_bone_error_mm
from handgen.stages.evaluate.metrics.registry import all_metrics
from handgen.stages.evaluate.results import Coverage, Hand, MissingHand, Series, Source


def _figure(path: str, description: str, default: Any = None) -> Any:
    """A property of the report: its value at `path`, a name for each level; `default` where there is none."""

    def value_at(report: EvaluateReport) -> Any:
        value: Any = report
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else getattr(value, name)
            if value is None:
                return default
        return value

    value_at.__doc__ = description
    return property(value_at)


@dataclass(frozen=True, repr=False)
class EvaluateReport(ReadableReport):
    """Figures that `evaluate` found; None where something could not be measured, and `notes` say why.

    metrics: values by name (`handgen.stages.evaluate.metrics`); the usual ones are properties, too. worst: hands, the
    worst first. missed, false: frame and side of the first ones. series: what plots need besides; it is in no document.
    """

    annotations: Source
    truth: Source | None
    config: EvaluateConfig
    notes: tuple[str, ...]
    coverage: Coverage | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    worst: tuple[Hand, ...] = ()
    missed: tuple[MissingHand, ...] = ()
    false: tuple[MissingHand, ...] = ()
    leave_one_out: LeaveOneOut | None = None
    series: Series | None = None
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The document of `evaluation.schema.json`."""
        own = {each.name for each in fields(EvaluationDocument)} - {"options", "metrics"}
        others = {name: value for name, value in self.metrics.items() if name not in own and value is not None}
        document = EvaluationDocument(
            options=Options.of(self.config),
            pck_thresholds_mm=PCK_THRESHOLDS_MM,
            **{name: getattr(self, name) for name in own if hasattr(self, name)},
            metrics=others or None,
        )
        return encode_report(document)

    @property
    def title(self) -> str:
        """The annotations' directory."""
        return self.annotations.path

    def rows(self) -> list[tuple[str, str]]:
        """Name and value with its unit, in the order in which they matter."""
        facts: list[tuple[str, str]] = []
        if self.truth:
            facts += [("truth", self.truth.path), *(_coverage_rows(self.coverage) if self.coverage else ())]
            for name, metric in all_metrics():
                if (value := self.metrics.get(name)) is not None:
                    facts += metric.facts(value)
        if found := self.leave_one_out:
            facts.append((f"left-out view, {found.hands} hands", spread(found.error_px, "px")))
            facts.append(("at the hand's depth", spread(found.error_mm, "mm")))
        return facts

    keypoints = _figure("metrics.keypoints", "`KeypointErrors` by alignment (`handgen.stages.evaluate.alignment`).")
    relative_root_mm = _figure("metrics.relative_root_mm", "Error of the offset between both wrists, a `Distribution`.")
    fingertips = _figure("metrics.fingertips", "`Fingertips` on chosen frames.")
    pixels = _figure("metrics.pixels", "2D distances, `Pixels`.")
    vertices = _figure("metrics.vertices", "Distances of surfaces, `Vertices`.")
    masks = _figure("metrics.masks", "Overlaps of masks, `Masks`.")
    shapes = _figure("metrics.shapes", "A `HandShape` for each hand of the annotated people.", ())
    jitter = _figure("metrics.jitter", "Accelerations of keypoints, `Jitter`.")
    uncertainty = _figure("metrics.uncertainty", "Covariances against errors, `Uncertainty`.")

    mean_absolute_mm = _figure("keypoints.absolute.overall_mm.mean", "MPJPE in the world, mm.")
    median_absolute_mm = _figure("keypoints.absolute.overall_mm.median", "Median keypoint distance in the world, mm.")
    mean_root_relative_mm = _figure("keypoints.root_relative.overall_mm.mean", "MPJPE, wrist on the truth's, mm.")
    mean_scale_aligned_mm = _figure("keypoints.scale_aligned.overall_mm.mean", "MPJPE, the truth's wrist and size, mm.")
    mean_procrustes_mm = _figure("keypoints.procrustes.overall_mm.mean", "MPJPE after Procrustes, mm.")
    auc_absolute = _figure("keypoints.absolute.auc", "Area under the PCK curve of absolute distances, 0 to 1.")
    auc_procrustes = _figure("keypoints.procrustes.auc", "Area under the PCK curve after Procrustes, 0 to 1.")
    mean_fingertip_mm = _figure("fingertips.mean_mm", "Mean distance of the five tips on the chosen frames, mm.")
    mean_2d_px = _figure("pixels.error_px.mean", "Mean 2D distance, full picture.")
    median_2d_px = _figure("pixels.error_px.median", "Median 2D distance, full picture.")
    mean_vertex_mm = _figure("vertices.absolute_mm.mean", "Mean vertex error or surface distance, mm.")
    mean_mask_iou = _figure("masks.iou.mean", "Mean over views, 0 to 1.")
    mean_boundary_f = _figure("masks.boundary_f.mean", "Mean over views, 0 to 1.")
    jitter_mm_s2 = _figure("jitter.annotated_mm_s2.mean", "Mean acceleration of the annotated keypoints.")
    truth_jitter_mm_s2 = _figure("jitter.truth_mm_s2.mean", "Mean acceleration of the true keypoints.")
    acceleration_error_mm_s2 = _figure("jitter.error_mm_s2.mean", "Mean difference of the accelerations.")
    leave_one_out_px = _figure("leave_one_out.error_px.median", "Median distance from the left-out view's detections.")
    leave_one_out_mm = _figure("leave_one_out.error_mm.median", "Median of these distances at the hand's depth.")
    annotated_share = _figure("coverage.annotated_share", "Share of the true hands, 0 to 1.")
    truth_hands = _figure("coverage.truth_hands", "True hands (frame and side) that at least one view shows.", 0)
    annotated_hands = _figure("coverage.annotated_hands", "True hands that are annotated.", 0)
    false_hands = _figure("coverage.false_hands", "Annotations of no hand.", 0)
    wrong_side_hands = _figure("coverage.wrong_side_hands", "False hands that lie on a hand of the other side.", 0)

    @property
    def bone_spread_mm(self) -> float | None:
        """Largest difference between frames of any bone's length."""
        return largest_bone_spread_mm(self.shapes)

    @property
    def bone_error_mm(self) -> float | None:
        """Mean difference of bone lengths from the truth's, over hands."""
        return mean_bone_error_mm(self.shapes)

    def mean_mm(self, alignment: str) -> float | None:
        """MPJPE after the named alignment."""
        return self.keypoints[alignment].overall_mm.mean if self.keypoints else None


def _coverage_rows(found: Coverage) -> list[tuple[str, str]]:
    share = "-" if found.annotated_share is None else f"{100 * found.annotated_share:.1f} %"
    hidden = f"; {found.unjudged_hands} of hands that no view shows" if found.unjudged_hands else ""
    return [
        ("frames compared", str(found.frames)),
        ("hands annotated", f"{share} ({found.annotated_hands} of {found.truth_hands})"),
        ("false hands", f"{found.false_hands}, of these {found.wrong_side_hands} of the wrong side{hidden}"),
    ]
