"""Do a unit of work on a node of a Ray cluster (`handgen.runtime.ray`)."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from handgen.plugins import load_plugins
from handgen.runtime import messages, reproducibility
from handgen.runtime.local import make_sendable

# Packages whose versions decide bytes; of each the names of distributions that bring it.
_PACKAGES = (
    ("handgen",),
    ("numpy",),
    reproducibility.OPENCV,
    ("albumentations",),
    ("scipy",),
    ("simplejpeg",),
    ("pillow",),
    ("torch",),
    ("ai-edge-litert",),
)


class Outcome(NamedTuple):
    """The outcome of a unit: its result, or the exception that it raised and where in the code."""

    result: Any = None
    error: BaseException | None = None
    where: str = ""


class RemoteTraceback(Exception):
    """The cause of an exception that a node raised: its traceback there, as text."""

    def __str__(self) -> str:
        return "\n" + self.args[0]


_functions: dict[str, Callable[[Any], Any]] = {}  # of this worker process: the one it works with, by its name


def _send_messages(actor: Any = None, level: int = 0) -> None:
    """Send the messages of this process to the actor of a run, without waiting for it; drop them if it has none."""

    def write(message: bytes) -> None:
        with suppress(Exception):  # messages are worth no unit
            actor.put.remote([message])

    if actor is not None:
        messages.send_with(write, level)
    elif messages.is_sending():  # of the run before
        messages.send_with(lambda message: None, logging.CRITICAL)


def do_unit(name: str, function: Any, folder: str, item: bytes, send_to: list[Any]) -> Outcome:
    """Do one pickled unit in this process.

    function: Ray's reference to what is called `name`. folder: the run's. send_to: actor and level of messages, or
    nothing.
    """
    import ray
    from ray import cloudpickle

    try:
        if name not in _functions:
            reproducibility.check_host()
            import cv2

            cv2.setNumThreads(1)  # as local workers have; torch has its one from the environment
            if os.path.isdir(folder):
                os.chdir(folder)
            load_plugins()
            _send_messages(*send_to)
            _functions.clear()
            _functions[name] = ray.get(function)
        return Outcome(_functions[name](cloudpickle.loads(item)))
    except Exception as error:
        where = "".join(traceback.format_exception(error))
        error.__traceback__ = error.__cause__ = error.__context__ = None  # of things that cannot be sent
        return Outcome(error=make_sendable(error), where=where)


def create_task() -> tuple[Callable[..., Any], dict[str, str]]:
    """The function that Ray runs for a unit, and the versions of this machine, which it asks every node for.

    A function made here is sent as code, not by name: a node needs no handgen of ours to say what it has instead.
    """
    packages = _PACKAGES
    is_right: list[bool] = []  # of a worker process, once it was looked at

    def versions() -> dict[str, str]:
        import platform
        from importlib.metadata import PackageNotFoundError, version

        found = {"Python": platform.python_version(), "CPU architecture": platform.machine()}
        for names in packages:
            for name in names:
                try:
                    found[names[0]] = version(name)
                    break
                except PackageNotFoundError:
                    continue
        return found

    def handgen_unit(expected: dict[str, str], name: str, function: list[Any], folder: str, item: bytes) -> Any:
        if not is_right:
            import platform

            found = versions()
            if found != expected:
                return platform.node(), found
            is_right.append(True)
        from handgen.runtime.ray_node import do_unit

        return do_unit(name, function[0], folder, item, function[1:])

    return handgen_unit, versions()
