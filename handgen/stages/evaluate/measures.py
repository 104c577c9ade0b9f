"""Arrays of errors -> the figures that are reported. Sources of the definitions: docs/evaluation.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from handgen.hand.skeleton import FINGER_KEYPOINTS, FINGERS, KEYPOINT_NAMES, KEYPOINT_PARENTS, WRIST
from handgen.stages.evaluate.alignment import errors_mm

# FreiHAND's curve (`eval.py`, `EvalUtil.get_measures`): 100 thresholds from 0 to 50 mm, area by the trapezoid rule.
PCK_THRESHOLDS_MM: Float[np.ndarray, " 100"] = np.linspace(0.0, 50.0, 100)
FINGERTIPS = tuple(FINGER_KEYPOINTS[finger][-1] for finger in FINGERS)
# Bones between joints; tips are skin and shift with the model's pose correctives.
BONES = tuple((p, k) for k, p in enumerate(KEYPOINT_PARENTS) if p >= 0 and k not in FINGERTIPS)


@dataclass(frozen=True)
class Distribution:
    """Distribution of a set of errors, in the unit that the name of its holder says."""

    count: int
    mean: float
    median: float
    p90: float
    p95: float
    p99: float
    maximum: float


def distribution(values: np.ndarray) -> Distribution | None:
    """Summarise all finite values; None if there are none."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    median, p90, p95, p99 = np.percentile(finite, (50, 90, 95, 99)).tolist()
    return Distribution(finite.size, float(finite.mean(dtype=float)), median, p90, p95, p99, float(finite.max()))


@dataclass(frozen=True)
class KeypointErrors:
    """Distances after one alignment, mm. pck: share of keypoints within each of `PCK_THRESHOLDS_MM`."""

    overall_mm: Distribution
    per_keypoint_mm: dict[str, Distribution]
    per_finger_mm: dict[str, Distribution]
    pck: Float[np.ndarray, " 100"]
    auc: float


def keypoint_errors(error_mm: Float[np.ndarray, "n 21"]) -> KeypointErrors | None:
    """Summarise one alignment's distances; None without hands. The wrist belongs to no finger."""
    overall = distribution(error_mm)
    if overall is None:
        return None
    counts = pck_counts(error_mm)
    return KeypointErrors(
        overall_mm=overall,
        per_keypoint_mm=_each({name: error_mm[:, k] for k, name in enumerate(KEYPOINT_NAMES)}),
        per_finger_mm=_each({finger: error_mm[:, list(index)] for finger, index in FINGER_KEYPOINTS.items()}),
        pck=counts / error_mm.size,
        auc=area_under(counts / error_mm.size),
    )


def _each(parts: dict[str, np.ndarray]) -> dict[str, Distribution]:
    return {name: found for name, values in parts.items() if (found := distribution(values)) is not None}


def pck_counts(error_mm: np.ndarray) -> Int[np.ndarray, " 100"]:
    """Count the errors within each of `PCK_THRESHOLDS_MM` (the threshold itself included)."""
    return np.searchsorted(np.sort(error_mm, axis=None), PCK_THRESHOLDS_MM, side="right")


def area_under(share: Float[np.ndarray, " 100"]) -> float:
    """Area under a curve over `PCK_THRESHOLDS_MM`, 0 to 1."""
    return float(np.trapezoid(share, PCK_THRESHOLDS_MM) / (PCK_THRESHOLDS_MM[-1] - PCK_THRESHOLDS_MM[0]))


@dataclass(frozen=True)
class Fingertips:
    """Mean distance of the five tips on some frames. frames: how many. per_finger_mm: thumb to pinky."""

    frames: int
    hands: int
    mean_mm: float
    per_finger_mm: dict[str, float]


def fingertips(frame: Int[np.ndarray, " n"], absolute_mm: Float[np.ndarray, "n 21"], frames: int) -> Fingertips | None:
    """The five tips on at most `frames` evenly chosen ones of the matched frames.

    After HO-3D's check of its own annotations (HOnnotate, CVPR 2020): there the tips were marked by hand on chosen
    frames; here the truth is known, and the frames are spread evenly.
    """
    present = np.unique(frame)
    if not len(present):
        return None
    chosen = present[np.unique(np.linspace(0, len(present) - 1, min(frames, len(present))).round().astype(int))]
    error = absolute_mm[np.isin(frame, chosen)][:, list(FINGERTIPS)]
    means = error.mean(0, dtype=float).tolist()
    return Fingertips(len(chosen), len(error), float(error.mean(dtype=float)), dict(zip(FINGERS, means, strict=True)))


@dataclass(frozen=True)
class Hands:
    """`n` matched hands, in the truth's world, metres; side and subjects as strings."""

    frame: Int[np.ndarray, " n"]
    side: np.ndarray
    subject: np.ndarray
    truth_subject: np.ndarray
    annotated_m: Float[np.ndarray, "n 21 3"]
    truth_m: Float[np.ndarray, "n 21 3"]
    sigma_m: Float[np.ndarray, "n 21 3"] | None = None  # along the world's axes; NaN where the annotation says nothing

    def __len__(self) -> int:
        return len(self.frame)

    def errors_mm(self, alignment: str) -> Float[np.ndarray, "n 21"]:
        """Distances after an alignment of `handgen.stages.evaluate.alignment`, mm."""
        return errors_mm(alignment, self.annotated_m, self.truth_m).astype(np.float32)


def relative_root(hands: Hands) -> Distribution | None:
    """Measure how far the offset between a person's two wrists is from the true one, mm, where both hands match.

    Source: InterHand2.6M (Moon et al., ECCV 2020), MRRPE.
    """
    errors = []
    for subject in np.unique(hands.truth_subject):
        left, right = ((hands.truth_subject == subject) & (hands.side == side) for side in ("left", "right"))
        _, i, j = np.intersect1d(hands.frame[left], hands.frame[right], return_indices=True)
        offset = [points[left, WRIST][i] - points[right, WRIST][j] for points in (hands.annotated_m, hands.truth_m)]
        errors.append(np.linalg.norm(offset[0] - offset[1], axis=1) * 1e3)
    return distribution(np.concatenate(errors)) if errors else None


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


@dataclass(frozen=True)
class Uncertainty:
    """Calibration of annotations' covariances against their errors.

    within_one_sigma, within_two_sigma: share of errors along the world's axes (68 and 95 % if they know). expected_mm:
    mean length of an error by the covariance (root of its trace).
    """

    hands: int
    within_one_sigma: float
    within_two_sigma: float
    expected_mm: float


def uncertainty(hands: Hands) -> Uncertainty | None:
    """Compare covariances with errors, of the hands whose annotation has one; None without any."""
    if hands.sigma_m is None:
        return None
    known = np.isfinite(hands.sigma_m).all((1, 2))
    if not known.any():
        return None
    sigma = hands.sigma_m[known]
    off = np.abs(hands.annotated_m - hands.truth_m)[known]
    expected_mm = float(np.linalg.norm(sigma, axis=-1).mean() * 1e3)
    shares = [float((off < factor * sigma).mean()) for factor in (1, 2)]
    return Uncertainty(int(known.sum()), shares[0], shares[1], expected_mm)


@dataclass(frozen=True)
class HandShape:
    """One hand of one annotated person over all frames, mm.

    bone_spread_mm: largest difference between frames of any bone's length (0: one hand throughout). bone_error_mm:
    mean over bones of the difference between the mean annotated and the mean true length; bone_bias_mm: the same
    with its sign (above 0: too long). betas_difference: annotated minus true betas, where both models share them.
    """

    subject: str
    side: str
    truth_subjects: tuple[str, ...]
    hands: int
    bone_spread_mm: float
    bone_error_mm: float
    bone_bias_mm: float
    betas_difference: tuple[float, ...] | None = None


def bone_lengths_mm(keypoints_m: Float[np.ndarray, "n 21 3"]) -> Float[np.ndarray, "n 15"]:
    """Lengths of the bones between joints."""
    first, second = zip(*BONES, strict=True)
    return np.linalg.norm(keypoints_m[:, list(first)] - keypoints_m[:, list(second)], axis=2) * 1e3


def hand_shapes(
    hands: Hands, betas: dict[str, np.ndarray] | None = None, truth_betas: dict[str, np.ndarray] | None = None
) -> tuple[HandShape, ...]:
    """Per annotated person and side. betas: per subject, of both if they mean the same shapes, else None."""
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
            found.append(
                HandShape(
                    subject=subject,
                    side=side,
                    truth_subjects=true_subjects,
                    hands=int(mine.sum()),
                    bone_spread_mm=float(np.ptp(lengths, axis=0).max()),
                    bone_error_mm=float(np.abs(bias).mean()),
                    bone_bias_mm=float(bias.mean()),
                    betas_difference=difference,
                )
            )
    return tuple(found)


def join_errors(parts: Sequence[Hands]) -> Hands:
    """Hands of several spans as one; at least one span."""
    sigmas = [part.sigma_m for part in parts]
    return Hands(
        frame=np.concatenate([part.frame for part in parts]),
        side=np.concatenate([part.side for part in parts]),
        subject=np.concatenate([part.subject for part in parts]),
        truth_subject=np.concatenate([part.truth_subject for part in parts]),
        annotated_m=np.concatenate([part.annotated_m for part in parts]),
        truth_m=np.concatenate([part.truth_m for part in parts]),
        sigma_m=None if any(s is None for s in sigmas) else np.concatenate([s for s in sigmas if s is not None]),
    )
