"""Mutations of texts in lines: TOML, YAML, CSV, tables of numbers."""

from __future__ import annotations

import re

import numpy as np

from fuzzing import hostile_values
from fuzzing.byte_mutations import mutate_bytes
from fuzzing.files import chance, choose

_TOKEN = re.compile(r"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?|\"[^\"\n]*\"|\w+")
_BOMBS = {
    "toml": (
        "a" + ".a" * 20_000 + " = 1\n",
        "[" + "a." * 20_000 + "a]\n",
        "x = " + "[" * 3_000 + "]" * 3_000 + "\n",
        "x = " + "{a=" * 2_000 + "1" + "}" * 2_000 + "\n",
        "x = [" + "[]," * 500_000 + "]\n",
        "x = " + "9" * 5_000 + "\n",
        "x = 0x" + "f" * 100_000 + "\n",
        "x = 9999-99-99T99:99:99Z\n",
        'x = "\\uD800"\n',
    ),
    "yaml": (
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{('*' + a + ',') * 9}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        "- !!python/object/apply:os.system ['touch ran']\n",
        "- !!python/name:os.system\n",
        "? " * 3_000 + "\n",
        "[" * 3_000 + "\n",
        "- " * 3_000 + "\n",
        "- !!binary " + "A" * 50_000 + "\n",
        "- 9999-99-99\n- 2001-12-14t21:59:43.10-99:99\n",
        "- 190:20:30:99999999999\n",
        "%YAML 9.9\n---\n",
        "- <<: *x\n",
    ),
    "csv": ('"' + "x" * 200_000 + "\n", '"\n', "," * 100_000 + "\n", "\x00\n", '""",",\n'),
    "dat": ("1 " * 500_000 + "\n", "1e999 nan inf\n"),
}


def mutate_text(data: bytes, kind: str, rng: np.random.Generator, gentle: bool) -> bytes:
    """Change tokens, lines or the encoding. kind: one of the keys of the bombs."""
    text = data.decode("utf-8", "surrogateescape")
    if gentle:
        return _written_otherwise(text, kind, rng).encode("utf-8", "surrogateescape")
    part = rng.random()
    if part < 0.1:
        return mutate_bytes(data, rng)
    if part < 0.18:
        return choose(
            rng, (text.encode("utf-16", "replace"), data + b"\xff", data.replace(b"\n", b"\r"), b"\x00" + data)
        )
    lines = text.splitlines(keepends=True) or ["\n"]
    for _ in range(1 if chance(rng, 0.7) else 3):
        at = int(rng.integers(len(lines)))
        part = rng.random()
        if part < 0.6:
            lines[at] = _other_token(lines[at], kind, rng)
        elif part < 0.7:
            lines[at:at] = [lines[at]] * int(choose(rng, (1, 2, 500)))
        elif part < 0.8 and len(lines) > 1:
            del lines[at]
        elif part < 0.88:
            other = int(rng.integers(len(lines)))
            lines[at], lines[other] = lines[other], lines[at]
        elif part < 0.94:
            lines[at:at] = [choose(rng, _BOMBS[kind])]
        else:
            cut = int(rng.integers(len(lines[at])))
            lines[at] = lines[at][:cut] + choose(rng, ("\x00", "\n", '"', "[", "{", "\\", "#", ":", ",", "=", "\ufeff"))
    return "".join(lines).encode("utf-8", "surrogatepass" if chance(rng, 0.1) else "replace")


def _other_token(line: str, kind: str, rng: np.random.Generator) -> str:
    found = list(_TOKEN.finditer(line))
    if not found:
        return line + hostile_values.text(rng)[:1000]
    token = choose(rng, found)
    value = hostile_values.number(rng) if chance(rng, 0.5) else hostile_values.text(rng)
    written = str(value)[:5000] if isinstance(value, int | float) else value
    if kind == "toml" and isinstance(value, str) and chance(rng, 0.7):
        written = '"' + written.replace("\\", "\\\\").replace('"', "'").replace("\n", "\\n") + '"'
    return line[: token.start()] + written + line[token.end() :]


def _written_otherwise(text: str, kind: str, rng: np.random.Generator) -> str:
    """Write the same, or nearly: a digit at the end of a number, white space, a comment."""
    comment = {"toml": "# a comment é\n", "yaml": "# a comment é\n"}.get(kind, "")
    choices = [_nudged(text, rng), _nudged(text, rng)]
    if kind != "csv":
        choices += [text + "\n", comment + text if not text.startswith("%") else text + comment]
    choices.append(text.replace("\n", "\r\n") if kind in ("csv", "toml") and "\r" not in text else text)
    return choose(rng, choices)


def _nudged(text: str, rng: np.random.Generator) -> str:
    """Change the last digits of a number with many."""
    found = list(re.finditer(r"\d\.\d{6,}", text))
    if not found:
        return text
    token = choose(rng, found)
    return text[: token.end() - 1] + str(rng.integers(1, 10)) + text[token.end() :]
