"""Show what scripts/soak/soak.py counted, as figures and as the tables of docs/reliability.md."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmark import Outcome

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- soak tables: made by scripts/soak/soak.py --write -->", "<!-- end of the soak tables -->"
WHOM = {"group": 0.45, "parent": 0.35, "worker": 0.2}  # share of the kills
PHASES = {
    "starting": "nothing written yet",
    "locked": "lock held, nothing else",
    "planning": "run.json written, no unit",
    "writing": "some units written",
    "manifest": "all units written, no manifest",
    "after": "manifest written",
}


@dataclass
class Soaked:
    """Outcomes of the kills of one stage. unlike: what differed from the undisturbed run."""

    kills: int = 0
    launches: int = 0
    completed: int = 0
    whom: Counter[str] = field(default_factory=Counter)
    phases: Counter[str] = field(default_factory=Counter)
    half_written: int = 0  # kills that left an unfinished file
    touched: int = 0  # finished files that a rerun wrote again
    orphans: int = 0
    unlike: list[str] = field(default_factory=list)
    seconds: float = 0.0


def figures(soaked: dict[str, Soaked], outcomes: list[Outcome]) -> dict[str, float]:
    """Return what was counted, by the names of `TARGETS`."""
    tried = [outcome for outcome in outcomes if outcome.survived is not None]
    found: dict[str, float] = {
        "kills": sum(result.kills for result in soaked.values()),
        "digests_equal": float(not any(result.unlike for result in soaked.values())),
        "faults_survived": sum(bool(outcome.survived) for outcome in tried),
        "faults": len(tried),
        "faults_skipped": len(outcomes) - len(tried),
    }
    for name, result in soaked.items():
        found |= {
            f"{name}_kills": result.kills,
            f"{name}_runs_completed": result.completed,
            f"{name}_touched": result.touched,
            f"{name}_orphans": result.orphans,
            f"{name}_half_written": result.half_written,
            f"{name}_s": result.seconds,
        }
        found |= {f"{name}_kills_{key}": result.phases[key] for key in PHASES}
    return found


def read_results(path: Path | None) -> tuple[dict[str, Soaked], list[Outcome]]:
    """Read what `write_results` wrote; nothing where there is no file."""
    if path is None or not path.exists():
        return {}, []
    document = json.loads(path.read_text())
    soaked = {
        name: Soaked(**entry | {"whom": Counter(entry["whom"]), "phases": Counter(entry["phases"])})
        for name, entry in document["stages"].items()
    }
    return soaked, [Outcome(**entry) for entry in document["faults"]]


def write_results(path: Path | None, soaked: dict[str, Soaked], outcomes: list[Outcome]) -> None:
    """Keep what the stages gave so far."""
    if path is not None:
        stages = {name: vars(result) for name, result in soaked.items()}
        path.write_text(json.dumps({"stages": stages, "faults": [vars(outcome) for outcome in outcomes]}, indent=1))


def _targets() -> dict[str, tuple[str, float | None, bool]]:
    found: dict[str, tuple[str, float | None, bool]] = {
        "kills": ("runs killed, or workers of them", None, True),
        "digests_equal": ("all files as of an undisturbed run (1: yes)", 1, True),
        "faults_survived": ("faults that ended as they should", None, True),
        "faults": ("faults tried", None, True),
        "faults_skipped": ("faults that could not be tried here", 0, False),
    }
    for name in ("synthesize", "annotate", "simulate", "export", "import"):
        found |= {
            f"{name}_kills": (f"{name}: kills", None, True),
            f"{name}_runs_completed": (f"{name}: runs that completed, each compared", None, True),
            f"{name}_touched": (f"{name}: finished files that a rerun wrote again", 0, False),
            f"{name}_orphans": (f"{name}: processes that outlived their run by 10 s", 0, False),
            f"{name}_half_written": (f"{name}: kills that left an unfinished file", None, True),
            f"{name}_s": (f"{name}: time, s", None, False),
        }
        found |= {f"{name}_kills_{key}": (f"{name}: killed with {text}", None, True) for key, text in PHASES.items()}
    return found


TARGETS = _targets()


def tables(soaked: dict[str, Soaked], outcomes: list[Outcome]) -> str:
    """The Markdown of docs/reliability.md."""
    names = list(soaked)
    lines = [f"| | {' | '.join(names)} |", f"| --- |{' --- |' * len(names)}"]

    def row(what: str, value: Callable[[Soaked], object]) -> None:
        lines.append(f"| {what} | {' | '.join(str(value(soaked[name])) for name in names)} |")

    row("kills (SIGKILL)", lambda result: result.kills)
    row(
        "of the whole process group / the parent alone / a worker",
        lambda result: " / ".join(str(result.whom[name]) for name in WHOM),
    )
    for key, text in PHASES.items():
        row(f"killed with {text}", partial(_in_phase, key))
    row("kills that left an unfinished file", lambda result: result.half_written)
    row("runs that completed, compared with the undisturbed one", lambda result: result.completed)
    row("files that differed", lambda result: len(result.unlike))
    row("finished files that a rerun wrote again", lambda result: result.touched)
    row("processes that outlived their run", lambda result: result.orphans)
    if outcomes:
        lines += ["", "| fault | stage | survived | what handgen said, or what became of it |"]
        lines += ["| --- | --- | --- | --- |"]
    for outcome in outcomes:
        word = {True: "yes", False: "**no**", None: "not tried"}[outcome.survived]
        lines.append(f"| {outcome.name} | {outcome.stage} | {word} | {outcome.said.replace('|', '/')} |")
    return "\n".join(lines)


def _in_phase(key: str, result: Soaked) -> int:
    return result.phases[key]


def write_tables(text: str) -> None:
    """Put them between the marks."""
    document = DOCUMENT.read_text("utf-8")
    before, _, rest = document.partition(BEGIN)
    after = rest.partition(END)[2]
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", "utf-8")
