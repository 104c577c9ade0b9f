"""Metrics by name, in the order in which they are printed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from handgen.plugins import Registry
from handgen.stages.evaluate.metrics.base import Metric

METRICS: Registry[Metric[Any]] = Registry("metric")


def register_metric(name: str, metric: Metric[Any] | str) -> None:
    """Add a metric, which `evaluate` then prints and writes; or where it is, as "module:name"."""
    METRICS.register(name, metric)


def all_metrics() -> Iterator[tuple[str, Metric[Any]]]:
    """Names and metrics, in their order."""
    for name in METRICS.names():
        yield name, METRICS[name].load()


_HERE = "handgen.stages.evaluate.metrics"
register_metric("keypoints", f"{_HERE}.keypoints:KEYPOINTS")
register_metric("fingertips", f"{_HERE}.keypoints:FINGERTIPS")
register_metric("relative_root_mm", f"{_HERE}.relative_root:RELATIVE_ROOT")
register_metric("vertices", f"{_HERE}.vertices:VERTICES")
register_metric("pixels", f"{_HERE}.views:PIXELS")
register_metric("masks", f"{_HERE}.views:MASKS")
register_metric("shapes", f"{_HERE}.shapes:SHAPES")
register_metric("jitter", f"{_HERE}.jitter:JITTER")
register_metric("uncertainty", f"{_HERE}.uncertainty:UNCERTAINTY")
