"""Is it worth training on? Train networks on simulated people alone and test them on real hands.

    python scripts/bench/worth.py --real FOLDER --work FOLDER [--json] [--seeds 3] [--workers 2] [--quick]

`simulate` makes people, `synthesize` lays them on pictures of empty rooms and on its own patterns, both with their
default options; the fixed trainer of `worth_networks.py` trains two networks on that and nothing else. The test is the
783 crops of real hands that `real_hands.py` makes: two people, one room and one desk, whose keypoints are the fit of
several views. Nothing is trained or tuned on them, but pictures are developed while looking at them, so the figures
say how far these two captures are reached and no more. `pck10_share_of_mediapipe`: the better network's PCK@.1 over
MediaPipe's on the same boxes.

Work is kept in --work: samples that are there are used again, so that one can go on after a stop.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from real import DESK
from real_hands import RealHands, mediapipe_px, palm_flipped
from table import report
from training import load, run_unit, save
from training_network import Samples, pck
from training_sets import BACKGROUND_ROOMS, joined, make_pictures
from worth_networks import NETWORKS, PRETRAINED, SMALL, STEPS, Training, predict, train

from handgen.data import load_shards
from handgen.runtime.local import default_workers, map_units
from handgen.stages.simulate import stage as simulate
from handgen.stages.simulate.config import SimulateConfig
from handgen.stages.synthesize import stage as synthesize
from handgen.stages.synthesize.config import SynthesizeConfig

SAMPLE_PX = 160
FIRST_PERSON, FIRST_HELD_OUT = 9000, 9900
HELD_OUT_PEOPLE = 2
VIEWS, FPS = 4, 3.0  # few frames, many poses
TARGETS: dict[str, tuple[str, float | None, bool]] = {
    "pck10_share_of_mediapipe": ("PCK@.1 on real crops, the better network over MediaPipe", 0.8, True),
    "pck10_mediapipe": ("MediaPipe", None, True),
    "pck10_small": ("small network", None, True),
    "pck10_small_std": ("its deviation over the seeds", None, False),
    "pck10_pretrained": ("pretrained network", None, True),
    "pck10_pretrained_std": ("its deviation over the seeds", None, False),
    "pck10_desk": ("the better network on the desk", None, True),
    "pck10_room": ("on the room", None, True),
    "pck10_simulated": ("on people held out from the simulator", None, True),
    "palm_flipped": ("palms turned over on real crops by the better network, share", 0.03, False),
    "samples": ("samples trained on", None, True),
    "making_s": ("making the samples, s", None, False),
    "training_s": ("training and testing, s", None, False),
}


@dataclass(frozen=True)
class Plan:
    """How much of everything. frames: of one person."""

    people: int = 32
    frames: int = 96
    steps: int = STEPS
    seeds: int = 3
    networks: tuple[str, ...] = NETWORKS


QUICK = Plan(people=2, frames=8, steps=6, seeds=1)


def simulate_config(seed: int, frames: int) -> SimulateConfig:
    """One person: every second one in a green studio, left hand, cameras all round, in turn."""
    index = seed % 8
    return SimulateConfig(
        views=VIEWS,
        frames=frames,
        fps=FPS,
        seed=seed,
        rig="cage" if index & 1 else "ring",
        hands="left" if index & 2 else "right",
        background="room" if index & 4 else "green",
        video=False,
        workers=1,
    )


def make_samples(root: Path, seed: int, frames: int) -> None:
    """Samples of one person, to files, unless they are there."""
    target = root / f"samples_{seed}"
    if target.with_suffix(".visible.npy").is_file():
        return
    capture, shards = root / f"capture_{seed}", root / f"shards_{seed}"
    simulate.run(capture, simulate_config(seed, frames), overwrite=True)
    config = SynthesizeConfig(size=SAMPLE_PX, seed=seed, workers=1)
    shutil.rmtree(shards, ignore_errors=True)
    synthesize.run(capture / "truth", shards, root / "pictures", config)
    read = list(load_shards(shards))
    save(
        Samples(
            np.stack([sample["image"].permute(1, 2, 0).numpy() for sample in read]),
            np.stack([sample["keypoints_2d"].numpy() for sample in read]),
            np.stack([sample["visible"].numpy() for sample in read]).astype(bool),
        ),
        target,
    )
    shutil.rmtree(capture)
    shutil.rmtree(shards)


def gather(root: Path, seeds: range, name: str) -> Samples:
    """All samples of some people, in one file that trainings share."""
    path = root / name
    if not path.with_suffix(".visible.npy").is_file():
        save(joined(load(root / f"samples_{seed}") for seed in seeds), path)
    return load(path)


@dataclass(frozen=True)
class Tested:
    """The keypoints that one trained network finds on the real crops, and its PCK on simulated people it never saw."""

    training: Training
    found_px: np.ndarray
    simulated: float


def train_and_test(root: Path, real: Path, training: Training) -> Tested:
    """Train one network, unless that was done, and keep what it finds."""
    path = root / f"found_{training.network}_{training.seed}_{training.steps}.npz"
    if path.is_file():
        with np.load(path) as kept:
            return Tested(training, kept["found_px"], float(kept["simulated"]))
    held_out = load(root / "held_out")
    model = train(load(root / "train"), training)
    simulated = pck(predict(model, training.network, np.asarray(held_out.images)), held_out.keypoints_px).mean()
    found = predict(model, training.network, RealHands.load(real).images)
    np.savez(path, found_px=found, simulated=simulated)
    return Tested(training, found, float(simulated))


def measure(plan: Plan, real: Path, root: Path, workers: int) -> dict[str, float]:
    """Every figure of `TARGETS`."""
    began = time.perf_counter()
    root.mkdir(parents=True, exist_ok=True)
    if not (root / "pictures").is_dir():
        list(
            map_units(run_unit, [partial(make_pictures, root / "pictures", seed) for seed in BACKGROUND_ROOMS], workers)
        )
    people = range(FIRST_PERSON, FIRST_PERSON + plan.people)
    held_out = range(FIRST_HELD_OUT, FIRST_HELD_OUT + HELD_OUT_PEOPLE)
    units: list[Callable[[], object]] = [
        partial(make_samples, root, seed, plan.frames) for seed in (*held_out, *people)
    ]
    list(map_units(run_unit, units, workers))
    samples = gather(root, people, "train")
    gather(root, held_out, "held_out")
    made = time.perf_counter()

    trainings = [Training(network, seed, plan.steps) for network in plan.networks for seed in range(plan.seeds)]
    tested = list(map_units(partial(train_and_test, root, real), trainings, workers))
    hands = RealHands.load(real)
    ended = time.perf_counter()
    return results(hands, tested) | {
        "samples": len(samples.images),
        "making_s": made - began,
        "training_s": ended - made,
    }


def results(hands: RealHands, tested: list[Tested]) -> dict[str, float]:
    """The figures of what networks found."""
    mediapipe = float(pck(mediapipe_px(hands), hands.keypoints_px).mean())
    found: dict[str, float] = {"pck10_mediapipe": mediapipe}
    by_network = {name: [t for t in tested if t.training.network == name] for name in (SMALL, PRETRAINED)}
    for name, runs in by_network.items():
        if runs:
            values = [float(pck(run.found_px, hands.keypoints_px).mean()) for run in runs]
            found |= {f"pck10_{name}": float(np.mean(values)), f"pck10_{name}_std": float(np.std(values))}
    best = max((name for name, runs in by_network.items() if runs), key=lambda name: found[f"pck10_{name}"])
    desk = hands.capture == DESK
    runs = by_network[best]
    right = np.mean([pck(run.found_px, hands.keypoints_px) for run in runs], axis=0)
    return found | {
        "pck10_share_of_mediapipe": found[f"pck10_{best}"] / mediapipe,
        "pck10_desk": float(right[desk].mean()),
        "pck10_room": float(right[~desk].mean()),
        "pck10_simulated": float(np.mean([run.simulated for run in runs])),
        "palm_flipped": float(np.mean([palm_flipped(run.found_px, hands.keypoints_px) for run in runs])),
    }


def main() -> None:
    """Make, train, test, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, metavar="FOLDER", help="what `real_hands.py` wrote")
    parser.add_argument("--work", type=Path, required=True, metavar="FOLDER", help="samples and what was found")
    parser.add_argument("--json", action="store_true", help="one flat JSON object instead of a table")
    parser.add_argument("--quick", action="store_true", help="a minute or two that only shows that everything runs")
    parser.add_argument("--people", type=int, help=f"simulated people to train on (default {Plan.people})")
    parser.add_argument("--steps", type=int, help=f"of each training (default {STEPS})")
    parser.add_argument("--seeds", type=int, help="trainings of each network (default 3)")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, help="default: both")
    parser.add_argument("--workers", type=int, default=default_workers(), help="processes of one thread")
    options = parser.parse_args()
    plan = QUICK if options.quick else Plan()
    changed = {name: getattr(options, name) for name in ("people", "steps", "seeds") if getattr(options, name)}
    if options.networks:
        changed["networks"] = tuple(options.networks)
    report(measure(replace(plan, **changed), options.real, options.work, options.workers), TARGETS, options.json)


if __name__ == "__main__":
    main()
