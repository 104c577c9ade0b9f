"""Options of the simulate stage. Imports nothing heavy, so that the command takes its defaults from here."""

from __future__ import annotations

from dataclasses import dataclass

RIGS = ("ring", "cage", "stereo")
MOTIONS = ("calm", "fast", "interact")
RENDERERS = ("raycast", "mitsuba")


@dataclass(frozen=True)
class SimulateConfig:
    """Options of `simulate`. Everything but `workers` decides the bytes of the capture.

    size: width and height, pixels. hands: "right", "left" or "both". fps: frames per second.
    rig: "ring" (an arc about the person's front, at several heights), "cage" (all round, above and below too) or
    "stereo" (side by side in front).
    background: "green" (a studio), "room" (furnished, with the person in it), or a folder of pictures.
    subject_seed: of the person, shape and skin and clothes; None: `seed`.
    motion: "calm", "fast", or "interact": both hands touch and interleave their fingers.
    shutter_s: how long a frame is exposed. sync_error_frames: how far a camera's clock strays from the others, either
    way, in frame intervals; it drifts through that range. calibration_error_px: RMS error of the calibration that is
    written, over the volume of the hands; the truth keeps the exact one.
    video: H.264 files instead of JPEG folders. crf: of the videos, lower is better. jpeg_quality: of the images.
    renderer: "raycast", or "mitsuba" for path tracing.
    workers: processes, or None for one per core.
    """

    views: int = 8
    frames: int = 120
    size: tuple[int, int] = (640, 480)
    seed: int = 0
    hands: str = "right"
    fps: float = 30.0
    rig: str = "ring"
    background: str = "room"
    subject_seed: int | None = None
    motion: str = "calm"
    shutter_s: float = 1 / 200
    sync_error_frames: float = 0.0
    calibration_error_px: float = 0.0
    video: bool = True
    crf: int = 20
    jpeg_quality: int = 95
    renderer: str = "raycast"
    workers: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.views <= 64:
            raise ValueError(f"views must be 1 to 64, got {self.views}")
        if not 1 <= self.frames <= 1_000_000:
            raise ValueError(f"frames must be 1 to 1000000, got {self.frames}")
        if not all(64 <= side <= 4096 for side in self.size):
            raise ValueError(f"size must be 64 to 4096 px, got {self.size[0]}x{self.size[1]}")
        if self.video and any(side % 2 for side in self.size):
            raise ValueError(f"size must be even for H.264, got {self.size[0]}x{self.size[1]}")
        for name in ("seed", "subject_seed"):
            seed = getattr(self, name)
            if seed is not None and not 0 <= seed < 2**63:
                raise ValueError(f"{name} must be 0 to 2**63 - 1, got {seed}")
        for name, allowed in (
            ("hands", ("left", "right", "both")),
            ("rig", RIGS),
            ("motion", MOTIONS),
            ("renderer", RENDERERS),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        if self.motion == "interact" and self.hands != "both":
            raise ValueError("motion interact is of two hands; hands must be both")
        if not self.background:
            raise ValueError("background must be green, room or a folder of pictures")
        for name, low, high in (
            ("fps", 0.1, 1000),
            ("shutter_s", 0, 0.1),
            ("sync_error_frames", 0, 2),
            ("calibration_error_px", 0, 50),
            ("crf", 0, 51),
            ("jpeg_quality", 1, 100),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be {low:g} to {high:g}, got {getattr(self, name):g}")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be at least 1, got {self.workers}")
