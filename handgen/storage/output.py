"""Output directories: who may write into one, and how a rerun knows that what it finds is its own.

`run.json` is written first and holds the kind of output and everything its bytes depend on; `manifest.json` last.
"""

from __future__ import annotations

import errno
import fnmatch
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

from handgen.errors import HandgenError
from handgen.storage import filesystem, limits
from handgen.storage.documents import dumps, loads, read_json, write_json
from handgen.storage.filesystem import PARTIAL, Location
from handgen.storage.journal import JOURNAL, Journal
from handgen.storage.lock import LOCK, lock_directory

Inputs = Sequence[Location]

MANIFEST, RUN = "manifest.json", "run.json"
RUN_SCHEMA = "run"


@contextmanager
def claim_output(
    root: Location, kind: str, run: dict[str, Any], owned: Sequence[str], overwrite: bool, inputs: Inputs = ()
) -> Iterator[Journal]:
    """`root` as the directory of a run, new or continued, with nobody else writing there while the block lasts.

    Yields the journal of what is finished. Arguments and HandgenErrors as of `prepare_output`; also one when another
    process holds `root`, and for what the disk or the store refuses.
    """
    with writing(root):
        _check_kind(root, kind)
        _make(root)
        check_apart(root, owned, inputs)
        with lock_directory(root) as hold:
            prepare_output(root, kind, run, owned, overwrite, inputs)
            journal = Journal(root, hold.check)
            try:
                yield journal
            finally:
                journal.close()
                with suppress(OSError):
                    _remove_partials(root)  # of worker processes that were killed


def prepare_output(
    root: Location, kind: str, run: dict[str, Any], owned: Sequence[str], overwrite: bool, inputs: Inputs = ()
) -> None:
    """Make `root` the directory of a run, new or continued.

    run: what decides the bytes. owned: patterns of what this kind of run writes there besides `run.json` and
    `manifest.json`. overwrite: remove what another run of the same kind wrote; one of the same run that is not finished
    is gone on with all the same, since a killed run may have been begun with it. inputs: what the run reads.
    Raises HandgenError when `root` holds something else, the output of a different run (naming the difference), an
    input, or a link out of it.
    """
    document = orjson.loads(dumps({"kind": kind, "depends_on": run}))
    _check_kind(root, kind)
    _check_links(root, owned)
    check_apart(root, owned, inputs)
    if _is_new(root):
        _make(root)
    elif overwrite and not _is_unfinished(root, document):
        _remove(root, owned)
    elif filesystem.size_of(root / RUN) is None:
        raise HandgenError(
            f"{root}: holds {kind}, but no {RUN} to go on from; choose another directory, or --overwrite"
        )
    else:
        found = _differences(read_json(root / RUN, RUN_SCHEMA)["depends_on"], document["depends_on"])
        if found:
            raise HandgenError(
                f"{root}: holds {kind} of another run ({'; '.join(found)}); choose another directory, or --overwrite"
            )
        _remove_partials(root)
        return
    write_json(root / RUN, document, RUN_SCHEMA)


def invalidate_manifest(root: Location) -> None:
    """Take the manifest away, which says that everything is in place, before something of `root` is written anew."""
    filesystem.remove_file(root / MANIFEST)


@contextmanager
def writing(root: Location) -> Iterator[None]:
    """While a run writes into `root`: what the disk or the store refuses becomes a HandgenError: how to go on."""
    try:
        yield
    except OSError as error:
        raise write_error(error, root) from None


def write_error(error: OSError, place: Location) -> HandgenError:
    """Make the error to tell the user when `place`, or what the error names, could not be written."""
    where = str(error.filename or place)
    if error.errno in (errno.EMFILE, errno.ENFILE):
        hint = "what is finished is kept: raise the limit (ulimit -n) or give fewer --workers, and run again"
    elif "://" not in where:
        hint = (
            "what is finished is kept: make room or give the right to write there and run again, or choose another "
            "directory"
        )
    elif error.errno == errno.ENOENT:
        hint = "make the bucket, or correct the URL"
    elif error.errno in (errno.EACCES, errno.EPERM):
        hint = (
            "what is finished is kept: give credentials that may list, read, write and delete there (docs/storage.md) "
            "and run again"
        )
    elif error.errno == errno.EINVAL:
        hint = "correct the URL, or the endpoint (docs/storage.md)"
    else:
        hint = "what is finished is kept: run again when the store answers"
    return HandgenError(f"{where}: {error.strerror or error}; {hint}")


def kind_of(root: Location) -> str | None:
    """Return what a directory was begun or finished as, or None; OSError when a store cannot be asked."""
    for name in (RUN, MANIFEST):
        try:
            if isinstance(root, Path):
                kind = read_json(root / name)["kind"]
            else:
                kind = loads(filesystem.read(root / name, limits.JSON_TEXT), str(root / name))["kind"]
        except (FileNotFoundError, HandgenError, KeyError, TypeError):
            continue
        if isinstance(kind, str):  # a file of somebody else's may say anything
            return kind
    return None


def _check_kind(root: Location, kind: str) -> None:
    if isinstance(root, Path) and root.exists() and not root.is_dir():
        raise HandgenError(f"{root}: is a file; choose another directory")
    if not _is_new(root) and kind_of(root) != kind:
        raise HandgenError(f"{root}: holds something other than {kind}; choose another directory")


def check_apart(root: Location, owned: Sequence[str], inputs: Inputs) -> None:
    """Raise a HandgenError if an input is the output, or lies in a part of it that a run writes and removes."""
    here = _resolved(root)
    for place in inputs:
        there = _resolved(place)
        below = there.removeprefix(f"{here}/").partition("/")[0] if there.startswith(f"{here}/") else None
        if there == here:
            raise HandgenError(f"{root}: is what the run reads; choose another directory")
        if below is not None and any(fnmatch.fnmatch(below, pattern) for pattern in (MANIFEST, JOURNAL, *owned)):
            raise HandgenError(f"{place}: lies in the output, which the run writes; choose another directory")


def _resolved(place: Location) -> str:
    return str(place.resolve() if isinstance(place, Path) else place).rstrip("/")


def _check_links(root: Location, owned: Sequence[str]) -> None:
    """Raise a HandgenError for a link out of the directory in what a run writes: it would write somewhere else."""
    if not isinstance(root, Path):
        return
    inside, folders = root.resolve(), [root]
    patterns = (f"{LOCK}*", f"{RUN}*", f"{MANIFEST}*", JOURNAL, *owned)
    while folders:
        with suppress(FileNotFoundError), os.scandir(folder := folders.pop()) as found:
            for entry in found:
                if folder == root and not any(fnmatch.fnmatch(entry.name, pattern) for pattern in patterns):
                    continue
                if entry.is_symlink() and not _leads_into(Path(entry.path), inside):
                    raise HandgenError(
                        f"{entry.path}: is a link out of the directory or into itself, which is not followed; remove it"
                    )
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))


def _leads_into(link: Path, folder: Path) -> bool:
    try:
        return link.resolve().is_relative_to(folder)
    except RuntimeError:  # of Python up to 3.12, for a circle
        return False


def _remove_partials(root: Location) -> None:
    if isinstance(root, Path):
        for partial in root.rglob(f"*{PARTIAL}"):
            partial.unlink(missing_ok=True)


def _is_new(root: Location) -> bool:
    """Tell whether nobody has written there; a run killed at once may have left its lock, and half of `run.json`."""
    return all(
        name.startswith(LOCK) or (name.startswith(RUN) and name.endswith(PARTIAL))
        for name in filesystem.list_names(root)
    )


def _make(root: Location) -> None:
    try:
        filesystem.make_folder(root)
    except OSError as error:
        raise HandgenError(f"{root}: cannot be made ({error.strerror}); choose another directory") from None


def _is_unfinished(root: Location, document: dict[str, Any]) -> bool:
    """Tell whether `root` holds the beginning of this very run."""
    try:
        return filesystem.size_of(root / MANIFEST) is None and read_json(root / RUN, RUN_SCHEMA) == document
    except HandgenError:  # no run.json, or a damaged one
        return False


def _remove(root: Location, owned: Sequence[str]) -> None:
    """Remove what a run wrote, the manifest first; `run.json`, which says what the directory is, is replaced then."""
    there = list(filesystem.list_names(root))
    for pattern in (MANIFEST, JOURNAL, *owned):
        for name in sorted(fnmatch.filter(there, pattern)):
            filesystem.remove(root / name)


def _differences(old: Any, new: Any, name: str = "") -> list[str]:
    """List what differs between two documents, as `configuration.size: 224 there, 256 now`."""
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
