"""Calibrations in memory, and the checks that every format shares."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float

from handgen.errors import HandgenError, explain_unreadable
from handgen.geometry.camera import DISTORTION_LENGTHS, Camera, Lens
from handgen.geometry.rigid import Rigid, is_rotation, nearest_rotation
from handgen.storage import filesystem, limits
from handgen.storage.documents import loads

_REDO = "correct the file or calibrate again"
_LARGEST_PX = 65535  # either side of a picture


@dataclass(frozen=True)
class Calibration:
    """The cameras of a calibration as its file gives them.

    cameras: translations in calibration units, not metres. unsized: names of the cameras whose file has no
    image size; their `size_px` is a guess from the principal point, to be replaced by the video's. path: the
    file, or the folder of a format that needs several. metres_per_unit: None if unknown. unit_note: what was
    recognised or assumed, for people. uncalibrated: names of cameras in the file that cannot be used, and why.
    notes: what else was decided, for people.
    """

    cameras: tuple[Camera, ...]
    path: Path
    format: str
    metres_per_unit: float | None
    unit_note: str
    unsized: frozenset[str] = frozenset()
    uncalibrated: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = self.names
        if not names:
            raise HandgenError(f"{self.path}: holds no camera; calibrate at least two")
        for name in names:
            if names.count(name) > 1:
                raise HandgenError(f"{self.path}: two cameras are called {name!r}; rename one of them")

    @property
    def names(self) -> tuple[str, ...]:
        """Camera names, in the file's order."""
        return tuple(camera.name for camera in self.cameras)


def files_with(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files in a folder with one of these suffixes, in small or capital letters, sorted."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in suffixes)


def read_text(path: Path) -> str:
    """The text of a calibration file, without a byte order mark.

    Raises HandgenError if it cannot be read, is not text or is far too large.
    """
    with explain_unreadable(path, "check the path"):
        limits.CALIBRATION.check(path.stat().st_size, path, "name the right file")
        try:
            with open(path, encoding="utf-8-sig", opener=filesystem.regular_file) as file:
                return file.read()
        except UnicodeDecodeError:
            raise HandgenError(f"{path}: not a text file, so not a calibration; name the right file") from None


def parse_json(path: Path, text: str) -> Any:
    """Foreign JSON, in which Python's NaN is let through for the value checks to name."""
    return loads(text.encode(), str(path), with_nan=True)


def parse_toml(path: Path, text: str) -> dict[str, Any]:
    """The tables of a TOML file."""
    limits.TOML_TEXT.check(len(text), path, "is it a calibration?")
    most = limits.TOML_KEY.allowed
    if _dotted_key(most).search(text):  # tomllib keeps every beginning of a key
        limits.TOML_KEY.refuse(most + 1, f"{path}: a key of more than {most} parts; is it a calibration?")
    try:
        return _parse_toml(text)
    except (ValueError, RecursionError) as error:
        raise HandgenError(f"{path}: not valid TOML ({error}); is the file truncated?") from None


@lru_cache(maxsize=1)  # every format that may be TOML looks at a file
def _parse_toml(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


@cache
def _dotted_key(parts: int) -> re.Pattern[str]:
    """Compile what finds a key of more parts, or what looks like one: bare or quoted words with dots between them.

    A key begins a line, a table or an inline table, so whatever is before it, a search finds it; where it might begin
    it is looked for whether or not that is within a text.
    """
    word = r"""(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
    return re.compile(rf"(?<![^\s\[{{,])(?:{word}[ \t]*+\.[ \t]*+){{{parts}}}")


def numbers(value: Any, shape: tuple[int, ...], where: str, what: str) -> np.ndarray:
    """`value` as finite floats of `shape` (-1: any length, made flat); HandgenError naming `where` and `what`."""
    if value is None:
        raise HandgenError(f"{where}: {what} is missing; {_REDO}")
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "iuf":
            raise ValueError
        array = array.astype(float)
    except (ValueError, TypeError, OverflowError):
        raise HandgenError(f"{where}: {what} is not a list of numbers; {_REDO}") from None
    fits = array.ndim == len(shape) and all(b in (-1, a) for a, b in zip(array.shape, shape, strict=True))
    if not fits and len(shape) == 1:
        array = array.reshape(-1)
        fits = shape[0] in (-1, len(array))
    if not fits:
        wanted = " x ".join("n" if n < 0 else str(n) for n in shape)
        raise HandgenError(f"{where}: {what} must be {wanted} numbers, got {array.shape}; {_REDO}")
    if not np.isfinite(array).all():
        raise HandgenError(f"{where}: {what} holds a value that is not finite (NaN or infinity); {_REDO}")
    return array


def rotation_matrix(value: Any, where: str) -> np.ndarray:
    """A (3, 3) rotation from a 3x3 matrix or a rotation vector (radians); HandgenError if it is none."""
    is_vector = value is not None and np.size(np.asarray(value, dtype=object)) == 3
    if is_vector:
        matrix = cv2.Rodrigues(numbers(value, (3,), where, "the rotation vector"))[0]
    else:
        matrix = numbers(value, (3, 3), where, "the rotation")
    if not is_rotation(matrix):  # also of a vector: the length of one of 1e308 overflows
        raise HandgenError(
            f"{where}: the rotation is not one (its rows are not orthonormal with determinant +1); {_REDO}"
        )
    return matrix if is_vector else nearest_rotation(matrix)


def image_size(value: Any, where: str) -> tuple[int, int]:
    """Width and height in pixels."""
    size = numbers(value, (2,), where, "the image size")
    if (size < 1).any() or (size > _LARGEST_PX).any() or (size != np.round(size)).any():
        raise HandgenError(f"{where}: the image size must be two whole numbers of pixels, got {size.tolist()}; {_REDO}")
    return int(size[0]), int(size[1])


def make_camera(
    where: str,
    name: str,
    *,
    intrinsics: Any,
    distortion: Any,
    rotation: Any,
    translation: Any,
    size_px: tuple[int, int] | None,
    lens: Lens = "pinhole",
) -> Camera:
    """A camera from a file's values, each bad one a HandgenError. size_px: None: guessed from the principal point."""
    where = f"{where}: camera {name}"
    matrix = numbers(intrinsics, (3, 3), where, "the camera matrix")
    if abs(matrix[2, 2]) > 1e-9:
        with np.errstate(over="ignore"):
            matrix = numbers(matrix / matrix[2, 2], (3, 3), where, "the camera matrix")
    coefficients = numbers(distortion, (-1,), where, "the distortion")
    if len(coefficients) not in DISTORTION_LENGTHS[lens]:
        allowed = " or ".join(str(n) for n in DISTORTION_LENGTHS[lens])
        raise HandgenError(
            f"{where}: a {lens} lens has {allowed} distortion coefficients, got {len(coefficients)}; {_REDO}"
        )
    offset = numbers(translation, (3,), where, "the translation")
    transform = Rigid(rotation_matrix(rotation, where), offset)
    try:
        return Camera(name, size_px or _size_around(matrix, where), matrix, coefficients, lens, transform)
    except ValueError as error:
        raise HandgenError(f"{where}: {str(error).removeprefix(f'camera {name}: ')}; {_REDO}") from None


def _size_around(matrix: Float[np.ndarray, "3 3"], where: str) -> tuple[int, int]:
    """Guess the size of a picture whose middle is the principal point."""
    x, y = matrix[:2, 2].tolist()
    if max(abs(x), abs(y)) > _LARGEST_PX / 2:
        raise HandgenError(f"{where}: the principal point is at {x:g}, {y:g} px, in no picture; {_REDO}")
    return max(1, round(2 * x + 1)), max(1, round(2 * y + 1))


def median_baseline(cameras: Sequence[Camera]) -> float:
    """The median distance between two cameras, calibration units; 0 for a single camera."""
    centers = np.stack([camera.center_world for camera in cameras])
    distances = np.linalg.norm(centers[:, None] - centers[None], axis=-1)
    return float(np.median(distances[np.triu_indices(len(cameras), 1)])) if len(cameras) > 1 else 0.0
