"""`evaluation.json`: its fields, from which `evaluation.schema.json` and its page are made."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float

from handgen.stages.evaluate.config import EvaluateConfig
from handgen.stages.evaluate.distributions import Distribution
from handgen.stages.evaluate.leave_one_out import LeaveOneOut
from handgen.stages.evaluate.metrics.keypoints import Fingertips, KeypointErrors, Uncertainty
from handgen.stages.evaluate.metrics.over_frames import HandShape, Jitter
from handgen.stages.evaluate.metrics.vertices import Vertices
from handgen.stages.evaluate.metrics.views import Masks, Pixels
from handgen.stages.evaluate.results import Coverage, Hand, MissingHand, Source
from handgen.storage.json_fields import Count, Json, to_document
from handgen.version import __version__

KIND = "evaluation"
FORMAT_VERSION = 1
_DECIMALS = 6


@dataclass(frozen=True)
class Options:
    """Options that change figures."""

    include_rejected: bool
    match_distance_mm: float
    """Largest mean distance of an annotated hand from the true one that it is."""
    align_world: bool
    fingertip_frames: Count
    fps: float | None
    """Frames per second as given; null: the manifests' were taken."""

    @classmethod
    def of(cls, config: EvaluateConfig) -> Options:
        """Take the options from a configuration."""
        return cls(**{each.name: getattr(config, each.name) for each in fields(cls)})


@dataclass(frozen=True, kw_only=True)
class EvaluationDocument:
    """Figures that `handgen evaluate` measured (docs/evaluation.md defines them); null: not measured, notes say why."""

    kind: Annotated[str, Json({"const": KIND})] = KIND
    format_version: Annotated[int, Json({"const": FORMAT_VERSION})] = FORMAT_VERSION
    created_by: str = __version__
    """handgen's version."""
    options: Options
    pck_thresholds_mm: Float[np.ndarray, " 100"]
    annotations: Source
    truth: Source | None
    notes: tuple[str, ...]
    """Sentences for people on what was assumed, differed or was left out."""
    coverage: Coverage | None
    worst: tuple[Hand, ...]
    """By absolute error, the worst first."""
    missed: tuple[MissingHand, ...]
    """True hands without annotation, at most 200."""
    false: tuple[MissingHand, ...]
    """Annotations without a true hand, at most 200."""
    leave_one_out: LeaveOneOut | None
    seconds: float
    keypoints: dict[str, KeypointErrors] | None
    """Distances of matched hands' keypoints by what is aligned first: absolute (nothing), root_relative, scale_aligned,
    procrustes."""
    fingertips: Fingertips | None
    relative_root_mm: Distribution | None
    """Error of the offset between the wrists of one person's two hands."""
    vertices: Vertices | None
    pixels: Pixels | None
    masks: Masks | None
    shapes: tuple[HandShape, ...]
    jitter: Jitter | None
    uncertainty: Uncertainty | None
    metrics: Annotated[dict[str, Any] | None, Json(optional=True, omit_default=True)] = None
    """Values of metrics that plug-ins added, by their names; absent without any."""


def encode_report(report: EvaluationDocument) -> dict[str, Any]:
    """The document itself; numbers are rounded to a millionth of their unit."""
    return _rounded(to_document(report))


def _rounded(value: Any) -> Any:
    if is_dataclass(value):
        value = asdict(value)  # type: ignore[arg-type]
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_rounded(item) for item in value]
    if isinstance(value, float | np.floating):
        return round(float(value), _DECIMALS)
    return value
