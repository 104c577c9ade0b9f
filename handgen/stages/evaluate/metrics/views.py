"""Measure in views: distances of keypoints in pixels, and overlaps of masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handgen.stages.evaluate.distributions import Distribution, distribution, distributions, spread
from handgen.stages.evaluate.masks import BOUNDARY_SHARE
from handgen.stages.evaluate.matched import Matched
from handgen.stages.evaluate.metrics.registry import Facts, Metric
from handgen.storage.json_fields import Count, Share


@dataclass(frozen=True)
class Pixels:
    """Distances in the full, distorted picture; either side through its own camera."""

    error_px: Distribution
    per_camera_px: dict[str, Distribution]


def measure_pixels(matched: Matched) -> Pixels | None:
    """2D errors of all views; None without any."""
    overall = distribution(matched.views.error_px)
    return None if overall is None else Pixels(overall, distributions(_by_camera(matched, matched.views.error_px)))


PIXELS = Metric(measure_pixels, lambda found: [("2D error", spread(found.error_px, "px"))])


@dataclass(frozen=True)
class Masks:
    """Overlaps of masks and of their outlines, over views."""

    views: Count
    iou: Distribution
    boundary_f: Distribution
    boundary_tolerance_share: Share
    """How far outlines may be apart, as a share of the cutout's diagonal, rounded up to whole pixels."""
    per_camera_iou: dict[str, Share]
    """Mean of each camera's views."""


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


MASKS = Metric(measure_masks, _mask_facts)


def _by_camera(matched: Matched, values: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values[matched.views.camera == i] for i, name in enumerate(matched.cameras)}
