"""How fast shards are read: `handgen.data.load_shards` against a bare webdataset pipeline with the same decoding.

    python scripts/bench/reading.py [--samples 4000] [--rounds 5] [--json]

Both read the same shards, decode with the same functions to the same tensors and make the same batches; webdataset by
its own tar reader, grouping, shuffle and batching. Rounds alternate; the ratio is of the medians, above 1 where handgen
is faster. One process, and two DataLoader workers.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import webdataset
from table import report
from torch.utils.data import DataLoader

from handgen.data import load_shards
from handgen.data.decode import collate, decode_sample
from handgen.stages.simulate import stage as simulate
from handgen.stages.simulate.config import SimulateConfig
from handgen.stages.synthesize import stage
from handgen.stages.synthesize.config import SynthesizeConfig

BATCH, BUFFER = 64, 500
# name -> (what, target, whether more is better)
TARGETS: dict[str, tuple[str, float | None, bool]] = {}
for _suffix, _what in (("", "one process"), ("_2_workers", "two DataLoader workers")):
    TARGETS |= {
        f"reading_ratio{_suffix}": (f"{_what}: handgen / bare webdataset, samples/s", 0.9, True),
        f"handgen_samples_per_s{_suffix}": (f"{_what}: handgen, samples/s", None, True),
        f"webdataset_samples_per_s{_suffix}": (f"{_what}: webdataset, samples/s", None, True),
    }


def make_shards(folder: Path, samples: int) -> Path:
    """Shards of `samples` of a small simulated capture."""
    simulated = simulate.run(folder / "capture", SimulateConfig(views=4, frames=8, size=(320, 240)))
    stage.run(simulated.truth, folder / "shards", None, SynthesizeConfig(samples=samples, samples_per_shard=500))
    return folder / "shards"


def bare(root: Path) -> webdataset.DataPipeline:
    """Webdataset alone, but for the decoding."""
    return webdataset.DataPipeline(
        webdataset.SimpleShardList([str(path) for path in sorted(root.glob("*.tar"))]),
        webdataset.split_by_worker,
        webdataset.tarfile_to_samples(),
        webdataset.shuffle(BUFFER, initial=BUFFER),
        webdataset.map(_decoded),
        webdataset.batched(BATCH, collation_fn=collate),
    )


def _decoded(sample: dict[str, Any]) -> Any:
    return dict(decode_sample((sample["__url__"], sample["__key__"], sample)))


def samples_per_s(batches: Iterable[dict[str, Any]]) -> float:
    """Figures of one pass."""
    began, count = time.perf_counter(), 0
    for batch in batches:
        count += len(batch["image"])
    return count / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = make_shards(Path(folder), options.samples)
        for workers in (0, 2):
            measured: dict[str, list[float]] = {"handgen": [], "webdataset": []}
            for _ in range(options.rounds):
                ours = load_shards(root, batch_size=BATCH, shuffle=BUFFER)
                for name, dataset in (("handgen", ours), ("webdataset", bare(root))):
                    loader = DataLoader(dataset, batch_size=None, num_workers=workers)
                    measured[name].append(samples_per_s(loader))
            medians = {name: statistics.median(values) for name, values in measured.items()}
            suffix = f"_{workers}_workers" if workers else ""
            figures |= {f"{name}_samples_per_s{suffix}": value for name, value in medians.items()}
            figures[f"reading_ratio{suffix}"] = medians["handgen"] / medians["webdataset"]
    report(figures, TARGETS, options.json)


if __name__ == "__main__":
    main()
