"""Run `inspect`, `annotate` and `validate` on one input of `wrong_input.py`, and measure the labels that come out."""

from __future__ import annotations

import os
import shutil
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from wrong_input_captures import Base, Draft, View, simulate_options
from wrong_input_cases import KEYPOINTS_ONLY, Case
from wrong_input_keypoints import WRITERS
from wrong_input_right import INTACT, RIGHT
from wrong_input_words import output_lines
from wrong_input_wrong import WRONG, nothing

OWN_DETECTIONS = "own detections"  # the folder that an intact run with the default detector wrote
REFERENCE = "reference"
CASES: dict[str, Case] = {case.name: case for case in (*WRONG, *RIGHT, *INTACT)}
Hand = tuple[int, str]  # original frame, side


@dataclass(frozen=True)
class Label:
    """Says of one accepted view how far its keypoints are from the truth of the picture."""

    hand: Hand
    camera: str
    error_px: float


@dataclass
class Outcome:
    """Holds what came of one input. statuses: exit status by command. lines: all output. frames: in all cameras."""

    name: str
    statuses: dict[str, int] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    frames: set[int] = field(default_factory=set)
    crashed: str | None = None
    skipped: str | None = None
    seconds: float = 0.0

    @property
    def p95_px(self) -> float:
        """Return the 95th percentile of the labels' errors; infinite without labels."""
        errors = [label.error_px for label in self.labels]
        return float(np.percentile(errors, 95)) if errors else np.inf

    def good_hands(self, limit_px: float) -> set[Hand]:
        """Return the accepted hands most of whose accepted views are within a limit."""
        errors: dict[Hand, list[float]] = {}
        for label in self.labels:
            errors.setdefault(label.hand, []).append(label.error_px)
        return {hand for hand, values in errors.items() if np.median(values) <= limit_px}


def reference_name(case: Case) -> str:
    """Name the intact run that a case is compared with: the same base and kind of detector."""
    by = "mediapipe" if case.keypoints in (None, OWN_DETECTIONS) else "keypoints"
    return f"{REFERENCE} {case.base} {by}"


def reference_case(name: str) -> Case:
    """Return the intact case of such a name."""
    _, base, by = name.split(" ")
    files = "jsonl" if by == "keypoints" else None
    return Case(name, REFERENCE, base, nothing, (), files, KEYPOINTS_ONLY if files else ())


def command(arguments: list[str], folders: dict[Path, str], outcome: Outcome) -> int:
    """Run one command of the command line in this process and add what it says to the outcome."""
    from click.testing import CliRunner

    from handgen.cli.main import main

    done = CliRunner(env={"COLUMNS": "300", "NO_COLOR": "1"}).invoke(main, arguments)
    outcome.lines += output_lines(done.output, folders)
    outcome.statuses[f"{arguments[0]} {folders[Path(arguments[1])]}"] = done.exit_code
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        outcome.crashed = "".join(traceback.format_exception_only(done.exception)).strip()
    return done.exit_code


def simulate(name: str, seed: int, folder: Path) -> Base:
    """Return a base capture, simulating it where that is not done yet."""
    path = folder / "bases" / str(seed) / name
    if not (path / "capture.json").is_file():
        outcome = Outcome(name)
        if command(["simulate", str(path), *simulate_options(name, seed), "--workers", "1"], {path: name}, outcome):
            raise SystemExit(f"{path}: not simulated: {outcome.lines or outcome.crashed}")
    return Base(name, path, seed)


def inspect_options(options: list[str]) -> list[str]:
    """Return the options that `inspect` gets: those of annotate that it knows, and --detect if there is one."""
    from handgen.cli.inspect import inspect

    known = {name for parameter in inspect.params for name in parameter.opts}
    found = ["--detect"] if "--detect" in known else []
    for flag, value in zip(options, options[1:], strict=False):
        found += [flag, value] if flag in known else []
    return found


def run_case(name: str, seed: int, work: Path) -> Outcome:
    """Make the input, run the commands on it, and measure the accepted labels."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    case = reference_case(name) if name.startswith(REFERENCE) else CASES[name]
    outcome = Outcome(name)
    started = time.perf_counter()
    base = simulate(case.base, seed, work)
    place = work / "runs" / f"{abs(seed)}_{(list(CASES).index(name) if name in CASES else name.replace(' ', '_'))}"
    remove(place)
    if reason := case.skip():
        outcome.skipped = reason
        return outcome
    draft = Draft(base, case.name, case.keypoints)
    case.edit(draft)
    capture, out = place / draft.folder_name, place / "annotated"
    draft.write(capture)
    outcome.frames = set.intersection(*(set(view.frames) for view in draft.views.values()))
    options = [*case.options, *draft.options]
    if case.keypoints is not None:
        own = detections_of(case.base, seed, work)
        file = own if case.keypoints == OWN_DETECTIONS else WRITERS[case.keypoints](draft, place / "hands")
        options += ["--detector", "keypoints", "--keypoints", str(file)]
        # The files hold the truth's own joints, whatever format they are in; a run's detections are MediaPipe's.
        options += ["--keypoints-of", "mediapipe" if case.keypoints == OWN_DETECTIONS else "model"]
    run_commands(capture, out, options, outcome)
    if (out / "manifest.json").is_file():
        outcome.labels = measure(base, list(draft.views.values()), capture, out)
    if name == reference_name(case) and case.keypoints is None and (out / "detections").is_dir():
        remove(detections_of(case.base, seed, work))
        shutil.copytree(out / "detections", detections_of(case.base, seed, work))
    remove(place)
    outcome.seconds = time.perf_counter() - started
    return outcome


def run_real(capture: Path, options: list[str], work: Path) -> Outcome:
    """Run the commands on a real capture, whose truth is not known."""
    outcome = Outcome(f"real_{capture.name}")
    started = time.perf_counter()
    place = work / "runs" / outcome.name
    remove(place)
    place.mkdir(parents=True)
    run_commands(capture, place / "annotated", options, outcome)
    remove(place)
    outcome.seconds = time.perf_counter() - started
    return outcome


def run_commands(capture: Path, out: Path, options: list[str], outcome: Outcome) -> None:
    """Inspect and validate the capture, annotate it, validate the annotations."""
    folders = {out: "ANNOTATIONS", capture: "CAPTURE", capture.parent: "FOLDER"}
    command(["inspect", str(capture), *inspect_options(options)], folders, outcome)
    command(["annotate", str(capture), "--out", str(out), *options, "--workers", "1"], folders, outcome)
    command(["validate", str(capture), "--workers", "1"], folders, outcome)
    if (out / "manifest.json").is_file():
        command(["validate", str(out), "--workers", "1"], folders, outcome)


def measure(base: Base, views: list[View], capture_folder: Path, out: Path) -> list[Label]:
    """Compare every accepted view with the true pixels of the same side's hand in the picture that it shows."""
    import handgen
    from handgen.io.annotations import Annotations

    capture = handgen.load_capture(capture_folder, metres_per_unit="auto")
    by_file = {view.file: view for view in views}
    columns = {
        name: (column, by_file[source.path.name])
        for column, (name, source) in enumerate(zip(capture.cameras.names, capture.sources, strict=True))
    }
    annotations = Annotations(out)
    labels = []
    for _, record in annotations:
        for view in record.views if record.accepted else ():
            if view.accepted:
                column, shown = columns[view.camera.name]
                own = int(capture.source_frames[record.frame, column])
                pixels = annotations.rig[view.camera.name].project(record.keypoints_world_m)[0]
                frame = shown.frames[own] if own >= 0 else -1
                hand = (frame, record.side)
                error = label_error_px(
                    pixels, base.pixels(shown, own, record.side) if shows_hands(shown, own) else None
                )
                labels.append(Label(hand, view.camera.name, error))
    return labels


def shows_hands(view: View, own: int) -> bool:
    """Say whether the picture is there and not painted over."""
    return own >= 0 and view.paint is None


def label_error_px(pixels: np.ndarray, truth: tuple[np.ndarray, np.ndarray] | None) -> float:
    """Return the mean distance of 21 keypoints from the truth, px; infinite where there is no such hand."""
    return np.inf if truth is None else float(np.linalg.norm(pixels - truth[0], axis=1).mean())


def detections_of(base: str, seed: int, work: Path) -> Path:
    """Return where the detections of the intact run of a base are kept."""
    return work / "detections" / str(seed) / base


def remove(folder: Path) -> None:
    """Remove a folder, read-only ones too."""
    if folder.is_dir():
        for path in [folder, *folder.rglob("*")]:
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
        shutil.rmtree(folder)
