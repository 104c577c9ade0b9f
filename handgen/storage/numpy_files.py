"""Read numpy's `.npy` and `.npz`: plain arrays of a size that is known and bounded before anything is made.

`numpy.load` believes the header: it makes an array of whatever size that says, unpacks a member of a zip to the end,
and fails in a dozen ways on damaged bytes. Here the header, the directory of the zip and the bytes that are there must
agree, object arrays are refused, and whatever is wrong is one `HandgenError`.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Shaped

from handgen.errors import HandgenError
from handgen.storage import filesystem, limits
from handgen.storage.limits import Share

ZIP_START = b"PK\x03\x04"
_NPY_START = b"\x93NUMPY"
_END, _END_64 = b"PK\x05\x06", b"PK\x06\x07"  # of a zip: the record of its directory; where the larger one is
_END_BYTES, _END_64_BYTES, _END_64_RECORD_BYTES, _COMMENT_BYTES = 22, 20, 56, 2**16
_ENTRY_BYTES = 46  # of a member in the directory, at least
# What numpy writes; others unpack at once all that they claim.
BOUNDED_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_BLOCK = 2**22
_LONGEST_HEADER = 10_000  # as numpy has it
_MOST_AXES = 32


class ObjectArray(HandgenError):
    """An array of Python objects, which only unpickling could read."""


Header = tuple[tuple[int, ...], bool, np.dtype]  # shape, whether by columns, dtype


def read_arrays(
    source: Path | bytes,
    where: str,
    share: Share = limits.ARRAYS,
    choose: Callable[[list[str]], Collection[str]] | None = None,
    charge: Callable[[Header], int] = lambda header: 0,
) -> dict[str, np.ndarray]:
    """Return the arrays of an `.npz` by name, or of an `.npy` as "".

    share: what all of them may take together. choose: which of the names are read, all by default. charge: what is made
    of an array takes besides. Raises HandgenError naming `where` and the array.
    """
    arrays: dict[str, np.ndarray] = {}
    taken = 0
    for name, stream, size in _streams(source, where, choose):
        place = f"{where}: {name}" if name else where
        with _one_line(place):
            header = _header(stream, place)
            taken += _byte_count(header) + charge(header)
            share.check(taken, where)
            arrays[name] = _content(stream, header, size)
    return arrays


def read_header(source: Path | bytes, where: str, name: str = "") -> Header:
    """Return shape, order and dtype of the array `name` of an `.npz`, or of an `.npy`, without its content."""
    for found, stream, _ in _streams(source, where, lambda names: [name] if name in names else []):
        with _one_line(f"{where}: {found}" if found else where):
            return _header(stream, where)
    raise HandgenError(f"{where}: has no array {name!r}")


def open_zip(file: IO[bytes], where: str) -> zipfile.ZipFile:
    """Open a zip whose directory is not too large; the standard library reads it whole. HandgenError for no zip."""
    size = file.seek(0, io.SEEK_END)
    start = max(0, size - _END_BYTES - _COMMENT_BYTES - _END_64_BYTES)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) < at + _END_BYTES:
        raise HandgenError(f"{where}: cannot be read as a zip (its end is missing); is the file truncated?")
    directory = int.from_bytes(tail[at + 12 : at + 16], "little")
    locator = tail[max(0, at - _END_64_BYTES) : at]
    if locator.startswith(_END_64):  # 4.3.14 and 4.3.15 of PKWARE's APPNOTE: a record with room for larger numbers
        named = int.from_bytes(locator[8:16], "little")
        before = size - len(tail) + at - _END_64_BYTES - _END_64_RECORD_BYTES  # where the library looks for it
        directory %= 0xFFFFFFFF  # which stands for "see there"
        for place in (named, before):
            file.seek(min(max(0, place), size))
            directory = max(directory, int.from_bytes(file.read(_END_64_RECORD_BYTES)[40:48], "little"))
    limits.ARCHIVE_MEMBERS.check(directory // _ENTRY_BYTES, where)
    file.seek(0)
    with _one_line(where):
        return zipfile.ZipFile(file)


def _streams(
    source: Path | bytes, where: str, choose: Callable[[list[str]], Collection[str]] | None
) -> Iterator[tuple[str, IO[bytes], int]]:
    """Yield name, stream and bytes of each array."""
    with _opened(source) as file:
        start = file.read(len(_NPY_START))
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        if start == _NPY_START:
            yield "", file, size
            return
        if not start.startswith(ZIP_START):
            raise HandgenError(f"{where}: cannot be read as a numpy array (it is neither .npy nor .npz)")
        with open_zip(file, where) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            wanted = list(members) if choose is None else choose(list(members))
            for name in wanted:
                info = members[name]
                if info.compress_type not in BOUNDED_PACKINGS:
                    raise HandgenError(f"{where}: {name}: packed in a way that numpy does not; write it by numpy.savez")
                with _one_line(f"{where}: {name}"), archive.open(info) as stream:
                    yield name, stream, info.file_size


@contextmanager
def _opened(source: Path | bytes) -> Iterator[IO[bytes]]:
    with filesystem.open_read(source) if isinstance(source, Path) else io.BytesIO(source) as file:
        yield file


def _header(stream: IO[bytes], where: str) -> Header:
    """Read the header; HandgenError for an array of objects, ValueError for what is none."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version[0]}.{version[1]} of the format")
    is_first = version == (1, 0)
    read = np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
    prefix = stream.read(2 if is_first else 4)
    length = int.from_bytes(prefix, "little")
    if length > _LONGEST_HEADER:  # numpy would read it before it says so
        raise ValueError(f"its header has {length} bytes")
    shape, by_columns, dtype = read(io.BytesIO(prefix + stream.read(length)))
    if dtype.hasobject:
        what = "cannot be read as a numpy array: a sparse matrix or another Python object, which is not read"
        raise ObjectArray(f"{where}: {what}; save plain arrays")
    if len(shape) > _MOST_AXES or any(type(n) is not int or not 0 <= n < 2**63 for n in shape) or not dtype.itemsize:
        raise ValueError("its shape or dtype is none")
    return shape, by_columns, dtype


def _byte_count(header: Header) -> int:
    shape, _, dtype = header
    return math.prod(shape) * dtype.itemsize


def _content(stream: IO[bytes], header: Header, size: int) -> Shaped[np.ndarray, "..."]:
    """Read the bytes of an array, whose number is known to be in order. size: of the stream, header included."""
    shape, by_columns, dtype = header
    count = _byte_count(header)
    if count > size:
        raise ValueError(f"it claims the shape {shape}, {count} bytes, but has fewer")
    content = memoryview(bytearray(count))
    filled = 0
    while filled < count:
        block = stream.read(min(_BLOCK, count - filled))
        if not block:
            raise ValueError(f"it ends after {filled} of {count} bytes")
        content[filled : filled + len(block)] = block
        filled += len(block)
    return np.ndarray(shape, dtype, content, order="F" if by_columns else "C")


@contextmanager
def _one_line(where: str) -> Iterator[None]:
    """Turn whatever zip, its decompressors and numpy raise for damaged bytes into one HandgenError."""
    try:
        yield
    except (HandgenError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise HandgenError(f"{where}: cannot be read as a numpy array ({reason}); is the file truncated?") from None
