"""The report of `validate`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from handgen.label_checks.findings import Findings
from handgen.runtime.report import ReadableReport
from handgen.storage.filesystem import Location


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
        return {
            "valid": self.valid,
            "kind": self.kind,
            "path": str(self.path),
            "facts": self.facts,
            "checks": [
                {"name": name, "looked_at": looked_at, "wrong": wrong} for name, looked_at, wrong in self.checks
            ],
            "findings": [{"kind": f.kind, "where": f.where, "what": f.what, "next": f.fix} for f in self.findings.kept],
            "counts": dict(self.findings.counts),
            "notes": list(self.notes),
            "seconds": round(self.seconds, 3),
        }
