"""Mutations of JSON documents, one or one per line."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from fuzzing import hostile_values
from fuzzing.byte_mutations import mutate_bytes
from fuzzing.files import chance, choose, shuffled

_TWICE = "\ue000twice"  # a key that becomes another's double in the text
_RAW = "\ue000raw"  # a text that becomes raw JSON
_MAX_LINE = 2**21


def mutate_json(data: bytes, rng: np.random.Generator, gentle: bool, one_line: bool = False) -> bytes:
    """Change a document's structure, its values, or how it is written."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return mutate_bytes(data, rng)
    if gentle:
        return _written_otherwise(document, rng, one_line)
    kind = rng.random()
    if kind < 0.1:
        return _encoded_otherwise(data, rng)
    if kind < 0.18:
        return mutate_bytes(data, rng)
    raw = b""
    for _ in range(1 if chance(rng, 0.7) else int(rng.integers(2, 5))):
        document, raw = _changed(document, rng, raw)
    try:
        text = json.dumps(document, separators=(",", ":")).encode()
    except (ValueError, RecursionError):  # a circle
        return b"[]"
    text = text.replace(json.dumps(_TWICE)[1:-1].encode(), b"")
    return text.replace(json.dumps(_RAW).encode(), raw) if raw else text


def mutate_json_lines(data: bytes, rng: np.random.Generator, gentle: bool) -> bytes:
    """Change one line, or the order and number of lines."""
    lines = data.splitlines(keepends=True)
    if not lines:
        return mutate_json(data, rng, gentle)
    at = int(rng.integers(len(lines)))
    kind = rng.random()
    if kind < 0.7:
        lines[at] = mutate_json(lines[at], rng, gentle, one_line=True).rstrip() + b"\n"
    elif gentle:
        lines[at:at] = [choose(rng, (b"", b"\n", b"  \n", b"\r\n"))]
        lines = lines if chance(rng, 0.5) else shuffled(rng, lines)
    elif kind < 0.8:
        lines[at:at] = [lines[at]] * int(choose(rng, (1, 2, 300)))
    elif kind < 0.9:
        del lines[at]
    else:
        lines[at] = lines[at].rstrip() + choose(rng, (b"", b"\x00\n", lines[at], b" " * _MAX_LINE + b"\n"))
    return b"".join(lines)


def change_document(document: Any, rng: np.random.Generator) -> Any:
    """Return a copy with one change, of values that need not fit into JSON."""
    return _changed(document, rng, b"")[0]


def _changed(document: Any, rng: np.random.Generator, raw: bytes) -> tuple[Any, bytes]:
    """Return a copy with one change. raw: JSON that stands for a text which was put in."""
    document = copy.deepcopy(document)
    holder, key = _random_place(document, rng)
    if holder is None:
        return hostile_values.value(rng), raw
    operation = choose(rng, _OPERATIONS)
    if operation is None:
        holder[key] = _RAW
        return document, raw or hostile_values.nested_text(rng)
    operation(holder, key, rng)
    return document, raw


def _random_place(document: Any, rng: np.random.Generator) -> tuple[Any, Any]:
    """Walk down at random; return what holds the value, and its key."""
    holder, key, value = None, None, document
    while isinstance(value, dict | list) and value and (holder is None or chance(rng, 0.8)):
        holder = value
        key = choose(rng, list(value)) if isinstance(value, dict) else int(rng.integers(len(value)))
        value = holder[key]
    return holder, key


def _remove(holder: Any, key: Any, rng: np.random.Generator) -> None:
    del holder[key]


def _replace(holder: Any, key: Any, rng: np.random.Generator) -> None:
    holder[key] = hostile_values.value(rng)


def _replace_number(holder: Any, key: Any, rng: np.random.Generator) -> None:
    value = holder[key]
    if isinstance(value, int | float) and abs(value) < 1e300 and chance(rng, 0.5):
        with np.errstate(all="ignore"):
            holder[key] = float(value) * float(choose(rng, (1, -1, 0.999, 1.001, 1e3, 1e-3, 1e20, -1e300)))
    else:
        holder[key] = hostile_values.number(rng)


def _replace_text(holder: Any, key: Any, rng: np.random.Generator) -> None:
    holder[key] = hostile_values.text(rng)


def _duplicate(holder: Any, key: Any, rng: np.random.Generator) -> None:
    if isinstance(holder, list):
        holder[key:key] = [holder[key]] * int(choose(rng, (1, 2, 30, 1000)))
    elif isinstance(key, str):
        holder[key + _TWICE] = hostile_values.value(rng)


def _rename(holder: Any, key: Any, rng: np.random.Generator) -> None:
    if isinstance(holder, dict):
        holder[choose(rng, (hostile_values.text(rng), str(key).upper(), f"{key} "))] = holder.pop(key)


def _swap(holder: Any, key: Any, rng: np.random.Generator) -> None:
    other = choose(rng, list(holder) if isinstance(holder, dict) else range(len(holder)))
    holder[key], holder[other] = holder[other], holder[key]


def _wrap(holder: Any, key: Any, rng: np.random.Generator) -> None:
    value = holder[key]
    holder[key] = choose(rng, ([value], {"a": value}, str(value)[:1000], [value] * 3))


def _unwrap(holder: Any, key: Any, rng: np.random.Generator) -> None:
    value = holder[key]
    if isinstance(value, dict | list) and value:
        holder[key] = next(iter(value.values())) if isinstance(value, dict) else value[0]


def _add(holder: Any, key: Any, rng: np.random.Generator) -> None:
    if isinstance(holder, dict):
        holder[hostile_values.text(rng)] = hostile_values.value(rng)
    else:
        holder.append(hostile_values.value(rng))


_OPERATIONS: tuple[Callable[[Any, Any, np.random.Generator], None] | None, ...] = (
    *(_remove, _replace, _replace, _replace_number, _replace_number, _replace_text, _duplicate, _rename, _swap),
    *(_wrap, _unwrap, _add, None),
)


def _encoded_otherwise(data: bytes, rng: np.random.Generator) -> bytes:
    text = data.decode("utf-8", "replace")
    written = (
        b"\xef\xbb\xbf" + data,
        text.encode("utf-16"),
        text.encode("utf-16-le"),
        text.encode("utf-32"),
        data.replace(b'"', b'"\xff', 1),
        data.replace(b":", b":\x00", 1),
        data.replace(b'"', b'"\xed\xa0\x80', 1),  # a surrogate by itself
        data + choose(rng, (b"\x00", b"{}", b"]", data, b"\n" * 100_000)),
        data.replace(b",", b",,", 1),
        b"/* comment */" + data,
    )
    return choose(rng, written)


def _written_otherwise(document: Any, rng: np.random.Generator, one_line: bool) -> bytes:
    """Write the same document, or nearly, in another way."""
    if chance(rng, 0.4):
        _nudge(document, rng)
    if isinstance(document, dict) and chance(rng, 0.5):
        document = dict(shuffled(rng, list(document.items())))
    indent, ascii_only = None if one_line else choose(rng, (None, None, 1, "\t")), chance(rng, 0.5)
    separators = choose(rng, ((",", ":"), (", ", ": "), (" ,", " : ")))
    try:
        text = json.dumps(document, indent=indent, ensure_ascii=ascii_only, separators=separators).encode()
    except UnicodeEncodeError:
        text = json.dumps(document).encode()
    return text + choose(rng, (b"", b"\n", b" ", b"\t\n "))


def _nudge(document: Any, rng: np.random.Generator) -> None:
    """Change a number by very little."""
    for _ in range(20):
        holder, key = _random_place(document, rng)
        if holder is not None and isinstance(holder[key], float):
            holder[key] *= float(1 + rng.normal(0, 1e-9))
            return
