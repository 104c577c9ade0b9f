"""The report of `import`: counts, medians and notes, as it prints them and the manifest keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from handgen.runtime.report import OutputReport
from handgen.wording import count_of, counts_of


@dataclass(frozen=True, kw_only=True, repr=False)
class ImportReport(OutputReport):
    """Counts and medians of imported annotations.

    frames: moments that were read; written_frames: by this run, the rest was there already.
    parameters: "taken over" or "fitted". residual_mm: from the data set's keypoints to the model's, median and 95 %
    over the hands. mask_iou: median over accepted records. left_out: hands without a record, per reason. shapes: sets
    of betas; people: who they are of, 0 if nobody knows. nothing_accepted: why, where no record was accepted.
    """

    format: str
    split: str
    frames: int
    hand_model: str
    parameters: str
    records: dict[str, int]  # per side
    accepted: dict[str, int]
    rejected: dict[str, int]  # per reason
    left_out: dict[str, int]
    missing_pictures: int
    views: int
    views_rejected: dict[str, int]
    mask_iou: float | None
    residual_mm: tuple[float, float] | None
    shapes: int
    people: int
    cameras: int
    nothing_accepted: str | None = None
    written_frames: int = 0

    RATE: ClassVar[str] = "frames_per_s"
    VOLATILE: ClassVar[tuple[str, ...]] = (*OutputReport.VOLATILE, "written_frames")

    @property
    def frames_per_s(self) -> float:
        """Frames that this run wrote per second, preparation included."""
        return self.per_second(self.written_frames)

    def rows(self) -> list[tuple[str, str]]:
        """Name and value with its unit."""
        residual = "-"
        if self.residual_mm is not None:
            residual = f"{self.residual_mm[0]:.2f} mm median, {self.residual_mm[1]:.2f} mm (95 %)"
        people = count_of(self.people, "person", "people") if self.people else "unknown people"
        return [
            ("data set", f"{self.format}, split {self.split}"),
            ("frames", str(self.frames)),
            ("hands", counts_of(self.records)),
            ("accepted", counts_of(self.accepted)),
            ("rejected", counts_of(self.rejected)),
            ("left out", counts_of(self.left_out)),
            ("views accepted", str(self.views)),
            ("views rejected", counts_of(self.views_rejected)),
            ("hand model", f"{self.hand_model}, parameters {self.parameters}"),
            ("from its keypoints", residual),
            ("median mask IoU", "-" if self.mask_iou is None else f"{self.mask_iou:.3f}"),
            ("shapes", f"{self.shapes}, of {people}"),
            ("cameras", str(self.cameras)),
            ("speed", f"{self.frames_per_s:.1f} frames/s ({self.seconds:.0f} s)"),
        ]
