"""Metrics by name, in the order in which they are printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from handgen.plugins import Registry
from handgen.stages.evaluate.matched import Matched

Value = TypeVar("Value")
Facts = list[tuple[str, str]]  # name and text with its unit, as `evaluate` prints them


class NotMeasuredError(Exception):
    """A metric has no value; the text says why and becomes a note of the report."""


@dataclass(frozen=True)
class Metric(Generic[Value]):
    """One figure, or several that belong together.

    measure: the value, made of numbers, texts, lists, mappings and dataclasses of these, which is what
    `evaluation.json` holds; None or a `NotMeasuredError` where there is nothing to measure. facts: lines to print.
    What `handgen.stages.evaluate.document` has no field for is found under `metrics` there.
    """

    measure: Callable[[Matched], Value | None]
    facts: Callable[[Value], Facts]


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
register_metric("relative_root_mm", f"{_HERE}.keypoints:RELATIVE_ROOT")
register_metric("vertices", f"{_HERE}.vertices:VERTICES")
register_metric("pixels", f"{_HERE}.views:PIXELS")
register_metric("masks", f"{_HERE}.views:MASKS")
register_metric("shapes", f"{_HERE}.over_frames:SHAPES")
register_metric("jitter", f"{_HERE}.over_frames:JITTER")
register_metric("uncertainty", f"{_HERE}.keypoints:UNCERTAINTY")
