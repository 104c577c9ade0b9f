"""Read changed files of every kind that handgen reads, and count what becomes of them.

python scripts/soak/fuzz.py --cases 100000 [--seed N] [--readers NAME ...] [--workers N] [--json] [--keep DIR]
python scripts/soak/fuzz.py --only READER:SEED:CASE      one case again, with its traceback

Every reader gets as many cases as any other. A case is a valid input, made by code, in which something was changed:
fields, sizes, nesting, encodings, members, chunks, opcodes, bytes. It must be read, or refused by a HandgenError (a
command: by one line and status 1 or 2). All else is a fault: another exception, more than 10 s of CPU or 2 GiB, a
program that is run, a file that is written outside of the output, a process that dies. A case is told by reader, seed
and number: the same three give the same bytes, whatever the number of workers or cases. Before its own cases a run
reads the files that were once read wrongly, of tests/support/hostile_files.py; their numbers are below 0.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "bench"), str(Path(__file__).resolve().parents[2] / "tests")]

from fuzzing.cases import BY_NAME, Runner
from fuzzing.readers import READERS
from fuzzing.seeds import make_seeds
from fuzzing.watch import Verdict
from fuzzing.workers import Plan, run_cases, working_folder
from support.hostile_files import HOSTILE_FILES
from table import Targets, report

_PROGRESS_S = 20.0
_MOST_SHOWN = 60
_CORPUS = "once_wrong"  # files of tests/support/hostile_files.py, counted by themselves
TARGETS: Targets = {
    "cases": ("cases", None, True),
    "faults": ("faults", 0, False),
    "accepted_least": ("cases read to their end, of the reader with the fewest", None, True),
    "cases_per_s": ("cases per second", None, True),
}


@dataclass
class Counts:
    """Outcomes of the cases of one reader. slowest_s, largest_bytes: over all its cases."""

    outcomes: Counter[str] = field(default_factory=Counter)
    cpu_s: float = 0.0
    slowest_s: float = 0.0
    largest_bytes: int = 0

    def add(self, verdict: Verdict) -> None:
        """Count one case."""
        self.outcomes[verdict.outcome] += 1
        self.cpu_s += verdict.cpu_s
        self.slowest_s = max(self.slowest_s, verdict.cpu_s)
        self.largest_bytes = max(self.largest_bytes, verdict.peak_bytes)


def main() -> None:
    """Run the cases, print the table, and end with status 1 when there is a fault."""
    names = [reader.name for reader in READERS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=3000, help="of all readers together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readers", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="put the inputs of faults there")
    parser.add_argument("--only", metavar="READER:SEED:CASE", help="run one case, and show its traceback")
    parser.add_argument("--json", action="store_true", help="one flat JSON object instead of tables")
    options = parser.parse_args()
    keep = options.keep.resolve() if options.keep else None
    readers = [options.only.split(":")[0]] if options.only else options.readers
    with working_folder() as folder:
        seeds = Path(folder) / "seeds"
        make_seeds(seeds, {name for reader in READERS if reader.name in readers for name in reader.seeds})
        if options.only:
            sys.exit(_run_one(options.only, seeds, Path(folder), keep))
        check_seeds(readers, seeds, Path(folder) / "checked")
        plan = Plan(seeds, options.seed, options.cases, tuple(readers), keep)
        sys.exit(_run(plan, options.workers, Path(folder), options.json))


def check_seeds(readers: Sequence[str], seeds: Path, folder: Path) -> None:
    """End the script unless every reader accepts all of its seeds: one that is refused would test nothing."""
    runner = Runner(seeds, folder)
    for name in readers:
        for number, seed in enumerate(BY_NAME[name].seeds):
            verdict = runner.run(BY_NAME[name], number, None)
            if verdict.outcome != "accepted":
                sys.exit(f"{name}: its seed {seed} is not accepted: {verdict.outcome}: {verdict.detail}")


def _run(plan: Plan, workers: int, folder: Path, as_json: bool) -> int:
    began = shown = time.monotonic()
    counts = {name: Counts() for name in plan.readers}
    faults: list[tuple[str, int, Verdict]] = []
    counts[_CORPUS] = Counts()
    for done, (_, reader, case, verdict) in enumerate(run_cases(plan, workers, folder), 1):
        counts[_CORPUS if case < 0 else reader].add(verdict)
        if verdict.outcome == "fault":
            faults.append((reader, case, verdict))
            print(f"fault: {reader}:{plan.seed}:{case}: {_signature(verdict)}", file=sys.stderr, flush=True)
        if time.monotonic() - shown > _PROGRESS_S:
            shown = time.monotonic()
            print(f"{done} of {plan.cases} cases, {len(faults)} faults", file=sys.stderr, flush=True)
    seconds = time.monotonic() - began
    _show_faults(faults, plan.seed)
    if not as_json:
        _print_table(counts)
    report(_figures(counts, seconds), TARGETS, as_json)
    return 1 if faults else 0


def _figures(counts: dict[str, Counts], seconds: float) -> dict[str, float]:
    total: Counter[str] = sum((one.outcomes for one in counts.values()), Counter())
    figures: dict[str, float] = {
        "cases": total.total(),
        "faults": total["fault"],
        "accepted": total["accepted"],
        "accepted_least": min(one.outcomes["accepted"] for name, one in counts.items() if name != _CORPUS),
        "seconds": seconds,
        "cases_per_s": total.total() / seconds,
    }
    for name, one in counts.items():
        figures |= {
            f"{name}_cases": one.outcomes.total(),
            f"{name}_accepted": one.outcomes["accepted"],
            f"{name}_refused": one.outcomes["refused"],
            f"{name}_faults": one.outcomes["fault"],
            f"{name}_slowest_s": one.slowest_s,
            f"{name}_largest_mib": one.largest_bytes / 2**20,
        }
    return figures


def _print_table(counts: dict[str, Counts]) -> None:
    columns = f"{'cases':>7} {'accepted':>9} {'refused':>8} {'faults':>7} {'ms':>8} {'slowest s':>10} {'MiB':>6}"
    print(f"{'reader':26} {columns}")
    for name, one in counts.items():
        told = one.outcomes
        mean_ms = 1e3 * one.cpu_s / max(told.total(), 1)
        print(
            f"{name:26} {told.total():7} {told['accepted']:9} {told['refused']:8} {told['fault']:7} "
            f"{mean_ms:8.1f} {one.slowest_s:10.2f} {one.largest_bytes >> 20:6}"
        )


def _show_faults(faults: list[tuple[str, int, Verdict]], seed: int) -> None:
    """Name the faults on standard error, those that look the same once."""
    alike: dict[str, list[tuple[str, int, Verdict]]] = {}
    for fault in faults:
        alike.setdefault(_signature(fault[2]), []).append(fault)
    for signature, some in sorted(alike.items(), key=lambda item: -len(item[1]))[:_MOST_SHOWN]:
        reader, case, _ = some[0]
        readers = ", ".join(sorted({name for name, *_ in some}))
        name = f"; {HOSTILE_FILES[-1 - case].name}" if case < 0 else ""
        print(f"{len(some)} x {signature}\n    {reader}:{seed}:{case}{name}   ({readers})", file=sys.stderr)


def _signature(verdict: Verdict) -> str:
    """Say where the code of this repository was at, and what was raised."""
    lines = verdict.detail.strip().splitlines() or ["?"]
    places = [
        line.strip() for line in lines if line.strip().startswith("File ") and ("/handgen/" in line or "/cli/" in line)
    ]
    place = places[-1].split("handgen/")[-1] if places else ""
    return f"{lines[0][:160] if 'Traceback' not in lines[0] else lines[-1][:200]}   {place}"


def _run_one(told: str, seeds: Path, folder: Path, keep: Path | None) -> int:
    name, seed, case = told.split(":")
    runner = Runner(seeds, folder / "worker")
    verdict = runner.run(BY_NAME[name], int(seed), int(case), keep)
    print(f"{told}: {verdict.outcome}, {verdict.cpu_s:.2f} s, {verdict.peak_bytes >> 20} MiB\n{verdict.detail}")
    return 1 if verdict.outcome == "fault" else 0


if __name__ == "__main__":
    main()
