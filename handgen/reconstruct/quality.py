"""Judge how good a fit is, and why one is rejected. Reasons are short, countable words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from handgen.multiview.association import MIRRORED_BELOW, keypoint_extent
from handgen.reconstruct.settings import QualityLimits
from handgen.segmentation.evidence import MaskEvidence

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
NO_EVIDENCE = "nothing in the picture speaks for it"
BACKGROUND = "mask is background"
NO_CONTRAST = "picture without contrast"
CONTRADICTED = "detected otherwise"
LATE = "camera is late"
OTHER_SIDE = "looks like the other hand"
VIEW_REPROJECTION = "reprojection error"

_MIN_KEYPOINTS_INSIDE = 16  # of 21; a hand cut off more than that teaches little
_MAX_LIMIT_EXCESS_RAD = 0.6  # beyond a joint's published range: no living hand, or a wrong fit
_WEAK_VIEWS, _MIN_WEAK_IOU = 3, 0.8  # detected in less than a third of the views: masks must fit as well as most do
_MIN_VISIBLE_SHARE = 0.6
# Of a view without a detection of its own, measured on room_four_views and one simulated capture, checked on
# desk_two_views. Hands that are there: overlap up to 0.45 (3 of 4) and 0.63 (95 %), edges from 2.1 and 1.0 up; meshes
# 6 cm and more beside the hand: overlap from 0.59 (95 %), edges up to 1.7 (95 %).
_MAX_COLOUR_OVERLAP, _MIN_EDGE_SUPPORT = 0.55, 1.7
_SAME_COLOURS = 0.95  # overlap of colours of a view whose picture shows nothing, whatever was detected in it
_MAX_BACKGROUND_SHARE = 0.5  # 0.28 at most of hands that are there
_MAX_LATE_SHARE = 0.04  # of the hand's extent: half of what a reprojection error may be


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
    side_support: float = 1.0,
) -> tuple[str, ...]:
    """Why a record is rejected before its masks are looked at.

    errors: of the views that the fit used; None of a frame that no view had to see. conflicting_views: views
    that saw the hand elsewhere or otherwise. expected_error_mm: of a keypoint, by the fit's covariance. side_support:
    probability, median of the views, that it is a hand of that side.
    """
    checks = (
        (TOO_FEW_VIEWS, errors is not None and len(errors) < limits.min_views),
        (VIEWS_DISAGREE, errors is not None and len(errors) <= 2 * conflicting_views),
        (UNCERTAIN, expected_error_mm > limits.max_uncertainty_mm),
        (REPROJECTION, errors and np.median([error.share for error in errors]) > limits.max_error_share),
        (OTHER_SIDE, side_support < MIRRORED_BELOW),
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
    evidence: MaskEvidence | None = None,
    contradicted: bool = False,
    late_share: float = 0.0,
) -> tuple[str, ...]:
    """Why a view of an otherwise good record is not used.

    error: of its own detection of the hand, None without one: then the picture itself must bear the mask out.
    evidence: None where labels are given, not judged. contradicted: it has a detection there that is not this hand.
    late_share: how far the hand has moved since its picture, in the hand's extent.
    """
    plain = evidence is None or evidence.colour_overlap < _SAME_COLOURS
    supported = (
        evidence is None
        or error is not None
        or (evidence.colour_overlap < _MAX_COLOUR_OVERLAP and evidence.edge_support > _MIN_EDGE_SUPPORT)
    )
    checks = (
        (LEAVES_IMAGE, inside.sum() < _MIN_KEYPOINTS_INSIDE),
        (HIDDEN, visible_share < _MIN_VISIBLE_SHARE),
        (VIEW_REPROJECTION, error is not None and error.share > limits.max_error_share),
        (MASK, mask_iou < limits.min_mask_iou),
        (CONTRADICTED, contradicted),
        (NO_CONTRAST, not plain),
        (NO_EVIDENCE, plain and not supported),
        (BACKGROUND, evidence is not None and plain and evidence.background_share > _MAX_BACKGROUND_SHARE),
        (LATE, late_share > _MAX_LATE_SHARE),
    )
    return tuple(reason for reason, holds in checks if holds)
