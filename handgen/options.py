"""Options of stages and of the parts that plug into them, each declared once: as a field of a frozen dataclass.

    @dataclass(frozen=True)
    class ExportConfig:
        split: str | None = option(None, "Whose samples, where shards have several.")
        workers: int | None = option(None, "Processes.", low=1, decides_output=False)

        def __post_init__(self) -> None:
            check_options(self)

The command line is made from the fields (`handgen.cli.options`), `check_options` checks values, and `deciding_options`
is what `run.json` keeps of them. A field made by `chosen_options` holds the options of the part that another field
names (`detector`). Imports nothing heavy, so that `--help` stays quick.
"""

from __future__ import annotations

import math
import numbers
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from handgen.plugins import Registry

_KEY = "handgen.option"
REQUIRED: Any = MISSING  # the default of an option that has none
Config = TypeVar("Config")


@dataclass(frozen=True)
class Option:
    """Facts of one field besides its type and default.

    help: one sentence for `--help`; empty for a field that no command line sets. choices: allowed values, or what gives
    them when asked (a registry). low, high: bounds that are allowed themselves; above: one that is not. unit: of a
    number, for messages. parse: makes the value of the command line's text; a ValueError says why it cannot.
    spellings: the command line's words for the values. metavar: what stands for the value in `--help`. default_help:
    what None, or a computed default, means. kind: "value", "file" (a path of this machine that must exist) or
    "location" (a path or URL that must exist). flag: spelling of the option where it is not the field's name with
    dashes. old_flags: spellings that are still accepted, with a note. decides_output: whether another value may change
    what a run writes. chooser, registry: of a field that holds the options of a part, the field that names the part,
    and where parts are found.
    """

    help: str = ""
    choices: Sequence[str] | Callable[[], Sequence[str]] | None = None
    low: float | None = None
    high: float | None = None
    above: float | None = None
    unit: str = ""
    parse: Callable[[str], Any] | None = None
    spellings: Mapping[str, Any] | None = None
    metavar: str | None = None
    default_help: str | None = None
    kind: str = "value"
    flag: str | None = None
    old_flags: tuple[str, ...] = ()
    decides_output: bool = True
    chooser: str | None = None
    registry: Registry[Any] | None = None

    def allowed(self) -> Sequence[str] | None:
        """The values to choose from, or None where any will do."""
        return self.choices() if callable(self.choices) else self.choices

    def flag_of(self, name: str) -> str:
        """The option's spelling on the command line."""
        return self.flag or "--" + name.replace("_", "-")

    def check(self, name: str, value: Any, type_: Any = Any) -> None:
        """Raise a ValueError naming field, rule and value unless `value` is allowed, or None. type_: without None."""
        if value is None:
            return
        allowed = self.allowed()
        if allowed is not None and value not in allowed:
            raise ValueError(f"{name} must be {_alternatives(allowed)}, got {value!r}")
        if self.kind == "value" and type_ in _TYPES and not _is_of(value, type_):
            raise ValueError(f"{name} must be {_TYPES[type_]}, got {value!r}")
        bounds = ((self.low, -math.inf), (self.high, math.inf), (self.above, -math.inf))
        low, high, above = (none if bound is None else bound for bound, none in bounds)
        for number in value if isinstance(value, tuple) else (value,):
            is_number = isinstance(number, numbers.Real) and not isinstance(number, bool)
            if is_number and not (math.isfinite(number) and low <= number <= high and number > above):
                raise ValueError(f"{name} must be {self.bounds() or 'finite'}, got {_text(value)}")

    def bounds(self) -> str:
        """The bounds in words, such as "0 to 1" or "above 0 and at most 1"; empty without any."""
        low, high, above = (None if x is None else _text(x) for x in (self.low, self.high, self.above))
        unit = f" {self.unit}" if self.unit else ""
        if above is not None:
            return f"above {above}" + ("" if high is None else f" and at most {high}") + unit
        if low is not None:
            return (f"at least {low}" if high is None else f"{low} to {high}") + unit
        return "" if high is None else f"at most {high}{unit}"


def option(default: Any, help: str = "", **described: Any) -> Any:
    """A dataclass field with this default (or `REQUIRED`) that is an `Option`; keywords as its attributes."""
    return field(default=default, metadata={_KEY: Option(help, **described)})


def chosen_options(chooser: str, registry: Registry[Any]) -> Any:
    """A field that holds the options of the part that field `chooser` names; None becomes its defaults."""
    return field(default=None, metadata={_KEY: Option(chooser=chooser, registry=registry)})


def options_of(config: Any) -> Iterator[tuple[Field[Any], Option]]:
    """The fields of a configuration, or of its class, that are options, in their order."""
    for each in fields(config):
        if _KEY in each.metadata:
            yield each, each.metadata[_KEY]


@cache
def option_types(config_type: Any) -> dict[str, Any]:
    """Types of a configuration's fields, without None: `int` for `int | None`."""
    found = {}
    for name, hint in get_type_hints(config_type).items():
        parts = [part for part in get_args(hint) if part is not types.NoneType]
        is_union = get_origin(hint) in (Union, types.UnionType)
        found[name] = parts[0] if is_union and len(parts) == 1 else hint
    return found


def check_options(config: Any) -> None:
    """Raise a ValueError for the first option of a configuration whose value is not allowed.

    A field of `chosen_options` that is None gets the chosen part's defaults.
    """
    kind: Any = type(config)
    types_ = option_types(kind)
    for each, described in options_of(config):
        value = getattr(config, each.name)
        if described.registry is None:
            described.check(each.name, value, types_.get(each.name, Any))
            continue
        chosen = getattr(config, described.chooser or "")
        wanted = described.registry[chosen].options
        if value is None:
            object.__setattr__(config, each.name, _make_part(described, chosen, {}))
        elif not isinstance(value, wanted):
            raise ValueError(f"{each.name} must be {wanted.__name__} for {described.registry.role} {chosen}")


def deciding_options(config: Any) -> dict[str, Any]:
    """The options that decide what a run writes, as JSON has them; those of a chosen part under their field's name."""
    found: dict[str, Any] = {}
    for each, described in options_of(config):
        value = getattr(config, each.name)
        if described.registry is not None:
            if own := deciding_options(value):
                found[each.name] = own
        elif described.decides_output:
            found[each.name] = list(value) if isinstance(value, tuple) else value
    return found


def make_config(config_type: type[Config], **values: Any) -> Config:
    """A configuration of this type with options by name, also those of the parts that it chooses.

    `make_config(AnnotateConfig, detector="cpm", weights="weights.pickle")`. An option of a part that is not chosen,
    or a value that is not allowed, is a ValueError; a name that is none is a TypeError.
    """
    own = {each.name: values.pop(each.name) for each, _ in options_of(config_type) if each.name in values}
    for each, described in options_of(config_type):
        if described.registry is None or each.name in own:
            continue
        chooser = described.chooser or ""
        chosen = own.get(chooser, next(f.default for f in fields(config_type) if f.name == chooser))  # type: ignore[arg-type]
        if chosen not in described.registry.names():
            continue  # which `check_options` refuses
        theirs = {name for name, *_ in options_of_parts(described.registry)}
        given = {name: values.pop(name) for name in sorted(theirs) if name in values}
        own[each.name] = _make_part(described, chosen, given)
    if values:
        name = next(iter(values))
        near = get_close_matches(name, [each.name for each, _ in options_of(config_type)], 1)
        raise TypeError(f"there is no option {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    return config_type(**own)


def options_of_parts(registry: Registry[Any]) -> Iterator[tuple[str, Field[Any], Option, str, Any]]:
    """Options that parts of a registry bring: name, field, `Option`, the part's name and the option's type."""
    for part in registry.names():
        options = registry[part].options
        for each, described in options_of(options):
            yield each.name, each, described, part, option_types(options)[each.name]


def _make_part(described: Option, chosen: str, given: dict[str, Any]) -> Any:
    """The options of the chosen part; ValueError where one belongs to another part, or is missing."""
    assert described.registry is not None and described.chooser is not None
    options = described.registry[chosen].options
    choose = "--" + described.chooser.replace("_", "-")
    known = {each.name: (each, option) for each, option in options_of(options)}
    for name, _, of_part, part, _ in options_of_parts(described.registry):
        if name in given and name not in known:
            raise ValueError(f"{of_part.flag_of(name)} is for {choose} {part}, not {chosen}")
    for name, (each, wanted) in known.items():
        if each.default is MISSING and given.get(name) is None:
            value = f"{wanted.flag_of(name)} {wanted.metavar or 'VALUE'}"
            raise ValueError(f"{choose} {chosen} needs {value}; give both or neither")
    return options(**given)


_TYPES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def _is_of(value: Any, type_: type) -> bool:
    """Tell whether a value is of one of `_TYPES`; numpy's numbers are numbers, too."""
    if type_ is bool or type_ is str:
        return isinstance(value, type_)
    return isinstance(value, numbers.Integral if type_ is int else numbers.Real) and not isinstance(value, bool)


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _alternatives(allowed: Sequence[str]) -> str:
    return allowed[0] if len(allowed) == 1 else f"{', '.join(allowed[:-1])} or {allowed[-1]}"
