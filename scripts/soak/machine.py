"""Faults of the machine: signals, a clock that is set, a network that goes away, a disk that is full at any write."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmark import ROOM, Bench, CannotTry, small_disk
from runs import Run, differences, digests, partials

from handgen.storage.lock import LOCK

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

_DISK_SIZES = 6  # between nothing and everything
_FAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"  # of the Debian package libfaketime
_AWAY_S = 8.0  # that a network is lost for and comes back


def ended_by(bench: Bench, number: signal.Signals, status: int) -> str:
    """A signal to the process that the user started: that status, no lock, and the same command goes on."""
    out = bench.fresh()
    run = Run(bench.stage, out)
    run.wait_until(lambda: len(bench.stage.finished(out)) >= 1)
    os.kill(run.pid, number)
    found = run.wait()
    bench.check(found == status, f"exit status {found}, not {status}")
    bench.check(not any("Traceback" in line for line in run.lines()), "a traceback")
    bench.check(not (out / LOCK).exists(), "the lock is there")
    bench.check(not partials(out), "half-written files")
    said = run.said()
    bench.completes(out)
    return said


def terminated(bench: Bench) -> str:
    """Ended by SIGTERM, as a cluster's scheduler does it."""
    return ended_by(bench, signal.SIGTERM, 128 + signal.SIGTERM)


def interrupted(bench: Bench) -> str:
    """Ended by Ctrl-C."""
    return ended_by(bench, signal.SIGINT, 128 + signal.SIGINT)


def two_at_one_instant(bench: Bench) -> str:
    """Start one command twice in the same instant: one does all of it, the other says so or finds it done."""
    out = bench.fresh()
    runs = [Run(bench.stage, out, 1) for _ in range(2)]
    statuses = [run.wait() for run in runs]
    said = next((run.said() for run, status in zip(runs, statuses, strict=True) if status), "the second found it done")
    bench.check(0 in statuses and set(statuses) <= {0, 1}, f"exit statuses {statuses}")
    bench.check(1 not in statuses or "is writing there" in said, "does not say who writes there")
    bench.completes(out)
    return said


def disk_full_at_any_write(bench: Bench) -> str:
    """Disks of several sizes: each run ends in one line and leaves nothing half-written, the last one completes."""
    size, said = sum(path.stat().st_size for path in bench.reference.rglob("*") if path.is_file()), ""
    for part in range(_DISK_SIZES):
        with small_disk(bench, max(int(size * (part + 0.5) / _DISK_SIZES), 4096)) as disk:
            said = bench.fails(Run(bench.stage, disk.out), "No space left")
            bench.check(not partials(disk.out), f"half-written files at size {part}")
            if part == _DISK_SIZES - 1:
                bench.is_whole(disk.out)
                disk.remount(f"size={ROOM}")
                bench.completes(disk.out)
    return f"disks of {_DISK_SIZES} sizes; {said}"


def clock_jumps(bench: Bench) -> str:
    """The clock is set back by a year while a run goes on, then forward by two, and a killed run is gone on with."""
    found = sorted(Path("/").glob(_FAKETIME[1:]))
    if not found:
        raise CannotTry("libfaketime is not installed")
    with tempfile.NamedTemporaryFile("w", suffix=".time") as clock:

        def set_clock(days: int) -> None:
            clock.seek(0)
            clock.write(f"{days:+d}d\n")
            clock.truncate()
            clock.flush()

        environment = {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": clock.name,
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        out = bench.fresh()
        set_clock(0)
        run = Run(bench.stage, out, environment=environment)
        run.wait_until(lambda: len(bench.stage.finished(out)) >= 1)
        set_clock(-365)
        time.sleep(0.5)
        run.kill()
        run = Run(bench.stage, out, environment=environment)
        run.wait_until(lambda: len(bench.stage.finished(out)) >= 3)
        set_clock(365)
        bench.ends_well(run)
        set_clock(-365)  # a finished output from the future
        bench.ends_well(Run(bench.stage, out, environment=environment))
    return "the same bytes"


@contextmanager
def _store(folder: Path) -> Iterator[tuple[object, dict[str, str], object]]:
    """A store with a proxy before it: the proxy, the environment in which the store is found, and its file system."""
    try:
        import s3fs
        from support.s3 import BUCKET, CREDENTIALS, Proxy, Server
    except ImportError as error:
        raise CannotTry(f"no store can be started here ({error})") from None
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    server = Server(folder)
    proxy = Proxy(server.port)
    try:
        files = s3fs.S3FileSystem(
            endpoint_url=server.url, key="test", secret="test", skip_instance_cache=True, use_listings_cache=False
        )
        files.mkdir(BUCKET)
        yield proxy, {**CREDENTIALS, "FSSPEC_S3": json.dumps({"endpoint_url": proxy.url})}, files
    finally:
        proxy.close()
        server.close()


def lost_network(bench: Bench) -> str:
    """The network to the store is lost for seconds: the run goes on. It is lost for good: one line; then it is back."""
    with _store(bench.folder / "store") as (proxy, environment, files):
        said = ""
        for name, for_good in (("short", False), ("long", True)):
            out = f"s3://bucket/{name}"
            run = Run(bench.stage, Path(bench.folder / name), address=out, environment=environment)
            run.wait_until(lambda at=out: len(files.glob(f"{at}/{bench.stage.units}")) >= 2, pause_s=0.1)
            proxy.drops, proxy.after = 10**9, 0
            if for_good:
                said = bench.fails(run, out)
            else:
                time.sleep(_AWAY_S)
            proxy.drops = 0
            if for_good:
                run = Run(bench.stage, Path(bench.folder / name), address=out, environment=environment)
            status = run.wait()
            bench.check(status == 0, f"{name}: then exit status {status}: {run.said()}")
            copy = bench.folder / name
            shutil.rmtree(copy, ignore_errors=True)
            files.get(f"bucket/{name}", str(copy), recursive=True)
            wrong = differences(digests(copy), bench.expected)
            bench.check(not wrong, f"{name}: differ: {', '.join(wrong)}")
    return f"lost for {_AWAY_S:.0f} s: goes on; lost for good: {said}"
