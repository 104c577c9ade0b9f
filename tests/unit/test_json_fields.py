from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import pytest
from jaxtyping import Bool, Float

from handgen.storage.json_fields import Json, Stored, from_document, to_document


@dataclass(frozen=True)
class Place:
    """The place."""

    x: Annotated[float, Json(decimals=2)]
    name: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """One of each kind of field."""

    number: Annotated[int, Json({"minimum": 0})]
    points: Annotated[Float[np.ndarray, "2 3"] | None, Json(decimals=1)]
    seen: Bool[np.ndarray, " 2"]
    place: Annotated[Place, Json(inline=True)]
    other: Place | None = None
    size: tuple[int, int] = (1, 2)
    shares: Annotated[dict[str, float], Json(decimals=1, key="portions", optional=True)] = field(default_factory=dict)
    word: Annotated[complex, Json(stored=Stored(str, str, complex), optional=True)] = 1j
    good: Annotated[bool, Json(group="quality")] = True
    rare: Annotated[bool, Json(omit_default=True)] = False

    @property
    def double(self) -> Annotated[int, Json(group="quality", optional=True)]:
        """Twice the number."""
        return 2 * self.number

    @property
    def unwritten(self) -> int:
        return 3


RECORD = Record(
    number=3, points=np.full((2, 3), 0.26), seen=np.array([True, False]), place=Place(1.234, "here"),
    other=Place(2.0, "there"), shares={"a": 0.123}, word=2 + 1j,
)  # fmt: skip
DOCUMENT = {
    "number": 3, "points": [[0.3] * 3] * 2, "seen": [1, 0], "x": 1.23, "name": "here",
    "other": {"x": 2.0, "name": "there"}, "size": [1, 2], "portions": {"a": 0.1}, "word": "(2+1j)",
    "quality": {"good": True, "double": 6},
}  # fmt: skip


def test_a_record_and_its_document():
    assert to_document(RECORD) == DOCUMENT
    found = from_document(Record, DOCUMENT)
    np.testing.assert_array_equal(found.points, np.full((2, 3), 0.3))
    np.testing.assert_array_equal(found.seen, [True, False])
    assert found.seen.dtype == bool and found.size == (1, 2) and found.place == Place(1.23, "here")
    assert (found.other, found.word, found.shares) == (Place(2.0, "there"), 2 + 1j, {"a": 0.1})
    assert to_document(found) == DOCUMENT


def test_what_is_absent_or_null():
    earlier = {name: value for name, value in DOCUMENT.items() if name not in ("portions", "word")}
    found = from_document(Record, earlier | {"points": None, "other": None, "rare": True})
    assert (found.shares, found.word, found.points, found.other, found.rare) == ({}, 1j, None, None, True)
    document = to_document(found)
    assert document["points"] is None and document["other"] is None and document["rare"] is True


def test_numbers_that_json_writes_another_way():
    found = from_document(Record, DOCUMENT | {"number": 3.0, "x": 1})
    assert type(found.number) is int and type(found.place.x) is float


def test_what_a_form_cannot_be_read_from():
    with pytest.raises(ValueError, match="malformed string"):
        from_document(Record, DOCUMENT | {"word": "no number"})
