"""The judge of a case: what it did, how long it took, how much memory it wanted, and how it ended.

An audit hook counts what a reader must not do: start programs, import or run what is no part of the environment, write
outside of the folder that it was given. It sees what Python does; what libraries in C write would show as new files in
the current folder, which is looked at.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from fuzzing.readers import Refusal
from handgen import arguments
from handgen.errors import HandgenError

MAX_CPU_S = 10.0
_AGAIN_S = 4.0  # of CPU, after which a case is interrupted once more
_TICK_S, _IDLE_TICKS, _IDLE_CPU_S = 5.0, 3, 0.01  # blocked: so often in turn, so little was done in so long
MAX_BYTES = 2 * 2**30
_SPARE_BYTES = 2**30  # of address space, over what is allowed: libraries map more than they use
_STARTS = {
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.forkpty",
    "subprocess.Popen",
    "pty.spawn",
}
_STARTS |= {
    "os.startfile",
    "ctypes.dlopen",
    "socket.connect",
    "pickle.find_class",
    "cpython.run_command",
}
_CHANGES = {
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
}
_OF_NAMES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir")  # the name, and not what a link of it points to
_FROM_ONE_TO_ANOTHER = ("shutil.copy", "os.link", "os.symlink")  # and only the other is changed
_PATHS = (str, bytes, os.PathLike)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC

_LIBRARIES = (  # which may run texts of their own; `arguments` evaluates the annotations of public functions
    *(path for path in sys.path if path.endswith("-packages")),
    os.path.dirname(os.__file__),
    arguments.__file__,
)


class TooLong(BaseException):
    """A case took too much time."""


@dataclass(frozen=True)
class Verdict:
    """Tell what became of a case.

    outcome: "accepted", "refused" or "fault". detail: what was said, or the traceback.
    """

    outcome: str
    detail: str = ""
    cpu_s: float = 0.0
    peak_bytes: int = 0


class Watch:
    """Watches cases in this process. Cannot be taken back: audit hooks stay."""

    def __init__(self, allowed: Path, forbidden: Path) -> None:
        """allowed: the folder in which files may be written. forbidden: below it, an input that must stay as it is."""
        self._allowed, self._forbidden = os.path.realpath(allowed), os.path.realpath(forbidden)
        self._seen: list[str] = []
        self._is_watching = False
        installed = {name.partition(".")[0] for name in (*sys.modules, *packages_distributions())}
        self._known = installed | set(sys.stdlib_module_names)
        sys.addaudithook(self._hook)

    def judge(self, read: Callable[[], object]) -> Verdict:
        """Run something, and say how it ended."""
        self._seen.clear()
        before, cpu = _resident(), time.process_time()
        _reset_peak()
        with _limited_memory(), _limited_time():
            try:
                outcome, detail = self._end_of(read)
            except TooLong as error:  # a second one, while the first was told
                outcome, detail = "fault", str(error)
        spent, peak = time.process_time() - cpu, max(_peak() - before, 0)
        for wrong in (
            f"over {MAX_CPU_S:g} s of CPU: {spent:.1f}" * (spent > MAX_CPU_S),
            f"over {MAX_BYTES >> 20} MiB: {peak >> 20}" * (peak > MAX_BYTES),
            *self._seen[:5],
        ):
            if wrong:
                outcome, detail = "fault", f"{wrong}\n{detail}"
        return Verdict(outcome, detail, spent, peak)

    def _end_of(self, read: Callable[[], object]) -> tuple[str, str]:
        """Run something; return the outcome, and what was said or raised."""
        self._is_watching = True
        try:
            read()
        except (HandgenError, Refusal) as error:
            if _asked_for_too_much(error):
                return "fault", f"wanted more than {MAX_BYTES >> 20} MiB: {error}"
            return "refused", str(error)
        except TooLong as error:
            return "fault", f"{error}\n{traceback.format_exc()[-3000:]}"
        except BaseException:
            return "fault", traceback.format_exc()[-6000:]
        finally:
            self._is_watching = False
        return "accepted", ""

    def _hook(self, event: str, values: tuple[Any, ...]) -> None:
        if not self._is_watching:
            return
        self._is_watching = False  # looking may open files itself
        try:
            wrong = self._wrong(event, values)
            if wrong:
                self._seen.append(wrong)
        finally:
            self._is_watching = True

    def _wrong(self, event: str, values: tuple[Any, ...]) -> str:
        if event in _STARTS:
            library = event == "ctypes.dlopen" and (
                values[0] is None or str(values[0]).startswith((sys.prefix, sys.base_prefix, "/lib", "/usr"))
            )
            return "" if library or _in_import() else f"executed: {event} {values!r:.300}"
        if event == "import":
            top = str(values[0]).partition(".")[0]
            return "" if top in self._known or _in_import() else f"imported: {values[0]!r}"
        if event in ("exec", "compile"):
            return self._ran(event, values)
        if event == "open":
            path, mode, flags = (*values, None, None)[:3]
            writes = bool(isinstance(flags, int) and flags & _WRITES) or bool(
                isinstance(mode, str) and set(mode) & set("wax+")
            )
            return self._outside(path) if writes and not isinstance(path, int) else ""
        if event in _CHANGES or event.startswith("shutil."):
            places = values[1:2] if event.startswith(_FROM_ONE_TO_ANOTHER) else values[:2]
            follows = event not in _OF_NAMES
            return next(filter(None, (self._outside(one, follows) for one in places if isinstance(one, _PATHS))), "")
        return ""

    def _ran(self, event: str, values: tuple[Any, ...]) -> str:
        """Find code that was made of a text; what a module that is being imported runs is its own."""
        if event == "compile":
            return ""  # of numpy's headers, by `ast`: what is run shows as "exec"
        name = getattr(values[0], "co_filename", "?")
        is_file = os.path.isabs(name) and name.endswith((".py", ".pyi"))
        return (
            ""
            if is_file or name.startswith("<frozen") or _in_import() or _by_library()
            else f"executed: code of {name!r}"
        )

    def _outside(self, path: Any, follows: bool = True) -> str:
        """Say of a place that is changed if it is outside. follows: whether what a link points to is changed."""
        try:
            folder, name = os.path.split(os.fsdecode(path))
            place = os.path.realpath(os.fsdecode(path)) if follows else os.path.join(os.path.realpath(folder), name)
        except (TypeError, ValueError):
            return ""
        if place == os.devnull or place.startswith("/dev/pts") or "__pycache__" in place:
            return ""
        inside = place == self._allowed or place.startswith(self._allowed + os.sep)
        input_of = place == self._forbidden or place.startswith(self._forbidden + os.sep)
        return "" if inside and not input_of else f"wrote outside: {place!r:.300}"


def _in_import() -> bool:
    return any("importlib" in name for name in _frames())


def _by_library() -> bool:
    """Tell whether a library of the environment runs code that it wrote itself, as dataclasses and namedtuples do.

    What a pickle asks for is seen by its look-up.
    """
    asked = next((name for name in _frames() if name != __file__), "")
    return asked.startswith(_LIBRARIES)


def _frames() -> Iterator[str]:
    frame = sys._getframe(1)
    while frame is not None:
        yield frame.f_code.co_filename
        frame = frame.f_back  # type: ignore[assignment]


def _asked_for_too_much(error: BaseException | None) -> bool:
    """Tell whether an error was made of a want of memory."""
    seen = 0
    while error is not None and seen < 20:
        if isinstance(error, MemoryError):
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False


@contextmanager
def _limited_time() -> Iterator[None]:
    """Interrupt what takes too long, again and again: readers may catch what a decoder raises.

    Time on the clock says nothing where others use the machine: what is blocked does nothing at all.
    """
    idle, done = 0, time.process_time()

    def on_cpu(*_: object) -> None:
        raise TooLong(f"over {MAX_CPU_S:g} s of CPU")

    def on_tick(*_: object) -> None:
        nonlocal idle, done
        now = time.process_time()
        idle, done = idle + 1 if now - done < _IDLE_CPU_S else 0, now
        if idle >= _IDLE_TICKS:
            raise TooLong("blocked: waits for something that does not come")

    signal.signal(signal.SIGPROF, on_cpu)
    signal.signal(signal.SIGALRM, on_tick)
    signal.setitimer(signal.ITIMER_PROF, MAX_CPU_S, _AGAIN_S)
    signal.setitimer(signal.ITIMER_REAL, _TICK_S, _TICK_S)
    try:
        yield
    finally:
        for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
            signal.setitimer(timer, 0)


@contextmanager
def _limited_memory() -> Iterator[None]:
    """Bound the address space at what is mapped now, what is allowed, and some more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    mapped = _mapped()
    if mapped:
        resource.setrlimit(resource.RLIMIT_AS, (mapped + MAX_BYTES + _SPARE_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _statm() -> list[int]:
    try:
        pages = Path("/proc/self/statm").read_text().split()
    except OSError:  # no Linux: nothing is bounded, and memory is not looked at
        return [0, 0]
    return [int(n) * resource.getpagesize() for n in pages]


def _mapped() -> int:
    return _statm()[0]


def _resident() -> int:
    return _statm()[1]


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak() -> int:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
