"""Measure whether annotations know how good they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handgen.stages.evaluate.matched import Hands
from handgen.stages.evaluate.metrics.registry import Facts, Metric


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


def _facts(found: Uncertainty) -> Facts:
    text = (
        f"{100 * found.within_one_sigma:.0f} % of errors within one sigma (68 would be right), "
        f"{100 * found.within_two_sigma:.0f} % within two; {found.expected_mm:.2f} mm expected"
    )
    return [("uncertainty", text)]


# None in a turned world, where the covariances' axes are no longer those of the errors.
UNCERTAINTY = Metric(
    lambda matched: None if matched.config.align_world else uncertainty(matched.hands), _facts, has_own_key=True
)
