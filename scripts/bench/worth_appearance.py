"""How skin and backgrounds look in numbers: real crops beside those that networks are trained on.

    python scripts/bench/worth_appearance.py --real FOLDER --shards SHARDS [SHARDS...] [--json]

In CIE Lab, at 224 px, medians over crops. Redness: mean a* of the hand. Fine contrast: deviation of L* from its mean
over 1.5 px. Spread: deviation of that mean. The hand is its mask less 4 px at the edge; the background what is 4 px
outside. A direction, no target: the real crops are of two people.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from real import DESK
from real_hands import RealHands
from table import report

from handgen.data import load_shards

SIDE_PX = 224
_EDGE_PX, _FINE_PX = 4, 1.5
FIGURES = {
    "redness": "redness of skin, a*",
    "yellowness": "yellowness of skin, b*",
    "lightness": "lightness of skin, L*",
    "fine": "fine contrast of skin, L*",
    "spread": "spread of lightness of skin, L*",
    "background_fine": "fine contrast of backgrounds, L*",
    "background_spread": "spread of lightness of backgrounds, L*",
}
Crop = tuple[UInt8[np.ndarray, "side side 3"], UInt8[np.ndarray, "side side"]]


def measure(crops: Iterable[Crop]) -> dict[str, float]:
    """Every figure of `FIGURES`, of pictures and their masks (0 to 255)."""
    found = []
    for image, mask in crops:
        if len(image) != SIDE_PX:
            image = cv2.resize(image, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
            mask = cv2.resize(mask, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_LINEAR)
        box = np.ones((2 * _EDGE_PX + 1,) * 2, np.uint8)
        hand = cv2.erode((mask > 250).astype(np.uint8), box) > 0
        behind = cv2.dilate((mask > 5).astype(np.uint8), box) == 0
        if hand.sum() < 300 or behind.sum() < 300:
            continue
        lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        smooth = cv2.GaussianBlur(lab[..., 0], (0, 0), _FINE_PX)
        fine = lab[..., 0] - smooth
        found.append(
            [
                lab[hand, 1].mean(),
                lab[hand, 2].mean(),
                lab[hand, 0].mean(),
                fine[hand].std(),
                smooth[hand].std(),
                fine[behind].std(),
                smooth[behind].std(),
            ]
        )
    return dict(zip(FIGURES, np.median(found, axis=0).astype(float).tolist(), strict=True))


def crops_of_shards(shards: Path) -> Iterable[Crop]:
    """Yield pictures and masks of the samples."""
    for sample in load_shards(shards):
        yield (
            sample["image"].permute(1, 2, 0).numpy(),
            sample["mask"].numpy().astype(np.uint8).reshape(sample["image"].shape[1:])
            * (255 if sample["mask"].max() <= 1 else 1),
        )


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, metavar="FOLDER", help="what `real_hands.py` wrote")
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="what `synthesize` wrote")
    parser.add_argument("--json", action="store_true", help="one flat JSON object instead of a table")
    options = parser.parse_args()
    real, figures = RealHands.load(options.real), {}
    desk = real.capture == DESK
    sets = {
        "desk": zip(real.images[desk], real.masks[desk], strict=True),
        "room": zip(real.images[~desk], real.masks[~desk], strict=True),
        "simulated": (crop for shards in options.shards for crop in crops_of_shards(shards)),
    }
    for name, crops in sets.items():
        figures |= {f"{figure}_{name}": value for figure, value in measure(crops).items()}
    targets = {f"{key}_{name}": (f"{what}: {name}", None, True) for key, what in FIGURES.items() for name in sets}
    report(figures, targets, options.json)


if __name__ == "__main__":
    main()
