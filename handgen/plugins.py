"""Parts that can be swapped, by name, and the modules that add some.

A role (detector, engine, metric, ...) has one `Registry`. An entry says how the part is made and which options it
brings: the command line shows them, and a configuration keeps those of the part that was chosen. A plug-in is a module
that registers parts when it is imported:

    handgen --plugin my_detector annotate CAPTURE --detector mine --threshold 0.4

Modules are named by `--plugin` and by the variable HANDGEN_PLUGINS (`one,two`); worker processes and nodes of a Ray
cluster load the same ones. Installed packages are not searched: that would take a tenth of a second of every command.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from handgen.errors import HandgenError

VARIABLE = "HANDGEN_PLUGINS"

Made = TypeVar("Made")


@dataclass(frozen=True)
class NoOptions:
    """The options of a part that has none."""


@dataclass(frozen=True)
class Entry(Generic[Made]):
    """One part. source: what makes or is it, or "module:name" of that. options: a frozen dataclass of option fields."""

    source: Made | str
    options: type = NoOptions

    def load(self) -> Made:
        """Return what makes or is the part, imported if need be."""
        if not isinstance(self.source, str):
            return self.source
        module, _, name = self.source.partition(":")
        return getattr(importlib.import_module(module), name)


class Registry(Generic[Made]):
    """Parts of one role, by name, in the order in which they were registered."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.entries: dict[str, Entry[Made]] = {}

    def register(self, name: str, source: Made | str, options: type = NoOptions) -> None:
        """Add a part; arguments as in `Entry`. A name that is taken is a ValueError."""
        if name in self.entries:
            raise ValueError(f"{self.role} {name!r}: registered already; choose another name")
        self.entries[name] = Entry(source, options)

    def names(self) -> Sequence[str]:
        """All names, those of plug-ins last."""
        load_plugins()
        return tuple(self.entries)

    def __getitem__(self, name: str) -> Entry[Made]:
        """The entry called `name`; HandgenError for a name that is none."""
        load_plugins()
        if name not in self.entries:
            raise HandgenError(
                f"{self.role} {name!r}: there is none of this name; choose one of {', '.join(self.entries)}"
            )
        return self.entries[name]


def load_plugins(modules: Sequence[str] = ()) -> None:
    """Import the given modules and those that the environment names, each once.

    The given ones are added to `VARIABLE`, so that processes started later load them too. Modules are looked for where
    Python looks, then in the working folder. Raises HandgenError for one that cannot be imported.
    """
    named = list(dict.fromkeys([*_named_by_environment(), *modules]))
    if modules:
        os.environ[VARIABLE] = ",".join(named)
    for name in named:
        if name not in _loaded:
            _loaded.add(name)  # first: registering asks the registry, which loads plug-ins
            _load(name)


def environment() -> dict[str, str]:
    """Variables that another process needs to load the same plug-ins."""
    return {VARIABLE: os.environ[VARIABLE]} if _named_by_environment() else {}


_loaded: set[str] = set()


def _named_by_environment() -> list[str]:
    return [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]


def _load(name: str) -> None:
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        importlib.import_module(name)
    except Exception as error:  # whatever a module of somebody else's does when it is imported
        _loaded.discard(name)
        reason = (str(error).splitlines() or [""])[0]
        raise HandgenError(
            f"plug-in {name}: {type(error).__name__}: {reason}; a plug-in is a module that Python can import: put its "
            "folder on PYTHONPATH, or run handgen in it"
        ) from error
