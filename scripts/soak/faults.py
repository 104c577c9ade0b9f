"""Faults one at a time: what a disk, a machine or a user can do to a run, and what must come of it.

A fault is survived when the run says in one line what is wrong and exits with 1, or goes on; when nothing half-written
lies under the name of something finished; and when the same command afterwards gives the bytes of an undisturbed run.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
from benchmark import PAGE, ROOM, Bench, CannotTry, Outcome, small_disk
from damage import damaged_cutouts, damaged_picture
from machine import (
    clock_jumps,
    disk_full_at_any_write,
    interrupted,
    lost_network,
    terminated,
    two_at_one_instant,
)
from runs import Run, Stage, end, stamps

from handgen.storage.journal import JOURNAL
from handgen.storage.lock import LOCK
from handgen.storage.output import RUN

Fault = Callable[[Bench], str]


def try_all(bench: Bench, wanted: str, say: Callable[[str], None]) -> list[Outcome]:
    """All faults of a stage that have `wanted` in their name."""
    found = []
    for name, (fault, stages) in FAULTS.items():
        if bench.stage.name not in stages or wanted not in name:
            continue
        bench.wrong.clear()
        survived: bool | None
        try:
            said = fault(bench)
            survived = not bench.wrong
        except CannotTry as error:
            said, survived = str(error), None
        text = "; ".join([_without_paths(bench, said), *bench.wrong])
        found.append(Outcome(name, bench.stage.name, survived, text))
        say(f"{bench.stage.name}: {name}: {survived}: {text}")
        bench.fresh()
    return found


def _without_paths(bench: Bench, said: str) -> str:
    said = said.removeprefix("Error: ")
    for path, name in ((bench.fresh(), "OUT"), (bench.folder / "disk", "DISK"), (bench.folder, "DIR")):
        said = said.replace(str(path), name)
    said = re.sub(r"process \d+ on \S+ \(`.*?`, since [^)]*\)", "process N on HOST (`handgen ...`, since ...)", said)
    return said.strip()


def full_disk(bench: Bench) -> str:
    """The disk is full when half of the output is written; then there is room."""
    size = sum(path.stat().st_size for path in bench.reference.rglob("*") if path.is_file())
    with small_disk(bench, size // 2) as disk:
        said = bench.fails(Run(bench.stage, disk.out), str(disk.out) + "/", "No space left", "run again")
        bench.is_whole(disk.out)
        bench.check(bool(bench.stage.finished(disk.out)), "nothing was finished before")
        disk.remount(f"size={ROOM}")
        bench.completes(disk.out)
    return said


def full_disk_at_the_manifest(bench: Bench) -> str:
    """There is room for all but the manifest; before that, for nothing at all."""
    with small_disk(bench, ROOM) as disk:
        shutil.copytree(bench.reference, disk.out)
        (disk.out / bench.stage.manifest).unlink()
        disk.fill(0)
        bench.fails(Run(bench.stage, disk.out), "No space left", "run again")
        disk.make_room()
        disk.fill(PAGE)  # for the lock
        said = bench.fails(Run(bench.stage, disk.out), bench.stage.manifest, "No space left", "run again")
        bench.is_whole(disk.out)
        disk.make_room()
        bench.completes(disk.out)
    return said


def full_disk_at_the_beginning(bench: Bench) -> str:
    """There is room for the lock alone: not for `run.json`."""
    with small_disk(bench, ROOM) as disk:
        disk.fill(PAGE)
        said = bench.fails(Run(bench.stage, disk.out), RUN, "No space left")
        disk.make_room()
        bench.completes(disk.out)
    return said


def read_only(bench: Bench) -> str:
    """The disk becomes read-only between a killed run and the next."""
    with small_disk(bench, ROOM) as disk:
        bench.begun(disk.out)
        disk.remount("ro")
        said = bench.fails(Run(bench.stage, disk.out), str(disk.out), "Read-only file system", "run again")
        bench.fails(Run(bench.stage, disk.root / "another"), "Read-only file system", "another directory")
        disk.remount("rw")
        bench.completes(disk.out)
    return said


def killed_for_memory(bench: Bench) -> str:
    """Something that the out-of-memory killer does, SIGKILL to the largest process, is done to the largest worker."""
    out = bench.fresh()
    run = Run(bench.stage, out)
    run.wait_until(lambda: len(bench.stage.finished(out)) >= 2 and bool(run.workers()))
    workers = {_memory(worker): worker for worker in run.workers()}
    bench.check(bool(workers), "no worker was found")
    if workers:
        end(workers[max(workers)])
    bench.ends_well(run)
    said = " ".join(run.lines())
    bench.check("a worker process died" in said, "does not say that a worker died")
    return "emulated: SIGKILL to the largest worker; the run goes on with one less and completes"


def _memory(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return process.memory_info().rss
    return 0


def every_worker_killed(bench: Bench) -> str:
    """No worker lives long enough to finish anything."""
    run = Run(bench.stage, bench.fresh())

    def kill_all() -> bool:
        for worker in run.workers():
            end(worker)
        return False

    run.wait_until(kill_all, pause_s=0.02)
    said = bench.fails(run, "worker processes die", "--workers")
    bench.completes(run.out)
    return said


def two_runs(bench: Bench) -> str:
    """Run one command twice at the same time: the first goes on, the second says who it is."""
    out = bench.fresh()
    first = Run(bench.stage, out)
    first.wait_until(lambda: (out / LOCK).exists() and (out / LOCK).stat().st_size > 0)
    said = bench.fails(Run(bench.stage, out), f"process {first.pid} ", "is writing there")
    bench.ends_well(first)
    return said


def another_configuration(bench: Bench) -> str:
    """Check a finished output: nothing is touched."""
    out = bench.finished()
    before = stamps(bench.stage, out)
    said = bench.fails(Run(bench.stage, out, 2, *bench.stage.other), bench.stage.difference, "--overwrite")
    bench.check(stamps(bench.stage, out) == before, "something was touched")
    bench.completes(out)
    return said


def overwrite_killed(bench: Bench) -> str:
    """Overwriting another run's output is killed while it removes and while it writes; the same command completes."""
    other = bench.folder / f"{bench.stage.name}-other"
    if not other.exists():
        bench.check(Run(bench.stage, other, 2, *bench.stage.other).wait() == 0, "the other run failed")
    count = len(bench.stage.finished(other))
    mine = (bench.reference / RUN).read_bytes()
    for fewest, most in ((0, count - 1), (1, 2), (count, count)):  # while removing, while writing, before the end
        out = Path(shutil.copytree(other, bench.fresh()))
        run = Run(bench.stage, out, 2, "--overwrite")
        if fewest:
            run.wait_until(partial(_is, out / RUN, mine))
        run.wait_until(partial(_holds, bench.stage, out, fewest, most))
        run.kill()
        bench.completes(out, "--overwrite")
    return "three times: while removing, while writing, before the manifest"


def _is(path: Path, content: bytes) -> bool:
    return path.read_bytes() == content


def _holds(stage: Stage, out: Path, fewest: int, most: int) -> bool:
    return fewest <= len(stage.finished(out)) <= most


def unit_of_another_size(bench: Bench) -> str:
    """A finished file is cut off, another has grown: they are written anew, and nothing else."""
    out = bench.finished()
    names = sorted(path.name for path in bench.stage.finished(out))[:2]
    cut, grown = (next(out.rglob(f"{name.partition('.')[0]}.tar")) for name in names)
    cut.write_bytes(cut.read_bytes()[:5000])
    grown.write_bytes(grown.read_bytes() + bytes(10240))
    return _others_untouched(bench, out, {str(path.relative_to(out)) for path in (cut, grown)} | {bench.stage.manifest})


def manifest_removed(bench: Bench) -> str:
    """The manifest alone is written again."""
    out = bench.finished()
    (out / bench.stage.manifest).unlink()
    return _others_untouched(bench, out, {bench.stage.manifest})


def torn_journal(bench: Bench) -> str:
    """The last line of the journal is half there, and no manifest."""
    out = bench.finished()
    (out / bench.stage.manifest).unlink()
    last = sorted((out / JOURNAL).iterdir())[-1]
    last.write_bytes(last.read_bytes()[:-20])
    return _others_untouched(bench, out, {bench.stage.manifest})


def lost_journal(bench: Bench) -> str:
    """Neither journal nor manifest: what is there is looked at again, and stays."""
    out = bench.finished()
    (out / bench.stage.manifest).unlink()
    shutil.rmtree(out / JOURNAL)
    return _others_untouched(bench, out, {bench.stage.manifest})


def _others_untouched(bench: Bench, out: Path, but: set[str]) -> str:
    before = stamps(bench.stage, out)
    time.sleep(0.01)
    bench.completes(out)
    now = stamps(bench.stage, out)
    touched = [name for name, stamp in before.items() if now.get(name) != stamp and name not in but]
    bench.check(not touched, f"touched: {', '.join(touched)}")
    return "written anew, the rest untouched" if len(but) > 1 else "the manifest is written, the rest untouched"


def half_of_run_json(bench: Bench) -> str:
    """Killed while the very first file was written: a lock and a half-written `run.json` are all there is."""
    out = bench.fresh()
    out.mkdir()
    (out / LOCK).write_bytes(b"")
    (out / f"{RUN}.1f0a.partial").write_bytes((bench.reference / RUN).read_bytes()[:100])
    bench.completes(out)
    return "the same command goes on"


EVERY = ("synthesize", "annotate", "simulate", "export", "import")
FAULTS: dict[str, tuple[Fault, tuple[str, ...]]] = {
    "disk full in the middle, then room": (full_disk, EVERY),
    "disk full at the manifest": (full_disk_at_the_manifest, EVERY),
    "disk full at the first file": (full_disk_at_the_beginning, EVERY),
    "read-only file system": (read_only, EVERY),
    "worker killed for want of memory": (killed_for_memory, EVERY),
    "every worker killed, again and again": (every_worker_killed, EVERY),
    "two runs on the same output": (two_runs, EVERY),
    "another configuration": (another_configuration, EVERY),
    "`--overwrite` killed": (overwrite_killed, EVERY),
    "finished files cut off or grown": (unit_of_another_size, EVERY),
    "manifest deleted": (manifest_removed, EVERY),
    "last line of the journal torn": (torn_journal, EVERY),
    "journal lost": (lost_journal, EVERY),
    "SIGTERM": (terminated, EVERY),
    "Ctrl-C": (interrupted, EVERY),
    "two runs begun at one instant": (two_at_one_instant, EVERY),
    "disk full at any write": (disk_full_at_any_write, EVERY),
    "clock set back and forward": (clock_jumps, EVERY),
    "network lost": (lost_network, ("synthesize", "annotate")),
    "killed while `run.json` was written": (half_of_run_json, EVERY),
    "cutouts damaged: bytes flipped, a tar cut off, a tar missing": (damaged_cutouts, ("synthesize",)),
    "a picture of the capture damaged": (damaged_picture, ("annotate",)),
}
