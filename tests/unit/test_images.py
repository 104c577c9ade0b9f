import os
import struct
import subprocess
import zlib
from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from handgen.errors import HandgenError
from handgen.media import images
from handgen.storage import limits

COLOR = (200, 40, 90)
READ = ["JPEG", "PNG", "BMP", "WEBP", "TIFF", "MPO", "GIF", "PPM"]


def encoded(form: str, color=COLOR, mode: str = "RGB", size_px=(32, 24), **options) -> bytes:
    stream = BytesIO()
    Image.new(mode, size_px, color).save(stream, form, **options)
    return stream.getvalue()


def decoded(data: bytes, **options) -> np.ndarray:
    return images.decode_rgb(data, "a picture", **options).astype(int)


@pytest.mark.parametrize("form", READ)
def test_the_formats_of_pictures_are_read(form):
    image = decoded(encoded(form))
    assert image.shape == (24, 32, 3)
    assert np.abs(image - COLOR).max() < 8  # JPEG and WebP lose a little


@pytest.mark.parametrize("form", ["EPS", "PDF", "ICNS", "JPEG2000", "TGA", "PCX"])
def test_other_formats_are_not_tried(form, monkeypatch):
    data = encoded(form)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("started another program"))
    for decode in (images.decode_rgb, images.decode_grey):
        with pytest.raises(HandgenError, match="a picture: not a readable image"):
            decode(data, "a picture")


def blocks() -> np.ndarray:
    """6 x 9 squares of random colour, 16 px each: no two orientations look alike."""
    rng = np.random.default_rng(0)
    return np.kron(rng.integers(0, 255, (6, 9, 3), dtype=np.uint8), np.ones((16, 16, 1), np.uint8))


# What the stored rows and columns are, by EXIF 2.32, section 4.6.4.A: (stored row, stored column) from (y, x).
ORIENTATIONS = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: image.transpose(1, 0, 2)[::-1],  # stored turned left: row 0 is the right side
    7: lambda image: image.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda image: image.transpose(1, 0, 2)[:, ::-1],  # row 0 is the left side, from the bottom up
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_undone(form, orientation):
    upright = blocks()
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = BytesIO()
    stored = np.ascontiguousarray(ORIENTATIONS[orientation](upright))
    Image.fromarray(stored).save(stream, form, exif=exif, quality=95, **({"lossless": True} if form == "WEBP" else {}))
    centres = (slice(8, None, 16),) * 2
    for enough_px in (None, 96):
        image = decoded(stream.getvalue(), enough_px=enough_px)
        assert image.shape == upright.shape
        assert np.abs(image[centres] - upright[centres]).max() < 25  # JPEG shares colours between neighbours


def test_scans_of_a_jpeg_in_a_tiff_are_counted(set_budget):
    file = BytesIO()
    Image.new("RGB", (1000, 1000)).save(file, "TIFF", compression="jpeg")  # in strips, each with a scan of its own
    assert file.getvalue().count(b"\xff\xda") > 30
    set_budget("HANDGEN_MAX_MEGAPIXELS", 1)  # 20 in all scans
    assert images.decode_rgb(file.getvalue(), "a.tif").shape == (1000, 1000, 3)
    with pytest.raises(HandgenError, match="pixels in all scans"):
        images.decode_rgb(file.getvalue() + b"\xff\xda" * 20_000, "a.tif")


def test_what_lies_behind_a_jpeg_is_no_scan(set_budget):
    """Telephones put the video of a moment behind its picture: in megabytes of it the marker is there by chance."""
    set_budget("HANDGEN_MAX_MEGAPIXELS", 1)
    for options in ({"progressive": True}, {"quality": 95}, {"restart_marker_blocks": 8}):
        file = BytesIO()
        noise = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), np.uint8)
        Image.fromarray(noise).save(file, "JPEG", **options)
        data = file.getvalue()
        assert images.decode_rgb(data + b"\xff\xda" * 30, "a.jpg").shape == (1000, 1000, 3)
        last = data[data.rindex(b"\xff\xda") : -2]
        with pytest.raises(HandgenError, match="pixels in all scans"):
            images.decode_rgb(data[:-2] + last * 30 + data[-2:], "a.jpg")


def test_grey_cmyk_and_palettes_become_rgb():
    for form in ("JPEG", "PNG", "TIFF", "PPM"):
        assert np.abs(decoded(encoded(form, 77, "L")) - 77).max() <= 2
    # In print colours red is magenta and yellow; Pillow and Adobe store JPEGs of them inverted.
    for form in ("JPEG", "TIFF"):
        red = decoded(encoded(form, (0, 255, 255, 0), "CMYK"))
        assert np.abs(red - (255, 0, 0)).max() <= 6
    for form in ("PNG", "GIF", "TIFF", "BMP"):
        stream = BytesIO()
        Image.new("RGB", (32, 24), COLOR).quantize(4).save(stream, form)
        assert np.abs(decoded(stream.getvalue()) - COLOR).max() <= 4
    assert set(np.unique(decoded(encoded("PNG", 1, "1")))) == {255}


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_are_brought_to_8(suffix):
    ramp = np.linspace(0, 65535, 24 * 32).reshape(24, 32).astype(np.uint16)
    _, grey = cv2.imencode(suffix, ramp)
    assert np.abs(decoded(grey.tobytes()) - ramp[..., None] / 257).max() <= 1
    colors = np.stack([ramp, ramp[::-1], np.full_like(ramp, 40_000)], -1)
    _, data = cv2.imencode(suffix, colors[..., ::-1])  # OpenCV stores BGR
    assert np.abs(decoded(data.tobytes()) - colors / 257).max() <= 1
    _, dark = cv2.imencode(suffix, np.full((24, 32), 200, np.uint16))  # black, although 200 would be a bright 8 bit
    assert decoded(dark.tobytes()).max() <= 1
    with_alpha = np.dstack([colors[..., ::-1], np.full_like(ramp, 65535)])
    _, data = cv2.imencode(".png", with_alpha)
    assert np.abs(decoded(data.tobytes()) - colors / 257).max() <= 1


def test_16_bit_pgm_and_floating_point_tiff():
    ramp = np.linspace(0, 65535, 24 * 32).reshape(24, 32)
    pgm = b"P5 32 24 65535\n" + ramp.astype(">u2").tobytes()
    assert np.abs(decoded(pgm) - ramp[..., None] / 257).max() <= 1
    for white in (1.0, 255.0, 65535.0):
        stream = BytesIO()
        values = (ramp / 65535 * white).astype(np.float32)
        values[0, 0] = np.nan
        Image.fromarray(values).save(stream, "TIFF")
        assert np.abs(decoded(stream.getvalue())[1:] - ramp[1:, :, None] / 257).max() <= 1


def test_transparent_pixels_are_grey():
    for form, mode, clear in (
        ("PNG", "RGBA", (255, 0, 0, 0)),
        ("PNG", "LA", (255, 0)),
        ("WEBP", "RGBA", (255, 0, 0, 0)),
    ):
        assert np.abs(decoded(encoded(form, clear, mode)) - 128).max() <= 1
    half = decoded(encoded("PNG", (228, 28, 128, 128), "RGBA"))
    assert np.abs(half - (178, 78, 128)).max() <= 1
    gif = encoded("GIF", 0, "P", transparency=0)
    assert np.abs(decoded(gif) - 128).max() <= 1


def test_the_first_frame_of_an_animation_is_taken():
    frames = [Image.new("RGB", (32, 24), color) for color in (COLOR, (0, 0, 255))]
    for form in ("GIF", "WEBP", "TIFF"):
        stream = BytesIO()
        frames[0].save(stream, form, save_all=True, append_images=frames[1:])
        assert np.abs(decoded(stream.getvalue()) - COLOR).max() < 8


def test_jpeg_is_decoded_no_larger_than_enough_and_looks_the_same():
    picture = cv2.GaussianBlur(cv2.resize(blocks(), (800, 600)), (0, 0), 8)
    data = images.encode_jpeg(picture, 95)
    for enough_px, shape in (
        (None, (600, 800)),
        (301, (600, 800)),
        (300, (300, 400)),
        (100, (150, 200)),
        (2, (75, 100)),
    ):
        image = images.decode_rgb(data, "x", enough_px)
        assert image.shape[:2] == shape
        expected = cv2.resize(picture, shape[::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(image.astype(int) - expected).mean() < 1.5  # a shift by a pixel of 1/2 would give 2.7
    odd = images.encode_jpeg(picture[:597, :799], 95)
    assert images.decode_rgb(odd, "x", 149).shape == (150, 200, 3)
    assert decoded(encoded("PNG", size_px=(400, 300)), enough_px=10).shape == (300, 400, 3)


@pytest.mark.parametrize("form", [*READ])
def test_truncated_files_are_refused(form):
    stream = BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)).save(stream, form)
    data = stream.getvalue()
    for share in (0.02, 0.6):
        for enough_px in (None, 8):
            with pytest.raises(HandgenError, match="a picture: not a readable image"):
                decoded(data[: int(len(data) * share)], enough_px=enough_px)


@pytest.mark.parametrize("form", READ)
def test_damaged_files_raise_nothing_else(form):
    """Pillow raises anything from RuntimeError to struct.error; users see a HandgenError or a picture."""
    rng = np.random.default_rng(0)
    data = encoded(form)
    for _ in range(60):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 4):
            damaged[place] = rng.integers(256)
        try:
            assert decoded(bytes(damaged)).shape[2] == 3
        except HandgenError as error:
            assert "\n" not in str(error)


def bomb_png() -> bytes:
    return encoded("PNG", 0, "1", (10_001, 10_000))


def bomb_webp() -> bytes:
    """An extended header that promises 2^24 x 255 pixels, which Pillow would allocate when it opens the file."""
    canvas = (2**24 - 1).to_bytes(3, "little") + (254).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", 10) + b"\2\0\0\0" + canvas
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def bomb_tiff() -> bytes:
    """One tile of 60,000 x 60,000 pixels for a picture of 16 x 16."""
    values = (
        (256, 16),
        (257, 16),
        (258, 8),
        (259, 5),
        (262, 1),
        (277, 1),
        (322, 60_000),
        (323, 60_000),
        (324, 8),
        (325, 4),
    )
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in values)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(values)) + entries + b"\0\0\0\0"


@pytest.mark.parametrize("make", [bomb_png, bomb_webp, bomb_tiff])
def test_decompression_bombs_are_refused_before_they_are_decoded(make, tmp_path, monkeypatch):
    data = make()
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("decoded"))
    path = tmp_path / "bomb.png"
    path.write_bytes(data)
    for read in (
        lambda: images.decode_rgb(data, "bomb"),
        lambda: images.decode_grey(data, "bomb"),
        lambda: images.picture_size(path),
    ):
        with pytest.raises(HandgenError, match=r"bomb.*: \d+x\d+ pixels are more than the 100 megapixels allowed"):
            read()


def test_a_bomb_that_pillow_refuses_itself_is_refused():
    header = b"P5 1000000 1000000 255\n"  # 10^12 pixels
    with pytest.raises(HandgenError, match="not a readable image.*decompression bomb"):
        decoded(header)


def test_a_file_that_is_far_too_large_is_not_read(tmp_path):
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(limits.PICTURE_FILE.allowed + 1)  # a hole: it takes no place on the disk
    for read in (images.read_rgb, images.picture_size):
        with pytest.raises(HandgenError, match="larger than 512 MiB"):
            read(path)
    os.truncate(path, 100)
    for read in (images.read_rgb, images.picture_size):
        with pytest.raises(HandgenError, match="not a readable image"):
            read(path)


def test_the_size_is_known_without_decoding(tmp_path, monkeypatch):
    path = tmp_path / "cut.jpg"
    data = encoded("JPEG", size_px=(640, 480))
    path.write_bytes(data[:-200])  # the pixels are damaged, the header is not
    assert images.picture_size(path) == (640, 480)
    with pytest.raises(HandgenError):
        images.read_rgb(path)
    with pytest.raises(HandgenError, match="cannot be read"):
        images.picture_size(tmp_path / "nowhere.jpg")


def test_pictures_are_found_below_a_folder(tmp_path):
    names = ["a.JPG", "b.jfif", "c/d.gif", "c/e/f.ppm", "c/e/g.pgm", "h.webp", "i.tiff"]
    for name in [*names, "notes.txt", ".hidden.jpg", ".git/j.jpg", "c/film.mp4"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert sorted(images.picture_names(tmp_path)) == sorted(names)


def test_linked_folders_are_entered_once(tmp_path):
    """A data set is often a link; links to a folder above would go round for ever."""
    for name in ("elsewhere/deep/a.jpg", "pictures/b.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    root = tmp_path / "pictures"
    (root / "data").symlink_to("../elsewhere")
    (root / "loop").symlink_to(".")
    (tmp_path / "elsewhere/deep/up").symlink_to("../../pictures")
    (root / "self.jpg").symlink_to("self.jpg")
    assert sorted(images.picture_names(root)) == ["b.jpg", "data/deep/a.jpg", "self.jpg"]
    with pytest.raises(HandgenError, match="cannot be read"):
        images.read_rgb(root / "self.jpg")


def test_texts_packed_into_a_mask_are_not_unpacked(monkeypatch):
    mask = np.zeros((5, 9), np.uint8)
    mask[1:3, 2:7] = 255
    plain = images.encode_mask_png(mask)
    text = zlib.compress(bytes(1000))
    chunks = [struct.pack(">I", len(text)) + kind + text + bytes(4) for kind in (b"zTXt", b"iTXt", b"iCCP")]
    decoded = []
    decode = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda data, flag: decoded.append(bytes(data)) or decode(data, flag))
    found = images.decode_mask(plain[:33] + b"".join(chunks) + plain[33:], "a.png", (9, 5))
    assert np.array_equal(found, mask) and decoded == [plain]
