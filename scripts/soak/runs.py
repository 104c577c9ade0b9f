"""Runs of `handgen` as a user starts them, and what they leave behind: what scripts/soak/soak.py kills and compares."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import psutil

from handgen.io.annotations import Annotations
from handgen.io.capture.capture import load_capture
from handgen.io.detections import write_detections
from handgen.records.detection import DetectionRecord
from handgen.storage.filesystem import PARTIAL
from handgen.storage.journal import JOURNAL
from handgen.storage.lock import LOCK
from handgen.storage.output import MANIFEST, RUN

LONGEST_S = 300  # a run that takes longer hangs
_PICTURES, _DAMAGED_PICTURES = 48, 12  # of the backgrounds
_WORKER = "spawn_main"  # in the command line of a worker process


@dataclass(frozen=True)
class Stage:
    """A command to be disturbed. units: pattern of what a finished unit of work is called below the output."""

    name: str
    arguments: tuple[str, ...]
    units: str

    def with_arguments(self, *more: str) -> Stage:
        """Return the command with further options."""
        return Stage(self.name, (*self.arguments, *more), self.units)

    def on(self, source: Path) -> Stage:
        """Return the command on another input."""
        return Stage(self.name, (self.arguments[0], str(source), *self.arguments[2:]), self.units)

    @property
    def source(self) -> Path:
        """Return what it reads."""
        return Path(self.arguments[1])

    def finished(self, out: Path) -> list[Path]:
        """The units that are there."""
        return sorted(out.glob(self.units))


def make_stages(folder: Path) -> dict[str, Stage]:
    """Render a small capture, and give the commands that read it: 12 shards, or 9 chunks."""
    capture, keypoints, pictures = folder / "capture", folder / "keypoints.jsonl", folder / "pictures"
    if not keypoints.exists():
        _handgen(
            ["simulate", str(capture), "--views", "3", "--frames", "26", "--size", "192x144", "--fps", "8"]
            + ["--background", "green", "--format", "images"]
        )
        _write_pictures(pictures)
        _write_true_keypoints(capture, keypoints)
    return {
        "synthesize": Stage(
            "synthesize",
            ("synthesize", str(capture / "truth"), "--backgrounds", str(pictures), "--size", "96")
            + ("--samples", "240", "--samples-per-shard", "20"),
            "train-*.tar",
        ),
        "annotate": Stage(
            "annotate",
            ("annotate", str(capture), "--detector", "keypoints", "--keypoints", str(keypoints))
            + ("--refine", "none", "--chunk-frames", "3"),
            "chunks/*.jsonl",
        ),
    }


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
    """A run of a stage's command into `out`, in a session of its own."""

    def __init__(self, stage: Stage, out: Path, workers: int = 2, *more: str) -> None:
        self.stage, self.out = stage, out
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed when the run is forgotten
        command = [sys.executable, "-m", "handgen.cli.main", *stage.arguments, *more]
        self._process = subprocess.Popen(
            [*command, "--out", str(out), "--workers", str(workers), "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            start_new_session=True,
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


def digests(out: Path) -> dict[str, str]:
    """SHA-256 of every file of a finished output by name; not of the journal, which tells what happened when."""
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in _files(out)}


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
    paths = [*stage.finished(out), *(out / name for name in (MANIFEST, RUN) if (out / name).exists())]
    return {str(path.relative_to(out)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def phase(stage: Stage, out: Path, units: int) -> str:
    """How far a run had come that was killed."""
    if not (out / RUN).exists():
        return "locked" if (out / LOCK).exists() else "starting"
    if (out / MANIFEST).exists():
        return "after"
    finished = len(stage.finished(out))
    if not finished:
        return "planning"
    return "writing" if finished < units else "manifest"
