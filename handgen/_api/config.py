"""Keyword options of public functions: the fields of a stage's configuration, under the command line's names."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, Field, dataclass
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, get_type_hints

from handgen.arguments import check_arguments, convert
from handgen.options import Option, make_config, options_of
from handgen.plugins import load_plugins
from handgen.progress import Progress, progress_bars
from handgen.runtime import reproducibility
from handgen.storage.filesystem import Location, location

Place = str | Location
Bars = bool | Callable[[str, int, int], None]
Config = TypeVar("Config")
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Keyword:
    """One keyword option. field: its name in the configuration. type: what it takes. annotation: that as text."""

    name: str
    field: str
    default: Any
    type: Any
    annotation: str
    option: Option


def keywords_of(config: type[Any], function: Callable[..., Any]) -> list[Keyword]:
    """The options that `function` takes for a configuration and the parts that it chooses, besides its parameters."""
    own = inspect.signature(inspect.unwrap(function)).parameters
    keywords = []
    for field, described in options_of(config):
        if described.registry is None:
            keywords.append(_keyword(config, field, described))
        else:
            for entry in described.registry.entries.values():
                keywords += [_keyword(entry.options, *each, of_part=True) for each in options_of(entry.options)]
    return [each for each in keywords if each.name not in own]


def _keyword(config: type[Any], field: Field[Any], option: Option, of_part: bool = False) -> Keyword:
    name = option.flag_of(field.name).partition("/")[0].lstrip("-").replace("-", "_")
    hint, annotation, default = get_type_hints(config)[field.name], str(field.type), field.default
    if of_part and default is MISSING:
        hint, annotation, default = hint | None, f"{annotation} | None", None
    if option.spellings:
        hint, annotation = Literal[tuple(option.spellings)], "str"
        default = next(word for word, value in option.spellings.items() if value == default)
    elif option.kind != "value":
        annotation = annotation.replace("str", "Place")
    elif default is None and "None" not in annotation:  # the configuration fills it in
        hint, annotation = hint | None, f"{annotation} | None"
    return Keyword(name, field.name, default, hint, annotation, option)


def takes_options(config: type[Any]) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Decorate a stage's function: arguments are checked, signature and docstring show the options of `config`."""

    def decorate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        checked, signature = check_arguments(function), inspect.signature(function)
        keywords = keywords_of(config, function)
        own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
        kind = inspect.Parameter.KEYWORD_ONLY
        shown = [inspect.Parameter(k.name, kind, default=k.default, annotation=k.annotation) for k in keywords]
        checked.__signature__ = signature.replace(parameters=[*own, *shown])  # type: ignore[attr-defined]
        lines = [f"    {each.name}: {help_of(each)}" for each in keywords]
        checked.__doc__ = "\n".join([inspect.getdoc(function) or "", "", "Options:", *lines])
        return checked

    return decorate


def help_of(keyword: Keyword) -> str:
    """The sentence that describes an option, and what None means."""
    default = keyword.option.default_help
    return f"{keyword.option.help} None: {default}." if default and keyword.default is None else keyword.option.help


def config_of(function: Callable[..., Any], config: type[Config], options: Mapping[str, Any], **given: Any) -> Config:
    """The configuration of a stage; TypeError or ValueError for what is not allowed. given: fields that are set."""
    load_plugins()  # they may bring options
    keywords = {each.name: each for each in keywords_of(config, function)}
    values = {}
    for name, value in options.items():
        if name not in keywords:
            close = difflib.get_close_matches(name, keywords, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(keywords)}"
            raise TypeError(f"{function.__name__}: there is no option {name!r}; {hint}")
        keyword = keywords[name]
        value = convert(f"{function.__name__}: {name}", value, keyword.type)
        if keyword.option.spellings:
            value = keyword.option.spellings[value]
        elif keyword.option.parse and keyword.type is str:
            value = keyword.option.parse(value)
        values[keyword.field] = value
    return make_config(config, **values, **given)


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
        with progress_bars() as show:
            yield show
    else:
        yield progress or None
