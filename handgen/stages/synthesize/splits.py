"""Divide sequences among splits: whole people, or whole sequences, never single frames.

A sequence is one annotations directory. Sequences that share a subject belong together (unless splits are by sequence),
and so do all subjects of one sequence: what belongs together is a group, and a group lies in one split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from handgen.errors import HandgenError

_ORDER = 0x59  # sets this generator's seeds apart from those of samples


@dataclass(frozen=True)
class Group:
    """Sequences that no border of splits may part. members: their numbers. views: of all of them."""

    members: tuple[int, ...]
    subjects: tuple[str, ...]
    views: int


def groups_of(subjects: Sequence[Sequence[str]], views: Sequence[int], by: str) -> list[Group]:
    """The groups of sequences, given the subjects and the number of views of each.

    by: "subject" (connected by common subjects) or "sequence" (each by itself).
    """
    parts: list[set[int]] = []
    for number, names in enumerate(subjects):
        joined = {number}
        for part in list(parts):
            if by == "subject" and any(set(names) & set(subjects[other]) for other in part):
                joined |= part
                parts.remove(part)
        parts.append(joined)
    found = []
    for members in sorted(tuple(sorted(part)) for part in parts):
        names = sorted({name for number in members for name in subjects[number]})
        found.append(Group(members, tuple(names), sum(views[number] for number in members)))
    return found


def assign(groups: Sequence[Group], shares: Sequence[float], seed: int, names: Sequence[str], by: str) -> list[int]:
    """The split of each group: shares of the views come out as near as whole groups allow, and no split is empty.

    Groups are taken from the largest to the smallest, in a seeded order among equals, each for the split that lacks
    most views. The order of `groups` must not depend on the order in which a user named them.

    Raises HandgenError when there are fewer groups than splits.
    """
    if len(groups) < len(shares):
        what = f"{len(groups)} {'subject' if by == 'subject' else 'sequence'}{'s' if len(groups) > 1 else ''}"
        hint = "name more annotations directories"
        if by == "subject":
            hint += (
                ", say who is who (`subject` in capture.json, or annotate --subject), or give --split-by sequence "
                "where the same people may be in both"
            )
        raise HandgenError(f"--split: {what} cannot be divided into {' and '.join(names)}; {hint}")
    drawn = np.random.default_rng([seed, _ORDER]).permutation(len(groups)).tolist()
    order = sorted(drawn, key=lambda number: -groups[number].views)  # stable
    total = sum(group.views for group in groups)
    lacking = [share * total for share in shares]
    empty = set(range(len(shares)))
    found = [0] * len(groups)
    for left, number in zip(range(len(order), 0, -1), order, strict=True):
        choices = empty if left == len(empty) else range(len(shares))  # the last groups go where none is yet
        split = max(choices, key=lambda choice: (lacking[choice], -choice))
        found[number] = split
        lacking[split] -= groups[number].views
        empty.discard(split)
    return found


def divided(samples: int, shares: Sequence[float]) -> list[int]:
    """Divide `samples` among the splits by largest remainder; one at least, where there are as many."""
    whole = [int(share * samples) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda split: whole[split] - shares[split] * samples)
    for split in by_remainder[: samples - sum(whole)]:
        whole[split] += 1
    for split in range(len(shares)):
        if not whole[split] and max(whole) > 1:
            whole[whole.index(max(whole))] -= 1
            whole[split] = 1
    return whole
