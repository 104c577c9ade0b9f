"""Backgrounds: pictures of a folder, or synthesized ones. Both are a function of their arguments alone."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from jaxtyping import UInt8

from handgen.errors import HandgenError
from handgen.io.images import IMAGE_SUFFIXES, picture_names, read_rgb
from handgen.synthesize.patterns import draw_pattern

SYNTHESIZED = "synthesized"
MIN_SIDE_PX = 32
_CROP_SHARE = (0.5, 1.0)  # of the longest square that fits
_CACHED_BYTES = 48 * 2**20  # of reduced pictures, per process
_PERMUTATION = 0xBA  # sets this generator's seeds apart from those of samples


class Backgrounds(Protocol):
    """Where backgrounds come from; picklable."""

    def draw(self, index: int, size: int, rng: np.random.Generator) -> tuple[UInt8[np.ndarray, "size size 3"], str]:
        """The background of sample `index`, square, and its name."""
        ...


@dataclass(frozen=True)
class SynthesizedBackgrounds:
    """Gradients, noise, stripes and shapes, a new one for every sample."""

    def draw(self, index: int, size: int, rng: np.random.Generator) -> tuple[UInt8[np.ndarray, "size size 3"], str]:
        """See `Backgrounds`."""
        return draw_pattern(size, rng), SYNTHESIZED


@dataclass(frozen=True)
class FolderBackgrounds:
    """Pictures of a folder, all used equally often (within one) in an order given by `seed`.

    names: paths below `root`, all readable when they were looked at.
    """

    root: Path
    names: tuple[str, ...]
    seed: int
    _state: _State = field(default_factory=lambda: _State(), compare=False, repr=False)

    def __getstate__(self) -> dict[str, object]:
        return {"root": self.root, "names": self.names, "seed": self.seed}

    def __setstate__(self, state: dict[str, object]) -> None:
        for name, value in {**state, "_state": _State()}.items():
            object.__setattr__(self, name, value)

    def draw(self, index: int, size: int, rng: np.random.Generator) -> tuple[UInt8[np.ndarray, "size size 3"], str]:
        """See `Backgrounds`: a random square of the picture, perhaps mirrored.

        Raises HandgenError when the picture can no longer be read.
        """
        name = self.names[self._position(index)]
        picture = self._reduced(name, size)
        height, width = picture.shape[:2]
        side = max(1, round(min(height, width) * rng.uniform(*_CROP_SHARE)))
        left, top = (int(rng.integers(0, n - side + 1)) for n in (width, height))
        crop = picture[top : top + side, left : left + side]
        interpolation = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
        crop = cv2.resize(crop, (size, size), interpolation=interpolation)
        return np.ascontiguousarray(crop[:, ::-1]) if rng.random() < 0.5 else crop, name

    def _position(self, index: int) -> int:
        """Which picture sample `index` takes: every round over the pictures has its own order."""
        turn, place = divmod(index, len(self.names))
        if self._state.turn != turn:
            order = np.random.default_rng([self.seed, _PERMUTATION, turn]).permutation(len(self.names))
            self._state.turn, self._state.order = turn, order
        return int(self._state.order[place])

    def _reduced(self, name: str, size: int) -> UInt8[np.ndarray, "height width 3"]:
        """The picture with its shorter side at most twice `size`; those used last are kept in memory."""
        cache = self._state.pictures
        if name in cache:
            cache.move_to_end(name)
            return cache[name]
        picture = read_rgb(self.root / name)
        scale = 2 * size / min(picture.shape[:2])
        if scale < 1:
            shape = tuple(max(2 * size, round(n * scale)) for n in picture.shape[1::-1])
            picture = cv2.resize(picture, shape, interpolation=cv2.INTER_AREA)
        cache[name] = picture
        self._state.bytes += picture.nbytes
        while self._state.bytes > _CACHED_BYTES and len(cache) > 1:
            self._state.bytes -= cache.popitem(last=False)[1].nbytes
        return picture


@dataclass
class _State:
    """What a process remembers; it never changes a result."""

    turn: int = -1
    order: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    pictures: OrderedDict[str, np.ndarray] = field(default_factory=OrderedDict)
    bytes: int = 0


@dataclass(frozen=True)
class FolderScan:
    """What `scan_folder` found. skipped: name and reason of every file that is no usable picture."""

    backgrounds: FolderBackgrounds
    skipped: tuple[tuple[str, str], ...]
    digest: str


def scan_folder(root: Path, wanted: int, seed: int, progress: Callable[[int, int], None] | None = None) -> FolderScan:
    """Decode the pictures below `root`, in a seeded order, until `wanted` proved usable or none is left.

    progress: called with the files looked at and those there are.

    Raises HandgenError when there is no folder, no picture in it, or none that can be read.
    """
    if not root.is_dir():
        raise HandgenError(f"{root}: no such folder of backgrounds; leave --backgrounds out to synthesize some")
    found = sorted(picture_names(root))
    if not found:
        raise HandgenError(
            f"{root}: holds no pictures ({', '.join(IMAGE_SUFFIXES)}); add some, or leave --backgrounds out "
            "to synthesize backgrounds"
        )
    usable: list[str] = []
    skipped: list[tuple[str, str]] = []
    order = np.random.default_rng([seed, _PERMUTATION]).permutation(len(found))
    for looked_at, place in enumerate(order, 1):
        name = found[place]
        try:
            height, width = read_rgb(root / name).shape[:2]
            if min(height, width) < MIN_SIDE_PX:
                skipped.append((name, f"{width}x{height} is smaller than {MIN_SIDE_PX} px"))
            else:
                usable.append(name)
        except HandgenError as error:
            skipped.append((name, str(error).removeprefix(f"{root / name}: ")))
        if progress:
            progress(looked_at, len(found))
        if len(usable) >= wanted:
            break
    if not usable:
        raise HandgenError(
            f"{root}: none of {len(found)} pictures can be used; the first: {skipped[0][0]}: {skipped[0][1]}"
        )
    usable.sort()
    digest = hashlib.sha256()
    for name in usable:
        digest.update(f"{name}\0{(root / name).stat().st_size}\n".encode("utf-8", "surrogateescape"))
    return FolderScan(FolderBackgrounds(root, tuple(usable), seed), tuple(sorted(skipped)), digest.hexdigest())
