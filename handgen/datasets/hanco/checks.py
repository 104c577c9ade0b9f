"""Checks of HanCo: its labels."""

from __future__ import annotations

from pathlib import Path

from handgen.datasets.checks import CheckContext, check_splits
from handgen.datasets.hanco.reader import HancoReader
from handgen.label_checks.findings import Checked

_NOTE = "of HanCo the frames before a green screen were looked at (train), not the others (test)"


def check(root: Path, context: CheckContext) -> Checked:
    """Check the frames before a green screen."""
    return check_splits(root, HancoReader.format, HancoReader, (), context, notes=[_NOTE])
