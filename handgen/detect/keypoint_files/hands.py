"""The hands of one camera, packed: what every reader of keypoint files makes; and the files that it may read."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from handgen.errors import HandgenError
from handgen.hand.skeleton import KEYPOINT_COUNT
from handgen.records.detection import Detection

MAX_FILE_BYTES = 2**30  # of one file with all frames of a camera
SMALLER = "give the keypoints as .npz"
MAX_FRAME = 10**9
MAX_PX = 100_000  # from the image's corner; what lies farther out is no pixel
NORMALISED = 1.5  # where no coordinate is larger, pixels were divided by the picture's size
_MAX_HANDS = 20_000_000  # of a camera: 5 GB; 100,000 frames of two hands are 50 MB


@dataclass(frozen=True)
class CameraHands:
    """The hands of one camera by frame; 100,000 take 27 MB.

    frames: numbers in the camera's own video, from 0, rising; several hands may share one. values: x, y in pixels and
    the confidence (0 to 1). right: the probability of a right hand. redetected: found in a second look.
    """

    frames: Int[np.ndarray, " n"]
    values: Float[np.ndarray, "n 21 3"]
    right: Float[np.ndarray, " n"]
    redetected: Bool[np.ndarray, " n"]

    def at(self, frame: int) -> list[Detection]:
        """The hands of one frame, in the order of the file."""
        first, last = np.searchsorted(self.frames, (frame, frame + 1))
        arrays = self.values, self.right, self.redetected
        return [
            Detection(values[:, :2].astype(float), values[:, 2].astype(float), float(right), bool(again))
            for values, right, again in zip(*(a[first:last] for a in arrays), strict=True)
        ]


class HandList:
    """Hands of one camera as they are found in a file. where: the file, for messages."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.frames: list[int] = []
        self.values: list[Float[np.ndarray, "21 3"]] = []
        self.right: list[float] = []
        self.redetected: list[bool] = []

    def add(self, frame: int, values: Float[np.ndarray, "21 3"], right: float, redetected: bool = False) -> None:
        """Take one; HandgenError if there are more than memory is meant for."""
        if len(self.frames) >= _MAX_HANDS:
            raise HandgenError(f"{self.where}: more than {_MAX_HANDS} hands; divide the capture")
        self.frames.append(frame)
        with np.errstate(over="ignore"):  # what 32 bit cannot hold becomes infinite, which is no pixel
            self.values.append(values.astype(np.float32))
        self.right.append(right)
        self.redetected.append(redetected)

    def packed(self) -> CameraHands:
        """The hands, sorted by frame; those of one frame keep their order. HandgenError if none is in pixels."""
        frames, values, right = self._arrays()
        _check_pixels(values[..., :2][values[..., 2] > 0], self.where)
        return _packed(frames, values, right, np.array(self.redetected, bool))

    def packed_scored(self) -> CameraHands:
        """The hands, as `pack_scored` makes them."""
        return pack_scored(*self._arrays(), self.where)

    def _arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        values = np.array(self.values, np.float32).reshape(-1, KEYPOINT_COUNT, 3)
        return np.array(self.frames, np.int64), values, np.array(self.right, float)


def pack_scored(
    frames: Int[np.ndarray, " n"], values: Float[np.ndarray, "n 21 3"], right: Float[np.ndarray, " n"], where: str
) -> CameraHands:
    """Hands out of a network's file, whose third value is a score.

    Scores are peaks of maps that were trained towards 1 and may be a little beyond: they are clipped to 0..1. A
    keypoint without a score, that is no number, or at (0, 0) or (-1, -1), as many write one that they lack, gets the
    mean position of the others and confidence 0; a hand without any is left out. where: the file, for messages. Raises
    HandgenError for a keypoint that can be no pixel, and where none is beyond the first pixel: they are normalised.
    """
    with np.errstate(over="ignore"):
        hands = values.astype(np.float32)
    scores = np.clip(np.nan_to_num(hands[..., 2], posinf=0.0, neginf=0.0), 0, 1)
    seen = np.isfinite(hands[..., :2]).all(-1) & (scores > 0)
    seen &= ~((hands[..., :2] == 0).all(-1) | (hands[..., :2] == -1).all(-1))
    _check_pixels(hands[..., :2][seen], where)
    far = np.argwhere(seen & (np.abs(np.nan_to_num(hands[..., :2])) > MAX_PX).any(-1))
    if len(far):
        hand, keypoint = far[0]
        x, y = hands[hand, keypoint, :2]
        raise HandgenError(f"{where}: frame {frames[hand]}, keypoint {keypoint}: ({x:g}, {y:g}) is no place in pixels")
    kept = seen.any(-1)
    hands, scores, seen = hands[kept], scores[kept], seen[kept]
    places = np.where(seen[..., None], hands[..., :2], 0)
    mean = places.sum(1, keepdims=True) / seen.sum(1)[:, None, None]
    packed = np.concatenate([np.where(seen[..., None], places, mean), np.where(seen, scores, 0)[..., None]], -1)
    return _packed(frames[kept], packed.astype(np.float32), right[kept].astype(float))


def _check_pixels(places: Float[np.ndarray, "n 2"], where: str) -> None:
    """Raise a HandgenError if all places are in units of the picture's size."""
    if len(places) and np.abs(places).max() <= NORMALISED:
        raise HandgenError(
            f"{where}: all coordinates are within 0 to 1: normalised, and not in pixels; multiply x by the picture's "
            "width and y by its height (OpenPose: run it with --keypoint_scale 0)"
        )


def check_frame(number: int, where: str) -> int:
    """A frame number; HandgenError if it can be none."""
    if not 0 <= number <= MAX_FRAME:
        raise HandgenError(f"{where}: frame {number}, expected 0 to {MAX_FRAME}")
    return number


def _packed(
    frames: Int[np.ndarray, " n"],
    values: Float[np.ndarray, "n 21 3"],
    right: Float[np.ndarray, " n"],
    redetected: Bool[np.ndarray, " n"] | None = None,
) -> CameraHands:
    order = np.argsort(frames, kind="stable")
    again = np.zeros(len(frames), bool) if redetected is None else redetected
    return CameraHands(frames[order], values[order], right[order], again[order])


def check_file(file: Path, max_bytes: int, otherwise: str) -> None:
    """Raise a HandgenError unless it is a file (no pipe) of this size at most; OSError if it is not there."""
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise HandgenError(f"{file}: not a file")
    if status.st_size > max_bytes:
        raise HandgenError(f"{file}: larger than {max_bytes >> 20} MiB; {otherwise}")
