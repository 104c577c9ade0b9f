"""Options of the synthesize stage. Imports nothing heavy, so that the command line is made from here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from handgen.options import check_options, option
from handgen.runtime.engines import engine_option, engine_options, workers_option

_SHARE_TOLERANCE = 1e-6  # of the sum of splits' shares


@dataclass(frozen=True)
class SynthesizeConfig:
    """Options of `synthesize`. All accepted views are used equally often, to within one.

    jpeg_quality: smallest and largest, drawn per sample. rotation_deg: largest roll of the virtual camera, either way.
    hand_share: smallest and largest share of the sample's side that the hand's longer side fills. shift_share: largest
    shift of the hand from the centre, per axis, as a share of the sample's side.
    """

    samples: int | None = option(None, "How many.", low=1, default_help="one per accepted view")
    size: int = option(224, "Pixels per side.", low=16, high=4096, unit="px")
    seed: int = option(0, "Of everything that is drawn.", low=0, high=2**63 - 1)
    split: str = option(
        "train", "First part of the shards' names; or several splits: train=0.9,val=0.1.", metavar="NAME|NAME=SHARE,..."
    )
    split_by: str = option(
        "subject", "What no two splits share. Never frames of one sequence.", choices=("subject", "sequence")
    )
    samples_per_shard: int | None = option(
        None, "Samples in a shard.", low=1, high=100_000, default_help="1000, less for 8 shards or more"
    )
    flip_probability: float = option(0.5, "Probability of a mirrored sample.", low=0, high=1, flag="--flip")
    light_matching: float = option(
        0.5, "How far a hand's light is fitted to its background's.", low=0, high=1, flag="--light"
    )
    shadow_probability: float = option(0.7, "Probability of a shadow behind the hand.", low=0, high=1, flag="--shadow")
    occluder_probability: float = option(
        0.15, "Probability of something in front of it.", low=0, high=1, flag="--occluder"
    )
    spectrum_probability: float = option(
        0.3, "Probability that the slow part of light and colour changes.", low=0, high=1, flag="--spectrum"
    )
    grain: bool = option(True, "Give hand and background the same noise and JPEG history.")
    blend: str = option(
        "alpha",
        "How edges are laid in: soft, with the background's gradients, or cut.",
        choices=("alpha", "poisson", "hard"),
    )
    forearm_probability: float = option(
        0.85,
        "Probability that forearm and sleeve stay on the hand; masks are of the hand alone.",
        low=0,
        high=1,
        flag="--forearm",
    )
    other_hand: bool = option(True, "Lay in the person's other hand too, as the two were.")
    augment: str = option(
        "default", "Photometric augmentation: a YAML file of albumentations' transforms.", metavar="default|none|FILE"
    )
    include_rejected: bool = option(False, "Also use what `annotate` rejected.")
    workers: int | None = workers_option(any_engine=True)
    engine: str = engine_option()
    engine_options: Any = engine_options()
    jpeg_quality: tuple[int, int] = option((75, 95), low=1, high=100)
    rotation_deg: float = option(60.0, low=0, high=180)
    hand_share: tuple[float, float] = option((0.5, 0.9), low=0.05, high=2)
    shift_share: float = option(0.08, low=0, high=0.5)

    def __post_init__(self) -> None:
        check_options(self)
        self.splits()
        for name in ("jpeg_quality", "hand_share"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} must rise, got {low:g}, {high:g}")

    def splits(self) -> tuple[tuple[str, float], ...]:
        """Name and share of each split; shares sum to 1. Raises ValueError when `split` says something else."""
        if "=" not in self.split and "," not in self.split:
            parts = [(self.split, "1")]
        else:
            named = (part.partition("=") for part in self.split.split(","))
            parts = [(name.strip(), share) for name, _, share in named]
        found: dict[str, float] = {}
        for name, text in parts:
            if not re.fullmatch(r"[A-Za-z0-9_]{1,32}", name):
                raise ValueError(f"split must be 1 to 32 letters, digits or underscores, got {name!r}")
            if name in found:
                raise ValueError(f"split {name} is named twice in {self.split!r}")
            try:
                found[name] = float(text)
            except ValueError:
                raise ValueError(f"split {name}: {text!r} is no share; write {name}=0.9,OTHER=0.1") from None
            if not 0 < found[name] <= 1:
                raise ValueError(f"split {name}: a share must be above 0 and at most 1, got {text}")
        total = sum(found.values())
        if abs(total - 1) > _SHARE_TOLERANCE:
            raise ValueError(f"the shares of {self.split!r} sum to {total:g}; they must sum to 1")
        return tuple((name, share / total) for name, share in found.items())

    def shard_size(self, samples: int) -> int:
        """Samples per shard of a split of `samples`."""
        return self.samples_per_shard or max(1, min(1000, -(-samples // 8)))
