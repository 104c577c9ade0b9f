"""Backgrounds: pictures of a folder, or synthesized ones. Both are a function of their arguments alone.

Decoding a picture costs more than cutting a background from it, so a shard shows few pictures and each of them
several times, every time another part, size and sharpness. `picks` says in advance which, so that the shard's
samples can be made picture by picture.

The pictures stand in one random circle, of `n`. A shard of `count` samples walks round and round a window of
`count / REUSES` pictures of it, and the next shard's window begins where this one's ends. Over `n` shards all
pictures are thus used equally often; and as a window is never longer than the circle, two samples in a row, or on
both sides of the border of two shards, never show the same picture if there are two.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import cv2
import numpy as np
from jaxtyping import Int, UInt8

from handgen.errors import HandgenError
from handgen.media.arrays import Image
from handgen.media.images import IMAGE_SUFFIXES, DamagedPicture, file_bytes, picture_names, picture_size, read_rgb
from handgen.stages.synthesize.patterns import draw_pattern
from handgen.storage import filesystem
from handgen.storage.filesystem import Location

SYNTHESIZED = "synthesized"
REUSES = 8  # of a decoded picture in a shard
MIN_SIDE_PX = 32
_CROP_SHARE = (0.45, 1.0)  # of the longest square that fits
_ENOUGH = 2  # times the background's size: pictures are decoded no smaller, so crops are hardly ever enlarged
_BLURRED = 0.2  # share of backgrounds out of focus
_BLUR_SIGMA = (0.004, 0.03)  # of those, as a share of the side
_COARSE_SIGMA_PX = 1.5  # what is blurred more than this is blurred at a smaller size, which looks the same
_ENLARGED = 1.25  # as much may a picture be: its halved copy is read faster, and hardly softer
_SHARP_ENOUGH = 1.5  # times smaller: bilinear interpolation alone hardly aliases
_CACHED_BYTES = 48 * 2**20  # of decoded pictures, per process
_DECODED_FIRST = 32  # pictures that `scan_folder` reads whole
_SCAN_THREADS = 16  # that look at the pictures of a store
_ORDER = 0xBA  # sets this generator's seeds apart from those of samples


@dataclass(frozen=True)
class Background:
    """One background: RGB, writable, the caller's own.

    name: path below the folder, or "synthesized".
    problems: name and reason of pictures that were to be shown, proved unreadable, and were replaced by this one.
    """

    image: UInt8[np.ndarray, "size size 3"]
    name: str
    problems: tuple[tuple[str, str], ...] = ()


class Backgrounds(Protocol):
    """A source of backgrounds; picklable."""

    def picks(self, shard: int, first: int, count: int) -> Int[np.ndarray, " count"]:
        """Choose the picture of each sample of a shard: samples with the same number are best made one after another.

        first: number of the shard's first sample in the whole set. All shards are of the same size but the last.
        """
        ...

    def draw(self, pick: int, size: int, rng: np.random.Generator) -> Background:
        """A background of `size` px made of picture `pick`, another one with every call."""
        ...


@dataclass(frozen=True)
class SynthesizedBackgrounds:
    """Places that never were, a new one for every sample."""

    def picks(self, shard: int, first: int, count: int) -> Int[np.ndarray, " count"]:
        """Choose a number for each sample."""
        return np.arange(first, first + count)

    def draw(self, pick: int, size: int, rng: np.random.Generator) -> Background:
        """Draw a background that `rng` alone decides."""
        return Background(draw_pattern(size, rng), SYNTHESIZED)


@dataclass(frozen=True)
class FolderBackgrounds:
    """A folder's pictures, all used equally often, in a circle drawn with `seed`. names: paths below `root`."""

    root: Location
    names: tuple[str, ...]
    seed: int
    _state: _State = field(default_factory=lambda: _State(), compare=False, repr=False)

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return type(self), (self.root, self.names, self.seed)

    def picks(self, shard: int, first: int, count: int) -> Int[np.ndarray, " count"]:
        """Choose places in the circle of pictures. ValueError when shards of one size could not be at these places."""
        full, remainder = divmod(first, shard) if shard else (count, first)
        if remainder or not 1 <= count <= full:
            raise ValueError(f"shard {shard} of {count} samples cannot begin with sample {first}")
        window = _window(full)
        if window >= len(self.names):  # every shard shows every picture
            return (first + np.arange(count)) % len(self.names)
        return (shard * window + np.arange(count) % min(window, _window(count))) % len(self.names)

    def divided(self, shares: Sequence[float]) -> tuple[FolderBackgrounds, ...]:
        """The pictures divided among splits, so that no two show the same one; all for each where they are too few."""
        count = len(self.names)
        if len(shares) == 1 or count < 2 * len(shares):
            return (self,) * len(shares)
        ends = np.round(np.cumsum(shares) / sum(shares) * (count - 2 * len(shares))).astype(int)
        ends += 2 * np.arange(1, len(shares) + 1)  # two at least
        parts = np.split(self._circle, ends[:-1])
        names = [tuple(sorted(self.names[place] for place in part)) for part in parts]
        return tuple(FolderBackgrounds(self.root, part, self.seed) for part in names)

    def draw(self, pick: int, size: int, rng: np.random.Generator) -> Background:
        """Draw a random square of the picture, perhaps mirrored, perhaps out of focus.

        A picture that proves damaged is replaced by one half round the circle, far from those shown beside it.
        Raises HandgenError when a disk or a store fails, which must not change what is shown, or none is left.
        """
        count = len(self.names)
        problems: list[tuple[str, str]] = []
        for step in range(count):
            place = pick if not step else (pick + count // 2 + step - 1) % count
            name = self.names[self._circle[place]]
            try:
                return Background(_vary(self._levels(name, size), size, rng), name, tuple(problems))
            except DamagedPicture as error:
                problems.append((name, _reason(error, self.root / name)))
        first = ": ".join(problems[0])
        raise HandgenError(f"{self.root}: none of its {count} pictures can be read any more; the first: {first}")

    @cached_property
    def _circle(self) -> Int[np.ndarray, " n"]:
        return np.random.default_rng([self.seed, _ORDER]).permutation(len(self.names))

    def _levels(self, name: str, size: int) -> list[Image]:
        """The decoded picture and its halves, quarters and so on; those used last are kept in memory."""
        cache = self._state.pictures
        found = cache.get((name, size))
        if found is None:
            try:
                found = _halve(read_rgb(self.root / name, _ENOUGH * size), size)
            except DamagedPicture as error:
                found = error  # every sample that wanted it meets the same error
            cache[name, size] = found
            self._state.bytes += _bytes(found)
            while self._state.bytes > _CACHED_BYTES and len(cache) > 1:
                self._state.bytes -= _bytes(cache.popitem(last=False)[1])
        cache.move_to_end((name, size))
        if isinstance(found, DamagedPicture):
            raise found
        return found


@dataclass
class _State:
    """A process's memory of pictures; it never changes a result."""

    pictures: OrderedDict[tuple[str, int], list[np.ndarray] | DamagedPicture] = field(default_factory=OrderedDict)
    bytes: int = 0


def _window(count: int) -> int:
    """Count a shard's pictures: two at least, to take turns; if it can be, so many that all are shown equally often."""
    if count <= 1:
        return 1
    least = max(2, -(-count // REUSES))
    return next((window for window in range(least, least + least // 4 + 1) if count % window == 0), least)


def _bytes(found: list[np.ndarray] | DamagedPicture) -> int:
    return 1024 if isinstance(found, DamagedPicture) else sum(level.nbytes for level in found)


def _reason(error: DamagedPicture, path: Location) -> str:
    return str(error).removeprefix(f"{path}: ")


def _halve(picture: Image, size: int) -> list[Image]:
    """The picture at most four times `size`, then halved down to what a crop that is far out of focus needs."""
    levels = [picture]
    smallest = size * _COARSE_SIGMA_PX / max(_BLUR_SIGMA[1] * size, _COARSE_SIGMA_PX)
    while min(levels[-1].shape[:2]) >= 2 * smallest:
        rows, columns = (n // 2 * 2 for n in levels[-1].shape[:2])  # whole blocks of 2 x 2: OpenCV's fast path
        levels.append(cv2.resize(levels[-1][:rows, :columns], (columns // 2, rows // 2), interpolation=cv2.INTER_AREA))
    while min(levels[0].shape[:2]) >= 2 * _ENOUGH * size:
        del levels[0]
    return levels


def _vary(levels: list[Image], size: int, rng: np.random.Generator) -> UInt8[np.ndarray, "size size 3"]:
    """A random square of a picture given at several sizes, scaled to `size`."""
    share = rng.uniform(*_CROP_SHARE)
    corner = rng.random(2)
    mirrored = rng.random() < 0.5
    # Lightly out of focus is more common than far out: uniform in the logarithm.
    sigma_px = size * float(np.exp(rng.uniform(*np.log(_BLUR_SIGMA)))) if rng.random() < _BLURRED else 0.0
    inner = round(size / max(1.0, sigma_px / _COARSE_SIGMA_PX))

    large_enough = [level for level in levels if _ENLARGED * share * min(level.shape[:2]) >= inner]
    picture = large_enough[-1] if large_enough else levels[0]
    side = max(1, round(share * min(picture.shape[:2])))
    top, left = (round(place * (n - side)) for place, n in zip(corner, picture.shape[:2], strict=True))
    crop = picture[top : top + side, left : left + side]
    if mirrored:
        crop = cv2.flip(crop, 1)
    large = len(crop) > _SHARP_ENOUGH * inner  # by about 2: enlarged to that and halved, it aliases less than by area
    if large:
        crop = cv2.resize(crop, (2 * inner, 2 * inner))
    crop = cv2.resize(crop, (inner, inner), interpolation=cv2.INTER_AREA if large else cv2.INTER_LINEAR)
    if sigma_px:
        crop = cv2.GaussianBlur(crop, (0, 0), sigma_px * inner / size)
    return cv2.resize(crop, (size, size)) if inner < size else crop


@dataclass(frozen=True)
class FolderScan:
    """Findings of `scan_folder`. skipped: name and reason of every file that is no usable picture."""

    backgrounds: FolderBackgrounds
    skipped: tuple[tuple[str, str], ...]
    digest: str


def scan_folder(
    root: Location, wanted: int, seed: int, progress: Callable[[int, int], None] | None = None
) -> FolderScan:
    """Look at the pictures below `root`, in a seeded order, until `wanted` seem usable or none is left.

    The first are decoded, the others known by their headers; one of those that proves damaged is replaced when it
    is drawn. progress: called with the files looked at and those there are.

    Raises HandgenError when there is no folder, no picture in it, or none that can be read, and when a disk or a store
    fails: which pictures are usable must not depend on that.
    """
    if not filesystem.is_folder(root):
        raise HandgenError(f"{root}: no such folder of backgrounds; leave --backgrounds out to synthesize some")
    sizes = picture_names(root)
    found = sorted(sizes)
    if not found:
        raise HandgenError(
            f"{root}: holds no pictures ({', '.join(IMAGE_SUFFIXES)}); add some, or leave --backgrounds out "
            "to synthesize backgrounds"
        )
    usable: list[str] = []
    skipped: list[tuple[str, str]] = []
    order = [found[place] for place in np.random.default_rng([seed, _ORDER]).permutation(len(found))]
    for looked_at, (name, problem) in enumerate(_look_at_file(root, order, sizes), 1):
        try:
            if problem is not None:
                raise problem
            if looked_at > _DECODED_FIRST and not usable:
                read_rgb(root / name, MIN_SIDE_PX)
            usable.append(name)
        except DamagedPicture as error:
            skipped.append((name, _reason(error, root / name)))
        if progress:
            progress(looked_at, len(found))
        if len(usable) >= wanted:
            break
    if not usable:
        first = ": ".join(skipped[0])
        raise HandgenError(f"{root}: none of {len(found)} pictures can be used; the first: {first}")
    usable.sort()
    digest = hashlib.sha256()
    for name in usable:
        digest.update(f"{name}\0{file_bytes(root / name, sizes[name])}\n".encode("utf-8", "surrogateescape"))
    return FolderScan(FolderBackgrounds(root, tuple(usable), seed), tuple(sorted(skipped)), digest.hexdigest())


def _look_at_file(
    root: Location, names: Sequence[str], sizes: Mapping[str, int | None]
) -> Iterator[tuple[str, DamagedPicture | None]]:
    """Each picture in turn (the first read whole), and what is wrong with it; of a store, some ahead of the caller."""

    def look(place: int) -> DamagedPicture | None:
        name = names[place]
        try:
            width, height = picture_size(root / name, sizes[name])
            if min(height, width) < MIN_SIDE_PX:
                raise DamagedPicture(f"{width}x{height} is smaller than {MIN_SIDE_PX} px")
            if place < _DECODED_FIRST:
                read_rgb(root / name, MIN_SIDE_PX)
        except DamagedPicture as error:
            return error
        return None

    if not filesystem.is_remote(root):
        yield from ((name, look(place)) for place, name in enumerate(names))
        return
    ahead: deque[Future[DamagedPicture | None]] = deque()
    pool = ThreadPoolExecutor(_SCAN_THREADS)
    try:
        for place in range(len(names) + _SCAN_THREADS):
            if place < len(names):
                ahead.append(pool.submit(look, place))
            if place >= _SCAN_THREADS:
                yield names[place - _SCAN_THREADS], ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
