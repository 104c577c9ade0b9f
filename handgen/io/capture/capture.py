"""Captures: a folder of one video or image folder per camera, a calibration, an optional `capture.json`."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int

from handgen.arguments import check_arguments
from handgen.errors import HandgenError
from handgen.geometry.camera import Camera, Rig, UnscaledRig
from handgen.io.calibration_files.base import Calibration
from handgen.io.calibration_files.registry import calibration_suffixes, load_calibration
from handgen.io.capture import camera_files, synchronization
from handgen.io.capture.frame_matching import rates_differ
from handgen.media.arrays import Image
from handgen.media.image_folder import ImageFolder, open_image_folder
from handgen.media.video import VideoFile, open_video
from handgen.storage import filesystem
from handgen.storage.documents import read_json
from handgen.storage.filesystem import Location, location
from handgen.storage.local_copies import LocalCopy, fetch, local_path
from handgen.storage.output import kind_of

KIND = "capture"  # in the run.json of a simulated one; others have none
Hands = Literal["left", "right", "both"]
MAX_ASPECT_DIFFERENCE = 0.005
MAX_CENTER_SHIFT = 0.25  # of the image; a principal point further from the middle is mentioned
_SCAN_THREADS = 4
_FINGERPRINT_BYTES = 2**20


@dataclass(frozen=True)
class Capture:
    """A capture that can be read. Small, and cheap to send to another process.

    cameras: a `Rig`, or an `UnscaledRig` as long as `metres_per_unit` is None; sizes are those of the images.
    scale: whether the calibration, the user (also in capture.json) or the hands said the unit. sources: one per camera,
    in the rig's order. source_frames: (frames, views), the frame of each source, -1 for none. hands: as
    capture.json says, as subject, the person's name. notes: what was assumed or left out, for people.
    folder: where its files were when it was loaded: `path`, or copies of what lies in a store. fetched: such copies.
    """

    path: Location
    cameras: Rig | UnscaledRig
    calibration: Calibration
    metres_per_unit: float | None
    scale: Literal["calibrated", "given", "estimated", "unknown"]
    sources: tuple[VideoFile | ImageFolder, ...]
    source_frames: Int[np.ndarray, "frames views"]
    notes: tuple[str, ...]
    hands: Hands | None
    subject: str | None
    fps: float | None
    folder: Path
    fetched: LocalCopy | None = None

    @property
    def rig(self) -> Rig:
        """The cameras in metres. Raises ValueError as long as the unit of the calibration is unknown."""
        if isinstance(self.cameras, UnscaledRig):
            raise ValueError(f"{self.path}: the unit of the calibration is unknown; scale the capture with in_metres")
        return self.cameras

    @property
    def scale_known(self) -> bool:
        """True if the cameras are in metres."""
        return isinstance(self.cameras, Rig)

    def in_metres(self, metres_per_unit: float) -> Capture:
        """The capture with a unit that was estimated, its cameras in metres."""
        if not isinstance(self.cameras, UnscaledRig):
            raise ValueError(f"{self.path}: the cameras are in metres already")
        cameras = self.cameras.in_metres(metres_per_unit)
        return replace(self, cameras=cameras, metres_per_unit=metres_per_unit, scale="estimated")

    @property
    def frame_count(self) -> int:
        """Number of synchronised frames."""
        return len(self.source_frames)

    def fingerprint(self) -> str:
        """A digest of pictures (videos by size and ends, folders by names and sizes), and of which belong together."""
        digest = hashlib.sha256(np.ascontiguousarray(self.source_frames, dtype="<i8").tobytes())
        for source in self.sources:
            for file in getattr(source, "files", (source.path,)):
                digest.update(f"{file.name} {file.stat().st_size}\n".encode("utf-8", "surrogateescape"))
            if isinstance(source, VideoFile):
                with filesystem.open_read(source.path) as stream:
                    digest.update(stream.read(_FINGERPRINT_BYTES))
                    stream.seek(max(0, source.path.stat().st_size - _FINGERPRINT_BYTES))
                    digest.update(stream.read(_FINGERPRINT_BYTES))
        return digest.hexdigest()

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[Image | None, ...]]:
        """Synchronised frames `start` up to `stop`: per camera an RGB image, or None where it has no frame.

        One image per camera is held at a time. The same frame has the same pixels wherever reading starts.
        """
        stop = self.frame_count if stop is None else stop
        if not 0 <= start <= stop <= self.frame_count:
            raise ValueError(f"{self.path}: frames {start} to {stop} of {self.frame_count}")
        wanted = self.source_frames[start:stop]
        with self.fetched.named_by_origin() if self.fetched else nullcontext():
            streams = [
                source.images(frame for frame in column.tolist() if frame >= 0)
                for source, column in zip(self._sources_here(), wanted.T, strict=True)
            ]
            try:
                for row in wanted.tolist():
                    images = (next(stream) if frame >= 0 else None for stream, frame in zip(streams, row, strict=True))
                    yield tuple(images)
            finally:
                for stream in streams:
                    stream.close()  # type: ignore[attr-defined]

    def _sources_here(self) -> tuple[VideoFile | ImageFolder, ...]:
        """The sources on this machine, where the copies may lie elsewhere than on the one that loaded the capture."""
        here = self.fetched.path() if self.fetched else self.folder
        return self.sources if here == self.folder else tuple(s.relocate(self.folder, here) for s in self.sources)


@check_arguments
def load_capture(
    path: str | Location,
    *,
    calibration: str | Location | None = None,
    metres_per_unit: float | Literal["auto"] | None = None,
    require_scale: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Capture:
    """Find and check the parts of the capture in folder `path`, a path or a URL, scanning every video once.

    What lies in a store is copied to this machine first; progress: called with the MiB copied and all there are.

    calibration: a file or folder to use instead of the one in the capture. metres_per_unit: overrides the
    calibration and capture.json; "auto" leaves the rig in calibration units for the scale to be estimated
    from the hand. require_scale: False accepts an unknown unit as if "auto" had been given. Raises
    HandgenError for what a user can fix.
    """
    path = location(path)
    if calibration is not None:
        calibration = local_path(location(calibration), beside=calibration_suffixes())
    if not isinstance(path, Path):
        fetched = fetch(path, camera_files.without_outputs)
        camera_files.check_worth_copying(path, [file.name for file in fetched.files])
        folder = fetched.path(progress)
        with fetched.named_by_origin():
            found = load_capture(
                folder, calibration=calibration, metres_per_unit=metres_per_unit, require_scale=require_scale
            )
        return replace(found, path=path, fetched=fetched)
    if not path.is_dir():
        raise HandgenError(f"{path}: no such folder; give the folder that holds the videos")
    if kind_of(path) == KIND and not (path / "capture.json").is_file():
        raise HandgenError(f"{path}: simulated, but not to the end; run `handgen simulate {path}` again")
    settings_file = path / "capture.json"
    settings = read_json(settings_file, "capture") if settings_file.exists() else {}
    if calibration is None:
        named = settings.get("calibration")
        calibration = camera_files.inside(path, named, "the calibration") if named else path
    calibrated = load_calibration(calibration)
    notes = list(calibrated.notes)
    notes += [f"unit: {calibrated.unit_note}"] if "assumed" in calibrated.unit_note else []

    names, files = camera_files.choose_files(path, settings.get("cameras"), calibrated, notes)
    with ThreadPoolExecutor(_SCAN_THREADS) as pool:
        sources = list(pool.map(lambda file: open_image_folder(file) if file.is_dir() else open_video(file), files))
    notes += [
        f"camera {name}: its video is rotated by {source.rotation_deg} degrees, as a tag in the file asks for"
        for name, source in zip(names, sources, strict=True)
        if isinstance(source, VideoFile) and source.rotation_deg
    ]
    source_frames, fps = synchronization.schedule_frames(path, settings, names, sources, notes)
    _leave_out_damaged(source_frames, names, sources, notes)
    by_name = {camera.name: camera for camera in calibrated.cameras}
    cameras = [
        _fit_to_images(by_name[name], calibrated, source, notes) for name, source in zip(names, sources, strict=True)
    ]
    scale = _scale(path, calibrated, settings, metres_per_unit, require_scale, notes)
    rig = UnscaledRig(tuple(cameras))
    return Capture(
        path=path,
        cameras=rig if scale is None else rig.in_metres(scale),
        calibration=calibrated,
        metres_per_unit=scale,
        scale="unknown" if scale is None else "calibrated" if scale == calibrated.metres_per_unit else "given",
        sources=tuple(sources),
        source_frames=source_frames,
        notes=tuple(notes),
        hands=settings.get("hands"),
        subject=settings.get("subject"),
        fps=_common_fps(sources) or settings.get("fps") or fps,
        folder=path,
    )


def _leave_out_damaged(
    source_frames: Int[np.ndarray, "frames views"],
    names: list[str],
    sources: list[VideoFile | ImageFolder],
    notes: list[str],
) -> None:
    """Take damaged frames of videos out of the schedule, as if their camera had none then."""
    for view, (name, source) in enumerate(zip(names, sources, strict=True)):
        damaged = source.damaged if isinstance(source, VideoFile) else None
        if damaged is not None:
            column = source_frames[:, view]
            column[(column >= 0) & damaged[column]] = -1
            notes.append(describe_damage(name, source) + "; they are left out: copy or record the video again")


def describe_damage(camera: str, source: VideoFile | ImageFolder) -> str:
    """Say how many frames of a camera's video are damaged; empty for none."""
    damaged = source.damaged if isinstance(source, VideoFile) else None
    if damaged is None:
        return ""
    first, count = int(damaged.argmax()), int(damaged.sum())
    return f"camera {camera}: {count} of {len(damaged)} frames of {source.path.name} are damaged, the first is {first}"


def _fit_to_images(
    camera: Camera, calibrated: Calibration, source: VideoFile | ImageFolder, notes: list[str]
) -> Camera:
    """The camera for the images as they are: its size taken from them if unknown, rescaled if it differs."""
    (width, height), (old_width, old_height) = source.size_px, camera.size_px
    if camera.name in calibrated.unsized:
        center = camera.intrinsics[:2, 2]
        if (np.abs(center / source.size_px - 0.5) > MAX_CENTER_SHIFT).any():
            notes.append(
                f"camera {camera.name}: principal point {center.round().tolist()} px is far from the "
                f"middle of the {width}x{height} image: was it calibrated at another size?"
            )
        return replace(camera, size_px=source.size_px)
    if (width, height) == (old_width, old_height):
        return camera
    if abs(width * old_height / (height * old_width) - 1) > MAX_ASPECT_DIFFERENCE:
        if abs(height * old_height / (width * old_width) - 1) <= MAX_ASPECT_DIFFERENCE:
            raise HandgenError(_turned(camera, calibrated, source))
        raise HandgenError(
            f"{source.path}: images of {width}x{height}, but camera {camera.name} in {calibrated.path} is "
            f"calibrated at {old_width}x{old_height}, another aspect ratio; calibrate at the video's size"
        )
    notes.append(f"camera {camera.name}: scaled intrinsics {old_width}x{old_height} -> {width}x{height}")
    return camera.resized(source.size_px)


def _turned(camera: Camera, calibrated: Calibration, source: VideoFile | ImageFolder) -> str:
    """The fact that pictures stand the other way than the calibration's, and what to do about it."""
    (width, height), (old_width, old_height) = source.size_px, camera.size_px
    tag = source.rotation_deg if isinstance(source, VideoFile) else 0
    why = f" by a tag in the file ({tag} degrees)" if tag in (90, 270) else ""
    fix = "remove the tag (ffmpeg -display_rotation 0 -i IN -c copy OUT)" if why else "turn them back"
    return (
        f"{source.path}: images of {width}x{height} are rotated by 90 degrees{why}: camera {camera.name} in "
        f"{calibrated.path} is calibrated at {old_width}x{old_height}; {fix}, or calibrate with images as they are now"
    )


def _scale(
    path: Path,
    calibrated: Calibration,
    settings: dict[str, Any],
    given: float | Literal["auto"] | None,
    require_scale: bool,
    notes: list[str],
) -> float | None:
    """Metres per calibration unit; None to leave the rig in calibration units."""
    own = calibrated.metres_per_unit
    value = settings.get("metres_per_unit", own) if given is None else given
    if value == "auto":
        return None
    if value is None:
        if require_scale:
            raise HandgenError(
                f"{calibrated.path}: the calibration's unit is unknown ({calibrated.unit_note}); "
                "give --metres-per-unit X, or --metres-per-unit auto to scale by the hand"
            )
        return None
    if not math.isfinite(value) or value <= 0:
        raise HandgenError(f"{path}: metres per unit must be a positive number, got {value}; correct it")
    if own is not None and not math.isclose(value, own):
        notes.append(f"metres per unit: {value:g} as given, instead of {own:g} ({calibrated.unit_note})")
    return float(value)


def _common_fps(sources: list[VideoFile | ImageFolder]) -> float | None:
    rates = [source.fps for source in sources if source.fps]
    return float(rates[0]) if rates and not rates_differ(rates) else None
