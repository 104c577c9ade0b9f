"""Which real hands do networks fail at that were trained on simulated ones, and why?

    python scripts/bench/worth_diagnosis.py --real FOLDER --work FOLDER [--network pretrained] [--json] [--sheet FILE]

Takes the networks that `worth.py` trained in --work (the recipe `whole`, all seeds) and changes the real crops one
thing at a time: the hand cut out along its mask, on grey or on the backgrounds of `synthesize`, so that neither arm
nor surroundings are real; blurred; without colour. PCK@.1 of each, and of the crops as they are by how near the nearest
simulated pose is, by how far the knuckles are bent, and by what the camera sees, palm or back. --sheet draws the crops
whose palm the first network turns over, with the teacher's keypoints and with those that were found.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from real_hands import RealHands, palm_flipped, palms_flipped
from scipy.spatial import cKDTree
from table import report
from torch import nn
from training_network import pck
from worth import Plan
from worth_networks import NETWORKS, PRETRAINED, STEPS, Training, make_network, predict
from worth_poses import real_poses, real_views, simulated_poses
from worth_runs import WHOLE, Job

from handgen.media.images import write_png
from handgen.stages.synthesize.patterns import draw_pattern
from handgen.visualize.drawing import SheetSample, contact_sheet

_EDGE_PX, _BLURS_PX, _GREY, _PATTERNS = 1.2, (1.5, 3.0), 128, 100
_KNUCKLES = slice(0, 12, 3)  # of the twenty angles: flexion of the four fingers' bases
_FIFTHS = 5

Images = UInt8[np.ndarray, "n side side 3"]


def changed(hands: RealHands, rng: np.random.Generator) -> dict[str, Images]:
    """The crops, changed in each way."""
    images = hands.images
    soft = np.stack([cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), _EDGE_PX) for mask in hands.masks])
    patterns = np.stack([draw_pattern(images.shape[1], rng) for _ in range(_PATTERNS)])
    behind = patterns[np.arange(len(images)) % _PATTERNS]
    found = {"as_is": images, "on_grey": over(images, soft, np.full_like(images, _GREY))}
    found["on_backgrounds"] = over(images, soft, behind)
    for sigma in _BLURS_PX:
        found[f"blurred_{sigma:g}px"] = np.stack([cv2.GaussianBlur(image, (0, 0), sigma) for image in images])
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
    found["without_colour"] = np.stack([cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) for image in grey])
    return found


def over(images: Images, share: Float[np.ndarray, "n side side"], behind: Images) -> Images:
    """Lay the hands of some pictures over others."""
    mixed = images * share[..., None] + behind * (1 - share[..., None])
    return mixed.round().astype(np.uint8)


def by_fifths(values: Float[np.ndarray, " n"], right: Float[np.ndarray, " n"], name: str) -> dict[str, float]:
    """PCK of each fifth of the crops by a value, the lowest first; the name says the fifth's median."""
    order = np.array_split(np.argsort(values, kind="stable"), _FIFTHS)
    return {f"{name}_{np.median(values[part]):.2g}": float(right[part].mean()) for part in order}


def measure(real: Path, work: Path, people: int, network: str, seeds: int, steps: int) -> dict[str, float]:
    """PCK of every change, and of the fifths."""
    hands = RealHands.load(real)
    models = [load_network(work, people, Training(network, seed, steps)) for seed in range(seeds)]
    found: dict[str, float] = {}
    right = np.zeros(len(hands.images))
    for name, images in changed(hands, np.random.default_rng(0)).items():
        points = [predict(model, network, images) for model in models]
        each = np.mean([pck(px, hands.keypoints_px) for px in points], axis=0)
        found[f"pck10_{name}"] = float(each.mean())
        found[f"flipped_{name}"] = float(np.mean([palm_flipped(px, hands.keypoints_px) for px in points]))
        right = each if name == "as_is" else right
    poses = real_poses(real, hands)
    distance = cKDTree(simulated_poses(np.random.default_rng(1))).query(poses)[0] / np.sqrt(poses.shape[1])
    found |= by_fifths(distance, right, "pck10_pose_distance_deg")
    found |= by_fifths(poses[:, _KNUCKLES].mean(1), right, "pck10_knuckles_deg")
    return found | by_fifths(real_views(real, hands)[:, 2], right, "pck10_back_facing")


def load_network(work: Path, people: int, training: Training) -> nn.Module:
    """A network that `worth.py` trained."""
    model = make_network(training.network)
    model.load_state_dict(torch.load(work / f"{Job(WHOLE, people, training).name}.pt", weights_only=True))
    return model


def sheet(hands: RealHands, found_px: Float[np.ndarray, "n 21 2"]) -> UInt8[np.ndarray, "height width 3"]:
    """Crops whose palm is turned over: with the teacher's keypoints, and with what was found."""
    seen = np.ones(hands.keypoints_px.shape[1], bool)
    samples = [
        SheetSample(hands.images[index], points[index], seen, None, label)
        for index in np.flatnonzero(palms_flipped(found_px, hands.keypoints_px)[0])
        for points, label in ((hands.keypoints_px, f"{index} taught"), (found_px, "found"))
    ]
    return contact_sheet(samples)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, metavar="FOLDER", help="what `real_hands.py` wrote")
    parser.add_argument("--work", type=Path, required=True, metavar="FOLDER", help="where `worth.py` trained")
    parser.add_argument("--people", type=int, default=Plan.people, help=f"default {Plan.people}")
    parser.add_argument("--network", choices=NETWORKS, default=PRETRAINED)
    parser.add_argument("--seeds", type=int, default=3, help="trainings to take the mean of (default 3)")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of those trainings (default {STEPS})")
    parser.add_argument("--sheet", type=Path, metavar="FILE.png", help="draw the palms that are turned over")
    parser.add_argument("--json", action="store_true", help="one flat JSON object instead of a table")
    options = parser.parse_args()
    if options.sheet:
        model = load_network(options.work, options.people, Training(options.network, 0, options.steps))
        hands = RealHands.load(options.real)
        write_png(options.sheet, sheet(hands, predict(model, options.network, hands.images)))
    figures = measure(options.real, options.work, options.people, options.network, options.seeds, options.steps)
    report(figures, {name: (name, None, True) for name in figures}, options.json)


if __name__ == "__main__":
    main()
