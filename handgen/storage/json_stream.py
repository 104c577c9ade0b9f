"""Read JSON files of gigabytes value by value, holding a window of the file and one value in memory.

The standard library's decoder finds where a value ends; one that the window cuts off is decoded again when more of the
file is there. Text is taken byte by byte (Latin-1), so that a place in the text is a place in the file, and a value can
be read again alone (`read_value`), as what it is: UTF-8.

ijson takes two thirds of the time, but does not say where in the file a value lies, which the readers of data sets keep
instead of the value; it holds a value of any size; and it names no byte of a damaged file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from handgen.errors import HandgenError, explain_unreadable
from handgen.storage import filesystem, limits
from handgen.storage.documents import loads
from handgen.storage.json_bounds import nesting

_PLACE_BYTES, _KEYED_BYTES = 128, 320  # of memory that readers keep of an entry, besides its keys
_WINDOW_BYTES = 4 * 2**20
_SPACE = re.compile(r"[ \t\r\n]*")
_DELIMITER = re.compile(r"[ \t\r\n,\]}]")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Entry:
    """A value in a file, by keys, first byte and length; text in it that is not ASCII must be read again."""

    keys: tuple[str, ...]
    first: int
    length: int
    value: Any


def list_entries(path: Path, key: str | None = None) -> Iterator[Entry]:
    """Yield the entries of the list under `key`, or of a list itself; HandgenError for a file that has none."""
    with _open_stream(path) as stream:
        if key is None:
            yield from (Entry((), *found) for found in stream.elements())
            return
        for name in stream.members():
            if name == key and stream.peek() == "[":
                yield from (Entry((key,), *found) for found in stream.elements())
                return
            stream.skip()
        raise HandgenError(f"{path}: has no list {key!r}; is this the right file?")


def list_items(path: Path, key: str) -> Iterator[tuple[str, Any]]:
    """Yield a file in parts: an item at a time of the list that an object has under `key`, or of a list itself.

    Items have the name "", the object's other members their own, in the file's order. Errors as of `list_entries`.
    """
    with _open_stream(path) as stream:
        has_list = stream.peek() == "["
        if has_list:
            yield from (("", item) for item in stream.items())
        else:
            for name in stream.members():
                if name == key and stream.peek() == "[":
                    has_list = True
                    yield from (("", item) for item in stream.items())
                else:
                    value = stream.text_value()
                    if name != key:
                        yield name, value
        if stream.peek():
            stream.fail()
    if not has_list:
        raise HandgenError(f"{path}: has no list {key!r}; is this the right file?")


def nested_entries(path: Path) -> Iterator[Entry]:
    """Yield the values of an object of objects, with both keys; HandgenError for a file that is something else."""
    with _open_stream(path) as stream:
        for outer in stream.members():
            for inner in stream.members():
                stream.charge(_KEYED_BYTES + len(outer) + len(inner))
                yield Entry((outer, inner), *stream.value())


def read_value(file: BinaryIO, first: int, length: int, where: str) -> Any:
    """Read a value whose place is known."""
    file.seek(first)
    return loads(file.read(length), where)


@contextmanager
def _open_stream(path: Path) -> Iterator[_Stream]:
    with explain_unreadable(path):
        file = filesystem.open_read(path)
    with file:
        yield _Stream(file, str(path))


class _Stream:
    """A file that is read from its beginning to its end. pos: in the window, which begins at byte `base`."""

    def __init__(self, file: BinaryIO, where: str) -> None:
        self._file, self._where = file, where
        self._text, self._base, self._pos, self._at_end = "", 0, 0, False
        self._kept, self._most_kept = 0, limits.STREAM_INDEX.allowed
        self._most_nesting = limits.NESTING.allowed

    def members(self) -> Iterator[str]:
        """Yield the keys of an object; the caller takes each key's value before the next."""
        for _ in self._items("{", "}"):
            key = self.text_value()
            if not isinstance(key, str):
                self.fail()
            self._expect(":")
            yield key

    def elements(self) -> Iterator[tuple[int, int, Any]]:
        """Yield first byte, number of bytes and value of each element of a list."""
        for _ in self._items("[", "]"):
            self.charge(_PLACE_BYTES)
            yield self.value()

    def items(self) -> Iterator[Any]:
        """Yield the elements of a list, their text as it is."""
        for _ in self._items("[", "]"):
            self.charge(_PLACE_BYTES)
            yield self.text_value()

    def value(self) -> tuple[int, int, Any]:
        """Return the value that comes next."""
        is_closed = self.peek() in '{["'  # others end where something else begins
        while True:
            try:
                if is_closed or self._at_end or _DELIMITER.search(self._text, self._pos):
                    found, end = _DECODER.raw_decode(self._text, self._pos)
                    break
            except json.JSONDecodeError:
                if self._at_end:
                    self.fail()
            except RecursionError:
                text = self._text[self._pos :].encode("latin-1")
                limits.NESTING.check(nesting(text), self._place(), "flatten it")
                self.fail()
            except ValueError:
                self.fail()
            cut_off = len(self._text) - self._pos
            limits.ENTRY.check(cut_off, self._place())
            # What a window cuts off is decoded a second time; what is longer a third time, with all that is allowed.
            self._read_more(limits.ENTRY.allowed + 1 - cut_off if cut_off >= _WINDOW_BYTES - 1 else _WINDOW_BYTES)
        if self._text.count("[", self._pos, end) + self._text.count("{", self._pos, end) > self._most_nesting:
            text = self._text[self._pos : end].encode("latin-1")
            limits.NESTING.check(nesting(text), self._place(), "flatten it")
        first, length = self._base + self._pos, end - self._pos
        self._pos = end
        return first, length, found

    def text_value(self) -> Any:
        """Return the value that comes next, its text as it is."""
        _, length, found = self.value()
        text = self._text[self._pos - length : self._pos]
        if text.isascii():
            return found
        try:
            return json.loads(text.encode("latin-1").decode("utf-8"))
        except ValueError:
            self.fail()

    def charge(self, count: int) -> None:
        """Count bytes of memory that are kept of an entry, and refuse too many."""
        self._kept += count
        if self._kept > self._most_kept:
            limits.STREAM_INDEX.check(self._kept, self._place(), "divide it into several files")

    def skip(self, level: int = 1) -> None:
        """Pass over the value that comes next, however large. level: how deep it lies."""
        limits.NESTING.check(level, self._place(), "flatten it")
        start = self.peek()
        if start == "[":
            for _ in self._items("[", "]"):
                self.value()
        elif start == "{":
            for _ in self.members():
                self.skip(level + 1)
        else:
            self.value()

    def peek(self) -> str:
        """Return the character that comes next after white space, or nothing."""
        while True:
            match = _SPACE.match(self._text, self._pos)
            assert match is not None
            self._pos = match.end()
            if self._pos < len(self._text):
                return self._text[self._pos]
            if self._at_end:
                return ""
            self._read_more(_WINDOW_BYTES)

    def _items(self, start: str, end: str) -> Iterator[None]:
        self._expect(start)
        if self.peek() == end:
            self._pos += 1
            return
        while True:
            yield
            if self.peek() == end:
                self._pos += 1
                return
            self._expect(",")

    def _expect(self, character: str) -> None:
        if self.peek() != character:
            self.fail()
        self._pos += 1

    def _read_more(self, count: int) -> None:
        block = self._file.read(count)
        self._at_end = not block
        self._text = self._text[self._pos :] + block.decode("latin-1")
        self._base, self._pos = self._base + self._pos, 0

    def _place(self) -> str:
        return f"{self._where}: byte {self._base + self._pos}"

    def fail(self) -> NoReturn:
        """Raise a HandgenError that names the place."""
        raise HandgenError(
            f"{self._where}: not the JSON that it should be, at byte {self._base + self._pos}; is the file truncated?"
        )
