"""Messages of units of work while they run: how far they are, and what they log.

A unit calls `advance` after each of its frames, or wraps what it goes through in `advancing`. The run hears of it by
`listen`. An engine whose units run in other processes calls `send_with` there and `deliver` with what arrives here;
without that, progress moves with every unit only. At most ten messages a second tell how far a unit is.
"""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

import orjson

from handgen.storage.documents import dumps

Item = TypeVar("Item")
Listener = Callable[[int, float], None]  # number of a unit, and how much of its size is done

ROOT = "handgen"  # logger of all that is sent
_EVERY_S = 0.1
# Of one message; a longer text is sent in pieces, since a pipe takes PIPE_BUF bytes whole or not at all, without a lock
# that a killed worker could hold. A character is six bytes at most.
_TEXT_CHARACTERS = (select.PIPE_BUF - 200) // 6

_write: Callable[[bytes], None] | None = None  # of a process that works for another one
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@dataclass
class _Unit:
    """The unit that this thread does. told_s: when a message last said how much of it is done."""

    number: int
    done: float = 0.0
    told_s: float = 0.0


_unit: ContextVar[_Unit | None] = ContextVar("unit", default=None)


@contextmanager
def working_on(number: int) -> Iterator[None]:
    """Do a unit of work: `advance` inside is about it."""
    before = _unit.get()
    _unit.set(_Unit(number))
    try:
        yield
    finally:
        _unit.set(before)


def advance(amount: float = 1.0) -> None:
    """Say that so much more of the unit's size is done; outside of a unit nothing happens."""
    unit = _unit.get()
    if unit is None:
        return
    unit.done += amount
    if (now := time.monotonic()) - unit.told_s < _EVERY_S:
        return
    unit.told_s = now
    if _write is not None:
        _write(dumps({"unit": unit.number, "done": unit.done}))
    elif (heard := _listener.get()) is not None:
        heard(unit.number, unit.done)


def advancing(items: Iterable[Item], amount: float = 1.0) -> Iterator[Item]:
    """Yield the items; after the work on each, so much of the unit is done."""
    for item in items:
        yield item
        advance(amount)


@contextmanager
def listen(heard: Listener) -> Iterator[None]:
    """Hear in this thread how far units are, while the block lasts."""
    before = _listener.get()
    _listener.set(heard)
    try:
        yield
    finally:
        _listener.set(before)


def current_listener() -> Listener | None:
    """The function that hears in this thread how far units are."""
    return _listener.get()


def log_level() -> int:
    """The level from which on workers send what they log."""
    return logging.getLogger(ROOT).getEffectiveLevel()


def send_with(write: Callable[[bytes], None], level: int) -> None:
    """Send what units of this process say, and what it logs from `level` on, by `write`, whose OSErrors are ignored."""
    global _write

    def quietly(message: bytes) -> None:
        with suppress(OSError):
            write(message)

    _write = quietly
    logger = logging.getLogger(ROOT)
    logger.handlers, logger.propagate = [_Sender()], False
    logger.setLevel(level)


def is_sending() -> bool:
    """Tell whether `send_with` was called in this process."""
    return _write is not None


class _Sender(logging.Handler):
    """Sends the records of a process that works for another one, long texts in pieces."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        for first in range(0, len(text), _TEXT_CHARACTERS):
            piece = text[first : first + _TEXT_CHARACTERS]
            assert _write is not None
            _write(dumps({"log": record.name[:99], "level": record.levelno, "at": record.created, "text": piece}))


def deliver(message: bytes) -> tuple[int, float] | None:
    """Log what a worker logged; return what a unit says of itself, its number and how much is done."""
    found = orjson.loads(message)
    if "unit" in found:
        return found["unit"], found["done"]
    logger = logging.getLogger(found["log"])
    if logger.isEnabledFor(found["level"]):
        record = logging.makeLogRecord({"name": found["log"], "levelno": found["level"], "msg": found["text"]})
        record.levelname, record.created = logging.getLevelName(found["level"]), found["at"]
        logger.handle(record)
    return None
