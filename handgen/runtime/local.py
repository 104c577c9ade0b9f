"""Units of work in fresh processes of this machine, one per core, each with one OpenCV and one torch thread."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, TypeVar

from handgen.errors import HandgenError
from handgen.runtime import messages

Item = TypeVar("Item")
Result = TypeVar("Result")

# Environment of processes that work: numerical libraries read it once, when they are loaded.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_QUEUED_PER_WORKER = 2  # items taken ahead of the workers, so that a long lazy sequence is never held whole
_LISTEN_S = 0.2  # how often the run hears how far its units are
_MOST_DEATHS = 3  # of worker processes, with no unit finished in between
_END = object()

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LocalEngine:
    """Processes of this machine. workers: how many, or None for one per core."""

    workers: int | None = None

    def map_units(self, function: Callable[[Item], Result], items: Iterable[Item], count: int) -> Iterator[Result]:
        """Do the items as `handgen.runtime.engines.Engine` says: in no more processes than items, a single one here."""
        return map_units(function, items, max(1, min(self.workers or default_workers(), count)))


def default_workers() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_units(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """`function(item)` of every item, in order of completion, as of `Engine.map_units`; one worker is this process.

    Ctrl-C ends the processes at once: files that a unit writes must appear by renaming. When a worker dies, what it and
    the others were doing is done again, by one worker less: it may have been killed for want of memory.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    if workers == 1:
        with limit_threads():
            yield from map(function, items)
        return
    work = _Work(items)
    with _Mailbox() as mailbox:
        while not work.is_done:
            try:
                yield from _in_pool(function, work, workers, mailbox)
            except BrokenProcessPool:
                work.deaths += 1
                if work.deaths == _MOST_DEATHS:
                    raise HandgenError(
                        "worker processes die, perhaps for want of memory; what was finished is kept: run it again, "
                        "with fewer --workers if it repeats (a script needs `if __name__ == '__main__':` around its "
                        "call)"
                    ) from None
                workers = max(1, workers - 1)
                log.warning("a worker process died, perhaps for want of memory; going on with %d", workers)


class _Mailbox:
    """Messages of worker processes: a thread logs what they log, `tell` passes on in this one how far units are."""

    def __init__(self) -> None:
        self._reader, self.writer = multiprocessing.Pipe(duplex=False)
        self._heard = messages.current_listener()
        self._told: dict[int, float] = {}
        self._thread = threading.Thread(target=self._read, name="handgen-messages", daemon=True)

    @property
    def wait_s(self) -> float | None:
        """The longest time between two calls of `tell`; None where nobody hears."""
        return _LISTEN_S if self._heard else None

    def tell(self) -> None:
        """Say how far units are that have sent something since the last time."""
        while self._heard and self._told:
            self._heard(*self._told.popitem())

    def _read(self) -> None:
        while message := self._reader.recv_bytes():
            with contextlib.suppress(ValueError, KeyError, TypeError):  # this thread must go on, or workers would wait
                if (told := messages.deliver(message)) is not None:
                    self._told[told[0]] = told[1]

    def __enter__(self) -> _Mailbox:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.send_bytes(b"")  # after the last message of workers, which have ended
        self._thread.join()
        self.writer.close()
        self._reader.close()


class _Work:
    """Items that are still to be done. deaths: how many workers died since a unit was finished last."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = iter(items)
        self._given_back: list[Any] = []
        self.is_done = False
        self.deaths = 0

    def take(self) -> Any:
        """Return the next item, or `_END`."""
        return self._given_back.pop(0) if self._given_back else next(self._items, _END)

    def give_back(self, items: Iterable[Any]) -> None:
        """Put back items that were taken and not finished."""
        self._given_back += items


def _in_pool(function: Callable[[Any], Result], work: _Work, workers: int, mailbox: _Mailbox) -> Iterator[Result]:
    """Yield the results of a pool of processes until all is done; BrokenProcessPool when one of them dies."""
    with _limit_threads_in_children():
        pool = ProcessPoolExecutor(
            workers,
            multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(function, mailbox.writer, messages.log_level()),
        )
    running: dict[Future[Result], Any] = {}
    try:
        while True:
            while len(running) < workers * _QUEUED_PER_WORKER and (item := work.take()) is not _END:
                try:
                    with _limit_threads_in_children(), _children_ignore_interrupts():  # submitting starts processes
                        running[pool.submit(_do, item)] = item
                except BrokenProcessPool:
                    work.give_back([item])
                    raise
            if not running:
                work.is_done = True
                return
            done, _ = wait(running, timeout=mailbox.wait_s, return_when=FIRST_COMPLETED)
            mailbox.tell()
            for future in done:
                result = future.result()
                del running[future]
                work.deaths = 0
                yield result
    except BrokenProcessPool:
        finished = [future for future in running if future.done() and future.exception() is None]
        for future in finished:
            del running[future]
            yield future.result()
        work.give_back(running.values())
        raise
    except (KeyboardInterrupt, GeneratorExit):
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _children_ignore_interrupts() -> Iterator[None]:
    """Let processes started inside ignore Ctrl-C, which a terminal sends to all: this process ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_function: Callable[[Any], Any] | None = None  # of this worker process


def _start_worker(function: Callable[[Any], Any], writer: connection.Connection, level: int) -> None:
    """Prepare a worker process; torch, where it is used, takes its one thread from the environment.

    writer: takes the worker's messages, and what it logs from `level` on.
    """
    import cv2

    global _function
    _function = function
    cv2.setNumThreads(1)
    messages.send_with(writer.send_bytes, level)
    threading.Thread(target=_end_with_parent, name="handgen-parent", daemon=True).start()


def _do(item: Any) -> Any:
    assert _function is not None
    try:
        return _function(item)
    except Exception as error:
        if (sent := make_sendable(error)) is not error:
            raise sent from None
        raise


def make_sendable(error: Exception) -> Exception:
    """Return an exception that another process can read; of some classes a RuntimeError that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:  # whatever such a class does when it is copied
        return RuntimeError(f"{type(error).__name__}: {error}")


def _end_with_parent() -> None:
    """End this worker when its parent is killed: it would wait for ever, and write beside the run that follows."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


@contextlib.contextmanager
def limit_threads() -> Iterator[None]:
    """Use one OpenCV and one torch thread in this process while the block lasts."""
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
def _limit_threads_in_children() -> Iterator[None]:
    """Put `ONE_THREAD` into the environment of processes started inside."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
