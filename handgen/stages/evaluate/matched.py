"""Matched hands, the views in which they were compared, and what else metrics are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from handgen.stages.evaluate.alignment import ALIGNMENTS, errors_mm
from handgen.stages.evaluate.config import EvaluateConfig
from handgen.stages.evaluate.surfaces import Kind, SurfaceErrors


@dataclass(frozen=True)
class Hands:
    """`n` matched hands, in the truth's world, metres; side and subjects as strings."""

    frame: Int[np.ndarray, " n"]
    side: np.ndarray
    subject: np.ndarray
    truth_subject: np.ndarray
    annotated_m: Float[np.ndarray, "n 21 3"]
    truth_m: Float[np.ndarray, "n 21 3"]
    sigma_m: Float[np.ndarray, "n 21 3"] | None = None  # along the world's axes; NaN where the annotation says nothing

    def __len__(self) -> int:
        return len(self.frame)

    def errors_mm(self, alignment: str) -> Float[np.ndarray, "n 21"]:
        """Distances after an alignment of `handgen.stages.evaluate.alignment`, mm."""
        return errors_mm(alignment, self.annotated_m, self.truth_m).astype(np.float32)


@dataclass(frozen=True)
class ViewErrors:
    """`m` views of matched hands. hand: row of the `Hands`. camera: row of `Job.cameras`.

    error_px: (m, 21), full picture; NaN where the true keypoint is not in the picture. iou, boundary_f: NaN where the
    annotations have no accepted mask in that view.
    """

    hand: Int[np.ndarray, " m"]
    camera: Int[np.ndarray, " m"]
    error_px: Float[np.ndarray, "m 21"]
    iou: Float[np.ndarray, " m"]
    boundary_f: Float[np.ndarray, " m"]


@dataclass(frozen=True)
class Matched:
    """Everything that metrics are computed from, over all frames that both directories have.

    cameras: names, by `ViewErrors.camera`. surfaces: None where they cannot be compared; surface_kind: how they are
    compared. fps: frames per second, None if nobody knows. betas, truth_betas: per subject, of both if they mean the
    same shapes, else None.
    """

    hands: Hands
    views: ViewErrors
    cameras: tuple[str, ...]
    config: EvaluateConfig
    fps: float | None = None
    surfaces: SurfaceErrors | None = None
    surface_kind: Kind = "surface"
    betas: dict[str, np.ndarray] | None = None
    truth_betas: dict[str, np.ndarray] | None = None

    @cached_property
    def errors_mm(self) -> dict[str, Float[np.ndarray, "n 21"]]:
        """Distances after each alignment, mm."""
        return {name: self.hands.errors_mm(name) for name in ALIGNMENTS}


def join_hands(parts: Sequence[Hands]) -> Hands:
    """Hands of several spans as one; at least one span."""
    sigmas = [part.sigma_m for part in parts]
    return Hands(
        frame=np.concatenate([part.frame for part in parts]),
        side=np.concatenate([part.side for part in parts]),
        subject=np.concatenate([part.subject for part in parts]),
        truth_subject=np.concatenate([part.truth_subject for part in parts]),
        annotated_m=np.concatenate([part.annotated_m for part in parts]),
        truth_m=np.concatenate([part.truth_m for part in parts]),
        sigma_m=None if any(s is None for s in sigmas) else np.concatenate([s for s in sigmas if s is not None]),
    )


def join_views(parts: Sequence[ViewErrors], hand_counts: Sequence[int]) -> ViewErrors:
    """Join the views of several spans, with as many matched hands; `hand` then counts through all of them."""
    first = np.cumsum([0, *hand_counts])[:-1]
    return ViewErrors(
        hand=np.concatenate([part.hand + offset for part, offset in zip(parts, first, strict=True)]),
        camera=np.concatenate([part.camera for part in parts]),
        error_px=np.concatenate([part.error_px for part in parts]),
        iou=np.concatenate([part.iou for part in parts]),
        boundary_f=np.concatenate([part.boundary_f for part in parts]),
    )
