"""The boundary of readers: labelled pictures in a fixed order, those of one moment together.

A reader holds an index and small arrays; pictures, masks and whatever a format keeps in a file of its own are read when
they are asked for. Readers can be sent to other processes. They read files of this machine: the formats want random
access to files of gigabytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float

from handgen.errors import HandgenError
from handgen.geometry.camera import MIN_DEPTH_M, Camera
from handgen.geometry.rigid import Rigid, nearest_rotation
from handgen.hand.model import HandPose
from handgen.hand.model_files import HandArrays
from handgen.records.labelled_image import HandParameters, LabelledHand, LabelledImage
from handgen.storage import filesystem, limits
from handgen.storage.documents import read_json
from handgen.storage.output import MANIFEST

Models = Mapping[str, HandArrays]  # by side; none: the data set's hand parameters are left out
_FINGERPRINT_BYTES = 2**20  # of either end of a file
_STACKED = ("pose", "translation_m", "betas")
_LARGEST = 1e9  # of any number, in metres, millimetres, pixels or radians; squares of far larger ones overflow


@dataclass(frozen=True)
class Moment:
    """The pictures of one moment, with the hands at the same place in all their worlds. name: for people."""

    name: str
    images: tuple[LabelledImage, ...]


class Reader(Protocol):
    """A data set in one format, made by `reader(root, split, models)` of its entry in `handgen.datasets.registry`.

    root: its folder. split: the one that is read.
    """

    format: str
    root: Path
    split: str
    models: Models

    @property
    def count(self) -> int:
        """The number of pictures."""

    @property
    def moment_count(self) -> int:
        """The number of moments; by default every picture is one."""
        return self.count

    @property
    def notes(self) -> list[str]:
        """Remarks for the user on what is read and what is not."""

    def moments(self, first: int, last: int, pictures: bool = True) -> Iterator[Moment]:
        """Read moments `first` to `last` - 1. pictures: whether the bytes of pictures and masks are read, too.

        A picture that is not there is None. Raises HandgenError where a file is damaged, or not what it should be.
        """

    def __iter__(self) -> Iterator[LabelledImage]:
        """Iterate over all pictures, one moment in memory at a time."""
        for number in range(self.moment_count):
            for moment in self.moments(number, number + 1):
                yield from moment.images

    def fingerprint(self) -> dict[str, Any]:
        """Values that tell this data set from another."""


def numbers(value: Any, shape: tuple[int, ...], where: str) -> Float[np.ndarray, "..."]:
    """Convert numbers of a JSON document to an array of `shape` (-1: any length).

    Raises HandgenError naming `where` when they are of another shape, no numbers, not finite, or beyond all bounds.
    """
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise HandgenError(f"{where}: must be numbers of shape {_text(shape)}") from None
    if array.ndim != len(shape) or any(m >= 0 and n != m for n, m in zip(array.shape, shape, strict=True)):
        raise HandgenError(f"{where}: must have shape {_text(shape)}, got {_text(array.shape)}")
    for wrong in (~np.isfinite(array), np.abs(array) > _LARGEST):
        if wrong.any():
            place = np.argwhere(wrong)[0].tolist()
            value = array[tuple(place)]
            fact = f"{value:g}, which nothing here can be" if np.isfinite(value) else "not a finite number"
            raise HandgenError(f"{where}: entry {place} is {fact}")
    return array


def _text(shape: Sequence[int]) -> str:
    return "(" + ", ".join("n" if n < 0 else str(n) for n in shape) + ")"


def inside(folder: Path, name: Any, where: str) -> Path:
    """Find the file that a document calls `name`, below `folder`. HandgenError for a name that leads out, or none."""
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    if not parts or PurePosixPath(name).is_absolute() or ".." in parts or "\\" in name or "\0" in name:
        raise HandgenError(f"{where}: {str(name)[:80]!r} is no path inside {folder}")
    return folder / name


def read_bytes(path: Path) -> bytes | None:
    """Read a picture's file; None where there is none."""
    try:
        if not path.is_file():
            return None
        limits.PICTURE_FILE.check(path.stat().st_size, path, "is it a picture?")
        return filesystem.read(path)
    except OSError as error:
        raise HandgenError(f"{path}: cannot be read ({error.strerror})") from None


def make_camera(
    name: str,
    size_px: tuple[int, int],
    intrinsics: Float[np.ndarray, "3 3"],
    rotation: Float[np.ndarray, "3 3"],
    translation_m: Float[np.ndarray, " 3"],
    where: str,
) -> Camera:
    """Make a camera without distortion. rotation, translation_m: of `cam_from_world`. HandgenError where it is none."""
    try:  # files print rotations with few digits: with the nearest one, there and back is the same place
        given = Rigid(rotation, translation_m)
        return Camera(name, size_px, intrinsics, cam_from_world=replace(given, rotation=nearest_rotation(rotation)))
    except ValueError as error:
        raise HandgenError(f"{where}: {error}") from None


def seen_hand(
    side: str,
    points_cam_m: Float[np.ndarray, "21 3"],
    camera: Camera,
    valid: Bool[np.ndarray, " 21"] | None = None,
    parameters: HandParameters | None = None,
) -> LabelledHand:
    """Make a hand whose keypoints are known in a camera's frame. valid: which of them are; default: all.

    Keypoints behind the camera stay known, so that checks can report them; their pixels mean nothing (`in_front`).
    """
    pixels, in_picture = camera.project_cam(points_cam_m)
    known = np.ones(len(points_cam_m), bool) if valid is None else valid
    return LabelledHand(
        side=side,
        keypoints_px=pixels,
        visible=in_picture & known,
        labelled=known,
        keypoints_cam_m=points_cam_m,
        parameters=parameters,
    )


def in_front(hand: LabelledHand) -> Bool[np.ndarray, " 21"]:
    """Find the keypoints of a hand of `seen_hand` that are known, and in front of its camera."""
    assert hand.keypoints_cam_m is not None
    return hand.labelled & (hand.keypoints_cam_m[:, 2] > MIN_DEPTH_M)


def stack_parameters(hands: Sequence[HandParameters]) -> HandPose:
    """Put parameters of several hands, with translations, into one pose."""
    poses, translations, betas = (np.stack([getattr(hand, name) for hand in hands]) for name in _STACKED)
    return HandPose(torch.tensor(poses).reshape(-1, 16, 3), torch.tensor(translations), torch.tensor(betas))


def choose_split(root: Path, split: str | None, there: Sequence[str], known: Sequence[str], looked_for: str) -> str:
    """Choose the split to read: the one that is asked for, else the first of those there.

    Raises HandgenError when it is not there. looked_for: the files that a split is known by.
    """
    if split is not None and split not in known:
        raise HandgenError(f"--split {split}: this format has {', '.join(known)}")
    if split in there or (split is None and there):
        return split or there[0]
    found = sorted(path.name for path in root.iterdir())[:8] if root.is_dir() else []
    also = f"; there is the split {', '.join(there)}" if there else ""
    raise HandgenError(
        f"{root}: no {looked_for}{also}; the folder holds {', '.join(found) or 'nothing'}: give the folder that the "
        "data set was unpacked into"
    )


def declared_models(root: Path) -> dict[str, str]:
    """The names of the hand models of an export of handgen's own by SHA-256. Empty for all else: these are MANO's."""
    if not (root / MANIFEST).is_file():
        return {}
    document = read_json(root / MANIFEST)
    models = document.get("hand_models") if isinstance(document, dict) and document.get("kind") == "export" else None
    if not isinstance(models, dict):
        return {}
    return {str(sha256): str(name) for sha256, name in models.items()}


def file_fingerprint(path: Path) -> dict[str, Any]:
    """Digest the two ends of a file, and give its size: the whole of one with gigabytes would take minutes."""
    digest = hashlib.sha256()
    size = path.stat().st_size
    with filesystem.open_read(path) as file:
        digest.update(file.read(_FINGERPRINT_BYTES))
        file.seek(max(size - _FINGERPRINT_BYTES, 0))
        digest.update(file.read(_FINGERPRINT_BYTES))
    return {"bytes": size, "ends_sha256": digest.hexdigest()}
