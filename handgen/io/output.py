"""Output directories: who may write into one, and how a rerun knows that what it finds is its own.

`run.json` is written first and holds the kind of output and everything its bytes depend on.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from handgen.errors import HandgenError
from handgen.io.schema import dumps, read_json, write_json

MANIFEST, RUN = "manifest.json", "run.json"
RUN_SCHEMA = "run"


def claim_output(root: Path, kind: str, run: dict[str, Any], owned: Sequence[str], overwrite: bool) -> None:
    """Make `root` the directory of a run, new or continued.

    run: what decides the bytes. owned: patterns of what this kind of run writes there besides `run.json` and
    `manifest.json`. overwrite: remove what another run of the same kind wrote.
    Raises HandgenError when `root` holds something else, or the output of a different run (naming the difference).
    """
    document = orjson.loads(dumps({"kind": kind, "depends_on": run}))
    if root.exists() and not root.is_dir():
        raise HandgenError(f"{root}: is a file; choose another directory")
    if not root.is_dir() or not any(root.iterdir()):
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HandgenError(f"{root}: cannot be made ({error.strerror}); choose another directory") from None
    elif kind_of(root) != kind:
        raise HandgenError(f"{root}: holds something other than {kind}; choose another directory")
    elif overwrite:
        _remove(root, owned)
    elif not (root / RUN).is_file():
        raise HandgenError(
            f"{root}: holds {kind}, but no {RUN} to go on from; choose another directory, or --overwrite"
        )
    else:
        found = _differences(read_json(root / RUN, RUN_SCHEMA)["depends_on"], document["depends_on"])
        if found:
            raise HandgenError(
                f"{root}: holds {kind} of another run ({'; '.join(found)}); choose another directory, or --overwrite"
            )
        (root / MANIFEST).unlink(missing_ok=True)  # it comes back when everything is in place
        for partial in root.rglob("*.partial"):
            partial.unlink()
        return
    write_json(root / RUN, document, RUN_SCHEMA)


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """While a run writes into `root`: what the disk refuses becomes a HandgenError that says how to go on."""
    try:
        yield
    except OSError as error:
        raise HandgenError(
            f"{error.filename or root}: {error.strerror or error}; what is finished is kept: make room or give "
            "the right to write there and run again, or choose another directory"
        ) from None


def kind_of(root: Path) -> str | None:
    """What a directory was begun or finished as, or None if it is no output of handgen."""
    for name in (RUN, MANIFEST):
        try:
            return read_json(root / name)["kind"]
        except (HandgenError, KeyError, TypeError):
            continue
    return None


def _remove(root: Path, owned: Sequence[str]) -> None:
    """Remove what a run wrote, the manifest first; other files stay."""
    for pattern in (MANIFEST, RUN, *owned):
        for path in sorted(root.glob(pattern)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _differences(old: Any, new: Any, name: str = "") -> list[str]:
    """What differs between two documents, as `configuration.size: 224 there, 256 now`."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            text
            for key in sorted(old.keys() | new.keys())
            for text in _differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
        ]
    return [] if old == new else [f"{name}: {_short(old)} there, {_short(new)} now"]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:12] + "..."
