"""Option types that more than one command uses."""

from __future__ import annotations

import math
from typing import Any, Literal

import click


class MetresPerUnit(click.ParamType):
    """A positive number of metres, or `auto`."""

    name = "metres"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | Literal["auto"]:
        """The number or "auto"; anything else is wrong usage."""
        if value == "auto":
            return "auto"
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not (math.isfinite(number) and number > 0):
            self.fail(f"{value!r} is not a positive number of metres, nor auto", param, ctx)
        return number
