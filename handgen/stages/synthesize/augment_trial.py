"""A trial of a transform, before millions of images go through it: does it give back such an image, in place?

What albumentations declares (`DualTransform`) does not tell all: some transforms of colour alone move the picture
by pixels (a motion blur to one side), return floats, or need what a composite does not bring.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Float

from handgen.errors import HandgenError
from handgen.media.arrays import Image

Apply = Callable[[Image, np.random.Generator], np.ndarray]

_SHAPES = ((40, 56), (128, 96))  # small, so that the dearest parameters allowed end in seconds
_DRAWS = 8
_MAX_SHIFT_PX = 0.25  # root mean square; on the larger image all that stay in place read less than 0.15
_MAX_SECONDS = 2.0  # for one small image; what is in use takes milliseconds
_MIN_LIKENESS = 0.5  # share of the result's variance explained; below, a shift cannot be told


def try_out(apply: Apply, where: str) -> None:
    """Apply a transform to small images, some times.

    where: begins the messages. Raises HandgenError when it fails, takes seconds, gives anything but uint8 of the same
    shape, is not a function of its randomness, or moves the contents.
    """
    for shape in _SHAPES:
        image = _blobs(*shape)
        results = [_result(apply, image, draw, where) for draw in range(_DRAWS)]
        if (results[0] != _result(apply, image, 0, where)).any():
            raise HandgenError(f"{where}: two runs with one seed differ, so shards could not be made again; remove it")
    shifts = [displacement_px(_blobs(*_SHAPES[-1]), result) for result in results]
    shift = float(np.sqrt(np.mean(np.square(shifts))))
    if shift > _MAX_SHIFT_PX:
        raise HandgenError(
            f"{where}: moves the picture by {shift:.1f} px, which the labels would not follow; make it symmetric, "
            "as docs/augmentation.md says, or remove it"
        )


def _result(apply: Apply, image: Image, seed: int, where: str) -> np.ndarray:
    started, size = time.perf_counter(), f"{image.shape[1]}x{image.shape[0]}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = apply(image.copy(), np.random.default_rng(seed))
    except Exception as error:  # whatever a transform of somebody else's raises for parameters that do not fit
        raise HandgenError(f"{where}: failed on an image of {size} px ({first_line(error)})") from None
    if (seconds := time.perf_counter() - started) > _MAX_SECONDS:
        raise HandgenError(f"{where}: took {seconds:.0f} s on {size} px; lower its numbers")
    if not isinstance(result, np.ndarray) or result.dtype != np.uint8 or result.shape != image.shape:
        kind = f"{result.dtype} of {result.shape}" if isinstance(result, np.ndarray) else type(result).__name__
        raise HandgenError(f"{where}: gave {kind} for uint8 of {image.shape}; samples are 8-bit RGB: remove it")
    return result


def first_line(error: Exception) -> str:
    """Shorten a message that may have many lines."""
    return (str(error).splitlines() or [""])[0][:200]


def displacement_px(before: Image, after: Image) -> float:
    """Measure how far the contents moved as a whole, px; 0 where the two have too little in common.

    To first order after(x) = gain * before(x - shift) + ramp(x), so the gradients' coefficients of a linear fit are
    -gain * shift (Lucas and Kanade 1981, with a gain and a ramp of light).
    """
    source, target = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64) for image in (before, after))
    rows, columns = np.mgrid[: source.shape[0], : source.shape[1]] / max(source.shape)
    by_row, by_column = np.gradient(source)
    inner = (slice(4, -4), slice(4, -4))  # borders are filled in, by each transform in its way
    terms = [np.ones_like(source), rows, columns, source, by_row, by_column]
    design = np.stack([term[inner].ravel() for term in terms], axis=1)
    values = target[inner].ravel()
    solution, *_ = np.linalg.lstsq(design, values, rcond=None)
    explained = 1 - np.var(values - design @ solution) / max(np.var(values), 1e-9)
    gain = abs(solution[3])
    return 0.0 if explained < _MIN_LIKENESS or gain < 0.05 else float(np.hypot(solution[4], solution[5]) / gain)


def _blobs(height: int, width: int) -> Image:
    """Soft spots of colour: gradients everywhere, no value at the ends of the range."""
    noise: Float[np.ndarray, "height width 3"] = np.random.default_rng(0).standard_normal((height, width, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 3.0, borderType=cv2.BORDER_REFLECT_101)
    return np.clip(120 + 40 * smooth / smooth.std(), 20, 235).astype(np.uint8)
