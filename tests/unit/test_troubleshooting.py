"""docs/troubleshooting.md quotes what the code says, word for word."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from handgen.reconstruct import quality

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
LEAST_CHARACTERS = 4  # of a piece between two names or numbers; shorter ones are everywhere


def quoted():
    """The pieces of the first column of the tables that are fixed text."""
    rows = (line for line in PAGE.splitlines() if line.startswith("| `"))
    spans = (span for row in rows for span in re.findall(r"`([^`]+)`", row.split(" | ")[0]))
    pieces = (piece.strip(" ()") for span in spans for piece in re.split(r"…|‘[^’]*’", span))
    return sorted({piece for piece in pieces if len(piece) >= LEAST_CHARACTERS})


@cache
def texts():
    """Everything that the code can print: its strings, adjoining ones as one."""
    found = []
    for path in [*(ROOT / "handgen").rglob("*.py"), *(ROOT / "cli").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found).replace("\0 ", "\0")


@pytest.mark.parametrize("piece", quoted())
def test_what_is_quoted_is_what_is_said(piece):
    said = texts()
    known = ("looks mirrored", "looks upside down", "no manifest.json", "has no manifest.json", "Interrupted")
    assert piece in said or piece in known or piece.replace("manifest.json", "\0") in said, piece


def test_every_reason_is_explained():
    reasons = {value for name, value in vars(quality).items() if name.isupper() and isinstance(value, str)}
    assert not {reason for reason in reasons if f"`{reason}`" not in PAGE}


def test_the_benchmark_finds_its_place():
    assert PAGE.count("<!-- wrong_input: begin -->") == PAGE.count("<!-- wrong_input: end -->") == 1
    assert PAGE.index("<!-- wrong_input: begin -->") < PAGE.index("<!-- wrong_input: end -->")
