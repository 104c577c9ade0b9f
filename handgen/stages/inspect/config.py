"""Options of the inspect stage. Imports nothing heavy, so that the command line is made from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from handgen.detect.registry import DETECTORS
from handgen.io.capture.options import calibration_option, metres_per_unit_option
from handgen.options import check_options, chosen_options, option


@dataclass(frozen=True)
class InspectConfig:
    """Options of `inspect`, for a capture."""

    calibration: str | None = calibration_option(
        "For a capture: the calibration file or folder, if it is not in the capture or there are several."
    )
    metres_per_unit: float | Literal["auto"] | None = metres_per_unit_option(
        "For a capture: metres in one unit of the calibration (a chessboard square of 24 mm is 0.024)."
    )

    detect: bool = option(
        False, "For a capture: look for hands in a few frames, and say which cameras are mirrored, late or exchanged."
    )
    detector: str = option("mediapipe", "With --detect: how, as in `annotate`.", choices=DETECTORS.names)
    detector_options: Any = chosen_options("detector", DETECTORS)

    def __post_init__(self) -> None:
        check_options(self)
