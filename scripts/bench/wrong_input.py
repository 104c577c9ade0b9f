"""Give handgen wrong inputs, and unusual but right ones, and judge what it says and accepts.

    python scripts/bench/wrong_input.py [--json] [--only NAME ...] [--kinds KIND ...] [--seed N] [--work DIR]
                                        [--workers N] [--lines] [--report FILE]

Small captures with known truth are simulated into --work and kept there. Each wrong input is made of one of them
(`wrong_input_wrong.py`), and `inspect`, `annotate` and `validate` are run on it. The error of an accepted view is the
mean distance of its keypoints from the true ones of the same side's hand in the picture that the view really shows,
infinite if there is none. A wrong input counts as named where a word of its cause (`wrong_input_words.py`) is in a line
that the intact run does not print.

--kinds takes groups (wrong, right, intact, real) and kinds of cases (mirrored, late, ...). The real captures are read
from HANDGEN_CAPTURES (default ../shared/captures). Sets of seeds 100, 0 to 3, 5 to 7
and parts of 8 were looked at while developing; set 9, the default, gave the figures that are reported.
--report writes what is said of each kind between the markers of a
Markdown file.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

from table import report
from wrong_input_judge import GROUPS, REAL, TARGETS, Judged, judge, markdown, print_cases, summarise
from wrong_input_run import CASES, Outcome, reference_name, run_case, run_real, simulate

MARKERS = ("<!-- wrong_input: begin -->", "<!-- wrong_input: end -->")
DEFAULT_CAPTURES = Path(__file__).resolve().parents[3] / "shared" / "captures"


def attempt(function: Callable[..., Outcome], name: str, *arguments: Any) -> Outcome:
    """Run a case; an error of the benchmark itself is an outcome as well, marked as skipped."""
    try:
        return function(*arguments)
    except Exception:  # one case must not end the others
        return Outcome(name, skipped="the benchmark failed: " + traceback.format_exc(limit=-3))


def run_all(names: list[str], real: list[Path], seed: int, work: Path, workers: int) -> dict[str, Outcome]:
    """Run the intact references of these cases, then the cases, in a few processes."""
    references = sorted({reference_name(CASES[name]) for name in names})
    intact = [name for name in names if CASES[name].kind == "intact"]  # their references are the same runs
    bases = sorted({CASES[name].base for name in names})
    found: dict[str, Outcome] = {}
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done in [pool.submit(simulate, base, seed, work) for base in bases]:
            done.result()
        for group in (references, [name for name in names if name not in intact]):
            jobs = [pool.submit(attempt, run_case, name, name, seed, work) for name in group]
            if group is not references:
                jobs += [
                    pool.submit(attempt, run_real, f"real_{path.name}", path, REAL[path.name].options, work)
                    for path in real
                ]
            for done in as_completed(jobs):
                outcome = done.result()
                found[outcome.name] = outcome
                state = outcome.skipped or outcome.crashed or f"{len(outcome.labels)} views accepted"
                print(f"  {len(found):3d} {outcome.name}: {state}, {outcome.seconds:.1f} s", file=sys.stderr)
    return found | {name: replace(found[reference_name(CASES[name])], name=name) for name in intact}


def chosen(only: list[str], kinds: list[str]) -> list[str]:
    """Return the names of the cases that were asked for."""
    groups = {case.name: group for group, cases in GROUPS.items() for case in cases}
    unknown = set(only) - set(CASES) - {f"real_{name}" for name in REAL}
    if unknown:
        raise SystemExit(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    names = [name for name in CASES if not only or name in only]
    return [name for name in names if not kinds or CASES[name].kind in kinds or groups[name] in kinds]


def chosen_real(only: list[str], kinds: list[str]) -> list[Path]:
    """Return the real captures that were asked for and are there."""
    folder = Path(os.environ.get("HANDGEN_CAPTURES", DEFAULT_CAPTURES))
    names = [name for name in REAL if not only or f"real_{name}" in only]
    return [folder / name for name in names if (not kinds or "real" in kinds) and (folder / name).is_dir()]


def write_report(file: Path, table: str) -> None:
    """Put the table between the markers of a file, or at its end."""
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    block = f"{MARKERS[0]}\n\n{table}\n\n{MARKERS[1]}"
    before, start, rest = text.partition(MARKERS[0])
    _, _, after = rest.partition(MARKERS[1])
    file.write_text(before + block + after if start else f"{text}{block}\n", encoding="utf-8")


def main() -> None:
    """Make the inputs, run, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one flat JSON object instead of tables")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these cases alone")
    parser.add_argument("--kinds", nargs="+", default=[], metavar="KIND", help="these groups or kinds of cases alone")
    parser.add_argument("--seed", type=int, default=9, help="which set of simulated people (default 9)")
    parser.add_argument("--work", type=Path, help="keep the simulated captures in this folder, to be used again")
    parser.add_argument("--workers", type=int, choices=(1, 2), default=2, help="processes (default 2)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write what is said of each kind into this file")
    parser.add_argument("--lines", action="store_true", help="print the output of every case as well")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    names, real = chosen(options.only, options.kinds), chosen_real(options.only, options.kinds)
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary)).resolve()
        found = run_all(names, real, options.seed, work, options.workers)
    judged: list[Judged] = [judge(found[name], found) for name in [*names, *(f"real_{path.name}" for path in real)]]
    if options.lines:
        for one in judged:
            lines = one.outcome.lines + ([one.outcome.crashed] if one.outcome.crashed else [])
            print(json.dumps({one.outcome.name: lines}, indent=1, ensure_ascii=False), file=sys.stderr)
    if not options.json:
        print_cases(judged)
    report(summarise(judged), TARGETS, options.json)
    if options.report:
        write_report(options.report, markdown(judged))


if __name__ == "__main__":
    main()
