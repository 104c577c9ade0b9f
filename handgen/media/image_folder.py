"""Read folders of images, one per frame, in natural order (2 before 10)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from handgen.errors import HandgenError, explain_unreadable
from handgen.media.images import IMAGE_SUFFIXES, read_rgb


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key by which numbers inside names count as numbers."""
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part), "") if i % 2 else (1, 0, part.lower()) for i, part in enumerate(parts))


def list_images(folder: Path) -> tuple[Path, ...]:
    """Return the images directly inside `folder`, in natural order."""
    with explain_unreadable(folder, "check the folder's permissions"):
        files = [f for f in folder.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES and f.name[0] != "." and f.is_file()]
    return tuple(sorted(files, key=lambda file: (natural_key(file.name), file.name)))


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
    """List a folder of images; HandgenError if there is none or the first cannot be read."""
    files = list_images(folder)
    if not files:
        raise HandgenError(f"{folder}: holds no images ({', '.join(IMAGE_SUFFIXES)}); put the camera's frames there")
    first = _read_frame(files[0])
    return ImageFolder(folder, (first.shape[1], first.shape[0]), files)


def _read_frame(file: Path) -> UInt8[np.ndarray, "height width 3"]:
    try:
        return read_rgb(file)
    except HandgenError as error:
        raise HandgenError(f"{error}; copy or record it again") from None
