"""Which of some names of files belongs to which camera, by the camera's own name or number in them.

Capital letters, signs between words and leading zeros do not matter, nor does "cam", "camera", "view" or "port" before
a name: `2024-05 CamA`, `rec_A` and `camera_a` all name camera A.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

_WORD = "(?:camera|cam|view|port)"


def name_matches(cameras: Sequence[str], labels: Sequence[str]) -> list[dict[str, int]]:
    """Return, for each way to compare names, the index of each camera's label as far as only one fits; strict first.

    The ways: equal; equal but for spelling; the camera's name at the label's end; anywhere in it; the last number; the
    first one.
    """
    ways: tuple[Callable[[str, str], bool], ...] = (
        str.__eq__,
        lambda camera, label: _bare(camera) == _bare(label),
        partial(_names, pattern="(?:^|_)(?:{word}_?)?{name}$"),
        partial(_names, pattern="(?:^|_)(?:{word}_?)?{name}(?:_|$)"),
        partial(_same_number, place=-1),
        partial(_same_number, place=0),
    )
    return [_unique(way, cameras, labels) for way in ways]


def number_in(text: str, place: int = -1) -> str | None:
    """Return the last number in a text (place 0: the first) without leading zeros; None if it has none."""
    found = re.findall(r"\d+", text)
    return (found[place].lstrip("0") or "0") if found else None


def _same_number(camera: str, label: str, place: int) -> bool:
    number = number_in(camera, place)
    return number is not None and number == number_in(label, place)


def _unique(fits: Callable[[str, str], bool], cameras: Sequence[str], labels: Sequence[str]) -> dict[str, int]:
    """The label of each camera that fits one alone and no other camera; of several cameras the longest name counts."""
    found: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        fitting = [camera for camera in cameras if fits(camera, label)]
        longest = max((len(_bare(camera)) for camera in fitting), default=0)
        for camera in (camera for camera in fitting if len(_bare(camera)) == longest):
            found.setdefault(camera, []).append(index)
    taken = [index for indices in found.values() for index in indices]
    return {name: own[0] for name, own in found.items() if len(own) == 1 and taken.count(own[0]) == 1}


def _names(camera: str, label: str, pattern: str) -> bool:
    found = pattern.format(word=_WORD, name=re.escape(_bare(camera)))
    return re.search(found, _folded(label)) is not None


def _folded(text: str) -> str:
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text).casefold()
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"[\W_]+", "_", text).strip("_"))


def _bare(camera: str) -> str:
    """The name without a word for camera before it."""
    folded = _folded(camera)
    return re.sub(f"^{_WORD}_?", "", folded) or folded
