"""The report of `annotate`: counts, medians and notes, as it prints them and the manifest keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from handgen.runtime.report import OutputReport
from handgen.storage.filesystem import Location
from handgen.wording import counts_of

_TAKEN_FOR_GRANTED = "taken for bare hands of one person; held objects and several people are not told apart yet"


@dataclass(frozen=True, kw_only=True, repr=False)
class AnnotateReport(OutputReport):
    """Counts and medians of annotations.

    reprojection_px and mask_iou: medians over accepted records; None if there are none.
    written_frames: fitted by this run; the rest was there already. views_detected_again: of the accepted ones, those
    that the detector found in a second look. cameras_moved: since the calibration. bridged: accepted records of frames
    in which no two views saw the hand. cameras_suspect: those that are not what the capture says, why, and whether they
    were left out. nothing_accepted: why, where no record was accepted.
    """

    frames: int
    records: dict[str, int]  # per side
    accepted: dict[str, int]
    rejected: dict[str, int]  # per reason
    views: int
    views_rejected: dict[str, int]
    views_detected_again: int
    bridged: int
    reprojection_px: float | None
    mask_iou: float | None
    metres_per_unit: float
    scale: str
    cameras_moved: tuple[dict[str, Any], ...] = ()
    cameras_suspect: tuple[dict[str, Any], ...] = ()
    nothing_accepted: str | None = None
    written_frames: int = 0
    previews: tuple[Location, ...] = ()

    RATE: ClassVar[str] = "frames_per_s"
    VOLATILE: ClassVar[tuple[str, ...]] = (*OutputReport.VOLATILE, "written_frames", "previews")

    @property
    def frames_per_s(self) -> float:
        """Frames of the capture (all views together) per second, of what this run wrote."""
        return self.per_second(self.written_frames)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return super().to_json() | {"previews": [str(path) for path in self.previews]}

    def remarks(self) -> list[str]:
        """The notes, and what handgen takes for granted: it is not the capture's, so the manifest does not keep it."""
        return [*self.notes, _TAKEN_FOR_GRANTED]

    def rows(self) -> list[tuple[str, str]]:
        """Name and value with its unit."""
        facts = [
            ("frames", str(self.frames)),
            ("hands fitted", counts_of(self.records)),
            ("accepted", counts_of(self.accepted)),
            ("rejected", counts_of(self.rejected)),
            ("frames bridged", str(self.bridged)),
            ("views accepted", f"{self.views}, {self.views_detected_again} of them found when searched again"),
            ("views rejected", counts_of(self.views_rejected)),
            ("median reprojection", "-" if self.reprojection_px is None else f"{self.reprojection_px:.2f} px"),
            ("median mask IoU", "-" if self.mask_iou is None else f"{self.mask_iou:.3f}"),
            ("scale", f"{self.metres_per_unit:.6g} m per calibration unit ({self.scale})"),
            ("speed", f"{self.frames_per_s:.1f} frames/s ({self.seconds:.0f} s)"),
        ]
        return [*facts, ("pictures", str(self.previews[0].parent))] if self.previews else facts
