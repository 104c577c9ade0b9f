"""Settings that decide how hands are fitted and which are accepted.

Imports nothing heavy: the options of stages take their defaults from here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from handgen.options import check_options, option

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


@dataclass(frozen=True)
class FitSettings:
    """Settings that decide the fit of given detections, whoever asks for it.

    hand_model: "open", "mano", or the path of an .npz with {side} in it. acceleration_mm_s2: of a keypoint, usual (one
    sigma); 0: every frame is fitted on its own. refine: "silhouette" to fit masks together with the keypoints, or
    "none". track: "silhouette" to carry hands by their masks through frames that the detector is silent in, or
    "keypoints". background: of the masks, as in `handgen.segmentation.segment.segment`. device: "cpu", "cuda" or
    "cuda:N". term_weights: of terms of `handgen.reconstruct.fit_terms.FIT_TERMS` by name, where not their default.
    """

    hand_model: str = "open"
    acceleration_mm_s2: float = ACCELERATION_MM_S2
    refine: str = option("silhouette", choices=("silhouette", "none"))
    track: str = option("keypoints", choices=("keypoints", "silhouette"))
    background: str = option("auto", choices=("auto", "green", "blue", "any"))
    device: str = "cpu"
    term_weights: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        check_options(self)
        if not re.fullmatch(r"cpu|cuda(:\d{1,3})?", self.device):
            raise ValueError(f"device must be cpu, cuda or cuda:N, got {self.device!r}")
        if not 0 <= self.acceleration_mm_s2 < 1e9:
            raise ValueError(f"acceleration_mm_s2 must be 0 or more, got {self.acceleration_mm_s2:g}")
        for name, weight in self.term_weights:
            if not 0 <= weight < 1e9:
                raise ValueError(f"the weight of term {name} must be 0 or more, got {weight:g}")


def parse_term_weight(text: str) -> tuple[str, float]:
    """Name and weight of a term from "NAME=WEIGHT". Raises ValueError for anything else."""
    name, equals, weight = text.partition("=")
    try:
        if name and equals:
            return name, float(weight)
    except ValueError:
        pass
    raise ValueError(f"term must be NAME=WEIGHT, such as contact=0.5, got {text!r}")
