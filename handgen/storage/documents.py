"""Read, write and validate JSON documents; the schemas are those of `handgen.schemas`."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from typing import Any

import jsonschema_rs
import orjson

from handgen.errors import HandgenError, explain_unreadable
from handgen.storage import filesystem, limits
from handgen.storage.filesystem import Location
from handgen.storage.json_bounds import check_json

_NO_FLOAT = "noFloat"
_LIKE = bytes(
    48 if chr(c).isdigit() and c < 128 else 101 if chr(c) in "eE" else 46 if c == 46 else 32 for c in range(256)
)
_WITH_EXPONENT = re.compile(rb"[:\[,\s-][0-9.]+[eE]\+?[0-9]")  # and no digest, in which 3e5 stands for itself
LARGEST = 1e10  # metres, pixels, seconds since 1970: nothing is larger, and squares of far larger ones overflow
_BOM = b"\xef\xbb\xbf"  # that some editors put before a text
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_SORT_KEYS


def _schema(name: str) -> dict[str, Any]:
    return orjson.loads(resources.files("handgen.schemas").joinpath(f"{name}.schema.json").read_bytes())


@cache
def _validator(name: str, bounded: bool) -> Any:
    return jsonschema_rs.validator_for(_strict(_schema(name), bounded), keywords={_NO_FLOAT: _NoFloat})


def _strict(schema: Any, bounded: bool) -> Any:
    """Add what holds for every number of handgen's documents.

    Integers are those of Python: to JSON Schema 6 and 6.0 are the same, to `range` they are not. Other numbers are
    bounded by `LARGEST`.
    """
    if isinstance(schema, list):
        return [_strict(item, bounded) for item in schema]
    if not isinstance(schema, dict):
        return schema
    marked = {key: _strict(item, bounded) for key, item in schema.items()}
    types = schema.get("type", ())
    types = [types] if isinstance(types, str) else types
    if "number" in types and bounded:
        return {"minimum": -LARGEST, "maximum": LARGEST} | marked
    return marked | {_NO_FLOAT: True} if "integer" in types and "number" not in types else marked


class _NoFloat:
    """A keyword of jsonschema_rs: the value is no float."""

    def __init__(self, *_: Any) -> None:
        pass

    def validate(self, value: Any) -> None:
        if isinstance(value, float):
            raise ValueError(f"{value} is not of type integer")


def schema_version(name: str) -> int:
    """Return the `format_version` that the named schema asks for."""
    return _schema(name)["properties"]["format_version"]["const"]


def _has_large_numbers(text: bytes) -> bool:
    """Tell whether a JSON text may hold a number beyond `LARGEST`: one of eleven digits, or with an exponent.

    Expressions look at each digit, which takes ten times as long as making all digits 0 and all signs blanks.
    """
    like = text.translate(_LIKE, b"+")
    return b" 00000000000" in like or (b"0e0" in like and _WITH_EXPONENT.search(text) is not None)


def validate(document: Any, name: str, where: str, text: bytes | None = None) -> None:
    """Raise a HandgenError naming `where`, the field and the fact unless `document` fits schema `name`.

    text: what it was read from. Where no number there can be large, none is compared with its bounds, which would take
    thirty times as long as all else.
    """
    try:
        _validator(name, text is None or _has_large_numbers(text)).validate(document)
    except jsonschema_rs.ValidationError as error:
        field = "/".join(str(part) for part in error.instance_path) or "the document"
        message = error.message  # the value, then the fact: of a long one both ends are kept
        message = message if len(message) <= 200 else f"{message[:60]} ... {message[-120:]}"
        raise HandgenError(f"{where}: {field}: {message}; it must follow handgen's {name}.schema.json") from None
    except ValueError as error:  # a document that was not read from a text, and is nested too deeply
        raise HandgenError(f"{where}: cannot be compared with handgen's {name}.schema.json ({error})") from None


def dumps(document: Any, indent: bool = False) -> bytes:
    """Return JSON bytes: keys sorted, arrays as lists, NaN as null (schemas refuse it), bytes not UTF-8 as U+FFFD."""
    option = _OPTIONS | (orjson.OPT_INDENT_2 if indent else 0)
    try:
        text = orjson.dumps(document, option=option)
    except orjson.JSONEncodeError:
        text = orjson.dumps(_in_utf8(document), option=option)
    return text + b"\n"


def _in_utf8(value: Any) -> Any:
    if isinstance(value, dict):
        return {_in_utf8(key): _in_utf8(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_in_utf8(item) for item in value]
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if isinstance(value, str) else value


def loads(text: bytes, where: str, with_nan: bool = False) -> Any:
    """Parse JSON from a file named `where`; HandgenError for what is none, or asks for more than its share.

    with_nan: let Python's NaN and Infinity through, as foreign programs write them, for the checks of values to name.
    """
    text = text.removeprefix(_BOM)
    check_json(text, where)
    try:
        return json.loads(text) if with_nan else orjson.loads(text)
    except (ValueError, RecursionError) as error:  # of both libraries; UnicodeDecodeError, too
        if not with_nan and (b"NaN" in text or b"Infinity" in text):
            hint = "NaN and Infinity are not JSON"
        else:
            ends = any(word in str(error) for word in ("end of", "zero-length"))
            hint = "is the file truncated?" if ends else "correct it there, or get the file again"
        raise HandgenError(f"{where}: not valid JSON ({error}); {hint}") from None


def read_json(path: Location, schema: str | None = None) -> Any:
    """Read a JSON file; HandgenError when it is missing, too large, not JSON or does not fit the named schema."""
    with explain_unreadable(path):
        text = filesystem.read(path, limits.JSON_TEXT)
    document = loads(text, str(path))
    if schema:
        validate(document, schema, str(path))
    return document


def write_json(path: Location, document: Any, schema: str | None = None) -> None:
    """Write a JSON file that appears only when complete; validated first."""
    text = dumps(document, indent=True)
    if schema:
        validate(orjson.loads(text), schema, str(path))
    filesystem.put(path, text)
