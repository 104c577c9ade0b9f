import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handgen.errors import HandgenError
from handgen.io.cutouts import Cutout, CutoutTar, block_means, encode_cutout
from handgen.media import images
from handgen.storage.tar import write_tar


def written(tmp_path, height: int, width: int) -> tuple[CutoutTar, Cutout]:
    """A smooth ramp with a disc for a hand."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * 200 / width, y * 200 / height, 120 + 0 * x], -1).astype(np.uint8)
    mask = np.zeros((height, width), np.uint8)
    cv2.circle(mask, (width // 2, height // 2), min(height, width) // 3, 255, -1)
    cutout = Cutout(image, mask, 255 - mask)
    write_tar(tmp_path / "x.tar", encode_cutout("k", cutout))
    return CutoutTar(tmp_path / "x.tar"), cutout


@pytest.mark.parametrize("reduced", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [(97, 131), (64, 64), (200, 123)])
def test_a_reduced_cutout_has_the_means_of_blocks(tmp_path, size, reduced):
    """Read from fewer coefficients or averaged afterwards: the same pixels, at the same places."""
    tar, cutout = written(tmp_path, *size)
    small = tar.cutout("k", (size[1], size[0]), None, reduced)
    height, width = (n // reduced for n in size)  # whole blocks
    expected = block_means(cutout.image, reduced)[:height, :width].astype(int)
    assert np.abs(small.image[:height, :width] - expected).max() <= 6  # JPEG at quality 95, colours halved
    assert (small.mask == block_means(cutout.mask, reduced)).all()
    assert (small.arm == block_means(cutout.arm, reduced)).all()
    assert tar.cutout("k", (size[1], size[0]), None, reduced, with_arm=False).arm is None


def test_halving_is_reading_at_half_the_size(tmp_path):
    tar, _ = written(tmp_path, 96, 128)
    half, read = tar.cutout("k", (128, 96)).halved(), tar.cutout("k", (128, 96), None, 2)
    assert np.abs(half.image.astype(int) - read.image).max() <= 4
    assert (half.mask == read.mask).all() and (half.arm == read.arm).all()


def test_what_is_wrong_is_named(tmp_path):
    tar, _ = written(tmp_path, 40, 50)
    with pytest.raises(HandgenError, match=r"x\.tar: k\.jpg: is 50x40, but should be 50x41"):
        tar.cutout("k", (50, 41))
    with pytest.raises(HandgenError, match=r"has no member other\.jpg"):
        tar.cutout("other", (50, 40))


@settings(max_examples=60)
@given(height=st.integers(1, 70), width=st.integers(1, 70), seed=st.integers(0, 2**32 - 1))
def test_masks_survive_their_png(height, width, seed):
    mask = np.where(np.random.default_rng(seed).random((height, width)) < 0.5, np.uint8(255), np.uint8(0))
    data = images.encode_mask_png(mask)
    assert (images.decode_mask(data, "mask", (width, height)) == mask).all()
    assert (images.decode_grey(data, "mask") == mask).all()  # as another reader sees it


@pytest.mark.parametrize("cut", [0, 10, 30, -20, -1])
def test_damaged_masks_are_errors(cut):
    mask = np.zeros((40, 50), np.uint8)
    cv2.circle(mask, (20, 20), 10, 255, -1)
    data = images.encode_mask_png(mask)
    with pytest.raises(HandgenError, match="PNG"):
        images.decode_mask(data[:cut], "mask", (50, 40))
    with pytest.raises(HandgenError, match="is 50x40, but should be 9x9"):
        images.decode_mask(data, "mask", (9, 9))
