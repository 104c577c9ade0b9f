"""Options of the import stage. Imports nothing heavy, so that the command line is made from here."""

from __future__ import annotations

from dataclasses import dataclass

from handgen.datasets.registry import import_formats
from handgen.options import REQUIRED, check_options, option
from handgen.reconstruct.settings import QualityLimits
from handgen.runtime.engines import workers_option


@dataclass(frozen=True)
class ImportConfig:
    """Options of `import`. A rerun may change `skip_missing`: of a data set that is complete it decides nothing."""

    format: str = option(REQUIRED, "Whose format DIR is in.", choices=import_formats)
    split: str | None = option(
        None, "training or evaluation; train or test; train, val or test.", default_help="the first there"
    )
    limit: int | None = option(None, "Read the first N frames only.", low=1, metavar="N")
    hand_model: str | None = option(
        None,
        "mano, or an .npz in MANO's format: take the data set's parameters over; open: fit the open hand to its "
        "keypoints.",
        metavar="NAME",
        default_help="mano where it is installed, else open",
    )
    min_mask_iou: float = option(
        QualityLimits.min_mask_iou, "Smallest overlap of mask and mesh.", low=0, high=1, flag="--min-iou"
    )
    chunk_frames: int = option(64, "Frames per unit of work.", low=1, high=4096)
    skip_missing: bool = option(False, "Do without pictures that are not there.", decides_output=False)
    workers: int | None = workers_option()

    def __post_init__(self) -> None:
        check_options(self)
