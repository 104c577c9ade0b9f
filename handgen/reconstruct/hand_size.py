"""Tell by the hands whether the calibration's unit can be right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from handgen.detect.view_bias import DetectorCalibration
from handgen.errors import HandgenError
from handgen.fit.subject import size_factor
from handgen.multiview.association import MultiviewHand
from handgen.storage.filesystem import Location

_FEWEST = 4  # hands that are sure, before their size says anything
_USUAL = (0.84, 1.2)  # of people's mean hand: three standard deviations of adults
_POSSIBLE = (0.6, 1.6)  # of people's mean hand: children of four, and more than anybody's


def hand_size(
    hand_model: str, detector: DetectorCalibration, sure: Mapping[str, Sequence[MultiviewHand]]
) -> float | None:
    """Size of a person's hands in people's mean size; None where too few are sure. sure: by side, in metres."""
    found = {side: hands for side, hands in sure.items() if hands}
    return size_factor(hand_model, detector, found) if sum(map(len, found.values())) >= _FEWEST else None


def size_notes(size: float | None, metres_per_unit: float) -> list[str]:
    """Say by how much hands are longer or shorter than people's, if they are."""
    if size is None or _USUAL[0] < size < _USUAL[1]:
        return []
    return [
        f"the hands are {size:.2f} times as long as people's on average: is the calibration's unit right? The hands "
        f"suggest --metres-per-unit {metres_per_unit / size:.3g}"
    ]


def check_possible(capture: Location, size: float | None, metres_per_unit: float) -> None:
    """Raise a HandgenError for hands of a size that no person's have."""
    if size is not None and not _POSSIBLE[0] < size < _POSSIBLE[1]:
        raise HandgenError(
            f"{capture}: the hands are {size:.2g} times as long as people's, so the calibration's unit is wrong; "
            f"give --metres-per-unit (the hands suggest {metres_per_unit / size:.3g}), or auto"
        )
