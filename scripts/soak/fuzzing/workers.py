"""Processes that run cases; one that dies is itself a fault of the case that it was at."""

from __future__ import annotations

import multiprocessing as mp
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from fuzzing.watch import TooLong, Verdict

_SILENT_S = 400.0  # after which a worker is ended: no case takes so long, even one that ignores its timers
_BEFORE_FIRST_S = 300.0


@dataclass(frozen=True)
class Plan:
    """Say what all workers do. seeds: their folder. keep: where faults are kept, or None."""

    seeds: Path
    seed: int
    cases: int
    readers: tuple[str, ...]
    keep: Path | None


Result = tuple[int, str, int, Verdict]  # number of the case over all readers, reader, its case, what became of it


def run_cases(plan: Plan, workers: int, folder: Path) -> Iterator[Result]:
    """Run all cases of a plan, in whatever order they end. folder: for what they write."""
    context = mp.get_context("spawn")
    running: dict[Connection, _Worker] = {}
    for number in range(workers):
        worker = _Worker(context, plan, number, workers, folder / f"worker{number}")
        running[worker.results] = worker
    try:
        while running:
            ready = wait(list(running), timeout=5.0)
            for connection in ready:
                worker = running[connection]
                try:
                    result = worker.receive()
                except EOFError:
                    yield from _replace(running, connection, f"the process died: exit status {worker.status()}")
                else:
                    if result is not None:
                        yield result
            for connection, worker in list(running.items()):
                if worker.is_silent():
                    worker.end()
                    yield from _replace(running, connection, f"hung: nothing for {_SILENT_S:g} s, despite its timers")
    finally:
        for worker in running.values():
            worker.end()


def _replace(running: dict[Connection, _Worker], connection: Connection, why: str) -> Iterator[Result]:
    """Go on without a process that has ended, or with the next one in its place; yields the fault that it died of."""
    worker = running.pop(connection)
    fault = worker.died(why)
    if fault is not None:
        yield fault
        running[worker.results] = worker


class _Worker:
    """One process, started again after the case that it died of."""

    def __init__(self, context: Any, plan: Plan, number: int, workers: int, folder: Path) -> None:
        self._context, self._plan, self._number, self._workers, self._folder = context, plan, number, workers, folder
        self._at: tuple[int, str, int] | None = None
        self._first = number
        self._start()

    def _start(self) -> None:
        self.results, theirs = self._context.Pipe(duplex=False)
        arguments = (self._plan, self._first, self._workers, self._folder, theirs)
        self._process = self._context.Process(target=_work, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        self._heard = time.monotonic() + _BEFORE_FIRST_S - _SILENT_S

    def receive(self) -> Result | None:
        """Take the next message; EOFError when the process has died, or is done."""
        message = self.results.recv()
        self._heard = time.monotonic()
        if len(message) == 3:
            self._at = message
            return None
        self._at = None
        self._first = message[0] + self._workers
        return message

    def is_silent(self) -> bool:
        """Tell whether nothing was heard of the process for too long."""
        return time.monotonic() - self._heard > _SILENT_S

    def status(self) -> int | None:
        """Return the exit status, minus the signal's number after a signal."""
        self._process.join(10)
        return self._process.exitcode

    def died(self, why: str) -> Result | None:
        """Start again after the case at which the process died; None when it is done.

        Raises RuntimeError when it died at none.
        """
        if self._at is None:
            if self.status() == 0:
                return None
            raise RuntimeError(f"worker {self._number}: {why}, at no case")
        number, reader, case = self._at
        self._at, self._first = None, number + self._workers
        self._start()
        return number, reader, case, Verdict("fault", why)

    def end(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.join(10)


def _work(plan: Plan, first: int, step: int, folder: Path, results: Connection) -> None:
    from fuzzing.cases import BY_NAME, Runner, divide

    _silence(folder)
    runner = Runner(plan.seeds, folder)
    for number, (name, case) in enumerate(divide(plan.cases, plan.readers)):
        if number < first or (number - first) % step:
            continue
        results.send((number, name, case))
        try:
            verdict = runner.run(BY_NAME[name], plan.seed, case, plan.keep)
        except (Exception, TooLong):  # of what this script does itself: also to be mended
            verdict = Verdict("fault", f"in the fuzzer: {traceback.format_exc()}")
        short = Verdict(verdict.outcome, verdict.detail[-8000:], verdict.cpu_s, verdict.peak_bytes)
        results.send((number, name, case, short))


def _silence(folder: Path) -> None:
    """Send what libraries print on their own to a file."""
    folder.mkdir(parents=True, exist_ok=True)
    printed = os.open(folder / "printed.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(printed, 1)
    os.dup2(printed, 2)


def working_folder() -> tempfile.TemporaryDirectory[str]:
    """Make the folder in which a run works: in memory where there is a place for it."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(prefix="handgen-fuzz", dir=memory if os.access(memory, os.W_OK) else None)
