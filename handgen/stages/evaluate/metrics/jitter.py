"""Measure how smoothly keypoints move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handgen.stages.evaluate.distributions import Distribution, distribution
from handgen.stages.evaluate.matched import Hands, Matched
from handgen.stages.evaluate.metrics.registry import Facts, Metric, NotMeasuredError


@dataclass(frozen=True)
class Jitter:
    """Accelerations of keypoints over three consecutive frames in which the hand is matched, mm/s^2.

    annotated_, truth_: |a| of each. error_: |a of the annotation - a of the truth|. triples: how many such frames.
    """

    fps: float
    triples: int
    annotated_mm_s2: Distribution
    truth_mm_s2: Distribution
    error_mm_s2: Distribution


def jitter(hands: Hands, fps: float) -> Jitter | None:
    """Second differences times fps^2; None without three consecutive frames of a hand.

    Source: Kanazawa et al., "Learning 3D Human Dynamics from Video", CVPR 2019 ("acceleration error").
    """
    annotated: list[np.ndarray] = []
    truth: list[np.ndarray] = []
    for side in np.unique(hands.side):
        for subject in np.unique(hands.truth_subject):
            index = np.flatnonzero((hands.side == side) & (hands.truth_subject == subject))
            index = index[np.argsort(hands.frame[index], kind="stable")]
            frame = hands.frame[index]
            middle = np.flatnonzero((np.diff(frame[:-1]) == 1) & (np.diff(frame[1:]) == 1)) + 1
            for points, into in ((hands.annotated_m, annotated), (hands.truth_m, truth)):
                before, here, after = (points[index[middle + step]] for step in (-1, 0, 1))
                into.append((before - 2 * here + after) * fps**2 * 1e3)
    if not annotated:
        return None
    mine, true = np.concatenate(annotated), np.concatenate(truth)
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


def _facts(found: Jitter) -> Facts:
    text = (
        f"{found.annotated_mm_s2.mean:,.0f} mm/s^2 (truth {found.truth_mm_s2.mean:,.0f}, "
        f"difference {found.error_mm_s2.mean:,.0f})"
    )
    return [("jitter", text)]


JITTER = Metric(measure_jitter, _facts, has_own_key=True)
