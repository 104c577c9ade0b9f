"""Read folders of images, one per frame, in natural order (2 before 10)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from handgen.errors import HandgenError, explain_unreadable
from handgen.media.images import IMAGE_SUFFIXES, read_rgb
from handgen.wording import count_of


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key by which numbers inside names count as numbers."""
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part), "") if i % 2 else (1, 0, part.lower()) for i, part in enumerate(parts))


def list_images(folder: Path) -> tuple[Path, ...]:
    """Return the images directly inside `folder`, in natural order."""
    with explain_unreadable(folder, "check the folder's permissions"):
        files = [f for f in folder.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES and f.name[0] != "." and f.is_file()]
    return tuple(sorted(files, key=lambda file: (natural_key(file.name), file.name)))


def frame_numbers(stems: Sequence[str]) -> Int[np.ndarray, " frames"] | None:
    """Return the number of each frame out of names that differ in numbers alone; None if no number rises with them.

    stems: names without their suffix, in natural order. Of several numbers that rise it is the one that spans least:
    a counter, and not the time beside it.
    """
    parts = [re.split(r"(\d+)", stem) for stem in stems]
    if len({tuple(part[::2]) for part in parts}) != 1:
        return None
    columns = [[int(digits) for digits in column] for column in zip(*(part[1::2] for part in parts), strict=True)]
    rising = [c for c in columns if c[-1] < 2**63 and all(a < b for a, b in zip(c, c[1:], strict=False))]
    if not rising:
        return None
    # A single picture has no number that varies: the last one is taken.
    return np.array(min(rising, key=lambda c: c[-1] - c[0]) if len(stems) > 1 else rising[-1], dtype=np.int64)


@dataclass(frozen=True)
class ImageFolder:
    """A folder of images of one size; frame `i` is the `i`-th file in natural order."""

    path: Path
    size_px: tuple[int, int]
    files: tuple[Path, ...]
    fps: float | None = None

    @property
    def frame_count(self) -> int:
        """Number of images."""
        return len(self.files)

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the images, without their suffixes."""
        return tuple(file.stem for file in self.files)

    def relocate(self, old: Path, new: Path) -> ImageFolder:
        """Return the folder with its images in `new` instead of `old`."""
        files = tuple(new / file.relative_to(old) for file in self.files)
        return replace(self, path=new / self.path.relative_to(old), files=files)

    def images(self, indices: Iterable[int]) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """Yield the frames of these numbers as RGB, one in memory at a time."""
        position, image = -1, None
        for index in indices:
            if not 0 <= index < self.frame_count:
                raise ValueError(f"{self.path}: frame {index} of {self.frame_count}")
            if image is None or index != position:
                position, image = index, self._read(index)
            yield image

    def _read(self, index: int) -> UInt8[np.ndarray, "height width 3"]:
        image = _read_frame(self.files[index])
        if image.shape[1::-1] != self.size_px:
            here, first = (f"{width}x{height}" for width, height in (image.shape[1::-1], self.size_px))
            fact = f"{here}, but the folder's first image is {first}"
            raise HandgenError(f"{self.files[index]}: {fact}; make all images of a camera the same size")
        return image


def open_image_folder(folder: Path) -> ImageFolder:
    """List a folder of images; HandgenError if there is none, a frame is there twice or the first cannot be read."""
    files = list_images(folder)
    if not files:
        raise HandgenError(f"{folder}: holds no images ({', '.join(IMAGE_SUFFIXES)}); put the camera's frames there")
    _check_one_series(folder, files)
    first = _read_frame(files[0])
    return ImageFolder(folder, (first.shape[1], first.shape[0]), files)


def _check_one_series(folder: Path, files: Sequence[Path]) -> None:
    """Raise a HandgenError if frames are there twice: as jpg and png, or as `7.png` beside `7_mask.png`."""
    by_stem: dict[str, Path] = {}
    series: dict[tuple[str, ...], dict[tuple[int, ...], Path]] = {}
    twice = []
    for file in files:
        parts = re.split(r"(\d+)", file.stem)
        numbered = series.setdefault(tuple(parts[::2]), {})
        first = by_stem.setdefault(file.stem, file)
        if first is file and len(parts) > 1:
            first = numbered.setdefault(tuple(map(int, parts[1::2])), file)
        if first is not file:
            twice.append((first, file))
    if not twice:
        kinds = [numbered for numbered in series.values() if len(numbered) > 1]
        same = [(a, b) for a, b in zip(kinds, kinds[1:], strict=False) if a.keys() == b.keys()]
        twice = list(zip(same[0][0].values(), same[0][1].values(), strict=True)) if same else []
    if twice:
        shown = f"{twice[0][1].name} beside {twice[0][0].name}"
        raise HandgenError(
            f"{folder}: {count_of(len(twice), 'frame')} twice, as {shown}; keep one picture of each frame in the folder"
        )


def _read_frame(file: Path) -> UInt8[np.ndarray, "height width 3"]:
    try:
        return read_rgb(file)
    except HandgenError as error:
        raise HandgenError(f"{error}; copy or record it again") from None
