"""Encode and decode images: RGB in memory, OpenCV's BGR only inside these functions, sizes bounded."""

from __future__ import annotations

import errno
import io
import math
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import cv2
import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from handgen.errors import HandgenError
from handgen.media.jpeg_scans import TIFF_TILE, check_scans
from handgen.storage import filesystem, limits
from handgen.storage.filesystem import Location

# What is left out: formats for which Pillow starts an interpreter (EPS), JPEG 2000, rare and hard to decode safely, and
# AVIF, whose container says one size while another is decoded.
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pnm")
_ORIENTATION = 0x0112  # EXIF tag
_PIXEL_BYTES = 3  # that the budget of pixels is meant for
_MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "RGB": 3, "YCbCr": 3, "LAB": 3, "HSV": 3}
_STRIP_PIXELS = 2**22  # converted at once, so that a large picture is there once and its conversion little beside it
_UNDER_TRANSPARENCY = 128
_GREY_16 = 65535.0
_FAST = {"fastdct": True, "fastupsample": True}

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the header's type of colour
_LONGEST_ROW = 65_535  # pixels, of JPEGs
_MOST_COLUMNS = 2**25  # Pillow counts the bits of a row in 32, and says for more that memory is short
_PACKED_TEXTS = (b"zTXt", b"iTXt", b"iCCP")
_HEADER_BYTES = 64 * 2**10  # fetched first of a picture in a store
_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EISDIR)


class DamagedPicture(HandgenError):
    """A picture that cannot be used and never will be: missing, no picture, damaged, too large, of the wrong size.

    What may pass (a disk or a network that fails, too many open files, want of memory) is another HandgenError.
    """


def encode_jpeg(image: UInt8[np.ndarray, "height width 3"], quality: int, subsampling: str | None = None) -> bytes:
    """Encode an RGB image as JPEG. subsampling: "444" or "420"; None: full resolution of colours from quality 90 on."""
    subsampling = subsampling or ("444" if quality >= 90 else "420")
    return simplejpeg.encode_jpeg(
        np.ascontiguousarray(image), quality=quality, colorspace="RGB", colorsubsampling=subsampling
    )


def encode_mask_png(mask: UInt8[np.ndarray, "height width"]) -> bytes:
    """Encode a mask of 0 and 255 as one-bit PNG; a general encoder takes three times as long for it.

    Format: W3C, "Portable Network Graphics (PNG) Specification", greyscale of bit depth 1, no filters.
    """
    height, width = mask.shape
    lines = np.zeros((height, 1 + -(-width // 8)), np.uint8)  # each begins with its filter: none
    lines[:, 1:] = np.packbits(mask > 127, axis=1)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 1)), (b"IEND", b""))
    framed = (struct.pack(">I", len(x)) + kind + x + struct.pack(">I", zlib.crc32(kind + x)) for kind, x in chunks)
    return _PNG_SIGNATURE + b"".join(framed)


def write_png(path: Location, image: UInt8[np.ndarray, "height width 3"]) -> None:
    """Write an RGB PNG."""
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    try:
        filesystem.make_folder(path.parent)
        filesystem.put(path, data.tobytes())
    except OSError as error:
        raise HandgenError(f"{path}: cannot be written ({error.strerror}); choose another place") from None


def decode_rgb(data: bytes, where: str, enough_px: int | None = None) -> UInt8[np.ndarray, "height width 3"]:
    """Decode an RGB image of a file in memory: EXIF orientation applied; grey, CMYK, palette, 16 bit converted.

    The first frame of an animation; transparent pixels are laid on grey.
    enough_px: how long the shorter side must be at least, where the picture is as large. JPEG is then decoded at
    1/2, 1/4 or 1/8 of its size if that leaves enough, and a little less exactly.

    Raises DamagedPicture for a file that is no image, is damaged, or has more pixels than `handgen.storage.limits`.
    """
    with _name_decoder_errors(where):
        picture = _open(io.BytesIO(data), where)
        with _as_damage():
            check_scans(data, picture.size, where, picture)
        if picture.format in ("JPEG", "MPO") and picture.mode in ("RGB", "L"):
            image = _decode_jpeg(data, picture.size, enough_px)
        else:
            image = _rgb(picture)  # which turns TIFF, and removes the tag
        return _upright(image, picture.getexif().get(_ORIENTATION, 1))


def decode_grey(data: bytes, where: str) -> UInt8[np.ndarray, "height width"]:
    """Decode a single-channel image; raises DamagedPicture for a file that is no image or is too large."""
    with _name_decoder_errors(where):
        return np.asarray(_open(io.BytesIO(data), where).convert("L"))


def encoded_size(data: bytes, where: str) -> tuple[int, int]:
    """Return width and height of a picture in memory by its header, as `picture_size` of a file."""
    with _name_decoder_errors(where):
        return _open(io.BytesIO(data), where).size


def read_rgb(path: Location, enough_px: int | None = None) -> UInt8[np.ndarray, "height width 3"]:
    """Read and `decode_rgb` a file; DamagedPicture also for what only looks like one, such as a pipe.

    Raises another HandgenError when the disk or the store fails.
    """
    with _name_read_errors(path):
        size = file_bytes(path)
        data = filesystem.read(path) if isinstance(path, Path) else filesystem.open_read(path, size=size).read()
    return decode_rgb(data, str(path), enough_px)


def picture_size(path: Location, size: int | None = None) -> tuple[int, int]:
    """Return width and height of a picture by its header, as stored: EXIF may turn it.

    No pixel is decoded, so the rest may still prove damaged. size: bytes of the file, if they are known.

    Raises HandgenError as `read_rgb` does; what may not be read on a disk is DamagedPicture here.
    """
    try:
        with _name_read_errors(path):
            size = file_bytes(path, size)
            with filesystem.open_read(path, _HEADER_BYTES, size) as file, _name_decoder_errors(str(path)):
                return _open(file, str(path)).size
    except HandgenError as error:
        if isinstance(path, Path) and isinstance(error.__cause__, PermissionError):
            raise DamagedPicture(str(error)) from None
        raise


def file_bytes(path: Location, known: int | None = None) -> int:
    """Return the size of a file; known: as a listing said.

    Raises DamagedPicture when it is no regular file or too large, OSError when it is not there.
    """
    if isinstance(path, Path):
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DamagedPicture(f"{path}: not a file that can be read")
        known = status.st_size
    elif known is None:
        known = filesystem.size_of(path)
        if known is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    with _as_damage():
        limits.PICTURE_FILE.check(known, path, "is it a picture?")
    return known


@contextmanager
def _as_damage() -> Iterator[None]:
    try:
        yield
    except HandgenError as error:
        raise DamagedPicture(str(error)) from None


@contextmanager
def _name_read_errors(path: Location) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = DamagedPicture if error.errno in _NO_FILE else HandgenError
        raise kind(f"{path}: cannot be read ({error.strerror or error})") from error


def decode_jpeg(
    data: bytes, where: str, size_px: tuple[int, int], reduced: int = 1
) -> UInt8[np.ndarray, "height width 3"]:
    """Decode an RGB JPEG that must be of `size_px` (width, height), at 1 / `reduced` (1, 2, 4 or 8) of it, rounded up.

    Reduced pictures come out of fewer coefficients, in less time. The centre of a reduced pixel lies between those of
    the `reduced` x `reduced` pixels that it stands for. Raises DamagedPicture for a file that is no such JPEG.
    """
    check_jpeg_size(data, where, size_px)
    width, height = (-(-n // reduced) for n in size_px)
    try:
        image = simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width, **_FAST)
    except ValueError as error:
        raise DamagedPicture(f"{where}: not a readable JPEG ({error})") from None
    assert image.shape[:2] == (height, width)
    return image


def check_jpeg_size(data: bytes, where: str, size_px: tuple[int, int]) -> None:
    """Raise DamagedPicture unless the header is that of a JPEG of `size_px` (width, height)."""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise DamagedPicture(f"{where}: not a readable JPEG ({error})") from None
    if (width, height) != size_px:
        raise DamagedPicture(f"{where}: is {width}x{height}, but should be {size_px[0]}x{size_px[1]}")
    _check_pixels(width, height, where)
    with _as_damage():
        check_scans(data, size_px, where)


def decode_mask(data: bytes, where: str, size_px: tuple[int, int]) -> UInt8[np.ndarray, "height width"]:
    """Decode a PNG mask that must be of `size_px` (width, height). Raises DamagedPicture if it is no such PNG."""
    if data[:8] != _PNG_SIGNATURE or data[12:16] != b"IHDR" or len(data) < 33:
        raise DamagedPicture(f"{where}: not a PNG")
    size = struct.unpack(">II", data[16:24])
    if size != size_px:
        raise DamagedPicture(f"{where}: is {size[0]}x{size[1]}, but should be {size_px[0]}x{size_px[1]}")
    _check_pixels(*size, where, _PNG_CHANNELS.get(data[25], 4) * data[24] / 8)
    mask = cv2.imdecode(np.frombuffer(_without_packed_texts(data), np.uint8), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise DamagedPicture(f"{where}: a damaged PNG")
    return mask


def _without_packed_texts(png: bytes) -> bytes:
    """Return a PNG without chunks that libpng would unpack, each to megabytes, and nobody reads."""
    if not any(kind in png for kind in _PACKED_TEXTS):
        return png
    kept, at = [png[:8]], 8
    while at < len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4], "big")
        if png[at + 4 : at + 8] not in _PACKED_TEXTS:
            kept.append(png[at:end])
        at = end
    return b"".join(kept)


def picture_names(root: Location) -> dict[str, int | None]:
    """Return paths below `root`, "/" between their parts, and bytes, where a store's listing says them.

    Hidden files and folders are left out. Linked folders are entered, every folder once, so that no link runs in a
    circle.
    """
    if not isinstance(root, Path):
        return {
            name: info["size"]
            for name, info in filesystem.files_below(root).items()
            if name.lower().endswith(IMAGE_SUFFIXES) and not any(part.startswith(".") for part in name.split("/"))
        }
    names: dict[str, int | None] = {}
    entered = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("."):
                names[(Path(folder) / name).relative_to(root).as_posix()] = None
    return names


@contextmanager
def _name_decoder_errors(where: str) -> Iterator[None]:
    """Raise DamagedPicture for whatever a decoder raises: damaged files make parsers fail in every possible way.

    Errors of the disk or the store, and want of memory, are not taken for damage.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of bombs, which `_open` bounds, and of damaged metadata
            yield
    except HandgenError:
        raise
    except MemoryError:
        raise HandgenError(f"{where}: not enough memory to decode it; use fewer --workers") from None
    except UnidentifiedImageError:
        raise DamagedPicture(f"{where}: not a readable image (of no known format, or truncated)") from None
    except Exception as error:  # decoders raise many kinds for damaged bytes
        if isinstance(error, OSError) and error.errno is not None:  # Pillow's own have none
            raise
        reason = str(error) or type(error).__name__
        raise DamagedPicture(f"{where}: not a readable image ({' '.join(reason.split())})") from None


def _open(file: IO[bytes], where: str) -> Image.Image:
    """Return a picture whose size is known and bounded, and none of whose pixels is decoded yet."""
    start = file.read(30)
    file.seek(0)
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":  # Pillow allocates the canvas when it opens the file
        _check_pixels(*_webp_size(start), where)
    picture = Image.open(file, formats=_FORMATS)
    depth = 4.0 if "transparency" in picture.info else _MODE_BYTES.get(picture.mode, 4)
    if start.startswith(_PNG_SIGNATURE) and picture.width > _LONGEST_ROW:  # a row is decoded as it is stored
        depth = max(depth, _PNG_CHANNELS.get(start[25], 4) * start[24] / 8)
    _check_pixels(*picture.size, where, depth)
    if picture.width > _MOST_COLUMNS:
        raise DamagedPicture(f"{where}: a row of {picture.width} pixels, more than decoders have room for; divide it")
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        width, height = (int(picture.tag_v2.get(tag, 1)) for tag in TIFF_TILE)
        _check_pixels(width, height, where)
    return picture


def _webp_size(start: bytes) -> tuple[int, int]:
    """Return the size of the canvas by the first 30 bytes; RFC 9649, 2.5 to 2.7."""
    if start[12:16] == b"VP8X":
        width, height = (1 + int.from_bytes(start[i : i + 3], "little") for i in (24, 27))
    elif start[12:16] == b"VP8L":
        bits = int.from_bytes(start[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (int.from_bytes(start[i : i + 2], "little") & 0x3FFF for i in (26, 28))
    return width, height


def _check_pixels(width: int, height: int, where: str, pixel_bytes: float = _PIXEL_BYTES) -> None:
    """Raise DamagedPicture for a picture that takes more memory than its pixels may. pixel_bytes: of a decoded one."""
    share = limits.PIXEL_COUNT
    asked = math.ceil(width * height * max(1.0, pixel_bytes / _PIXEL_BYTES))
    if asked > share.allowed:
        deep = pixel_bytes > _PIXEL_BYTES
        what = f"{width}x{height} pixels" + (f" of {pixel_bytes:g} bytes" if deep else "")
        most = share.in_words(share.allowed) + (f" of {_PIXEL_BYTES} bytes" if deep else "")
        with _as_damage():
            share.refuse(asked, f"{where}: {what} are more than the {most} allowed; reduce it")


def _decode_jpeg(data: bytes, size_px: tuple[int, int], enough_px: int | None) -> UInt8[np.ndarray, "height width 3"]:
    """Decode a JPEG, reduced by powers of two: libjpeg-turbo's other factors are slower than decoding the whole."""
    if enough_px is None:
        return simplejpeg.decode_jpeg(data, colorspace="RGB")
    shift = max((s for s in (1, 2, 3) if min(size_px) >> s >= enough_px), default=0)
    width, height = (-(-n >> shift) for n in size_px)
    return simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width, min_factor=1, **_FAST)


def _rgb(picture: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
    """Convert a picture to RGB, strip by strip."""
    picture.load()  # which may turn it
    width, height = picture.size
    rows = max(1, _STRIP_PIXELS // max(1, width))
    tops = range(0, height, rows)
    strips = (
        (top, picture if rows >= height else picture.crop((0, top, width, min(top + rows, height)))) for top in tops
    )
    rgb = np.empty((height, width, 3), np.uint8)
    if picture.mode.startswith(("I", "F")):  # 16 bit grey and more; Pillow would clip it
        white = _white_of(picture, tops, rows)
        for top, strip in strips:
            grey = np.nan_to_num(np.asarray(strip, dtype=np.float32))
            rgb[top : top + rows] = (grey * (255 / white)).clip(0, 255).round().astype(np.uint8)[..., None]
        return rgb
    for top, strip in strips:
        if "transparency" in picture.info or picture.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
            layer = strip.convert("RGBA")
            strip = Image.new("RGBA", layer.size, (*[_UNDER_TRANSPARENCY] * 3, 255))
            strip.alpha_composite(layer)
        rgb[top : top + rows] = np.asarray(strip.convert("RGB"))
    return rgb


def _white_of(picture: Image.Image, tops: range, rows: int) -> float:
    """Return the value of white of a grey picture."""
    if picture.mode.startswith("I;16"):
        return _GREY_16
    width, height = picture.size
    crops = (picture.crop((0, top, width, min(top + rows, height))) for top in tops)
    most = max((float(np.nan_to_num(np.asarray(crop, dtype=np.float32)).max()) for crop in crops), default=0.0)
    return next((value for value in (1.0, 255.0) if most <= value), _GREY_16)  # where nothing says what white is


def _upright(image: UInt8[np.ndarray, "rows columns 3"], orientation: int) -> UInt8[np.ndarray, "height width 3"]:
    """Turn an image as its EXIF tag says (EXIF 2.32, 4.6.4.A): 2 to 4 mirror or turn, 5 to 8 transpose besides."""
    if not 2 <= orientation <= 8:
        return image
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    flip_rows, flip_columns = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(image[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1])
