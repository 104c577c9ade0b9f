"""Progress of a stage: the callback that it reports to, and what shows it: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from handgen.wording import printable

Progress = Callable[[str, int, int], None]  # what is being done, units done, units in all

_LINE_SHARE = 0.1  # of a step between two lines
_LINE_S, _LONGEST_S = 10.0, 60.0  # at most between two lines: at first, and after a long time
_SHORTEST_S = 1.0  # at least between two lines, but for the last


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Yield a callback (what is being done, units done, units in all) that shows it on standard error.

    A terminal has a bar per step. Elsewhere, as in a file or a pipe, lines are printed when a step begins, with every
    tenth of it, every ten seconds (every minute of a long run) and at its end.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield _Lines().report
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<16}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns, console=Console(stderr=True), refresh_per_second=5)
    tasks: dict[str, TaskID] = {}

    def report(what: str, done: int, total: int) -> None:
        if not tasks:
            progress.start()  # not earlier: an error before the first step leaves one line and nothing else
        if what not in tasks:
            tasks[what] = progress.add_task(printable(what))
        progress.update(tasks[what], completed=done, total=total)

    try:
        yield report
    finally:
        if tasks:
            progress.stop()


@dataclass
class _Step:
    """A step that lines are printed of. began: units that were done then; shown: those of the last line."""

    began: int
    began_s: float
    shown: int
    shown_s: float


@dataclass
class _Lines:
    """Prints lines about steps, now and then. clock: in seconds."""

    clock: Callable[[], float] = time.monotonic
    steps: dict[str, _Step] = field(default_factory=dict)

    def report(self, what: str, done: int, total: int) -> None:
        """Take what progress says, and print it where a line is due."""
        now = self.clock()
        step = self.steps.get(what)
        if step is None:
            self.steps[what] = _Step(done, now, done, now)
            _print(f"{what}: {done} of {total}")
            return
        since_s, so_far_s = now - step.shown_s, now - step.began_s
        ends = done >= total > step.shown
        due = since_s >= min(_LONGEST_S, max(_LINE_S, so_far_s / 20)) or done - step.shown >= _LINE_SHARE * total
        if not ends and (done == step.shown or since_s < _SHORTEST_S or not due):
            return
        step.shown, step.shown_s = done, now
        if ends:
            _print(f"{what}: {done} of {total}, in {_duration(so_far_s)}")
        else:
            left_s = so_far_s * (total - done) / max(done - step.began, 1)
            _print(f"{what}: {done} of {total}, {_duration(left_s)} left")


def _print(line: str) -> None:
    with suppress(OSError, ValueError):  # nobody reads it any more
        print(printable(line), file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
