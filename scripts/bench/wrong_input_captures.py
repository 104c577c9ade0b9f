"""Make the captures of `wrong_input.py`: simulated bases with known truth, and drafts of changed copies of them.

A draft says for every camera of the calibration what its pictures really show: which original camera filmed which
original frames, and how the pictures were turned, resized or painted over. So the true pixels of every hand in every
picture are known, however wrong the capture is.
"""

from __future__ import annotations

import copy
import json
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from handgen.io.annotations import Annotations

FIRST_SEED, SEEDS_PER_SET = 50_000, 100
KEYPOINT_NOISE_PX = 0.5
LEAST_KEYPOINTS = 12  # in the picture, for a hand to be in a keypoint file
FPS = 30.0

# name -> options of `handgen simulate`; the order gives the seeds
BASES: dict[str, dict[str, Any]] = {
    "four": {"views": 4, "frames": 20, "hands": "both", "background": "green"},
    "four_room": {"views": 4, "frames": 12, "hands": "right", "background": "room"},
    "two": {"views": 2, "frames": 14, "hands": "right", "background": "green"},
    "two_room": {"views": 2, "frames": 12, "hands": "both", "background": "room"},
    "eight": {"views": 8, "frames": 16, "hands": "right", "background": "green"},
    "eight_room": {"views": 8, "frames": 8, "hands": "both", "background": "room"},
    "square": {"views": 4, "frames": 12, "hands": "right", "background": "green", "size": "360x360"},
    "three": {"views": 3, "frames": 12, "hands": "right", "background": "green"},
    "three_room": {"views": 3, "frames": 12, "hands": "both", "background": "room"},
    "four_fast": {"views": 4, "frames": 12, "hands": "right", "background": "room", "motion": "fast"},
    "eight_fast": {"views": 8, "frames": 8, "hands": "right", "background": "green", "motion": "fast"},
    "fifteen": {"views": 15, "frames": 8, "hands": "right", "background": "green", "size": "400x300"},
}
# how a picture of width w and height h is turned: of pictures, and of pixels (x, y)
TURNS: dict[str, tuple[Callable[..., Any], Callable[..., tuple[Any, Any]]]] = {
    "mirrored": (lambda image: image[:, ::-1], lambda x, y, w, h: (w - 1 - x, y)),
    "flipped": (lambda image: image[::-1], lambda x, y, w, h: (x, h - 1 - y)),
    "turned_180": (lambda image: image[::-1, ::-1], lambda x, y, w, h: (w - 1 - x, h - 1 - y)),
    "turned_90": (lambda image: np.rot90(image, -1), lambda x, y, w, h: (h - 1 - y, x)),
    "turned_270": (lambda image: np.rot90(image, 1), lambda x, y, w, h: (y, w - 1 - x)),
}
CHIRAL = ("mirrored", "flipped")  # after which a left hand looks like a right one
QUARTERS = ("turned_90", "turned_270")


@dataclass(frozen=True)
class View:
    """Describes what the pictures of one camera of a made capture show, and how they are stored.

    camera: who really filmed them. frames: the original frame of each picture. turn: a key of `TURNS`. size_px: after
    the turn, if resized. paint: the grey value of pictures that show nothing. file: name in the capture folder. images:
    the suffix of pictures in a folder; None is a video. numbers, digits: in the pictures' names. fps: as the video
    says. ticks: the presentation time of every picture, in frames.
    """

    camera: str
    frames: tuple[int, ...]
    file: str
    turn: str | None = None
    size_px: tuple[int, int] | None = None
    paint: int | None = None
    images: str | None = None
    numbers: tuple[int, ...] | None = None
    digits: int = 6
    fps: float = FPS
    ticks: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Base:
    """Reads a simulated capture and its truth."""

    name: str
    folder: Path
    seed: int

    @cached_property
    def calibration(self) -> dict[str, Any]:
        """Return the calibration as a document of handgen's own format."""
        return json.loads((self.folder / "calibration.json").read_text())

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Return the content of capture.json."""
        return json.loads((self.folder / "capture.json").read_text())

    @cached_property
    def views(self) -> dict[str, View]:
        """Return the intact views by camera."""
        frames = tuple(range(BASES[self.name]["frames"]))
        return {name: View(name, frames, entry["file"]) for name, entry in self.settings["cameras"].items()}

    @cached_property
    def truth(self) -> Annotations:
        """Return the truth, as annotations."""
        return Annotations(self.folder / "truth")

    @cached_property
    def keypoints_world_m(self) -> dict[tuple[int, str], np.ndarray]:
        """Return the true keypoints (21, 3) by frame and side."""
        return {(record.frame, record.side): record.keypoints_world_m for _, record in self.truth}

    @property
    def sides(self) -> tuple[str, ...]:
        """Say which hands there are."""
        return tuple(sorted({side for _, side in self.keypoints_world_m}))

    @lru_cache(maxsize=8)  # noqa: B019 - a base lives as long as the run
    def pictures(self, camera: str) -> list[np.ndarray]:
        """Decode all pictures of one camera, BGR."""
        stream = cv2.VideoCapture(str(self.folder / self.views[camera].file))
        found = []
        while True:
            there, image = stream.read()
            if not there:
                return found
            found.append(image)

    def picture(self, view: View, index: int) -> np.ndarray:
        """Return the picture that a view shows at its own place `index`."""
        image = self.pictures(view.camera)[view.frames[index]]
        if view.turn:
            image = TURNS[view.turn][0](image)
        if view.size_px:
            image = cv2.resize(image, view.size_px, interpolation=cv2.INTER_AREA)
        return np.full_like(image, view.paint) if view.paint is not None else np.ascontiguousarray(image)

    def pixels(self, view: View, index: int, side: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the true pixels (21, 2) of a hand in that picture and which are visible; None without such a hand."""
        world = self.keypoints_world_m.get((view.frames[index], side))
        if world is None:
            return None
        camera = self.truth.rig[view.camera]
        pixels, valid = camera.project(world)
        return turned_px(pixels, view, camera.size_px), valid


def turned_px(pixels: np.ndarray, view: View, size_px: tuple[int, int]) -> np.ndarray:
    """Move the pixels of the original picture of size `size_px` to where the view's picture shows them."""
    if view.turn:
        pixels = np.stack(TURNS[view.turn][1](pixels[..., 0], pixels[..., 1], *size_px), -1)
    if view.size_px:
        turned_size = np.array(size_px[::-1] if view.turn in QUARTERS else size_px)
        pixels = (pixels + 0.5) * (np.array(view.size_px) / turned_size) - 0.5
    return pixels


def simulate_options(name: str, seed: int) -> list[str]:
    """Return the options of `handgen simulate` for a base of a set of seeds."""
    options = {"size": "480x360", "fps": FPS, **BASES[name]}
    options["seed"] = FIRST_SEED + SEEDS_PER_SET * seed + list(BASES).index(name)
    return [part for key, value in options.items() for part in (f"--{key}", str(value))]


class Draft:
    """Holds a copy of a base that a case changes before it is written.

    views: by camera of the calibration. settings: capture.json, or None to have none; its file names are filled in.
    options: of `annotate`. keypoints: how keypoints are written (a key of `wrong_input_keypoints.WRITERS`), or None.
    spoil: changes (21, 3) keypoints of a camera before they are written. keypoint_source: whose pictures the
    keypoint files are of, if not the camera's own. after: what is done to the folder at last.
    """

    def __init__(self, base: Base, name: str, keypoints: str | None) -> None:
        self.base, self.name, self.keypoints = base, name, keypoints
        self.views: dict[str, View] = dict(base.views)
        self.calibration: dict[str, Any] = copy.deepcopy(base.calibration)
        self.calibration_name = "calibration.json"
        self.calibration_text: Callable[[dict[str, Any]], str] = lambda document: json.dumps(document, indent=1)
        self.settings: dict[str, Any] | None = copy.deepcopy(base.settings)
        self.options: list[str] = []
        self.spoil: Callable[[str, np.ndarray], np.ndarray] = lambda camera, values: values
        self.keypoint_source: dict[str, str] = {}
        self.after: list[Callable[[Path], None]] = []
        self.media = "."  # where in the folder the videos lie
        self.folder_name = "capture"
        self.extra_files: dict[str, str] = {}
        self.stored: dict[str, View] | None = None  # what is written before `after` makes the views of it

    @property
    def names(self) -> list[str]:
        """Return the cameras in the calibration's order."""
        return list(self.views)

    def rng(self) -> np.random.Generator:
        """Return the random numbers of this case."""
        return np.random.default_rng([self.base.seed, zlib.crc32(self.name.encode())])

    def change(self, *cameras: str, **fields: Any) -> None:
        """Change fields of the views of these cameras, or of all."""
        for camera in cameras or self.names:
            self.views[camera] = replace(self.views[camera], **fields)

    def cut(self, start: int, stop: int) -> None:
        """Keep a range of the frames of all cameras."""
        for camera, view in self.views.items():
            self.views[camera] = replace(view, frames=view.frames[start:stop])

    def camera(self, name: str) -> dict[str, Any]:
        """Return the calibration's entry of a camera, to be changed."""
        return next(entry for entry in self.calibration["cameras"] if entry["name"] == name)

    def write(self, folder: Path) -> None:
        """Write the capture into a folder that does not exist yet."""
        folder.mkdir(parents=True)
        (folder / self.calibration_name).write_text(self.calibration_text(self.calibration), encoding="utf-8")
        (folder / self.media).mkdir(exist_ok=True)
        for view in (self.stored or self.views).values():
            self._write_view(view, folder / self.media / view.file)
        if self.settings is not None:
            for name, entry in self.settings.get("cameras", {}).items():
                entry["file"] = (Path(self.media) / self.views[name].file).as_posix()
            self.settings["calibration"] = self.calibration_name
            (folder / "capture.json").write_text(json.dumps(self.settings, indent=1))
        for name, text in self.extra_files.items():
            (folder / name).write_text(text)
        for action in self.after:
            action(folder)

    def _write_view(self, view: View, path: Path) -> None:
        if view.images is not None:
            path.mkdir()
            numbers = view.numbers or tuple(range(len(view.frames)))
            for index, number in enumerate(numbers):
                cv2.imwrite(str(path / f"frame_{number:0{view.digits}d}{view.images}"), self.base.picture(view, index))
        elif replace(view, file="") == replace(self.base.views[view.camera], file=""):
            shutil.copyfile(self.base.folder / self.base.views[view.camera].file, path)
        else:
            write_video(path, [self.base.picture(view, i) for i in range(len(view.frames))], view.fps, view.ticks)


def write_video(path: Path, images: list[np.ndarray], fps: float, ticks: tuple[int, ...] | None = None) -> None:
    """Write BGR pictures as H.264; ticks: the presentation time of each, in frames."""
    rate = Fraction(fps).limit_denominator(1000)
    container_format = None if path.suffix.lower() in (".mp4", ".mov", ".avi", ".mkv") else "mp4"
    with av.open(str(path), "w", format=container_format) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "16", "preset": "veryfast"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = 1 / rate
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = ticks[index] if ticks else index, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
