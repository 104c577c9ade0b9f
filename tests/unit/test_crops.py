"""Cutouts show the picture's pixels where the cutout's camera says they are."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from support.cameras import look_at

from handgen.geometry.camera import resampling_maps
from handgen.segmentation.crops import Cutter, box_around, looking_at

POINTS = np.random.default_rng(3).uniform(-0.08, 0.08, (200, 3))
SPOT = np.array([0.013, -0.021, 0.03])


def camera(**changes):
    return replace(look_at("cam", np.array([0.4, 0.3, 0.5]), np.zeros(3), focal=500.0), **changes)


def picture_of_a_spot(source) -> np.ndarray:
    """Black but for a soft white spot where the camera sees `SPOT`."""
    width, height = source.size_px
    (x, y), _ = source.project(SPOT)
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    return np.round(255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 18)).astype(np.uint8)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"distortion": np.array([-0.3, 0.1, 0.002, -0.001, 0.0])},
        {"distortion": np.array([0.05, -0.01, 0.002, -0.0005]), "lens": "fisheye"},
    ],
)
def test_a_spot_in_the_picture_is_where_the_cutouts_camera_sees_it(changes):
    source = camera(**changes)
    cutter = Cutter(source, POINTS)
    cut = cutter.cut(picture_of_a_spot(source)).astype(float)
    assert cut.shape == cutter.camera.size_px[::-1] and cutter.camera.is_ideal
    rows, columns = np.indices(cut.shape)
    cut[cut < 8] = 0
    middle = np.array([(cut * columns).sum(), (cut * rows).sum()]) / cut.sum()
    np.testing.assert_allclose(middle, cutter.camera.project(SPOT)[0], atol=0.05)
    np.testing.assert_allclose(cutter.camera.center_world, source.center_world, atol=1e-9)


def test_the_cutout_is_the_hands_box_and_a_margin():
    source = camera()
    cutter = Cutter(source, POINTS)
    pixels, _ = source.project(POINTS)
    low, high = pixels.min(0), pixels.max(0)
    margin = 0.35 * (high - low).max()
    left, top, width, height = cutter.box_px
    np.testing.assert_array_equal((left, top), np.floor(low - margin))
    np.testing.assert_array_equal((left + width, top + height), np.ceil(high + margin))
    assert cutter.camera.size_px == (width, height)


def test_an_ideal_picture_is_copied_and_black_outside(rng):
    for target in (np.zeros(3), np.array([0.4, 0.0, 0.0]), np.array([-0.4, 0.0, 0.0]), np.array([0.0, 0.35, 0.0])):
        source = look_at("cam", np.array([0.0, 0.0, -0.8]), target, focal=500.0)
        cutter = Cutter(source, POINTS)
        image = rng.integers(1, 255, (480, 640, 3), dtype=np.uint8)
        left, top, width, height = cutter.box_px
        room = 2000
        around = cv2.copyMakeBorder(image, room, room, room, room, cv2.BORDER_CONSTANT)
        expected = around[room + top : room + top + height, room + left : room + left + width]
        np.testing.assert_array_equal(cutter.cut(image), expected)
        np.testing.assert_array_equal(cutter.cut(image[..., 0]), expected[..., 0])
        np.testing.assert_array_equal(cutter.picture, np.where(expected.any(-1), 255, 0))


def test_where_a_distorted_picture_ends_the_cutout_does():
    source = look_at("cam", np.array([0.0, 0.0, -0.8]), np.array([0.5, 0.35, 0.0]), focal=500.0)
    source = replace(source, distortion=np.array([-0.2, 0.0, 0.0, 0.0]))
    cutter = Cutter(source, POINTS)
    white = cutter.cut(np.full((480, 640), 255, np.uint8))
    assert 0.1 < (cutter.picture > 0).mean() < 0.9
    assert ((white > 127) != (cutter.picture > 0)).mean() < 0.02  # the outermost half pixel


def test_a_hand_too_large_is_stored_smaller():
    source = replace(look_at("cam", np.array([0.0, 0.0, -0.8]), np.zeros(3), focal=8000.0, size_px=(3000, 2200)))
    cutter = Cutter(source, POINTS * (1.0, 0.5, 1.0))
    _, _, width, height = cutter.box_px
    assert max(cutter.camera.size_px) == 1024 < min(width, height)
    assert cutter.camera.size_px[1] / cutter.camera.size_px[0] == pytest.approx(height / width, abs=1e-3)
    cut = cutter.cut(picture_of_a_spot(source)).astype(float)
    assert cut.shape == cutter.camera.size_px[::-1]


def test_a_camera_that_looks_at_a_point_sees_it_in_its_middle_and_upright():
    source = camera()
    turned = looking_at(source, SPOT)
    pixel, _ = turned.project(SPOT)
    np.testing.assert_allclose(pixel, source.intrinsics[:2, 2], atol=1e-9)
    np.testing.assert_allclose(turned.center_world, source.center_world, atol=1e-12)
    turned_from_cam = turned.cam_from_world.rotation @ source.cam_from_world.rotation.T
    assert turned_from_cam[0, 1] == pytest.approx(0, abs=1e-12) and turned_from_cam[1, 1] > 0.9


@pytest.mark.parametrize("margin", [0, 3, 50])
def test_the_box_around_a_mask_is_its_rows_and_columns_and_a_margin(margin, rng):
    for rows, columns in (
        ((10, 14), (20, 31)),
        ((0, 3), (0, 2)),
        ((38, 40), (57, 60)),
        ((0, 40), (0, 60)),
        ((7, 8), (9, 10)),
    ):
        mask = np.zeros((40, 60), np.uint8)
        mask[rows[0], columns[0]] = mask[rows[1] - 1, columns[1] - 1] = 255
        box = box_around(mask, margin)
        expected = [(max(0, n[0] - margin), min(size, n[1] + margin)) for n, size in ((rows, 40), (columns, 60))]
        assert [(part.start, part.stop) for part in box] == expected
    assert box_around(np.zeros((40, 60), np.uint8), margin) == (slice(0, 40), slice(0, 60))


def test_a_resampled_mask_is_cut_at_half():
    """Between 127 and 128; what is a plain copy is cut as well."""
    source = look_at("cam", np.array([0.0, 0.0, -0.8]), np.zeros(3), focal=500.0)
    for camera in (source, replace(source, distortion=np.array([-0.05, 0.0, 0.0, 0.0]))):
        cutter = Cutter(camera, POINTS)
        for level, expected in ((0, 0), (127, 0), (128, 255), (255, 255)):
            found = cutter.cut_mask(np.full((480, 640), level, np.uint8))
            assert found[cutter.picture > 0].min() == found[cutter.picture > 0].max() == expected


@pytest.mark.parametrize("target", [(0.4, 0.0), (-0.4, 0.1), (0.1, 0.3), (0.1, -0.3), (0.0, 0.0)])
def test_a_distorted_cutout_is_the_picture_at_the_maps_places(target, rng):
    """Cubic interpolation, black beyond the picture, whose outermost pixels' centres are its end."""
    source = look_at("cam", np.array([0.0, 0.0, -0.8]), np.array([*target, 0.0]), focal=500.0)
    source = replace(source, distortion=np.array([-0.1, 0.02, 0.001, 0.0]))
    cutter = Cutter(source, POINTS)
    image = rng.integers(0, 255, (480, 640, 3), dtype=np.uint8)
    x, y = resampling_maps(cutter.camera, source)
    np.testing.assert_array_equal(cutter.cut(image), cv2.remap(image, x, y, cv2.INTER_CUBIC))
    inside = (x >= 0) & (x <= 639) & (y >= 0) & (y <= 479)
    np.testing.assert_array_equal(cutter.picture, np.where(inside, 255, 0))
    assert cutter.picture.shape == cutter.camera.size_px[::-1]


def test_a_copy_reaches_the_pictures_last_pixel(rng):
    """Cutouts all around the picture's borders show its outermost rows and columns, and say where it ends."""
    image = rng.integers(1, 255, (48, 64), dtype=np.uint8)
    for x in (-20, 0, 31, 60, 90):
        for y in (-20, 0, 25, 45, 70):
            source = look_at("cam", np.array([0.0, 0.0, -0.8]), np.zeros(3), focal=80.0, size_px=(64, 48))
            source = replace(
                source, intrinsics=source.intrinsics + np.array([[0, 0, x - 31.5], [0, 0, y - 23.5], [0, 0, 0]])
            )
            cutter = Cutter(source, POINTS)
            left, top, width, height = cutter.box_px
            expected = np.zeros((height, width), np.uint8)
            for row in range(max(top, 0), min(top + height, 48)):
                for column in range(max(left, 0), min(left + width, 64)):
                    expected[row - top, column - left] = image[row, column]
            np.testing.assert_array_equal(cutter.cut(image), expected)
            np.testing.assert_array_equal(cutter.picture, np.where(expected > 0, 255, 0))


def test_hands_of_a_thousand_pixels_and_less_are_stored_as_they_are():
    sizes = []
    for focal in np.linspace(3000, 6000, 17):
        source = look_at("cam", np.array([0.0, 0.0, -0.8]), np.zeros(3), focal=focal, size_px=(3000, 2200))
        cutter = Cutter(source, POINTS * (1.0, 0.3, 1.0))
        width, height = cutter.box_px[2:]
        share = min(1.0, 1024 / max(width, height))
        assert cutter.camera.size_px == (round(width * share), round(height * share))
        sizes.append(share)
    assert min(sizes) < 1 == max(sizes)


def test_a_fisheyes_cutout_looks_at_the_middle_of_the_hand():
    source = camera(distortion=np.array([0.05, -0.01, 0.002, -0.0005]), lens="fisheye")
    cutter, middle = Cutter(source, POINTS), POINTS.mean(0)
    turned = looking_at(source, middle)
    np.testing.assert_allclose(cutter.camera.cam_from_world.as_matrix(), turned.cam_from_world.as_matrix())
    forward = turned.cam_from_world.apply(middle)
    np.testing.assert_allclose(forward[:2], 0, atol=1e-12)
    turn = turned.cam_from_world.rotation @ source.cam_from_world.rotation.T
    direction = source.cam_from_world.apply(middle) / np.linalg.norm(source.cam_from_world.apply(middle))
    right = np.cross([0.0, 1.0, 0.0], direction) / np.linalg.norm(np.cross([0.0, 1.0, 0.0], direction))
    np.testing.assert_allclose(turn, [right, np.cross(direction, right), direction], atol=1e-12)
    assert turned.is_ideal and turned.size_px == source.size_px
