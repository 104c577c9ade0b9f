"""Note down what of an output directory is finished: a line of JSON per unit of work.

A rerun reads a few files instead of every shard or chunk. Each run writes a file of its own, `.journal/000003.jsonl`:
on a disk a line at a time, synced at most every `_SYNC_EVERY_S`; in a store, which cannot append, the whole file again
at most every `_PUT_EVERY_S`.
What a killed run did not note is looked at again. The journal decides no bytes; losing it costs time.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from handgen.errors import HandgenError
from handgen.storage import filesystem, limits
from handgen.storage.documents import dumps, loads, validate
from handgen.storage.filesystem import Location

JOURNAL, SCHEMA = ".journal", "journal"
_NAME = re.compile(r"[0-9]{6,18}\.jsonl")
_SYNC_EVERY_S = 1.0  # a power failure costs the notes of that long, a kill none
_PUT_EVERY_S = 10.0
_PUT_AT_ONCE = 2**20  # bytes of one file in a store: then the next one is begun


class Journal:
    """The notes of `root`: by the unit's number what is known of it, as one dictionary.

    Made by the one process that holds the directory. check: called before a unit is noted; raises when it does not
    hold the directory any more (`handgen.storage.lock.WriteLock`).
    """

    def __init__(self, root: Location, check: Callable[[], None] = lambda: None) -> None:
        self._folder = root / JOURNAL
        self._check = check
        self.entries: dict[int, dict[str, Any]] = {}
        there = sorted(name for name in filesystem.file_sizes(self._folder) if _NAME.fullmatch(name))
        for name in there:
            for line in filesystem.read(self._folder / name, limits.NOTES).splitlines():
                with suppress(HandgenError):  # the last one may be torn, and somebody else may have written others
                    entry = loads(line, name)
                    validate(entry, SCHEMA, name)
                    self.entries[entry["unit"]] = entry["found"]
        self._number = int(there[-1].partition(".")[0]) + 1 if there else 0
        self._file: BinaryIO | None = None
        self._synced_at = -_SYNC_EVERY_S
        self._unsent: list[bytes] = []
        self._sent_at = time.monotonic()

    def add(self, unit: int, found: dict[str, Any]) -> None:
        """Note what a unit became."""
        self._check()
        self.entries[unit] = found
        line = dumps({"unit": unit, "found": found})
        path = self._folder / self._name
        if isinstance(path, Path):
            if self._file is None:
                path.parent.mkdir(exist_ok=True)
                while os.path.lexists(path):  # a link, folder or pipe, which is no notes
                    self._number += 1
                    path = path.with_name(self._name)
                self._file = path.open("xb", buffering=0)
            try:
                self._file.write(line)
                if time.monotonic() - self._synced_at > _SYNC_EVERY_S:
                    self._sync()
            except OSError as error:
                error.filename = str(path)  # a full disk does not say it
                raise
            return
        self._unsent.append(line)
        if time.monotonic() - self._sent_at > _PUT_EVERY_S:
            self._send(path)

    def close(self) -> None:
        """Send what is not sent yet."""
        if self._file is not None:
            self._sync()
            self._file.close()
            self._file = None
        if self._unsent:
            self._send(self._folder / self._name)

    @property
    def _name(self) -> str:
        return f"{self._number:06d}.jsonl"

    def _sync(self) -> None:
        assert self._file is not None
        os.fsync(self._file.fileno())
        self._synced_at = time.monotonic()

    def _send(self, path: Location) -> None:
        filesystem.put(path, b"".join(self._unsent))
        self._sent_at = time.monotonic()
        if sum(map(len, self._unsent)) > _PUT_AT_ONCE:
            self._unsent.clear()
            self._number += 1
