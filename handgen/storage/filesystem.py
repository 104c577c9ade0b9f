"""Read and write files of this machine, or of a store that fsspec knows (`s3://`, `gs://`, `memory://`, `file://`).

A location is a `pathlib.Path`, or a `UPath` with the same methods. What is written here appears under its name whole or
not at all: on a disk it is written beside, synced and renamed; to a store it is sent by one put or multipart upload.

Calls of a store are retried when the network fails (`handgen.storage.retry`). Its errors are `OSError`s that name the
URL; a driver that is not installed is a `HandgenError`.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import stat
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, TypeVar

import fsspec
from upath import UPath

from handgen.errors import HandgenError
from handgen.storage import limits, new_files
from handgen.storage.new_files import is_same, name_beside, sync, write_new
from handgen.storage.remote_file import RemoteFile
from handgen.storage.retry import retry

Location: TypeAlias = Path | UPath
Result = TypeVar("Result")

PARTIAL = new_files.PARTIAL
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}  # scheme -> extra of this package that brings the driver
PART_BYTES = 16 * 2**20  # of a multipart upload, which is used for files of two parts and more
READ_BYTES = 8 * 2**20  # at a time, of a file in a store that is read from its beginning
_NONE_THERE = (FileNotFoundError, NotADirectoryError)


def location(text: str | Location) -> Location:
    """Return the location that a user named; HandgenError for a scheme that is unknown, or without its driver."""
    if not isinstance(text, str):
        return text
    if "://" not in text:
        return Path(text)
    scheme = text.partition("://")[0]
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # that a driver is not known to UPath
            place = UPath(text, **_options(scheme))
        place.fs  # noqa: B018  the driver is imported here
    except (ImportError, ValueError, TypeError, AttributeError) as error:  # of a driver that wants more than an address
        extra = EXTRAS.get(scheme)
        hint = f"pip install 'handgen[{extra}]'" if extra else "give a path, or a URL that fsspec has a driver for"
        raise HandgenError(f"{text}: cannot be used here ({' '.join(str(error).split())}); {hint}") from None
    return Path(place.path) if scheme in ("file", "local") else place


def _options(scheme: str) -> dict[str, Any]:
    """Return a driver's options, besides those that fsspec's configuration gives it."""
    if scheme not in EXTRAS:
        return {}
    options: dict[str, Any] = {"use_listings_cache": False}  # one from before another process wrote would be wrong
    if EXTRAS[scheme] == "s3":  # whose library tries again itself, below the driver and us
        said = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
        options["config_kwargs"] = {"retries": {"total_max_attempts": 1, "mode": "standard"}, **said}
    return options


def is_remote(place: Location) -> bool:
    """Tell whether a location lies in a store rather than on a disk."""
    return not isinstance(place, Path)


def put(place: Location, data: bytes) -> None:
    """Write a small file, whole or not at all; one of the same content on the disk is left as it is, without room."""
    if isinstance(place, Path):
        if not _is_there(place, data):
            with whole_file(place) as file:
                file.write(data)
    else:
        _retry(place, lambda: place.fs.pipe_file(place.path, data))


def _is_there(place: Path, data: bytes) -> bool:
    with suppress(OSError):
        status = place.lstat()
        return stat.S_ISREG(status.st_mode) and status.st_size == len(data) and place.read_bytes() == data
    return False


def put_many(files: Iterable[tuple[Location, bytes]]) -> int:
    """Write many small files, each as `put` does, but synced together at the end; returns how many."""
    written: list[Path] = []
    count = 0
    for place, data in files:
        count += 1
        if not isinstance(place, Path):
            put(place, data)
            continue
        written.append(place)
        if _is_there(place, data):
            continue
        beside = name_beside(place)
        try:
            write_new(beside, data)
            beside.replace(place)
        except OSError as error:
            beside.unlink(missing_ok=True)
            error.filename = str(place)
            raise
    for path in [*written, *{path.parent for path in written}]:
        sync(path)
    return count


def put_new(place: Location, data: bytes) -> bool:
    """Write a small file unless there is one of its name, which is left alone; says whether it was written.

    In a store two writers at the same moment may both be told so; and one whose answer was lost, the opposite.
    """
    try:
        if isinstance(place, Path):
            _put_new_here(place, data)
        else:
            _retry(place, lambda: place.fs.pipe_file(place.path, data, mode="create"))
    except FileExistsError:
        return False
    except (OSError, TypeError, NotImplementedError) as error:
        if isinstance(place, Path) or getattr(error, "errno", errno.ENOSYS) not in (errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        if size_of(place) is not None:
            return False
        put(place, data)
    return True


def _put_new_here(place: Path, data: bytes) -> None:
    beside = name_beside(place)
    try:
        write_new(beside, data)
        try:
            os.link(beside, place)  # so that nobody reads it half written
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS):
                raise
            with place.open("xb") as file:  # a file system without hard links
                file.write(data)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def whole_file(place: Location) -> Iterator[BinaryIO]:
    """Open a file to be written, which appears under its name when the block ends, and not at all if it raises.

    One of the same content that is on the disk already is left as it is. One for a store lies on this machine's disk
    (`TMPDIR`) until then, on Linux without a name: it ends with the process.
    """
    if isinstance(place, Path):
        beside = name_beside(place)
        try:
            with beside.open("xb", buffering=1 << 18) as file:  # a new one, never what a link points to
                yield file
                file.flush()
                os.fsync(file.fileno())
            if not is_same(beside, place):
                beside.replace(place)
                sync(place.parent)
        except OSError as error:
            if error.filename in (None, str(beside)):  # a full disk does not say which file it has no room for
                error.filename = str(place)
            raise
        finally:
            beside.unlink(missing_ok=True)
        return
    # Elsewhere than on Linux a file that is opened by its descriptor begins where the descriptor stands.
    has_no_name = sys.platform == "linux"
    open_temporary: Any = tempfile.TemporaryFile if has_no_name else tempfile.NamedTemporaryFile
    with _name_temporary_folder(), open_temporary(buffering=1 << 18) as file:
        yield file
        file.flush()
        send(Path(f"/dev/fd/{file.fileno()}" if has_no_name else file.name), place)


def send(local: Path, place: UPath) -> None:
    """Put a file of this disk into a store, whole or not at all."""
    options = {"chunksize": PART_BYTES} if EXTRAS.get(place.protocol) == "s3" else {}
    _retry(place, lambda: place.fs.put_file(str(local), place.path, **options))


def read(place: Location, share: limits.Share | None = None) -> bytes:
    """Read all of a file; HandgenError for more than `share` allows, of which next to nothing is read."""
    if isinstance(place, Path):
        with open_read(place) as file:
            if share is not None:
                share.check(os.fstat(file.fileno()).st_size, place)
            return file.read()
    if share is None:
        return _retry(place, lambda: place.fs.cat_file(place.path))
    data = read_range(place, 0, share.allowed + 1)
    share.check(len(data), place)
    return data


def read_range(place: Location, start: int, length: int) -> bytes:
    """Read `length` bytes from `start` on, or fewer where the file ends."""
    if isinstance(place, Path):
        with open_read(place) as file:
            file.seek(start)
            return file.read(length)
    try:
        return _retry(place, lambda: place.fs.cat_file(place.path, start=start, end=start + length))
    except OSError as error:  # what is beyond the end is an error to S3
        size = size_of(place) if error.errno == errno.EINVAL else None
        if size is not None and start >= size:
            return b""
        raise


def read_ranges(wanted: Sequence[tuple[Location, tuple[int, int]]]) -> dict[tuple[Location, tuple[int, int]], bytes]:
    """Read pieces (start, length) of files of one store at the same time, without those that cannot be had."""
    if not wanted:
        return {}
    places, spans = zip(*wanted, strict=True)
    starts, ends = [start for start, _ in spans], [start + length for start, length in spans]
    found = _retry(
        places[0], lambda: places[0].fs.cat_ranges([place.path for place in places], starts, ends, on_error="return")
    )
    pieces = zip(wanted, found, strict=True)
    return {key: data for key, data in pieces if isinstance(data, bytes) and len(data) == key[1][1]}


def open_read(place: Location, block: int = READ_BYTES, size: int | None = None) -> BinaryIO:
    """Open a file to read from; one in a store, of `size` if that is known, is fetched `block` bytes at a time."""
    if isinstance(place, Path):
        return open(place, "rb", opener=regular_file)
    if size is None:
        size = size_of(place)
    if size is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(place))
    return io.BufferedReader(RemoteFile(str(place), size, partial(read_range, place)), block)


def regular_file(path: str, flags: int) -> int:
    """Open a file of the disk, as an opener of `open`; OSError for a pipe, a socket or a device.

    A pipe would wait for somebody who writes to it, and a device may never end.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    if not stat.S_ISREG(kind := os.fstat(descriptor).st_mode):
        os.close(descriptor)
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        raise OSError(errno.EINVAL, "a pipe or a device, and not a file", path)
    return descriptor


def digest(place: Location) -> tuple[int, str]:
    """Return bytes and SHA-256 of a file, which is read in pieces."""
    sha256, size = hashlib.sha256(), 0
    with open_read(place) as file:
        while block := file.read(1 << 20):
            sha256.update(block)
            size += len(block)
    return size, sha256.hexdigest()


def size_of(place: Location) -> int | None:
    """Return bytes of a file; None where there is none."""
    try:
        if isinstance(place, Path):
            return place.stat().st_size if place.is_file() else None
        info = _info(place)
    except _NONE_THERE:
        return None
    return info["size"] if info["type"] == "file" else None


def is_folder(place: Location) -> bool:
    """Tell whether a location is a folder; in a store: whether there is anything below it, or it is a bucket."""
    try:
        return place.is_dir() if isinstance(place, Path) else _info(place)["type"] == "directory"
    except _NONE_THERE:
        return False


def _info(place: UPath) -> dict[str, Any]:
    return _retry(place, lambda: place.fs.info(place.path))


def list_names(folder: Location) -> Iterator[str]:
    """Yield the names of the files and folders directly in a folder; none where there is no such folder."""
    try:
        if isinstance(folder, Path):
            with os.scandir(folder) as found:
                yield from (entry.name for entry in found)
        else:
            yield from entries(folder)
    except _NONE_THERE:
        return


def file_sizes(folder: Location) -> dict[str, int]:
    """Return bytes of the files in a folder by name, in one listing; none where there is no such folder."""
    try:
        if isinstance(folder, Path):
            with os.scandir(folder) as found:
                sizes = {entry.name: _size_of_entry(entry) for entry in found}
                return {name: size for name, size in sizes.items() if size is not None}
        return {name: info["size"] for name, info in entries(folder).items() if info["type"] == "file"}
    except _NONE_THERE:
        return {}


def _size_of_entry(entry: os.DirEntry[str]) -> int | None:
    """Return the bytes of a file; None of anything else, such as a link that leads round in a circle."""
    try:
        return entry.stat().st_size if entry.is_file() else None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOENT):
            return None
        raise


def entries(folder: UPath) -> dict[str, dict[str, Any]]:
    """Return a store's facts of what is directly in a folder, by name; FileNotFoundError where there is none."""
    found = _retry(folder, lambda: folder.fs.ls(folder.path, detail=True))
    # Some programs leave an object of the folder's own name, which marks it where it is empty.
    own = folder.path.strip("/")
    return {info["name"].rstrip("/").rpartition("/")[2]: info for info in found if info["name"].strip("/") != own}


def files_below(folder: UPath) -> dict[str, dict[str, Any]]:
    """Return a store's facts of all files below a folder, by their path in it; none where there is no such folder."""
    try:
        found = _retry(folder, lambda: folder.fs.find(folder.path, detail=True))
    except _NONE_THERE:
        return {}
    start = folder.path.rstrip("/") + "/"
    files = {name.removeprefix(start): info for name, info in found.items() if name.startswith(start)}
    folders = {name[:i] for name in files for i, letter in enumerate(name) if letter == "/"}
    return {name: info for name, info in files.items() if name.strip("/") and name.rstrip("/") not in folders}


def make_folder(folder: Location) -> None:
    """Make a folder and those above it; a store has none."""
    if isinstance(folder, Path):
        folder.mkdir(parents=True, exist_ok=True)


def remove(place: Location) -> None:
    """Remove a file, or a folder and all that it holds; nothing is wrong where there is none."""
    if isinstance(place, Path):
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
        return
    with suppress(*_NONE_THERE):
        _retry(place, lambda: place.fs.rm(place.path, recursive=True))


def remove_file(place: Location) -> None:
    """Remove a file, in one request; nothing is wrong where there is none."""
    if isinstance(place, Path):
        place.unlink(missing_ok=True)
        return
    with suppress(*_NONE_THERE):
        _retry(place, lambda: place.fs.rm_file(place.path))


def _retry(place: Location, act: Callable[[], Result]) -> Result:
    return retry(str(place), act)


@contextmanager
def _name_temporary_folder() -> Iterator[None]:
    """Name the temporary folder in the error of a full disk, which is not the store's."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT) and error.filename is None:
            said = f"{error.strerror}, where files for a store are kept until they are whole (set TMPDIR)"
            raise OSError(error.errno, said, tempfile.gettempdir()) from error
        raise
