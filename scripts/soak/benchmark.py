"""A bench to try faults on: copies of a finished output, small disks, and what must come of a disturbed run."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from runs import Run, Stage, differences, digests, partials

from handgen.storage.lock import LOCK

PAGE = 4096  # bytes
ROOM = 64 * 2**20  # bytes: enough for everything
_BUSY_TRIES, _BUSY_WAIT_S = 100, 0.1


@dataclass(frozen=True)
class Outcome:
    """Outcome of a fault. survived: None where it could not be tried. said: by handgen, and what went wrong."""

    name: str
    stage: str
    survived: bool | None
    said: str


@dataclass
class Bench:
    """A stage, its undisturbed output in `reference`, and a place to make copies of it."""

    stage: Stage
    folder: Path
    reference: Path
    expected: dict[str, str]
    wrong: list[str] = field(default_factory=list)  # of the fault that is being tried

    def check(self, is_so: bool, otherwise: str) -> None:
        """Note what is not as it should be."""
        if not is_so:
            self.wrong.append(otherwise)

    def fresh(self) -> Path:
        """A path with nothing there."""
        out = self.folder / "fault" / self.stage.name  # an export is called by its folder's name
        shutil.rmtree(out, ignore_errors=True)
        out.parent.mkdir(exist_ok=True)
        return out

    def finished(self) -> Path:
        """A copy of the undisturbed output, journal and all."""
        return Path(shutil.copytree(self.reference, self.fresh()))

    def begun(self, out: Path) -> Path:
        """A run that was killed after its first units."""
        run = Run(self.stage, out)
        run.wait_until(lambda: len(self.stage.finished(out)) >= 2)
        run.kill()
        return out

    def fails(self, run: Run, *words: str) -> str:
        """It must end with status 1 and one line with all of these; gives the line."""
        status, said = run.wait(), run.said()
        self.check(status == 1, f"exit status {status}")
        self.check(said.startswith("Error: "), "no error in one line")
        self.check(not any("Traceback" in line for line in run.lines()), "a traceback")
        for word in words:
            self.check(word in said, f"does not say {word!r}")
        return said

    def is_whole(self, out: Path) -> None:
        """Files that lie under the names of finished files must be the same as in the undisturbed output."""
        self.check(not partials(out), "half-written files")
        wrong = [
            name
            for name, digest in digests(out, self.reference).items()
            if self.expected.get(name) != digest and name != LOCK
        ]
        self.check(not wrong, f"differ: {', '.join(wrong)}")

    def completes(self, out: Path, *more: str, workers: int = 2) -> str:
        """Check that the same command finishes with the expected bytes; gives what it said."""
        return self.ends_well(Run(self.stage, out, workers, *more))

    def ends_well(self, run: Run) -> str:
        """The run must finish with the expected bytes."""
        status = run.wait()
        self.check(status == 0, f"then exit status {status}: {run.said()}")
        wrong = differences(digests(run.out), self.expected)
        self.check(not wrong, f"then differ: {', '.join(wrong)}")
        return run.said()


class CannotTry(Exception):
    """A fault that cannot be brought about here."""


class Disk:
    """A small file system of its own, in memory."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.out = root, root / name

    def remount(self, options: str) -> None:
        """Change its size, or make it read-only."""
        _mounting(["mount", "-o", f"remount,{options}", str(self.root)])

    def fill(self, free: int) -> None:
        """Leave so many bytes free."""
        with (self.root / "filler").open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(PAGE)) == PAGE:
                pass
        size = (self.root / "filler").stat().st_size
        with (self.root / "filler").open("r+b") as file:
            file.truncate(size - free)

    def make_room(self) -> None:
        """Undo `fill`."""
        (self.root / "filler").unlink()


@contextmanager
def small_disk(bench: Bench, size: int) -> Iterator[Disk]:
    """A disk of `size` bytes, while the block lasts.

    Raises CannotTry where none can be mounted.
    """
    root = bench.folder / "disk"
    root.mkdir(exist_ok=True)
    _mounting(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(root)])
    try:
        yield Disk(root, bench.stage.name)
    finally:
        subprocess.run(["umount", "--lazy", str(root)], check=True)


def _mounting(command: list[str]) -> None:
    for _ in range(_BUSY_TRIES):  # while the workers of a killed run end, their files keep a disk busy
        done = subprocess.run(command, capture_output=True, text=True)
        if "busy" not in done.stderr:
            break
        time.sleep(_BUSY_WAIT_S)
    if done.returncode:
        raise CannotTry(f"no file system can be mounted here ({done.stderr.strip()})")
