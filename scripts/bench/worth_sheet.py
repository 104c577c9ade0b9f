"""Rendered hands beside real ones, same size, shuffled: for eyes.

    python scripts/bench/worth_sheet.py --real FOLDER --work FOLDER --out FOLDER [--count 200] [--seed 0]

--work is what `worth.py` made. Writes `sheet.jpg`, `key.txt`, which says row by row which crops are rendered (r) and
which are real (.), and `rendered.jpg` of rendered ones alone. Look first, then at the key.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from real_hands import RealHands
from training import load
from training_network import Samples
from worth import Plan, samples_of
from worth_networks import crops
from worth_runs import WHOLE

SIDE_PX, COLUMNS = 112, 20


def rendered_crops(work: Path, count: int, rng: np.random.Generator) -> np.ndarray:
    """Crops of the samples that `worth.py` trained on, cut out as the real ones are."""
    samples = load(work / samples_of(WHOLE, Plan.people))
    chosen = np.sort(rng.choice(len(samples.images), count, replace=False))
    part = Samples(samples.images[chosen], samples.keypoints_px[chosen], samples.visible[chosen])
    return rng.permutation(crops(part, SIDE_PX)[0])


def real_crops(real: Path, count: int, rng: np.random.Generator) -> np.ndarray:
    """Crops of the real test set."""
    images = RealHands.load(real).images
    chosen = rng.choice(len(images), min(count, len(images)), replace=False)
    return np.stack([cv2.resize(images[i], (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA) for i in chosen])


def sheet(images: np.ndarray) -> np.ndarray:
    """Rows of crops, BGR; an unfinished last row is left out."""
    whole = images[: len(images) // COLUMNS * COLUMNS]
    rows = whole.reshape(-1, COLUMNS, SIDE_PX, SIDE_PX, 3).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(rows.reshape(-1, COLUMNS * SIDE_PX, 3)[..., ::-1])


def main() -> None:
    """Draw, shuffle, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, metavar="FOLDER", help="what `real_hands.py` wrote")
    parser.add_argument("--work", type=Path, required=True, metavar="FOLDER", help="what `worth.py` made")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the pictures go")
    parser.add_argument("--count", type=int, default=200, help="of each kind (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="another choice of hands")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    rendered = rendered_crops(options.work, options.count, rng)
    real = real_crops(options.real, options.count, rng)
    order = rng.permutation(len(rendered) + len(real))
    letters = np.where(order < len(rendered), "r", ".")
    options.out.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(options.out / "sheet.jpg"), sheet(np.concatenate([rendered, real])[order]))
    cv2.imwrite(str(options.out / "rendered.jpg"), sheet(rendered))
    rows = ["".join(letters[k : k + COLUMNS]) for k in range(0, len(letters), COLUMNS)]
    (options.out / "key.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
