"""Inputs as sets of files in memory, by their paths below a folder."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


@dataclass(frozen=True)
class Special:
    """An entry of a folder that is no regular file.

    kind: "fifo", "folder", "circle" (a link to itself), or "link" to `target`.
    """

    kind: str
    target: str = ""


Content = bytes | Special
FileSet = dict[str, Content]


def load_files(folder: Path) -> FileSet:
    """Read all files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def write_files(folder: Path, files: FileSet) -> None:
    """Write a set of files; names that no file system takes, and those that are folders of others, are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        try:
            _write_entry(folder / name, content)
        except (OSError, ValueError):  # too long, NUL, "a" beside "a/b"
            continue


def _write_entry(path: Path, content: Content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content.kind == "fifo":
        os.mkfifo(path)
    elif content.kind in ("link", "circle"):
        path.symlink_to(content.target or path.name)
    else:
        path.mkdir()


def generator(reader: str, seed: int, case: int) -> np.random.Generator:
    """Return the random numbers of a case."""
    return np.random.default_rng([seed, zlib.crc32(reader.encode()), case])


def choose(rng: np.random.Generator, options: Sequence[T]) -> T:
    """Choose one of several, whatever they are."""
    return options[int(rng.integers(len(options)))]


def chance(rng: np.random.Generator, share: float) -> bool:
    """Return True in this share of calls."""
    return bool(rng.random() < share)


def shuffled(rng: np.random.Generator, values: Sequence[Any]) -> list[Any]:
    """Return the values in another order."""
    return [values[i] for i in rng.permutation(len(values))]
