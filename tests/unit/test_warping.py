"""A cutout's pixels come to lie where the homography says, whatever their size."""

import cv2
import numpy as np
import pytest

from handgen.errors import HandgenError
from handgen.io.cutouts import Cutout
from handgen.segmentation.matting import Edge, matte_and_colors
from handgen.stages.synthesize.warping import Pixels, Placed, PlacedHand, magnification, place_hand

SIZE = (220, 170)  # of the cutout, width and height
MIDDLE, RADII = (118.3, 74.6), (61.0, 33.0)
BLUE, GREEN = (30, 60, 220), (40, 190, 60)


def ellipse(size_px, matrix=None) -> np.ndarray:
    """The share of each pixel inside the ellipse, or inside what `matrix` makes of it."""
    fine = 8
    width, height = size_px
    columns, rows = np.meshgrid(
        (np.arange(fine * width) + 0.5) / fine - 0.5, (np.arange(fine * height) + 0.5) / fine - 0.5
    )
    points = (
        np.stack([columns, rows, np.ones_like(rows)], -1) @ np.linalg.inv(np.eye(3) if matrix is None else matrix).T
    )
    points = points[..., :2] / points[..., 2:]
    inside = (((points - MIDDLE) / RADII) ** 2).sum(-1) < 1
    return inside.reshape(height, fine, width, fine).mean((1, 3))


@pytest.fixture(scope="module")
def cutout() -> Cutout:
    share = ellipse(SIZE)[..., None]
    image = np.round(share * BLUE + (1 - share) * GREEN).astype(np.uint8)
    return Cutout(image, np.where(share[..., 0] >= 0.5, 255, 0).astype(np.uint8))


def similarity(scale, degrees, x, y, tilt=0.0) -> np.ndarray:
    turn = np.deg2rad(degrees)
    matrix = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1.0]])
    middle = np.array([[1, 0, -MIDDLE[0]], [0, 1, -MIDDLE[1]], [0, 0, 1.0]])
    perspective = np.array([[1, 0, 0], [0, 1, 0], [tilt, -tilt / 2, 1.0]])
    return np.array([[scale, 0, x], [0, scale, y], [0, 0, 1.0]]) @ perspective @ matrix @ middle


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize(
    ("scale", "degrees", "tilt"),
    [(1.0, 0, 0), (0.7, 40, 0), (0.3, 0, 0), (0.25, -70, 0), (1.7, 160, 0), (0.8, 20, 1e-3)],
)
def test_mask_alpha_and_colours_lie_where_the_homography_takes_them(cutout, scale, degrees, tilt, hard):
    matrix = similarity(scale, degrees, 123.4, 118.9, tilt)
    found = place_hand(Pixels(cutout, Edge(0.6), hard), matrix, (260, 240))
    expected = ellipse((260, 240), matrix)
    alpha = np.zeros((240, 260))
    alpha[found.layer.box] = found.layer.alpha / 255
    for share in (found.mask / 255, alpha):
        assert share.sum() == pytest.approx(expected.sum(), rel=0.05)
        rows, columns = np.indices(share.shape)
        for places in (rows, columns):
            middle, wanted = ((places * part).sum() / part.sum() for part in (share, expected))
            assert middle == pytest.approx(wanted, abs=0.4 if hard else 0.15)  # px; a hard edge is on or off
        assert np.abs(share - expected).sum() < 0.06 * expected.sum() + 8
    assert set(np.unique(found.mask)) == {0, 255} and (set(np.unique(alpha)) == {0, 1}) == hard
    inner = cv2.erode(found.mask, np.ones((7, 7), np.uint8))[found.layer.box] > 0
    assert np.abs(found.layer.colors[inner].astype(int) - BLUE).max() <= 3
    height, width = found.layer.alpha.shape
    assert found.layer.alpha[0].any() and found.layer.alpha[-1].any()  # no row or column too many
    assert found.layer.alpha[:, 0].any() and found.layer.alpha[:, -1].any()
    assert (found.layer.solid == np.where(found.layer.alpha > 250, 255, 0)).all() and (height, width) < (240, 260)


@pytest.mark.parametrize("scale", [0.2, 0.45, 1.3])
def test_a_picture_on_its_side_is_placed_on_its_side(scale, rng):
    """Rows and columns are treated alike, fine stripes too: they are averaged down by the same share."""
    swapped = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]])
    image = np.kron(rng.integers(0, 256, (60, 80, 3)), np.ones((2, 2, 1))).astype(np.uint8)
    mask = np.full((120, 160), 255, np.uint8)
    matrix = np.array([[scale, 0, 20.3], [0, scale, 30.8], [0, 0, 1.0]])
    found = place_hand(Pixels(Cutout(image, mask), Edge(0.6), True), matrix, (260, 250))
    turned = Cutout(np.ascontiguousarray(image.transpose(1, 0, 2)), np.ascontiguousarray(mask.T))
    other = place_hand(Pixels(turned, Edge(0.6), True), swapped @ matrix @ swapped, (250, 260))
    np.testing.assert_array_equal(other.mask, found.mask.T)
    colors = found.layer.colors.transpose(1, 0, 2).astype(int)
    np.testing.assert_allclose(other.layer.colors, colors, atol=2)  # OpenCV rounds rows and columns in turn


def test_what_lies_outside_is_cut_off_and_the_rest_stays(cutout):
    whole = place_hand(Pixels(cutout, Edge(0.6)), similarity(0.9, 30, 200, 200), (400, 400))
    for x, y in ((150, 150), (-20, 60), (60, -15), (230, 60), (60, 225)):
        part = place_hand(Pixels(cutout, Edge(0.6)), similarity(0.9, 30, x, y), (240, 230))
        around = cv2.copyMakeBorder(whole.mask, 300, 300, 300, 300, cv2.BORDER_CONSTANT)
        expected = around[500 - y : 730 - y, 500 - x : 740 - x]
        assert (part.mask != expected).mean() < 1e-4 and part.mask.any()
    for x, y in ((-150, 100), (400, 100), (100, -150), (100, 400)):
        assert place_hand(Pixels(cutout, Edge(0.6)), similarity(0.9, 30, x, y), (240, 230)) is None


def test_a_forearm_fades_out_towards_the_border_and_is_not_in_the_mask(cutout):
    arm = np.zeros_like(cutout.mask)
    arm[60:90, : int(MIDDLE[0] - RADII[0])] = 255
    image = cutout.image.copy()
    image[arm > 0] = BLUE
    both = Pixels(Cutout(image, cutout.mask, arm), Edge(0.6))
    identity = np.eye(3)
    with_arm, without = (place_hand(both, identity, SIZE, keep) for keep in (True, False))
    alpha = np.zeros(SIZE[::-1])
    alpha[with_arm.layer.box] = with_arm.layer.alpha
    reach = 0.12 * 170
    np.testing.assert_allclose(alpha[75, 1:40], 255 * np.minimum(np.arange(1, 40) / reach, 1), atol=3)
    assert (with_arm.mask != without.mask).sum() <= 40  # along the seam
    assert not with_arm.mask[75, :50].any() and without.layer.left > 50
    assert both.hand_and_arm.own.max() == 255 and not both.hand_and_arm.own[75, :50].any()
    plain = Pixels(cutout, Edge(0.6))
    assert plain.hand_and_arm is plain.hand


def test_nothing_to_place(cutout):
    empty = Cutout(cutout.image, np.zeros_like(cutout.mask))
    assert Pixels(empty, Edge(0.6)).is_empty and not Pixels(cutout, Edge(0.6)).is_empty
    with pytest.raises(HandgenError, match="mask is empty"):
        place_hand(Pixels(empty, Edge(0.6)), np.eye(3), SIZE)
    nothing = PlacedHand.nothing((40, 30))
    assert nothing.mask.shape == (30, 40) and not nothing.mask.any() and not nothing.layer.alpha.any()
    assert Placed(3, 5, np.zeros((2, 4, 3), np.uint8), np.zeros((2, 4), np.uint8)).box == (slice(5, 7), slice(3, 7))


def test_magnification_is_the_root_of_how_areas_grow():
    matrix = np.array([[1.3, 0.2, 5], [-0.4, 0.9, -3], [1e-3, -5e-4, 1.0]])

    def moved(x, y):
        point = matrix @ (x, y, 1)
        return point[:2] / point[2]

    for x, y in ((0, 0), (100, 40), (-50, 80)):
        across, down = (
            (moved(x + 1e-4, y) - moved(x - 1e-4, y)) / 2e-4,
            (moved(x, y + 1e-4) - moved(x, y - 1e-4)) / 2e-4,
        )
        area = abs(across[0] * down[1] - across[1] * down[0])
        for scale in (1.0, -2.5):  # a homography means the same at any scale
            assert magnification(scale * matrix, (x, y)) == pytest.approx(np.sqrt(area), rel=1e-5)


def test_half_the_size_has_half_the_blur(cutout):
    half = Pixels(cutout, Edge(1.4, "green"), True).halve()
    assert (half.edge.blur_px, half.edge.screen, half.hard) == (0.7, "green", True)
    assert half.cutout.mask.shape == (85, 110)


def test_a_hand_at_the_cutouts_border_is_kept_to_its_last_row(cutout):
    mask = np.zeros_like(cutout.mask)
    mask[:, 100:130] = 255
    mask[80:100] = 255
    image = np.where(mask[..., None] > 0, np.uint8(BLUE), np.uint8(GREEN))
    found = place_hand(Pixels(Cutout(image, mask), Edge(0.6), True), np.eye(3), SIZE)
    np.testing.assert_array_equal(found.mask, mask)


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("blur_px", [0.2, 0.6, 2.3])
def test_layers_are_the_matte_of_the_hand_and_what_is_around_it(cutout, hard, blur_px):
    """The matte is made of the mask's box and a margin of three sigmas of the edge's blur and two pixels."""
    edge = Edge(blur_px, "green")
    found = Pixels(cutout, edge, hard).hand
    rows, columns = (np.flatnonzero(cutout.mask.any(axis)) for axis in (1, 0))
    margin = int(np.ceil(3 * blur_px)) + 2
    box = tuple(slice(max(n[0] - margin, 0), n[-1] + 1 + margin) for n in (rows, columns))
    assert found.own is None and [(s.start, min(s.stop, n)) for s, n in zip(found.box, SIZE[::-1], strict=True)] == [
        (s.start, min(s.stop, n)) for s, n in zip(box, SIZE[::-1], strict=True)
    ]
    image, mask = (np.ascontiguousarray(array[box]) for array in (cutout.image, cutout.mask))
    colors, alpha = image, np.where(mask > 127, 255, 0)
    if not hard:
        alpha, colors, _ = matte_and_colors(image, mask, edge)
    expected = np.zeros((*cutout.mask.shape, 4), np.uint8)
    expected[box] = np.dstack([colors, alpha])
    np.testing.assert_array_equal(found.pixels, expected)


def warped_whole(source, matrix, size_px, keep_forearm):
    """Everything of the sample that a cutout reaches, warped without a box of its own: colours, alpha and mask."""
    layers = source.hand_and_arm if keep_forearm else source.hand
    rows, columns = layers.box
    parts = [layers.pixels[layers.box]] + ([] if layers.own is None else [layers.own[layers.box]])
    height, width = parts[0].shape[:2]
    matrix = matrix @ np.array([[1, 0, columns.start], [0, 1, rows.start], [0, 0, 1.0]])
    scale = magnification(matrix, (width / 2, height / 2))
    if scale < 0.49:
        size = max(2, round(1.2 * scale * width)), max(2, round(1.2 * scale * height))
        x, y = width / size[0], height / size[1]
        matrix = matrix @ np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1.0]])
        parts = [cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in parts]
    warped = [cv2.warpPerspective(part, matrix, size_px) for part in parts]
    alpha = warped[0][..., 3]
    alpha = np.where(alpha > 127, 255, 0) if source.hard else alpha
    return warped[0][..., :3], alpha, np.where((alpha if layers.own is None else warped[1]) > 127, 255, 0)


def arm_of(cutout):
    arm = np.zeros_like(cutout.mask)
    arm[40:110, :60] = 255
    image = cutout.image.copy()
    image[arm > 0] = BLUE
    return Cutout(image, cutout.mask, arm)


@pytest.mark.parametrize("keep_forearm", [False, True])
@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize(
    ("scale", "degrees", "x", "y", "tilt"),
    [
        (1.0, 0, 123.0, 118.0, 0),
        (0.7, 40, 20.3, 30.8, 0),
        (1.7, 160, 250.0, 230.0, 0),
        (0.48, 10, 100.2, 90.1, 0),
        (0.5, 10, 100.2, 90.1, 0),
        (0.3, 0, 13.7, 220.4, 2e-3),
        (0.2, -70, 240.0, 8.0, 0),
        (0.011, 30, 60.0, 50.0, 0),
        (0.8, 20, 120.0, 100.0, 9e-3),  # a part lies behind the camera
        (3.0, 20, 120.0, 100.0, 1e-3),
    ],
)
def test_a_box_around_the_hand_shows_what_the_whole_sample_would(
    cutout, scale, degrees, x, y, tilt, hard, keep_forearm
):
    size_px, source = (260, 240), Pixels(arm_of(cutout), Edge(0.6), hard)
    matrix = similarity(scale, degrees, x, y, tilt)
    colors, alpha, mask = warped_whole(source, matrix, size_px, keep_forearm)
    found = place_hand(source, 1.3 * matrix, size_px, keep_forearm)
    if not alpha.any():
        assert found is None
        return
    layer = found.layer
    whole = np.zeros_like(alpha)
    whole[layer.box] = layer.alpha
    # OpenCV rounds places to 1/32 px, not always to the same side.
    assert (np.abs(whole.astype(int) - alpha) > 12).mean() < 1e-3 and (found.mask != mask).mean() < 1e-3
    own = alpha[layer.box] > 0
    assert (np.abs(layer.colors.astype(int) - colors[layer.box])[own] > 12).mean() < 1e-2
    rows, columns = (np.flatnonzero(alpha.any(axis)) for axis in (1, 0))
    height, width = layer.alpha.shape
    assert np.abs(np.subtract((layer.left, layer.top), (columns[0], rows[0]))).max() <= 1
    assert np.abs(np.subtract((layer.left + width, layer.top + height), (columns[-1] + 1, rows[-1] + 1))).max() <= 1
    assert layer.colors.shape == (height, width, 3)


def test_layers_overlap_where_both_are():
    """Every place of two rectangles about each other: rows and columns of the common part, in both."""
    size = (20, 24)
    placed = Placed(5, 6, np.zeros((7, 8, 3), np.uint8), np.zeros((7, 8), np.uint8))
    for left in range(15):
        for top in range(15):
            other = Placed(left, top, np.zeros((4, 3, 3), np.uint8), np.zeros((4, 3), np.uint8))
            maps = np.zeros((2, *size), int)
            for each, layer in zip(maps, (placed, other), strict=True):
                each[layer.box] = 1 + np.arange(layer.alpha.size).reshape(layer.alpha.shape)
            both = (maps > 0).all(0)
            found = placed.overlap(other)
            assert (found is None) == (not both.any())
            if found is not None:
                for each, layer, part in zip(maps, (placed, other), found, strict=True):
                    numbers = 1 + np.arange(layer.alpha.size).reshape(layer.alpha.shape)
                    np.testing.assert_array_equal(numbers[part].ravel(), each[both])


def test_solid_is_what_is_nearly_opaque():
    alpha = np.array([[0, 127, 250, 251, 255]], np.uint8)
    assert Placed(0, 0, np.zeros((1, 5, 3), np.uint8), alpha).solid.tolist() == [[0, 0, 0, 255, 255]]
