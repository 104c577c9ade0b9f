"""Numbers and foreign words in texts that a user reads."""

from __future__ import annotations

from collections.abc import Mapping


def printable(text: str) -> str:
    """Escape what would move a terminal's cursor, turn its direction or break a line: files may name things anyhow."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def count_of(count: int, noun: str, plural: str | None = None) -> str:
    """Count things: "1 subject", "2 subjects". plural: where it is not the noun with an s."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def counts_of(counts: Mapping[str, int]) -> str:
    """List counts: "3 left, 5 right" in the order of the names; "none" without any."""
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"
