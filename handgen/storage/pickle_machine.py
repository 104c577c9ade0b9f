"""The machine that a pickle is a program for: bytes, a stack with marks, and a memo; it calls nothing.

Opcodes of protocols 0 to 5: https://docs.python.org/3/library/pickletools.html. What a name means and what is made of
it is left to the subclass; persistent identifiers, extension codes and buffers outside the file have no place here.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from typing import Any

from handgen.errors import HandgenError

_MAX_OPCODES = 200_000  # a MANO file has some 500
_MAX_DIGITS = 40
_MAX_INT_BYTES = 8


class DamagedError(Exception):
    """The bytes are no pickle, or say something impossible."""


class PickleMachine:
    """Reads one pickle; where: the file, for messages."""

    def __init__(self, data: bytes, where: str) -> None:
        self.data, self.where, self.at = data, where, 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def read(self) -> Any:
        """Run the opcodes up to STOP."""
        for _ in range(_MAX_OPCODES):
            code = self.take(1)
            if code == b".":
                return self.pop()
            action = _ACTIONS.get(code)
            if action is None:
                raise DamagedError(f"opcode {code!r} at byte {self.at - 1} has no place in it")
            action(self)
        raise HandgenError(f"{self.where}: more than {_MAX_OPCODES} steps to read; is it a file of arrays?")

    # The bytes

    def take(self, count: int) -> bytes:
        """The next bytes."""
        if count < 0 or count > len(self.data) - self.at:
            raise DamagedError("it ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, form: str) -> Any:
        """A number in one of struct's formats."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def sized(self, form: str) -> bytes:
        """Bytes after their count."""
        return self.take(self.number(form))

    def line(self) -> bytes:
        """Bytes up to the end of the line."""
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise DamagedError("it ends too early")
        return self.take(end + 1 - self.at)[:-1]

    def digits(self) -> bytes:
        """A number's line."""
        line = self.line()
        if len(line) > _MAX_DIGITS:
            raise DamagedError("a number is too long")
        return line

    # The stack

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def pop(self) -> Any:
        """Take the last value, if it is above the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise DamagedError("it takes a value that it did not give")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        """Take all values above the last mark, and the mark."""
        if not self.marks:
            raise DamagedError("it takes a value that it did not give")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def remember(self, key: int) -> None:
        """Put the last value into the memo."""
        value = self.pop()
        self.memo[key] = value
        self.push(value)

    def recall(self, key: int) -> None:
        """Push a value of the memo."""
        if key not in self.memo:
            raise DamagedError(f"value {key} is used before it is given")
        self.push(self.memo[key])

    def extend(self, items: list[Any]) -> None:
        """Append to the list on the stack."""
        target = self.pop()
        if type(target) is not list:
            raise DamagedError("it appends to what is no list")
        target.extend(items)
        self.push(target)

    def update(self, items: list[Any]) -> None:
        """Set items, keys and values in turn, of the dictionary on the stack; keys are strings."""
        target = self.pop()
        if type(target) is not dict or len(items) % 2:
            raise DamagedError("it sets items of what is no dictionary")
        if any(type(key) is not str for key in items[::2]):
            raise DamagedError("a dictionary's key is no string")
        target.update(zip(items[::2], items[1::2], strict=True))
        self.push(target)

    # What a subclass decides

    def name(self, module: Any, name: Any) -> None:
        """Push what a name means, or refuse it."""
        raise NotImplementedError

    def reduce(self) -> None:
        """Replace a meaning and its arguments by what is made of them."""
        raise NotImplementedError

    def new_object(self) -> None:
        """Replace the meaning of a class and no arguments by an object."""
        raise NotImplementedError

    def build(self) -> None:
        """Give an object its state."""
        raise NotImplementedError


def _int_line(machine: PickleMachine) -> None:
    line = machine.digits()
    machine.push(line == b"01" if line in (b"00", b"01") else int(line))


def _long(machine: PickleMachine, form: str) -> None:
    content = machine.sized(form)
    if len(content) > _MAX_INT_BYTES:
        raise DamagedError("a number is too long")
    machine.push(int.from_bytes(content, "little", signed=True))


def _string_line(machine: PickleMachine) -> None:
    line = machine.line()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise DamagedError("a string has no quotes")
    machine.push(codecs.escape_decode(line[1:-1])[0].decode("latin-1"))


def _tuple(machine: PickleMachine, count: int) -> None:
    items = [machine.pop() for _ in range(count)]
    machine.push(tuple(items[::-1]))


def _instance(machine: PickleMachine) -> None:
    """INST of protocol 0: no object of ours is written so, but its name is to be told."""
    machine.name(_text(machine.line()), _text(machine.line()))
    raise DamagedError("it makes an object of what is no class")


def _stack_name(machine: PickleMachine) -> None:
    name, module = machine.pop(), machine.pop()
    machine.name(module, name)


def _set_item(machine: PickleMachine) -> None:
    value, key = machine.pop(), machine.pop()
    machine.update([key, value])


def _new_dict(machine: PickleMachine) -> None:
    items = machine.pop_to_mark()
    machine.push({})
    machine.update(items)


def _duplicate(machine: PickleMachine) -> None:
    value = machine.pop()
    machine.stack += [value, value]


def _empty_set(machine: PickleMachine) -> None:
    machine.pop_to_mark()
    machine.push(None)


def _text(content: bytes) -> str:
    return content.decode("utf-8")


_ACTIONS: dict[bytes, Callable[[PickleMachine], Any]] = {
    b"\x80": lambda r: r.take(1),  # protocol
    b"\x95": lambda r: r.take(8),  # frame
    # Numbers and strings
    b"N": lambda r: r.push(None),
    b"\x88": lambda r: r.push(True),
    b"\x89": lambda r: r.push(False),
    b"I": _int_line,
    b"L": lambda r: r.push(int(r.digits().rstrip(b"L"))),
    b"J": lambda r: r.push(r.number("<i")),
    b"K": lambda r: r.push(r.number("<B")),
    b"M": lambda r: r.push(r.number("<H")),
    b"\x8a": lambda r: _long(r, "<B"),
    b"\x8b": lambda r: _long(r, "<i"),
    b"F": lambda r: r.push(float(r.digits())),
    b"G": lambda r: r.push(r.number(">d")),
    b"S": _string_line,
    b"T": lambda r: r.push(r.sized("<i").decode("latin-1")),
    b"U": lambda r: r.push(r.sized("<B").decode("latin-1")),
    b"V": lambda r: r.push(r.line().decode("raw-unicode-escape")),
    b"X": lambda r: r.push(_text(r.sized("<I"))),
    b"\x8c": lambda r: r.push(_text(r.sized("<B"))),
    b"\x8d": lambda r: r.push(_text(r.sized("<Q"))),
    b"B": lambda r: r.push(r.sized("<I")),
    b"C": lambda r: r.push(r.sized("<B")),
    b"\x8e": lambda r: r.push(r.sized("<Q")),
    b"\x96": lambda r: r.push(r.sized("<Q")),
    # Containers; a set is chumpy's bookkeeping and stays empty
    b"(": lambda r: r.marks.append(len(r.stack)),
    b"0": lambda r: r.pop(),
    b"1": lambda r: r.pop_to_mark(),
    b"2": _duplicate,
    b"]": lambda r: r.push([]),
    b"l": lambda r: r.push(r.pop_to_mark()),
    b"a": lambda r: r.extend([r.pop()]),
    b"e": lambda r: r.extend(r.pop_to_mark()),
    b"}": lambda r: r.push({}),
    b"d": _new_dict,
    b"s": _set_item,
    b"u": lambda r: r.update(r.pop_to_mark()),
    b")": lambda r: r.push(()),
    b"t": lambda r: r.push(tuple(r.pop_to_mark())),
    b"\x85": lambda r: _tuple(r, 1),
    b"\x86": lambda r: _tuple(r, 2),
    b"\x87": lambda r: _tuple(r, 3),
    b"\x8f": lambda r: r.push(None),
    b"\x90": lambda r: r.pop_to_mark(),
    b"\x91": _empty_set,
    # Memo
    b"p": lambda r: r.remember(int(r.digits())),
    b"q": lambda r: r.remember(r.number("<B")),
    b"r": lambda r: r.remember(r.number("<I")),
    b"\x94": lambda r: r.remember(len(r.memo)),
    b"g": lambda r: r.recall(int(r.digits())),
    b"h": lambda r: r.recall(r.number("<B")),
    b"j": lambda r: r.recall(r.number("<I")),
    # Names and objects
    b"c": lambda r: r.name(_text(r.line()), _text(r.line())),
    b"\x93": _stack_name,
    b"i": _instance,
    b"R": lambda r: r.reduce(),
    b"\x81": lambda r: r.new_object(),
    b"b": lambda r: r.build(),
}
