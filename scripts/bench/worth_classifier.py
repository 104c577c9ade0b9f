"""Can a small network tell rendered hands from real ones? The area under its ROC curve, .5 if it cannot.

    python scripts/bench/worth_classifier.py --real FOLDER --work FOLDER [--json] [--seeds 3]

--work is what `worth.py` made: the samples of its people. A CNN of four layers sees crops of 96 px, half real and half
rendered, cut out, turned, zoomed and relit alike, and is tested on people it never saw: trained on the desk's hand and
all rendered people but the held-out ones it is tested on the room's and these; and the other way round. Captures
differ in more than their hands (cameras, compression, places), so no AUC of .5 is to be hoped for; what the network
looks at is shown by `evidence.png`: per set the crops it is surest of, with the places (occlusion by a grey square)
that lower its answer the most.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from real import DESK
from real_hands import RealHands
from table import report
from torch import nn
from training import load
from training_network import Samples, as_input
from worth import Plan, samples_of
from worth_networks import crops, vary
from worth_runs import WHOLE

SIDE_PX, BATCH, STEPS = 96, 32, 300
_WIDTHS = (16, 32, 48, 64)
_SQUARE_PX = 16  # that covers a place
_SHOWN = 8
TARGETS: dict[str, tuple[str, float | None, bool]] = {
    "auc": ("real against rendered, mean of both directions", None, False),
    "auc_std": ("its deviation over the seeds", None, False),
    "auc_desk": ("tested on the desk", None, False),
    "auc_room": ("tested on the room", None, False),
}


class Judge(nn.Module):
    """One number per crop: the larger, the more real."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in zip((3, *_WIDTHS), _WIDTHS, strict=False):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3))
        self.answer = nn.Linear(_WIDTHS[-1], 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Answers, (n,)."""
        return self.answer(self.layers(images - 0.5))[:, 0]


def train_judge(real: Samples, rendered: Samples, seed: int) -> Judge:
    """Train on as many of both kinds, cut out alike."""
    torch.manual_seed(seed)
    rng, model = np.random.default_rng(seed), Judge()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    truth = torch.cat([torch.ones(BATCH // 2), torch.zeros(BATCH // 2)])
    for _ in range(STEPS):
        drawn = [(kind, i) for kind in (real, rendered) for i in rng.integers(len(kind.images), size=BATCH // 2)]
        images = np.stack([vary(kind.images[i], kind.keypoints_px[i], SIDE_PX, rng)[0] for kind, i in drawn])
        loss = nn.functional.binary_cross_entropy_with_logits(model(as_input(torch.from_numpy(images))), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def answers(model: Judge, images: UInt8[np.ndarray, "n s s 3"]) -> Float[np.ndarray, " n"]:
    """Answers for crops."""
    with torch.no_grad():
        return torch.cat([model(as_input(part)) for part in torch.from_numpy(images).split(64)]).numpy()


def auc(answer: Float[np.ndarray, " n"], is_real: Bool[np.ndarray, " n"]) -> float:
    """The probability that a real crop gets a larger answer than a rendered one (Mann-Whitney)."""
    order = answer.argsort().argsort() + 1.0
    real, rendered = int(is_real.sum()), int((~is_real).sum())
    return float((order[is_real].sum() - real * (real + 1) / 2) / (real * rendered))


def evidence(model: Judge, image: UInt8[np.ndarray, "s s 3"]) -> UInt8[np.ndarray, "side side 3"]:
    """The crop, and beside it how much each place speaks for the answer that was given."""
    places = [(y, x) for y in range(0, SIDE_PX, _SQUARE_PX // 2) for x in range(0, SIDE_PX, _SQUARE_PX // 2)]
    covered = np.repeat(image[None], len(places), 0)
    for tile, (y, x) in zip(covered, places, strict=True):
        tile[max(y - 4, 0) : y + _SQUARE_PX - 4, max(x - 4, 0) : x + _SQUARE_PX - 4] = 127
    with torch.no_grad():
        whole = float(model(as_input(torch.from_numpy(image[None]))))
        change = np.sign(whole) * (whole - model(as_input(torch.from_numpy(covered))).numpy())
    side = SIDE_PX // (_SQUARE_PX // 2)
    heat = cv2.resize(change.reshape(side, side).astype(np.float32), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
    heat = np.clip(heat / max(float(np.abs(heat).max()), 1e-6), 0, 1)[..., None]
    shown = (image * (0.35 + 0.65 * heat)).astype(np.uint8)
    return np.concatenate([image, shown], 1)


def part_of(hands: RealHands, chosen: Bool[np.ndarray, " n"]) -> Samples:
    """Some of the real crops."""
    points = hands.keypoints_px[chosen]
    return Samples(hands.images[chosen], points, np.ones(points.shape[:2], bool))


def measure(real: Path, work: Path, seeds: int) -> dict[str, float]:
    """Every figure of `TARGETS`; writes evidence.png into `work`."""
    hands = RealHands.load(real)
    desk = hands.capture == DESK
    rendered, held_out = (load(work / name) for name in (samples_of(WHOLE, Plan.people), "held_out"))
    parts = {"desk": part_of(hands, desk), "room": part_of(hands, ~desk)}
    found: dict[str, list[float]] = {"desk": [], "room": []}
    rows = []
    for seed in range(seeds):
        for name, other in (("desk", "room"), ("room", "desk")):
            model = train_judge(parts[other], rendered, seed)
            images = [crops(part, SIDE_PX)[0] for part in (parts[name], held_out)]
            answer = [answers(model, each) for each in images]
            is_real = np.repeat([True, False], [len(each) for each in images])
            found[name].append(auc(np.concatenate(answer), is_real))
            if seed == 0:
                for each, values, sign in zip(images, answer, (-1, 1), strict=True):
                    surest = (sign * values).argsort()[:: max(1, len(values) // 4 // _SHOWN)][:_SHOWN]
                    rows.append(np.concatenate([evidence(model, each[i]) for i in surest], 1))
    cv2.imwrite(str(work / "evidence.png"), np.concatenate(rows)[..., ::-1])
    both = np.mean([found["desk"], found["room"]], axis=0)
    return {
        "auc": float(both.mean()),
        "auc_std": float(both.std()),
        "auc_desk": float(np.mean(found["desk"])),
        "auc_room": float(np.mean(found["room"])),
    }


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, metavar="FOLDER", help="what `real_hands.py` wrote")
    parser.add_argument("--work", type=Path, required=True, metavar="FOLDER", help="what `worth.py` made")
    parser.add_argument("--json", action="store_true", help="one flat JSON object instead of a table")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    report(measure(options.real, options.work, options.seeds), TARGETS, options.json)


if __name__ == "__main__":
    main()
