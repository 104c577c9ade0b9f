"""Units of work in processes of this machine, one per core.

A function and its items are sent to fresh processes (spawn, so that no thread or lock is inherited), each
with one OpenCV and one torch thread. What a unit writes must depend on its item alone; then the number of
workers changes nothing but the time.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from handgen.errors import HandgenError

Item = TypeVar("Item")
Result = TypeVar("Result")

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_QUEUED_PER_WORKER = 2  # items taken ahead of the workers, so that a long lazy sequence is never held whole


def default_workers() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_units(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """`function(item)` of every item, in order of completion.

    With one worker everything runs in this process, in order. `function` and the items must be picklable
    otherwise. An exception in a unit propagates from here; units that have not begun are then cancelled. Ctrl-C
    ends the processes at once: files that a unit writes must appear by renaming.

    Raises HandgenError when a worker process dies.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    if workers == 1:
        with one_thread():
            yield from map(function, items)
        return
    with _one_thread_in_children():
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker)
    waiting = iter(items)
    try:
        running: set[Future[Result]] = set()
        while True:
            free = workers * _QUEUED_PER_WORKER - len(running)
            with _one_thread_in_children(), _deaf_children():  # processes are started when work is submitted
                running |= {pool.submit(function, item) for item in islice(waiting, free)}
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    except (KeyboardInterrupt, GeneratorExit):
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    except BrokenProcessPool:
        raise HandgenError(
            "a worker process died, perhaps for want of memory; what was finished is kept: run it again, "
            "with fewer --workers if it repeats (a script needs `if __name__ == '__main__':` around its call)"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes started inside do not hear Ctrl-C, which a terminal sends to all: this process ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    """First thing in a worker process; torch, where it is used, has its one thread from the environment."""
    import cv2

    cv2.setNumThreads(1)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One OpenCV and one torch thread in this process, for a while."""
    import cv2

    cv2_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    torch = sys.modules.get("torch")
    torch_threads = torch.get_num_threads() if torch else 1
    if torch:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(cv2_threads)
        if torch:
            torch.set_num_threads(torch_threads)


@contextlib.contextmanager
def _one_thread_in_children() -> Iterator[None]:
    """Environment for processes started inside: numerical libraries read it once, when they are loaded."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
