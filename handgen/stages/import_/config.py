"""Options of the import stage. Imports nothing heavy, so that the command takes its defaults from here."""

from __future__ import annotations

from dataclasses import dataclass

from handgen.datasets.registry import import_formats
from handgen.reconstruct.settings import QualityLimits


@dataclass(frozen=True)
class ImportConfig:
    """Options of `import`. Everything but `workers` and `skip_missing` decides the annotations.

    format: one of `import_formats()`. split: the data set's own; None: the first that is there.
    limit: how many frames are read at most, the first ones; None: all.
    hand_model: "mano" or the path of an .npz ({side} in it where there are both) to take the data set's parameters over
    as that model's; "open" to fit the open hand to its keypoints; None: mano where it is installed, else open.
    chunk_frames: frames per unit of work. min_mask_iou: as for `annotate`.
    skip_missing: whether pictures that are not there are left out; else the first ends the run. A rerun may change it.
    workers: processes, or None for one per core.
    """

    format: str
    split: str | None = None
    limit: int | None = None
    hand_model: str | None = None
    chunk_frames: int = 64
    min_mask_iou: float = QualityLimits.min_mask_iou
    skip_missing: bool = False
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.format not in import_formats():
            raise ValueError(f"format must be one of {', '.join(import_formats())}, got {self.format!r}")
        for name in ("limit", "chunk_frames", "workers"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not 0 <= self.min_mask_iou <= 1:
            raise ValueError(f"min_mask_iou must be a share between 0 and 1, got {self.min_mask_iou}")
