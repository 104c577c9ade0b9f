"""What a metric is: it measures matched hands, and says in a line what it found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

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
    has_own_key: whether the schema of `evaluation.json` knows it by its name; else it is found under `metrics`. empty:
    what stands there when nothing was measured.
    """

    measure: Callable[[Matched], Value | None]
    facts: Callable[[Value], Facts]
    has_own_key: bool = False
    empty: Any = None
