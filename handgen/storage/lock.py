"""Let one process at a time write into a directory.

On a disk the lock is the kernel's (`flock`), which ends with the process. In a store, and on a file system without such
locks, it is a lease: an object made only if there is none, which its holder touches every `BEAT_S`. Whoever finds one
that was not touched for `STALE_S` by its own word watches it for two beats, since clocks differ, and takes it over if
nothing stirs; one of a process of this machine that is no more is taken over at once. Before each touch the holder
looks whether the lease is still its own: who lost it, because it slept too long or because the store knows no "only if
there is none", is told by `WriteLock.check` and stops. What two wrote in between are the same bytes, each file whole.

filelock would replace `_lock_file` alone: it leaves its file in every output, does not say who holds it, and falls back
where the file system says ENOSYS; network file systems say ENOLCK.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import stat
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

from handgen.errors import HandgenError
from handgen.storage import filesystem, limits
from handgen.storage.filesystem import Location

LOCK = ".lock"  # of the kernel; and what the names of all begin with
LEASE = ".lock.lease"
BEAT_S, STALE_S = 20.0, 90.0
_SETTLED_S = 2.0  # after a lease was taken over: whoever took it at the same moment has written by then
_ATTEMPTS = 5
_LONGEST = 200  # of what a lock says of its holder
_NUMBERS = ("process", "alive_at")
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)

log = logging.getLogger(__name__)


class WriteLock:
    """The right to write into a directory, while it lasts."""

    lost: HandgenError | None = None

    def check(self) -> None:
        """Raise a HandgenError naming the holder when another process has taken the directory over."""
        if self.lost is not None:
            raise self.lost


@contextmanager
def lock_directory(root: Location) -> Iterator[WriteLock]:
    """Hold the directory `root`, which exists, as its only writer; HandgenError naming the holder if there is one."""
    descriptor = _lock_file(root / LOCK) if isinstance(root, Path) else None
    if descriptor is None or not isinstance(root, Path):
        with _hold_lease(root / LEASE) as hold:
            yield hold
        return
    try:
        yield WriteLock()
    finally:
        with suppress(OSError):
            os.unlink(root / LOCK)  # while it is held: who waits for it finds that it is gone, and makes anew
        os.close(descriptor)


def _lock_file(path: Path) -> int | None:
    """Return a descriptor that holds the kernel's lock on `path`; None where the file system has no locks."""
    while True:
        descriptor = _open_lock(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_ino == _inode(path):
                os.truncate(descriptor, 0)
                os.pwrite(descriptor, orjson.dumps(_holder()), 0)
                return descriptor
            os.close(descriptor)  # its holder removed it in between
        except BlockingIOError:
            held_by = _parse_holder(os.pread(descriptor, 4096, 0))
            os.close(descriptor)
            raise _held_error(path, held_by) from None
        except OSError as error:
            os.close(descriptor)
            if error.errno not in _NO_LOCKS:
                raise
            path.unlink(missing_ok=True)
            return None


def _open_lock(path: Path) -> int:
    """Open the file of a lock, never what a link of its name points to."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0)
    try:
        if path.is_symlink():  # where the system cannot open without following
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        descriptor = os.open(path, flags, 0o644)
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1:  # 0: its holder has just removed it
            return descriptor
        os.close(descriptor)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EMLINK):
            raise
    raise HandgenError(f"{path}: is a link, a folder or a pipe, and no lock of handgen's; remove it") from None


@contextmanager
def _hold_lease(path: Location) -> Iterator[WriteLock]:
    """Hold a lease, touched by a thread."""
    mine, hold = _holder(), WriteLock()
    _take_lease(path, mine)
    done = threading.Event()

    def beat() -> None:
        while not done.wait(BEAT_S):
            try:
                found = _read_lease(path)
                if found is not None and found.get("token") != mine["token"]:
                    hold.lost = _held_error(path, found)
                    return
                filesystem.put(path, _lease(mine))
            except OSError as error:
                log.warning("%s: cannot be touched (%s); another run may take it for dead", path, error.strerror)

    thread = threading.Thread(target=beat, name="handgen-lease", daemon=True)
    thread.start()
    try:
        yield hold
    finally:
        done.set()
        thread.join()
        with suppress(OSError):
            if (_read_lease(path) or {}).get("token") == mine["token"]:
                filesystem.remove_file(path)


def _take_lease(path: Location, mine: dict[str, Any]) -> None:
    taken_over = False
    for _ in range(_ATTEMPTS):
        found = _read_lease(path)
        if found is None:
            filesystem.put_new(path, _lease(mine))
            if taken_over:
                time.sleep(_SETTLED_S)
            # Read back: an answer may have been lost, and some stores write over what is there.
            found = _read_lease(path)
            if found is not None and found.get("token") == mine["token"]:
                return
        if found is not None:
            _check_stale(path, found)
            log.warning("%s: taking over from %s, which is silent", path, _describe(found))
            filesystem.remove_file(path)
            taken_over = True
    raise _held_error(path, {})


def _check_stale(path: Location, found: dict[str, Any]) -> None:
    """Raise a HandgenError naming the holder of a lease unless it is dead, or has been silent for long enough."""
    if _is_dead(found):
        return
    silent_s = time.time() - found.get("alive_at", 0.0)
    if abs(silent_s) < STALE_S:
        raise _held_error(path, found, f"; if that run was killed, this ends in {STALE_S - silent_s:.0f} s")
    log.warning("%s: looking for %.0f s whether %s is alive", path, 2 * BEAT_S, _describe(found))
    time.sleep(2 * BEAT_S)
    now = _read_lease(path)
    if now is not None and now != found:
        raise _held_error(path, now)


def _read_lease(path: Location) -> dict[str, Any] | None:
    """Read a lease; None where there is none."""
    try:
        return _parse_holder(filesystem.read(path, limits.JSON_TEXT))
    except FileNotFoundError:
        return None


def _lease(mine: dict[str, Any]) -> bytes:
    return orjson.dumps(mine | {"alive_at": time.time()})


def _is_dead(holder: dict[str, Any]) -> bool:
    """Say whether the holder was a process of this machine that has ended."""
    if holder.get("machine") != _machine_id() or not isinstance(holder.get("process"), int):
        return False
    with suppress(OSError, OverflowError):
        try:
            os.kill(holder["process"], 0)
        except ProcessLookupError:
            return True
    return False


def _machine_id() -> str:
    """Name the range in which process numbers are unique: this host since it was started, and this container."""
    try:
        parts = [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")]
    except OSError:  # macOS: after a restart a dead holder may be taken for alive, until its lease is stale
        parts = [f"{uuid.getnode():x}"]
    return " ".join([socket.gethostname(), *parts])


def _holder() -> dict[str, Any]:
    return {
        "token": uuid.uuid4().hex,
        "host": socket.gethostname(),
        "machine": _machine_id(),
        "process": os.getpid(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200],
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _parse_holder(text: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:  # its holder is about to write it
        return {}
    if not isinstance(found, dict):
        return {}
    numbers = {name: found[name] for name in _NUMBERS if isinstance(found.get(name), int | float)}
    texts = {name: value[:_LONGEST] for name, value in found.items() if isinstance(value, str) and name not in _NUMBERS}
    return numbers | texts


def _describe(holder: dict[str, Any]) -> str:
    if "process" not in holder:
        return "another process"
    return (
        f"process {holder['process']} on {holder.get('host')} (`{holder.get('command')}`, since {holder.get('since')})"
    )


def _held_error(path: Location, holder: dict[str, Any], hint: str = "") -> HandgenError:
    return HandgenError(
        f"{path.parent}: {_describe(holder)} is writing there; wait until it ends, or choose another directory{hint}"
    )


def _inode(path: Path) -> int | None:
    try:
        return path.lstat().st_ino
    except FileNotFoundError:
        return None
