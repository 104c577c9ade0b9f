"""Options that say how a capture is to be understood, for every stage that reads one."""

from __future__ import annotations

import math
from typing import Any

from handgen.options import option


def parse_metres_per_unit(text: str) -> float | str:
    """A positive number of metres, or "auto"; ValueError for anything else."""
    if text == "auto":
        return text
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{text!r} is not a positive number of metres, nor auto")
    return number


def calibration_option(help: str = "Calibration, if not in the capture.") -> Any:
    """The field `calibration` of a configuration; what the calibration says is compared, not where it lies."""
    return option(None, help, kind="location", metavar="FILE", decides_output=False)


def metres_per_unit_option(help: str) -> Any:
    """The field `metres_per_unit` of a configuration: a number, "auto", or None: as the calibration says."""
    return option(None, help, parse=parse_metres_per_unit, above=0, metavar="X|auto")
