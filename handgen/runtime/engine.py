"""The interface of engines, which do units of work, many at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(Protocol):
    """Does units of work, many at a time.

    What a unit writes depends on its item alone; then neither the engine nor the number of its processes changes
    anything but the time. A unit whose process or machine dies is done again.
    """

    def map_units(self, function: Callable[[Item], Result], items: Iterable[Item], count: int) -> Iterator[Result]:
        """`function(item)` of every item, in order of completion.

        count: how many items there are. `function` and the items must be picklable; `function` is sent once to each
        process. An exception in a unit propagates from here; units that have not begun are then left out.

        Raises HandgenError when units cannot be done because processes die.
        """
        ...
