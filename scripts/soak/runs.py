"""Runs of `handgen` as a user starts them, and what they leave behind: what scripts/soak/soak.py kills and compares."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import psutil

from handgen.io.annotations import Annotations
from handgen.io.capture.capture import load_capture
from handgen.io.detections import write_detections
from handgen.records.detection import DetectionRecord
from handgen.stages.simulate.files import CAPTURE
from handgen.storage.filesystem import PARTIAL
from handgen.storage.journal import JOURNAL
from handgen.storage.lock import LOCK
from handgen.storage.output import MANIFEST, RUN

LONGEST_S = 300  # a run that takes longer hangs
_PICTURES, _DAMAGED_PICTURES = 48, 12  # of the backgrounds
_WORKER = "spawn_main"  # in the command line of a worker process


@dataclass(frozen=True)
class Stage:
    """A command to be disturbed.

    source: what it reads, if anything. options: besides source and output. units: pattern of what a finished unit of
    work is called below the output. other: options of another run, and `difference` what is said of it. manifest: the
    file that is written last.
    """

    name: str
    source: Path | None
    options: tuple[str, ...]
    units: str
    other: tuple[str, ...]
    difference: str
    manifest: str = MANIFEST

    def with_options(self, *more: str) -> Stage:
        """Return the command with further options."""
        return replace(self, options=(*self.options, *more))

    def on(self, source: Path) -> Stage:
        """Return the command on another input."""
        return replace(self, source=source)

    def command(self, out: Path | str) -> list[str]:
        """The command that writes to `out`."""
        places = [str(self.source), "--out", str(out)] if self.source else [str(out)]
        return [sys.executable, "-m", "handgen.cli.main", self.name, *places, *self.options]

    def finished(self, out: Path) -> list[Path]:
        """The units that are there."""
        return sorted(out.glob(self.units))


def make_stages(folder: Path) -> dict[str, Stage]:
    """Make what the commands read, small, and give them: 12 shards or tars of an export, 9 or 8 or 4 chunks."""
    capture, keypoints, pictures = folder / "capture", folder / "keypoints.jsonl", folder / "pictures"
    shards, data_set = folder / "shards", folder / "freihand"
    look = ("--fps", "8", "--background", "green", "--format", "images")
    synthesize = Stage(
        "synthesize",
        capture / "truth",
        ("--backgrounds", str(pictures), "--size", "96", "--samples", "240", "--samples-per-shard", "20"),
        "train-*.tar",
        ("--seed", "5"),
        "seed: 0 there, 5 now",
    )
    if not (data_set / MANIFEST).exists():
        _handgen(["simulate", str(capture), "--views", "3", "--frames", "26", "--size", "192x144", *look])
        _write_pictures(pictures)
        _write_true_keypoints(capture, keypoints)
        _handgen(synthesize.command(shards)[3:])
        _handgen(["export", str(shards), "--out", str(data_set), "--format", "freihand"])
    stages = (
        synthesize,
        Stage(
            "annotate",
            capture,
            ("--detector", "keypoints", "--keypoints", str(keypoints), "--refine", "none", "--chunk-frames", "3"),
            "chunks/*.jsonl",
            ("--acceleration", "4000"),
            "configuration.acceleration_mm_s2: 5000.0 there, 4000.0 now",
        ),
        Stage(
            "simulate",
            None,
            ("--views", "1", "--frames", "60", "--size", "96x72", *look),
            "truth/chunks/*.jsonl",
            ("--seed", "5"),
            "seed: 0 there, 5 now",
            CAPTURE,
        ),
        Stage(
            "export",
            shards,
            ("--format", "hamer"),
            "*.tar",
            ("--model-is-mano",),
            "configuration.model_is_mano: False there, True now",
        ),
        Stage(
            "import",
            data_set,
            ("--format", "freihand", "--limit", "24", "--chunk-frames", "3", "--hand-model", "open"),
            "chunks/*.jsonl",
            ("--min-iou", "0.5"),
            "configuration.min_mask_iou: 0.7 there, 0.5 now",
        ),
    )
    return {stage.name: stage for stage in stages}


def _handgen(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "handgen.cli.main", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _write_pictures(folder: Path) -> None:
    """Backgrounds, some of them cut off: that shows only when one is drawn, and is told in the manifest."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(_PICTURES):
        coarse = rng.integers(0, 256, (9, 12, 3), np.uint8)
        data = cv2.imencode(".jpg", cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC))[1].tobytes()
        damaged = index % (_PICTURES // _DAMAGED_PICTURES) == 0
        (folder / f"{index:02d}.jpg").write_bytes(data[: len(data) // 2] if damaged else data)


def _write_true_keypoints(capture: Path, path: Path) -> None:
    """Write what a perfect detector would see: no network is needed, and a chunk takes a fraction of a second."""
    cameras = load_capture(capture).rig.cameras
    rows = [
        DetectionRecord(camera.name, record.frame, camera.project(record.keypoints_world_m)[0], np.ones(21), 1.0)
        for _, record in Annotations(capture / "truth")
        for camera in cameras
    ]
    write_detections(path, rows)


class Run:
    """A run of a stage's command into `out`, in a session of its own.

    address: of the output, where it is no path. environment: variables besides this process's.
    """

    def __init__(
        self,
        stage: Stage,
        out: Path,
        workers: int = 2,
        *more: str,
        address: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.stage, self.out = stage, out
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed when the run is forgotten
        self._process = subprocess.Popen(
            [*stage.command(address or out), *more, "--workers", str(workers), "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )

    @property
    def pid(self) -> int:
        """Number of the process that the user started; its session has the same number."""
        return self._process.pid

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def wait(self, seconds: float = LONGEST_S) -> int | None:
        """The exit status, or None if it is still running after so long."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def wait_until(self, condition: Callable[[], bool], seconds: float = LONGEST_S, pause_s: float = 0.002) -> bool:
        """Wait until something is so; says whether it became so while the run was going on."""
        end = time.monotonic() + seconds
        while self.is_running() and time.monotonic() < end:
            if condition():
                return True
            time.sleep(pause_s)
        return condition()

    def workers(self) -> list[psutil.Process]:
        """Its worker processes."""
        with suppress(psutil.Error):
            return [child for child in psutil.Process(self.pid).children() if _is_worker(child)]
        return []

    def kill(self, whole_group: bool = True) -> None:
        """SIGKILL to all of its processes, or to the one that the user started alone."""
        with suppress(ProcessLookupError):
            (os.killpg if whole_group else os.kill)(self.pid, signal.SIGKILL)
        self._process.wait()

    def said(self) -> str:
        """The last line of what it wrote to standard error."""
        return (self.lines() or [""])[-1]

    def lines(self) -> list[str]:
        """All lines of it."""
        self._said.seek(0)
        return self._said.read().decode(errors="replace").strip().splitlines()


def end(process: psutil.Process) -> None:
    """SIGKILL, unless it has ended by itself."""
    with suppress(psutil.Error):
        process.kill()


def _is_worker(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return any(_WORKER in part for part in process.cmdline())
    return False


def survivors(sessions: set[int], seconds: float = 10.0) -> list[int]:
    """Processes of these sessions that are still there after so long."""
    end = time.monotonic() + seconds
    while found := [process.pid for process in psutil.process_iter() if _session_of(process) in sessions]:
        if time.monotonic() > end:
            return found
        time.sleep(0.1)
    return []


def _session_of(process: psutil.Process) -> int | None:
    with suppress(psutil.Error, OSError):
        if process.status() != psutil.STATUS_ZOMBIE:  # one whose parent has not asked for its status yet
            return os.getsid(process.pid)
    return None


def digests(out: Path, *places: Path) -> dict[str, str]:
    """SHA-256 of every file of a finished output by name; not of the journal, which tells what happened when.

    places: where else it was made: a file that names the output's place does not differ for that.
    """
    found = {}
    for name, path in _files(out):
        data = path.read_bytes()
        for place in (out, *places):
            data = data.replace(str(place).encode(), b"OUT")
        found[name] = hashlib.sha256(data).hexdigest()
    return found


def _files(out: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out)
        if path.is_file() and name.parts[0] != JOURNAL:
            yield str(name), path


def differences(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """Names of the files in which two outputs differ; half-written files and locks are among them."""
    return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))


def partials(out: Path) -> list[str]:
    """Files that a killed run left unfinished."""
    return [path.name for path in out.rglob(f"*{PARTIAL}")] if out.exists() else []


def stamps(stage: Stage, out: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change of what is finished, which a rerun must not touch."""
    paths = [*stage.finished(out), *(out / name for name in (stage.manifest, RUN) if (out / name).exists())]
    return {str(path.relative_to(out)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def phase(stage: Stage, out: Path, units: int) -> str:
    """How far a run had come that was killed."""
    if not (out / RUN).exists():
        return "locked" if (out / LOCK).exists() else "starting"
    if (out / stage.manifest).exists():
        return "after"
    finished = len(stage.finished(out))
    if not finished:
        return "planning"
    return "writing" if finished < units else "manifest"
