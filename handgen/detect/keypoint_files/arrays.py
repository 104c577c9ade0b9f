"""Arrays: `.npy`, `.npz`, one hand: (views x) frames x 21 x 2, or x 3 with the confidence (0 to 1) last.

Views in the order of the rig's cameras (their axis may be left out where there is one camera), keypoints in the order
of `handgen.hand.skeleton`, pixels of the original (distorted) images with (0, 0) in the centre of the first one, NaN,
(-1, -1) or (0, 0) where a keypoint is missing.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from jaxtyping import Float

from handgen.detect.keypoint_files.hands import HAND_BYTES, CameraHands, pack_scored
from handgen.errors import HandgenError, explain_unreadable
from handgen.hand.skeleton import KEYPOINT_COUNT
from handgen.storage.numpy_files import Header, read_arrays

SUFFIXES = (".npy", ".npz")
_ARRAY_NAME = "keypoints_px"  # in an .npz that holds several arrays
_BLOCK = 2**14  # frames


def read_all(path: Path, cameras: tuple[str, ...], side: str | None) -> dict[str, CameraHands]:
    """The hands of all cameras, out of one file."""
    if len(cameras) == 1:
        return {cameras[0]: read(path, side)}
    values = _load(path)
    if values.ndim != 4 or len(values) != len(cameras):
        raise HandgenError(
            f"{path}: shape {values.shape}, expected {len(cameras)} views x frames x "
            f"{KEYPOINT_COUNT} x 2 or 3, the views in the order of the cameras: {', '.join(cameras)}"
        )
    return {camera: _hands(view, path, side) for camera, view in zip(cameras, values, strict=True)}


def read(path: Path, side: str | None) -> CameraHands:
    """The hands of one camera's file."""
    values = _load(path)
    if values.ndim == 4 and len(values) == 1:
        values = values[0]
    if values.ndim != 3:
        raise HandgenError(f"{path}: shape {values.shape}, expected frames x {KEYPOINT_COUNT} x 2 or 3")
    return _hands(values, path, side)


def _load(path: Path) -> Float[np.ndarray, "*views frames 21 _"]:
    """The array of a file."""

    def choose(names: list[str]) -> list[str]:
        if _ARRAY_NAME not in names and len(names) != 1:
            raise HandgenError(f"{path}: holds the arrays {names[:20]}; call the keypoints {_ARRAY_NAME}")
        return [_ARRAY_NAME if _ARRAY_NAME in names else names[0]]

    with explain_unreadable(path):
        (loaded,) = read_arrays(path, str(path), choose=choose, charge=_packed_bytes).values()
    if loaded.dtype.kind not in "fiu" or loaded.shape[-2:] not in ((KEYPOINT_COUNT, 2), (KEYPOINT_COUNT, 3)):
        raise HandgenError(
            f"{path}: {loaded.dtype} of shape {loaded.shape}, expected numbers, ... x {KEYPOINT_COUNT} x 2 or 3"
        )
    return loaded


def _packed_bytes(header: Header) -> int:
    """The memory that the hands of an array take, and those of one camera on the way."""
    (*before, _, _), _, _ = header if len(header[0]) > 2 else ((0, 0, 0), False, None)
    hands = math.prod(before)
    return HAND_BYTES * (hands + 3 * hands // max(1, before[0] if len(before) > 1 else 1))


def _hands(values: Float[np.ndarray, "frames 21 _"], path: Path, side: str | None) -> CameraHands:
    """One hand per frame that has a keypoint."""
    if side is None:
        raise HandgenError(
            f"{path}: an array does not say which hand it is of; give the side: --hands left or --hands right"
        )
    hands = np.empty((len(values), KEYPOINT_COUNT, 3), np.float32)
    for first in range(0, len(values), _BLOCK):
        block = values[first : first + _BLOCK]
        confidence = np.nan_to_num(block[..., 2]) if block.shape[-1] == 3 else np.ones(block.shape[:2])
        confidence = np.where((block == -1).all(-1), 0, confidence)  # of a keypoint that is missing
        wrong = np.argwhere((confidence < 0) | (confidence > 1))
        if len(wrong):
            frame, keypoint = wrong[0]
            raise HandgenError(
                f"{path}: frame {first + frame}, keypoint {keypoint}: confidence {confidence[frame, keypoint]:g}, "
                "expected 0 to 1"
            )
        with np.errstate(over="ignore"):  # what 32 bit cannot hold becomes infinite, which is no pixel
            hands[first : first + _BLOCK] = np.concatenate([block[..., :2], confidence[..., None]], -1)
    return pack_scored(np.arange(len(hands)), hands, np.full(len(hands), float(side == "right")), str(path))
