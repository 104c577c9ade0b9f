"""The report of `validate`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from handgen.label_checks.findings import Finding, Findings
from handgen.runtime.report import ReadableReport
from handgen.storage.filesystem import Location
from handgen.storage.json_fields import Count, Json, to_document


@dataclass(frozen=True)
class Check:
    """One check of all that there are."""

    name: str
    looked_at: Annotated[int | None, Json({"minimum": 0})]
    """How many hands, pictures, files or cameras; null where that is not counted."""
    wrong: Count


@dataclass(frozen=True)
class ValidationDocument:
    """Result of `handgen validate`, as `--json` prints it."""

    valid: bool
    """Whether nothing was found."""
    kind: str
    """Kind of what lies there: capture, calibration, annotations, shards, or the format of an export."""
    path: str
    facts: dict[str, Count]
    """Numbers of the things looked at, by name: samples, shards, views, left_out, digests; or frames, chunks, records,
    views; or cameras, frames; or pictures, hands."""
    checks: tuple[Check, ...]
    """Every check, in the order in which they explain each other."""
    findings: tuple[Finding, ...]
    """The first twenty of each kind."""
    counts: dict[str, Annotated[int, Json({"minimum": 1})]]
    """All findings, by kind."""
    notes: tuple[str, ...]
    """Sentences on what was not checked, and why."""
    seconds: Annotated[float, Json({"minimum": 0}, decimals=3)]


@dataclass(frozen=True, repr=False)
class ValidateReport(ReadableReport):
    """The result of `validate`. facts: what was looked at, by name. notes: what could not be checked.

    looked_at: how many things each check looked at; None of what is found on the way.
    """

    path: Location
    kind: str
    findings: Findings
    facts: dict[str, Any]
    notes: tuple[str, ...]
    seconds: float
    looked_at: dict[str, int]

    @property
    def title(self) -> str:
        """The place, and what lies there."""
        return f"{self.path}: {self.kind}"

    def rows(self) -> list[tuple[str, str]]:
        """Names and counts: what was looked at, and how many things of each kind were found."""
        counted = ", ".join(f"{count} x {kind}" for kind, count in sorted(self.findings.counts.items()))
        rows = [(name.replace("_", " "), str(value)) for name, value in self.facts.items()]
        return [*rows, ("found", counted or "nothing wrong")]

    def remarks(self) -> list[str]:
        """The notes, then the findings."""
        return [*self.notes, *map(str, self.findings.kept)]

    @property
    def checks(self) -> list[tuple[str, int | None, int]]:
        """Name, how many things were looked at (None: not counted), how many are wrong, of every check."""
        wrong = self.findings.counts
        names = [*self.looked_at, *sorted(wrong.keys() - self.looked_at.keys())]
        return [(name, self.looked_at.get(name), wrong.get(name, 0)) for name in names]

    @property
    def valid(self) -> bool:
        """True where nothing is wrong."""
        return not self.findings.counts

    def to_json(self) -> dict[str, Any]:
        """The report as `validation.schema.json` describes it."""
        return to_document(
            ValidationDocument(
                valid=self.valid,
                kind=self.kind,
                path=str(self.path),
                facts=self.facts,
                checks=tuple(Check(*check) for check in self.checks),
                findings=tuple(self.findings.kept),
                counts=self.findings.counts,
                notes=self.notes,
                seconds=self.seconds,
            )
        )
