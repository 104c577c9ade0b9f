"""The parts of a report: small frozen values, in the units that their names say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Float, Int

from handgen.hand.skeleton import SIDES
from handgen.io.annotations import Annotations
from handgen.storage.json_fields import Count, Json, Share

Side = Annotated[str, Json({"enum": SIDES})]


@dataclass(frozen=True)
class Source:
    """One of the two directories."""

    path: str
    capture: str
    """Name of the capture's folder."""
    hand_model: str
    frame_count: Count
    fps: float | None
    """Frames per second, or null where the manifest does not say."""
    cameras: tuple[str, ...]


def source_of(annotations: Annotations) -> Source:
    """Describe a directory for the report."""
    manifest = annotations.manifest
    return Source(
        path=str(annotations.root),
        capture=manifest["capture"]["path"],
        hand_model=manifest["hand_model"]["name"],
        frame_count=manifest["capture"]["frame_count"],
        fps=manifest["capture"]["fps"],
        cameras=annotations.rig.names,
    )


@dataclass(frozen=True)
class Coverage:
    """Numbers of hands that there are and that were found, counted per frame and side."""

    frames: Count
    """Frames that both directories cover."""
    annotated_frames_outside: Count
    """Frames that the annotations alone cover."""
    truth_frames_outside: Count
    """Frames that the truth alone covers."""
    frames_with_truth: Count
    """Common frames with a true hand that a view shows."""
    truth_hands: Count
    """True hands, one per frame and side, that at least one view shows."""
    annotated_hands: Count
    """True hands with an annotation within match_distance_mm."""
    annotated_share: Share | None
    """Share of the true hands that are annotated."""
    annotated_share_per_side: dict[str, Share]
    false_hands: Count
    """Annotations without a true hand of their side within match_distance_mm."""
    wrong_side_hands: Count
    """False hands within match_distance_mm of a hand of the other side."""
    unjudged_hands: Count
    """Annotations of true hands that no view shows; they are in no figure."""
    views: Count
    """Views of matched hands that the truth shows."""
    annotated_views: Count
    """Views of matched hands with an accepted annotated mask."""


@dataclass(frozen=True)
class Hand:
    """One matched hand."""

    frame: Count
    side: Side
    absolute_mm: float
    """Mean over keypoints."""
    procrustes_mm: float
    """Mean over keypoints."""
    error_px: float | None
    """Mean over keypoints and views."""
    mask_iou: Share | None
    """Mean over views."""
    chunks: tuple[Count, Count]
    """Numbers of the chunks that hold the hand's cutouts, of the annotations and of the truth."""


@dataclass(frozen=True)
class MissingHand:
    """A true hand without annotation, or an annotation without a true hand."""

    frame: Count
    side: Side


@dataclass(frozen=True)
class Series:
    """Every matched hand in the order of the frames, for plots. absolute_mm: mean over keypoints."""

    frame: Int[np.ndarray, " n"]
    side: np.ndarray
    absolute_mm: Float[np.ndarray, " n"]
    mask_iou: Float[np.ndarray, " views"]
