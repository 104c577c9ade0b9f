"""The report of evaluating: figures with their units, as `evaluate` prints them and `evaluation.json` keeps them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, is_dataclass, replace
from typing import Any

import numpy as np

from handgen.options import deciding_options
from handgen.runtime.report import ReadableReport
from handgen.stages.evaluate import lines
from handgen.stages.evaluate.config import EvaluateConfig
from handgen.stages.evaluate.distributions import PCK_THRESHOLDS_MM, Distribution
from handgen.stages.evaluate.leave_one_out import LeaveOneOut
from handgen.stages.evaluate.metrics.jitter import Jitter
from handgen.stages.evaluate.metrics.keypoints import Fingertips, KeypointErrors
from handgen.stages.evaluate.metrics.registry import all_metrics
from handgen.stages.evaluate.metrics.shapes import HandShape, largest_bone_spread_mm, mean_bone_error_mm
from handgen.stages.evaluate.metrics.uncertainty import Uncertainty
from handgen.stages.evaluate.metrics.vertices import Vertices
from handgen.stages.evaluate.metrics.views import Masks, Pixels
from handgen.stages.evaluate.results import Coverage, Hand, MissingHand, Series, Source
from handgen.storage.documents import schema_version
from handgen.version import __version__

SCHEMA, KIND = "evaluation", "evaluation"
_DECIMALS = 6


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
        found = asdict(replace(self, series=None))
        for name in ("config", "series", "metrics"):
            del found[name]
        others = {}
        for name, metric in all_metrics():
            value = self.metrics.get(name)
            value = metric.empty if value is None else value
            if metric.has_own_key:
                found[name] = value
            elif value is not None:
                others[name] = value
        if others:
            found["metrics"] = others
        options = deciding_options(self.config)
        del options["worst"], options["capture"]  # they change no figure
        return {
            "kind": KIND,
            "format_version": schema_version(SCHEMA),
            "created_by": __version__,
            "options": options,
            "pck_thresholds_mm": _rounded(PCK_THRESHOLDS_MM),
            **{name: _rounded(value) for name, value in found.items()},
        }

    @property
    def title(self) -> str:
        """The annotations' directory."""
        return self.annotations.path

    def rows(self) -> list[tuple[str, str]]:
        """Name and value with its unit, in the order in which they matter."""
        facts: list[tuple[str, str]] = []
        if self.truth:
            facts += [("truth", self.truth.path), *(lines.coverage_lines(self.coverage) if self.coverage else ())]
            for name, metric in all_metrics():
                if (value := self.metrics.get(name)) is not None:
                    facts += metric.facts(value)
        return facts + (lines.left_out_lines(self.leave_one_out) if self.leave_one_out else [])

    def remarks(self) -> list[str]:
        """The notes."""
        return list(self.notes)

    @property
    def keypoints(self) -> dict[str, KeypointErrors] | None:
        """Distances of keypoints by alignment (`handgen.stages.evaluate.alignment`)."""
        return self.metrics.get("keypoints")

    @property
    def relative_root_mm(self) -> Distribution | None:
        """Error of the offset between both wrists."""
        return self.metrics.get("relative_root_mm")

    @property
    def fingertips(self) -> Fingertips | None:
        """Distances of the five tips on chosen frames."""
        return self.metrics.get("fingertips")

    @property
    def pixels(self) -> Pixels | None:
        """2D distances."""
        return self.metrics.get("pixels")

    @property
    def vertices(self) -> Vertices | None:
        """Distances of surfaces."""
        return self.metrics.get("vertices")

    @property
    def masks(self) -> Masks | None:
        """Overlaps of masks."""
        return self.metrics.get("masks")

    @property
    def shapes(self) -> tuple[HandShape, ...]:
        """Shapes of the annotated people's hands."""
        return self.metrics.get("shapes") or ()

    @property
    def jitter(self) -> Jitter | None:
        """Accelerations of keypoints."""
        return self.metrics.get("jitter")

    @property
    def uncertainty(self) -> Uncertainty | None:
        """Covariances against errors."""
        return self.metrics.get("uncertainty")

    def mean_mm(self, alignment: str) -> float | None:
        """MPJPE after the named alignment."""
        return self.keypoints[alignment].overall_mm.mean if self.keypoints else None

    @property
    def mean_absolute_mm(self) -> float | None:
        """MPJPE in the world, mm."""
        return self.mean_mm("absolute")

    @property
    def median_absolute_mm(self) -> float | None:
        """Median keypoint distance in the world, mm."""
        return self.keypoints["absolute"].overall_mm.median if self.keypoints else None

    @property
    def mean_root_relative_mm(self) -> float | None:
        """MPJPE with the wrist on the truth's, mm."""
        return self.mean_mm("root_relative")

    @property
    def mean_scale_aligned_mm(self) -> float | None:
        """MPJPE with wrist and size as the truth's, mm."""
        return self.mean_mm("scale_aligned")

    @property
    def mean_procrustes_mm(self) -> float | None:
        """MPJPE after Procrustes, mm."""
        return self.mean_mm("procrustes")

    @property
    def auc_absolute(self) -> float | None:
        """Area under the PCK curve of absolute distances, 0 to 1."""
        return self.keypoints["absolute"].auc if self.keypoints else None

    @property
    def auc_procrustes(self) -> float | None:
        """Area under the PCK curve after Procrustes, 0 to 1."""
        return self.keypoints["procrustes"].auc if self.keypoints else None

    @property
    def mean_fingertip_mm(self) -> float | None:
        """Mean distance of the five tips on the chosen frames, mm."""
        return self.fingertips.mean_mm if self.fingertips else None

    @property
    def annotated_share(self) -> float | None:
        """Share of the true hands, 0 to 1."""
        return self.coverage.annotated_share if self.coverage else None

    @property
    def truth_hands(self) -> int:
        """True hands (frame and side) that at least one view shows."""
        return self.coverage.truth_hands if self.coverage else 0

    @property
    def annotated_hands(self) -> int:
        """Count those of them that are annotated."""
        return self.coverage.annotated_hands if self.coverage else 0

    @property
    def false_hands(self) -> int:
        """Annotations of no hand."""
        return self.coverage.false_hands if self.coverage else 0

    @property
    def wrong_side_hands(self) -> int:
        """Count those of them that lie on a hand of the other side."""
        return self.coverage.wrong_side_hands if self.coverage else 0

    @property
    def mean_mask_iou(self) -> float | None:
        """Over views, 0 to 1."""
        return self.masks.iou.mean if self.masks else None

    @property
    def mean_boundary_f(self) -> float | None:
        """Over views, 0 to 1."""
        return self.masks.boundary_f.mean if self.masks else None

    @property
    def mean_2d_px(self) -> float | None:
        """Mean 2D distance, full picture."""
        return self.pixels.error_px.mean if self.pixels else None

    @property
    def median_2d_px(self) -> float | None:
        """Median 2D distance, full picture."""
        return self.pixels.error_px.median if self.pixels else None

    @property
    def mean_vertex_mm(self) -> float | None:
        """Mean vertex error or surface distance, mm."""
        return self.vertices.absolute_mm.mean if self.vertices else None

    @property
    def jitter_mm_s2(self) -> float | None:
        """Mean acceleration of the annotated keypoints."""
        return self.jitter.annotated_mm_s2.mean if self.jitter else None

    @property
    def truth_jitter_mm_s2(self) -> float | None:
        """Mean acceleration of the true keypoints."""
        return self.jitter.truth_mm_s2.mean if self.jitter else None

    @property
    def acceleration_error_mm_s2(self) -> float | None:
        """Mean difference of the accelerations."""
        return self.jitter.error_mm_s2.mean if self.jitter else None

    @property
    def bone_spread_mm(self) -> float | None:
        """Largest difference between frames of any bone's length."""
        return largest_bone_spread_mm(self.shapes)

    @property
    def bone_error_mm(self) -> float | None:
        """Mean difference of bone lengths from the truth's, over hands."""
        return mean_bone_error_mm(self.shapes)

    @property
    def leave_one_out_px(self) -> float | None:
        """Median distance from the left-out view's detections."""
        return self.leave_one_out.error_px.median if self.leave_one_out and self.leave_one_out.error_px else None

    @property
    def leave_one_out_mm(self) -> float | None:
        """Distances at the hand's depth."""
        return self.leave_one_out.error_mm.median if self.leave_one_out and self.leave_one_out.error_mm else None


def _rounded(value: Any) -> Any:
    """Plain values; numbers to a millionth of their unit."""
    if is_dataclass(value):
        value = asdict(value)  # type: ignore[arg-type]
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_rounded(item) for item in value]
    if isinstance(value, float | np.floating):
        return round(float(value), _DECIMALS)
    return value
