import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.landmarks import open_hand, to_crop

from handgen.detect.mediapipe.landmarks import Region, region_from_keypoints, region_from_palm

POSITIONS = st.floats(-2000, 5000)
REGIONS = st.builds(
    lambda x, y, side, angle: Region(np.array([x, y]), side, angle),
    POSITIONS,
    POSITIONS,
    st.floats(2, 4000),
    st.floats(-10, 10),
)


@given(REGIONS, st.lists(st.tuples(POSITIONS, POSITIONS), min_size=1, max_size=21), st.sampled_from([96, 224]))
def test_crop_and_back_is_the_identity(region, points, crop_px):
    points_px = np.array(points)
    there = to_crop(region, points_px, crop_px)
    np.testing.assert_allclose(region.to_image(there, crop_px), points_px, atol=0.01)


@given(REGIONS)
def test_the_middle_of_the_crop_is_the_centre_of_the_region(region):
    np.testing.assert_allclose(to_crop(region, region.center_px), (223 / 2, 223 / 2), atol=1e-6)
    corners = region.to_image(np.array([[-0.5, -0.5], [223.5, -0.5]]))
    np.testing.assert_allclose(np.linalg.norm(corners[1] - corners[0]), region.side_px, rtol=1e-9)


@given(st.floats(-3.1, 3.1), st.floats(20, 500))
def test_a_hand_stands_upright_in_its_region(angle, size):
    region = region_from_keypoints(open_hand(size=size, angle=angle))
    assert abs(np.angle(np.exp(1j * (region.angle_rad - angle)))) < 1e-6
    crop = to_crop(region, open_hand(size=size, angle=angle))
    assert abs(crop[0, 0] - crop[9, 0]) < 1e-6 * size  # middle MCP straight above the wrist
    assert crop[9, 1] < crop[0, 1]
    assert ((crop > 0) & (crop < 224)).all()  # the whole hand is inside


def test_a_palm_gives_a_region_shifted_towards_the_fingers():
    keypoints = np.zeros((7, 2))
    keypoints[0], keypoints[2] = (100, 140), (100, 60)  # wrist below the middle MCP: upright
    region = region_from_palm(np.array([60.0, 60.0, 140.0, 140.0]), keypoints)
    assert region.angle_rad == pytest.approx(0.0)
    assert region.side_px == pytest.approx(2.6 * 80)
    np.testing.assert_allclose(region.center_px, [100, 100 - 0.5 * 80])


def test_crop_shows_the_turned_image_upright():
    image = np.zeros((300, 300, 3), np.uint8)
    image[140:160, 200:220] = 255  # right of the centre
    crop = Region(np.array([150.0, 150.0]), 200.0, np.pi / 2).crop(image, 200)  # "up" points right
    rows, columns = np.nonzero(crop[..., 0] > 128)
    np.testing.assert_allclose([columns.mean(), rows.mean()], [99.5, 39.5], atol=1.0)
    assert crop.dtype == np.uint8


def test_a_point_for_a_hand_still_gives_a_region():
    assert region_from_keypoints(np.full((21, 2), 7.0)).side_px > 0


def test_regions_are_checked():
    with pytest.raises(ValueError, match="Region"):
        Region(np.array([0.0, np.nan]), 10.0, 0.0)
    with pytest.raises(ValueError, match="Region"):
        Region(np.array([0.0, 0.0]), 0.0, 0.0)
