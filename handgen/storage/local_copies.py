"""handgen's folder in the user's cache, and copies there of a store's files, for readers that want files of a disk.

Of the copies, `files/` holds each file once, by its URL, size and version (the store's entity tag or time of change),
`folders/` links to them under their own names. Any number of processes may fetch the same files; each appears when it
is whole. Nothing is ever removed there but by the user.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from upath import UPath

from handgen.errors import HandgenError, explain_unreadable
from handgen.storage import filesystem
from handgen.storage.filesystem import Location
from handgen.storage.retry import retry

_THREADS = 8
_VERSIONS = ("ETag", "etag", "md5Hash", "generation", "LastModified", "mtime", "updated", "created")  # as drivers say
_known: dict[tuple[LocalCopy, Path], Path] = {}  # copies that this process has seen, by the cache that they lie in
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def cache_folder() -> Path:
    """Return `HANDGEN_CACHE`, or handgen's folder in the user's cache."""
    import platformdirs

    return Path(os.environ.get("HANDGEN_CACHE") or platformdirs.user_cache_dir("handgen"))


def write_cached(path: Path, data: bytes) -> None:
    """Write a file of the cache; it appears under its name only when complete."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        filesystem.put(path, data)
    except OSError as error:
        raise HandgenError(f"{path}: cannot be written ({error.strerror}); set HANDGEN_CACHE") from None


@dataclass(frozen=True)
class StoredFile:
    """name: path below the folder, "/" between its parts."""

    name: str
    bytes: int
    version: str


@dataclass(frozen=True)
class LocalCopy:
    """A file or folder of a store, as it was listed, and its copy on this machine; another makes a copy of its own.

    origin: the folder's URL. name: of the one file that is meant, or empty for the folder.
    """

    origin: UPath
    files: tuple[StoredFile, ...]
    name: str = ""

    def path(self, progress: Callable[[int, int], None] | None = None) -> Path:
        """Return the copy's path, made if need be, or raise a HandgenError. progress: called with MiB done and all."""
        folder = _known.get((self, cache_folder()))
        if folder is None:
            folder = _known[self, cache_folder()] = _folder(self, cache_folder(), progress)
        return folder / self.name

    @contextmanager
    def named_by_origin(self) -> Iterator[None]:
        """Make errors in the block name the URL instead of the copy."""
        try:
            yield
        except HandgenError as error:
            copy, text = str(_folder_path(self, cache_folder())), str(error)
            if copy not in text:
                raise
            raise HandgenError(text.replace(copy, str(self.origin).rstrip("/"))) from None


def fetch(place: UPath, wanted: Callable[[Iterable[str]], set[str]] = set, beside: tuple[str, ...] = ()) -> LocalCopy:
    """List a file or folder of a store; it is copied when `LocalCopy.path` is asked for.

    wanted: which files of a folder, of their paths below it. beside: endings of what is copied with a single file.
    Raises HandgenError when there is nothing.
    """
    url = str(place).rstrip("/")
    with explain_unreadable(url, "see docs/storage.md"):
        if filesystem.size_of(place) is not None:
            origin, name = place.parent, place.name
            found = {
                path: info
                for path, info in filesystem.entries(origin).items()
                if info["type"] == "file" and (path == name or path.lower().endswith(beside))
            }
        else:
            origin, name = place, ""
            everything = filesystem.files_below(place)
            found = {path: everything[path] for path in wanted(everything)}
    if not found:
        raise HandgenError(f"{url}: no such file or folder; correct the URL")
    files = tuple(StoredFile(path, info["size"], _version(info)) for path, info in sorted(found.items()))
    return LocalCopy(origin, files, name)


def local_path(
    place: Location, progress: Callable[[int, int], None] | None = None, beside: tuple[str, ...] = ()
) -> Path:
    """Return the path of a file or folder, or of a copy of a store's (`fetch`, `LocalCopy.path`)."""
    return place if isinstance(place, Path) else fetch(place, beside=beside).path(progress)


def _version(info: dict[str, Any]) -> str:
    found = next((info[key] for key in _VERSIONS if info.get(key)), "")
    return str(found.timestamp() if isinstance(found, datetime) else found)  # drivers say either of a time


def _folder_path(copy: LocalCopy, cache: Path) -> Path:
    digest = hashlib.sha256(str(copy.origin).encode())
    for file in copy.files:
        digest.update(f"\n{file.name}\0{file.bytes}\0{file.version}".encode("utf-8", "surrogateescape"))
    return cache / "folders" / digest.hexdigest()[:32]


def _folder(copy: LocalCopy, cache: Path, progress: Callable[[int, int], None] | None) -> Path:
    folder = _folder_path(copy, cache)
    if all((folder / file.name).exists() for file in copy.files):  # links that lead somewhere
        return folder
    for file in copy.files:
        if any(part in ("", ".", "..") for part in file.name.split("/")) or "\0" in file.name:
            raise HandgenError(f"{copy.origin}: {file.name!r} cannot be the name of a file; rename it")
    total, done = sum(file.bytes for file in copy.files), 0
    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            for file in pool.map(partial(_copy, copy.origin, cache), copy.files):
                done += file.bytes
                if progress:
                    progress(done >> 20, max(1, total >> 20))
        if progress:
            progress(max(1, total >> 20), max(1, total >> 20))
        _link(copy, cache, folder)
    except OSError as error:
        if error.errno in _FULL or "://" not in str(error.filename):
            raise HandgenError(
                f"{cache}: {error.strerror or error}; copies of {copy.origin} are kept there: make room, or set "
                "HANDGEN_CACHE to another folder"
            ) from None
        raise HandgenError(f"{error.filename}: cannot be read ({error.strerror}); run again") from None
    return folder


def _copy(origin: UPath, cache: Path, file: StoredFile) -> StoredFile:
    """Fetch a file unless it is there."""
    path = _file_path(origin, cache, file)
    if path.is_file() and path.stat().st_size == file.bytes:
        return file
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial_name = tempfile.mkstemp(suffix=filesystem.PARTIAL, dir=path.parent)
    os.close(descriptor)
    place, beside = origin / file.name, Path(partial_name)

    def get() -> None:
        place.fs.get_file(place.path, str(beside))
        if beside.stat().st_size != file.bytes:
            raise OSError(errno.EIO, f"{beside.stat().st_size} of {file.bytes} bytes came", str(place))

    try:
        retry(str(place), get)
        if _version(retry(str(place), lambda: place.fs.info(place.path))) != file.version:
            raise HandgenError(f"{place}: was changed while it was read; run again")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return file


def _file_path(origin: UPath, cache: Path, file: StoredFile) -> Path:
    key = f"{origin / file.name}\0{file.bytes}\0{file.version}"
    return cache / "files" / hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _link(copy: LocalCopy, cache: Path, folder: Path) -> None:
    """Make the folder of links; it appears when it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(suffix=filesystem.PARTIAL, dir=folder.parent))
    try:
        for file in copy.files:
            link = made / file.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(_file_path(copy.origin, cache, file).absolute())
        if not folder.exists():
            made.rename(folder)
    except OSError:
        if not folder.exists():  # another process made it
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
