import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from support.annotations import GREEN, SKIN, draw_hand, open_hand, random_pose, ring_cameras

from handgen.geometry.camera import Camera
from handgen.segmentation.matting import Edge, matte_and_colors

GREY = 120
SCALE = 4  # at which truth is drawn


def camera_of(hand, margin: int = 20) -> Camera:
    camera = ring_cameras(1)[0]
    pixels, _ = camera.project(hand.vertices[0].numpy())
    left, top = np.floor(pixels.min(0)).astype(int) - margin
    width, height = np.ceil(pixels.max(0)).astype(int) + margin + 1 - (left, top)
    return camera.cropped(int(left), int(top), int(width), int(height))


def drawn(rng, blur_px: float, behind=GREEN, flat: bool = True):
    """A hand before a wall: the picture, its mask, what the hand filled of each pixel, and the sharp small picture."""
    hand = open_hand("right")(random_pose("right", rng))
    camera = camera_of(hand)
    width, height = camera.size_px
    large = draw_hand(camera.resized((SCALE * width, SCALE * height)), hand, open_hand("right").faces, flat=flat)
    own = large.image if flat else np.full_like(large.image, SKIN)
    image = np.where(large.mask[..., None] > 0, own, np.array(behind)).astype(np.float32)
    share = large.mask.astype(np.float32) / 255
    image, share = (cv2.GaussianBlur(x, (0, 0), blur_px * SCALE) for x in (image, share))
    image, share = (cv2.resize(x, (width, height), interpolation=cv2.INTER_AREA) for x in (image, share))
    return image.round().astype(np.uint8), np.where(share >= 0.5, 255, 0).astype(np.uint8), share


def matted(image, mask, edge):
    """Call `matte_and_colors`; the matte as shares of 1."""
    alpha, colors, core = matte_and_colors(image, mask, edge)
    assert alpha.dtype == np.uint8
    return alpha.astype(np.float32) / 255, colors, core


def on_grey(colors: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.round(colors * alpha[..., None] + GREY * (1 - alpha[..., None])).astype(int)


def greenness(image: np.ndarray) -> np.ndarray:
    return image[..., 1] - np.maximum(image[..., 0], image[..., 2])


def half_plane(size: int = 60, edge: int = 30) -> np.ndarray:
    mask = np.zeros((size, size), np.uint8)
    mask[:, edge:] = 255
    return mask


def blank(mask: np.ndarray, color=SKIN, behind=GREEN) -> np.ndarray:
    return np.where(mask[..., None] > 0, np.array(color), np.array(behind)).astype(np.uint8)


@pytest.mark.parametrize("blur_px", [0.5, 0.7, 1.0, 2.0, 4.0, 8.0])
def test_the_matte_of_a_straight_edge_is_the_camera_s(blur_px):
    mask = half_plane()
    alpha, _, _ = matted(blank(mask), mask, Edge(blur_px))
    expected = norm.cdf((np.arange(60) - 29.5) / blur_px)
    assert np.abs(alpha[30] - expected).max() < (0.06 if blur_px < 0.7 else 0.025)  # sampled Gaussian, cut off
    assert alpha[30, 29:31].mean() == pytest.approx(0.5, abs=0.01)  # 0.5 lies at the edge itself


@pytest.mark.parametrize(("blur_px", "error"), [(0.5, 0.075), (0.8, 0.045), (1.6, 0.025)])
def test_the_matte_is_what_the_hand_filled_of_each_pixel(blur_px, error, rng):
    """The less the blur, the more is lost in a mask of whole pixels, which is 0.19 off itself."""
    for _ in range(3):
        image, mask, share = drawn(rng, blur_px)
        alpha, _, _ = matted(image, mask, Edge(np.sqrt(blur_px**2 + 1 / 12)))
        edge = (share > 0.02) & (share < 0.98)
        assert np.abs(alpha - share)[edge].mean() < error < np.abs(mask / 255 - share)[edge].mean() / 2
        assert abs((alpha - share)[edge].mean()) < 0.02  # neither fatter nor thinner


def test_gaps_between_fingers_stay_open():
    mask = np.full((40, 60), 255, np.uint8)
    mask[:30, 28:31] = 0
    alpha, colors, _ = matted(blank(mask), mask, Edge(0.7, "green"))
    assert alpha[5:25, 29].max() < 0.06
    assert greenness(on_grey(colors, alpha)).max() <= 0


@settings(max_examples=60)
@given(
    blur_px=st.floats(0.01, 30.0),
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    seed=st.integers(0, 2**32 - 1),
    screen=st.sampled_from([None, "green", "blue"]),
)
def test_any_mask_with_any_blur(blur_px, height, width, seed, screen):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    mask, more = np.zeros((2, height, width), np.uint8)
    x, y, radius = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0, 60)
    for drawing, r in ((mask, radius), (more, radius + rng.uniform(0, 9))):
        cv2.circle(drawing, (int(x), int(y)), int(r), 255, -1)
    alpha, colors, core = matted(image, mask, Edge(blur_px, screen))
    assert alpha.shape == core.shape == (height, width) and colors.shape == image.shape
    assert (alpha.dtype, colors.dtype, core.dtype) == (np.float32, np.uint8, np.uint8)
    assert alpha.min() >= 0 and alpha.max() <= 1
    far = 4 * max(min(blur_px, 8.0), 1.0) + 2
    y, x = np.mgrid[:height, :width]
    inside = cv2.distanceTransform(cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_REPLICATE), cv2.DIST_L2, 5)
    outside = cv2.distanceTransform(cv2.bitwise_not(mask), cv2.DIST_L2, 5)
    assert (alpha[outside > far] == 0).all() if mask.any() else (alpha == 0).all()
    if not mask.all():
        assert (alpha[inside[1:-1, 1:-1] > far] == 1).all()
    larger, _, _ = matted(image, more, Edge(blur_px, screen))
    assert (larger >= alpha - 0.02).all()  # rounding, once per step of a wide blur
    assert set(np.unique(core)) <= {0, 255} and core.any() == mask.any()


# Hands 0, 2 and 4 have gaps that open narrowly: matting leaves up to 47 grey levels of a wall that is not known there.
_NARROW_GAPS = pytest.mark.xfail(strict=True, reason="a known fault: a narrow gap keeps an unknown wall's colour")


@pytest.mark.parametrize("seed", [pytest.param(s, marks=_NARROW_GAPS if s in (0, 2, 4) else ()) for s in range(8)])
def test_edges_carry_no_colour_of_the_old_background(seed):
    """A skin-coloured hand cut from a green wall and laid on grey: no pixel is green, be the wall known or not."""
    rng = np.random.default_rng(seed)
    assert GREEN[1] - max(GREEN[0], GREEN[2]) > 100  # what a halo would show
    for blur_px in (0.5, 0.8, 1.6, 3.0):
        image, mask, _ = drawn(rng, blur_px)
        closed = cv2.dilate(mask, np.ones((3, 3), np.uint8))  # a mask a pixel too wide, which closes narrow gaps
        for wrong in (mask, closed):
            alpha, colors, _ = matted(image, wrong, Edge(blur_px, "green"))
            assert greenness(on_grey(colors, alpha)).max() <= 8, blur_px
        alpha, colors, _ = matted(image, mask, Edge(blur_px))
        near = np.ones((9 + 2 * round(3 * blur_px),) * 2, np.uint8)
        open_ = cv2.dilate(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, near) - mask, near) == 0
        assert greenness(on_grey(colors, alpha))[open_].max() <= 8, blur_px  # a narrow gap is blurred shut


def test_colours_of_the_edge_are_the_hand_s(rng):
    """Flat skin before green: what shows is skin, but for the few pixels of gaps that blur and mask close."""
    for screen in (None, "green"):
        for _ in range(3):
            image, mask, share = drawn(rng, 0.7)
            alpha, colors, core = matted(image, mask, Edge(0.76, screen))
            off = np.abs(colors.astype(int) - SKIN).max(-1)
            assert np.percentile(off[alpha > 0.05], 99) <= 4  # edges are a tenth of the hand
            assert np.percentile(share[core > 0], 0.5) > 0.98


def test_a_screen_s_light_on_the_skin_is_taken_off():
    """Green light that grows towards the edge turns skin yellow; its hue comes back within two degrees."""
    mask = np.zeros((160, 160), np.uint8)
    cv2.circle(mask, (80, 80), 60, 255, -1)
    image = blank(mask).astype(np.float32)
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    image[..., 1] += 45 * np.exp(-depth / 4) * (mask > 0)
    image = image.round().astype(np.uint8)
    edge = (depth > 0) & (depth < 4)

    def hue_deg(color):
        return 2.0 * cv2.cvtColor(np.array([[color]], np.uint8), cv2.COLOR_RGB2HSV)[0, 0, 0]

    _, kept, _ = matted(image, mask, Edge(0.7))
    _, colors, _ = matted(image, mask, Edge(0.7, "green"))
    assert hue_deg(kept[edge].mean(0)) - hue_deg(SKIN) > 5  # there was something to take off
    assert abs(hue_deg(colors[edge].mean(0)) - hue_deg(SKIN)) <= 2
    np.testing.assert_allclose(colors[edge].mean(0), SKIN, atol=6)


def test_green_things_keep_their_colour_deep_inside_unless_as_green_as_the_screen():
    mask = np.zeros((160, 160), np.uint8)
    cv2.circle(mask, (80, 80), 65, 255, -1)
    image = blank(mask)
    image[60:80, 70:90] = (130, 110, 90)  # hardly greener than skin, for how bright it is
    image[90:110, 70:90] = GREEN  # a gap that the mask closes
    _, colors, _ = matted(image, mask, Edge(0.7, "green"))
    np.testing.assert_allclose(colors[70, 80], (130, 110, 90), atol=4)
    assert greenness(colors.astype(int))[85:115, 65:95].max() <= 8


def test_blue_is_treated_as_green_is(rng):
    image, mask, _ = drawn(rng, 0.8)
    alpha, colors, core = matted(image, mask, Edge(0.8, "green"))
    swapped = np.ascontiguousarray(image[..., [0, 2, 1]])
    blue = matted(swapped, mask, Edge(0.8, "blue"))
    np.testing.assert_array_equal(alpha, blue[0])
    np.testing.assert_array_equal(core, blue[2])
    # Skin has less blue than green in neutral light, so a little more is taken off: 0.7 of red instead of 0.8.
    np.testing.assert_allclose(colors[..., [0, 2, 1]].astype(float), blue[1], rtol=0.15, atol=3)


def test_a_hand_that_is_green_all_over_gets_the_colour_of_skin(rng):
    image, mask, _ = drawn(rng, 0.8)
    lit = image.copy()
    lit[..., 1] = cv2.convertScaleAbs(image[..., 1], alpha=1.25)
    for picture, changes in ((image, False), (lit, True)):
        _, colors, core = matted(picture, mask, Edge(0.8, "green"))
        _, kept, _ = matted(picture, mask, Edge(0.8))
        share, before = (cv2.mean(c, core)[1] / cv2.mean(c, core)[0] for c in (colors, kept))
        assert (before > 0.82) == changes
        assert share == pytest.approx(0.8 if changes else before, abs=0.02)


@pytest.mark.parametrize("wide", [1, 2, 4])
def test_thin_things_have_the_least_mixed_colours_there_are(wide):
    """Nowhere is a finger of few pixels its colour alone; what shows is still more skin than wall."""
    mask = np.zeros((60, 60), np.uint8)
    mask[10:50, 30 : 30 + wide] = 255
    image = cv2.GaussianBlur(blank(mask), (0, 0), 0.7)
    alpha, colors, core = matted(image, mask, Edge(0.7))
    best = image[30, 30:34].astype(int)[np.argmin(np.abs(image[30, 30:34].astype(int) - SKIN).sum(-1))]
    shown = colors[15:45][alpha[15:45] > 0.2].astype(int)
    assert np.abs(shown - best).max() <= (8 if wide < 4 else 30)
    assert core.any()


def test_shrunk_masks_may_be_soft(rng):
    """A mask averaged down, as for a small sample, is as good as one of whole pixels."""
    image, mask, share = drawn(rng, 0.8)
    size = (mask.shape[1] // 2, mask.shape[0] // 2)
    image, mask, share = (cv2.resize(x, size, interpolation=cv2.INTER_AREA) for x in (image, mask, share))
    alpha, colors, _ = matted(image, mask, Edge(0.45))
    assert np.abs(alpha - share)[(share > 0.02) & (share < 0.98)].mean() < 0.06
    assert greenness(on_grey(colors, alpha)).max() <= 8


def test_an_edge_is_checked():
    with pytest.raises(ValueError, match="blur_px"):
        Edge(0.0)
    with pytest.raises(ValueError, match="blur_px"):
        Edge(float("nan"))
    with pytest.raises(ValueError, match="screen"):
        Edge(1.0, "any")
