"""Messages of units while they run: in this process and from workers, and what a run makes of them."""

import logging
import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from handgen.runtime import messages
from handgen.runtime.local import LocalEngine, map_units
from handgen.runtime.resumable_run import Units, map_missing

log = logging.getLogger("handgen.test_messages")
LONG = "a long word " * 2000  # several messages of a pipe's atomic size


def slow_frames(number):
    """A unit of four frames, slower than messages are rare."""
    for _ in messages.advancing(range(4)):
        time.sleep(0.12)
    return number


def says(text, number):
    log.info("unit %d: %s", number, text)
    log.debug("a detail")
    return number


def dies_once(folder, number):
    """The first time it is killed in the middle, after some frames."""
    marker = Path(folder, f"died_{number}")
    for _ in messages.advancing(range(4)):
        time.sleep(0.12)
        if number == 1 and not marker.exists():
            marker.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
    return number


def floods(number):
    for _ in range(300):
        log.info("%s", "x" * 600)
    if number == 0:
        raise ValueError("the first unit fails")
    return number


def shown(engine, function, units=2, size=4):
    """The progress of a run over units."""
    seen = []
    steps = Units("step", [size] * units, function)
    results = dict(map_missing(steps, (), engine, lambda what, done, total: seen.append((done, total))))
    assert sorted(results.values()) == list(range(units))
    return seen


def test_progress_moves_within_a_unit_of_this_process():
    seen = shown(LocalEngine(1), slow_frames)
    assert {done for done, _ in seen} == set(range(9)) and seen[-1] == (8, 8)  # frames are slower than messages


@pytest.mark.slow
def test_progress_moves_within_units_of_workers():
    seen = shown(LocalEngine(2), slow_frames)
    done = [done for done, _ in seen]
    assert len(set(done)) >= 4 and done == sorted(done)  # 0, the end, and at least two steps on the way
    assert seen[-1] == (8, 8) and max(done) == 8


@pytest.mark.slow
def test_a_worker_that_is_killed_in_the_middle_of_a_unit_neither_blocks_nor_counts_twice(tmp_path):
    seen = shown(LocalEngine(2), partial(dies_once, str(tmp_path)), units=3)
    assert (tmp_path / "died_1").exists()
    assert seen[-1] == (12, 12) and max(done for done, _ in seen) == 12


def test_more_than_a_units_size_is_never_counted():
    def overdone(number):
        messages.advance(99)
        return number

    assert all(done <= 8 for done, _ in shown(LocalEngine(1), overdone))


@pytest.mark.slow
@pytest.mark.parametrize("level", [logging.WARNING, logging.INFO, logging.DEBUG])
def test_what_workers_log_arrives_here_at_the_level_of_this_process(caplog, level):
    with caplog.at_level(level):
        assert sorted(map_units(partial(says, LONG), range(3), 2)) == [0, 1, 2]
    records = [record for record in caplog.records if record.name == "handgen.test_messages"]
    text = "".join(record.getMessage() for record in records if record.levelno == logging.INFO)
    assert text.count("a long word") == (0 if level > logging.INFO else 3 * 2000)
    assert sum(record.levelno == logging.DEBUG for record in records) == (3 if level == logging.DEBUG else 0)


@pytest.mark.slow
def test_workers_that_log_much_do_not_hang_when_a_unit_fails(caplog):
    """More than a pipe holds, while the run waits for the workers to end."""
    with caplog.at_level(logging.INFO), pytest.raises(ValueError, match="the first unit fails"):
        list(map_units(floods, range(4), 2))
    assert not [thread for thread in threading.enumerate() if thread.name == "handgen-messages"]


def test_outside_of_a_unit_nothing_happens():
    heard = []
    with messages.listen(lambda *told: heard.append(told)):
        messages.advance()
        assert list(messages.advancing("ab")) == ["a", "b"]
    assert heard == []


def test_messages_are_rare():
    """At most ten a second, whatever the rate of frames: 5,000 frames take far less than a second of messages."""
    heard = []
    with messages.listen(lambda *told: heard.append(told)), messages.working_on(7):
        began = time.monotonic()
        for _ in messages.advancing(range(5000)):
            pass
        took_s = time.monotonic() - began
    assert 1 <= len(heard) <= 2 + took_s * 10
    assert heard[0] == (7, 1.0)


def test_two_threads_do_not_hear_each_other():
    heard, others = [], []

    def other():
        with messages.listen(lambda *told: others.append(told)), messages.working_on(2):
            messages.advance()

    with messages.listen(lambda *told: heard.append(told)), messages.working_on(1):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        messages.advance()
    assert heard == [(1, 1.0)] and others == [(2, 1.0)]
