"""The side of keypoints, by how the fingers bend: those of the other hand would have to bend backwards.

A closed-form fit of both sides' model says what the joints do: those of the true side stay within their limits, those
of the other do not, save for a hand held quite flat.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float

from handgen.fit.initialization import start
from handgen.fit.kinematics import KeypointKinematics
from handgen.geometry.rotations import axis_angle_from_rotation
from handgen.hand.model_files import OPEN_HAND
from handgen.hand.skeleton import SIDES, other_side
from handgen.label_checks.evidence import Check, Evidence, Fault, Outcome, SetCheck, judge

# By how much further, in all, the joints may be beyond their limits than those of the other side would be. Of 10,000
# hands of the model, with up to 3 mm of noise and all fingers bent backwards at that, none has 2; hands with their
# fingers bent have -2 to -7, quite flat ones -1. So single hands are told apart where they are bent, sets in any case.
_BEYOND_RAD, _BEYOND_OF_SET_RAD = 2.0, 0.5
_VOTERS = 10  # hands, at least


def beyond_limits_rad(kinematics: KeypointKinematics, points: Float[np.ndarray, "n 21 3"]) -> Float[np.ndarray, " n"]:
    """Sum by how much flexions and abductions exceed their limits, of hands taken to be of that side."""
    arrays = kinematics.model.arrays
    fitted = start(kinematics, torch.from_numpy(points), torch.zeros(10, dtype=torch.float64))
    turns = axis_angle_from_rotation(fitted.rotations[:, 1:]).numpy()
    angles = np.einsum("njc,jkc->njk", turns, arrays.joint_axes)[..., :2]
    low, high = arrays.joint_limits_rad[:, :2, 0], arrays.joint_limits_rad[:, :2, 1]
    return (np.maximum(low - angles, 0) + np.maximum(angles - high, 0)).sum((1, 2))


def _excess_rad(evidence: Evidence) -> Float[np.ndarray, " n"]:
    """By how much further each hand is beyond its side's limits than beyond the other's; NaN where not known."""
    hands = evidence.hands
    excess = np.full(len(hands), np.nan)
    numbers = np.flatnonzero(hands.has_points)
    sides = evidence.models.sides(OPEN_HAND, None)
    if sides is not None and len(numbers):
        left, right = (beyond_limits_rad(sides[side], hands.cam_m[numbers]) for side in SIDES)
        excess[numbers] = np.where(hands.is_right[numbers], right - left, left - right)
    return excess


def _handedness(evidence: Evidence, look: Bool[np.ndarray, " n"]) -> Outcome:
    excess = evidence.share(_excess_rad)

    def fault_of(i: int) -> Fault:
        side = evidence.hands.labels(i).side
        return Fault(
            f"is labelled {side}, but its fingers would bend backwards, by {np.degrees(excess[i]):.0f} degrees in all",
            f"label it {other_side(side)}; if the picture was mirrored, mirror the 3D keypoints too",
        )

    return judge(look & np.isfinite(excess), excess > _BEYOND_RAD, fault_of)


def _votes(evidence: Evidence) -> tuple[list[float], list[float]] | None:
    """Collect the excess of left hands and of right ones."""
    excess = np.clip(evidence.share(_excess_rad), -5, 5)
    known, is_right = np.isfinite(excess), evidence.hands.is_right
    return (excess[known & ~is_right].tolist(), excess[known & is_right].tolist()) if known.any() else None


def _majority(parts: list[tuple[list[float], list[float]]]) -> tuple[int, list[tuple[str, Fault]]]:
    count, faults = 0, []
    for k, side in enumerate(SIDES):
        excess = np.array([value for part in parts for value in part[k]])
        count += len(excess)
        if len(excess) >= _VOTERS and np.median(excess) > _BEYOND_OF_SET_RAD:
            what = f"the fingers of most hands that are labelled {side} would bend backwards"
            fix = f"label them {other_side(side)}; where pictures were mirrored, mirror the 3D keypoints too"
            faults.append((f"all {side} hands", Fault(what, fix)))
    return count, faults


CHECKS = {
    "handedness": Check(
        f"fingers bend towards the palm of the stated side: its joints are not {_BEYOND_RAD:g} rad further beyond "
        "their limits than the other side's would be",
        _handedness,
        ("not finite", "joint order", "metres", "keypoint order", "side"),
    )
}
SET_CHECKS = {
    "handedness of the set": SetCheck(
        f"the same over the set: {_BEYOND_OF_SET_RAD:g} rad in the median of each side's hands (from {_VOTERS} on)",
        _votes,
        _majority,
    )
}
