"""Options of commands, made from the fields of their configurations, and the types of their values."""

from __future__ import annotations

import difflib
import errno
import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args, get_origin

import click

from handgen.options import Option, make_config, option_types, options_of, options_of_parts

if TYPE_CHECKING:
    from handgen.storage.filesystem import Location

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Any], Any]


def config_options(config_type: type) -> Callable[[Command], Command]:
    """The options of a configuration, and those that its parts bring; the command gets the whole as `config`."""
    found = [*_options(config_type)]
    texts = {each.name for each in found if each.option.kind != "value"}
    of_parts = {each.name for each in found if each.of_part}

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(*arguments: Any, **values: Any) -> Any:
            given = {each.name: values.pop(each.name) for each in found}
            given |= {name: str(given[name]) for name in texts if given[name] is not None}
            given = {name: value for name, value in given.items() if value is not None or name not in of_parts}
            try:
                config: Any = make_config(config_type, **given)
            except ValueError as error:
                raise click.UsageError(str(error)) from None
            return command(*arguments, config=config, **values)

        for each in reversed(found):
            for made in each.click_options():
                made(run)
        return cast(Command, run)

    return decorate


overwrite_option = functools.partial(click.option, "--overwrite", is_flag=True)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, for programs.")


@dataclass(frozen=True)
class _Described:
    """One option of a command. of_part: whether a part brings it; then it is only passed on where it is given."""

    name: str
    option: Option
    type: Any
    default: Any
    help: str
    of_part: bool = False

    def click_options(self) -> Iterator[Decorator]:
        """Decorators: the option, and the hidden ones of its old names."""
        flag = self.option.flag_of(self.name)
        for old in self.option.old_flags:
            yield click.option(
                self._spelled(old),
                f"old_{self.name}",
                hidden=True,
                expose_value=False,
                is_eager=True,  # so that what it says is the default of the option, whose turn comes later
                callback=functools.partial(_use_old_flag, self.name, old, flag),
                default=None,
                type=self._click_type(),
            )
        is_plain = self.option.default_help is None and not self.of_part
        yield click.option(
            self._spelled(flag),
            self.name,
            type=self._click_type(),
            is_flag=self.type is bool and self.option.spellings is None,
            default=None if self.of_part or self.default is MISSING else self._spelled_default(),
            required=self.default is MISSING and not self.of_part,
            show_default=is_plain and self._has_default(),
            multiple=self.is_repeated,
            metavar=self.option.metavar,
            help=self.help + self._default_help(),
        )

    def _spelled(self, flag: str) -> str:
        """The flag, with its opposite where it is on by default."""
        is_on = self.type is bool and self.default is True and self.option.spellings is None
        return f"{flag}/--no-{flag.removeprefix('--')}" if is_on else flag

    def _spelled_default(self) -> Any:
        words = self.option.spellings or {}
        return next((word for word, value in words.items() if value == self.default), self.default)

    @property
    def is_repeated(self) -> bool:
        """Tell whether the option may be given several times: its field is a tuple of any length."""
        return get_origin(self.type) is tuple and get_args(self.type)[1:] == (Ellipsis,)

    def _has_default(self) -> bool:
        return not any(self.default is none for none in (None, False, MISSING)) and self.default != ()

    def _default_help(self) -> str:
        shown = self.option.default_help
        if shown is None and self.of_part and self._has_default():
            shown = str(self.default)
        return "" if shown is None else f"  [default: {shown}]"

    def _click_type(self) -> Any:
        option, low, high = self.option, self.option.low, self.option.high
        if option.spellings is not None:
            return _Spelled(option.spellings)
        if (allowed := option.allowed()) is not None:
            return click.Choice(list(allowed))
        if option.parse is not None:
            return _Parsed(option.parse)
        if option.kind == "file":
            return LocalPath(exists=True, dir_okay=False)
        if option.kind == "location":
            return LocationType(exists=True, file=True, web=True)
        has_bounds = any(bound is not None for bound in (low, high, option.above))
        if self.type is int and has_bounds:
            return click.IntRange(low, high)  # type: ignore[arg-type]
        if self.type is float and has_bounds:
            return click.FloatRange(option.above if low is None else low, high, min_open=option.above is not None)
        return get_args(self.type)[0] if self.is_repeated else self.type


def _options(config_type: type) -> Iterator[_Described]:
    """Make options of the fields of a configuration, in their order."""
    for field, option in options_of(config_type):
        if option.registry is not None:
            yield from _options_of_parts(option)
        elif option.help:
            type_ = option_types(config_type)[field.name]
            yield _Described(field.name, option, type_, field.default, option.help)


def _options_of_parts(chosen: Option) -> Iterator[_Described]:
    """Make options of the parts of a registry; one option where several have it."""
    assert chosen.registry is not None
    found: dict[str, _Described] = {}
    for name, field, option, part, type_ in options_of_parts(chosen.registry):
        help = f"{part}: {option.help}"
        if name in found:
            help = f"{found[name].help} {help}"
        found[name] = _Described(name, option, type_, field.default, help, of_part=True)
    yield from found.values()


def _use_old_flag(name: str, old: str, flag: str, ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Say that the option has another name now, and make the value the default of that one."""
    if value is None:
        return
    no = "--no-" if value is False else "--"
    old, flag = (no + each.removeprefix("--") for each in (old, flag))
    click.echo(f"note: {old} is called {flag} now", err=True)
    ctx.default_map = {**(ctx.default_map or {}), name: value}


class _Spelled(click.Choice):  # type: ignore[type-arg,unused-ignore]
    """One of some words, each with its value."""

    def __init__(self, values: Any) -> None:
        super().__init__(list(values))
        self._values = values

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value of the word."""
        return self._values[super().convert(value, param, ctx)]


class _Parsed(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """Text that a function makes a value of; its ValueError is wrong usage."""

    name = "text"

    def __init__(self, parse: Callable[[str], Any]) -> None:
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value."""
        try:
            return self._parse(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


class LocationType(click.ParamType):  # type: ignore[type-arg]
    """A path, or the URL of a file or folder in a store.

    exists: it must be there. file: it may be a file, too. web: a file of a web server will do.
    """

    name = "path|url"

    def __init__(self, exists: bool = False, file: bool = False, web: bool = False) -> None:
        self.exists, self.file, self.web = exists, file, web
        self.name = "path|url" if file else "directory|url"
        self._path = click.Path(exists=exists, file_okay=file, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Location:
        """The location; one that is not as it must be is wrong usage."""
        if not isinstance(value, str) or "://" not in value:
            if not self.file and Path(value).is_file():
                folder = str(Path(value).absolute().parent)
                self.fail(f"{str(value)!r} is a file; give the folder that it lies in, {folder!r}.", param, ctx)
            if self.exists and (near := _nearest(Path(value))) is not None:
                kind = self.name.partition("|")[0].capitalize()
                self.fail(f"{kind} {str(value)!r} does not exist. Did you mean {str(near)!r}?", param, ctx)
            return self._path.convert(value, param, ctx)
        if value.startswith(("http://", "https://")) and not self.web:
            said = "is a web address, whose files cannot be listed; copy them here, or give the URL of a store (s3://)."
            self.fail(f"{value!r} {said}", param, ctx)
        from handgen.errors import HandgenError
        from handgen.storage import filesystem

        try:
            place = filesystem.location(value)
            if isinstance(place, Path):
                return self._path.convert(str(place), param, ctx)
            if self.exists and not (
                filesystem.is_folder(place) or (self.file and filesystem.size_of(place) is not None)
            ):
                self.fail(f"{self.name.partition('|')[0].capitalize()} {value!r} does not exist.", param, ctx)
            return place
        except HandgenError as error:
            self.fail(str(error), param, ctx)
        except OSError as error:
            refused = error.errno in (errno.EACCES, errno.EPERM)
            hint = "give credentials that may list and read there" if refused else "correct the URL"
            self.fail(f"{value!r} cannot be read: {error.strerror or error}; {hint} (docs/storage.md)", param, ctx)


def _nearest(path: Path) -> Path | None:
    """The path of the most similar name beside one that does not exist."""
    try:
        names = [] if path.exists() else os.listdir(path.parent)
    except OSError:
        names = []
    near = difflib.get_close_matches(path.name, names, n=1)
    return path.with_name(near[0]) if near else None


class LocalPath(click.Path):
    """A path of this machine: a URL is wrong usage, not a folder called `s3:`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        if isinstance(value, str) and "://" in value:
            self.fail(f"{value!r} is a URL; give a path of this machine", param, ctx)
        return super().convert(value, param, ctx)
