"""Write files of this machine's disk so that they appear whole: beside their place, synced, then renamed."""

from __future__ import annotations

import errno
import os
import random
import stat
from pathlib import Path

PARTIAL = ".partial"


def write_new(path: Path, data: bytes) -> None:
    """Write a file that is not there yet, so that no link is followed."""
    with path.open("xb") as file:
        file.write(data)


def name_beside(place: Path) -> Path:
    """Return a name for what is being written, this process's own: two that write the same file do not meet."""
    return place.with_name(f"{place.name}.{os.getpid():x}{random.SystemRandom().getrandbits(24):06x}{PARTIAL}")


def is_same(new: Path, there: Path) -> bool:
    """Tell whether there is a file already, and of the same content."""
    try:
        status = there.lstat()
        if not stat.S_ISREG(status.st_mode) or new.stat().st_size != status.st_size:
            return False
        with new.open("rb") as one, there.open("rb") as other:
            while block := one.read(1 << 20):
                if block != other.read(len(block)):
                    return False
        return True
    except OSError:  # none is there, or one that cannot be read
        return False


def sync(path: Path) -> None:
    """Sync a file, or a folder, so that a rename in it survives a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):  # file systems that cannot
            raise
    finally:
        os.close(descriptor)
