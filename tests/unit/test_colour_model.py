import numpy as np
import pytest

from handgen.segmentation.colour_model import local_cut
from handgen.segmentation.segment import iou

SIDE, EXTENT, REACH = 200, 150.0, 6.0


def disc(center=(100, 100), radius=60, side=SIDE):
    """A disc's mask, and the distance from its edge."""
    y, x = np.mgrid[:side, :side]
    signed = (np.hypot(x - center[0], y - center[1]) - radius).astype(np.float32)
    return np.where(signed < 0, np.uint8(255), np.uint8(0)), signed


def picture(mask, hand, background, rng, noise=4.0):
    image = np.where(mask[..., None] > 0, np.asarray(hand, float), np.asarray(background, float))
    return (image + rng.normal(0, noise, image.shape)).clip(0, 255).astype(np.uint8)


def cut(image, signed, ignore_mask=None, extent=EXTENT, reach=REACH):
    return local_cut(image, signed, np.zeros_like(image[..., 0]) if ignore_mask is None else ignore_mask, extent, reach)


def test_no_contrast_gives_the_mesh(rng):
    mask, signed = disc()
    found = cut(picture(mask, (90, 80, 70), (90, 80, 70), rng), signed)
    assert iou(found.mask, mask) > 0.98
    assert found.agreement > 0.9


@pytest.mark.parametrize("shift", [2, 4])
def test_contrast_wins_over_a_mesh_that_is_off(rng, shift):
    truth, _ = disc()
    mesh, signed = disc(center=(100 + shift, 100))
    found = cut(picture(truth, (200, 150, 120), (60, 90, 80), rng), signed)
    assert iou(found.mask, truth) > 0.97  # a third of a pixel all around is 1 %
    assert iou(found.mask, truth) > iou(mesh, truth)


def test_colours_are_compared_nearby(rng):
    """A hand, red on the left and blue on the right, over blue on the left and red on the right."""
    truth, _ = disc()
    _, signed = disc(center=(100, 104))
    red, blue = np.array([170, 80, 80]), np.array([80, 80, 170])
    left = np.arange(SIDE)[None, :, None] < 100
    image = picture(truth, np.where(left, red, blue), np.where(left, blue, red), rng)
    assert iou(cut(image, signed).mask, truth) > 0.95


def test_a_mesh_that_is_half_off_the_hand_is_contradicted(rng):
    """A mesh as thin as a finger: deep inside it nothing contradicts, for the hand's colours are learnt there."""
    truth, signed = disc(radius=15)
    _, beside = disc(center=(115, 100), radius=15)
    image = picture(truth, (200, 150, 120), (60, 90, 80), rng)
    assert cut(image, signed).agreement > 0.95
    assert cut(image, beside).agreement < 0.7


def test_nothing_is_learnt_where_it_is_barred(rng):
    """A patch of the hand's colour next to it, as a forearm is, does not teach the background that colour."""
    truth, signed = disc()
    image = picture(truth, (200, 150, 120), (120, 100, 80), rng)
    ignore_mask = np.zeros_like(truth)
    ignore_mask[150:] = 255
    painted = np.where((ignore_mask > 0)[..., None], np.uint8([200, 150, 120]), image)
    found = cut(painted, signed, ignore_mask)
    rest = ignore_mask == 0
    assert iou(found.mask[rest], truth[rest]) > 0.98


def test_a_picture_of_one_kind_alone_is_no_failure(rng):
    image = picture(disc()[0], (200, 150, 120), (60, 90, 80), rng)
    inside = np.full(image.shape[:2], -np.inf, np.float32)
    assert (cut(image, inside).mask == 255).all()
    assert (cut(image, -inside).mask == 0).all()


def test_pictures_of_any_shape(rng):
    for height, width in ((16, 16), (20, 300), (700, 500)):
        image = rng.integers(0, 255, (height, width, 3)).astype(np.uint8)
        y = np.mgrid[:height, :width][0]
        signed = (y - height / 2).astype(np.float32)
        found = cut(image, signed, extent=float(max(height, width)), reach=0.04 * max(height, width))
        assert found.mask.shape == (height, width)
        assert 0 <= found.agreement <= 1
