"""The parts of a report: small frozen values, in the units that their names say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from handgen.io.annotations import Annotations


@dataclass(frozen=True)
class Source:
    """One of the two directories. fps: None where its manifest does not know it."""

    path: str
    capture: str
    hand_model: str
    frame_count: int
    fps: float | None
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
    """Numbers of hands that there are and that were found, counted per frame and side.

    frames: covered by both directories; annotated_frames_outside and truth_frames_outside: by one alone. truth_hands:
    that at least one view shows. annotated_share: of them. false_hands: annotations of no hand; wrong_side_hands: those
    of them that lie on a hand of the other side. unjudged_hands: annotations of hands that the truth calls hidden.
    frames_with_truth: that hold a true hand. views, annotated_views: in which the truth shows a matched hand, and of
    these the ones with an accepted annotated mask.
    """

    frames: int
    annotated_frames_outside: int
    truth_frames_outside: int
    frames_with_truth: int
    truth_hands: int
    annotated_hands: int
    annotated_share: float | None
    annotated_share_per_side: dict[str, float]
    false_hands: int
    wrong_side_hands: int
    unjudged_hands: int
    views: int
    annotated_views: int


@dataclass(frozen=True)
class Hand:
    """One matched hand. chunks: of its cutouts, annotated and true. The errors are means over keypoints."""

    frame: int
    side: str
    absolute_mm: float
    procrustes_mm: float
    error_px: float | None
    mask_iou: float | None
    chunks: tuple[int, int]


@dataclass(frozen=True)
class MissingHand:
    """A true hand without annotation, or an annotation without a true hand."""

    frame: int
    side: str


@dataclass(frozen=True)
class Series:
    """Every matched hand in the order of the frames, for plots. absolute_mm: mean over keypoints."""

    frame: Int[np.ndarray, " n"]
    side: np.ndarray
    absolute_mm: Float[np.ndarray, " n"]
    mask_iou: Float[np.ndarray, " views"]
