"""Options of stages and of the parts that plug into them, each declared once: as a field of a frozen dataclass.

    @dataclass(frozen=True)
    class ExportConfig:
        split: str | None = option(None, "Whose samples, where shards have several.")
        workers: int | None = option(None, "Processes.", low=1, decides_output=False)

        def __post_init__(self) -> None:
            check_options(self)

The command line is made from the fields (`handgen.cli.options`), values are checked by `check_options`, and
`deciding_options` is what `run.json` keeps of them. Imports nothing heavy, so that `--help` stays quick.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any

_KEY = "handgen.option"


@dataclass(frozen=True)
class Option:
    """What is known of one field besides its type and default.

    help: one sentence for `--help`; empty for a field that no command line sets. choices: allowed values, or what gives
    them when asked (a registry). low, high: bounds that are allowed themselves; above: one that is not.
    metavar: what stands for the value in `--help`. default_help: what None, or a computed default, means.
    kind: "value", or "path" and "location" for a path of this machine and a path or URL that must exist.
    flag: spelling of the option where it is not the field's name with dashes. old_flags: spellings that are still
    accepted, with a note. decides_output: whether another value may change what a run writes.
    """

    help: str = ""
    choices: Sequence[str] | Callable[[], Sequence[str]] | None = None
    low: float | None = None
    high: float | None = None
    above: float | None = None
    metavar: str | None = None
    default_help: str | None = None
    kind: str = "value"
    flag: str | None = None
    old_flags: tuple[str, ...] = ()
    decides_output: bool = True

    def allowed(self) -> Sequence[str] | None:
        """The values to choose from, or None where any will do."""
        return self.choices() if callable(self.choices) else self.choices

    def check(self, name: str, value: Any) -> None:
        """Raise a ValueError naming the field, the bounds and the value unless `value` is allowed; None always is."""
        if value is None:
            return
        allowed = self.allowed()
        if allowed is not None and value not in allowed:
            raise ValueError(f"{name} must be {_alternatives(allowed)}, got {value!r}")
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int | float) and not isinstance(number, bool):
                self._check_number(name, number)

    def _check_number(self, name: str, number: float) -> None:
        low, high, above = self.low, self.high, self.above
        if (
            math.isnan(number)
            or (low is not None and number < low)
            or (high is not None and number > high)
            or (above is not None and number <= above)
        ):
            raise ValueError(f"{name} must be {self.bounds()}, got {number:g}")

    def bounds(self) -> str:
        """The bounds in words, such as "0 to 1" or "above 0 and at most 1"; empty without any."""
        if self.above is not None:
            return f"above {self.above:g}" + ("" if self.high is None else f" and at most {self.high:g}")
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        if self.low is not None:
            return f"at least {self.low:g}"
        return "" if self.high is None else f"at most {self.high:g}"


def option(default: Any, help: str = "", **described: Any) -> Any:
    """A dataclass field with this default that is an `Option`; keywords as its attributes."""
    return field(default=default, metadata={_KEY: Option(help, **described)})


def options_of(config: Any) -> Iterator[tuple[Field[Any], Option]]:
    """The fields of a configuration, or of its class, that are options, in their order."""
    for each in fields(config):
        if _KEY in each.metadata:
            yield each, each.metadata[_KEY]


def check_options(config: Any) -> None:
    """Raise a ValueError for the first option of a configuration whose value is not allowed."""
    for each, described in options_of(config):
        described.check(each.name, getattr(config, each.name))


def deciding_options(config: Any) -> dict[str, Any]:
    """Names and values of the options that decide what a run writes, as JSON has them."""
    values = {
        each.name: getattr(config, each.name) for each, described in options_of(config) if described.decides_output
    }
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _alternatives(allowed: Sequence[str]) -> str:
    return allowed[0] if len(allowed) == 1 else f"{', '.join(allowed[:-1])} or {allowed[-1]}"
