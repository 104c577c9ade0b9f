"""Simulate the same captures again and again, with 1, 2 and 4 processes on a loaded machine, and compare every byte.

    python scripts/soak/repeat.py [--times 30] [--load 4] [--json]

Videos and pictures, a studio and a room, of widths that are multiples of 128 and not: x264 once read memory that nobody
had written where a width is none (its macroblock tree, which handgen switches off since), and videos differed in one
run of twenty. `load` processes that only compute run beside, so that processes overtake each other in any order.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runs import differences, digests

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

from table import report

CAPTURES = {
    "room, video, 200 wide": ("--background", "room", "--size", "200x152"),
    "studio, video, 256 wide": ("--background", "green", "--size", "256x128", "--hands", "both"),
    "studio, pictures": ("--background", "green", "--size", "96x72", "--format", "images"),
}
PROCESSES = (1, 2, 4)
TARGETS: dict[str, tuple[str, float | None, bool]] = {
    "runs": ("captures simulated", None, True),
    "differences": ("files that differ from those of the first run", 0, False),
}


def simulate(out: Path, options: tuple[str, ...], workers: int) -> dict[str, str]:
    """Digests of a capture."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "handgen.cli.main", "simulate", str(out), "--views", "2", "--frames", "34"]
    subprocess.run([*command, *options, "--workers", str(workers), "--quiet"], check=True, stdout=subprocess.DEVNULL)
    return digests(out)


@contextmanager
def load(processes: int) -> Iterator[None]:
    """Keep the machine busy."""
    busy = [multiprocessing.get_context("spawn").Process(target=_compute, daemon=True) for _ in range(processes)]
    for process in busy:
        process.start()
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.join()


def _compute() -> None:
    number = 1
    while True:
        number = number * 1_103_515_245 % 2**31


def main() -> None:
    """Compare; the exit status is 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=30)
    parser.add_argument("--load", type=int, default=4, help="processes that only compute (default 4)")
    parser.add_argument("--json", action="store_true", help="one flat JSON object instead of a table")
    options = parser.parse_args()
    runs, wrong = 0, []
    with tempfile.TemporaryDirectory(prefix="handgen-repeat") as folder, load(options.load):
        out = Path(folder) / "capture"
        first: dict[str, dict[str, str]] = {}
        for time in range(options.times):
            for name, chosen in CAPTURES.items():
                for workers in PROCESSES:
                    found = simulate(out, chosen, workers)
                    runs += 1
                    of_first = differences(found, first.setdefault(name, found))
                    wrong += [f"{name}, {workers} processes: {each}" for each in of_first]
            print(f"{time + 1} times, {len(wrong)} differences", file=sys.stderr, flush=True)
    for text in wrong:
        print(text, file=sys.stderr)
    report({"runs": runs, "differences": len(wrong)}, TARGETS, options.json)
    if wrong:
        sys.exit(1)


if __name__ == "__main__":
    main()
