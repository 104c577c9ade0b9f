"""Keyword options of public functions: the fields of a stage's configuration, under the command line's names."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, get_type_hints

from handgen.arguments import check_arguments, convert
from handgen.options import options_of
from handgen.progress import Progress
from handgen.runtime import reproducibility
from handgen.storage.filesystem import Location, location

Place = str | Location
Bars = bool | Callable[[str, int, int], None]
Config = TypeVar("Config")
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
_PLACES = ("path", "location")  # kinds of options that name a file or folder


@dataclass(frozen=True)
class Keyword:
    """One keyword option. field: its name in the configuration. annotation: as the source has it."""

    name: str
    field: str
    default: Any
    annotation: str
    help: str


def keywords_of(config: type[Any], function: Callable[..., Any]) -> list[Keyword]:
    """The options of a configuration that `function` takes as keywords besides its own parameters."""
    described = {field.name: option for field, option in options_of(config)}
    own = inspect.signature(inspect.unwrap(function), follow_wrapped=False).parameters
    found = []
    for field in fields(config):
        option = described.get(field.name)
        flag = (option.flag if option else None) or field.name
        name = flag.partition("/")[0].lstrip("-").replace("-", "_")
        kind = str(field.type)
        if option and option.kind in _PLACES:
            kind = kind.replace("str", "Place")
        if name not in own and (option is None or option.help):
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            found.append(Keyword(name, field.name, default, kind, option.help if option else ""))
    return found


def takes_options(config: type[Any]) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Decorate a stage's function: arguments are checked, signature and docstring show the options of `config`."""

    def decorate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        checked, signature, keywords = (
            check_arguments(function),
            inspect.signature(function),
            keywords_of(config, function),
        )
        own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
        shown = [
            inspect.Parameter(
                each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=each.annotation
            )
            for each in keywords
        ]
        checked.__signature__ = signature.replace(parameters=[*own, *shown])  # type: ignore[attr-defined]
        lines = [f"    {each.name}: {each.help}" for each in keywords]
        checked.__doc__ = "\n".join([inspect.getdoc(function) or "", "", "Options:", *lines])
        return checked

    return decorate


def make_config(function: Callable[..., Any], config: type[Config], options: Mapping[str, Any], **given: Any) -> Config:
    """The configuration of a stage.

    given: fields that the function itself sets. Raises TypeError for an option that does not exist or has the wrong
    type, and ValueError for a value that is not allowed.
    """
    keywords = {each.name: each.field for each in keywords_of(config, function)}
    hints = get_type_hints(config)
    values = {}
    for name, value in options.items():
        where = f"{function.__name__}: {name}"
        if name not in keywords:
            close = difflib.get_close_matches(name, keywords, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(keywords)}"
            raise TypeError(f"{function.__name__}: there is no option {name!r}; {hint}")
        values[keywords[name]] = convert(where, value, hints[keywords[name]])
    return config(**values, **given)


def local_path(name: str, value: Place) -> Path:
    """The path of this machine that an argument names. Raises ValueError for the URL of a store."""
    found = location(value)
    if not isinstance(found, Path):
        raise ValueError(f"{name} takes a path of this machine, got the URL {value}")
    return found


@contextmanager
def running(progress: Bars) -> Iterator[Progress | None]:
    """Prepare this process for a stage, and show its progress: True gives bars on standard error."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # albumentations asks the network when imported
    reproducibility.pin()  # where no numerical library is loaded yet
    if progress is True:
        from handgen.cli.console import progress_bars

        with progress_bars() as show:
            yield show
    else:
        yield progress or None
