"""Options of the evaluate stage. Imports nothing heavy, so that the command takes its defaults from here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EvaluateConfig:
    """Options of `evaluate`.

    include_rejected: also measure records and views that `annotate` rejected.
    match_distance_mm: how far (mean over keypoints) an annotated hand may be from a true one and be the same hand.
    align_world: find the rigid motion between the two worlds instead of refusing annotations in another one.
    fingertip_frames: how many evenly chosen frames the fingertips are measured on.
    fps: frames per second for accelerations, or None: as the truth's manifest says, else the annotations'.
    capture: the folder of the capture that was annotated, to leave one view out; None: that is not done.
    calibration: a file or folder, where the capture holds none.
    worst: how many of the worst hands are named and, in a report, drawn.
    workers: processes, or None for one per core.
    """

    include_rejected: bool = False
    match_distance_mm: float = 100.0
    align_world: bool = False
    fingertip_frames: int = 100
    fps: float | None = None
    capture: str | None = None
    calibration: str | None = None
    worst: int = 12
    workers: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.match_distance_mm <= 10_000:
            raise ValueError(f"match_distance_mm must be above 0 and at most 10000, got {self.match_distance_mm}")
        if self.fingertip_frames < 1:
            raise ValueError(f"fingertip_frames must be at least 1, got {self.fingertip_frames}")
        if self.fps is not None and not 0 < self.fps <= 100_000:
            raise ValueError(f"fps must be above 0 and at most 100000, got {self.fps}")
        if not 0 <= self.worst <= 200:
            raise ValueError(f"worst must be 0 to 200, got {self.worst}")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be at least 1, got {self.workers}")
