import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handgen.stages.synthesize import noise_matching
from handgen.stages.synthesize.noise_matching import (
    add_noise,
    draw_jpeg_history,
    jpeg_history,
    match_grain,
    noise_level,
)


def flat(height: int, width: int, value: int = 120) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def grey_noise(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> np.ndarray:
    values = np.rint(120 + sigma * rng.standard_normal(shape))
    return np.repeat(np.clip(values, 0, 255).astype(np.uint8)[..., None], 3, -1)


def smooth(height: int, width: int) -> np.ndarray:
    """Light and shapes without noise, as of skin: nothing finer than 30 px."""
    noise = np.random.default_rng(2).standard_normal((height // 32 + 2, width // 32 + 2, 3))
    large = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(120 + 30 * large, 0, 255).astype(np.uint8)


sides = st.integers(100, 700)


@settings(max_examples=60)
@given(height=sides, width=sides, sigma=st.floats(2, 20), seed=st.integers(0, 2**60))
def test_noise_of_a_level_is_read_as_that_level(height, width, sigma, seed):
    """Levels of tiles are 19 % apart (9 % off at most), and some 1000 cells are read to 5 %."""
    image = add_noise(flat(height, width), sigma, np.random.default_rng(seed))
    assert abs(noise_level(image) / sigma - 1) < 0.25
    assert abs(image.mean() - 120) < 8 * sigma / np.sqrt(height * width)  # five times the standard error


def test_levels_are_met_on_average():
    """Neither way biased: over levels and places within 4 % of what was asked, hardly ever 20 % off, and no shift."""
    rng = np.random.default_rng(0)
    sigmas = np.exp(rng.uniform(np.log(2), np.log(20), 200))
    images = [add_noise(flat(224, 224), sigma, rng) for sigma in sigmas]
    ratios = np.array([noise_level(image) for image in images]) / sigmas
    shifts = np.array([image.mean() for image in images]) - 120
    assert np.abs(shifts).max() < 0.5 and abs(shifts.mean()) < 0.05
    assert abs(np.median(ratios) - 1) < 0.04
    assert np.mean(np.abs(ratios - 1) < 0.2) > 0.97


@settings(max_examples=40)
@given(sigma=st.floats(1, 25), seed=st.integers(0, 2**60))
def test_independent_noise_is_read_as_its_standard_deviation(sigma, seed):
    image = grey_noise((200, 240), sigma, np.random.default_rng(seed))
    # 1600 cells: 3.8 % standard error; at the lower end whole grey levels add a tenth
    assert abs(noise_level(image) / sigma - 1) < 0.27


def test_pictures_without_noise_read_low_and_noise_on_them_is_found():
    """Light, and hard edges over a part of the picture, are not taken for noise."""
    picture = smooth(224, 224)
    for i in range(4):
        cv2.rectangle(picture, (20 + 45 * i, 30), (40 + 45 * i, 190), (200, 60 * i, 90), -1)
    assert noise_level(picture) < 0.7  # rounding to 8 bits alone is 0.3
    assert abs(noise_level(add_noise(picture, 6.0, np.random.default_rng(0))) / 6 - 1) < 0.25


def test_only_the_mask_is_read():
    rng = np.random.default_rng(0)
    image = np.hstack([grey_noise((100, 100), 2, rng), grey_noise((100, 100), 12, rng)])
    mask = np.zeros((100, 200), np.uint8)
    mask[:, :100] = 255
    assert abs(noise_level(image, mask) / 2 - 1) < 0.25
    assert abs(noise_level(image, 255 - mask) / 12 - 1) < 0.25


def test_clipped_pixels_do_not_lower_the_level():
    rng = np.random.default_rng(0)
    image = np.hstack([grey_noise((120, 120), 5, rng), flat(120, 150, 255), flat(120, 30, 0)])
    assert abs(noise_level(image) / 5 - 1) < 0.25


def test_too_few_pixels_tell_nothing():
    assert np.isnan(noise_level(flat(2, 300)))
    assert np.isnan(noise_level(flat(200, 200), np.zeros((200, 200), np.uint8)))
    assert np.isnan(noise_level(flat(200, 200, 255)))


@settings(max_examples=25)
@given(
    height=st.integers(1, 600),
    width=st.integers(1, 600),
    sigma=st.floats(0, 32),
    value=st.sampled_from([0, 7, 128, 250, 255]),
    seed=st.integers(0, 2**60),
)
def test_noise_is_reproducible_and_in_place_whatever_the_image(height, width, sigma, value, seed):
    """On saturated images too: values stay in range, and half of the noise is lost, not wrapped round."""
    one, other = flat(height, width, value), flat(height, width, value)
    assert add_noise(one, sigma, np.random.default_rng(seed)) is one
    add_noise(other, sigma, np.random.default_rng(seed))
    assert (one == other).all()
    if value in (0, 255):
        assert np.abs(one.astype(int) - value).max() < 7 * max(sigma, 1)


def test_noise_differs_from_sample_to_sample_and_does_not_repeat_within_one():
    one, other = (add_noise(flat(600, 600), 8, np.random.default_rng(i)).astype(float) - 120 for i in (1, 2))
    scale = one.std() * other.std()
    assert abs((one * other).mean() / scale) < 0.05
    blocks = [one[y : y + 256, x : x + 256] for y in (0, 256) for x in (0, 256)]
    for i, a in enumerate(blocks):
        for b in blocks[:i]:
            assert abs((a * b).mean() / scale) < 0.05


def test_noise_is_grain_of_a_camera():
    """Mostly of brightness, somewhat of colour; neighbours somewhat alike, pixels three apart not."""
    noise = add_noise(flat(256, 256), 10, np.random.default_rng(0)).astype(float) - 120
    channels = np.corrcoef(noise.reshape(-1, 3).T)
    assert 0.8 < channels[0, 1] < 0.95
    grey = noise.mean(-1)
    near = (grey[:, 1:] * grey[:, :-1]).mean() / grey.var()
    far = (grey[:, 3:] * grey[:, :-3]).mean() / grey.var()
    assert 0.1 < near < 0.25 and abs(far) < 0.02


def test_an_image_of_the_largest_size_is_covered():
    image = add_noise(flat(40, 4096), 4, np.random.default_rng(0))
    assert (image != 120).any(axis=(0, 2)).all()
    with pytest.raises(ValueError, match="sigma must be"):
        add_noise(image, -1, np.random.default_rng(0))


@pytest.mark.parametrize(("hand_sigma", "there_sigma"), [(0, 6), (6, 0), (2, 7), (7, 2), (0, 0), (5, 5)])
def test_grain_is_that_of_the_noisier(hand_sigma, there_sigma):
    rng = np.random.default_rng(0)
    hand, there = (
        add_noise(smooth(*shape), s, rng) for shape, s in (((150, 130), hand_sigma), ((224, 224), there_sigma))
    )
    core = np.zeros((150, 130), np.uint8)
    core[10:140, 10:120] = 255
    before = hand.copy(), there.copy()
    hand, there = match_grain(hand, core, there, rng)
    levels = noise_level(hand, core), noise_level(there)
    assert abs(levels[0] - levels[1]) < 0.6 + 0.25 * max(hand_sigma, there_sigma)
    assert abs(max(levels) - max(hand_sigma, there_sigma)) < 0.6 + 0.25 * max(hand_sigma, there_sigma)
    unchanged = [(now == then).all() for now, then in zip((hand, there), before, strict=True)]
    assert sum(unchanged) >= 1  # noise cannot be taken away, and not both need some


def test_texture_that_reads_as_noise_adds_no_more_than_the_bound():
    rng = np.random.default_rng(0)
    hand, core = smooth(150, 130), np.full((150, 130), 255, np.uint8)
    match_grain(hand, core, grey_noise((224, 224), 60, rng), rng)
    assert noise_level(hand, core) < 1.25 * noise_matching.MAX_ADDED


def test_a_hand_too_small_to_tell_is_left_alone():
    rng = np.random.default_rng(0)
    hand, there = flat(12, 12), grey_noise((224, 224), 8, rng)
    match_grain(hand, np.full((12, 12), 255, np.uint8), there, rng)
    assert (hand == 120).all()


@settings(max_examples=25)
@given(
    height=st.integers(16, 200),
    width=st.integers(16, 200),
    quality=st.integers(*noise_matching.JPEG_QUALITY),
    x=st.integers(0, 7),
    y=st.integers(0, 7),
)
def test_a_round_trip_keeps_the_picture_in_place(height, width, quality, x, y):
    before = smooth(height, width)
    after = jpeg_history(before.copy(), quality, (x, y))
    assert after.shape == before.shape
    assert np.abs(after.astype(float) - before).mean() < 6  # grey levels; a shift of one px or mixed channels exceed it


def test_colours_survive_a_round_trip():
    red = np.full((64, 64, 3), (200, 30, 40), np.uint8)
    assert np.abs(jpeg_history(red.copy(), 60, (3, 5)).astype(int) - red).max() <= 6


@pytest.mark.parametrize("offset", [(0, 0), (3, 5), (7, 1)])
def test_blocks_lie_where_the_offset_says(offset):
    """Coarse quality makes steps between columns; they are largest at the blocks' borders."""
    picture = add_noise(smooth(240, 240), 3, np.random.default_rng(0))
    coarse = jpeg_history(picture, 10, offset).astype(float).mean(-1)
    for axis, shift in ((1, offset[0]), (0, offset[1])):
        steps = np.abs(np.diff(coarse, axis=axis)).mean(1 - axis)
        phases = [steps[phase::8].mean() for phase in range(8)]  # step k lies between k and k + 1
        assert int(np.argmax(phases)) == (7 - shift) % 8
    with pytest.raises(ValueError, match="offset"):
        jpeg_history(picture, 50, (8, 0))


def test_history_is_drawn_as_often_as_said():
    picture = smooth(64, 64)
    changed = [(draw_jpeg_history(picture.copy(), np.random.default_rng(i)) != picture).any() for i in range(600)]
    assert abs(np.mean(changed) - noise_matching.JPEG_PROBABILITY) < 0.07  # four sigma
    a, b = (draw_jpeg_history(picture.copy(), np.random.default_rng(1)) for _ in range(2))
    assert (a == b).all()
