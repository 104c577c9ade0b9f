"""A detector that reads files of keypoints (`handgen.detect.keypoint_files.formats`) and looks at no image."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from handgen.detect.base import CameraFrames, DetectionTask, Detector
from handgen.detect.keypoint_files import formats as keypoint_files
from handgen.detect.keypoint_files.conventions import convention_of
from handgen.detect.keypoint_files.formats import CameraHands, Source
from handgen.detect.registry import KeypointFilesOptions
from handgen.detect.view_bias import ViewBias
from handgen.errors import HandgenError
from handgen.hand.skeleton import KEYPOINT_COUNT, KEYPOINT_NAMES, SIDES
from handgen.media.arrays import Image
from handgen.records.detection import Detection

_MISSING_SHARE = 0.9  # of the hands: a keypoint that more of them lack is one that the files do not have


def create_detector(task: DetectionTask, options: KeypointFilesOptions) -> Detector:
    """The detector, with its files read."""
    return KeypointsDetector(Path(options.keypoints), task.cameras, task.side, task.frames, options.keypoints_of)


class KeypointsDetector:
    """Keypoints read from files, for all cameras of a rig."""

    name = "keypoints"
    needs_images = False

    def __init__(
        self,
        path: Path,
        cameras: tuple[str, ...],
        side: str | None = None,
        frames: Mapping[str, CameraFrames] | None = None,
        keypoints_of: str = "auto",
    ) -> None:
        """Read `path`, a file or folder; HandgenError for what does not fit.

        side: of files that do not say it. frames: of the cameras, to which files of a frame each are matched by name.
        keypoints_of: what made them, as the option of that name.
        """
        if side is not None and side not in SIDES:
            raise ValueError(f"side: must be one of {SIDES}, got {side!r}")
        self._asked = (path, cameras, side, tuple((frames or {}).items()))
        self._by_camera = _read(*self._asked)
        found = convention_of(path, keypoints_of, keypoint_files.kinds(keypoint_files.sources(path, cameras)))
        self.view_bias: ViewBias | None = found.view_bias
        self.offsets_m: Float[np.ndarray, "21 3"] = found.offsets_m
        notes = (found.note, _missing_note(path, self._by_camera.values()))
        self.notes = tuple(note for note in notes if note is not None)

    def fingerprint(self) -> str:
        """A digest of the keypoints read; first it is looked whether any file has changed."""
        self._by_camera = _read(*self._asked, look_closely=True)
        digest = hashlib.sha256()
        for camera, hands in sorted(self._by_camera.items()):
            digest.update(f"{camera} {len(hands.frames)}\n".encode())
            for array, kind in ((hands.frames, "<i8"), (hands.values, "<f4"), (hands.right, "<f8")):
                digest.update(np.ascontiguousarray(array, kind).tobytes())
            if hands.redetected.any():
                digest.update(np.packbits(hands.redetected).tobytes())
        return digest.hexdigest()

    def start(self, camera: str) -> KeypointsView:
        """The detections of one camera."""
        if camera not in self._by_camera:
            raise ValueError(f"camera: {camera!r} is none of {list(self._by_camera)}")
        return KeypointsView(self._by_camera[camera])


class KeypointsView:
    """The detections of one camera."""

    def __init__(self, hands: CameraHands) -> None:
        self._hands = hands

    def detect(self, image: Image | None, frame: int) -> list[Detection]:
        """The hands that the file has for frame number `frame`; the image is not looked at."""
        return self._hands.at(frame)

    def detect_near(self, image: Image, keypoints_px: Float[np.ndarray, "21 2"], right: float) -> Detection | None:
        """Nothing: a file holds no more on a second look."""
        return None


def _missing_note(path: Path, cameras: Iterable[CameraHands]) -> str | None:
    """Tell which keypoints (nearly) no hand of any camera has; nothing where all are there."""
    seen = np.concatenate([np.zeros((0, KEYPOINT_COUNT), bool), *(hands.values[..., 2] > 0 for hands in cameras)])
    without = (~seen).sum(0)
    names = [name for name, count in zip(KEYPOINT_NAMES, without, strict=True) if count > _MISSING_SHARE * len(seen)]
    if not names:
        return None
    fewest = int(without[[KEYPOINT_NAMES.index(name) for name in names]].min())
    return (
        f"{path}: {', '.join(names)}: missing in {fewest} of {len(seen)} hands (no score, or at (0, 0) or (-1, -1)); "
        "where no camera has them, their labels are what the hand model makes of the others"
    )


@dataclass(frozen=True)
class _Known:
    """Keypoints that were read, and the stamps of their files: at a glance, and of each file in a folder."""

    stamps: tuple[tuple[int, ...], ...]
    close_stamps: tuple[tuple[int, ...], ...]
    by_camera: dict[str, CameraHands]


_Frames = tuple[tuple[str, CameraFrames], ...]
_known: dict[tuple[tuple[Source, ...], tuple[str, ...], str | None, _Frames], _Known] = {}  # by what was asked for
_MAX_KNOWN = 2


def _read(
    path: Path, cameras: tuple[str, ...], side: str | None, frames: _Frames, look_closely: bool = False
) -> dict[str, CameraHands]:
    """The hands of all cameras; parsed once per process as long as the files' stamps stay the same.

    look_closely: also at every file of a folder, which takes seconds for 100,000: only `fingerprint` does it, once a
    run.
    """
    try:
        sources = keypoint_files.sources(path, cameras)
        stamps = tuple(_stamp(source) for _, source in sources)
        known = _known.get((sources, cameras, side, frames))
        if known is not None and known.stamps == stamps and not look_closely:
            return known.by_camera
        close_stamps = tuple(_stamp(source, closely=True) for _, source in sources)
        if known is not None and known.stamps == stamps and known.close_stamps == close_stamps:
            return known.by_camera
    except FileNotFoundError:
        raise HandgenError(f"{path}: not found") from None
    except OSError as error:
        raise HandgenError(f"{error.filename or path}: cannot be read ({error.strerror})") from None
    by_camera = keypoint_files.read(sources, cameras, side, dict(frames))
    while len(_known) >= _MAX_KNOWN:
        del _known[next(iter(_known))]
    _known[sources, cameras, side, frames] = _Known(stamps, close_stamps, by_camera)
    return by_camera


def _stamp(source: Path, closely: bool = False) -> tuple[int, ...]:
    """Size and time of change of a file, or of a folder; closely: of all files in the folder."""
    status = source.stat()
    if not (closely and source.is_dir()):
        return status.st_size, status.st_mtime_ns
    with os.scandir(source) as entries:
        files = sorted((entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in entries)
    return len(files), hash(tuple(files))
