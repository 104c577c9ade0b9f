"""The report of `synthesize`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from handgen.runtime.report import OutputReport
from handgen.wording import count_of

_NAMED = 20  # of damaged or skipped ones in the summary


@dataclass(frozen=True)
class SplitReport:
    """One split. asked, reached: its share of the views. subjects, sequences: how many."""

    name: str
    asked: float
    reached: float
    samples: int
    views: int
    subjects: int
    sequences: int

    def __str__(self) -> str:
        return (
            f"{count_of(self.samples, 'sample')} of {count_of(self.views, 'view')} ({100 * self.reached:.1f} % of "
            f"them, {100 * self.asked:.1f} % asked), {count_of(self.subjects, 'subject')}, "
            f"{count_of(self.sequences, 'sequence')}"
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class SynthesizeReport(OutputReport):
    """Counts of shards, and what could not be made.

    samples, shards, bytes, sides: of the whole directory. written_samples: by this run; the rest was there
    already. left_out_samples: that could not be made, of damaged_cutouts (name and reason; of many the first).
    skipped_backgrounds: name and reason of unusable files.
    """

    samples: int
    sides: dict[str, int]
    shards: int
    bytes: int
    views: int
    splits: tuple[SplitReport, ...]
    written_samples: int
    left_out_samples: int
    damaged_cutouts: tuple[tuple[str, str], ...]
    backgrounds: int
    skipped_backgrounds: tuple[tuple[str, str], ...]

    RATE: ClassVar[str] = "samples_per_s"

    @property
    def samples_per_s(self) -> float:
        """Samples that this run wrote per second, preparation included."""
        return self.per_second(self.written_samples)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        named = {"skipped_backgrounds": self.skipped_backgrounds, "damaged_cutouts": self.damaged_cutouts}
        return super().to_json() | {
            field: [{"name": name, "reason": reason} for name, reason in entries] for field, entries in named.items()
        }

    def rows(self) -> list[tuple[str, str]]:
        """Name and value with its unit."""
        sides = ", ".join(f"{count} {side}" for side, count in self.sides.items())
        facts = [("samples", f"{self.samples} ({sides}), from {count_of(self.views, 'view')}")]
        if kept := self.samples - self.written_samples:
            facts.append(("kept", f"{kept} samples of an earlier run, {self.written_samples} written now"))
        facts += [
            ("shards", f"{self.shards}, {self.bytes / 1e6:.1f} MB"),
            ("speed", f"{self.samples_per_s:.0f} samples/s, {self.seconds:.1f} s"),
            ("backgrounds", count_of(self.backgrounds, "picture") if self.backgrounds else "synthesized"),
        ]
        if len(self.splits) > 1:
            facts += [(f"split {split.name}", str(split)) for split in self.splits]
        if self.left_out_samples:
            facts.append(("left out", f"{self.left_out_samples} samples of damaged cutouts"))
        return facts

    def remarks(self) -> list[str]:
        """Files that could not be used, then the notes."""
        remarks = [f"skipped background {name}: {reason}" for name, reason in self.skipped_backgrounds[:_NAMED]]
        if (more := len(self.skipped_backgrounds) - _NAMED) > 0:
            remarks.append(f"{more} more backgrounds, named in {self.out}/manifest.json, are skipped")
        remarks += [f"damaged cutout {name}: {reason}" for name, reason in self.damaged_cutouts[:_NAMED]]
        if (more := len(self.damaged_cutouts) - _NAMED) > 0:
            remarks.append(f"{more} more damaged cutouts are named in {self.out}/manifest.json")
        return remarks + list(self.notes)
