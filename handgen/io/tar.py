"""Tars whose bytes depend on their content alone."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path


def write_tar(path: Path, members: Iterable[tuple[str, bytes]]) -> int:
    """Write (name, content) members in order; the file appears under its name only when complete.

    Times, owners and modes are fixed, so the same members give the same bytes. Returns the number of members.
    """
    partial = path.with_name(path.name + ".partial")
    count = 0
    try:
        with tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
            for name, content in members:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                info.mode = 0o644
                tar.addfile(info, io.BytesIO(content))
                count += 1
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return count
