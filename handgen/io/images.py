"""Images to and from bytes: RGB in memory, OpenCV's BGR only inside these functions, sizes bounded."""

from __future__ import annotations

import io
import os
import stat
import warnings
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from handgen.errors import HandgenError

MAX_PIXELS = 100_000_000
MAX_FILE_BYTES = 512 * 2**20
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")  # Pillow would also try formats that run interpreters, such as EPS


def encode_jpeg(image: UInt8[np.ndarray, "height width 3"], quality: int) -> bytes:
    """JPEG of an RGB image; colours at full resolution from quality 90 on."""
    subsampling = "444" if quality >= 90 else "420"
    return simplejpeg.encode_jpeg(
        np.ascontiguousarray(image), quality=quality, colorspace="RGB", colorsubsampling=subsampling
    )


def encode_mask_png(mask: UInt8[np.ndarray, "height width"]) -> bytes:
    """One-bit PNG of a mask of 0 and 255."""
    _, data = cv2.imencode(".png", mask, [cv2.IMWRITE_PNG_BILEVEL, 1, cv2.IMWRITE_PNG_COMPRESSION, 3])
    return data.tobytes()


def write_png(path: Path, image: UInt8[np.ndarray, "height width 3"]) -> None:
    """Write an RGB PNG."""
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise HandgenError(f"{path}: cannot be written ({error.strerror}); choose another place") from None


def decode_rgb(data: bytes, where: str) -> UInt8[np.ndarray, "height width 3"]:
    """An RGB image of a JPEG, PNG, BMP, WebP or TIFF: EXIF orientation applied; grey, CMYK, palette, 16 bit converted.

    Transparent pixels are laid on grey. Raises HandgenError for a file that is no image, or has over 100 megapixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", Image.DecompressionBombWarning
            )  # bounded below, before any pixel is decoded
            picture: Image.Image = Image.open(io.BytesIO(data), formats=_FORMATS)
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise HandgenError(
                f"{where}: {width}x{height} pixels are more than the {MAX_PIXELS // 10**6} megapixels allowed"
            )
        if picture.format == "JPEG" and picture.mode == "RGB" and not picture.getexif().get(0x0112, 1) > 1:
            return simplejpeg.decode_jpeg(data, colorspace="RGB")
        picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith(("I", "F")):  # 16 bit grey; PIL would clip it
            grey = np.asarray(picture, dtype=np.float32)
            scale = 255.0 / max(65535.0 if grey.max() > 255 else 255.0, 1.0)
            return np.repeat((grey * scale).clip(0, 255).astype(np.uint8)[..., None], 3, -1)
        if "transparency" in picture.info or picture.mode in ("RGBA", "LA", "PA"):
            layer = picture.convert("RGBA")
            picture = Image.new("RGBA", layer.size, (128, 128, 128, 255))
            picture.alpha_composite(layer)
        return np.asarray(picture.convert("RGB"))
    except HandgenError:
        raise
    except UnidentifiedImageError:
        raise HandgenError(f"{where}: not a readable image (of no known format, or truncated)") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise HandgenError(f"{where}: not a readable image ({error})") from None


def decode_grey(data: bytes, where: str) -> UInt8[np.ndarray, "height width"]:
    """A single-channel image; raises HandgenError for a file that is no image or is too large."""
    try:
        picture: Image.Image = Image.open(io.BytesIO(data), formats=_FORMATS)
        if picture.size[0] * picture.size[1] > MAX_PIXELS:
            raise HandgenError(f"{where}: larger than {MAX_PIXELS // 10**6} megapixels")
        return np.asarray(picture.convert("L"))
    except UnidentifiedImageError:
        raise HandgenError(f"{where}: not a readable image (of no known format, or truncated)") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise HandgenError(f"{where}: not a readable image ({error})") from None


def picture_names(root: Path) -> list[str]:
    """Paths below `root`, "/" between their parts; hidden files and folders are left out."""
    names = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("."):
                names.append((Path(folder) / name).relative_to(root).as_posix())
    return names


def read_rgb(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """`decode_rgb` of a file; HandgenError also for what only looks like one, such as a pipe."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise HandgenError(f"{path}: not a file that can be read")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise HandgenError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB; is it a picture?")
        return decode_rgb(path.read_bytes(), str(path))
    except OSError as error:
        raise HandgenError(f"{path}: cannot be read ({error.strerror})") from None
