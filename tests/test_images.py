import os
import subprocess
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from handgen.errors import HandgenError
from handgen.io import images


def encoded(form: str, color=(200, 40, 90)) -> bytes:
    stream = BytesIO()
    Image.new("RGB", (32, 24), color).save(stream, form)
    return stream.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "WEBP", "TIFF", "MPO"])
def test_the_formats_of_cameras_are_read(form):
    image = images.decode_rgb(encoded(form), "a picture")
    assert image.shape == (24, 32, 3)
    assert np.abs(image.astype(int) - (200, 40, 90)).max() < 8  # JPEG and WebP lose a little


@pytest.mark.parametrize("form", ["EPS", "PDF", "ICNS", "GIF", "PPM"])
def test_other_formats_are_not_tried(form, monkeypatch):
    data = encoded(form)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("started another program"))
    for decode in (images.decode_rgb, images.decode_grey):
        with pytest.raises(HandgenError, match="a picture: not a readable image"):
            decode(data, "a picture")


def test_a_file_that_is_far_too_large_is_not_read(tmp_path):
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(images.MAX_FILE_BYTES + 1)  # a hole: it takes no place on the disk
    with pytest.raises(HandgenError, match="larger than 512 MiB"):
        images.read_rgb(path)
    os.truncate(path, 100)
    with pytest.raises(HandgenError, match="not a readable image"):
        images.read_rgb(path)
