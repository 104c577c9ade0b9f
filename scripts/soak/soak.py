"""Kill runs of every command that writes at random moments, resume them, and compare every byte.

python scripts/soak/soak.py [--kills 1000] [--stages NAME ...] [--faults TEXT] [--seed N] [--keep DIR]
                            [--results FILE] [--json] [--write]

Then the faults of scripts/soak/faults.py: full and read-only disks, killed workers, damaged files. A thousand kills
take hours: what each stage gave is kept in FILE, and a stage that is there is not done again. --write puts the tables
into docs/reliability.md. Linux only; file systems are mounted in a namespace of this script's own, where that is
permitted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import faults
from benchmark import Bench
from runs import (
    LONGEST_S,
    Run,
    Stage,
    differences,
    digests,
    end,
    make_stages,
    partials,
    phase,
    stamps,
    survivors,
)
from table import report
from tables import DOCUMENT, TARGETS, WHOM, Soaked, figures, read_results, tables, write_results, write_tables

from handgen.storage.journal import JOURNAL
from handgen.storage.lock import LOCK
from handgen.storage.output import RUN

NAMESPACE = "HANDGEN_SOAK_NAMESPACE"
MOST_WORKERS = 3
AIMED = 0.35  # share of kills at something that appears on the disk, rather than at a moment
LATER_S = 0.01  # after it, at most
SPARED = 0.7  # share of reruns of a complete output that are not killed
ENDS_WELL = "worker processes die"  # what a run says that lost its workers again and again, and may say


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody disturbed."""

    digests: dict[str, str]
    seconds: float
    units: int


def undisturbed(stage: Stage, out: Path) -> Undisturbed:
    """Run a stage to its end.

    Raises RuntimeError when that fails.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(exist_ok=True)
    began = time.monotonic()
    run = Run(stage, out)
    if run.wait() != 0:
        raise RuntimeError(f"{stage.name}, not disturbed: {run.said()}")
    return Undisturbed(digests(out), time.monotonic() - began, len(stage.finished(out)))


class Soak:
    """Kills runs of a stage."""

    def __init__(self, stage: Stage, expected: Undisturbed, folder: Path, seed: int) -> None:
        self._stage, self._expected, self._folder = stage, expected, folder
        self._rng = np.random.default_rng([seed, len(stage.name)])
        self._sessions: set[int] = set()
        self.result = Soaked()

    def kill(self, kills: int) -> Soaked:
        """Until so many kills are done; the last run is left to complete."""
        began, result = time.monotonic(), self.result
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.parent.mkdir(exist_ok=True)
        while result.kills < kills:
            while not self._launch(kills):
                pass
            self._compare()
            shutil.rmtree(self._folder)
            say(f"{self._stage.name}: {result.kills} kills, {result.completed} runs completed")
        result.seconds = time.monotonic() - began
        return result

    def _launch(self, kills: int) -> bool:
        """Start the command, and kill it perhaps; says whether it completed."""
        result, before = self.result, stamps(self._stage, self._folder)
        run = Run(self._stage, self._folder, int(self._rng.integers(1, MOST_WORKERS + 1)))
        result.launches += 1
        self._sessions.add(run.pid)
        # What is complete is killed once more now and then: it has nothing left to do, and stays complete.
        applicable = (self._folder / self._stage.manifest).exists() and self._rng.random() < SPARED
        while not applicable and result.kills < kills and self._reaches_its_moment(run):
            self._strike(run)
        status = run.wait()
        if status is None:
            run.kill()
            result.unlike.append(f"a run hung for {LONGEST_S} s")
        elif status not in (0, -9) and ENDS_WELL not in run.said():
            result.unlike.append(f"exit status {status}: {run.said()}")
        now = stamps(self._stage, self._folder)
        result.touched += sum(now.get(name) != stamp for name, stamp in before.items() if name in now or status == 0)
        if len(result.unlike) > 20:
            raise RuntimeError("\n".join(result.unlike))
        return status == 0

    def _reaches_its_moment(self, run: Run) -> bool:
        """Wait for the moment of a kill; says whether the run was still going on."""
        if self._rng.random() < AIMED:
            run.wait_until(self._something(), 2 * self._expected.seconds)
            time.sleep(self._rng.uniform(0, LATER_S))
        else:
            run.wait(self._rng.uniform(0, 1.1 * self._expected.seconds))
        return run.is_running()

    def _something(self) -> Callable[[], bool]:
        """Find what is to appear on the disk while a run goes on: something that is not there yet, if there is."""
        out, stage = self._folder, self._stage
        there, journals = len(stage.finished(out)), len(list(out.glob(f"{JOURNAL}/*")))
        wanted = int(self._rng.integers(there, self._expected.units + 1)) + 1
        events: list[Callable[[], bool]] = [
            lambda: len(stage.finished(out)) >= wanted,
            lambda: len(list(out.glob(f"{JOURNAL}/*"))) > journals,
            lambda: bool(partials(out)),
            *((out / name).exists for name in (LOCK, RUN, stage.manifest)),
        ]
        to_come = [event for event in events if not event()] or events[:1]
        return to_come[int(self._rng.integers(len(to_come)))]

    def _strike(self, run: Run) -> None:
        """Kill somebody, and note down where the run was."""
        whom = str(self._rng.choice(list(WHOM), p=list(WHOM.values())))
        workers = run.workers() if whom == "worker" else []
        if whom == "worker" and not workers:
            whom = "group"
        if whom == "worker":
            victim = workers[int(self._rng.integers(len(workers)))]
            end(victim)
        else:
            run.kill(whole_group=whom == "group")
        self.result.kills += 1
        self.result.whom[whom] += 1
        self.result.phases[phase(self._stage, self._folder, self._expected.units)] += 1
        self.result.half_written += whom != "worker" and bool(partials(self._folder))

    def _compare(self) -> None:
        self.result.completed += 1
        orphans = survivors(self._sessions)
        self.result.orphans += len(orphans)
        self._sessions.clear()
        self.result.unlike += differences(digests(self._folder), self._expected.digests)


def main() -> None:
    """Soak, print, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000, help="of all stages together (default 1000)")
    parser.add_argument("--stages", nargs="+", choices=faults.EVERY, default=faults.EVERY, metavar="NAME")
    parser.add_argument("--faults", metavar="TEXT", default="", help="those alone that have this in their name")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and of who is killed")
    parser.add_argument("--no-faults", action="store_true", help="kills alone")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work there, and leave everything")
    parser.add_argument("--results", type=Path, metavar="FILE", help="keep there what is done, and go on from it")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {DOCUMENT.name}")
    parser.add_argument("--json", action="store_true", help="one flat JSON object instead of a table")
    options = parser.parse_args()
    enter_namespace()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored, by the runs as well
    share, rest = divmod(options.kills, len(options.stages))
    soaked, outcomes = read_results(options.results)
    with _folder(options.keep) as folder:
        to_do = {name: share + (index < rest) for index, name in enumerate(options.stages) if name not in soaked}
        stages = make_stages(folder) if to_do else {}
        for name, kills in to_do.items():
            reference = folder / "undisturbed" / name
            expected = undisturbed(stages[name], reference)
            soak = Soak(stages[name], expected, folder / "killed" / name, options.seed)
            soaked[name] = soak.kill(kills)
            if not options.no_faults:
                bench = Bench(stages[name], folder, reference, expected.digests)
                outcomes += faults.try_all(bench, options.faults, say)
            write_results(options.results, soaked, outcomes)
    soaked = {name: soaked[name] for name in faults.EVERY if name in soaked}
    outcomes.sort(key=lambda outcome: faults.EVERY.index(outcome.stage))
    for name, result in soaked.items():
        for text in result.unlike:
            say(f"{name}: differs: {text}")
    report(figures(soaked, outcomes), TARGETS, options.json)
    if options.write:
        write_tables(tables(soaked, outcomes))
    wrong = any(result.unlike or result.touched or result.orphans for result in soaked.values())
    if wrong or any(outcome.survived is False for outcome in outcomes):
        sys.exit(1)


def enter_namespace() -> None:
    """Start this script again where it may mount file systems, if that can be had; they end with it."""
    if NAMESPACE in os.environ or shutil.which("unshare") is None:
        return
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*unshare, "true"], capture_output=True).returncode == 0:
        os.environ[NAMESPACE] = "1"
        os.execvp(unshare[0], [*unshare, sys.executable, *sys.argv])


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="handgen-soak") as folder:
        yield Path(folder)


def say(text: str) -> None:
    """Print where it is, to standard error."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
