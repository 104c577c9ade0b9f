"""Many errors -> a few numbers. Sources of the definitions: docs/evaluation.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from handgen.storage.json_fields import Count

# FreiHAND's curve (`eval.py`, `EvalUtil.get_measures`): 100 thresholds from 0 to 50 mm, area by the trapezoid rule.
PCK_THRESHOLDS_MM: Float[np.ndarray, " 100"] = np.linspace(0.0, 50.0, 100)


@dataclass(frozen=True)
class Distribution:
    """A set of values, in the unit that the name of the field ends in (none: a share from 0 to 1)."""

    count: Count
    """Number of finite values."""
    mean: float
    median: float
    p90: float
    """90th percentile."""
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


def distributions(parts: dict[str, np.ndarray]) -> dict[str, Distribution]:
    """Summarise each part that has a finite value."""
    return {name: found for name, values in parts.items() if (found := distribution(values)) is not None}


def pck_counts(error_mm: np.ndarray) -> Int[np.ndarray, " 100"]:
    """Count the errors within each of `PCK_THRESHOLDS_MM` (the threshold itself included)."""
    return np.searchsorted(np.sort(error_mm, axis=None), PCK_THRESHOLDS_MM, side="right")


def area_under(share: Float[np.ndarray, " 100"]) -> float:
    """Area under a curve over `PCK_THRESHOLDS_MM`, 0 to 1."""
    return float(np.trapezoid(share, PCK_THRESHOLDS_MM) / (PCK_THRESHOLDS_MM[-1] - PCK_THRESHOLDS_MM[0]))


def spread(found: Distribution | None, unit: str) -> str:
    """`5.12 mm (median 4.80, 95 % below 9.70)`."""
    if found is None:
        return "-"
    return f"{found.mean:.2f} {unit} (median {found.median:.2f}, 95 % below {found.p95:.2f})"
