"""What decides how hands are fitted and which are accepted.

Imports nothing heavy: the options of stages take their defaults from here.
"""

from __future__ import annotations

from dataclasses import dataclass

ACCELERATION_MM_S2 = 5_000.0  # of a keypoint, usual (one sigma)


@dataclass(frozen=True)
class QualityLimits:
    """Limits that an accepted record, and each of its accepted views, keeps.

    min_views: a record of a hand that fewer views detected is rejected; two are needed to triangulate at all.
    max_error_share: largest median distance between fit and detection, as a share of the hand's extent in the image;
    beyond it a view, or a record by the median of its views, is rejected.
    min_mask_iou: smallest overlap of segmented mask and projected mesh of an accepted view.
    max_uncertainty_mm: largest error of a keypoint that an accepted fit expects of itself (`expected_error_mm`).
    """

    min_views: int = 2
    max_error_share: float = 0.08
    min_mask_iou: float = 0.70
    max_uncertainty_mm: float = 15.0

    def __post_init__(self) -> None:
        if self.min_views < 1:
            raise ValueError("min_views must be at least 1")
        if not self.max_uncertainty_mm > 0:
            raise ValueError(f"max_uncertainty_mm must be above 0, got {self.max_uncertainty_mm:g}")
        if not 0 < self.max_error_share <= 1 or not 0 <= self.min_mask_iou <= 1:
            raise ValueError("max_error_share and min_mask_iou must be shares between 0 and 1")
