"""Judge the outcomes of `wrong_input.py`: what was wrong in silence, what was named, what was refused though right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from wrong_input_cases import Case
from wrong_input_right import INTACT, RIGHT
from wrong_input_run import CASES, Outcome, reference_name
from wrong_input_words import ALARMS, find_word, new_lines, shortened
from wrong_input_wrong import WRONG

WRONG_FACTOR = 3.0  # times the intact run's 95th percentile
MOST_LOST = 0.05  # of the intact run's hands
GROUPS: dict[str, Sequence[Case]] = {"wrong": WRONG, "right": RIGHT, "intact": INTACT}


@dataclass(frozen=True)
class Real:
    """Holds the options of annotate for a real capture, and what is known to be wrong with it."""

    options: list[str]
    known: tuple[str, ...] = ()


REAL = {
    "desk_two_views": Real(["--metres-per-unit", "auto", "--hands", "right"]),
    "room_four_views": Real([], ("late",)),  # one camera is late by part of a frame
}
# name -> (what, target, whether more is better)
TARGETS: dict[str, tuple[str, float | None, bool]] = {
    "silent_wrong": ("wrong: accepted views with a wrong label where nothing names the cause", 0, False),
    "named": ("wrong: share of inputs whose cause is named by its word", 0.9, True),
    "right_refused": ("right: inputs refused, or losing over 5 % of the hands", 0, False),
    "false_alarms": ("intact: captures of which a camera, clock or unit is suspected", 0, False),
    "silent_inputs": ("wrong: inputs with wrong labels where nothing names the cause", None, False),
    "healed": ("wrong: inputs where all labels are right and hardly a hand is lost", None, True),
    "crashed": ("all: inputs that end in a traceback", None, False),
    "skipped": ("all: inputs that could not be made here", None, False),
    "wrong_inputs": ("wrong: inputs", None, True),
    "right_inputs": ("right: inputs", None, True),
    "intact_inputs": ("intact: captures, real ones included", None, True),
    "seconds": ("time of all inputs, one after the other, s", None, False),
}


@dataclass(frozen=True)
class Judged:
    """Holds one input and its verdict.

    group: wrong, right, intact or real. said: the line that names the cause, or raises the alarm. wrong_views: accepted
    views whose label is wrong. lost: share of the intact run's hands that are not accepted with a right label.
    """

    outcome: Outcome
    group: str
    kind: str
    said: str | None
    wrong_views: int
    lost: float
    limit_px: float

    @property
    def silent_wrong(self) -> int:
        """Count the wrong views of an input whose cause nothing names."""
        return 0 if self.said else self.wrong_views

    @property
    def refused(self) -> bool:
        """Say whether annotate failed, or lost more hands than it may."""
        failed = any(status and name.startswith("annotate") for name, status in self.outcome.statuses.items())
        return failed or self.lost > MOST_LOST or self.outcome.crashed is not None


def judge(outcome: Outcome, found: Mapping[str, Outcome]) -> Judged:
    """Compare an outcome with the intact run of the same base."""
    if outcome.name not in CASES:
        known = REAL[outcome.name.removeprefix("real_")].known
        said = find_word(outcome.lines, [kind for kind in ALARMS if kind not in known])
        return Judged(outcome, "real", "real", said, 0, 0.0, np.inf)
    case = CASES[outcome.name]
    group = next(group for group, cases in GROUPS.items() if case in cases)
    intact = found[reference_name(case)]
    if not intact.labels and not outcome.skipped:
        outcome = replace(outcome, skipped="the intact run accepted nothing")
    limit = WRONG_FACTOR * intact.p95_px
    wrong_views = sum(label.error_px > limit for label in outcome.labels)
    expected = {hand for hand in intact.good_hands(limit) if hand[0] in outcome.frames}
    lost = len(expected - outcome.good_hands(limit)) / len(expected) if expected else 0.0
    if group == "wrong":
        said = None if outcome.crashed else find_word(new_lines(outcome.lines, intact.lines), case.words)
    else:
        said = find_word(outcome.lines, ALARMS) if group == "intact" else None
    return Judged(outcome, group, case.kind, said, wrong_views, lost, limit)


def summarise(judged: Sequence[Judged]) -> dict[str, float]:
    """Return all figures; inputs that could not be made count as skipped alone."""
    made = [one for one in judged if not one.outcome.skipped]
    wrong = [one for one in made if one.group == "wrong"]
    right = [one for one in made if one.group == "right"]
    intact = [one for one in made if one.group in ("intact", "real")]
    figures: dict[str, float] = {
        "crashed": sum(one.outcome.crashed is not None for one in made),
        "skipped": len(judged) - len(made),
        "wrong_inputs": len(wrong),
        "right_inputs": len(right),
        "intact_inputs": len(intact),
        "seconds": sum(one.outcome.seconds for one in made),
    }
    if wrong:
        figures |= {
            "silent_wrong": sum(one.silent_wrong for one in wrong),
            "named": sum(one.said is not None for one in wrong) / len(wrong),
            "silent_inputs": sum(one.silent_wrong > 0 for one in wrong),
            "healed": sum(not one.wrong_views and not one.refused for one in wrong),
        }
    if right:
        figures["right_refused"] = sum(one.refused for one in right)
    if intact:
        figures["false_alarms"] = sum(one.said is not None or one.outcome.crashed is not None for one in intact)
    return figures


def print_cases(judged: Sequence[Judged]) -> None:
    """Print a line per input: views accepted and wrong, the limit, hands lost, seconds, what was said."""
    print(f"{'input':38} {'group':6} {'views':>5} {'wrong':>5} {'> px':>6} {'px':>7} {'lost':>5} {'s':>5}  said")
    for one in judged:
        outcome = one.outcome
        errors = [label.error_px for label in outcome.labels]
        median = f"{np.median(errors):7.1f}" if errors else f"{'-':>7}"
        said = f"crashed: {outcome.crashed}" if outcome.crashed else one.said or "-"
        if outcome.skipped:
            said = f"skipped: {outcome.skipped}"
        elif one.group == "right" and one.refused and not outcome.crashed:
            said = f"refused: {error_line(outcome)}"
        print(
            f"{outcome.name:38} {one.group:6} {len(errors):5d} {one.wrong_views:5d} {one.limit_px:6.1f} {median} "
            f"{one.lost:5.0%} {outcome.seconds:5.1f}  {shortened(said, 120)}"
        )


def error_line(outcome: Outcome) -> str:
    """Return the first line of an error, else nothing."""
    return next((line for line in outcome.lines if line.startswith("Error")), "hands lost")


def markdown(judged: Sequence[Judged]) -> str:
    """Return a table of the kinds of wrong input with what is said of each."""
    rows = ["| what is wrong | inputs | named | what handgen says |", "| --- | --- | --- | --- |"]
    kinds: dict[str, list[Judged]] = {}
    for one in judged:
        if one.group == "wrong" and not one.outcome.skipped:
            kinds.setdefault(one.kind, []).append(one)
    for kind, members in kinds.items():
        said = [one.said for one in members if one.said]
        line = f"`{shortened(said[0])}`" if said else "nothing yet"
        rows.append(f"| {kind} | {len(members)} | {len(said)} | {line} |")
    return "\n".join(rows)
