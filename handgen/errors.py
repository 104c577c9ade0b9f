"""The one exception that is meant for users."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class HandgenError(Exception):
    """Something a user can fix: names the thing, the fact and the next step, on one line."""


@contextmanager
def explain_unreadable(path: object, hint: str = "") -> Iterator[None]:
    """Raise a HandgenError that names `path` for an OSError; hint: what to do about it."""
    try:
        yield
    except OSError as error:
        then = f"; {hint}" if hint else ""
        raise HandgenError(f"{path}: cannot be read ({error.strerror or error}){then}") from None
