"""The findings of validation, and counts of what was looked at."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from handgen.storage.filesystem import Location
from handgen.storage.json_fields import Json

if TYPE_CHECKING:
    from handgen.label_checks.evidence import Fault

MISSING = "missing picture"  # of data sets whose files name pictures
PUT_IT_THERE = "put it there, or leave its labels out"
_KEPT = 20  # findings of one kind that are kept; all are counted


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    kind: str
    """A few words, equal for all of its kind."""
    where: str
    what: str
    fix: Annotated[str, Json(key="next")]
    """The next step, as a sentence to a user."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.what}; {self.fix}"


@dataclass
class Findings:
    """The first findings of each kind, how many there are, and how many things each check looked at."""

    kept: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    looked_at: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, where: str, what: str, fix: str) -> None:
        """Note a finding."""
        self.counts[kind] += 1
        if self.counts[kind] <= _KEPT:
            self.kept.append(Finding(kind, where, what, fix))

    def add_fault(self, kind: str, where: str, fault: Fault | None) -> None:
        """Note a fault, if there is one."""
        if fault is not None:
            self.add(kind, where, fault.what, fault.fix)

    def first_of(self, kind: str) -> str:
        """Place of the first finding of a kind; empty if there is none."""
        return next((finding.where for finding in self.kept if finding.kind == kind), "")

    def extend(self, other: Findings) -> None:
        """Note the findings of a part."""
        for finding in other.kept:
            if sum(kept.kind == finding.kind for kept in self.kept) < _KEPT:
                self.kept.append(finding)
        self.counts.update(other.counts)
        self.looked_at.update(other.looked_at)


@dataclass(frozen=True)
class Checked:
    """The result of checking one kind of thing."""

    findings: Findings
    facts: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def check_files(findings: Findings, root: Location, found: dict[str, int], expected: dict[str, int | None]) -> None:
    """Compare files by name and bytes with those expected (None: any size); others, and torn ones, are findings."""
    for name, size in expected.items():
        if name not in found:
            findings.add("missing file", f"{root / name}", "is missing", "run the same command again to write it")
        elif size is not None and found[name] != size:
            what = f"has {found[name]} bytes; the manifest says {size}"
            findings.add("wrong size", f"{root / name}", what, "delete it and run the same command again")
    for name in sorted(found.keys() - expected.keys()):
        torn = name.endswith(".partial")
        findings.add(
            "torn file" if torn else "stray file",
            f"{root / name}",
            "was left by a run that was killed" if torn else "is not in the manifest",
            "run the same command again, which removes it" if torn else "move it away: readers may take it for data",
        )


def check_digest(findings: Findings, where: Location, found: str, said: str, fix: str) -> None:
    """Compare the SHA-256 of a file with the manifest's."""
    if found != said:
        findings.add("digest", f"{where}", f"SHA-256 is {found[:12]}..., the manifest says {said[:12]}...", fix)


def hash_bytes(data: bytes) -> int:
    """Hash bytes to 64 bits, to compare large sets: of ten million values two are alike with a chance of 3e-6."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def hash_values(*parts: object) -> int:
    """Hash values of plain types to 64 bits."""
    return hash_bytes(repr(parts).encode())


def name_first(names: Iterable[str], count: int = 5) -> str:
    """Name the first of several, for a message."""
    several = sorted(names)
    return ", ".join(several[:count]) + (f" and {len(several) - count} more" if len(several) > count else "")
