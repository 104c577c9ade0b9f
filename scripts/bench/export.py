"""How fast shards are exported, and whether memory stays the same however many samples there are.

    python scripts/bench/export.py [--samples 100000] [--speed-samples 4000] [--only speed|memory] [--formats coco ...]
                                   [--folder DIR] [--json]

The shards are made of a small simulated capture, a thousand different samples; for more of them the same are written
again under other keys. Speed: one process and two, start included, in turn. Memory: of the workers and of the process
that lays the large JSON files together, read while `handgen export` runs.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from table import report

from handgen.datasets.registry import export_formats
from handgen.io import shards
from handgen.stages.simulate import stage as simulate
from handgen.stages.simulate.config import SimulateConfig
from handgen.stages.synthesize import stage
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.storage.documents import read_json, write_json

PER_SHARD = 1000
READ_EVERY_S = 0.2
# name -> (what, target, whether more is better)
TARGETS: dict[str, tuple[str, float | None, bool]] = {}
for _name in export_formats():
    TARGETS |= {
        f"samples_per_s_{_name}": (f"{_name}: one process, samples/s", None, True),
        f"scaling_2_{_name}": (f"{_name}: two processes over one", None, True),
        f"memory_growth_mib_{_name}": (f"{_name}: memory, last tenth over second tenth, MiB", 20, False),
        f"peak_mib_{_name}": (f"{_name}: largest process, MiB", None, False),
    }


def make_shards(folder: Path, samples: int) -> Path:
    """A thousand samples, written as often as it takes."""
    simulated = simulate.run(folder / "capture", SimulateConfig(views=4, frames=8, size=(320, 240)))
    stage.run(simulated.truth, folder / "one", None, SynthesizeConfig(samples=PER_SHARD, samples_per_shard=PER_SHARD))
    manifest = read_json(folder / "one" / "manifest.json")
    (path,) = (folder / "one").glob("*.tar")
    groups = [(shards.read_document(path, key, group), group) for key, group in shards.read_groups(path)]
    out = folder / "shards"
    out.mkdir()
    described = []
    for index in range(samples // PER_SHARD):
        name = shards.shard_name("train", index)
        described.append(shards.write_shard(out / name, (_again(entry, index) for entry in groups)))
    total = sum(entry["samples"] for entry in described)
    manifest |= {"samples": total, "shards": described}
    manifest["splits"][0]["samples"] = total
    write_json(out / "manifest.json", manifest, shards.MANIFEST_SCHEMA)
    return out


def _again(entry: tuple[dict[str, Any], dict[str, bytes]], index: int) -> shards.Sample:
    document, group = entry
    number = document["index"] + PER_SHARD * index
    key = f"train_{number:09d}"
    document = document | {"key": key, "index": number}
    return shards.Sample(key, group[shards.IMAGE], group[shards.MASK], document)


def command(source: Path, out: Path, name: str, workers: int) -> list[str]:
    """The command line of an export."""
    words = [sys.executable, "-m", "handgen.cli.main", "export", str(source), "--format", name, "--out", str(out)]
    return [*words, "--workers", str(workers), *(["--mirror-left"] if name == "freihand" else [])]


def bench_speed(source: Path, folder: Path, samples: int, formats: Sequence[str]) -> dict[str, float]:
    """Samples per second of whole commands."""
    figures: dict[str, float] = {}
    for name in formats:
        taken: dict[int, list[float]] = {1: [], 2: []}
        for turn in range(3):
            for workers, times in taken.items():
                out = folder / f"speed_{name}_{workers}_{turn}"
                began = time.perf_counter()
                subprocess.run(command(source, out, name, workers), check=True, capture_output=True)
                times.append(time.perf_counter() - began)
        medians = {workers: statistics.median(times) for workers, times in taken.items()}
        figures |= {f"samples_per_s_{name}": samples / medians[1], f"scaling_2_{name}": medians[1] / medians[2]}
    return figures


def bench_memory(source: Path, folder: Path, shard_count: int, formats: Sequence[str]) -> dict[str, float]:
    """Memory of the largest process, while the second tenth and the last tenth of the units are written."""
    figures = {}
    for name in formats:
        out = folder / f"memory_{name}"
        process = subprocess.Popen(command(source, out, name, 2), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        readings: list[tuple[float, float]] = []
        while process.poll() is None:
            time.sleep(READ_EVERY_S)
            if (mib := _largest_mib(process.pid)) is not None:
                readings.append((_done(out, shard_count), mib))
        if process.returncode:
            raise SystemExit(f"handgen export ended with {process.returncode}")
        if not any(0.1 <= done < 0.2 for done, _ in readings):
            raise SystemExit("too few samples: nothing was read while the second tenth was written")
        early = [mib for done, mib in readings if 0.1 <= done < 0.2]
        late = [mib for done, mib in readings if done >= 0.9]
        figures[f"memory_growth_mib_{name}"] = statistics.median(late) - statistics.median(early)
        figures[f"peak_mib_{name}"] = max(mib for _, mib in readings)
        shutil.rmtree(out)
    return figures


def _done(out: Path, shard_count: int) -> float:
    """Share of the units that are noted as finished."""
    lines = sum(path.read_bytes().count(b"\n") for path in out.glob(".journal/*.jsonl"))
    return lines / shard_count


def _largest_mib(pid: int) -> float | None:
    """None where a process ended while it was looked at."""
    try:
        process = psutil.Process(pid)
        return max(one.memory_info().rss for one in (process, *process.children(recursive=True))) / 2**20
    except psutil.Error:
        return None


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=100_000, help="of the memory's benchmark, in thousands")
    parser.add_argument("--speed-samples", type=int, default=4000)
    parser.add_argument("--only", choices=["speed", "memory"])
    parser.add_argument("--formats", nargs="+", choices=export_formats(), default=export_formats())
    parser.add_argument("--folder", type=Path, help="for the files: 3 GB per 100000 samples")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for name, samples in (("speed", options.speed_samples), ("memory", options.samples)):
            if options.only not in (None, name):
                continue
            place = Path(folder) / name
            source = make_shards(place, samples)
            if name == "speed":
                figures |= bench_speed(source, place, samples, options.formats)
            else:
                figures |= bench_memory(source, place, samples // PER_SHARD, options.formats)
    report(figures, TARGETS, options.json)


if __name__ == "__main__":
    main()
