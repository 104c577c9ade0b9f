"""Votes over the pictures of a set, and of each part of it: pictures that do not belong to their masks and labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from jaxtyping import Bool, Float

from handgen.label_checks import pixels
from handgen.label_checks.evidence import Evidence, Fault, SetCheck, Tolerances
from handgen.label_checks.pixels import TURNS, MaskOverlap, PictureEvidence

Verdict = tuple[int, list[tuple[str, Fault]]]
_ALL = "all pictures"
_VOTERS = 8  # pictures, at least
# Median share of the visible keypoints that lie in their mask; synthesized samples: 1.0. Less is asked for where a
# format calls keypoints visible that another hand covers.
_HELD, _HELD_OF_HIDDEN = 0.8, 0.6
_MOST = 0.5  # share of a part, or of all pictures, that speaks for the whole of it
_BLUER = -8.0  # red minus blue of a picture: of 288 synthesized with the default augmentation none is below 0
_FEW_BLUE = 0.1  # share of a set that may be bluer: gloves, lamps
# Log of the edges' strength along the mask over that of the flipped or turned picture: of right pictures 0.6 to 1.3 in
# the mean, single ones down to -0.12. A turned picture has the same with the other sign.
_TURNED, _FEW_TURNED, _UNRELATED = -0.3, 0.15, 0.1
_NEAR_PX = 2  # edges lie so far from the masks' at most
_STRONGER = 1.15  # at another place, than there
# Median share that mesh and mask have in common, of the smaller of the two: synthesized samples 0.97 and more, single
# ones 0.88; those of other pictures 0.7.
_COVERED, _COVERED_WELL = 0.8, 0.9
_TURN_NAMES = list(TURNS)
T = TypeVar("T")


@dataclass(frozen=True)
class Ballots(Generic[T]):
    """The values of the pictures of one part, with their names."""

    names: list[str]
    values: list[T]


B = TypeVar("B", bound=Ballots[Any])


def decode_pictures(evidence: Evidence) -> list[PictureEvidence]:
    """Decode the chosen pictures of this part; call it through `Evidence.share`."""
    numbers = pixels.choose_pictures(evidence)
    meshes = pixels.meshes_in(evidence, numbers)
    images, in_mask = evidence.hands.images, evidence.tolerances.in_mask
    return [pixels.inspect_picture(images[number], in_mask, meshes.get(number)) for number in numbers]


def _ballots(value_of: Callable[[PictureEvidence], T | None]) -> Callable[[Evidence], Ballots[T]]:
    def collect(evidence: Evidence) -> Ballots[T]:
        votes = [(one.name, value) for one in evidence.share(decode_pictures) if (value := value_of(one)) is not None]
        return Ballots([name for name, _ in votes], [value for _, value in votes])

    return collect


def _merge_ballots(parts: Sequence[Ballots[T]]) -> Ballots[T]:
    return Ballots([name for part in parts for name in part.names], [value for part in parts for value in part.values])


def _span(part: Ballots[Any]) -> str:
    return f"{part.names[0]} to {part.names[-1]}"


def _groups(
    parts: Sequence[Ballots[Any]], wrong: Bool[np.ndarray, " n"], few: float
) -> list[tuple[str, Bool[np.ndarray, " n"]]]:
    """Group the wrong pictures (of all parts) that make a fault: all, whole parts, or more than `few` of the rest."""
    names = _merge_ballots(parts).names
    if len(wrong) < _VOTERS or not wrong.any():
        return []
    if wrong.mean() > 1 - few:
        return [(_ALL, wrong)]
    found, rest, first = [], wrong.copy(), 0
    for part in parts:
        mine = slice(first, first + len(part.names))
        first = mine.stop
        if len(part.names) >= _VOTERS and wrong[mine].mean() > _MOST:
            of_part = np.zeros(len(wrong), bool)
            of_part[mine] = wrong[mine]
            rest[mine] = False
            found.append((_span(part), of_part))
    if rest.sum() >= max(3, few * len(rest)):
        found.append((f"{rest.sum()} of {len(rest)} pictures, {names[int(np.argmax(rest))]} the first", rest))
    return found


def _held(evidence: Evidence) -> tuple[float, list[tuple[float, float]]]:
    """Collect the share that is asked for, and those of the pictures, as they are and mirrored."""
    asked = _HELD if evidence.tolerances.in_mask >= Tolerances.in_mask else _HELD_OF_HIDDEN
    return asked, [one.held for one in evidence.share(decode_pictures) if one.held is not None]


def _mask_vote(parts: list[tuple[float, list[tuple[float, float]]]]) -> Verdict:
    shares = np.array([pair for _, pairs in parts for pair in pairs]).reshape(-1, 2)
    asked = min(share for share, _ in parts)
    if len(shares) < _VOTERS or (median := float(np.median(shares[:, 0]))) >= asked:
        return len(shares), []
    what = f"in the median the masks hold {median:.0%} of the visible keypoints"
    if np.median(shares[:, 1]) > max(asked, median + 0.1):
        what += f", mirrored in x {np.median(shares[:, 1]):.0%}: they look mirrored"
        return len(shares), [(_ALL, Fault(what, "mirror picture, mask and labels together"))]
    return len(shares), [(_ALL, Fault(what, "write each hand's own mask, of the picture's size and place"))]


def _colour_vote(parts: list[Ballots[float]]) -> Verdict:
    values = np.array(_merge_ballots(parts).values)
    fix, faults = "write RGB; hands in blue gloves or under blue light are no fault", []
    for place, group in _groups(parts, values < _BLUER, _FEW_BLUE):
        what = f"in the masks blue exceeds red by {-np.median(values[group]):.0f} of 255 (median)"
        faults.append((place, Fault(f"{what}: red and blue look swapped (BGR)", fix)))
    return len(values), faults


@dataclass(frozen=True)
class EdgeBallots(Ballots[Float[np.ndarray, " turns"]]):
    """values: of `Edges`, turned, as logs. moved: the mean over the part's pictures."""

    moved: Float[np.ndarray, "dy dx"]


def _edges(evidence: Evidence) -> EdgeBallots | None:
    known = [(one.name, one.edges) for one in evidence.share(decode_pictures) if one.edges is not None]
    if not known:
        return None
    logs = [np.log(np.maximum(edges.turned, 1e-3)) for _, edges in known]
    return EdgeBallots([name for name, _ in known], logs, np.mean([edges.moved for _, edges in known], axis=0))


def _edge_vote(parts: list[EdgeBallots]) -> Verdict:
    whole = _merge_ballots(parts)
    if len(whole.values) < _VOTERS:
        return len(whole.values), []
    logs = np.array(whole.values)
    count, best = len(logs), np.nan_to_num(logs, nan=-np.inf).argmax(1)
    for turn in np.argsort(-np.nan_to_num(logs.mean(0), nan=-np.inf)).tolist():
        lead = logs[:, 0] - logs[:, turn]
        if turn and lead.mean() < _TURNED / 3 and lead.mean() + 3 * lead.std() / np.sqrt(count) < 0:
            return count, [(_ALL, _turned_fault(turn))]
    for turn in range(1, len(TURNS)):
        wrong = (best == turn) & (logs[:, 0] - logs[:, turn] < _TURNED)
        if groups := _groups(parts, wrong, _FEW_TURNED):
            return count, [(place, _turned_fault(turn)) for place, _ in groups]
    sizes = [len(part.values) for part in parts]
    if (fault := _moved_or_unrelated(logs, np.average([part.moved for part in parts], 0, sizes))) is not None:
        return count, [(_ALL, fault)]
    return count, _faults_of_parts(parts, lambda part: _moved_or_unrelated(np.array(part.values), part.moved))


def _faults_of_parts(parts: Sequence[B], fault_of: Callable[[B], Fault | None]) -> list[tuple[str, Fault]]:
    """Collect the faults of parts in which enough pictures vote."""
    voting = [part for part in parts if len(part.values) >= _VOTERS]
    return [(_span(part), fault) for part in voting if (fault := fault_of(part)) is not None]


def _turned_fault(turn: int) -> Fault:
    name = _TURN_NAMES[turn]
    if name == "mirrored":
        what = "the pictures' edges follow the mirrored masks: the pictures are mirrored, their labels are not"
        return Fault(what, "mirror picture, mask, keypoints, pose, camera and side together")
    what = f"the pictures' edges follow the masks once these are turned: the pictures are {name}, their labels are not"
    return Fault(what, "write pictures as their labels have them: first row on top, first column on the left")


def _moved_or_unrelated(logs: Float[np.ndarray, "n turns"], moved: Float[np.ndarray, "dy dx"]) -> Fault | None:
    dy, dx = (int(step) - pixels.SHIFT_PX for step in np.unravel_index(int(moved.argmax()), moved.shape))
    near = slice(pixels.SHIFT_PX - _NEAR_PX, pixels.SHIFT_PX + _NEAR_PX + 1)
    inner = max(abs(dx), abs(dy)) < pixels.SHIFT_PX
    if inner and moved.max() > _STRONGER * max(float(moved[near, near].max()), 1.0):
        what = f"the pictures are shifted by ({dx}, {dy}) px against masks and labels: labels of another crop?"
        return Fault(what, "cut picture, mask and labels alike")
    lead = logs[:, 0] - logs[:, 1]
    if lead.mean() + 2 * lead.std() / np.sqrt(len(lead)) < _UNRELATED:
        what = "the pictures' edges do not follow the masks"
        return Fault(what, "check that pictures and masks belong together, and are of one size")
    return None


def _mesh_vote(parts: list[Ballots[MaskOverlap]]) -> Verdict:
    covered = _merge_ballots(parts).values
    if len(covered) < _VOTERS:
        return len(covered), []
    if (fault := _uncovered(covered)) is not None:
        return len(covered), [(_ALL, fault)]
    return len(covered), _faults_of_parts(parts, lambda part: _uncovered(part.values))


def _uncovered(covered: list[MaskOverlap]) -> Fault | None:
    shares: Float[np.ndarray, " turns"] = np.median([one.turned for one in covered], axis=0)
    if shares[0] >= _COVERED:
        return None
    what = f"the projected mesh and the mask have {shares[0]:.0%} of the smaller one in common (median)"
    best = int(np.nan_to_num(shares, nan=-1.0).argmax())
    if shares[best] > _COVERED_WELL:
        what += f", {shares[best]:.0%} once turned: pictures and masks are {_TURN_NAMES[best]}, their labels are not"
        return Fault(what, "turn or mirror pictures, masks and labels together")
    offsets = np.array([one.offset_px for one in covered])
    x, y = np.median(offsets, axis=0)
    if np.median(np.abs(offsets - (x, y)).max(1)) < 0.5 * np.hypot(x, y):
        what += f": pictures and masks are shifted by about ({x:.0f}, {y:.0f}) px against the labels"
        return Fault(what, "cut picture, mask and labels alike")
    return Fault(f"{what}: the labels belong to other pictures", "write each picture with its own labels")


MESH_CHECK = SetCheck(
    f"the parameters' mesh, projected, and the mask have {_COVERED:.0%} of the smaller one in common in the median "
    f"(from {_VOTERS} pictures on, of the set and of each part); only where the model is here",
    _ballots(lambda one: one.covered),
    _mesh_vote,
)
SET_CHECKS: dict[str, SetCheck] = {
    "masks of the set": SetCheck(
        f"over the set, masks hold {_HELD:.0%} of the visible keypoints in the median (from {_VOTERS} pictures on; "
        f"{_HELD_OF_HIDDEN:.0%} where a format does not say which are hidden)",
        _held,
        _mask_vote,
    ),
    "picture against mask": SetCheck(
        f"pictures' edges lie along the masks', within {_NEAR_PX} px, and not along flipped or turned ones' (from "
        f"{_VOTERS} pictures on: of the set, of a part, or of {_FEW_TURNED:.0%} of the pictures)",
        _edges,
        _edge_vote,
    ),
    "colours": SetCheck(
        f"blue does not exceed red by {-_BLUER:.0f} of 255 within the masks in {_FEW_BLUE:.0%} of the pictures, or in "
        f"most of a part (from {_VOTERS} pictures on), as it does where red and blue are swapped",
        _ballots(lambda one: one.red_over_blue),
        _colour_vote,
    ),
}
