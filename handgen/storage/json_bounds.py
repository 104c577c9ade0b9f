"""How large and how deep a JSON text is once it is parsed, found before it is: `[],` becomes thirty times as much.

Only whole-text operations of the standard library and numpy look at the text, some of them, so that looking costs less
than parsing.
"""

from __future__ import annotations

import re

import numpy as np

from handgen.storage import limits

# Bytes of memory for each of these characters, as measured: orjson keeps a node of each value while Python's object is
# made. An object with one key takes 310 bytes, a number of a list 56.
_BYTES_PER = {b",": 56, b"[": 88, b"{": 176, b":": 60, b'"': 26}
_MOST_PER_BYTE = 90  # so that short texts need not be counted
_WIDE = re.compile(rb"[\xf0-\xf4]")  # begins a character for which Python takes four bytes for every one of a string
_WIDE_BYTES = 12  # of such a string, and of the message that may quote it
_STRING = re.compile(rb'"[^"]*"')
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))


def check_json(text: bytes, where: str) -> None:
    """Raise a HandgenError for a text that asks for more than its share when it is parsed, or is nested too deeply."""
    if len(text) * _MOST_PER_BYTE > limits.JSON_VALUES.allowed:
        limits.JSON_VALUES.check(parsed_bytes(text), where, "divide it into several files")
    check_nesting(text, where)


def check_nesting(text: bytes, where: str) -> None:
    """Raise a HandgenError for a text that is nested too deeply."""
    if text.count(b"[") + text.count(b"{") > limits.NESTING.allowed:
        limits.NESTING.check(nesting(text), where, "flatten it")


def parsed_bytes(text: bytes) -> int:
    """Estimate the most memory that the text and its values take while it is parsed."""
    in_strings = _WIDE_BYTES if _WIDE.search(text) else 1
    return (1 + in_strings) * len(text) + sum(size * text.count(mark) for mark, size in _BYTES_PER.items())


def nesting(text: bytes) -> int:
    """Return how deep lists and objects lie in one another; of what is no JSON some number."""
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    structure = text.translate(None, _NOT_STRUCTURE).replace(b'""', b"")
    if b'"' in structure:  # strings with brackets in them
        structure = _STRING.sub(b"", structure)
    if not structure:
        return 0
    # Of [, {, ] and } only those that open have the second bit.
    steps = (np.frombuffer(structure, np.uint8) & 2).astype(np.int8) - 1
    return int(np.cumsum(steps, dtype=np.int32).max())
