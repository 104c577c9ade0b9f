"""The hands of one camera, packed: what every reader of keypoint files makes; and the files that it may read."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from handgen.errors import HandgenError
from handgen.hand.skeleton import KEYPOINT_COUNT
from handgen.records.detection import MAX_FRAME, Detection
from handgen.storage import limits
from handgen.storage.limits import Share

SMALLER = "give the keypoints as .npz"
MAX_PX = 100_000  # from the image's corner; what lies farther out is no pixel
NORMALISED = 1.5  # where no coordinate is larger, pixels were divided by the picture's size
HAND_BYTES = 4 * 3 * KEYPOINT_COUNT  # of one that is packed: 100,000 frames of two hands are 50 MB
_LISTED_BYTES = 6 * HAND_BYTES  # of one while its file is read
_BLOCK = 2**14  # hands


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
        self._most = limits.KEYPOINTS.allowed // _LISTED_BYTES

    def add(self, frame: int, values: Float[np.ndarray, "21 3"], right: float, redetected: bool = False) -> None:
        """Take one; HandgenError if there are more than memory is meant for."""
        if len(self.frames) >= self._most:
            limits.KEYPOINTS.check((len(self.frames) + 1) * _LISTED_BYTES, self.where, "divide the capture")
        self.frames.append(frame)
        with np.errstate(over="ignore"):  # what 32 bit cannot hold becomes infinite, which is no pixel
            self.values.append(values.astype(np.float32))
        self.right.append(right)
        self.redetected.append(redetected)

    def packed(self) -> CameraHands:
        """The hands, sorted by frame; those of one frame keep their order. HandgenError if none is in pixels."""
        frames, values, right = self._arrays()
        _check_places(frames, values, np.ones(values.shape[:2], bool), self.where)
        seen = values[..., :2][values[..., 2] > 0]
        _check_pixels(float(np.abs(seen).max(initial=0)), len(seen) > 0, self.where)
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
    packed = np.empty((len(values), KEYPOINT_COUNT, 3), np.float32)
    kept = np.zeros(len(values), bool)
    farthest = [0.0]
    for first in range(0, len(values), _BLOCK):  # so that what is made on the way takes little beside what is kept
        block = slice(first, first + _BLOCK)
        kept[block], packed[block], reach = _pack_block(frames[block], values[block], where)
        farthest.append(reach)
    _check_pixels(max(farthest), bool(kept.any()), where)
    if not kept.all():
        packed, frames, right = packed[kept], frames[kept], right[kept]
    return _packed(frames, packed, right.astype(float))


def _pack_block(
    frames: Int[np.ndarray, " n"], values: Float[np.ndarray, "n 21 3"], where: str
) -> tuple[Bool[np.ndarray, " n"], Float[np.ndarray, "n 21 3"], float]:
    """Return which hands are kept, all of them packed, and the largest coordinate."""
    with np.errstate(over="ignore"):
        hands = values.astype(np.float32)
    scores = np.clip(np.nan_to_num(hands[..., 2], posinf=0.0, neginf=0.0), 0, 1)
    seen = np.isfinite(hands[..., :2]).all(-1) & (scores > 0)
    seen &= ~((hands[..., :2] == 0).all(-1) | (hands[..., :2] == -1).all(-1))
    _check_places(frames, hands, seen, where)
    places = np.where(seen[..., None], hands[..., :2], 0)
    mean = places.sum(1, keepdims=True) / np.maximum(seen.sum(1), 1)[:, None, None]
    packed = np.concatenate([np.where(seen[..., None], places, mean), np.where(seen, scores, 0)[..., None]], -1)
    return np.asarray(seen.any(-1)), packed.astype(np.float32), float(np.abs(places).max(initial=0))


def _check_places(
    frames: Int[np.ndarray, " n"], hands: Float[np.ndarray, "n 21 3"], seen: Bool[np.ndarray, "n 21"], where: str
) -> None:
    """Raise a HandgenError for a keypoint that is seen where no picture is."""
    far = np.argwhere(seen & ~(np.abs(hands[..., :2]) <= MAX_PX).all(-1))
    if len(far):
        hand, keypoint = far[0]
        x, y = hands[hand, keypoint, :2]
        raise HandgenError(f"{where}: frame {frames[hand]}, keypoint {keypoint}: ({x:g}, {y:g}) is no place in pixels")


def _check_pixels(farthest: float, any_seen: bool, where: str) -> None:
    """Raise a HandgenError if all places are in units of the picture's size. farthest: the largest coordinate."""
    if any_seen and farthest <= NORMALISED:
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


def check_file(file: Path, share: Share, otherwise: str) -> None:
    """Raise a HandgenError unless it is a file (no pipe) of this size at most; OSError if it is not there."""
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise HandgenError(f"{file}: not a file")
    share.check(status.st_size, file, otherwise)
