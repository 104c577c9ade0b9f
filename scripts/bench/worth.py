"""Is it worth training on? Train networks on simulated people alone and test them on real hands.

    python scripts/bench/worth.py --real FOLDER --work FOLDER [--recipes NAME...] [--json] [--seeds 3] [--quick]

`simulate` makes people whose hands turn any way, `synthesize` lays them on backgrounds of its own, both with their
default options otherwise; the fixed trainer of `worth_networks.py` trains two networks on that and nothing else. The
test is the 783 crops of real hands that `real_hands.py` makes: two people, one room and one desk, whose keypoints are
the fit of several views. Nothing is trained on them, but pictures and poses are developed while looking at them, so
the figures say how far these two captures are reached and no more. `pck10_share_of_mediapipe`: the better network's
PCK@.1 over MediaPipe's on the same boxes.

Recipes: `whole` is everything. `no_X` leaves one component out: of `SimulateConfig.without`; `turns` (palms to the
cameras, as in `--motion calm`); or of `synthesize` (`spectrum`, `forearm`, `backgrounds`: pictures of nine empty rooms
instead of its own). `people_N` has N people, and as many samples of each as `whole`. The differences say what a
component, or more people, are worth.

Work is kept in --work: samples that are there are used again, so that one can go on after a stop.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from real import DESK
from real_hands import RealHands, mediapipe_px, palm_flipped
from table import report
from training import load, run_unit, save
from training_network import Samples, pck
from training_sets import BACKGROUND_ROOMS, joined, make_pictures
from worth_networks import NETWORKS, PRETRAINED, SMALL, STEPS, Training, crops, predict, train

from handgen.data import load_shards
from handgen.runtime.local import default_workers, map_units
from handgen.stages.simulate import stage as simulate
from handgen.stages.simulate.config import COMPONENTS, SimulateConfig
from handgen.stages.synthesize import stage as synthesize
from handgen.stages.synthesize.config import SynthesizeConfig

SAMPLE_PX = 160
FIRST_PERSON, FIRST_HELD_OUT = 19000, 19900
HELD_OUT_PEOPLE = 2
VIEWS, FPS = 4, 1.0  # every frame another pose
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

    people: int = 48
    frames: int = 96
    steps: int = STEPS
    seeds: int = 3
    networks: tuple[str, ...] = NETWORKS


QUICK = Plan(people=2, frames=8, steps=6, seeds=1)
WHOLE, TURNS, BACKGROUNDS = "whole", "turns", "backgrounds"
_SYNTHESIS: dict[str, dict[str, Any]] = {
    "spectrum": {"spectrum_probability": 0.0},
    "forearm": {"forearm_probability": 0.0},
    BACKGROUNDS: {},
}
RECIPES = (
    WHOLE,
    *(f"no_{name}" for name in (*COMPONENTS, TURNS, *_SYNTHESIS)),
    *(f"people_{count}" for count in (6, 12, 24, 96)),
)


def people_of(recipe: str, plan: Plan) -> range:
    """The seeds of a recipe's people."""
    count = int(recipe.removeprefix("people_")) if recipe.startswith("people_") else plan.people
    return range(FIRST_PERSON, FIRST_PERSON + count)


def kind_of(recipe: str) -> str:
    """The component that a recipe leaves out, or the empty string: recipes that leave out the same share samples."""
    return recipe.removeprefix("no_") if recipe.startswith("no_") else ""


def simulate_config(seed: int, frames: int, kind: str = "") -> SimulateConfig:
    """One person, without a component: a green studio, left hands, cameras all round for every second one, in turn."""
    index = seed % 8
    return SimulateConfig(
        views=VIEWS,
        frames=frames,
        fps=FPS,
        seed=seed,
        rig="cage" if index & 1 else "ring",
        hands="left" if index & 2 else "right",
        motion="calm" if kind == TURNS else "free",
        lens="any",
        background="room" if index & 4 else "green",
        shutter_s=0.01 if seed % 3 == 0 else 0.005,
        video=False,
        workers=1,
        without=(kind,) if kind in COMPONENTS else (),
    )


def make_samples(root: Path, kind: str, frames: int, seed: int) -> None:
    """Samples of one person without a component, to files, unless they are there."""
    target = root / f"samples_{kind}_{seed}"
    if target.with_suffix(".visible.npy").is_file():
        return
    capture, shards = root / f"capture_{kind}_{seed}", root / f"shards_{kind}_{seed}"
    simulate.run(capture, simulate_config(seed, frames, kind), overwrite=True)
    config = SynthesizeConfig(size=SAMPLE_PX, seed=seed, workers=1, **_SYNTHESIS.get(kind, {}))
    shutil.rmtree(shards, ignore_errors=True)
    synthesize.run(capture / "truth", shards, root / "pictures" if kind == BACKGROUNDS else None, config)
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


def gather(root: Path, kind: str, seeds: range, name: str) -> int:
    """Put all samples of some people into one file that trainings share; how many they are."""
    path = root / name
    if not path.with_suffix(".visible.npy").is_file():
        save(joined(load(root / f"samples_{kind}_{seed}") for seed in seeds), path)
    return len(load(path).images)


@dataclass(frozen=True)
class Tested:
    """The keypoints that one trained network finds on the real crops, and its PCK on simulated people it never saw."""

    recipe: str
    training: Training
    found_px: np.ndarray
    simulated: float


def weights_path(root: Path, recipe: str, training: Training) -> Path:
    """The file of a trained network's weights."""
    return root / f"{recipe}_{training.network}_{training.seed}_{training.steps}.pt"


def train_and_test(root: Path, real: Path, job: tuple[str, Training]) -> Tested:
    """Train one network, unless that was done, and keep what it finds."""
    recipe, training = job
    path = weights_path(root, recipe, training).with_suffix(".npz")
    if path.is_file():
        with np.load(path) as kept:
            return Tested(recipe, training, kept["found_px"], float(kept["simulated"]))
    images, points = crops(load(root / "held_out"), RealHands.load(real).images.shape[1])
    model = train(load(root / recipe), training)
    simulated = pck(predict(model, training.network, images), points).mean()
    found = predict(model, training.network, RealHands.load(real).images)
    torch.save(model.state_dict(), weights_path(root, recipe, training))
    np.savez(path, found_px=found, simulated=simulated)
    return Tested(recipe, training, found, float(simulated))


def measure(plan: Plan, recipes: Sequence[str], real: Path, root: Path, workers: int) -> dict[str, float]:
    """Every figure of `TARGETS`, and one per recipe and network."""
    began = time.perf_counter()
    root.mkdir(parents=True, exist_ok=True)
    units: list[Callable[[], object]] = []
    if BACKGROUNDS in map(kind_of, recipes) and not (root / "pictures").is_dir():
        units = [partial(make_pictures, root / "pictures", seed) for seed in BACKGROUND_ROOMS]
        list(map_units(run_unit, units, workers))
    held_out = range(FIRST_HELD_OUT, FIRST_HELD_OUT + HELD_OUT_PEOPLE)
    wanted = {("", seed) for seed in held_out}
    wanted |= {(kind_of(recipe), seed) for recipe in recipes for seed in people_of(recipe, plan)}
    units = [partial(make_samples, root, kind, plan.frames, seed) for kind, seed in sorted(wanted)]
    list(map_units(run_unit, units, workers))
    counts = {recipe: gather(root, kind_of(recipe), people_of(recipe, plan), recipe) for recipe in recipes}
    gather(root, "", held_out, "held_out")
    made = time.perf_counter()

    seeds = range(plan.seeds)
    jobs = [(recipe, Training(net, seed, plan.steps)) for recipe in recipes for seed in seeds for net in plan.networks]
    tested = list(map_units(partial(train_and_test, root, real), jobs, workers))
    hands = RealHands.load(real)
    ended = time.perf_counter()
    figures = results(hands, [found for found in tested if found.recipe == recipes[0]])
    for recipe in recipes[1:]:
        for net in plan.networks:
            runs = [t for t in tested if t.recipe == recipe and t.training.network == net]
            figures[f"pck10_{net}_{recipe}"] = mean_pck(hands, runs)
            figures[f"palm_flipped_{net}_{recipe}"] = mean_flipped(hands, runs)
    return figures | {"samples": counts[recipes[0]], "making_s": made - began, "training_s": ended - made}


def mean_pck(hands: RealHands, runs: Sequence[Tested]) -> float:
    """PCK of several trainings on the real crops."""
    return float(np.mean([pck(run.found_px, hands.keypoints_px).mean() for run in runs]))


def mean_flipped(hands: RealHands, runs: Sequence[Tested]) -> float:
    """Share of palms that several trainings turn over."""
    return float(np.mean([palm_flipped(run.found_px, hands.keypoints_px) for run in runs]))


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
        "palm_flipped": mean_flipped(hands, runs),
    }


def main() -> None:
    """Make, train, test, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, metavar="FOLDER", help="what `real_hands.py` wrote")
    parser.add_argument("--work", type=Path, required=True, metavar="FOLDER", help="samples and what was found")
    parser.add_argument("--json", action="store_true", help="one flat JSON object instead of a table")
    parser.add_argument("--quick", action="store_true", help="a minute or two that only shows that everything runs")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=(WHOLE,), metavar="NAME", help=f"{RECIPES}")
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
    figures = measure(replace(plan, **changed), options.recipes, options.real, options.work, options.workers)
    named = {name: (name, None, True) for name in figures if name not in TARGETS}
    report(figures, TARGETS | named, options.json)


if __name__ == "__main__":
    main()
