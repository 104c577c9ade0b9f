"""The tables of benchmarks: what was measured and what was asked, printed; and lines put into a document."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

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


def replace_between(path: Path, markers: tuple[str, str], lines: Sequence[str]) -> None:
    """Replace what stands between two markers of a file."""
    text = path.read_text("utf-8")
    start, end = (re.escape(marker) for marker in markers)
    body = "\n".join([markers[0], "", *lines, "", markers[1]])
    new, count = re.subn(f"{start}.*?{end}", lambda _: body, text, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{path}: the markers of the table ({markers[0]}) are not there once; put them back")
    path.write_text(new, "utf-8")
