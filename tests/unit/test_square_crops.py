"""Pictures fitted into squares, and hands mirrored, against what each pixel's place says."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from handgen.datasets.freihand.square_crops import crop_square, fit_square, mirror_hand, mirror_intrinsics
from handgen.media import images
from handgen.records.labelled_image import HandParameters, LabelledHand, LabelledImage


@pytest.mark.parametrize("size", [(90, 60), (60, 90), (40, 40), (31, 18), (200, 13), (18, 100)])
@pytest.mark.parametrize("side", [64, 33])
def test_a_fitted_picture_fills_the_square_and_its_places_are_said(size, side):
    """A smooth ramp in x and y tells of each pixel of the square where it was."""
    width, height = size
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    scale = 255 / max(size)
    ramp = np.round(np.stack([x * scale, y * scale, 0 * x + 200.0], -1)).astype(np.uint8)
    square, square_from_px = fit_square(ramp, side)
    assert square.shape == (side, side, 3)
    inside = square[..., 2] > 100
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    share = side / max(size)
    assert len(columns) == max(1, round(width * share)) and len(rows) == max(1, round(height * share))
    assert columns[0] == (side - len(columns)) // 2 and rows[0] == (side - len(rows)) // 2
    np.testing.assert_allclose(
        square_from_px @ (-0.5, -0.5, 1), (columns[0] - 0.5, rows[0] - 0.5, 1), atol=1e-9
    )  # edges go to edges
    np.testing.assert_allclose(
        square_from_px @ (width - 0.5, height - 0.5, 1), (columns[-1] + 0.5, rows[-1] + 0.5, 1), atol=1e-9
    )
    assert not square_from_px[[0, 1, 2, 2], [1, 0, 0, 1]].any()
    row, column = (rows[0] + rows[-1]) // 2, (columns[0] + columns[-1]) // 2
    there = np.linalg.inv(square_from_px) @ (column, row, 1)
    there = np.clip(there[:2], 0, (width - 1, height - 1))
    np.testing.assert_allclose(square[row, column, :2], there * scale, atol=0.6 * scale / share + 1.5)
    way = cv2.INTER_AREA if share < 1 else cv2.INTER_LINEAR
    made = cv2.resize(ramp, (len(columns), len(rows)), interpolation=way)
    if size != (side, side):
        np.testing.assert_array_equal(square[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], made)
    assert not square[~inside].any()


def test_a_square_of_the_size_is_itself():
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    found, matrix = fit_square(pixels, 4)
    assert found is pixels and (matrix == np.eye(3)).all()
    grey, _ = fit_square(pixels[:2, :, 0], 8)
    assert grey.shape == (8, 8) and not grey[:2].any() and not grey[6:].any() and grey[2:6].any()


def test_mirrored_intrinsics_take_mirrored_points_to_mirrored_pixels(rng):
    intrinsics = np.array([[300.0, 4.0, 70.0], [0, 310.0, 55.0], [0, 0, 1]])
    before, found = intrinsics.copy(), mirror_intrinsics(intrinsics, 128)
    point = rng.uniform(0.2, 1.0, 3)
    here, there = intrinsics @ point, found @ (point * (-1, 1, 1))
    np.testing.assert_allclose(there[:2] / there[2], (127 - here[0] / here[2], here[1] / here[2]))
    np.testing.assert_array_equal(intrinsics, before)


def hand_of(rng, **changes):
    parameters = HandParameters(
        rng.normal(size=48), rng.normal(size=10), rng.normal(size=3), model="open", model_sha256="a" * 64
    )
    hand = LabelledHand(
        side="left",
        keypoints_px=rng.normal(size=(21, 2)),
        visible=rng.random(21) > 0.5,
        labelled=rng.random(21) > 0.1,
        keypoints_cam_m=rng.normal(size=(21, 3)),
        box_px=(1.0, 2.0, 3.0, 4.0),
        parameters=parameters,
    )
    return replace(hand, **changes)


def test_a_mirrored_hand_is_the_other_one(rng):
    hand = hand_of(rng)
    found = mirror_hand(hand)
    assert found.side == "right" and found.box_px is None and found.parameters.model_sha256 is None
    np.testing.assert_array_equal(found.keypoints_cam_m, hand.keypoints_cam_m * (-1, 1, 1))
    np.testing.assert_array_equal(found.parameters.pose, hand.parameters.pose * np.tile([1, -1, -1], 16))
    np.testing.assert_array_equal(found.parameters.translation_m, hand.parameters.translation_m * (-1, 1, 1))
    assert found.parameters.betas is hand.parameters.betas and found.parameters.model == "open"
    assert found.visible is hand.visible and found.labelled is hand.labelled
    bare = mirror_hand(hand_of(rng, side="right", keypoints_cam_m=None, parameters=None))
    assert (bare.side, bare.keypoints_cam_m, bare.parameters) == ("left", None, None)
    unplaced = mirror_hand(replace(hand, parameters=replace(hand.parameters, translation_m=None)))
    assert unplaced.parameters.translation_m is None


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("size", [(48, 48), (60, 40)])
def test_a_cropped_picture_has_everything_in_one_frame(rng, size, mirror):
    """A white spot, its mask and the intrinsics of a point that is seen there."""
    width, height = size
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    spot = (np.hypot(x - 35, y - 12) < 6) * np.uint8(255)
    intrinsics = np.array([[50.0, 0, 20.0], [0, 50.0, 25.0], [0, 0, 1]])
    hand = hand_of(rng)
    jpeg = images.encode_jpeg(np.repeat(spot[..., None], 3, 2), 95)
    picture = LabelledImage("a", size, (hand,), jpeg, mask=images.encode_mask_png(spot), intrinsics=intrinsics)
    found = crop_square(picture, 48, mirror)
    assert (found.jpeg == jpeg) == (size == (48, 48) and not mirror)
    assert (found.hand is hand) == (not mirror) and found.hand.side == ("right" if mirror else "left")
    pixels = images.decode_rgb(found.jpeg, "a")
    assert pixels.shape == (48, 48, 3) and found.mask.shape == (48, 48) and set(np.unique(found.mask)) == {0, 255}
    ray = np.linalg.inv(intrinsics) @ (35, 12, 1)
    expected = found.intrinsics @ (ray * ((-1, 1, 1) if mirror else (1, 1, 1)))
    for array in (pixels[..., 0] / 255.0, found.mask / 255.0):
        rows, columns = np.indices(array.shape)
        middle = (array * columns).sum() / array.sum(), (array * rows).sum() / array.sum()
        np.testing.assert_allclose(middle, expected[:2] / expected[2], atol=0.15)
    assert np.mean((pixels[..., 0] > 127) != (found.mask > 127)) < 0.01


def test_a_pixel_belongs_to_the_hand_from_half_of_it_on(rng):
    """A mask of noise in another size has every share of a pixel, also 127 of 255."""
    mask = np.where(rng.random((64, 97)) > 0.5, np.uint8(255), np.uint8(0))
    jpeg = images.encode_jpeg(np.repeat(mask[..., None], 3, 2), 95)
    png = images.encode_mask_png(mask)
    picture = LabelledImage("a", (97, 64), (hand_of(rng),), jpeg, mask=png, intrinsics=np.eye(3))
    shares, _ = fit_square(mask, 48)
    assert (shares == 127).any() and (shares == 128).any()
    np.testing.assert_array_equal(crop_square(picture, 48, False).mask, np.where(shares >= 128, 255, 0))
