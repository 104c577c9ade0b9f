"""Options of the annotate stage. Imports nothing heavy, so that the command takes its defaults from here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from handgen.reconstruct.settings import ACCELERATION_MM_S2, QualityLimits
from handgen.runtime.engine import check_engine

SUBJECT_PATTERN = r"[A-Za-z0-9._-]{1,64}"  # as in capture.schema.json


@dataclass(frozen=True)
class AnnotateConfig:
    """Options of `annotate`. Everything but `workers`, `device` and `preview` decides the annotations.

    detector: "mediapipe", "keypoints" or "cpm". keypoints: the file or folder that the second reads. weights: the
    file of the third's network.
    hands: which are in view, "left", "right" or "both"; None: as the capture says, else both.
    subject: name of the person; None: as the capture says, else nobody's.
    hand_model: "open", "mano" (see `handgen models add`), or the path of an .npz in MANO's format with {side} in it.
    calibration: a file or folder, or None to look for it in the capture.
    metres_per_unit: a number, "auto" (so that the hand has mean size), or None: as the calibration says.
    chunk_frames: frames per unit of work; the detector's tracking starts anew in each.
    min_views, max_error_share, min_mask_iou, max_uncertainty_mm: as in `QualityLimits`.
    background: "green", "blue", "any", or "auto" to look at the pixels around the hand.
    track: "silhouette" to carry hands by their masks where the detector is silent, or "keypoints".
    refine: "silhouette" to fit masks together with the keypoints, or "none".
    refine_extrinsics: whether cameras that moved after the calibration are put where the hands say that they are.
    look_again: whether views that missed a hand which others saw are searched where it must be.
    acceleration_mm_s2: of a keypoint, usual (one sigma); 0: frames are fitted on their own and gaps are left open.
    device: of the fit. workers: processes, or None for one per core. preview: overlay pictures to write.
    engine: "local" (processes of this machine) or "ray". address: of a Ray cluster, or None.
    """

    detector: str = "mediapipe"
    keypoints: str | None = None
    weights: str | None = None
    hands: str | None = None
    subject: str | None = None
    hand_model: str = "open"
    calibration: str | None = None
    metres_per_unit: float | str | None = None
    chunk_frames: int = 64
    min_views: int = QualityLimits.min_views
    max_error_share: float = QualityLimits.max_error_share
    min_mask_iou: float = QualityLimits.min_mask_iou
    max_uncertainty_mm: float = QualityLimits.max_uncertainty_mm
    background: str = "auto"
    acceleration_mm_s2: float = ACCELERATION_MM_S2
    redetect: bool = True
    refine: str = "silhouette"
    track: str = "keypoints"
    refine_extrinsics: bool = False
    device: str = "cpu"
    workers: int | None = None
    engine: str = "local"
    address: str | None = None
    preview: int = 0

    def __post_init__(self) -> None:
        if self.hands not in (None, "left", "right", "both"):
            raise ValueError(f"hands must be left, right or both, got {self.hands!r}")
        if self.subject is not None and not re.fullmatch(SUBJECT_PATTERN, self.subject):
            raise ValueError(f"subject must be 1 to 64 letters, digits or any of ._-, got {self.subject!r}")
        if self.background not in ("auto", "green", "blue", "any"):
            raise ValueError(f"background must be auto, green, blue or any, got {self.background!r}")
        if self.track not in ("keypoints", "silhouette"):
            raise ValueError(f"track must be keypoints or silhouette, got {self.track!r}")
        if self.refine not in ("silhouette", "none"):
            raise ValueError(f"refine must be silhouette or none, got {self.refine!r}")
        if not re.fullmatch(r"cpu|cuda(:\d{1,3})?", self.device):
            raise ValueError(f"device must be cpu, cuda or cuda:N, got {self.device!r}")
        check_engine(self.engine, self.workers, self.address)
        if self.chunk_frames < 1 or self.preview < 0:
            raise ValueError("chunk_frames must be at least 1, preview at least 0")
        if not 0 <= self.acceleration_mm_s2 < 1e9:
            raise ValueError(f"acceleration_mm_s2 must be 0 or more, got {self.acceleration_mm_s2:g}")
        _ = self.limits

    @property
    def limits(self) -> QualityLimits:
        """The limits that accepted records and views keep."""
        return QualityLimits(self.min_views, self.max_error_share, self.min_mask_iou, self.max_uncertainty_mm)
