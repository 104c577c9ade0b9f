"""Progress where standard error is no terminal: lines now and then, and never an error of their own."""

import sys

import pytest

from handgen.progress import _Lines, progress_bars


class Clock:
    """A clock that the test turns."""

    now = 0.0

    def __call__(self):
        return self.now


def lines_of(capsys):
    return capsys.readouterr().err.splitlines()


def test_a_step_has_a_line_at_its_start_every_tenth_and_its_end(capsys):
    clock = Clock()
    lines = _Lines(clock)
    for done in range(1001):
        clock.now = done * 0.1
        lines.report("detect", done, 1000)
    printed = lines_of(capsys)
    assert printed[0] == "detect: 0 of 1000" and printed[-1] == "detect: 1000 of 1000, in 1 min 40 s"
    assert 10 <= len(printed) <= 13
    assert printed[1] == "detect: 100 of 1000, 1 min 30 s left"  # 10 s for a tenth


def test_a_slow_step_has_a_line_every_ten_seconds_and_a_long_one_every_minute(capsys):
    clock = Clock()
    lines = _Lines(clock)
    for second in range(3600):
        clock.now = second
        lines.report("fit", second, 10**6)
    printed = lines_of(capsys)
    done = [int(line.split()[1]) for line in printed]
    gaps = [later - earlier for earlier, later in zip(done, done[1:], strict=False)]
    assert set(gaps[:10]) == {10} and gaps[-1] == 60 and max(gaps) == 60


def test_a_quick_step_is_not_a_flood(capsys):
    """Everything within one second is a start and an end."""
    lines = _Lines(Clock())
    for done in range(51):
        lines.report("subject", done, 50)
    assert lines_of(capsys) == ["subject: 0 of 50", "subject: 50 of 50, in 0 s"]


def test_steps_are_told_apart_and_what_was_finished_before_is_one_line(capsys):
    lines = _Lines(Clock())
    lines.report("detect", 8, 8)
    lines.report("fit", 3, 8)
    lines.report("fit", 8, 8)
    assert lines_of(capsys) == ["detect: 8 of 8", "fit: 3 of 8", "fit: 8 of 8, in 0 s"]


def test_progress_that_goes_back_is_no_error(capsys):
    """A worker died and its unit is done again."""
    lines = _Lines(Clock())
    for done in (0, 5, 2, 9):
        lines.report("fit", done, 9)
    assert lines_of(capsys)[-1] == "fit: 9 of 9, in 0 s"


def test_nothing_to_do_is_no_division_by_zero(capsys):
    _Lines(Clock()).report("fit", 0, 0)
    assert lines_of(capsys) == ["fit: 0 of 0"]


@pytest.mark.parametrize("broken", ["closed", "pipe", "none"])
def test_a_standard_error_that_nobody_reads_does_not_end_the_run(monkeypatch, tmp_path, broken):
    class Broken:
        def isatty(self):
            return False

        def write(self, text):
            raise BrokenPipeError if broken == "pipe" else ValueError("I/O operation on closed file")

    monkeypatch.setattr(sys, "stderr", None if broken == "none" else Broken())
    reached = []
    with progress_bars() as show:
        for done in range(3):
            show("fit", done, 2)
            reached.append(done)
    assert reached == [0, 1, 2]


def test_a_terminal_has_bars(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress_bars() as show:
        show("fit", 0, 3)
        show("fit", 3, 3)
    assert "3/3" in capsys.readouterr().err
