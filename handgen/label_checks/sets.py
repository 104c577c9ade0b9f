"""Checks that only a whole set can answer: votes over its pictures, shapes of its people, pictures that come twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import numpy as np
from jaxtyping import Float, UInt64

from handgen.io.annotations import UNNAMED_SUBJECT
from handgen.label_checks import set_votes
from handgen.label_checks.evidence import Evidence, Fault, SetCheck
from handgen.label_checks.findings import hash_bytes
from handgen.label_checks.set_votes import Verdict, decode_pictures

_BETA_TOLERANCE = 1e-3


def _fault_of(check: str) -> Callable[[Evidence], tuple[int, list[tuple[str, Fault]]]]:
    def collect(evidence: Evidence) -> tuple[int, list[tuple[str, Fault]]]:
        pictures = [
            one
            for one in evidence.share(decode_pictures)
            if check != "mask" or check in one.faults or one.red_over_blue is not None
        ]
        return len(pictures), [(one.name, one.faults[check]) for one in pictures if check in one.faults]

    return collect


def _merge_verdicts(parts: list[Verdict]) -> Verdict:
    return sum(count for count, _ in parts), [fault for _, faults in parts for fault in faults]


@dataclass
class Shapes:
    """Betas by person (name, side), with the picture that had them first; who differs; how many there were."""

    first: dict[tuple[str, str], tuple[str, Float[np.ndarray, " 10"]]]
    differing: list[tuple[str, Fault]]
    count: int


def _shapes(evidence: Evidence) -> Shapes | None:
    hands = evidence.hands
    found = Shapes({}, [], 0)
    for i in np.flatnonzero(np.isfinite(hands.betas).all(1)).tolist():
        image = hands.image(i)
        is_known = image.subject.rpartition("/")[2] not in ("", UNNAMED_SUBJECT)
        if is_known and image.capture not in evidence.tolerances.shapes_vary:
            _compare(found, (image.subject, hands.labels(i).side), hands.name(i), hands.betas[i])
            found.count += 1
    return found if found.count else None


def _compare(found: Shapes, person: tuple[str, str], name: str, betas: Float[np.ndarray, " 10"]) -> None:
    first, known = found.first.setdefault(person, (name, betas))
    if (off := float(np.abs(betas - known).max())) > _BETA_TOLERANCE:
        what = f"betas of {person[0]}'s {person[1]} hand differ by {off:.3g} from those in {first}"
        found.differing.append((name, Fault(what, "fit one shape per person, or name the people apart")))


def _one_shape(parts: list[Shapes]) -> Verdict:
    whole = Shapes({}, [], sum(part.count for part in parts))
    for part in parts:
        for person, (name, betas) in part.first.items():
            _compare(whole, person, name, betas)
        whole.differing += part.differing
    return whole.count, whole.differing


def _digests(evidence: Evidence) -> tuple[UInt64[np.ndarray, " n"], list[str]] | None:
    """Collect hashes of pictures, and their names."""
    pictures = [(hash_bytes(image.image), image.name) for image in evidence.hands.images if image.image is not None]
    if not pictures:
        return None
    return np.array([digest for digest, _ in pictures], np.uint64), [name for _, name in pictures]


def _twice(parts: list[tuple[UInt64[np.ndarray, " n"], list[str]]]) -> Verdict:
    digests = np.concatenate([part for part, _ in parts])
    names = [name for _, part in parts for name in part]
    order = np.argsort(digests, kind="stable")
    same = np.flatnonzero(np.diff(digests[order]) == 0)
    faults = []
    for k in same.tolist():
        what = f"has the same picture, byte for byte, as {names[order[k]]}"
        faults.append((names[order[k + 1]], Fault(what, "keep one of them, or put both on the same side of the split")))
    return len(digests), faults


def _unique(parts: list[list[str]]) -> Verdict:
    seen_keys, twice = set[str](), []
    for key in chain.from_iterable(parts):
        if key in seen_keys:
            twice.append((key, Fault("this key is there twice", "give every picture a key of its own")))
        seen_keys.add(key)
    return sum(map(len, parts)), twice


SET_CHECKS: dict[str, SetCheck] = {
    "picture": SetCheck(
        "pictures can be decoded and have the size in their labels", _fault_of("picture"), _merge_verdicts
    ),
    "mesh against mask": set_votes.MESH_CHECK,  # before the masks: it says what is wrong with many
    "mask": SetCheck(
        "at least half of the visible keypoints lie in the mask (3 % of the hand's extent beyond counts; less is asked "
        "for where a format does not say which are hidden); empty, full, inverted and mirrored ones are named",
        _fault_of("mask"),
        _merge_verdicts,
    ),
    **set_votes.SET_CHECKS,
    "betas per person": SetCheck("the hand of one side of everybody with a name has one shape", _shapes, _one_shape),
    "key twice": SetCheck(
        "keys are unique over the whole set", lambda evidence: [image.name for image in evidence.hands.images], _unique
    ),
    "picture twice": SetCheck("no picture is there twice, byte for byte", _digests, _twice),
}
