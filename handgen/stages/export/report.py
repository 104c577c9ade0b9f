"""The report of `export`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from handgen.runtime.report import OutputReport
from handgen.wording import count_of

_NAMED_SUBJECTS = 10


@dataclass(frozen=True, kw_only=True, repr=False)
class ExportReport(OutputReport):
    """The result of `export`. pictures, hands, sides, left_out (hands, by reason): of the whole export.

    written_pictures: by this run. betas_beyond_3: subjects with a beta beyond 3 and the largest.
    """

    format: str
    pictures: int
    hands: int
    sides: dict[str, int]
    left_out: dict[str, int]
    files: int
    bytes: int
    betas_beyond_3: dict[str, float]
    written_pictures: int = 0

    RATE: ClassVar[str] = "pictures_per_s"

    @property
    def pictures_per_s(self) -> float:
        """Pictures that this run wrote per second, preparation included."""
        return self.per_second(self.written_pictures)

    def rows(self) -> list[tuple[str, str]]:
        """Name and value with its unit."""
        sides = ", ".join(f"{count} {side}" for side, count in self.sides.items())
        apart = "" if self.format == "hamer" else ", pictures apart"
        pictures = f"{self.pictures} ({sides}), {count_of(self.hands, 'hand')} labelled"
        facts = [("format", self.format), ("pictures", pictures)]
        if kept := self.pictures - self.written_pictures:
            facts.append(("kept", f"{kept} pictures of an earlier run, {self.written_pictures} written now"))
        facts += [
            ("files", f"{self.files}, {self.bytes / 1e6:.1f} MB{apart}"),
            ("speed", f"{self.pictures_per_s:.0f} pictures/s, {self.seconds:.1f} s"),
        ]
        facts += [("left out", f"{count} x {reason}") for reason, count in self.left_out.items()]
        far = list(self.betas_beyond_3.items())[:_NAMED_SUBJECTS]
        return facts + [("beta beyond 3", f"{name}: {largest:.2f}") for name, largest in far]
