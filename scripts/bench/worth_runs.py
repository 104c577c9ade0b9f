"""The trainings of `worth.py` and what each found, kept in one file, so that they may be done in several sittings."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from jaxtyping import Float
from real import DESK
from real_hands import RealHands, palm_flipped
from table import replace_between
from training_network import pck
from worth_networks import Training

ROOT = Path(__file__).resolve().parents[2]
WHOLE = "whole"
MARKERS = ("<!-- worth: made by scripts/bench/worth.py -->", "<!-- end of worth -->")


@dataclass(frozen=True)
class Job:
    """One network to train on a recipe's samples of some people."""

    recipe: str
    people: int
    training: Training

    @property
    def name(self) -> str:
        """Name of the files, without their endings."""
        return f"{self.recipe}_{self.people}_{self.training.network}_{self.training.seed}_{self.training.steps}"


@dataclass(frozen=True)
class Run:
    """A job that is done: PCK@.1 on the real crops and on simulated people it never saw, and palms turned over; shares.

    commit: checked out when it was trained.
    """

    recipe: str
    people: int
    network: str
    seed: int
    steps: int
    samples: int
    commit: str
    pck10: float
    pck10_desk: float
    pck10_room: float
    palm_flipped: float
    pck10_simulated: float

    @classmethod
    def of(
        cls, job: Job, samples: int, hands: RealHands, found_px: Float[np.ndarray, "n 21 2"], simulated: float
    ) -> Run:
        """Judge the keypoints that were found on the real crops."""
        right, desk = pck(found_px, hands.keypoints_px), hands.capture == DESK
        judged = (right.mean(), right[desk].mean(), right[~desk].mean(), palm_flipped(found_px, hands.keypoints_px))
        training = job.training
        return cls(
            job.recipe, job.people, training.network, training.seed, training.steps, samples, commit(),
            *(round(float(value), 4) for value in (*judged, simulated)),
        )  # fmt: skip

    @property
    def job(self) -> Job:
        """The job that this is of."""
        return Job(self.recipe, self.people, Training(self.network, self.seed, self.steps))

    @property
    def group(self) -> tuple[int, str, int, str]:
        """A key that runs share which differ by their seed alone; sorts them."""
        return -self.steps, self.network, self.people, self.recipe


def commit() -> str:
    """The commit that is checked out."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def read_runs(path: Path) -> list[Run]:
    """Read all runs of a file, if it is there."""
    return [Run(**run) for run in json.loads(path.read_text("utf-8"))] if path.is_file() else []


def write_runs(path: Path, runs: Iterable[Run]) -> None:
    """Write runs, sorted, one a line."""
    ordered = sorted(runs, key=lambda run: (run.group, run.seed))
    partial = path.with_suffix(".partial")
    partial.write_text("[\n" + ",\n".join(json.dumps(asdict(run)) for run in ordered) + "\n]\n", "utf-8")
    partial.replace(path)


def mean(runs: Sequence[Run], figure: str) -> float:
    """Mean of a figure over runs."""
    return float(np.mean([getattr(run, figure) for run in runs]))


def write_table(runs: Sequence[Run], mediapipe: float) -> None:
    """Put all runs into docs/worth.md, between its markers: one line for those that differ by their seed alone."""
    lines = [
        "| pictures | people | samples | network | steps | seeds | PCK@.1 | of MediaPipe's | desk | room "
        "| palms turned over | simulated | commit |",
        "|" + " --- |" * 13,
    ]
    for _, group in groupby(sorted(runs, key=lambda run: run.group), lambda run: run.group):
        same = list(group)
        first, found = same[0], [run.pck10 for run in same]
        spread = f" ± {np.std(found):.3f}" if len(found) > 1 else ""
        commits = ", ".join(sorted({run.commit for run in same}))
        lines.append(
            f"| {first.recipe.replace('_', ' ')} | {first.people} | {first.samples:,} | {first.network} "
            f"| {first.steps:,} | {len(same)} | {np.mean(found):.3f}{spread} | {np.mean(found) / mediapipe:.2f} "
            f"| {mean(same, 'pck10_desk'):.3f} | {mean(same, 'pck10_room'):.3f} "
            f"| {mean(same, 'palm_flipped'):.3f} | {mean(same, 'pck10_simulated'):.3f} | {commits} |"
        )
    replace_between(ROOT / "docs" / "worth.md", MARKERS, lines)
