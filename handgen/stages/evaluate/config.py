"""Options of the evaluate stage. Imports nothing heavy, so that the command line is made from here."""

from __future__ import annotations

from dataclasses import dataclass

from handgen.io.capture.options import calibration_option
from handgen.options import check_options, option
from handgen.runtime.engines import workers_option


@dataclass(frozen=True)
class EvaluateConfig:
    """Options of `evaluate`. capture: folder of the annotated capture, to leave views out; None: that is not done."""

    calibration: str | None = calibration_option()
    include_rejected: bool = option(False, "Also measure records and views that annotate rejected.")
    match_distance_mm: float = option(
        100.0,
        "Largest mean distance, mm, of an annotated hand from the true one that it is.",
        above=0,
        high=10_000,
        flag="--match-distance",
    )
    align_world: bool = option(False, "Find the motion between two different worlds, then measure.")
    fingertip_frames: int = option(100, "Evenly chosen frames for the fingertip figure.", low=1)
    fps: float | None = option(
        None, "Frames per second, for jitter.", above=0, high=100_000, default_help="as the truth says"
    )
    worst: int = option(12, "How many of the worst hands to name and draw.", low=0, high=200)
    workers: int | None = workers_option()
    capture: str | None = option(None)

    def __post_init__(self) -> None:
        check_options(self)
