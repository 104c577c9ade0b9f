"""Distances of keypoints from the truth's: by alignment, of fingertips, wrist from wrist, and against covariances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Float, Int

from handgen.hand.skeleton import FINGER_KEYPOINTS, FINGERS, KEYPOINT_NAMES, WRIST
from handgen.stages.evaluate.distributions import (
    Distribution,
    area_under,
    distribution,
    distributions,
    pck_counts,
    spread,
)
from handgen.stages.evaluate.matched import Hands, Matched
from handgen.stages.evaluate.metrics.registry import Facts, Metric
from handgen.storage.json_fields import Count, Json, Share

FINGERTIPS_OF_HAND = tuple(FINGER_KEYPOINTS[finger][-1] for finger in FINGERS)
ALIGNMENT_NAMES = {
    "absolute": "MPJPE, absolute",
    "root_relative": "MPJPE, root-relative",
    "scale_aligned": "MPJPE, scale-aligned",
    "procrustes": "MPJPE, Procrustes",
}


@dataclass(frozen=True)
class KeypointErrors:
    """Distances of keypoints after one alignment."""

    overall_mm: Distribution
    per_keypoint_mm: dict[str, Distribution]
    per_finger_mm: dict[str, Distribution]
    """The four keypoints of each finger together; the wrist belongs to none."""
    pck: Annotated[Float[np.ndarray, " 100"], Json({"minimum": 0, "maximum": 1})]
    """Share of keypoints within each of pck_thresholds_mm."""
    auc: Share
    """Area under pck over 0 to 50 mm, trapezoid rule, divided by 50 mm."""


def keypoint_errors(error_mm: Float[np.ndarray, "n 21"]) -> KeypointErrors | None:
    """Summarise one alignment's distances; None without hands. The wrist belongs to no finger."""
    overall = distribution(error_mm)
    if overall is None:
        return None
    counts = pck_counts(error_mm)
    return KeypointErrors(
        overall_mm=overall,
        per_keypoint_mm=distributions({name: error_mm[:, k] for k, name in enumerate(KEYPOINT_NAMES)}),
        per_finger_mm=distributions({finger: error_mm[:, list(index)] for finger, index in FINGER_KEYPOINTS.items()}),
        pck=counts / error_mm.size,
        auc=area_under(counts / error_mm.size),
    )


def measure_keypoints(matched: Matched) -> dict[str, KeypointErrors] | None:
    """Summaries by alignment (`handgen.stages.evaluate.alignment`)."""
    found = {name: summary for name, error in matched.errors_mm.items() if (summary := keypoint_errors(error))}
    return found or None


def _keypoint_facts(found: dict[str, KeypointErrors]) -> Facts:
    facts = [(ALIGNMENT_NAMES[name], spread(errors.overall_mm, "mm")) for name, errors in found.items()]
    areas = ", ".join(f"{errors.auc:.3f} {name.replace('_', ' ')}" for name, errors in found.items())
    return [*facts, ("PCK, AUC to 50 mm", areas)]


KEYPOINTS = Metric(measure_keypoints, _keypoint_facts)


@dataclass(frozen=True)
class Fingertips:
    """Mean distance of the five tips, absolute, on evenly chosen frames."""

    frames: Count
    """How many frames were chosen."""
    hands: Count
    mean_mm: float
    per_finger_mm: dict[str, float]


def fingertips(frame: Int[np.ndarray, " n"], absolute_mm: Float[np.ndarray, "n 21"], frames: int) -> Fingertips | None:
    """The five tips on at most `frames` evenly chosen ones of the matched frames.

    After HO-3D's check of its own annotations (HOnnotate, CVPR 2020), where the tips were marked by hand.
    """
    present = np.unique(frame)
    if not len(present):
        return None
    chosen = present[np.unique(np.linspace(0, len(present) - 1, min(frames, len(present))).round().astype(int))]
    error = absolute_mm[np.isin(frame, chosen)][:, list(FINGERTIPS_OF_HAND)]
    means = error.mean(0, dtype=float).tolist()
    return Fingertips(len(chosen), len(error), float(error.mean(dtype=float)), dict(zip(FINGERS, means, strict=True)))


FINGERTIPS = Metric[Fingertips](
    lambda matched: fingertips(matched.hands.frame, matched.errors_mm["absolute"], matched.config.fingertip_frames),
    lambda found: [("fingertips", f"{found.mean_mm:.2f} mm on {found.frames} frames")],
)


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


RELATIVE_ROOT = Metric[Distribution](
    lambda matched: relative_root(matched.hands),
    lambda found: [("wrist to wrist", spread(found, "mm"))],
)


@dataclass(frozen=True)
class Uncertainty:
    """Covariances of the annotations against their errors."""

    hands: Count
    within_one_sigma: Share
    """Share of errors along the world's axes; 0.68 if the covariances are right."""
    within_two_sigma: Share
    """Share within twice sigma; 0.95 if the covariances are right."""
    expected_mm: Annotated[float, Json({"minimum": 0})]
    """Mean length of an error by the covariances (root of their trace)."""


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


def _sigma_facts(found: Uncertainty) -> Facts:
    text = (
        f"{100 * found.within_one_sigma:.0f} % of errors within one sigma (68 would be right), "
        f"{100 * found.within_two_sigma:.0f} % within two; {found.expected_mm:.2f} mm expected"
    )
    return [("uncertainty", text)]


# None in a turned world, where the covariances' axes are no longer those of the errors.
UNCERTAINTY = Metric(lambda matched: None if matched.config.align_world else uncertainty(matched.hands), _sigma_facts)
