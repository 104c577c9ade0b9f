"""docs/formats.md shows what the exporters write."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_worked_example_is_what_the_formats_hold(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import format_example

    shown = (ROOT / "docs" / "formats.md").read_text().partition("<!-- example -->")[2].partition("<!-- end -->")[0]
    found = format_example.table().splitlines()
    lines = shown.strip().splitlines()
    assert len(lines) == len(found)
    for line, expected in zip(lines, found, strict=True):
        *words, values = line.strip("| ").split(" | ")
        *expected_words, expected_values = expected.strip("| ").split(" | ")
        assert words == expected_words
        if "---" not in values and values != "value":
            # four digits are shown; of a number that lies between two of them processors may show either
            assert [float(v) for v in values.split(", ")] == pytest.approx(
                [float(v) for v in expected_values.split(", ")], abs=2e-3, rel=1e-4
            )
