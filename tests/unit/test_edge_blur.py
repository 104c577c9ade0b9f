import cv2
import numpy as np
import pytest
import simplejpeg

from handgen.segmentation.edge_blur import measured_blur_px

GREEN, ROOM = (60, 170, 70), (120, 90, 80)
SKIN = (200, 150, 130)
PIXEL = 1 / 12  # variance of a pixel's own extent


def disc(
    blur_px: tuple[float, float], behind: tuple[int, int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A skin-coloured disc, drawn at eight times its size, blurred in x and y, with noise and JPEG; and its mask."""
    scale, side, radius = 8, 160, 50
    x, y = np.meshgrid(*[np.arange(side * scale) / scale - side / 2 - rng.uniform(-0.5, 0.5) for _ in range(2)])
    sharp = (x**2 + y**2 < radius**2).astype(np.float32)
    wide = cv2.GaussianBlur(sharp, (0, 0), sigmaX=blur_px[0] * scale, sigmaY=blur_px[1] * scale)
    share = cv2.resize(wide, (side, side), interpolation=cv2.INTER_AREA)
    image = share[..., None] * np.array(SKIN) + (1 - share[..., None]) * np.array(behind)
    image = (image + 3 * rng.normal(size=image.shape)).round().clip(0, 255).astype(np.uint8)
    data = simplejpeg.encode_jpeg(image, 95, colorspace="RGB", colorsubsampling="420")
    return simplejpeg.decode_jpeg(data, colorspace="RGB"), np.where(share >= 0.5, 255, 0).astype(np.uint8)


@pytest.mark.parametrize("behind", [GREEN, ROOM])
@pytest.mark.parametrize("sigma", [0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0])
def test_a_known_blur_is_measured(sigma, behind, rng):
    """Through noise, JPEG and half the colour resolution; 15 % of it shows in no composite."""
    found = measured_blur_px(*disc((sigma, sigma), behind, rng))
    assert found == pytest.approx(np.sqrt(sigma**2 + PIXEL), rel=0.15)


def test_a_mask_that_errs_by_a_pixel_tells_the_same(rng):
    image, mask = disc((1.0, 1.0), GREEN, rng)
    for wrong in (cv2.erode(mask, np.ones((3, 3), np.uint8)), cv2.dilate(mask, np.ones((3, 3), np.uint8))):
        assert measured_blur_px(image, wrong) == pytest.approx(np.sqrt(1 + PIXEL), rel=0.15)


def test_motion_counts(rng):
    """Blurred in one direction only, half of the outline is sharp: the measure lies between the two."""
    found = measured_blur_px(*disc((2.4, 0.6), ROOM, rng))
    assert 0.9 < found < 2.3


def test_what_cannot_be_seen_is_not_measured(rng):
    image, mask = disc((1.0, 1.0), (198, 152, 128), rng)  # as bright as the skin
    assert measured_blur_px(image, mask) is None
    assert measured_blur_px(image, np.zeros_like(mask)) is None
    assert measured_blur_px(image, np.full_like(mask, 255)) is None
    assert measured_blur_px(image[:9, :9], mask[:9, :9]) is None
    dot = np.zeros_like(mask)
    dot[80:83, 80:83] = 255
    assert measured_blur_px(image, dot) is None


def test_extremes_stay_in_bounds(rng):
    image, mask = disc((9.0, 9.0), GREEN, rng)
    assert 6.0 < measured_blur_px(image, mask) <= 8.0
    sharp = np.where(mask[..., None] > 0, np.array(SKIN), np.array(GREEN)).astype(np.uint8)
    assert 0.3 <= measured_blur_px(sharp, mask) <= 0.5
