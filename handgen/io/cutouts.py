"""Cutouts in the tars of annotations: the pixels of one hand in one view, read at random, and no larger than needed."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import UInt8

from handgen.errors import HandgenError
from handgen.media import images
from handgen.media.arrays import Mask
from handgen.storage import filesystem, limits
from handgen.storage.filesystem import Location
from handgen.storage.tar import Span, members_in, plain_members

JPEG_QUALITY = 95  # with colours at half resolution, as video has them: they take half of the time to read
_IMAGE, _MASK, _ARM = "jpg", "mask.png", "arm.png"


@dataclass(frozen=True)
class Cutout:
    """The pixels of a `ViewRecord`, all of the view camera's size: RGB, and masks of 0 and 255.

    mask: of the hand. arm: of the forearm that goes on from it, which is no part of `mask`; None where none was found.
    """

    image: UInt8[np.ndarray, "height width 3"]
    mask: Mask
    arm: Mask | None = None

    def halved(self) -> Cutout:
        """The cutout at half the size, rounded up: every pixel is the mean of four."""
        image, mask = (block_means(part, 2) for part in (self.image, self.mask))
        return Cutout(image, mask, None if self.arm is None else block_means(self.arm, 2))


def encode_cutout(key: str, cutout: Cutout) -> Iterator[tuple[str, bytes]]:
    """Encode a cutout as the members of its tar: names and content."""
    yield f"{key}.{_IMAGE}", images.encode_jpeg(cutout.image, JPEG_QUALITY, "420")
    yield f"{key}.{_MASK}", images.encode_mask_png(cutout.mask)
    if cutout.arm is not None:
        yield f"{key}.{_ARM}", images.encode_mask_png(cutout.arm)


class DamagedCutout(HandgenError):
    """A cutout that cannot be used: missing, cut off, no picture, of another size, or empty."""


class CutoutTar:
    """Random access to the cutouts of one chunk. fetched: pieces of tars that were read already, by path and span.

    Cutouts that cannot be used raise DamagedCutout; failures of the disk or the store raise another HandgenError.
    """

    def __init__(self, path: Location, fetched: Mapping[tuple[Location, Span], bytes] | None = None) -> None:
        self.path = path
        self._fetched = {} if fetched is None else fetched

    def cutout(
        self, key: str, size_px: tuple[int, int], span: Span | None = None, reduced: int = 1, with_arm: bool = True
    ) -> Cutout:
        """The cutout `key`, which must be of `size_px`, at 1 / `reduced` (1, 2, 4 or 8) of its size, rounded up.

        span: None: it is looked up. with_arm: False saves decoding the arm. Reduced masks have values between 0 and
        255.
        """
        members, where = self._members(key, span), f"{self.path}: {key}"
        try:
            image = images.decode_jpeg(members[_IMAGE], f"{where}.{_IMAGE}", size_px, reduced)
            masks = [
                images.decode_mask(members[kind], f"{where}.{kind}", size_px)
                for kind in (_MASK, *((_ARM,) if with_arm and _ARM in members else ()))
            ]
        except images.DamagedPicture as error:
            raise DamagedCutout(str(error)) from None
        if reduced > 1:
            masks = [block_means(mask, reduced) for mask in masks]
        return Cutout(image, *masks)

    def read_encoded(self, key: str, size_px: tuple[int, int], span: Span | None = None) -> tuple[bytes, Mask]:
        """Read a cutout's JPEG, not decoded, and mask; DamagedCutout where one is missing, or not of `size_px`."""
        members, where = self._members(key, span), f"{self.path}: {key}"
        try:
            images.check_jpeg_size(members[_IMAGE], f"{where}.{_IMAGE}", size_px)
            return members[_IMAGE], images.decode_mask(members[_MASK], f"{where}.{_MASK}", size_px)
        except images.DamagedPicture as error:
            raise DamagedCutout(str(error)) from None

    def _members(self, key: str, span: Span | None) -> dict[str, bytes]:
        """Content of the members of a cutout by the rest of their names; DamagedCutout where one is missing."""
        try:
            found = {} if span is None else self._members_at(key, span)
            if not found and key in self._spans:  # the tar was written anew since, or nobody said where it lies
                found = self._members_at(key, self._spans[key])
        except FileNotFoundError:
            raise DamagedCutout(f"{self.path}: is missing; run `handgen annotate` again") from None
        except OSError as error:
            raise HandgenError(f"{self.path}: cannot be read ({error.strerror or error})") from None
        except tarfile.TarError as error:
            raise DamagedCutout(
                f"{self.path}: not a readable tar of cutouts ({error}); delete it and run `handgen annotate` again"
            ) from None
        if missing := [kind for kind in (_IMAGE, _MASK) if kind not in found]:
            raise DamagedCutout(
                f"{self.path}: has no member {key}.{missing[0]}; delete it and run `handgen annotate` again"
            )
        return found

    def _members_at(self, key: str, span: Span) -> dict[str, bytes]:
        """Members of the cutout that should lie at `span`, by the rest of their names; none where it does not."""
        limits.CUTOUT.check(span[1], f"{self.path}: {key}")
        try:
            data = self._fetched.get((self.path, span))
            members = members_in(filesystem.read_range(self.path, *span) if data is None else data)
        except ValueError:
            return {}
        return {name.removeprefix(f"{key}."): data for name, data in members.items() if name.startswith(f"{key}.")}

    @cached_property
    def _spans(self) -> dict[str, Span]:
        """Spans of the cutouts by key, read from the tar's headers: records of earlier versions do not have them."""
        spans: dict[str, Span] = {}
        for member, _ in plain_members(self.path, "r:"):
            stem = member.name.partition(".")[0]
            first = spans.setdefault(stem, (member.offset, 0))[0]
            spans[stem] = (first, member.offset_data + member.size + -member.size % tarfile.BLOCKSIZE - first)
        return spans


def block_means(
    pixels: UInt8[np.ndarray, "height width *channels"], side: int
) -> UInt8[np.ndarray, "rows columns *channels"]:
    """Means over blocks of `side` x `side` pixels; the last row and column may be continued to fill them."""
    height, width = (-(-n // side) for n in pixels.shape[:2])
    missing = (height * side - pixels.shape[0], width * side - pixels.shape[1])
    if any(missing):
        pixels = cv2.copyMakeBorder(pixels, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
