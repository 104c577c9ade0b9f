"""Judge how good a fit is, and why one is rejected. Reasons are short, countable words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from handgen.multiview.association import keypoint_extent
from handgen.reconstruct.settings import QualityLimits

TOO_FEW_VIEWS = "too few views"
VIEWS_DISAGREE = "views disagree"
REPROJECTION = "reprojection error"
UNCERTAIN = "uncertain"
IMPLAUSIBLE = "implausible pose"
WEAK = "few detections, and masks disagree"
NO_GOOD_VIEW = "no view with a good mask"
NOT_IN_PICTURE = "not in the picture"
NO_PICTURE = "picture is missing"
LEAVES_IMAGE = "leaves the image"
HIDDEN = "hidden by the other hand"
MASK = "mask disagrees"
VIEW_REPROJECTION = "reprojection error"

_MIN_KEYPOINTS_INSIDE = 16  # of 21; a hand cut off more than that teaches little
_MAX_LIMIT_EXCESS_RAD = 0.6  # beyond a joint's published range: no living hand, or a wrong fit
_WEAK_VIEWS, _MIN_WEAK_IOU = 3, 0.8  # detected in less than a third of the views: masks must fit as well as most do
_MIN_VISIBLE_SHARE = 0.6


@dataclass(frozen=True)
class ViewError:
    """Distance of a fit's projected keypoints from one view's detection. share: of the hand's extent there."""

    median_px: float
    share: float


def view_error(
    fitted_px: Float[np.ndarray, "21 2"], detected_px: Float[np.ndarray, "21 2"], observed: Bool[np.ndarray, " 21"]
) -> ViewError:
    """Median distance over the observed keypoints."""
    median = float(np.median(np.linalg.norm(fitted_px - detected_px, axis=1)[observed]))
    return ViewError(median, median / max(keypoint_extent(detected_px[observed]), 1.0))


def limit_excess_rad(
    rotations: Float[np.ndarray, "15 3"], axes: Float[np.ndarray, "15 3 3"], limits: Float[np.ndarray, "15 3 2"]
) -> float:
    """By how much the worst joint exceeds its range of motion."""
    angles = np.einsum("jka,ja->jk", axes, rotations)
    beyond = np.maximum(angles - limits[..., 1], limits[..., 0] - angles)
    return float(max(beyond.max(), 0.0))


def record_reasons(
    errors: list[ViewError] | None,
    conflicting_views: int,
    excess_rad: float,
    expected_error_mm: float,
    limits: QualityLimits,
) -> tuple[str, ...]:
    """Why a record is rejected before its masks are looked at.

    errors: of the views that the fit used; None of a frame that no view had to see. conflicting_views: views
    that saw the hand elsewhere or otherwise. expected_error_mm: of a keypoint, by the fit's covariance.
    """
    checks = (
        (TOO_FEW_VIEWS, errors is not None and len(errors) < limits.min_views),
        (VIEWS_DISAGREE, errors is not None and len(errors) <= 2 * conflicting_views),
        (UNCERTAIN, expected_error_mm > limits.max_uncertainty_mm),
        (REPROJECTION, errors and np.median([error.share for error in errors]) > limits.max_error_share),
        (IMPLAUSIBLE, excess_rad > _MAX_LIMIT_EXCESS_RAD),
    )
    return tuple(reason for reason, holds in checks if holds)


def weak_reasons(views_detected: int, views_showing: int, mask_iou: float) -> tuple[str, ...]:
    """Why a record that hardly any of the views showing the hand detected is rejected: its masks must confirm it."""
    weak = views_detected * _WEAK_VIEWS < views_showing
    return (WEAK,) if weak and mask_iou < _MIN_WEAK_IOU else ()


def view_reasons(
    inside: Bool[np.ndarray, " 21"],
    error: ViewError | None,
    mask_iou: float,
    visible_share: float,
    limits: QualityLimits,
) -> tuple[str, ...]:
    """Why a view of an otherwise good record is not used."""
    checks = (
        (LEAVES_IMAGE, inside.sum() < _MIN_KEYPOINTS_INSIDE),
        (HIDDEN, visible_share < _MIN_VISIBLE_SHARE),
        (VIEW_REPROJECTION, error is not None and error.share > limits.max_error_share),
        (MASK, mask_iou < limits.min_mask_iou),
    )
    return tuple(reason for reason, holds in checks if holds)
