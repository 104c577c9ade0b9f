"""Options of the synthesize stage. Imports nothing heavy, so that the command takes its defaults from here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from handgen.runtime.engine import check_engine

_SHARE_TOLERANCE = 1e-6  # of the sum of splits' shares


@dataclass(frozen=True)
class SynthesizeConfig:
    """Options of `synthesize`. Everything but `workers` decides the bytes of the shards.

    samples: how many, or None for one per accepted view. All accepted views are used equally often (to within
    one).
    size: width and height of a sample, pixels.
    split: first part of the shards' names, `{split}-000000.tar`; or several and the share of each: "train=0.9,val=0.1".
    split_by: what no two splits have in common: "subject" or "sequence" (subjects may be in several then).
    samples_per_shard: or None for 1000, fewer where that would give fewer than 8 shards (readers and workers
    share the data by shards). It never depends on `workers`.
    jpeg_quality: smallest and largest, drawn per sample.
    include_rejected: also use views and records that `annotate` rejected.
    flip_probability: of a mirrored sample (a right hand becomes a left one), where the model's sides mirror
    each other.
    rotation_deg: largest roll of the virtual camera, either way.
    hand_share: smallest and largest share of the sample's side that the hand's longer side fills.
    shift_share: largest shift of the hand from the centre, per axis, as a share of the sample's side.
    light_matching: largest share of the way from the hand's own light to the background's.
    shadow_probability: of a shadow that the hand throws on the background.
    occluder_probability: of something in front of the hand, which lowers `visible`.
    grain: whether hand and background get the same noise and the same JPEG history.
    blend: how edges are laid in: "alpha", "poisson" (gradients of the hand, slower), or "hard" (no soft edge).
    forearm_probability: of the forearm staying on the hand, where the annotations have it. Masks are of the hand alone.
    other_hand: whether the other hand of the same frame and view is laid in with the hand, as the two were.
    augment: photometric augmentation: "default", "none", or the path of a YAML file.
    workers: processes, or None for one per core. engine: "local" (processes of this machine) or "ray". address: of a
    Ray cluster, or None.
    """

    samples: int | None = None
    size: int = 224
    seed: int = 0
    split: str = "train"
    split_by: str = "subject"
    samples_per_shard: int | None = None
    jpeg_quality: tuple[int, int] = (75, 95)
    include_rejected: bool = False
    flip_probability: float = 0.5
    rotation_deg: float = 60.0
    hand_share: tuple[float, float] = (0.5, 0.9)
    shift_share: float = 0.08
    light_matching: float = 0.5
    shadow_probability: float = 0.7
    occluder_probability: float = 0.15
    grain: bool = True
    blend: str = "alpha"
    forearm_probability: float = 0.5
    other_hand: bool = True
    augment: str = "default"
    workers: int | None = None
    engine: str = "local"
    address: str | None = None

    def __post_init__(self) -> None:
        if self.samples is not None and self.samples < 1:
            raise ValueError(f"samples must be at least 1, got {self.samples}")
        if not 16 <= self.size <= 4096:
            raise ValueError(f"size must be 16 to 4096 px, got {self.size}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be 0 to 2**63 - 1, got {self.seed}")
        self.splits()
        if self.split_by not in ("subject", "sequence"):
            raise ValueError(f"split_by must be subject or sequence, got {self.split_by!r}")
        if self.samples_per_shard is not None and not 1 <= self.samples_per_shard <= 100_000:
            raise ValueError(f"samples_per_shard must be 1 to 100000, got {self.samples_per_shard}")
        if not 1 <= self.jpeg_quality[0] <= self.jpeg_quality[1] <= 100:
            raise ValueError(f"jpeg_quality must rise within 1 to 100, got {self.jpeg_quality}")
        for name in (
            "flip_probability",
            "light_matching",
            "shadow_probability",
            "occluder_probability",
            "forearm_probability",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be 0 to 1, got {getattr(self, name)}")
        if not 0 <= self.rotation_deg <= 180:
            raise ValueError(f"rotation_deg must be 0 to 180, got {self.rotation_deg}")
        if not 0.05 <= self.hand_share[0] <= self.hand_share[1] <= 2:
            raise ValueError(f"hand_share must rise within 0.05 to 2, got {self.hand_share}")
        if not 0 <= self.shift_share <= 0.5:
            raise ValueError(f"shift_share must be 0 to 0.5, got {self.shift_share}")
        if self.blend not in ("alpha", "poisson", "hard"):
            raise ValueError(f"blend must be alpha, poisson or hard, got {self.blend!r}")
        check_engine(self.engine, self.workers, self.address)

    def splits(self) -> tuple[tuple[str, float], ...]:
        """Name and share of each split; shares sum to 1.

        Raises ValueError when `split` says something else.
        """
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
