"""Lines of a report besides those of its metrics."""

from __future__ import annotations

from handgen.stages.evaluate.distributions import spread
from handgen.stages.evaluate.leave_one_out import LeaveOneOut
from handgen.stages.evaluate.results import Coverage


def coverage_lines(found: Coverage) -> list[tuple[str, str]]:
    """How many hands were compared, found and invented."""
    share = "-" if found.annotated_share is None else f"{100 * found.annotated_share:.1f} %"
    hidden = f"; {found.unjudged_hands} of hands that no view shows" if found.unjudged_hands else ""
    return [
        ("frames compared", str(found.frames)),
        ("hands annotated", f"{share} ({found.annotated_hands} of {found.truth_hands})"),
        ("false hands", f"{found.false_hands}, of these {found.wrong_side_hands} of the wrong side{hidden}"),
    ]


def left_out_lines(found: LeaveOneOut) -> list[tuple[str, str]]:
    """How far hands are from the detections of a view that they were fitted without."""
    return [
        (f"left-out view, {found.hands} hands", spread(found.error_px, "px")),
        ("at the hand's depth", spread(found.error_mm, "mm")),
    ]
