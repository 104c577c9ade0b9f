"""Write tars whose bytes depend on their content alone, and read pieces of them."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO, Literal

from handgen.storage import filesystem, limits
from handgen.storage.filesystem import Location, whole_file

_BLOCK, _RECORD = tarfile.BLOCKSIZE, tarfile.RECORDSIZE
_LONGEST_NAME = 100  # bytes; of a longer one the standard library makes the header
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)
_LARGEST = 8**11  # bytes that eleven octal digits cannot say

_Mode = Literal["r|", "r:"]
Span = tuple[int, int]  # first byte, number of bytes


@dataclass(frozen=True)
class WrittenTar:
    """A tar that was written. spans: where the members of each stem (a name up to its first dot) lie, with headers."""

    bytes: int
    sha256: str
    spans: dict[str, Span]


def write_tar(path: Location, members: Iterable[tuple[str, bytes]]) -> WrittenTar:
    """Write (name, content) members in order, whole or not at all; the same members give the same bytes."""
    digest = hashlib.sha256()
    size = 0
    spans: dict[str, Span] = {}
    with whole_file(path) as file:
        for name, content in members:
            block = b"".join((_header(name, len(content)), content, bytes(-len(content) % _BLOCK)))
            file.write(block)
            digest.update(block)
            stem = name.partition(".")[0]
            first = spans.setdefault(stem, (size, 0))[0]
            size += len(block)
            spans[stem] = (first, size - first)
        end = 2 * _BLOCK
        end += -(size + end) % _RECORD
        file.write(bytes(end))
        digest.update(bytes(end))
    return WrittenTar(size + end, digest.hexdigest(), spans)


def members_in(data: bytes) -> dict[str, bytes]:
    """Return name and content of the members in a piece of a tar of `write_tar`; ValueError if it is something else."""
    members: dict[str, bytes] = {}
    most = limits.SAMPLE_MEMBERS.allowed
    at = 0
    while at < len(data):
        header = data[at : at + _BLOCK]
        if len(header) < _BLOCK or header[257:262] != b"ustar":
            raise ValueError("not a member of a tar")
        size = int(header[124:135], 8)
        if size < 0 or header[156:157] not in _PLAIN or len(members) >= most:
            raise ValueError("not the members of one sample")
        if at + _BLOCK + size > len(data):
            raise ValueError("the tar ends in the middle of a member")
        at += _BLOCK
        prefix, name = (part.rstrip(b"\0").decode() for part in (header[345:500], header[:100]))
        members[f"{prefix}/{name}" if prefix else name] = data[at : at + size]
        at += size + -size % _BLOCK
    return members


def plain_members(path: Location, mode: _Mode = "r|") -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """Yield the files of a tar, and the tar to take each from before the next is asked for.

    mode: "r|": from beginning to end; "r:": by the headers alone. Folders are passed over. Raises tarfile.TarError for
    a damaged tar, and for a member that is no plain file: a link, a device, or a sparse one, whose holes take no place
    in the tar; HandgenError for one that is larger than its share, OSError where the tar cannot be read.
    """
    with filesystem.open_read(path) as stream, _open(stream, mode) as tar:
        members = iter(tar)
        while (member := _next(members)) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # which would grow with the tar
            tar.pax_headers.clear()  # type: ignore[attr-defined]  # else every member would be given all keys of every global header
            if member.isdir():
                continue
            if member.type not in _PLAIN or member.issparse() or member.size < 0:
                raise tarfile.ReadError(f"{member.name} is no plain file, but a link, a device or one with holes")
            limits.MEMBER.check(member.size, f"{path}: {member.name}")
            yield member, tar


def _open(stream: BinaryIO, mode: _Mode) -> tarfile.TarFile:
    with _one_kind_of_error():
        return tarfile.open(fileobj=stream, mode=mode)


def _next(members: Iterator[tarfile.TarInfo]) -> tarfile.TarInfo | None:
    with _one_kind_of_error():
        return next(members, None)


@contextmanager
def _one_kind_of_error() -> Iterator[None]:
    """Raise TarError for what headers that are damaged, or name one another without end, lead to."""
    try:
        yield
    except (EOFError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
        raise tarfile.ReadError(str(error) or type(error).__name__) from None


def _header(name: str, size: int) -> bytes:
    """Make a header as `tarfile` does, by filling in that of another member: that takes a tenth of the time.

    Format: POSIX.1-1988 ustar: the name in bytes 0 to 99, the size in 124 to 135, the sum in 148 to 155.
    """
    encoded = name.encode()
    if len(encoded) > _LONGEST_NAME or size >= _LARGEST:
        return _header_of(name, size)
    sample = _header_of("", 0)
    before = encoded.ljust(100, b"\0") + sample[100:124] + b"%011o\0" % size + sample[136:148]
    after = sample[156:]
    total = sum(before) + sum(after) + 8 * 0x20  # the sum counts its own field as blanks
    return before + b"%06o\0 " % total + after


@lru_cache(maxsize=1)
def _header_of(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info.tobuf(tarfile.USTAR_FORMAT)
