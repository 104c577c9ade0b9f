import cv2
import numpy as np
import pytest

from handgen.segmentation.chroma_key import Key, excess, screen_color
from handgen.segmentation.segment import iou

GREEN, BLUE, SKIN = (40, 190, 60), (40, 60, 190), (205, 150, 125)


def disc(side=160, radius=50):
    """A disc's mask, and the distance from its edge."""
    y, x = np.mgrid[:side, :side] - side // 2
    signed = (np.hypot(x, y) - radius).astype(np.float32)
    return np.where(signed < 0, np.uint8(255), np.uint8(0)), signed


def on_screen(mask, screen, hand, rng, chroma_blur=0.0):
    """A picture of the disc; colours blurred as video has them, brightness sharp."""
    image = np.where(mask[..., None] > 0, np.array(hand), np.array(screen)) + rng.normal(0, 3, (*mask.shape, 3))
    image = image.clip(0, 255).astype(np.uint8)
    if chroma_blur:
        planes = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
        planes[..., 1:] = cv2.GaussianBlur(planes[..., 1:], (0, 0), chroma_blur)
        image = cv2.cvtColor(planes, cv2.COLOR_YCrCb2RGB)
    return image


def keyed(image, screen, signed, extent_px=100.0):
    levels = excess(image, screen)
    return Key.of(levels, signed, extent_px).foreground(image, levels, extent_px)


@pytest.mark.parametrize(
    ("color", "expected"), [((30, 180, 60), "green"), ((20, 60, 190), "blue"), ((120, 120, 120), "any")]
)
def test_screens_are_recognised(color, expected):
    image = np.tile(np.uint8(color), (50, 50, 1))
    assert screen_color(image, np.full((50, 50), 255, np.uint8)) == expected


def test_too_few_pixels_are_no_screen():
    image = np.tile(np.uint8(GREEN), (3, 5, 1))
    assert screen_color(image, np.full((3, 5), 255, np.uint8)) == "any"


@pytest.mark.parametrize(("screen", "name"), [(GREEN, "green"), (BLUE, "blue")])
def test_the_edge_is_where_the_brightness_changes(screen, name, rng):
    """Video halves the resolution of colours; half a pixel all around this disc is 2 %."""
    mask, signed = disc()
    image = on_screen(mask, screen, SKIN, rng, chroma_blur=1.5)
    assert iou(keyed(image, name, signed), mask) > 0.98


def test_a_hand_that_the_screen_tints_is_no_screen(rng):
    mask, signed = disc()
    image = on_screen(mask, GREEN, (110, 160, 100), rng)  # a third of the way
    assert iou(keyed(image, "green", signed), mask) > 0.98


def test_a_mesh_beside_the_hand_finds_the_screen_there(rng):
    mask, _ = disc()
    image = on_screen(mask, GREEN, SKIN, rng)
    _, signed = disc(radius=20)
    beside = np.roll(signed, 70, axis=1)
    assert not (keyed(image, "green", beside)[(beside < 0) & (mask == 0)] > 0).any()
