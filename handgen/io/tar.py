"""Tars whose bytes depend on their content alone."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

_BLOCK, _RECORD = tarfile.BLOCKSIZE, tarfile.RECORDSIZE
_LONGEST_NAME = 100  # bytes; of a longer one the standard library makes the header
_LARGEST = 8**11  # bytes that eleven octal digits cannot say


def write_tar(path: Path, members: Iterable[tuple[str, bytes]]) -> int:
    """Write (name, content) members in order; the file appears under its name only when complete.

    Times, owners and modes are fixed, so the same members give the same bytes. Returns the number of members.
    """
    partial = path.with_name(path.name + ".partial")
    count = size = 0
    try:
        with partial.open("wb", buffering=1 << 18) as file:
            for name, content in members:
                padded = -len(content) % _BLOCK
                size += file.write(_header(name, len(content))) + file.write(content) + file.write(bytes(padded))
                count += 1
            end = 2 * _BLOCK
            file.write(bytes(end + -(size + end) % _RECORD))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return count


def _header(name: str, size: int) -> bytes:
    """As `tarfile` makes it, whose header of another member is filled in anew: that takes a tenth of the time.

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
