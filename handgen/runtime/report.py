"""Base of the stages' reports: a document for programs, and a few lines for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from handgen.storage.filesystem import Location


class ReadableReport:
    """A report that shows itself as a few lines of text; its dataclass is made with `repr=False`."""

    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """One line that says what the report is about."""
        raise NotImplementedError

    def rows(self) -> list[tuple[str, str]]:
        """Name and value with its unit, in the order in which they matter."""
        raise NotImplementedError

    def remarks(self) -> list[str]:
        """Sentences that a user should read besides: the notes."""
        return list(self.notes)

    def __repr__(self) -> str:
        rows = self.rows()
        width = max((len(name) for name, _ in rows), default=0)
        lines = [f"{type(self).__name__}: {self.title}", *(f"  {name:<{width}}  {value}" for name, value in rows)]
        return "\n".join([*lines, *(f"  note: {remark}" for remark in self.remarks())])


@dataclass(frozen=True, kw_only=True, repr=False)
class OutputReport(ReadableReport):
    """Report of a stage that writes a directory. seconds: that this run took. notes: what a user should know.

    RATE: name of the property that says how fast it was. VOLATILE: what differs between runs of the same bytes.
    """

    out: Location
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    RATE: ClassVar[str]
    VOLATILE: ClassVar[tuple[str, ...]] = ("out", "seconds")

    @property
    def title(self) -> str:
        """The directory."""
        return str(self.out)

    def per_second(self, count: int) -> float:
        """Turn a count of this run into a rate, preparation included."""
        return count / max(self.seconds, 1e-9)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        rounded = {"seconds": round(self.seconds, 3), self.RATE: round(getattr(self, self.RATE), 3)}
        return asdict(self) | rounded | {"out": str(self.out)}

    def summary(self) -> dict[str, Any]:
        """The part that a manifest keeps: all values that are the same in every run of the same bytes."""
        return {name: value for name, value in self.to_json().items() if name not in (*self.VOLATILE, self.RATE)}
