"""Give a file in a store the interface of Python's files; it is fetched piece by piece."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable
from typing import Any


class RemoteFile(io.RawIOBase):
    """A file of a known size, for an `io.BufferedReader`. read_range: gives (first byte, number of bytes) of it."""

    def __init__(self, url: str, size: int, read_range: Callable[[int, int], bytes]) -> None:
        self._url, self._size, self._read_range = url, size, read_range
        self._at = 0

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a byte, as `io.IOBase.seek` does."""
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, by one request."""
        data = self._next(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        """Read the rest, by one request."""
        return self._next(self._size)

    def _next(self, most: int) -> bytes:
        length = min(most, self._size - self._at)
        if length <= 0:
            return b""
        data = self._read_range(self._at, length)
        if len(data) != length:  # a piece of a picture would look like a damaged one
            raise OSError(errno.EIO, f"{len(data)} of {length} bytes came; did the file change?", self._url)
        self._at += length
        return data
