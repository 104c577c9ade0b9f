"""Options of the simulate stage. Imports nothing heavy, so that the command line is made from here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from handgen.options import check_options, option
from handgen.runtime.engines import workers_option

MOST_SEED = 2**63 - 1
# Components of the pictures that can be left out, to learn what each is worth (scripts/bench/worth.py): flexion creases
# and wrinkles; palms of another colour than backs; pores, ridges, veins, tendons, hair and marks; rings, watches and
# polish; all poses but a few; light of all kinds but one; what cameras do to pictures.
COMPONENTS = ("creases", "palms", "fine_skin", "worn", "poses", "light", "sensor")


def parse_size(text: str) -> tuple[int, int]:
    """(640, 480) of "640x480"; ValueError for anything else."""
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if not found:
        raise ValueError(f"{text!r} is not a size such as 640x480")
    return int(found[1]), int(found[2])


def parse_background(text: str) -> str:
    """The word, or the path of a folder that is there; ValueError for anything else."""
    if text not in ("green", "room") and not Path(text).is_dir():
        raise ValueError(f"{text!r} is neither green nor room, nor a folder of pictures")
    return text


@dataclass(frozen=True)
class SimulateConfig:
    """Options of `simulate`.

    sync_error_frames: how far a camera's clock strays from the others, either way; it drifts through that range.
    calibration_error_px: over the volume of the hands. crf: of the videos, lower is better. jpeg_quality: of images.
    without: `COMPONENTS` of the pictures that are left out.
    """

    views: int = option(8, "Cameras.", low=1, high=64)
    frames: int = option(120, "Frames.", low=1, high=1_000_000)
    size: tuple[int, int] = option(
        (640, 480),
        "Image size, pixels, 64 to 4096.",
        parse=parse_size,
        metavar="WxH",
        low=64,
        high=4096,
        unit="px",
        default_help="640x480",
    )
    fps: float = option(30.0, "Frames/s.", low=0.1, high=1000)
    seed: int = option(0, "Of everything that is drawn.", low=0, high=MOST_SEED)
    subject_seed: int | None = option(
        None, "Of the person: shape, skin, clothes.", low=0, high=MOST_SEED, default_help="--seed"
    )
    rig: str = option(
        "ring", "Cameras about the person's front, all round, or side by side.", choices=("ring", "cage", "stereo")
    )
    lens: str = option(
        "webcam", "Of all cameras; any: another kind for each seed.", choices=("webcam", "phone", "wide", "any")
    )
    hands: str = option(
        None, "Hands in view.", choices=("right", "left", "both"), default_help="right; both with --motion interact"
    )
    motion: str = option(
        "calm",
        "free: turned any way, for training sets; interact: two hands touch and interleave fingers.",
        choices=("calm", "fast", "free", "interact"),
    )
    background: str = option(
        "room",
        "A green studio, a furnished room, or pictures behind the hands.",
        parse=parse_background,
        metavar="green|room|DIR",
    )
    shutter_s: float = option(1 / 200, "Exposure of a frame, seconds: motion blur.", low=0, high=0.1, flag="--shutter")
    sync_error_frames: float = option(
        0.0, "Largest error of a camera's clock, frames.", low=0, high=2, flag="--sync-error"
    )
    calibration_error_px: float = option(
        0.0,
        "RMS error of calibration.json, px; the truth keeps the exact one.",
        low=0,
        high=50,
        flag="--calibration-error",
    )
    video: bool = option(
        True, "H.264 videos, or folders of JPEGs.", flag="--format", spellings={"video": True, "images": False}
    )
    renderer: str = option(
        "raycast",
        "mitsuba: path tracing, minutes per frame; pip install 'handgen[photoreal]'.",
        choices=("raycast", "mitsuba"),
    )
    workers: int | None = workers_option()
    crf: int = option(20, low=0, high=51)
    jpeg_quality: int = option(95, low=1, high=100)
    without: tuple[str, ...] = option(())

    def __post_init__(self) -> None:
        if self.hands is None:
            object.__setattr__(self, "hands", "both" if self.motion == "interact" else "right")
        check_options(self)
        for name in self.without:
            if name not in COMPONENTS:
                raise ValueError(f"without must be some of {', '.join(COMPONENTS)}, got {name!r}")
        if self.video and any(side % 2 for side in self.size):
            raise ValueError(f"size must be even for H.264, got {self.size[0]}x{self.size[1]}")
        if self.motion == "interact" and self.hands != "both":
            raise ValueError("motion interact is of two hands; hands must be both")
        if not self.background:
            raise ValueError("background must be green, room or a folder of pictures")

    @property
    def person_seed(self) -> int:
        """The seed of the person."""
        return self.seed if self.subject_seed is None else self.subject_seed

    @property
    def subject(self) -> str:
        """Name of the person, who is the same in all captures of one subject seed."""
        return f"seed-{self.person_seed}"
