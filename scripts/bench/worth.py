"""Is it worth training on? Train networks on simulated people alone and test them on real hands.

    python scripts/bench/worth.py --real FOLDER --work FOLDER [--recipes NAME...] [--json] [--seeds 3] [--quick]
                                  [--runs FILE] [--write]

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

Work is kept in --work: samples and networks that are there are used again, so that one can go on after a stop. --runs
is a file of what trainings found: those that it holds are not done again, and the rest is added, so that the many
hours may be done in several sittings. docs/worth.json is the one that `--write` makes the table of docs/worth.md from.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from real_hands import NPZ, RealHands, mediapipe_px
from table import report
from training import load, run_unit, save
from training_network import Samples, pck
from training_sets import BACKGROUND_ROOMS, joined, make_pictures
from worth_networks import NETWORKS, PRETRAINED, STEPS, Training, crops, predict, train
from worth_runs import WHOLE, Job, Run, mean, read_runs, write_runs, write_table

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
TURNS, BACKGROUNDS = "turns", "backgrounds"
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


def people_of(recipe: str, plan: Plan) -> int:
    """How many people a recipe has."""
    return int(recipe.removeprefix("people_")) if recipe.startswith("people_") else plan.people


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


def make_samples(root: Path, kinds: Sequence[str], frames: int, seed: int) -> None:
    """Samples of one person without this or that component, to files, unless they are there.

    kinds: what one simulated capture serves.
    """
    missing = [kind for kind in kinds if not _is_made(samples_path(root, kind, seed))]
    if not missing:
        return
    capture = root / f"capture_{missing[0]}_{seed}"
    simulate.run(capture, simulate_config(seed, frames, missing[0]), overwrite=True)
    for kind in missing:
        shards = root / f"shards_{kind}_{seed}"
        config = SynthesizeConfig(size=SAMPLE_PX, seed=seed, workers=1, **_SYNTHESIS.get(kind, {}))
        shutil.rmtree(shards, ignore_errors=True)
        synthesize.run(capture / "truth", shards, root / "pictures" if kind == BACKGROUNDS else None, config)
        read = list(load_shards(shards))
        made = Samples(
            np.stack([sample["image"].permute(1, 2, 0).numpy() for sample in read]),
            np.stack([sample["keypoints_2d"].numpy() for sample in read]),
            np.stack([sample["visible"].numpy() for sample in read]).astype(bool),
        )
        save(made, samples_path(root, kind, seed))
        shutil.rmtree(shards)
    shutil.rmtree(capture)


def samples_path(root: Path, kind: str, seed: int) -> Path:
    """The files of one person's samples, without their endings."""
    return root / f"samples_{kind}_{seed}"


def _is_made(path: Path) -> bool:
    return path.with_suffix(".visible.npy").is_file()


def make_people(root: Path, wanted: set[tuple[str, int]], frames: int, workers: int) -> None:
    """Make samples of pairs of a component that is left out, and a person."""
    captures = defaultdict(list)
    for kind, seed in sorted(wanted):
        captures["" if kind in _SYNTHESIS else kind, seed].append(kind)
    units: list[Callable[[], object]] = []
    if any(kind == BACKGROUNDS for kind, _ in wanted) and not (root / "pictures").is_dir():
        units = [partial(make_pictures, root / "pictures", seed) for seed in BACKGROUND_ROOMS]
        list(map_units(run_unit, units, workers))
    units = [partial(make_samples, root, kinds, frames, seed) for (_, seed), kinds in captures.items()]
    list(map_units(run_unit, units, workers))


def gather(root: Path, kind: str, seeds: range, name: str) -> None:
    """Put all samples of some people into one file that trainings share."""
    if not _is_made(root / name):
        save(joined(load(samples_path(root, kind, seed)) for seed in seeds), root / name)


def samples_of(recipe: str, people: int) -> str:
    """The name of the samples that all trainings with one recipe share."""
    return f"{'without_' + kind_of(recipe) if kind_of(recipe) else WHOLE}_{people}"


def train_and_test(root: Path, real: Path, job: Job) -> Run:
    """Train one network, unless that was done, and judge what it finds."""
    kept = root / f"{job.name}.json"
    if kept.is_file():
        return Run(**json.loads(kept.read_text("utf-8")))
    hands, network = RealHands.load(real), job.training.network
    images, points = crops(load(root / "held_out"), hands.images.shape[1])
    samples = load(root / samples_of(job.recipe, job.people))
    model = train(samples, job.training)
    torch.save(model.state_dict(), root / f"{job.name}.pt")
    simulated = pck(predict(model, network, images), points).mean()
    run = Run.of(job, len(samples.images), hands, predict(model, network, hands.images), simulated)
    kept.write_text(json.dumps(asdict(run)), "utf-8")
    return run


def measure(
    plan: Plan, recipes: Sequence[str], real: Path, root: Path, workers: int, runs_path: Path
) -> dict[str, float]:
    """Every figure of `TARGETS`, and one per recipe and network."""
    began = time.perf_counter()
    root.mkdir(parents=True, exist_ok=True)
    jobs = [
        Job(recipe, people_of(recipe, plan), Training(network, seed, plan.steps))
        for network in sorted(plan.networks, key=lambda name: name != PRETRAINED)  # the longest first
        for seed in range(plan.seeds)
        for recipe in recipes
    ]
    runs = {run.job: run for run in read_runs(runs_path)}
    missing = [job for job in jobs if job not in runs]
    if missing:
        held_out = range(FIRST_HELD_OUT, FIRST_HELD_OUT + HELD_OUT_PEOPLE)
        people = {(job.recipe, range(FIRST_PERSON, FIRST_PERSON + job.people)) for job in missing}
        wanted = {(kind_of(recipe), seed) for recipe, seeds in people for seed in seeds}
        make_people(root, wanted | {("", seed) for seed in held_out}, plan.frames, workers)
        for recipe, seeds in people:
            gather(root, kind_of(recipe), seeds, samples_of(recipe, len(seeds)))
        gather(root, "", held_out, "held_out")
    made = time.perf_counter()
    for run in map_units(partial(train_and_test, root, real), missing, workers):
        runs[run.job] = run
        write_runs(runs_path, runs.values())
    ended = time.perf_counter()
    mediapipe = mediapipe_pck(RealHands.load(real))
    figures = results([runs[job] for job in jobs if job.recipe == recipes[0]], mediapipe)
    for recipe in recipes[1:]:
        for network in plan.networks:
            same = [runs[job] for job in jobs if (job.recipe, job.training.network) == (recipe, network)]
            figures[f"pck10_{network}_{recipe}"] = mean(same, "pck10")
            figures[f"palm_flipped_{network}_{recipe}"] = mean(same, "palm_flipped")
    return figures | {"making_s": made - began, "training_s": ended - made}


def mediapipe_pck(hands: RealHands) -> float:
    """PCK@.1 of MediaPipe on the same boxes."""
    return float(pck(mediapipe_px(hands), hands.keypoints_px).mean())


def results(runs: Sequence[Run], mediapipe: float) -> dict[str, float]:
    """The figures of what the networks of one recipe found."""
    found: dict[str, float] = {"pck10_mediapipe": mediapipe, "samples": mean(runs, "samples")}
    by_network = {name: [run for run in runs if run.network == name] for name in NETWORKS}
    for name, same in by_network.items():
        if same:
            found[f"pck10_{name}"] = mean(same, "pck10")
            found[f"pck10_{name}_std"] = float(np.std([run.pck10 for run in same]))
    best = max((same for same in by_network.values() if same), key=lambda same: mean(same, "pck10"))
    found["pck10_share_of_mediapipe"] = mean(best, "pck10") / mediapipe
    return found | {name: mean(best, name) for name in ("pck10_desk", "pck10_room", "pck10_simulated", "palm_flipped")}


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
    parser.add_argument("--runs", type=Path, metavar="FILE", help="what trainings found (default WORK/runs.json)")
    parser.add_argument("--write", action="store_true", help="put the table of --runs into docs/worth.md")
    parser.add_argument("--workers", type=int, default=default_workers(), help="processes of one thread")
    options = parser.parse_args()
    if not (options.real / NPZ).is_file():
        parser.error(f"no {NPZ} in {options.real}: make it with `real_hands.py --out {options.real}`")
    plan = QUICK if options.quick else Plan()
    changed = {name: getattr(options, name) for name in ("people", "steps", "seeds") if getattr(options, name)}
    if options.networks:
        changed["networks"] = tuple(options.networks)
    runs_path = options.runs or options.work / "runs.json"
    figures = measure(replace(plan, **changed), options.recipes, options.real, options.work, options.workers, runs_path)
    if options.write:
        write_table(read_runs(runs_path), figures["pck10_mediapipe"])
    named = {name: (name, None, True) for name in figures if name not in TARGETS}
    report(figures, TARGETS | named, options.json)


if __name__ == "__main__":
    main()
