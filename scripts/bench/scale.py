"""Measure what a run of many machines costs: per core, per shard, and in the process that hands out the shards.

    python scripts/bench/scale.py [--json] [--only core ray units manifest scaling] [--keep FOLDER] [--shards 6]
                                  [--rounds 3] [--views 100000 1000000] [--entries 100000] [--samples 12000]

Figures of one machine, from which docs/scale.md computes what a hundred of them need.

core      shards of 1000 samples at 224 px with default options, one process, from the first shard to the last.
ray       the same shards in one process of a pool and as tasks of a Ray with one CPU, in turn, start-up apart; and
          tasks that do nothing, with the item of such a shard.
units     what is done for each shard before it can be handed out: which views, which backgrounds, their rows, pickling;
          from tables of so many views as long annotations have. And planning: reading the annotations.
manifest  noting shards down, and the manifest of so many of them.
scaling   two processes against one; see `synthesize.py`, whose measurement it is.

Nothing else should run. One thread per process.
"""

from __future__ import annotations

import argparse
import os
import pickle
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import orjson
from synthesize import FULL, Material, bench_scaling, prepare
from table import report

from handgen.io import shards
from handgen.runtime import local
from handgen.runtime.ray import RayEngine
from handgen.stages.synthesize import stage
from handgen.stages.synthesize.backgrounds import scan_folder
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.stages.synthesize.sample import ShardUnit
from handgen.stages.synthesize.sources import open_sources
from handgen.stages.synthesize.views import ROW, ViewTable, order_views, spread, usable_views
from handgen.storage.documents import write_json
from handgen.storage.journal import Journal

PARTS = ("core", "ray", "units", "manifest", "scaling")
SAMPLES = 1000  # of a shard
SHARD_SIZES = (1000, 10_000)
TASKS, UNITS, NOTES = 400, 60, 3000
FRAMES = 24

TARGETS: dict[str, tuple[str, float | None, bool]] = {
    "samples_per_s_core": ("samples/s of one process, 224 px", None, True),
    "bytes_per_sample": ("bytes of a sample in its shard", None, False),
    "shard_bytes": ("bytes of a shard of 1000 samples", None, False),
    "ray_overhead_share": ("Ray: time of a shard of 1000 samples above a local process's, as a share", 0.02, False),
    "ray_task_share": ("Ray: the difference of tasks that do nothing, as a share of such a shard", 0.02, False),
    "ray_shard_ms": ("Ray: ms of such a shard", None, False),
    "local_shard_ms": ("a local process: ms of such a shard", None, False),
    "ray_task_ms": ("Ray: ms of a task that does nothing, with the item of such a shard", None, False),
    "ray_large_task_ms": ("Ray: the same, with the item of a shard of 10,000", None, False),
    "ray_small_task_ms": ("Ray: the same, with a number as its item", None, False),
    "local_task_ms": ("a local process: ms of one that does nothing, with the item of such a shard", None, False),
    "ray_start_s": ("Ray: start and end of one on this machine, s", None, False),
    "plan_s_per_million_views": ("reading annotations, s per million views", None, False),
    "journal_ms": ("noting a shard down, ms", None, False),
    "manifest_entries": ("manifest: shards", None, True),
    "manifest_bytes_per_shard": ("manifest: bytes of a shard's entry", None, False),
    "manifest_write_s": ("manifest: checking and writing it, s", None, False),
    "manifest_mib": ("manifest: memory while it is written, MiB", None, False),
    "results_bytes_per_shard": ("memory of what is known of a finished shard, bytes", None, False),
    "scaling_2": ("two processes: times the samples/s of one, their start included", 1.85, True),
    "scaling_samples": ("the same: samples of a run", None, True),
    "machine_scaling_2": ("the JPEG floor in two processes: times one", None, True),
    "start_up_s": ("handgen synthesize of 8 samples, s", None, False),
}


def short(number: int) -> str:
    """`1000000` as `1m`."""
    return f"{number // 10**6}m" if number % 10**6 == 0 else f"{number // 1000}k"


def unit_targets(views: Iterable[int]) -> dict[str, tuple[str, float | None, bool]]:
    """Lines of the table that depend on the options."""
    lines: dict[str, tuple[str, float | None, bool]] = {}
    for count in views:
        lines[f"order_s_{short(count)}"] = (f"{count} views: s to shuffle them, once a round", None, False)
        for size in SHARD_SIZES:
            name = f"{short(count)}_{short(size)}"
            lines[f"unit_ms_{name}"] = (f"{count} views, shards of {size}: ms to make one ready", None, False)
            lines[f"unit_kib_{name}"] = (f"{count} views, shards of {size}: KiB of what is sent", None, False)
    return lines


@dataclass(frozen=True)
class OneProcess:
    """The local engine, with a process of its own even for one."""

    def map_units(self, function: Callable[[Any], Any], items: Iterable[Any], count: int) -> Iterator[Any]:
        """Do what `handgen.runtime.engines.Engine` says."""
        with local._Mailbox() as mailbox:
            yield from local._in_pool(function, local._Work(items), 1, mailbox)


class Clock:
    """Times shards, from the first one that is finished to the last."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def look(self, what: str, done: int, total: int) -> None:
        """A progress callback."""
        if what == "writing samples" and done // SAMPLES > len(self.times):  # it is told of parts of shards, too
            self.times.append(time.perf_counter())

    def shard_s(self) -> float:
        """Seconds of one."""
        return (self.times[-1] - self.times[0]) / (len(self.times) - 1)


def write_shards(material: Material, out: Path, count: int, engine: Any = None) -> tuple[float, stage.SynthesizeReport]:
    """Seconds of a shard of a run of `count`, and the report; engine: other than this process."""
    config = SynthesizeConfig(samples=count * SAMPLES, samples_per_shard=SAMPLES, workers=1)
    clock, before = Clock(), stage.create_engine
    stage.create_engine = (lambda *_: engine) if engine else before
    try:
        made = stage.run(material.annotations, out, material.background_folder, config, clock.look)
    finally:
        stage.create_engine = before
    return clock.shard_s(), made


def bench_core(material: Material, folder: Path, count: int) -> dict[str, float]:
    """One process, this one."""
    seconds, made = write_shards(material, folder / "core", count)
    return {
        "samples_per_s_core": SAMPLES / seconds,
        "bytes_per_sample": made.bytes / made.samples,
        "shard_bytes": made.bytes / made.shards,
    }


def bench_ray(material: Material, folder: Path, count: int, rounds: int) -> dict[str, float]:
    """A process of a pool and tasks of a Ray, in turn; Ray is there all the time, as it is in a run."""
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else Ray leaves one in the user's home
    import ray

    began = time.perf_counter()
    list(RayEngine(workers=1).map_units(abs, [1], 1))
    start_s = time.perf_counter() - began
    environment = {"env_vars": local.ONE_THREAD}
    ray.init(
        "local",
        num_cpus=1,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env=environment,
    )
    engines = {"local": OneProcess(), "ray": RayEngine()}
    taken: dict[str, list[float]] = {name: [] for name in engines}
    for round_ in range(rounds):
        for name in sorted(engines, reverse=bool(round_ % 2)):
            seconds, _ = write_shards(material, folder / f"{name}_{round_}", count, engines[name])
            taken[name].append(seconds)
            print(f"  {name}: {seconds * 1e3:.1f} ms a shard", file=sys.stderr)
    ratios = [there / here for there, here in zip(taken["ray"], taken["local"], strict=True)]
    table = long_table(material, folder, 10_000)
    unit, large = (next(units(table, material, size)) for size in SHARD_SIZES)
    figures = {
        "ray_overhead_share": statistics.median(ratios) - 1,
        "ray_shard_ms": statistics.median(taken["ray"]) * 1e3,
        "local_shard_ms": statistics.median(taken["local"]) * 1e3,
        "ray_task_ms": task_ms(engines["ray"], unit),
        "ray_large_task_ms": task_ms(engines["ray"], large),
        "ray_small_task_ms": task_ms(engines["ray"], 1),
        "local_task_ms": task_ms(engines["local"], unit),
        "ray_start_s": start_s,
    }
    ray.shutdown()
    above_ms = figures["ray_task_ms"] - figures["local_task_ms"]
    return figures | {"ray_task_share": above_ms / figures["local_shard_ms"]}


def nothing(item: Any) -> int:
    """A unit that does nothing."""
    return 0


def task_ms(engine: Any, item: Any) -> float:
    """Milliseconds of units that do nothing, the first of them apart."""
    results = engine.map_units(nothing, (item for _ in range(TASKS)), TASKS)
    next(results)
    began = time.perf_counter()
    done = sum(1 for _ in results)
    return (time.perf_counter() - began) / done * 1e3


def views_of(material: Material) -> ViewTable:
    """The views of the bench's annotations."""
    return usable_views(open_sources([material.annotations], want_flips=True), False)


def long_table(material: Material, folder: Path, count: int) -> ViewTable:
    """A table of `count` views, in a file as real ones are: the bench's own again and again."""
    table = views_of(material)
    path = folder / f"views_{count}"
    with path.open("wb") as file:
        for _ in range(-(-count // len(table))):
            file.write(table.rows.tobytes())
    return replace(table, rows=np.memmap(path, ROW, "r", shape=(count,)))


def units(table: ViewTable, material: Material, size: int) -> Iterator[ShardUnit]:
    """Shards of `size` samples of a run that shows each view eighty times."""
    samples = 80 * len(table)
    backgrounds = scan_folder(material.background_folder, samples, 0).backgrounds
    for first in range(0, samples, size):
        index = first // size
        order = order_views(len(table), samples, 0, first, first + size)
        picks = backgrounds.picks(index, first, size)
        yield ShardUnit.of(table, index, (0, "train", index), first, spread(order, picks), picks)


def bench_units(material: Material, folder: Path, views: Iterable[int]) -> dict[str, float]:
    """Planning, and making shards ready."""
    opened = open_sources([material.annotations], want_flips=True)
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        found = len(usable_views(opened, False))
        taken.append((time.perf_counter() - began) / found)
    figures = {"plan_s_per_million_views": min(taken) * 1e6}
    for count in views:
        table = long_table(material, folder, count)
        for size in SHARD_SIZES:
            ready = units(table, material, size)
            began = time.perf_counter()
            next(ready)
            figures.setdefault(f"order_s_{short(count)}", time.perf_counter() - began)
            sizes, times = [], []
            for _ in range(min(UNITS, count * 8 // size - 1)):
                began = time.perf_counter()
                sizes.append(len(pickle.dumps(next(ready), protocol=5)))
                times.append(time.perf_counter() - began)
            figures[f"unit_ms_{short(count)}_{short(size)}"] = statistics.median(times) * 1e3
            figures[f"unit_kib_{short(count)}_{short(size)}"] = statistics.median(sizes) / 1024
        Path(table.rows.filename).unlink()
    return figures


def bench_manifest(material: Material, folder: Path, entries: int) -> dict[str, float]:
    """The journal here; the manifest in a process of its own, whose memory is looked at."""
    write_shards(material, folder / "noted", 2)
    document = orjson.loads((folder / "noted" / "manifest.json").read_bytes())
    journal = Journal(folder)
    began = time.perf_counter()
    for number in range(NOTES):
        journal.add(number, {"description": document["shards"][0], "problems": [], "damaged": []})
    journal.close()
    journal_ms = (time.perf_counter() - began) / NOTES * 1e3
    command = [sys.executable, __file__, "--manifest", str(folder / "noted"), "--entries", str(entries)]
    return {
        "journal_ms": journal_ms,
        **orjson.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout),
    }


def write_long_manifest(root: Path, entries: int) -> dict[str, float]:
    """A manifest as that of `root`, but of so many shards, and what it costs."""
    document = orjson.loads((root / "manifest.json").read_bytes())
    one = orjson.dumps(document["shards"][0])
    small = memory_mib("VmRSS")
    results = []
    for number in range(entries):
        described = orjson.loads(one)  # objects of its own, as results of other processes are
        described["name"] = shards.shard_name("train", number)
        results.append(stage.ShardResult(number, described, True))
    held = memory_mib("VmRSS")
    document["shards"] = [result.description for result in results]
    out = root / "long"
    out.mkdir()
    began = time.perf_counter()
    write_json(out / "manifest.json", document, shards.MANIFEST_SCHEMA)
    return {
        "manifest_entries": entries,
        "manifest_write_s": time.perf_counter() - began,
        "manifest_bytes_per_shard": (out / "manifest.json").stat().st_size / entries,
        "manifest_mib": memory_mib("VmHWM") - held,
        "results_bytes_per_shard": (held - small) * 2**20 / entries,
    }


def memory_mib(field: str) -> float:
    """Memory of this process, now (VmRSS) or at its highest (VmHWM)."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(field))


def main() -> None:
    """Prepare, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one flat JSON object instead of a table")
    parser.add_argument("--only", nargs="+", default=PARTS, choices=PARTS, help="parts")
    parser.add_argument("--keep", type=Path, help="make the capture and the backgrounds here, or find them here")
    parser.add_argument("--shards", type=int, default=6, help="of a run of core and ray, 1000 samples each")
    parser.add_argument("--rounds", type=int, default=3, help="of ray")
    parser.add_argument("--views", type=int, nargs="+", default=[100_000, 1_000_000], help="of the tables of units")
    parser.add_argument("--entries", type=int, default=100_000, help="of the manifest")
    parser.add_argument("--samples", type=int, default=12_000, help="of a run of scaling")
    parser.add_argument("--manifest", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.manifest:
        print(orjson.dumps(write_long_manifest(options.manifest, options.entries)).decode())
        return
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    cv2.setNumThreads(1)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        kept = options.keep or folder
        kept.mkdir(parents=True, exist_ok=True)
        material = prepare(kept, FRAMES)
        print(f"  load before: {os.getloadavg()[0]:.2f}", file=sys.stderr)
        if "core" in options.only:
            figures |= bench_core(material, folder, options.shards)
        if "ray" in options.only:
            figures |= bench_ray(material, folder, options.shards, options.rounds)
        if "units" in options.only:
            figures |= bench_units(material, folder, options.views)
        if "manifest" in options.only:
            figures |= bench_manifest(material, folder, options.entries)
        if "scaling" in options.only:
            figures |= bench_scaling(material, folder, replace(FULL, scaling_samples=options.samples))
    report(figures, TARGETS | unit_targets(options.views), options.json)


if __name__ == "__main__":
    main()
