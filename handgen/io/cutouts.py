"""Cutouts in the tars of annotations: the pixels of one hand in one view, read at random, and no larger than needed."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from handgen.errors import HandgenError
from handgen.io import images

JPEG_QUALITY = 95  # with colours at half resolution, as video has them: they take half of the time to read
_IMAGE, _MASK, _ARM = "jpg", "mask.png", "arm.png"
_MAX_MEMBER_BYTES = 64 * 2**20

Mask = UInt8[np.ndarray, "height width"]


@dataclass(frozen=True)
class Cutout:
    """The pixels of a `ViewRecord`, all of the view camera's size: RGB, and masks of 0 and 255.

    mask: of the hand. arm: of the forearm that goes on from it, which is no part of `mask`; None where none was found.
    """

    image: UInt8[np.ndarray, "height width 3"]
    mask: Mask
    arm: Mask | None = None

    def halved(self) -> Cutout:
        """At half the size, rounded up: every pixel the mean of four."""
        image, mask = (block_means(part, 2) for part in (self.image, self.mask))
        return Cutout(image, mask, None if self.arm is None else block_means(self.arm, 2))


def members_of(key: str, cutout: Cutout) -> Iterator[tuple[str, bytes]]:
    """Names and content of a cutout's members in its tar."""
    yield f"{key}.{_IMAGE}", images.encode_jpeg(cutout.image, JPEG_QUALITY, "420")
    yield f"{key}.{_MASK}", images.encode_mask_png(cutout.mask)
    if cutout.arm is not None:
        yield f"{key}.{_ARM}", images.encode_mask_png(cutout.arm)


class CutoutTar:
    """Random access to the cutouts of one chunk.

    Raises HandgenError when the tar is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with tarfile.open(path, "r:") as tar:
                self._members = {m.name: (m.offset_data, m.size) for m in tar.getmembers() if m.isfile()}
            self._file = path.open("rb")
        except (OSError, tarfile.TarError) as error:
            raise HandgenError(
                f"{path}: not a readable tar of cutouts ({error}); delete it and run `handgen annotate` again"
            ) from None

    def cutout(self, key: str, size_px: tuple[int, int], reduced: int = 1, with_arm: bool = True) -> Cutout:
        """The cutout `key`, which must be of `size_px`, at 1 / `reduced` (1, 2, 4 or 8) of its size, rounded up.

        with_arm: False saves reading the arm. A reduced mask has values between 0 and 255.

        Raises HandgenError when a member is missing, unreadable or of another size.
        """
        where = f"{self.path}: {key}"
        image = images.decode_jpeg(self._read(f"{key}.{_IMAGE}"), f"{where}.{_IMAGE}", size_px, reduced)
        has_arm = with_arm and f"{key}.{_ARM}" in self._members
        arm = self._mask(key, _ARM, size_px, reduced) if has_arm else None
        return Cutout(image, self._mask(key, _MASK, size_px, reduced), arm)

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            self._file.close()

    def _mask(self, key: str, kind: str, size_px: tuple[int, int], reduced: int) -> Mask:
        name = f"{key}.{kind}"
        mask = images.decode_mask(self._read(name), f"{self.path}: {name}", size_px)
        return mask if reduced == 1 else block_means(mask, reduced)

    def _read(self, name: str) -> bytes:
        if name not in self._members:
            raise HandgenError(f"{self.path}: has no member {name}; delete it and run `handgen annotate` again")
        offset, size = self._members[name]
        if size > _MAX_MEMBER_BYTES:
            raise HandgenError(f"{self.path}: {name} is larger than {_MAX_MEMBER_BYTES >> 20} MiB")
        self._file.seek(offset)
        return self._file.read(size)


def block_means(
    pixels: UInt8[np.ndarray, "height width *channels"], side: int
) -> UInt8[np.ndarray, "rows columns *channels"]:
    """Means over blocks of `side` x `side` pixels; the last row and column may be continued to fill them."""
    height, width = (-(-n // side) for n in pixels.shape[:2])
    missing = (height * side - pixels.shape[0], width * side - pixels.shape[1])
    if any(missing):
        pixels = cv2.copyMakeBorder(pixels, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
