"""The order of keypoints, by the pattern of bone lengths and of distances between knuckles.

These lengths do not change with the pose. Of a wrong order the pattern is far from a hand's, and near to one once the
keypoints are put back. An order is written as in `KEYPOINT_ORDERS`: entry i is our keypoint that stands at place i.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Bool, Float

from handgen.fit.initialization import rigid_lengths
from handgen.fit.kinematics import KeypointKinematics
from handgen.hand.model import HandModel
from handgen.hand.model_files import OPEN_HAND
from handgen.hand.skeleton import FINGER_KEYPOINTS, FINGERS, KEYPOINT_COUNT, KEYPOINT_NAMES, KEYPOINT_ORDERS, WRIST
from handgen.label_checks.evidence import Check, Evidence, Fault, Outcome, SetCheck
from handgen.label_checks.hands import HUGE

_DESCRIBED = {
    "mano": "16 joints in MANO's order, then the tips",
    "interhand": "each finger from the tip to the palm, wrist last",
    "rhd": "wrist first, each finger from the tip to the palm",
}
_NOISE = 0.08  # of the logarithm of a length, besides what shapes differ: other models' joints, annotators
_SHAPES = 1000
# Squared distance at which a pattern is doubted, and how many times nearer another order must bring it. Of 2,000 hands
# of a model the furthest has 17; with 4 mm of noise on every coordinate most have over 100, hence the second pair.
_EXACT, _NOISY = (30.0, 4.0), (100.0, 6.0)
_NO_HAND = 1500.0  # squared distance beyond which it is no hand's in any order
_VOTED = 200  # hands of a part that vote
_CLIP = 100.0  # what one hand may say for or against an order
_MARGIN = 10.0  # mean by which another order must be nearer; right ones have -25 and less, up to 6 mm of noise

# Squared distance of mean lengths in pictures from a hand's pattern: 0.01 to 0.9 of hands held in many directions, in
# the right order, 1.5 and more with two fingers swapped, 4 and more in other projects' orders; 2 to 9 of hands that all
# point the same way, of which nothing can be said.
_NEAR_IN_2D, _APART_IN_2D, _FEWEST_IN_2D = 1.0, 0.6, 30


REORDER = (
    "write wrist, thumb, index, middle, ring, pinky, each from the palm to the tip "
    "(handgen.hand.conversions.reorder_keypoints)"
)


@cache
def orders() -> dict[str, tuple[int, ...]]:
    """The orders that are tried, by what a message says of them."""
    own = tuple(range(KEYPOINT_COUNT))
    others = {name: order for name, order in KEYPOINT_ORDERS.items() if order != own}
    tried = {f"{name}: {_DESCRIBED.get(name, 'its own order')}": order for name, order in others.items()}
    tried["the wrist last, fingers from palm to tip"] = (*own[1:], WRIST)
    tried["fingers from pinky to thumb"] = (WRIST, *(k for f in reversed(FINGERS) for k in FINGER_KEYPOINTS[f]))
    for a, b in combinations(FINGERS, 2):
        tried[f"{a} and {b} swapped"] = _swapped(dict(zip(FINGER_KEYPOINTS[a], FINGER_KEYPOINTS[b], strict=True)))
    for finger, places in FINGER_KEYPOINTS.items():
        tried[f"the {finger} from tip to palm"] = _swapped({places[0]: places[3], places[1]: places[2]})
        for one, two in combinations(places, 2):
            tried[f"{KEYPOINT_NAMES[one]} and {KEYPOINT_NAMES[two]} swapped"] = _swapped({one: two})
    return tried


def _swapped(pairs: dict[int, int]) -> tuple[int, ...]:
    both = pairs | {b: a for a, b in pairs.items()}
    return tuple(both.get(place, place) for place in range(KEYPOINT_COUNT))


def named_order(order: np.ndarray) -> str:
    """Name an order in words."""
    if name := next((name for name, known in orders().items() if known == tuple(order.tolist())), None):
        return name
    moved = [k for k in range(KEYPOINT_COUNT) if order[k] != k]
    shown = ", ".join(f"{KEYPOINT_NAMES[order[k]]} stands at {KEYPOINT_NAMES[k]}'s place" for k in moved[:3])
    return shown + (f" and {len(moved) - 3} more" if len(moved) > 3 else "")


def permutation(
    points: Float[np.ndarray, "21 n"], reference: Float[np.ndarray, "21 n"], near: float
) -> np.ndarray | None:
    """Find the order that puts `points` within `near` of `reference`; None if there is none, or it is our own."""
    distance = np.linalg.norm(points[:, None] - reference[None], axis=-1)
    nearest = distance.argmin(1)
    own = np.arange(KEYPOINT_COUNT)
    if (nearest == own).all() or distance[own, nearest].max() > near or len(set(nearest.tolist())) < KEYPOINT_COUNT:
        return None
    return nearest


@cache
def _pattern() -> tuple[np.ndarray, np.ndarray]:
    """Mean of the logarithms of lengths, scale taken out, and the inverse root of their covariance."""
    kinematics = KeypointKinematics(HandModel.load(OPEN_HAND, "right"))
    betas = torch.from_numpy(np.random.default_rng(0).normal(size=(_SHAPES, 10)))
    logs = _logs(kinematics.rest(betas).numpy())
    covariance = np.cov(logs.T) + _NOISE**2 * np.eye(logs.shape[1])
    values, vectors = np.linalg.eigh(covariance)
    return logs.mean(0), vectors / np.sqrt(values)


def _logs(points: Float[np.ndarray, "*batch 21 3"]) -> Float[np.ndarray, "*batch lengths"]:
    logs = np.log(np.maximum(rigid_lengths(torch.from_numpy(points)).numpy(), 1e-9))
    return logs - np.median(logs, -1, keepdims=True)


def pattern_distance(points: Float[np.ndarray, "*batch 21 3"]) -> Float[np.ndarray, "*batch"]:
    """Measure how far the pattern of lengths is from a hand's: squared standard deviations, summed over lengths."""
    mean, whiten = _pattern()
    return (((_logs(points) - mean) @ whiten) ** 2).sum(-1)


def in_our_order(points: Float[np.ndarray, "n 21 3"], order: tuple[int, ...]) -> Float[np.ndarray, "n 21 3"]:
    """Put points that stand in `order` back into ours."""
    return points[:, np.argsort(order)]


def _order(evidence: Evidence, look: Bool[np.ndarray, " n"]) -> Outcome:
    hands = evidence.hands
    numbers = np.flatnonzero(look & hands.has_points)
    outcome = Outcome(len(numbers))
    own = pattern_distance(hands.cam_m[numbers])
    far, nearer = _NOISY if evidence.tolerances.parameters_mm is None else _EXACT
    numbers, own = numbers[own > far], own[own > far]
    if not len(numbers):
        return outcome
    tried = orders()
    distances = np.stack([pattern_distance(in_our_order(hands.cam_m[numbers], order)) for order in tried.values()], 1)
    for i, at_home, choice, there in zip(numbers, own, distances.argmin(1), distances.min(1), strict=True):
        if there * nearer < at_home:
            what = f"the bone lengths are no hand's in this order; it looks like {list(tried)[choice]}"
            outcome.wrong[int(i)] = Fault(what, REORDER)
        elif at_home > _NO_HAND:
            what = "the bone lengths are no hand's, in no order that is known"
            outcome.wrong[int(i)] = Fault(what, "look at this hand's 3D keypoints")
    return outcome


def _votes(evidence: Evidence) -> tuple[int, np.ndarray] | None:
    """Collect how many hands vote, and by how much each order is nearer than the labelled one, summed."""
    numbers = np.flatnonzero(evidence.hands.has_points)[:_VOTED]
    if not len(numbers):
        return None
    points = evidence.hands.cam_m[numbers]
    own = pattern_distance(points)
    gains = [own - pattern_distance(in_our_order(points, order)) for order in orders().values()]
    return len(numbers), np.clip(np.stack(gains), -_CLIP, _CLIP).sum(1)


def _majority(parts: list[tuple[int, np.ndarray]]) -> tuple[int, list[tuple[str, Fault]]]:
    count = sum(number for number, _ in parts)
    gains = sum((gain for _, gain in parts), np.zeros(len(orders()))) / max(count, 1)
    if gains.max() < _MARGIN:
        return count, []
    what = f"over {count} hands the bone lengths look like {list(orders())[int(gains.argmax())]}"
    return count, [("all hands", Fault(what, REORDER))]


def _flat_lengths(evidence: Evidence) -> tuple[int, list[np.ndarray]] | None:
    """Collect lengths of hands known in the picture alone: their number, and the sums of relative lengths by order."""
    hands = evidence.hands
    flat = hands.labelled.all(1) & (np.abs(hands.px) < HUGE).all((1, 2)) & ~np.isfinite(hands.cam_m).all((1, 2))
    sums = []
    for order in (tuple(range(KEYPOINT_COUNT)), *_whole_orders().values()) if flat.any() else ():
        lengths = rigid_lengths(torch.from_numpy(in_our_order(hands.px[flat], order))).numpy()
        sums.append((lengths / np.maximum(lengths.sum(1, keepdims=True), 1e-9)).sum(0))
    return (int(flat.sum()), sums) if sums else None


def _whole_orders() -> dict[str, tuple[int, ...]]:
    """The orders that concern more than one finger: swaps within one are hard to tell in a picture."""
    return {name: o for name, o in orders().items() if "_" not in name and not name.endswith("from tip to palm")}


def _majority_in_2d(parts: list[tuple[int, list[np.ndarray]]]) -> tuple[int, list[tuple[str, Fault]]]:
    count = sum(number for number, _ in parts)
    if count < _FEWEST_IN_2D:
        return count, []
    mean, _ = _pattern()
    logs = [np.log(np.sum([sums[k] for _, sums in parts], 0)) for k in range(len(_whole_orders()) + 1)]
    own, *others = [float(((log - np.median(log) - mean) ** 2).sum()) for log in logs]
    best = int(np.argmin(others))
    if others[best] > _NEAR_IN_2D or own < 2 * others[best] + _APART_IN_2D:
        return count, []
    what = f"over {count} hands the lengths in the pictures look like {list(_whole_orders())[best]}"
    return count, [("all hands", Fault(what, REORDER))]


CHECKS = {
    "joint order": Check(
        "lengths of bones and distances between knuckles have a hand's pattern; known orders, swapped fingers and "
        "swapped joints are named",
        _order,
        ("not finite",),
    )
}
SET_CHECKS = {
    "joint order of the set": SetCheck(
        f"the same over the whole set, which noise of single keypoints does not hide ({_VOTED} hands of each part)",
        _votes,
        _majority,
    ),
    "joint order in 2D": SetCheck(
        f"the same of keypoints known in pictures alone, by their mean lengths (from {_FEWEST_IN_2D} hands on)",
        _flat_lengths,
        _majority_in_2d,
    ),
}
