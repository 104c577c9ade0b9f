"""How accurate the annotator is: simulate captures with known truth, annotate them from their pixels, evaluate.

    python scripts/bench/accuracy.py [--quick] [--json] [--keep FOLDER] [--only NAME ...] [--write]

Every condition is run on several simulated people, whose shapes lie outside the fitted model's betas. Their seeds were
used for nothing else. `--quick` takes one person and fewer frames. `--write` puts the table into docs/accuracy.md and
README.md. Captures that differ in their calibration alone share their videos.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from table import replace_between

from handgen.io.annotations import Annotations
from handgen.io.calibration_files.handgen_json import save_calibration
from handgen.stages.annotate import stage as annotate
from handgen.stages.annotate.config import AnnotateConfig
from handgen.stages.evaluate.config import EvaluateConfig
from handgen.stages.evaluate.report import EvaluateReport
from handgen.stages.evaluate.stage import run as evaluate
from handgen.stages.simulate import stage as simulate
from handgen.stages.simulate.cameras import perturbed_rig
from handgen.stages.simulate.config import SimulateConfig

ROOT = Path(__file__).resolve().parents[2]
FIRST_SEED = 9001  # of the people; nothing was tuned on them
BASE = SimulateConfig(frames=60, fps=15, background="green", size=(640, 480))
MARKERS = ("<!-- accuracy table: made by scripts/bench/accuracy.py -->", "<!-- end of the accuracy table -->")


@dataclass(frozen=True)
class Condition:
    """One row: what is simulated, apart from `BASE`. calibration_px: error of the calibration that annotate is given.

    target_mm: what the mean error should stay below.
    """

    name: str
    what: str
    options: dict[str, Any] = field(default_factory=dict)
    calibration_px: float = 0.0
    target_mm: float | None = None


CONDITIONS = (
    Condition("2", "2 views", {"views": 2}),
    Condition("4", "4 views", {"views": 4}, target_mm=5.0),
    Condition("8", "8 views", {"views": 8}, target_mm=3.0),
    Condition("15", "15 views", {"views": 15}),
    Condition("8_room", "8 views, furnished room", {"background": "room"}),
    Condition("8_fast", "8 views, fast motion", {"motion": "fast"}),
    Condition("8_two_hands", "8 views, two hands that touch and interleave", {"motion": "interact", "hands": "both"}),
    Condition("8_calibration_0p5", "8 views, calibration off by 0.5 px", calibration_px=0.5),
    Condition("8_calibration_2", "8 views, calibration off by 2 px", calibration_px=2.0),
    Condition("8_sync", "8 views, clocks off by up to half a frame", {"sync_error_frames": 0.5}),
)
ANNOTATED_TARGET, IOU_TARGET = 0.95, 0.93  # of the condition "8"


@dataclass(frozen=True)
class Row:
    """A condition's figures over all its people; means over hands, weighted by how many there are."""

    condition: Condition
    mpjpe_mm: float
    worst_mpjpe_mm: float
    root_relative_mm: float
    procrustes_mm: float
    vertex_mm: float
    px: float
    annotated: float
    false_hands: int
    iou: float
    boundary_f: float
    frames_per_s: float


MEASURES = [name for name in Row.__dataclass_fields__ if name != "condition"]


def run_condition(condition: Condition, folder: Path, people: int, frames: int) -> Row:
    """Simulate (where that is not done yet), annotate, evaluate."""
    reports, speeds = [], []
    for seed in range(FIRST_SEED, FIRST_SEED + people):
        config = replace(BASE, seed=seed, frames=frames, **condition.options)
        changed = {key: value for key, value in condition.options.items() if getattr(BASE, key) != value}
        name = "_".join([f"{key}-{value}" for key, value in sorted(changed.items())] or ["base"])
        capture = folder / "captures" / f"{name}_{seed}"
        simulate.run(capture, config)
        truth = capture / "truth"
        if condition.calibration_px:
            capture = miscalibrated(capture, condition.calibration_px, seed)
        out = folder / "annotations" / f"{condition.name}_{seed}"
        done = annotate.run(capture, out, AnnotateConfig(), overwrite=True)
        speeds.append(done.frames_per_s)
        reports.append(evaluate(out, truth, EvaluateConfig()))
        print(
            f"  {condition.name}, seed {seed}: {reports[-1].mean_absolute_mm or float('nan'):.2f} mm", file=sys.stderr
        )
    return combined(condition, reports, speeds)


def miscalibrated(capture: Path, error_px: float, seed: int) -> Path:
    """A capture with the same videos and a calibration that is off by `error_px` RMS."""
    other = capture.with_name(f"{capture.name}_off_{error_px:g}")
    if not other.is_dir():
        shutil.copytree(capture, other, ignore=shutil.ignore_patterns("truth"), copy_function=os.link)
        (other / "calibration.json").unlink()
    save_calibration(
        other / "calibration.json",
        perturbed_rig(Annotations(capture / "truth").rig, error_px, np.random.default_rng((seed, 1))),
    )
    return other


def combined(condition: Condition, reports: list[EvaluateReport], speeds: list[float]) -> Row:
    """One row of several captures' reports."""
    hands = np.array([report.annotated_hands for report in reports], dtype=float)

    def mean(name: str) -> float:
        values = np.array([np.nan if (v := getattr(report, name)) is None else v for report in reports])
        known = np.isfinite(values) & (hands > 0)
        return float(np.average(values[known], weights=hands[known])) if known.any() else float("nan")

    return Row(
        condition=condition,
        mpjpe_mm=mean("mean_absolute_mm"),
        worst_mpjpe_mm=float(np.nanmax([r.mean_absolute_mm or np.nan for r in reports])),
        root_relative_mm=mean("mean_root_relative_mm"),
        procrustes_mm=mean("mean_procrustes_mm"),
        vertex_mm=mean("mean_vertex_mm"),
        px=mean("mean_2d_px"),
        annotated=float(hands.sum() / sum(report.truth_hands for report in reports)),
        false_hands=sum(report.false_hands for report in reports),
        iou=mean("mean_mask_iou"),
        boundary_f=mean("mean_boundary_f"),
        frames_per_s=float(np.median(speeds)),
    )


def figures(rows: list[Row]) -> dict[str, float]:
    """The flat object of `--json`: `mpjpe_mm_8`, `annotated_8`, `iou_8_room`, ..."""
    return {f"{m}_{row.condition.name}": round(float(getattr(row, m)), 4) for row in rows for m in MEASURES}


def missed(is_missed: bool) -> str:
    """Figures that stand behind an aim."""
    return " **missed**" if is_missed else ""


def table(rows: list[Row]) -> list[str]:
    """A Markdown table."""
    lines = [
        "| condition | MPJPE mm | aim | worst person mm | root-relative mm | Procrustes mm | vertices mm | 2D px "
        "| annotated | false hands | mask IoU | boundary F | frames/s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        target = row.condition.target_mm
        aim = "" if target is None else f"<= {target:g}{missed(row.mpjpe_mm > target)}"
        annotated, iou = f"{100 * row.annotated:.1f} %", f"{row.iou:.3f}"
        if row.condition.name == "8":
            annotated += f" (>= {100 * ANNOTATED_TARGET:g} %{missed(row.annotated < ANNOTATED_TARGET)})"
            iou += f" (>= {IOU_TARGET:g}{missed(row.iou < IOU_TARGET)})"
        lines.append(
            f"| {row.condition.what} | {row.mpjpe_mm:.2f} | {aim} | {row.worst_mpjpe_mm:.2f} "
            f"| {row.root_relative_mm:.2f} | {row.procrustes_mm:.2f} | {row.vertex_mm:.2f} | {row.px:.2f} "
            f"| {annotated} | {row.false_hands} | {iou} | {row.boundary_f:.3f} | {row.frames_per_s:.1f} |"
        )
    return lines


def short_table(rows: list[Row]) -> list[str]:
    """The table that the README includes."""
    lines = ["| condition | mean error (MPJPE) | aim | annotated | mask IoU |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        aim = "" if row.condition.target_mm is None else f"<= {row.condition.target_mm:g} mm"
        beyond = row.condition.target_mm is not None and row.mpjpe_mm > row.condition.target_mm
        lines.append(
            f"| {row.condition.what} | {row.mpjpe_mm:.2f} mm | {aim}{missed(beyond)} "
            f"| {100 * row.annotated:.1f} % | {row.iou:.3f} |"
        )
    return lines


def write(rows: list[Row], people: int, frames: int) -> None:
    """Put the tables into docs/accuracy.md and README.md, between their markers."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    cores = len(os.sched_getaffinity(0))
    made = (
        f"Made by `python scripts/bench/accuracy.py --write` at commit {commit.stdout.strip()} on {date.today()}, "
        f"{cores} cores ({platform.machine()}): {people} simulated people x {frames} frames a row, "
        f"{BASE.size[0]}x{BASE.size[1]} px, {BASE.fps:g} frames/s, green studio and calm motion unless said."
    )
    replace_between(ROOT / "docs" / "accuracy.md", MARKERS, [made, "", *table(rows)])
    replace_between(ROOT / "README.md", MARKERS, short_table(rows))


def main() -> None:
    """Run the conditions, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one person, 24 frames: minutes")
    parser.add_argument("--json", action="store_true", help="one flat JSON object instead of a table")
    parser.add_argument("--people", type=int, default=4)
    parser.add_argument("--frames", type=int, default=BASE.frames)
    parser.add_argument("--only", nargs="+", choices=[c.name for c in CONDITIONS], help="some of the conditions")
    parser.add_argument("--keep", type=Path, help="work in this folder, keep it, and use the captures that are there")
    parser.add_argument("--resume", action="store_true", help="with --keep: take the rows that an earlier run finished")
    parser.add_argument("--write", action="store_true", help="update docs/accuracy.md and README.md")
    options = parser.parse_args()
    people, frames = (1, 24) if options.quick else (options.people, options.frames)
    if options.write and (options.quick or options.only):
        parser.error("--write takes the full table")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        chosen = [c for c in CONDITIONS if not options.only or c.name in options.only]
        rows = []
        for condition in chosen:
            kept = folder / "rows" / f"{condition.name}_{people}x{frames}.json"
            if options.resume and kept.is_file():
                rows.append(Row(condition=condition, **json.loads(kept.read_text())))
                continue
            rows.append(run_condition(condition, folder, people, frames))
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps({m: getattr(rows[-1], m) for m in MEASURES}))
    if options.write:
        write(rows, people, frames)
    print(json.dumps(figures(rows)) if options.json else "\n".join(table(rows)))


if __name__ == "__main__":
    main()
