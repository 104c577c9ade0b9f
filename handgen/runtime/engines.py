"""The interface of engines, engines by name, and the options that choose one. Each is imported only when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from handgen.options import chosen_options, option
from handgen.plugins import NoOptions, Registry

Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(Protocol):
    """Does units of work, many at a time.

    What a unit writes depends on its item alone; then neither the engine nor the number of its processes changes
    anything but the time. A unit whose process or machine dies is done again.
    """

    def map_units(self, function: Callable[[Item], Result], items: Iterable[Item], count: int) -> Iterator[Result]:
        """`function(item)` of every item, in order of completion; HandgenError when processes die again and again.

        count: how many items there are. `function` and the items must be picklable; `function` is sent once to each
        process. An exception in a unit propagates from here; units that have not begun are then left out.
        """
        ...


ENGINES: Registry[Callable[[int | None, Any], Engine]] = Registry("engine")


@dataclass(frozen=True)
class RayOptions:
    """Options of the engine `ray`; None: the cluster of RAY_ADDRESS, or a Ray that is started for the run."""

    address: str | None = option(
        None,
        "the Ray cluster to join, from a machine of it.",
        metavar="HEAD:6379",
        default_help="RAY_ADDRESS; else Ray is started here for this run",
        decides_output=False,
    )


def _local(workers: int | None, options: NoOptions) -> Engine:
    from handgen.runtime.local import LocalEngine

    return LocalEngine(workers)


def _ray(workers: int | None, options: RayOptions) -> Engine:
    from handgen.runtime.ray import RayEngine

    return RayEngine(workers, options.address)


def register_engine(name: str, create: Callable[[int | None, Any], Engine] | str, options: type = NoOptions) -> None:
    """Add an engine. create: makes it of a number of workers (None: all) and `options`; or its place, "module:name"."""
    ENGINES.register(name, create, options)


register_engine("local", _local)
register_engine("ray", _ray, RayOptions)


def create_engine(name: str, workers: int | None = None, options: Any = None) -> Engine:
    """The engine `name`, with its own options (None: its defaults). Raises HandgenError where it cannot be had."""
    entry = ENGINES[name]
    return entry.load()(workers, entry.options() if options is None else options)


def workers_option(any_engine: bool = False) -> Any:
    """The field `workers` of a configuration: how many processes, or None."""
    meaning = "one per core" + ("; with ray all CPUs of the cluster" if any_engine else "")
    return option(None, "Processes.", low=1, default_help=meaning, decides_output=False)


def engine_option() -> Any:
    """The field `engine` of a configuration."""
    return option(
        "local",
        "local: processes of this machine. ray: a Ray cluster (`ray start --head` on one machine, "
        "`ray start --address=HEAD:6379` on the others); all nodes must have this handgen, and reach all paths or URLs "
        "under the same names.",
        choices=ENGINES.names,
        decides_output=False,
    )


def engine_options() -> Any:
    """The field `engine_options` of a configuration: what the chosen engine needs besides."""
    return chosen_options("engine", ENGINES)
