"""Counts over the records of annotations, for what `annotate` and `import` say of their work."""

from __future__ import annotations

from collections import Counter

from handgen.records.annotation import KEYPOINTS, HandRecord


class Counts:
    """Running counts over records."""

    def __init__(self) -> None:
        self.records: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.views_rejected: Counter[str] = Counter()
        self.views = 0
        self.views_detected_again = 0
        self.bridged = 0
        self.seen_by_one = 0
        self.errors_px: list[float] = []
        self.ious: list[float] = []

    def add(self, records: list[HandRecord]) -> None:
        """Count the records of one chunk."""
        good = [record for record in records if record.accepted]
        self.records.update(record.side for record in records)
        self.accepted.update(record.side for record in good)
        self.rejected.update(reason for record in records for reason in record.reasons)
        self.errors_px += [record.reprojection_px for record in good if record.reprojection_px is not None]
        self.ious += [record.mask_iou for record in good if record.mask_iou is not None]
        accepted = [view for record in good for view in record.views if view.accepted]
        self.views += len(accepted)
        self.views_detected_again += sum(view.detected_again for view in accepted)
        self.bridged += sum(record.source != KEYPOINTS for record in good)
        self.seen_by_one += sum(record.views_detected == 1 for record in records)
        self.views_rejected.update(reason for record in good for view in record.views for reason in view.reasons)
