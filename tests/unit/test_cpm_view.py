"""The detector of one camera around stand-ins that see what they are told to: peaks, and where to look."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.cpm import SIGMA_PX, target_maps

from handgen.detect.cpm.detector import CpmView, peaks_of, region_around, region_before_screen
from handgen.hand.skeleton import KEYPOINT_ORDERS

GREEN, SKIN = (40, 200, 60), (200, 150, 120)


@given(st.lists(st.floats(8, 240), min_size=42, max_size=42))
def test_peaks_are_found_between_cells_without_bias(values):
    crop_px = np.reshape(values, (21, 2))
    found, peaks = peaks_of(target_maps(crop_px))
    np.testing.assert_allclose(found, crop_px, atol=1e-6)  # the parabola is exact, whichever cell is nearest
    assert (peaks > np.exp(-2 * 4**2 / SIGMA_PX**2) - 1e-9).all() and (peaks <= 1).all()


def test_noise_moves_peaks_by_little_and_in_no_direction(rng):
    crop_px = rng.uniform(16, 230, (400, 2))
    found, _ = peaks_of(target_maps(crop_px) + rng.normal(0, 0.01, (400, 32, 32)))
    off = found - crop_px
    assert np.abs(off.mean(0)) @ np.ones(2) < 0.3  # 1 px per hand in each axis, 400 of them: 0.05 px expected
    assert np.sqrt(np.square(off).mean()) < 2.0  # a quarter of a cell


def test_peaks_at_edges_and_of_nonsense():
    corners = np.array([[0.0, 0.0], [248.0, 0.0], [0.0, 248.0], [248.0, 248.0]])
    found, peaks = peaks_of(target_maps(corners))
    np.testing.assert_array_equal(found, corners)
    np.testing.assert_array_equal(peaks, 1)
    for nonsense in (np.full((21, 32, 32), np.nan), np.full((21, 32, 32), -np.inf), np.full((21, 32, 32), -3.0)):
        found, peaks = peaks_of(nonsense)
        assert np.isfinite(found).all() and (peaks <= 0).all()


class SeesTheSpot:
    """Stands for the network: all keypoints are where the crop is brightest, by its own pixels."""

    def __init__(self):
        self.crops = []

    def score_crop(self, crop):
        self.crops.append(crop)
        light = crop.astype(float).sum(-1) - 3 * crop[..., 0].min()
        rows, columns = np.mgrid[: len(crop), : len(crop)]
        spot = np.array([(light * columns).sum(), (light * rows).sum()]) / light.sum()
        return target_maps(np.tile(spot, (21, 1)))


@settings(max_examples=30)
@given(
    st.floats(200, 420), st.floats(180, 300), st.floats(-20, 20), st.floats(60, 200), st.sampled_from(["left", "right"])
)
def test_a_spot_in_the_image_is_found_where_it_is(x, y, off, side_px, side):
    """The crop, the mirror, the cells and the way back together; the spot is rounded to 8 bit and sampled anew."""
    rows, columns = np.mgrid[:480, :640]
    spot = np.exp(-(np.square(columns - x) + np.square(rows - y)) / (2 * (side_px / 20) ** 2))
    image = np.repeat(np.round(255 * spot).astype(np.uint8)[..., None], 3, 2)
    view = CpmView(SeesTheSpot(), side)
    half = side_px / 2.5
    guess = np.array([[x + off - half, y - half], [x + off + half, y + half]]).repeat([10, 11], 0)
    found = view._detect_in(image, region_around(guess))
    np.testing.assert_allclose(found.keypoints_px, np.tile([x, y], (21, 1)), atol=0.05)
    assert found.right == (side == "right")


class Sees:
    """Stands for the network: keypoints in pixels of the crop, in hand3d's order, and their scores."""

    def __init__(self, crop_px, scores=1.0):
        self.maps = target_maps(crop_px) * np.reshape(np.broadcast_to(scores, 21), (21, 1, 1))
        self.crops = []

    def score_crop(self, crop):
        self.crops.append(crop)
        return self.maps


@pytest.fixture
def image():
    return np.full((480, 640, 3), 90, np.uint8)


@pytest.mark.parametrize("side", ["left", "right"])
def test_keypoints_come_in_our_order_with_the_wrist_out_of_the_palm(image, rng, side):
    truth = rng.uniform((250, 150), (350, 250), (21, 2))
    region = region_around(truth)
    crop_px = (truth - region.to_image(np.zeros(2), 256)) * 256 / region.side_px
    if side == "right":
        crop_px[:, 0] = 255 - crop_px[:, 0]
    theirs = crop_px[list(KEYPOINT_ORDERS["rhd"])]
    theirs[0] = (crop_px[0] + crop_px[9]) / 2  # the palm: between wrist and middle MCP
    view = CpmView(Sees(theirs, np.linspace(0.3, 1, 21)), side)
    found = view.detect_near(image, truth, right=0.5)
    # Eighths of a crop pixel: the peaks are exact.
    np.testing.assert_allclose(found.keypoints_px, truth, atol=0.05)
    assert found.right == (side == "right") and (found.confidence <= 1).all() and found.confidence.min() > 0.25
    assert found.confidence[4] < found.confidence[1]  # the thumb runs from its tip in the network's order


def test_a_hand_that_the_network_is_not_sure_of_is_none(image, rng):
    guess = rng.uniform((250, 150), (350, 250), (21, 2))
    places = rng.uniform(60, 200, (21, 2))
    places[12] = places[0]
    for score, found in ((0.1, False), (0.5, True), (3.0, True)):
        detection = CpmView(Sees(places, score), "left").detect_near(image, guess, 0.0)
        assert (detection is not None) == found
        assert detection is None or 0 <= detection.confidence.min() <= detection.confidence.max() <= 1
    assert CpmView(Sees(places, np.nan), "left").detect_near(image, guess, 0.0) is None
    guess[3, 0] = np.nan
    assert CpmView(Sees(places), "left").detect_near(image, guess, 0.0) is None


def test_another_hand_than_the_one_looked_for_is_not_taken(image, rng):
    """The guess lies in a corner of its own crop's surroundings: found is what is in the other corner."""
    guess = rng.uniform((250, 150), (350, 250), (21, 2))
    corner = np.tile([10.0, 10.0], (21, 1))
    assert CpmView(Sees(corner), "left").detect_near(image, guess, 0.0) is None


def studio(color=GREEN, blob=(300, 200, 80, 120)):
    image = np.full((480, 640, 3), color, np.uint8)
    left, top, width, height = blob
    image[top : top + height, left : left + width] = SKIN
    image[10:14, 10:14] = SKIN  # a speck
    return image


def fitting(rng):
    """Keypoints that fill a crop as it is made for them: from 25.6 px to 25.6 px of its edges."""
    places = rng.uniform(60, 190, (21, 2))
    places[1], places[2] = (25.1, 25.1), (229.9, 229.9)
    places[0] = places[12]  # so that the wrist is within
    return places


@pytest.mark.parametrize("color", [GREEN, (40, 60, 200)])
def test_the_largest_blob_before_a_screen(color):
    region = region_before_screen(studio(color))
    np.testing.assert_allclose(region.center_px, [339.5, 259.5])  # columns 300..379, rows 200..319
    assert region.side_px == pytest.approx(1.25 * 119) and region.angle_rad == 0


def test_no_screen_or_nothing_before_it():
    assert region_before_screen(studio((120, 110, 100))) is None
    assert region_before_screen(studio(blob=(0, 0, 0, 0))) is None
    assert region_before_screen(np.full((48, 64, 3), GREEN, np.uint8)) is None


def test_a_hand_is_found_by_the_screen_then_followed_then_found_again(rng):
    network = Sees(fitting(rng))
    view = CpmView(network, "left")
    (first,) = view.detect(studio(), 0)
    empty = np.full((480, 640, 3), GREEN, np.uint8)
    (second,) = view.detect(empty, 1)  # no blob: only the hand of before can be where it looked
    assert len(network.crops) == 2
    np.testing.assert_allclose(first.keypoints_px, second.keypoints_px, atol=1.0)  # the crop stays
    network.maps = network.maps * 0
    assert view.detect(studio(), 2) == [] and len(network.crops) == 4  # where it was, then the blob
    assert view.detect(empty, 3) == [] and len(network.crops) == 4  # nowhere to look
    network.maps = target_maps(fitting(rng))
    assert len(view.detect(studio(), 4)) == 1


def test_a_crop_that_does_not_fit_is_taken_again(rng):
    places = fitting(rng)
    for moved, looks in ((places, 1), (places + (6, 0), 1), (places + (20, 0), 3), (places * 0.7 + 30, 3)):
        network = Sees(moved)  # wherever it looks, the hand is off the middle
        CpmView(network, "left").detect(studio(), 0)
        assert len(network.crops) == looks


def test_crops_are_grey_outside_the_image():
    network = Sees(np.full((21, 2), 100.0))
    CpmView(network, "left").detect(studio(blob=(600, 440, 40, 40)), 0)
    assert (network.crops[0][-1, -1] == 128).all()  # 0 after the network's subtraction, as hand3d's
