"""Measure what holds over frames: whether a person has one hand throughout, and theirs, and how smoothly it moves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from handgen.hand.skeleton import FINGER_KEYPOINTS, KEYPOINT_PARENTS
from handgen.stages.evaluate.distributions import Distribution, distribution
from handgen.stages.evaluate.matched import Hands, Matched
from handgen.stages.evaluate.metrics.registry import Facts, Metric, NotMeasuredError
from handgen.stages.evaluate.results import Side
from handgen.storage.json_fields import Count

# Bones between joints; tips are skin and shift with the model's pose correctives.
_TIPS = {keypoints[-1] for keypoints in FINGER_KEYPOINTS.values()}
BONES = tuple((p, k) for k, p in enumerate(KEYPOINT_PARENTS) if p >= 0 and k not in _TIPS)


@dataclass(frozen=True)
class HandShape:
    """One hand of one annotated person over all frames."""

    subject: str
    side: Side
    truth_subjects: tuple[str, ...]
    hands: Count
    bone_spread_mm: float
    """Largest difference between frames of any bone's length; 0: one hand throughout."""
    bone_error_mm: float
    """Mean over bones of the difference between the mean annotated and the mean true length."""
    bone_bias_mm: float
    """The mean over bones of that difference with its sign; above 0: too long."""
    betas_difference: tuple[float, ...] | None
    """Annotated minus true betas; null where the models do not share their betas."""


def bone_lengths_mm(keypoints_m: Float[np.ndarray, "n 21 3"]) -> Float[np.ndarray, "n 15"]:
    """Lengths of the bones between joints."""
    first, second = zip(*BONES, strict=True)
    return np.linalg.norm(keypoints_m[:, list(first)] - keypoints_m[:, list(second)], axis=2) * 1e3


def hand_shapes(matched: Matched) -> tuple[HandShape, ...]:
    """Per annotated person and side."""
    hands, betas, truth_betas = matched.hands, matched.betas, matched.truth_betas
    found = []
    for subject in np.unique(hands.subject).tolist():
        for side in np.unique(hands.side).tolist():
            mine = (hands.subject == subject) & (hands.side == side)
            if not mine.any():
                continue
            true_subjects = tuple(np.unique(hands.truth_subject[mine]).tolist())
            lengths, truth = bone_lengths_mm(hands.annotated_m[mine]), bone_lengths_mm(hands.truth_m[mine])
            bias = lengths.mean(0) - truth.mean(0)
            difference = None
            if betas is not None and truth_betas is not None and len(true_subjects) == 1:
                difference = tuple((betas[subject] - truth_betas[true_subjects[0]]).tolist())
            spread_mm, error_mm = float(np.ptp(lengths, axis=0).max()), float(np.abs(bias).mean())
            sizes = (int(mine.sum()), spread_mm, error_mm, float(bias.mean()))
            found.append(HandShape(subject, side, true_subjects, *sizes, difference))
    return tuple(found)


def largest_bone_spread_mm(shapes: tuple[HandShape, ...]) -> float | None:
    """Largest difference between frames of any bone's length."""
    return max((shape.bone_spread_mm for shape in shapes), default=None)


def mean_bone_error_mm(shapes: tuple[HandShape, ...]) -> float | None:
    """Mean difference of bone lengths from the truth's, over hands."""
    return float(np.mean([shape.bone_error_mm for shape in shapes])) if shapes else None


def _bone_facts(found: tuple[HandShape, ...]) -> Facts:
    if not found:
        return []
    spread_mm, error_mm = largest_bone_spread_mm(found), mean_bone_error_mm(found)
    return [("bone lengths", f"{error_mm:.2f} mm off, {spread_mm:.2f} mm spread over frames")]


SHAPES = Metric(hand_shapes, _bone_facts)


@dataclass(frozen=True)
class Jitter:
    """Lengths of keypoints' accelerations, by second differences."""

    fps: float
    triples: Count
    """Hands in three consecutive frames."""
    annotated_mm_s2: Distribution
    truth_mm_s2: Distribution
    error_mm_s2: Distribution
    """Length of the difference of the two accelerations."""


def jitter(hands: Hands, fps: float) -> Jitter | None:
    """Second differences times fps^2; None without three consecutive frames of a hand.

    Source: Kanazawa et al., "Learning 3D Human Dynamics from Video", CVPR 2019 ("acceleration error").
    """
    points = np.stack([hands.annotated_m, hands.truth_m])
    found = [np.zeros((2, 0, 21, 3))]  # accelerations of the annotation's and the truth's keypoints
    for side in np.unique(hands.side):
        for subject in np.unique(hands.truth_subject):
            index = np.flatnonzero((hands.side == side) & (hands.truth_subject == subject))
            index = index[np.argsort(hands.frame[index], kind="stable")]
            frame = hands.frame[index]
            middle = np.flatnonzero((np.diff(frame[:-1]) == 1) & (np.diff(frame[1:]) == 1)) + 1
            before, here, after = (points[:, index[middle + step]] for step in (-1, 0, 1))
            found.append((before - 2 * here + after) * fps**2 * 1e3)
    mine, true = np.concatenate(found, axis=1)
    sizes = [distribution(np.linalg.norm(a, axis=-1)) for a in (mine, true, mine - true)]
    if sizes[0] is None or sizes[1] is None or sizes[2] is None:
        return None
    return Jitter(fps, len(mine), sizes[0], sizes[1], sizes[2])


def measure_jitter(matched: Matched) -> Jitter:
    """Jitter of all matched hands; a note says why there is none."""
    if not matched.fps:
        raise NotMeasuredError("jitter is left out: neither manifest knows the frames per second; give --fps")
    found = jitter(matched.hands, matched.fps)
    if found is None:
        raise NotMeasuredError("jitter is left out: no hand is matched in three consecutive frames")
    return found


def _jitter_facts(found: Jitter) -> Facts:
    text = (
        f"{found.annotated_mm_s2.mean:,.0f} mm/s^2 (truth {found.truth_mm_s2.mean:,.0f}, "
        f"difference {found.error_mm_s2.mean:,.0f})"
    )
    return [("jitter", text)]


JITTER = Metric(measure_jitter, _jitter_facts)
