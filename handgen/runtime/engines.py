"""Engines by name. Each is imported only when asked for."""

from __future__ import annotations

from collections.abc import Callable

from handgen.runtime.engine import Engine


def create_engine(name: str, workers: int | None = None, address: str | None = None) -> Engine:
    """The engine `name`: "local" or "ray". See the classes of these for the options.

    Raises HandgenError where it cannot be had.
    """
    return _FACTORIES[name](workers, address)


def _local(workers: int | None, address: str | None) -> Engine:
    from handgen.runtime.local import LocalEngine

    if address is not None:
        raise ValueError("address is for the engine ray")
    return LocalEngine(workers)


def _ray(workers: int | None, address: str | None) -> Engine:
    from handgen.runtime.ray import RayEngine

    return RayEngine(workers, address)


_FACTORIES: dict[str, Callable[[int | None, str | None], Engine]] = {"local": _local, "ray": _ray}
