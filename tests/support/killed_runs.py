"""Runs that are killed before a change of their directory, and what such a directory holds."""

import hashlib
import os
import signal
import sys

from handgen.storage.journal import JOURNAL

_CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}


def content(out):
    """SHA-256 by name, locks and half-written files included; the journal tells what happened when."""
    files = (path for path in sorted(out.rglob("*")) if path.is_file() and JOURNAL not in path.parts)
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def killed_before_change(number, out, act):
    """Do `act` in a process that is killed before its `number`-th change of `out`; says whether it got to the end."""
    process = os.fork()
    if process == 0:
        left = number

        def watch(event, arguments):
            nonlocal left
            if event not in _CHANGES or not str(arguments[0]).startswith(str(out)):
                return
            if event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(watch)
            act()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status == 0


def journal_entry(size):
    """Make what a journal notes of a unit, with files of so many bytes."""
    return {name: {"bytes": size, "sha256": "0" * 64} for name in ("records", "cutouts")}
