"""The report of `simulate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from handgen.runtime.report import OutputReport
from handgen.wording import count_of


@dataclass(frozen=True, kw_only=True, repr=False)
class SimulateReport(OutputReport):
    """Counts of a simulated capture. views: pictures; written_views: by this run, the rest was there already."""

    truth: Path
    frames: int
    cameras: int
    hands: tuple[str, ...]
    views: int
    written_views: int

    RATE: ClassVar[str] = "views_per_s"

    @property
    def views_per_s(self) -> float:
        """Pictures that this run wrote per second, preparation included."""
        return self.per_second(self.written_views)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        return super().to_json() | {"truth": str(self.truth)}

    def rows(self) -> list[tuple[str, str]]:
        """Name and value with its unit."""
        return [
            ("frames", f"{self.frames} from {count_of(self.cameras, 'camera')}"),
            ("hands", ", ".join(self.hands)),
            ("truth", f"{self.truth}, which annotate does not read"),
            ("speed", f"{self.views_per_s:.1f} views/s, {self.seconds:.1f} s"),
        ]
