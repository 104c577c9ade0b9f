"""Build and count records: the one place where a hand in a view, and one in a frame with its views, become records.

Annotating, importing and simulating each say what they know and why something is rejected; the rest is done here.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np

from handgen.io.cutouts import Cutout
from handgen.multiview.association import ViewObservation
from handgen.reconstruct.hand_view import HandCutOut
from handgen.reconstruct.quality import (
    NO_GOOD_VIEW,
    REPROJECTION,
    TOO_FEW_VIEWS,
    UNCERTAIN,
    WEAK,
    ViewError,
)
from handgen.reconstruct.settings import QualityLimits
from handgen.records.annotation import KEYPOINTS, HandRecord, ViewRecord
from handgen.segmentation.edge_blur import measured_blur_px
from handgen.segmentation.segment import Segmented
from handgen.wording import count_of, counts_of

_FEWEST_VIEWS = 4  # of a camera, all rejected, before that is said
_MOST_REFUSED = 1000  # records whose figures say why nothing was accepted
# By the reason that rejects a record: its figure with the unit, the limit that it missed, and the option of that.
_FIGURES: dict[str, tuple[Callable[[HandRecord], float | None], str, Callable[[QualityLimits], float], str]] = {
    UNCERTAIN: (
        lambda record: record.expected_error_mm,
        "mm of expected error",
        lambda limits: limits.max_uncertainty_mm,
        "--max-uncertainty",
    ),
    TOO_FEW_VIEWS: (
        lambda record: record.views_detected,
        "views",
        lambda limits: limits.min_views,
        "--min-views",
    ),
    REPROJECTION: (
        lambda record: record.reprojection_px,
        "px between fit and detections",
        lambda limits: limits.max_error_share,
        "of a hand, --max-error",
    ),
    NO_GOOD_VIEW: (
        lambda record: max((view.mask_iou or 0.0 for view in record.views), default=None),
        "overlap of mask and mesh in the best view",
        lambda limits: limits.min_mask_iou,
        "--min-iou",
    ),
}


def build_view(
    key: str,
    cutout: HandCutOut,
    segmented: Segmented,
    reasons: tuple[str, ...],
    error: ViewError | None = None,
    observed: ViewObservation | None = None,
) -> tuple[ViewRecord, Cutout]:
    """Build record and pixels of one view, rejected for `reasons`. error: of the fit against what was `observed`."""
    record = ViewRecord(
        camera=cutout.camera,
        cutout=key,
        box_px=cutout.cutter.box_px,
        detected_px=None
        if observed is None
        else np.column_stack([observed.detection.keypoints_px, observed.confidence]),
        reprojection_px=None if error is None else rounded(error.median_px),
        mask_iou=rounded(segmented.iou),
        accepted=not reasons,
        reasons=reasons,
        detected_again=observed is not None and observed.detection.redetected,
        edge_blur_px=measured_blur_px(cutout.crop, segmented.mask),
        screen=None if segmented.screen == "any" else segmented.screen,
    )
    arm = segmented.arm if cv2.countNonZero(segmented.arm) else None
    return record, Cutout(cutout.crop, segmented.mask, arm)


def add_views(record: HandRecord, views: Sequence[ViewRecord], no_view: str = NO_GOOD_VIEW) -> HandRecord:
    """Give a hand its views, one of which must be good for it to be accepted. no_view: the reason where none is."""
    iou = median_iou(views)
    reasons = record.reasons or (() if iou is not None else (no_view,))
    return replace(
        record,
        views=tuple(views),
        accepted=not reasons,
        reasons=reasons,
        mask_iou=None if iou is None else rounded(iou),
    )


def median_iou(views: Sequence[ViewRecord]) -> float | None:
    """Median overlap of mask and mesh over the accepted views; None without any."""
    known = [view.mask_iou for view in views if view.accepted and view.mask_iou is not None]
    return float(np.median(known)) if known else None


def rounded(value: float | np.floating) -> float:
    """A pixel or a share as records hold it."""
    return round(float(value), 4)


def log_decisions(log: logging.Logger, chunk: int, frames: range, records: Sequence[HandRecord]) -> None:
    """Log what became of the hands of one chunk; the figures of each as details."""
    counts = Counts()
    counts.add(list(records))
    log.info(
        "chunk %d, frames %d to %d: hands fitted: %s; accepted: %s; rejected: %s; views accepted: %d; of accepted "
        "hands rejected: %s",
        *(chunk, frames.start, frames.stop - 1, counts_of(counts.records), counts_of(counts.accepted)),
        *(counts_of(counts.rejected), counts.views, counts_of(counts.views_rejected)),
    )
    for record in records if log.isEnabledFor(logging.DEBUG) else ():
        faults = [f"{view.camera.name} ({', '.join(view.reasons)})" for view in record.views if view.reasons]
        log.debug(
            "frame %d, %s hand: %s; seen by %d views, reprojection %s px, expected error %s mm; rejected views: %s",
            *(record.frame, record.side, ", ".join(record.reasons) or "accepted", record.views_detected),
            *(record.reprojection_px, record.expected_error_mm, ", ".join(faults) or "none"),
        )


class Counts:
    """Running counts over records, for what `annotate` and `import` say of their work."""

    def __init__(self) -> None:
        self.records: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.views_rejected: Counter[str] = Counter()
        self.views_of: dict[str, Counter[str]] = {}  # by camera: how many were accepted (""), and rejected by reason
        self.views = 0
        self.views_detected_again = 0
        self.bridged = 0
        self.seen_by_one = 0
        self.refused: list[HandRecord] = []
        self.errors_px: list[float] = []
        self.ious: list[float] = []

    def add(self, records: list[HandRecord]) -> None:
        """Count the records of one chunk."""
        good = [record for record in records if record.accepted]
        self.records.update(record.side for record in records)
        self.accepted.update(record.side for record in good)
        self.rejected.update(reason for record in records for reason in record.reasons)
        self.refused = [*self.refused, *(record for record in records if record.reasons)][:_MOST_REFUSED]
        self.errors_px += [record.reprojection_px for record in good if record.reprojection_px is not None]
        self.ious += [record.mask_iou for record in good if record.mask_iou is not None]
        accepted = [view for record in good for view in record.views if view.accepted]
        self.views += len(accepted)
        self.views_detected_again += sum(view.detected_again for view in accepted)
        self.bridged += sum(record.source != KEYPOINTS for record in good)
        self.seen_by_one += sum(record.views_detected == 1 for record in records)
        self.views_rejected.update(reason for record in good for view in record.views for reason in view.reasons)
        for view in (view for record in good for view in record.views):
            self.views_of.setdefault(view.camera.name, Counter()).update(view.reasons or ("",))

    def useless_cameras(self) -> list[str]:
        """Say which cameras show accepted hands, and none of them well: how many views, and why they were rejected."""
        return [
            f"all views of camera {name} were rejected: {counts_of(found)}"
            for name, found in self.views_of.items()
            if not found[""] and found.total() >= _FEWEST_VIEWS
        ]

    def why_nothing(self, limits: QualityLimits) -> str | None:
        """Say why no record was accepted: how many, the figure that decided and the option; None if one was."""
        if self.accepted.total():
            return None
        if not self.records.total():
            return "no hand was found that enough cameras agree on; look at `handgen inspect CAPTURE --detect`"
        reason, count = self.rejected.most_common(1)[0]
        text = f"{count} of {count_of(self.records.total(), 'hand')} rejected: {reason}"
        if reason in (NO_GOOD_VIEW, WEAK):
            views = Counter(reason for record in self.refused for view in record.views for reason in view.reasons)
            text += f" (views: {counts_of(views)})"
        if reason not in _FIGURES:
            return text
        figure, unit, limit, flag = _FIGURES[reason]
        known = [value for record in self.refused if reason in record.reasons and (value := figure(record)) is not None]
        return f"{text} (median {np.median(known) if known else np.nan:.3g} {unit}, limit {limit(limits):g}: {flag})"
