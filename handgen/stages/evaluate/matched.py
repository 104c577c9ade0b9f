"""Matched hands, the views in which they were compared, and what else metrics are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int

from handgen.stages.evaluate.alignment import ALIGNMENTS, errors_mm
from handgen.stages.evaluate.config import EvaluateConfig
from handgen.stages.evaluate.surfaces import SurfaceErrors

Rows = TypeVar("Rows", "Hands", "ViewErrors")


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

    cameras: names, by `ViewErrors.camera`. surfaces: None where they cannot be compared. fps: frames per second, None
    if nobody knows. betas, truth_betas: per subject, of both if they mean the same shapes, else None.
    """

    hands: Hands
    views: ViewErrors
    cameras: tuple[str, ...]
    config: EvaluateConfig
    fps: float | None = None
    surfaces: SurfaceErrors | None = None
    betas: dict[str, np.ndarray] | None = None
    truth_betas: dict[str, np.ndarray] | None = None

    @cached_property
    def errors_mm(self) -> dict[str, Float[np.ndarray, "n 21"]]:
        """Distances after each alignment (`handgen.stages.evaluate.alignment`), mm."""
        hands = (self.hands.annotated_m, self.hands.truth_m)
        return {name: errors_mm(name, *hands).astype(np.float32) for name in ALIGNMENTS}


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Join dataclasses of arrays (`Hands`, `ViewErrors`), at least one, row after row."""
    columns = (np.concatenate([getattr(part, column.name) for part in parts]) for column in fields(parts[0]))
    return type(parts[0])(*columns)


def join_views(parts: Sequence[ViewErrors], hand_counts: Sequence[int]) -> ViewErrors:
    """Join the views of several spans, with as many matched hands; `hand` then counts through all of them."""
    first = np.cumsum([0, *hand_counts])[:-1]
    return join_rows([replace(part, hand=part.hand + offset) for part, offset in zip(parts, first, strict=True)])
