"""Bound the scans of a JPEG, each of which goes over all of its pixels again: a small file may have thousands."""

from __future__ import annotations

import re

from PIL import Image, TiffImagePlugin

from handgen.storage import limits

TIFF_TILE = (322, 323)  # tags: width and height of a tile, which libtiff allocates whatever the image's size
_TIFF_ROWS = 278  # tag: rows of a strip
_START_OF_SCAN, _END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]", re.DOTALL)  # of a segment that says its length; or the end


def check_scans(data: bytes, size_px: tuple[int, int], where: str, picture: Image.Image | None = None) -> None:
    """Raise a HandgenError for a progressive JPEG that goes over its pixels again and again; usual are ten times.

    picture: opened, of a format that may hold none. A TIFF has a scan, or more, for each of its tiles or strips.
    """
    width, height = size_px
    tiff = picture if isinstance(picture, TiffImagePlugin.TiffImageFile) else None
    if tiff is not None:
        if "jpeg" not in str(tiff.info.get("compression")):
            return
        rows, tile_width, tile_height = (int(tiff.tag_v2.get(tag, 0)) for tag in (_TIFF_ROWS, *TIFF_TILE))
        width, height = (tile_width, tile_height) if tile_width else (width, min(rows or height, height))
    elif picture is not None and picture.format not in ("JPEG", "MPO"):
        return
    scans, share = data.count(_START_OF_SCAN), limits.SCANNED_PIXELS
    if scans * width * height > share.allowed and tiff is None:  # some may only look like one, behind the picture
        scans = _count_scans(data)
    share.check(scans * width * height, where, "save it again, not progressive")


def _count_scans(jpeg: bytes) -> int:
    """Count the scans up to the end of the image, marker by marker (ITU-T T.81, B.1); cameras put videos behind it."""
    scans, at = 0, 2
    while (marker := _MARKER.search(jpeg, at)) is not None and marker[0] != _END_OF_IMAGE:
        scans += marker[0] == _START_OF_SCAN
        at = marker.end() + int.from_bytes(jpeg[marker.end() : marker.end() + 2], "big")
    return scans
