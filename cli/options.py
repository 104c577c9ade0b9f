"""Option types that more than one command uses."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from handgen.runtime.engine import ENGINES

if TYPE_CHECKING:
    from handgen.storage.filesystem import Location

Command = TypeVar("Command", bound=Callable[..., Any])


def engine_options(command: Command) -> Command:
    """`--workers`, `--engine` and `--address` of a stage, for its configuration."""
    for option in reversed(
        (
            click.option("--workers", type=click.IntRange(1),
                         help="Processes.  [default: one per core; with ray all CPUs of the cluster]"),
            click.option("--engine", type=click.Choice(ENGINES), default=ENGINES[0], show_default=True,
                         help="local: processes of this machine. ray: a Ray cluster (`ray start --head` on one "
                              "machine, `ray start --address=HEAD:6379` on the others); all nodes must have this "
                              "handgen, and reach all paths or URLs under the same names."),
            click.option("--address", metavar="HEAD:6379",
                         help="Of the Ray cluster, on a machine of it.  [default: RAY_ADDRESS; else Ray is started "
                              "here for this run]"),
        )
    ):  # fmt: skip
        command = option(command)
    return command


class LocationType(click.ParamType):
    """A path, or the URL of a file or folder in a store (`s3://`, `gs://`, ...); `file://` becomes a path.

    exists: whether it must be there. file, folder: which of the two it may be.
    """

    name = "path|url"

    def __init__(self, exists: bool = False, file: bool = False, folder: bool = True) -> None:
        self.exists, self.file, self.folder = exists, file, folder
        what = "file" if not folder else "directory" if not file else "path"
        self.name = f"{what}|url"
        self._path = click.Path(exists=exists, file_okay=file, dir_okay=folder, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Location:
        """The location; one that is not as it must be is wrong usage."""
        if not isinstance(value, str) or "://" not in value:
            return self._path.convert(value, param, ctx)
        from handgen.errors import HandgenError
        from handgen.storage import filesystem

        try:
            place = filesystem.location(value)
            if isinstance(place, Path):
                return self._path.convert(str(place), param, ctx)
            if self.exists and not self._is_there(place):
                self.fail(f"{self.name.partition('|')[0].capitalize()} {value!r} does not exist.", param, ctx)
            return place
        except HandgenError as error:
            self.fail(str(error), param, ctx)
        except OSError as error:
            self.fail(f"{value!r} cannot be read: {error.strerror}", param, ctx)

    def _is_there(self, place: Location) -> bool:
        from handgen.storage import filesystem

        return (self.folder and filesystem.is_folder(place)) or (self.file and filesystem.size_of(place) is not None)


class LocalPath(click.Path):
    """A path of this machine: a URL is wrong usage, not a folder called `s3:`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        if isinstance(value, str) and "://" in value:
            self.fail(f"{value!r} is a URL; give a path of this machine", param, ctx)
        return super().convert(value, param, ctx)


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
