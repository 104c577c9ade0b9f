"""The table that benchmarks print: what was measured, and what was asked."""

from __future__ import annotations

import json
from collections.abc import Mapping

# name -> (what, target or None, whether more is better)
Targets = Mapping[str, tuple[str, float | None, bool]]


def report(figures: Mapping[str, float], targets: Targets, as_json: bool) -> None:
    """One flat JSON object, or the table."""
    if as_json:
        print(json.dumps({name: round(value, 4) for name, value in figures.items()}))
    else:
        print_figures(figures, targets)


def print_figures(figures: Mapping[str, float], targets: Targets) -> None:
    """One line per figure that was measured, in the order of the targets."""
    print(f"{'figure':72} {'measured':>10} {'target':>10}")
    for name, (what, target, more_is_better) in targets.items():
        if name in figures:
            aim = "" if target is None else (">=" if more_is_better else "<=") + format(target, "g")
            print(f"{what:72} {figures[name]:10.4g} {aim:>10}")
