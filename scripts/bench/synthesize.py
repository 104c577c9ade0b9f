"""How fast samples are made: against the JPEG floor and a straightforward program, with two processes, in memory.

    python scripts/bench/synthesize.py [--json] [--quick] [--keep FOLDER] [--only speed scaling memory] [--rounds 5]

Frames of a simulated capture, 1280x960 JPEG at quality 95 with halved colours as cameras write them; 400 backgrounds,
640x480 at quality 90. `peer_paste.py` says what the floor and the straightforward program do. Ours is a whole run of
the stage with default options: annotations read, backgrounds looked at, samples made, validated, written and digested,
manifest and all; only the start of Python and its imports is left out, and stated as `start_up_s`.

One thread per process. A round times the others before and after ours, so that a machine that changes its pace counts
for all of them; ratios are taken within rounds, and their medians are printed. Scaling and memory are of `handgen
synthesize` in processes of its own. Nothing else should run: `machine_scaling_2`, the floor in two processes against
one, tells what the machine had to give.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import psutil
import simplejpeg
from peer_paste import TRUTH, Floor, Straightforward, floor_rate, write_inputs
from table import report

from handgen.stages.simulate import stage as simulate
from handgen.stages.simulate.config import SimulateConfig
from handgen.stages.synthesize import stage
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.stages.synthesize.patterns import draw_pattern

SIZES = (224, 512)
BACKGROUNDS, BACKGROUND_QUALITY = 400, 90
CAPTURE = SimulateConfig(views=8, frames=24, size=(1280, 960), seed=6001, video=False)
PARTS = ("speed", "scaling", "memory")
READ_EVERY_S = 0.25  # memory
SHARDS = 50  # of the runs for scaling and memory


@dataclass(frozen=True)
class Amount:
    """How much is measured. Samples of a round by size; of the floor twice that many are made."""

    frames: int
    rounds: int
    ours: dict[int, int]
    floor: dict[int, int]
    straightforward: dict[int, int]
    scaling_samples: int
    scaling_rounds: int
    memory_samples: int


FULL = Amount(24, 5, {224: 3000, 512: 1500}, {224: 400, 512: 300}, {224: 120, 512: 60}, 50_000, 1, 50_000)
QUICK = Amount(6, 2, {224: 800, 512: 400}, {224: 150, 512: 100}, {224: 40, 512: 20}, 2_000, 1, 4_000)

TARGETS: dict[str, tuple[str, float | None, bool]] = {}
for _size, _ratio, _speedup in ((224, 0.5, 8), (512, 1.1, None)):
    TARGETS |= {
        f"floor_ratio_{_size}": (f"{_size} px: time of a sample, times the JPEG floor", _ratio, False),
        f"floor_ratio_cpu_{_size}": (f"{_size} px: the same in CPU time, all threads", None, False),
        f"speedup_{_size}": (f"{_size} px: times as fast as the straightforward program", _speedup, True),
        f"speedup_usual_{_size}": (f"{_size} px: the same, its augmentations at the usual probabilities", None, True),
        f"samples_per_s_{_size}": (f"{_size} px: samples/s, one process", None, True),
        f"ours_ms_{_size}": (f"{_size} px: ms per sample", None, False),
        f"floor_ms_{_size}": (f"{_size} px: ms of the floor", None, False),
        f"straightforward_ms_{_size}": (f"{_size} px: ms of the straightforward program", None, False),
        f"kib_{_size}": (f"{_size} px: KiB of a sample", None, False),
    }
TARGETS |= {
    "start_up_s": ("handgen synthesize of 8 samples: start, imports and looking at everything, s", None, False),
    "scaling_2": ("two processes: times the samples/s of one, their start included", 1.85, True),
    "scaling_samples": ("the same: samples of a run", None, True),
    "machine_scaling_2": ("the floor in two processes: times one", None, True),
    "memory_growth_mib": ("a worker's memory, last tenth of the run against the second: MiB more", None, False),
    "memory_growth_late_mib": ("the same against the middle of the run, MiB", None, False),
    "peak_mib": ("a worker's memory at its highest, shared libraries included, MiB", None, False),
    "memory_samples": ("the same: samples of the run, two workers", None, True),
}


@dataclass(frozen=True)
class Material:
    """Inputs that are worked on. frames: as `peer_paste.write_inputs` writes them."""

    annotations: Path
    background_folder: Path
    backgrounds: list[Path]
    frames: list[Path]


def prepare(folder: Path, frames: int) -> Material:
    """Capture, backgrounds and the straightforward program's inputs, made where they are not there yet."""
    config = SimulateConfig(**(vars(CAPTURE) | {"frames": frames}))
    capture = folder / f"capture_{frames}"
    simulate.run(capture, config)
    background_folder = folder / "backgrounds"
    background_folder.mkdir(exist_ok=True)
    backgrounds = [background_folder / f"{number:04d}.jpg" for number in range(BACKGROUNDS)]
    for number, path in enumerate(backgrounds):
        if not path.is_file():
            picture = np.ascontiguousarray(draw_pattern(640, np.random.default_rng(number))[80:560])
            path.write_bytes(simplejpeg.encode_jpeg(picture, BACKGROUND_QUALITY, "RGB", "420"))
    inputs = write_inputs(capture, folder / f"straightforward_{frames}", count=48)
    return Material(capture / TRUTH, background_folder, backgrounds, inputs)


def bench_speed(material: Material, folder: Path, amount: Amount, rounds: int) -> dict[str, float]:
    """Floor, straightforward program and ours in turn, one thread each."""
    figures: dict[str, list[float]] = {}
    for round_ in range(-1, rounds):  # the first, a short one, warms everything up
        for size in SIZES:
            share = 1.0 if round_ >= 0 else 0.1
            measured = speed_round(material, folder / f"{size}_{round_}", amount, size, share)
            if round_ >= 0:
                print(f"  {size} px:", *(f"{name} {value:.3f}" for name, value in measured.items()), file=sys.stderr)
                for name, value in measured.items():
                    figures.setdefault(f"{name}_{size}", []).append(value)
    return {name: float(statistics.median(values)) for name, values in figures.items()}


def speed_round(material: Material, folder: Path, amount: Amount, size: int, share: float) -> dict[str, float]:
    """One round at one size, of a share of the amounts: half of the others' work, ours, the other half."""
    both, usual = (
        Straightforward(material.frames, material.backgrounds, size, folder / name, usual=name == "usual")
        for name in ("all", "usual")
    )
    floor = Floor(material.frames, material.backgrounds[:48], [usual.sample() for _ in range(8)])
    others = {
        "floor": (floor.sample, amount.floor[size]),
        "all": (both.sample, amount.straightforward[size]),
        "usual": (usual.sample, amount.straightforward[size]),
    }
    counts = {name: max(2, round(share * count / 2)) for name, (_, count) in others.items()}
    samples = round(share * amount.ours[size])
    config = SynthesizeConfig(samples=samples, size=size, workers=1)
    seconds = {name: np.zeros(2) for name in others}
    for half in range(2):
        for name, (sample, _) in others.items():
            began = clocks()
            for _ in range(counts[name]):
                sample()
            seconds[name] += (clocks() - began) / (2 * counts[name])
        if half == 0:
            began = clocks()
            report = stage.run(material.annotations, folder / "ours", material.background_folder, config)
            ours_s, ours_cpu_s = (clocks() - began) / samples
    floor_s, floor_cpu_s = seconds["floor"]
    both.close()
    usual.close()
    return {
        "floor_ratio": ours_s / floor_s,
        "floor_ratio_cpu": ours_cpu_s / floor_cpu_s,
        "speedup": seconds["all"][0] / ours_s,
        "speedup_usual": seconds["usual"][0] / ours_s,
        "samples_per_s": 1 / ours_s,
        "ours_ms": ours_s * 1e3,
        "floor_ms": floor_s * 1e3,
        "straightforward_ms": seconds["all"][0] * 1e3,
        "kib": report.bytes / samples / 1024,
    }


def clocks() -> np.ndarray:
    """Seconds of the clock, and of computing by all threads of this process. Shape (2,)."""
    return np.array([time.perf_counter(), time.process_time()])


def command(material: Material, out: Path, samples: int, workers: int) -> list[str]:
    """`handgen synthesize`, 224 px, fifty shards."""
    arguments = [str(material.annotations), "--backgrounds", str(material.background_folder), "--out", str(out)]
    options = ["--samples", str(samples), "--samples-per-shard", str(max(1, samples // SHARDS))]
    options += ["--workers", str(workers), "--json"]
    return [sys.executable, "-m", "handgen.cli.main", "synthesize", *arguments, *options]


def bench_scaling(material: Material, folder: Path, amount: Amount) -> dict[str, float]:
    """One process and two in turn."""
    began = time.perf_counter()
    run_quietly(command(material, folder / "few", 8, 1))
    start_up_s = time.perf_counter() - began
    gains: dict[str, list[float]] = {"ours": [], "machine": []}
    for round_ in range(amount.scaling_rounds):
        speeds, floors = {}, {}
        for workers in (1, 2) if round_ % 2 == 0 else (2, 1):
            out = folder / f"scaling_{round_}_{workers}"
            report = json.loads(run_quietly(command(material, out, amount.scaling_samples, workers)))
            speeds[workers] = report["samples_per_s"]
            floors[workers] = floor_rate(material.frames, material.backgrounds, SIZES[0], workers)
        print(f"  processes: samples/s {speeds}, floor {floors}", file=sys.stderr)
        gains["ours"].append(speeds[2] / speeds[1])
        gains["machine"].append(floors[2] / floors[1])
    return {
        "start_up_s": start_up_s,
        "scaling_2": statistics.median(gains["ours"]),
        "scaling_samples": amount.scaling_samples,
        "machine_scaling_2": statistics.median(gains["machine"]),
    }


def run_quietly(words: list[str]) -> bytes:
    """Standard output of a command that must succeed; its progress is not shown."""
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def bench_memory(material: Material, folder: Path, amount: Amount) -> dict[str, float]:
    """The larger of two workers, read while they work."""
    out = folder / "memory"
    readings: list[tuple[float, float, float]] = []  # share of the shards that are written; MiB, own and resident
    process = subprocess.Popen(
        command(material, out, amount.memory_samples, 2), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None:
        time.sleep(READ_EVERY_S)
        done = len(list(out.glob("*.tar"))) / SHARDS
        if (held := [held_mib(child) for child in children(process.pid)]) and 0 < done < 1:
            readings.append((done, *max(held)))
    if process.returncode:
        raise SystemExit(f"handgen synthesize ended with {process.returncode}")

    def own_mib(low: float, high: float) -> float:
        return statistics.median(own for done, own, _ in readings if low <= done < high)

    return {
        "memory_growth_mib": own_mib(0.9, 1.0) - own_mib(0.1, 0.2),
        "memory_growth_late_mib": own_mib(0.9, 1.0) - own_mib(0.5, 0.6),
        "peak_mib": max(resident for *_, resident in readings),
        "memory_samples": amount.memory_samples,
    }


def children(pid: int) -> list[psutil.Process]:
    """The worker processes of a command; helpers that Python starts beside them hold next to nothing."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def held_mib(process: psutil.Process) -> tuple[float, float]:
    """Memory of a process: its own, and all that is resident, libraries' files included; 0 when it has ended.

    Its own is what no other process shares or starts to share: other programs' use of the same libraries moves the
    proportional and the unique set size, but not this.
    """
    try:
        info = process.memory_info()
    except psutil.Error:
        return 0.0, 0.0
    return (info.rss - getattr(info, "shared", 0)) / 2**20, info.rss / 2**20


def main() -> None:
    """Prepare, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one flat JSON object instead of a table")
    parser.add_argument("--quick", action="store_true", help="about a minute: small runs, figures only roughly right")
    parser.add_argument("--keep", type=Path, help="make the capture and the backgrounds here, or find them here")
    parser.add_argument("--only", nargs="+", default=PARTS, choices=PARTS, help="parts")
    parser.add_argument("--rounds", type=int, help="of speed")
    options = parser.parse_args()
    amount = QUICK if options.quick else FULL
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    cv2.setNumThreads(1)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        kept = options.keep or Path(temporary)
        kept.mkdir(parents=True, exist_ok=True)
        material = prepare(kept, amount.frames)
        print(f"  load before: {os.getloadavg()[0]:.2f}", file=sys.stderr)
        if "speed" in options.only:
            figures |= bench_speed(material, Path(temporary), amount, options.rounds or amount.rounds)
        if "scaling" in options.only:
            figures |= bench_scaling(material, Path(temporary), amount)
        if "memory" in options.only:
            figures |= bench_memory(material, Path(temporary), amount)
    report(figures, TARGETS, options.json)


if __name__ == "__main__":
    main()
