"""Arguments of public functions, checked against their annotations.

A wrong type is a TypeError of one line, such as "annotate: workers takes an integer or None, got '2' (str)". Values
that mean what is asked for are converted: numpy's numbers to Python's, lists to tuples, paths to strings.
"""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, Sequence
from functools import cache, wraps
from pathlib import PurePath
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
_SHOWN = 60  # characters of a wrong value
_WORDS = {
    **{"str": "a string", "int": "an integer", "float": "a number", "bool": "True or False", "NoneType": "None"},
    **{"Path": "a path", "UPath": "a URL", "Callable": "a function", "ndarray": "an array"},
}


class _Mismatch(Exception):
    """A value that its annotation does not allow."""


def check_arguments(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Decorate a function so that its arguments are converted as `convert` does; `**options` are left to it."""
    hints = cache(lambda: _hints(function))  # when it is first called: a decorated function costs nothing to import
    signature = inspect.signature(function)

    @wraps(function)
    def checked(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{function.__qualname__}: {error}; see help(handgen.{function.__qualname__})") from None
        for name, hint in hints().items():
            if name in bound.arguments:
                bound.arguments[name] = convert(f"{function.__qualname__}: {name}", bound.arguments[name], hint)
        return function(*bound.args, **bound.kwargs)

    return checked


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function's parameters; not of `self` or `**options`, nor of what it returns."""
    parameters = inspect.signature(function).parameters.values()
    plain = [p for p in parameters if p.kind is not p.VAR_KEYWORD and p.annotation is not p.empty]
    return {p.name: eval(p.annotation, function.__globals__) for p in plain}


def convert(name: str, value: Any, hint: Any) -> Any:
    """`value` as the annotation `hint` has it; TypeError naming the argument, what it takes and what it got."""
    try:
        return _converted(value, hint)
    except _Mismatch:
        shown = repr(value)
        shown = shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."
        raise TypeError(
            f"{name} takes {describe(hint)}, got {' '.join(shown.split())} ({type(value).__name__})"
        ) from None


def _converted(value: Any, hint: Any) -> Any:
    origin, kinds = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, UnionType):
        exact = [kind for kind in kinds if get_origin(kind) is None and isinstance(value, kind)]
        return _first_converted(value, exact or kinds)
    if origin is Literal:
        return _require(value in kinds, value)
    if origin is tuple:
        _require(isinstance(value, Sequence) and not isinstance(value, str), value)
        kinds = kinds[:1] * len(value) if kinds[-1] is Ellipsis else kinds
        _require(len(value) == len(kinds), value)
        return tuple(_converted(each, kind) for each, kind in zip(value, kinds, strict=True))
    if hint is bool:
        return bool(_require(type(value).__name__ in ("bool", "bool_"), value))  # the second: numpy's before 2
    if hint in (int, float):
        number = numbers.Integral if hint is int else numbers.Real
        return hint(_require(isinstance(value, number) and not isinstance(value, bool), value))
    if hint is str:
        return str(_require(isinstance(value, str | PurePath) or hasattr(value, "protocol"), value))
    if origin is not None and issubclass(origin, Sequence):
        _require(isinstance(value, origin) and not isinstance(value, str), value)
        return [_converted(each, kinds[0]) for each in value]
    return _require(isinstance(value, origin or hint or NoneType), value)


def _first_converted(value: Any, kinds: Sequence[Any]) -> Any:
    for kind in kinds:
        try:
            return _converted(value, kind)
        except _Mismatch:
            continue
    raise _Mismatch


def _require(condition: bool, value: Any) -> Any:
    if not condition:
        raise _Mismatch
    return value


def describe(hint: Any) -> str:
    """The values that an annotation allows, in words."""
    origin, kinds = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        *others, last = dict.fromkeys(describe(kind) for kind in kinds)
        return f"{', '.join(others)} or {last}" if others else last
    if origin is tuple:
        return f"{len(kinds)} values ({', '.join(describe(kind) for kind in kinds)})"
    if origin is Literal:
        return " or ".join(repr(value) for value in kinds)
    if origin is not None and issubclass(origin, Sequence):
        return "a list of such"
    name = getattr(hint, "__name__", str(hint))
    return _WORDS.get(name, name)
