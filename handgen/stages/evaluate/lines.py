"""A report's figures as lines of text: what the command prints and the page shows first."""

from __future__ import annotations

from handgen.stages.evaluate.distributions import spread
from handgen.stages.evaluate.metrics.registry import all_metrics
from handgen.stages.evaluate.report import Report


def facts_of(report: Report) -> list[tuple[str, str]]:
    """Name and text with its unit, in the order in which they matter."""
    facts: list[tuple[str, str]] = []
    if report.truth:
        facts += [("truth", report.truth.path), *_coverage(report)]
        for name, metric in all_metrics():
            if (value := report.metrics.get(name)) is not None:
                facts += metric.facts(value)
    if report.leave_one_out:
        found = report.leave_one_out
        facts.append((f"left-out view, {found.hands} hands", spread(found.error_px, "px")))
        facts.append(("at the hand's depth", spread(found.error_mm, "mm")))
    return facts


def _coverage(report: Report) -> list[tuple[str, str]]:
    found = report.coverage
    if found is None:
        return []
    share = "-" if found.annotated_share is None else f"{100 * found.annotated_share:.1f} %"
    hidden = f"; {found.unjudged_hands} of hands that no view shows" if found.unjudged_hands else ""
    return [
        ("frames compared", str(found.frames)),
        ("hands annotated", f"{share} ({found.annotated_hands} of {found.truth_hands})"),
        ("false hands", f"{found.false_hands}, of these {found.wrong_side_hands} of the wrong side{hidden}"),
    ]
