"""Values that readers get wrong: numbers, texts, names and nested documents."""

from __future__ import annotations

from typing import Any

import numpy as np

from fuzzing.files import chance, choose

NUMBERS: tuple[Any, ...] = (
    *(0, -1, 1, 2, -0.0, 0.5, 1e-300, 5e-324, 1e30, -1e30, 1e308, -1e308, 1e9, 65535, 65536, -32769),
    *(2**31 - 1, 2**31, -(2**31), 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400),
    *(float("nan"), float("inf"), float("-inf")),
)
TEXTS = (
    *("", " ", "text", "0", "-1", "1e999", "nan", "null", "None", "true", "é", "\u202eabc", "\ufeff", "𝟙", "١٢", "²"),
    *("a\nb", "a\r\nError: b", "\x00", "a\x00b", "\x1b[2J\x1b]0;title\x07", "\x7f\x9b31m", "\ud800", "\U0010ffff"),
    *("../../../etc/passwd", "/etc/passwd", "..\\..\\x", "C:\\x", "file:///etc/passwd", "s3://bucket/x", "~root", "."),
    *("..", "con", "-rf", "$(touch ran)", "`touch ran`", "; touch ran", "%s%n%x", "{0.__class__}", "{side}"),
    *(
        "<script>alert(1)</script>",
        "'\"<>&",
        "x" * 300,
        "x" * 70_000,
        "__class__",
        "__reduce__",
        "a/b",
        "left",
        "right",
    ),
)
NAMES = (
    *(
        "a\nb",
        "\x1b[31mred",
        "x" * 240,
        "-rf",
        "$(touch ran)",
        "<b>",
        "é",
        "\udcff",
        " ",
        "a b",
        "%n",
        "..x",
        "x.",
        "{0}",
    ),
    *(
        "manifest.json",
        "run.json",
        ".lock",
        ".journal",
        "cam0",
        "0",
        "1e5.png",
        "CON",
        "a'b",
        'a"b',
        "a\\b",
        "a\tb",
        "٣",
    ),
)
OTHER_TYPES: tuple[Any, ...] = (
    None,
    True,
    False,
    "",
    "text",
    [],
    {},
    0,
    1.5,
    -1,
    [[]],
    [None],
    {"a": 1},
    [1, 2, 3],
    "1",
)


def number(rng: np.random.Generator) -> Any:
    """Return a number that is at an edge of some type."""
    return choose(rng, NUMBERS)


def text(rng: np.random.Generator) -> str:
    """Return a text with control characters, a path that leads out, or something else of that kind."""
    return choose(rng, TEXTS)


def value(rng: np.random.Generator) -> Any:
    """Return anything that JSON can hold."""
    kind = int(rng.integers(8))
    if kind < 3:
        return number(rng)
    if kind < 5:
        return text(rng)
    if kind == 5:
        return [number(rng)] * int(choose(rng, (1, 2, 3, 21, 48, 1000)))
    return choose(rng, OTHER_TYPES)


def nested_text(rng: np.random.Generator) -> bytes:
    """Return JSON that is nested deeply, or has very many values."""
    kind, depth = int(rng.integers(4)), int(choose(rng, (20, 100, 254, 255, 256, 1000, 1100, 2000, 100_000)))
    if kind == 0:
        return b"[" * depth + b"]" * depth
    if kind == 1:
        return b'{"a":' * depth + b"1" + b"}" * depth
    if kind == 2:
        return b"[" * depth  # never closed
    count = int(choose(rng, (1000, 100_000, 2_000_000))) if chance(rng, 0.97) else 38_000_000
    return b"[" + b"[]," * (count if chance(rng, 0.1) else min(count, 100_000)) + b"[]]"
