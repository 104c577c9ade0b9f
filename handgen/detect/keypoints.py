"""Keypoints that others have made: a detector that reads files and looks at no image.

- handgen's own JSONL (`schemas/detection.schema.json`), any number of hands per frame;
- `.npy` or `.npz`, one hand: views x frames x 21 x 2, or x 3 with the confidence (0 to 1) last. Views in the
  order of the rig's cameras, keypoints in the order of `handgen.hand.layout`, pixels of the original
  (distorted) images with (0, 0) in the centre of the first one, NaN where a keypoint is missing;
- a folder with one such file per camera, named after it (arrays without the views axis).

Frames are those of each camera's own video (or images), from 0, whatever offsets or timestamps the capture has.
"""

from __future__ import annotations

import hashlib
import zipfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from handgen.detect.base import Detection
from handgen.detect.bias import ViewBias
from handgen.errors import HandgenError
from handgen.hand.layout import KEYPOINT_COUNT, SIDES
from handgen.io.detections import read_detections

SUFFIXES = (".jsonl", ".npy", ".npz")
_ARRAY_NAME = "keypoints_px"  # in an .npz that holds several arrays
ByFrame = dict[int, list[Detection]]


class KeypointsDetector:
    """Keypoints read from files, for all cameras of a rig."""

    name = "keypoints"
    needs_images = False

    def __init__(self, path: Path, cameras: tuple[str, ...], side: str | None = None) -> None:
        """Read `path` (see the module).

        cameras: names, in the rig's order. side: "left" or "right", the hand that arrays are of; files of
        detections say it themselves. Raises HandgenError for what does not fit.
        """
        if side is not None and side not in SIDES:
            raise ValueError(f"side: must be one of {SIDES}, got {side!r}")
        self.view_bias: ViewBias | None = None
        self.offsets_m: Float[np.ndarray, "21 3"] = np.zeros((KEYPOINT_COUNT, 3))
        files = tuple(_camera_files(path, cameras).items()) if path.is_dir() else ((None, path),)
        self._by_camera = _read(files, cameras, side, tuple(_stamp(file) for _, file in files))

    def fingerprint(self) -> str:
        """A digest of the keypoints read."""
        digest = hashlib.sha256()
        for camera, by_frame in sorted(self._by_camera.items()):
            for frame, detections in sorted(by_frame.items()):
                digest.update(f"{camera} {frame}".encode())
                for found in detections:
                    values = (*found.keypoints_px.ravel(), *found.confidence, found.right)
                    digest.update(np.array(values, "<f8").tobytes())
        return digest.hexdigest()

    def start(self, camera: str) -> KeypointsView:
        """The detections of one camera."""
        if camera not in self._by_camera:
            raise ValueError(f"camera: {camera!r} is none of {list(self._by_camera)}")
        return KeypointsView(self._by_camera[camera])


class KeypointsView:
    """The detections of one camera, by frame."""

    def __init__(self, by_frame: ByFrame) -> None:
        self._by_frame = by_frame

    def detect(self, image: UInt8[np.ndarray, "height width 3"] | None, frame: int) -> list[Detection]:
        """What the file has for frame number `frame`; the image is not looked at."""
        return list(self._by_frame.get(frame, ()))

    def detect_near(
        self, image: UInt8[np.ndarray, "height width 3"], keypoints_px: Float[np.ndarray, "21 2"], right: float
    ) -> Detection | None:
        """Nothing: a file holds no more on a second look."""
        return None


def _stamp(file: Path) -> tuple[int, int]:
    """Size and time of change, by which a file is known again."""
    try:
        status = file.stat()
    except OSError:
        raise HandgenError(f"{file}: not found") from None
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=2)
def _read(
    files: tuple[tuple[str | None, Path], ...],
    cameras: tuple[str, ...],
    side: str | None,
    stamps: tuple[tuple[int, int], ...],
) -> dict[str, ByFrame]:
    """The detections of all cameras; parsed once per process as long as the files' stamps stay the same.

    files: one per camera, or one with None for all of them.
    """
    by_camera: dict[str, ByFrame] = {}
    for camera, file in files:
        by_camera |= {camera: _read_one(file, camera, side)} if camera is not None else _read_all(file, cameras, side)
    return by_camera


def _read_all(path: Path, cameras: tuple[str, ...], side: str | None) -> dict[str, ByFrame]:
    """The one file of all cameras."""
    if path.suffix == ".jsonl":
        return _read_jsonl(path, cameras)
    values = _load_array(path)
    if values.ndim != 4 or len(values) != len(cameras):
        raise HandgenError(
            f"{path}: shape {values.shape}, expected {len(cameras)} views x frames x "
            f"{KEYPOINT_COUNT} x 2 or 3, the views in the order of the cameras: {', '.join(cameras)}"
        )
    return {camera: _from_array(view, path, side) for camera, view in zip(cameras, values, strict=True)}


def _camera_files(folder: Path, cameras: tuple[str, ...]) -> dict[str, Path]:
    """The one file of each camera."""
    files: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix not in SUFFIXES:
            continue
        if file.stem not in cameras:
            raise HandgenError(f"{file}: no camera is called {file.stem!r}; the cameras are {', '.join(cameras)}")
        if file.stem in files:
            raise HandgenError(f"{folder}: {files[file.stem].name} and {file.name} are of one camera; remove one")
        files[file.stem] = file
    missing = [camera for camera in cameras if camera not in files]
    if missing:
        raise HandgenError(
            f"{folder}: no keypoints of camera {', '.join(missing)}; expected a file {missing[0]} with one "
            f"of the endings {', '.join(SUFFIXES)}"
        )
    return {camera: files[camera] for camera in cameras}


def _read_one(file: Path, camera: str, side: str | None) -> ByFrame:
    """The file of one camera."""
    if file.suffix == ".jsonl":
        return _read_jsonl(file, (camera,))[camera]
    values = _load_array(file)
    if values.ndim == 4 and len(values) == 1:
        values = values[0]
    if values.ndim != 3:
        raise HandgenError(f"{file}: shape {values.shape}, expected frames x {KEYPOINT_COUNT} x 2 or 3")
    return _from_array(values, file, side)


def _read_jsonl(path: Path, cameras: tuple[str, ...]) -> dict[str, ByFrame]:
    by_camera: dict[str, ByFrame] = {camera: {} for camera in cameras}
    for record in read_detections(path, cameras):
        detection = Detection(record.keypoints_px, record.confidence, record.right)
        by_camera[record.camera].setdefault(record.frame, []).append(detection)
    return by_camera


def _load_array(path: Path) -> Float[np.ndarray, "*views frames 21 _"]:
    """The array of an .npy or .npz file, nothing unpickled."""
    if path.suffix not in SUFFIXES[1:]:
        raise HandgenError(f"{path}: not a file of keypoints; expected a folder or one of {', '.join(SUFFIXES)}")
    try:
        loaded = np.load(path, mmap_mode="r" if path.suffix == ".npy" else None, allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            with loaded:
                names = loaded.files
                if _ARRAY_NAME not in names and len(names) != 1:
                    raise HandgenError(f"{path}: holds the arrays {names}; call the keypoints {_ARRAY_NAME}")
                loaded = loaded[_ARRAY_NAME if _ARRAY_NAME in names else names[0]]
    except FileNotFoundError:
        raise HandgenError(f"{path}: not found") from None
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise HandgenError(f"{path}: cannot be read as a numpy array ({error}); is the file truncated?") from None
    if loaded.dtype.kind not in "fiu" or loaded.shape[-2:] not in ((KEYPOINT_COUNT, 2), (KEYPOINT_COUNT, 3)):
        raise HandgenError(
            f"{path}: {loaded.dtype} of shape {loaded.shape}, expected numbers, ... x {KEYPOINT_COUNT} x 2 or 3"
        )
    return np.asarray(loaded)


def _from_array(values: Float[np.ndarray, "frames 21 _"], path: Path, side: str | None) -> ByFrame:
    """One hand per frame that has a keypoint. A missing one gets the mean position and confidence 0."""
    if side is None:
        raise HandgenError(
            f"{path}: an array does not say which hand it is of; give the side: --hands left or --hands right"
        )
    values = values.astype(float)
    keypoints = values[..., :2]
    confidence = np.nan_to_num(values[..., 2]) if values.shape[-1] == 3 else np.ones(values.shape[:2])
    wrong = np.argwhere((confidence < 0) | (confidence > 1))
    if len(wrong):
        frame, keypoint = wrong[0]
        raise HandgenError(
            f"{path}: frame {frame}, keypoint {keypoint}: confidence {confidence[frame, keypoint]:g}, expected 0 to 1"
        )
    seen = np.isfinite(keypoints).all(-1) & (confidence > 0)
    by_frame: ByFrame = {}
    for frame in np.flatnonzero(seen.any(-1)):
        here = seen[frame]
        mean = keypoints[frame, here].mean(0)
        by_frame[int(frame)] = [
            Detection(
                np.where(here[:, None], keypoints[frame], mean),
                np.where(here, confidence[frame], 0.0),
                float(side == "right"),
            )
        ]
    return by_frame
