"""Options of the annotate stage. Imports nothing heavy, so that the command line is made from here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from handgen.detect.registry import DETECTORS
from handgen.io.capture.options import calibration_option, metres_per_unit_option
from handgen.options import check_options, chosen_options, option
from handgen.reconstruct.fit_terms import FIT_TERMS, weights_of
from handgen.reconstruct.settings import ACCELERATION_MM_S2, FitSettings, QualityLimits, parse_term_weight
from handgen.runtime.engines import engine_option, engine_options, workers_option

SUBJECT_PATTERN = r"[A-Za-z0-9._-]{1,64}"  # as in capture.schema.json


@dataclass(frozen=True)
class AnnotateConfig:
    """Options of `annotate`; None where the capture or the calibration says it."""

    calibration: str | None = calibration_option()
    metres_per_unit: float | Literal["auto"] | None = metres_per_unit_option(
        "Metres in one unit of the calibration; auto: so that the hand has mean size."
    )
    hands: str | None = option(
        None,
        "Which hands are there.",
        choices=("left", "right", "both"),
        default_help="as capture.json says, else both",
    )
    subject: str | None = option(
        None, "Who it is, for splits by person.", metavar="NAME", default_help="as capture.json says"
    )
    detector: str = option(
        "mediapipe",
        "mediapipe; keypoints made elsewhere; or cpm, hand3d's network before a green screen, one hand per view.",
        choices=DETECTORS.names,
    )
    detector_options: Any = chosen_options("detector", DETECTORS)
    hand_model: str = option(
        "open", "open, mano (see `models add`), or an .npz in MANO's format with {side} in its path."
    )
    background: str = option(
        "auto", "What is behind the hands: a screen to key, or anything.", choices=("auto", "green", "blue", "any")
    )
    max_error_share: float = option(
        QualityLimits.max_error_share, "Largest reprojection error, in hand sizes.", above=0, high=1, flag="--max-error"
    )
    min_mask_iou: float = option(
        QualityLimits.min_mask_iou, "Smallest overlap of mask and mesh.", low=0, high=1, flag="--min-iou"
    )
    max_uncertainty_mm: float = option(
        QualityLimits.max_uncertainty_mm, "Largest expected error of a keypoint, mm.", above=0, flag="--max-uncertainty"
    )
    redetect: bool = option(
        True, "Search views that missed a hand where the others say that it is.", old_flags=("--look-again",)
    )
    refine: str = option(
        "silhouette",
        "silhouette: fit masks together with keypoints; none: keypoints alone, in less time.",
        choices=("silhouette", "none"),
    )
    term: tuple[str, ...] = option(
        (), f"Weight of a term of the fit, 0 to switch it off: {', '.join(FIT_TERMS)}.", metavar="NAME=WEIGHT"
    )
    track: str = option(
        "keypoints",
        "silhouette: follow hands by their masks where the detector sees nothing.",
        choices=("keypoints", "silhouette"),
    )
    refine_extrinsics: bool = option(
        False, "Put cameras that moved after the calibration where the hands say that they are."
    )
    acceleration_mm_s2: float = option(
        ACCELERATION_MM_S2,
        "Usual acceleration of a keypoint, mm/s^2: less is smoother; 0 fits every frame alone.",
        low=0,
        flag="--acceleration",
    )
    min_views: int = option(
        QualityLimits.min_views,
        "Views that must see a hand; with 1, its distance is a guess by its size.",
        low=1,
        high=64,
    )
    chunk_frames: int = option(64, "Frames per unit of work.", low=1, high=4096)
    device: str = option("cpu", "Where to fit: cpu or cuda.")
    workers: int | None = workers_option(any_engine=True)
    engine: str = engine_option()
    engine_options: Any = engine_options()
    preview: int = option(0, "Write N overlay pictures to look at.", low=0, metavar="N", decides_output=False)

    def __post_init__(self) -> None:
        check_options(self)
        if self.subject is not None and not re.fullmatch(SUBJECT_PATTERN, self.subject):
            raise ValueError(f"subject must be 1 to 64 letters, digits or any of ._-, got {self.subject!r}")
        weights_of(self.fit)

    @property
    def fit(self) -> FitSettings:
        """The settings by which hands are fitted."""
        return FitSettings(
            self.hand_model,
            self.acceleration_mm_s2,
            self.refine,
            self.track,
            self.background,
            self.device,
            tuple(map(parse_term_weight, self.term)),
        )

    @property
    def limits(self) -> QualityLimits:
        """The limits that accepted records and views keep."""
        return QualityLimits(self.min_views, self.max_error_share, self.min_mask_iou, self.max_uncertainty_mm)
