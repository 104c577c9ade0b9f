"""Does it help? Train one small keypoint network on three kinds of samples, test it on people and rooms it never saw.

    python scripts/bench/training.py [--json] [--quick] [--keep FOLDER] [--seeds 3] [--workers 2]

raw: crops of the frames of the captures, their own background behind the hand. paste: hands cut along their masks and
laid on pictures. full: what `synthesize` makes. All from the same captures, in green studios, as
`annotate` labels them from their pixels, through the same virtual cameras, as many samples, the same steps. Behind the
composites are pictures of empty rooms and patterns. The test is captures of other people in other rooms, raw, with
labels from their truth. Nothing is augmented while training.

PCK: share of keypoints within 0.1 of the longer side of the box around the hand's 21 true keypoints, which crops of
the test are cut by. Means of three trainings that differ in their seeds; _std is the deviation over them.

--keep keeps captures, annotations and contact sheets in FOLDER; captures that are there are used again.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from table import report
from training_network import Samples, Schedule, pck, predict, train
from training_sets import (
    BACKGROUND_ROOMS,
    RECIPES,
    CaptureJob,
    composites,
    crops,
    joined,
    looks_at_truth,
    looks_of_shards,
    make_capture,
    make_pictures,
    sheet,
    test_captures,
    train_captures,
)

from handgen.io.annotations import Annotations
from handgen.media import images
from handgen.runtime.local import default_workers, map_units

RAW, TEST = "raw", "test"
KINDS = (RAW, *RECIPES)
TARGETS = {
    "pck_raw": ("PCK, trained on crops of the captures' frames", None, True),
    "pck_paste": ("PCK, trained on plain paste", None, True),
    "pck_full": ("PCK, trained on composites", None, True),
    "pck_raw_std": ("its deviation over the seeds: frames", None, False),
    "pck_paste_std": ("plain paste", None, False),
    "pck_full_std": ("composites", None, False),
    "captures_s": ("simulating and annotating, s", None, False),
    "samples_s": ("making the samples, s", None, False),
    "training_s": ("training and testing, s", None, False),
    "seconds": ("all of it, s", 1200, False),
}


@dataclass(frozen=True)
class Plan:
    """How much of everything. samples: of one training set. frames, test_frames: of one capture."""

    people: int = 6
    frames: int = 54
    test_frames: int = 30
    samples: int = 12000
    epochs: int = 12
    rooms: int = len(BACKGROUND_ROOMS)
    seeds: int = 3


QUICK = Plan(people=2, frames=12, test_frames=6, samples=400, epochs=6, rooms=2, seeds=2)


@dataclass(frozen=True)
class Training:
    """One network to train."""

    kind: str
    seed: int


def save(samples: Samples, path: Path) -> None:
    """For `load`, which maps the pixels, so that trainings side by side share them."""
    np.save(path.with_suffix(".images.npy"), samples.images)
    np.save(path.with_suffix(".keypoints.npy"), samples.keypoints_px)
    np.save(path.with_suffix(".visible.npy"), samples.visible)


def load(path: Path) -> Samples:
    """Load what `save` wrote."""
    pixels = np.load(path.with_suffix(".images.npy"), mmap_mode="c")  # torch warns of arrays it must not write to
    return Samples(pixels, np.load(path.with_suffix(".keypoints.npy")), np.load(path.with_suffix(".visible.npy")))


def make_train_samples(root: Path, per_capture: int, job: CaptureJob) -> None:
    """All kinds of samples of one capture, to files."""
    name = job.folder.name
    for kind, recipe in RECIPES.items():
        out = root / f"{name}_shards_{kind}"
        shutil.rmtree(out, ignore_errors=True)  # made anew: the code may have changed
        config = replace(recipe, samples=per_capture, seed=job.config.seed, workers=1)
        save(composites(job, root / "pictures", out, config), root / f"{name}_{kind}")
    save(crops(job.folder, looks_of_shards(root / f"{name}_shards_paste")), root / f"{name}_{RAW}")


def make_test_samples(root: Path, job: CaptureJob) -> None:
    """The crops of one test capture, to files."""
    looks = looks_at_truth(Annotations(job.annotations), job.config.seed)
    save(crops(job.folder, looks), root / f"{job.folder.name}_{TEST}")


def gather(root: Path, jobs: list[CaptureJob], kind: str) -> None:
    """One set of the parts that captures gave, and its contact sheet."""
    whole = joined(load(root / f"{job.folder.name}_{kind}") for job in jobs)
    save(whole, root / kind)
    (root / f"{kind}.jpg").write_bytes(images.encode_jpeg(sheet(whole), 92))


def train_and_test(root: Path, schedule: Schedule, training: Training) -> tuple[str, float]:
    """The kind of samples and the PCK on the test."""
    model = train(load(root / training.kind), schedule, training.seed)
    test = load(root / TEST)
    return training.kind, float(pck(predict(model, np.asarray(test.images)), test.keypoints_px).mean())


def run_unit(unit: Callable[[], object]) -> object:
    """Units of different kinds side by side."""
    return unit()


def measure(plan: Plan, root: Path, workers: int) -> dict[str, float]:
    """Every figure of `TARGETS`."""
    began = time.perf_counter()
    training_jobs = train_captures(root, plan.people, plan.frames)
    test_jobs = test_captures(root, plan.people, plan.test_frames)
    units: list[Callable[[], object]] = [partial(make_capture, job) for job in (*training_jobs, *test_jobs)]
    units += [partial(make_pictures, root / "pictures", seed) for seed in BACKGROUND_ROOMS[: plan.rooms]]
    list(map_units(run_unit, units, workers))
    captured = time.perf_counter()

    units = [partial(make_train_samples, root, plan.samples // plan.people, job) for job in training_jobs]
    units += [partial(make_test_samples, root, job) for job in test_jobs]
    list(map_units(run_unit, units, workers))
    for kind in KINDS:
        gather(root, training_jobs, kind)
    gather(root, test_jobs, TEST)
    sampled = time.perf_counter()

    trainings = [Training(kind, seed) for seed in range(plan.seeds) for kind in KINDS]
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for kind, value in map_units(partial(train_and_test, root, Schedule(plan.epochs)), trainings, workers):
        found[kind].append(value)
    ended = time.perf_counter()
    figures = {f"pck_{kind}": float(np.mean(values)) for kind, values in found.items()}
    figures |= {f"pck_{kind}_std": float(np.std(values)) for kind, values in found.items()}
    return figures | {
        "captures_s": captured - began,
        "samples_s": sampled - captured,
        "training_s": ended - sampled,
        "seconds": ended - began,
    }


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one flat JSON object instead of a table")
    parser.add_argument("--quick", action="store_true", help="a minute or two that only shows that everything runs")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where captures and contact sheets stay")
    parser.add_argument("--seeds", type=int, help="trainings of each kind")
    parser.add_argument("--workers", type=int, default=default_workers(), help="processes of one thread")
    options = parser.parse_args()
    plan = QUICK if options.quick else Plan()
    if options.seeds:
        plan = replace(plan, seeds=options.seeds)
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        figures = measure(plan, options.keep, options.workers)
    else:
        with tempfile.TemporaryDirectory() as folder:
            figures = measure(plan, Path(folder), options.workers)
    report(figures, TARGETS, options.json)


if __name__ == "__main__":
    main()
