"""Measure in views: distances of keypoints in pixels, and overlaps of masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handgen.stages.evaluate.distributions import Distribution, distribution, distributions, spread
from handgen.stages.evaluate.masks import BOUNDARY_SHARE
from handgen.stages.evaluate.matched import Matched
from handgen.stages.evaluate.metrics.registry import Facts, Metric


@dataclass(frozen=True)
class Pixels:
    """2D distances in the full picture."""

    error_px: Distribution
    per_camera_px: dict[str, Distribution]


def measure_pixels(matched: Matched) -> Pixels | None:
    """2D errors of all views; None without any."""
    overall = distribution(matched.views.error_px)
    return None if overall is None else Pixels(overall, distributions(_by_camera(matched, matched.views.error_px)))


PIXELS = Metric(measure_pixels, lambda found: [("2D error", spread(found.error_px, "px"))], has_own_key=True)


@dataclass(frozen=True)
class Masks:
    """Means and percentiles over views. boundary_tolerance_share: of the cutout's diagonal."""

    views: int
    iou: Distribution
    boundary_f: Distribution
    boundary_tolerance_share: float
    per_camera_iou: dict[str, float]


def measure_masks(matched: Matched) -> Masks | None:
    """Overlaps in all views that have an annotated mask; None without any."""
    overlap, outline = distribution(matched.views.iou), distribution(matched.views.boundary_f)
    if overlap is None or outline is None:
        return None
    means = {name: found.mean for name, found in distributions(_by_camera(matched, matched.views.iou)).items()}
    return Masks(overlap.count, overlap, outline, BOUNDARY_SHARE, means)


def _mask_facts(found: Masks) -> Facts:
    return [
        ("mask IoU", f"{found.iou.mean:.3f} (median {found.iou.median:.3f}), {found.views} views"),
        ("boundary F", f"{found.boundary_f.mean:.3f} (median {found.boundary_f.median:.3f})"),
    ]


MASKS = Metric(measure_masks, _mask_facts, has_own_key=True)


def _by_camera(matched: Matched, values: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values[matched.views.camera == i] for i, name in enumerate(matched.cameras)}
