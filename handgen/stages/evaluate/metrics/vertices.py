"""Distances of the hands' surfaces."""

from __future__ import annotations

from dataclasses import dataclass

from handgen.stages.evaluate.distributions import Distribution, area_under, distribution, spread
from handgen.stages.evaluate.matched import Matched
from handgen.stages.evaluate.metrics.registry import Facts, Metric
from handgen.stages.evaluate.surfaces import F_THRESHOLDS_MM, Kind
from handgen.storage.json_fields import Share

SURFACE_NAMES = {"corresponding": "vertex error", "surface": "surface distance"}


@dataclass(frozen=True)
class Vertices:
    """Errors of surfaces: distributions over hands, of each hand's mean."""

    kind: Kind
    """corresponding: vertex to the same vertex. surface: vertices to the other surface, both ways."""
    absolute_mm: Distribution
    procrustes_mm: Distribution
    auc_absolute: Share
    auc_procrustes: Share
    f_scores: dict[str, Share]
    """By threshold in mm."""
    f_scores_procrustes: dict[str, Share]
    """By threshold in mm, after Procrustes."""


def measure_vertices(matched: Matched) -> Vertices | None:
    """Surface errors of all matched hands; None where the models cannot be read."""
    found = matched.surfaces
    if found is None:
        return None
    as_is, fitted = distribution(found.error_mm), distribution(found.aligned_mm)
    if as_is is None or fitted is None:
        return None
    scores = found.f_scores.mean(0).tolist()
    names = [f"{threshold:g}_mm" for threshold in F_THRESHOLDS_MM]
    return Vertices(
        kind=found.kind,
        absolute_mm=as_is,
        procrustes_mm=fitted,
        auc_absolute=area_under(found.within / found.count),
        auc_procrustes=area_under(found.aligned_within / found.count),
        f_scores=dict(zip(names, scores[0], strict=True)),
        f_scores_procrustes=dict(zip(names, scores[1], strict=True)),
    )


def _facts(found: Vertices) -> Facts:
    name = SURFACE_NAMES[found.kind]
    scores = ", ".join(f"{v:.3f} at {k.replace('_', ' ')}" for k, v in found.f_scores_procrustes.items())
    return [
        (name, spread(found.absolute_mm, "mm")),
        (f"{name}, Procrustes", spread(found.procrustes_mm, "mm")),
        ("F-score, Procrustes", scores),
    ]


VERTICES = Metric(measure_vertices, _facts)
