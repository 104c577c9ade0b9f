from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.annotations import GREEN, draw_hand, open_hand, random_pose, ring_cameras
from support.synthesize import GREY, PLAIN

from handgen.errors import HandgenError
from handgen.io.cutouts import Cutout
from handgen.segmentation.matting import Edge
from handgen.stages.synthesize.composite import composite
from handgen.stages.synthesize.light import light_table, throw_shadow
from handgen.stages.synthesize.occluders import draw_occluder, hidden_share
from handgen.stages.synthesize.virtual_camera import draw_view
from handgen.stages.synthesize.warping import Pixels, PlacedHand, place_hand

SHIRT_RED = (200, 25, 30)
SIZE = (160, 160)
BOX = (slice(20, 100), slice(30, 140))


def grey(level: int = GREY) -> np.ndarray:
    return np.full((*SIZE, 3), level, np.uint8)


def patch(color, box, size=SIZE) -> PlacedHand:
    """A rectangle of one colour, in place: left, top, right, bottom."""
    left, top, right, bottom = box
    image, mask = np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)
    image[:] = color
    mask[top:bottom, left:right] = 255
    placed = place_hand(Pixels(Cutout(image, mask), Edge()), np.eye(3), size)
    assert placed is not None
    return placed


def laid(hands, background, config=PLAIN, occluder=None, seed=0):
    return composite(hands, occluder, background, 1.0, config, np.random.default_rng(seed))


@pytest.mark.parametrize("share", [0.25, 0.6, 1.0, 2.0])
def test_edges_carry_no_colour_of_the_old_background(rng, share):
    """A skin-coloured hand cut from a green wall and laid on grey: no pixel of the composite is green."""
    camera = ring_cameras(1)[0]
    hand = open_hand("right")(random_pose("right", rng))
    pixels, _ = camera.project(hand.vertices[0].numpy())
    left, top = np.floor(pixels.min(0)).astype(int) - 20
    width, height = np.ceil(pixels.max(0)).astype(int) + 21 - (left, top)
    camera = camera.cropped(int(left), int(top), int(width), int(height))
    cutout = draw_hand(camera, hand, open_hand("right").faces)
    view = draw_view(camera, hand.keypoints[0].numpy(), replace(PLAIN, hand_share=(share, share)), False, rng)
    placed = place_hand(Pixels(cutout, Edge(0.8, "green")), view.sample_px_from_cutout_px(camera), (224, 224))
    made = laid([placed], np.full((224, 224, 3), 120, np.uint8))
    image = made.image.astype(int)
    greenness = image[..., 1] - np.maximum(image[..., 0], image[..., 2])  # skin is red, the ground is grey
    assert greenness.max() <= 8
    assert made.masks[0].any()
    assert GREEN[1] - max(GREEN[0], GREEN[2]) > 100  # what a halo would show


def test_shrinking_does_not_alias():
    """Fine stripes on a hand become their mean, not moire, when the hand is shrunk eight times."""
    stripes = np.zeros((800, 800, 3), np.uint8)
    stripes[:, ::2] = 200
    mask = np.zeros((800, 800), np.uint8)
    cv2.circle(mask, (400, 400), 300, 255, -1)
    homography = np.array([[1 / 8, 0, 0], [0, 1 / 8, 0], [0, 0, 1.0]])
    placed = place_hand(Pixels(Cutout(stripes, mask), Edge()), homography, (100, 100))
    made = laid([placed], np.zeros((100, 100, 3), np.uint8))
    inside = cv2.erode(made.masks[0], np.ones((7, 7), np.uint8)) > 0
    assert np.abs(made.image[inside].astype(int) - 100).max() <= 15  # 100 where every other stripe is skipped


def test_an_empty_mask_is_an_error_and_a_hand_outside_is_none():
    empty = Cutout(np.zeros((20, 20, 3), np.uint8), np.zeros((20, 20), np.uint8))
    with pytest.raises(HandgenError, match="mask is empty"):
        place_hand(Pixels(empty, Edge()), np.eye(3), (32, 32))
    full = Cutout(np.zeros((20, 20, 3), np.uint8), np.full((20, 20), 255, np.uint8))
    away = np.array([[1, 0, 500.0], [0, 1, 0], [0, 0, 1]])
    assert place_hand(Pixels(full, Edge()), away, (32, 32)) is None


def test_a_hard_cut_mixes_no_colours():
    made = laid([patch((200, 150, 130), (40, 30, 120, 110))], grey(), replace(PLAIN, blend="hard"))
    colors = {tuple(c) for c in made.image.reshape(-1, 3).tolist()}
    # Outside the mask's own pixels the rectangle's edge is soft in a matte, never here.
    cutout = Cutout(np.full((*SIZE, 3), (200, 150, 130), np.uint8), made.masks[0])
    placed = place_hand(Pixels(cutout, Edge(), hard=True), np.eye(3), SIZE)
    hard = laid([placed], grey(), replace(PLAIN, blend="hard"))
    assert {tuple(c) for c in hard.image.reshape(-1, 3).tolist()} == {(200, 150, 130), (GREY,) * 3}
    assert len(colors) > 2


def test_a_forearm_is_laid_in_but_is_not_the_hand():
    image = np.full((*SIZE, 3), (200, 150, 130), np.uint8)
    mask, arm = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    mask[40:90, 60:100], arm[90:160, 65:95] = 255, 255
    without = place_hand(Pixels(Cutout(image, mask, arm), Edge()), np.eye(3), SIZE)
    kept = place_hand(Pixels(Cutout(image, mask, arm), Edge()), np.eye(3), SIZE, keep_forearm=True)
    plain, with_arm = laid([without], grey()), laid([kept], grey())
    assert (plain.image[110:, 80] == GREY).all()
    assert np.abs(with_arm.image[110:130, 80].astype(int) - (200, 150, 130)).max() <= 2
    assert np.abs(with_arm.image[-1, 80].astype(int) - GREY).max() <= 3  # it fades out where the cutout ends
    assert (np.abs(with_arm.image[60:115, 80].astype(int) - (200, 150, 130)) <= 2).all()  # no seam at the wrist
    changed = plain.masks[0] != with_arm.masks[0]
    assert not changed[: 89 - 2].any() and not with_arm.masks[0][93:].any()


def test_nothing_shines_through_between_two_hands_that_touch():
    far, near = patch((200, 60, 60), (20, 40, 80, 120)), patch((60, 60, 200), (80, 40, 140, 120))
    made = laid([far, near], np.full((*SIZE, 3), (0, 255, 0), np.uint8))
    seam = made.image[60:100, 70:90].astype(int)
    assert (seam[..., 1] <= 75).all()  # green would be 100 and more
    assert not (made.masks[0] & made.masks[1]).any()


def test_poisson_keeps_the_hands_gradients_and_its_place():
    hand = patch((200, 150, 130), (40, 30, 120, 110))
    hand.layer.colors[60 - hand.layer.top : 80 - hand.layer.top, 70 - hand.layer.left : 90 - hand.layer.left] = (
        120,
        80,
        60,
    )
    alpha, poisson = laid([hand], grey()), laid([hand], grey(), replace(PLAIN, blend="poisson"))
    assert (alpha.masks[0] == poisson.masks[0]).all()
    away = cv2.dilate(alpha.masks[0], np.ones((9, 9), np.uint8)) == 0
    assert (poisson.image[away] == GREY).all()
    step = poisson.image[50, 80].astype(int) - poisson.image[70, 80]
    assert np.abs(step - (80, 70, 70)).max() <= 8  # the gradient inside, grey levels
    assert np.abs(poisson.image[34, 44].astype(int) - GREY).max() < 40  # near the edge the background's colour


# --- light


@given(
    scene=st.tuples(*[st.integers(0, 255)] * 3),
    spread=st.integers(0, 60),
    strength=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_colours_stay_what_they_are(scene, spread, strength, seed):
    """Whatever the background, a red shirt stays red, white stays whitest, and the order of levels is kept."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(-spread, spread + 1, (*SIZE, 1))
    background = np.clip(np.array(scene) + noise, 0, 255).astype(np.uint8)
    table = light_table(np.array([190.0, 140, 120]), background, BOX, strength, rng)
    red, green, blue = (int(table[0, v, c]) for c, v in enumerate(SHIRT_RED))
    assert red > 2 * max(green, blue, 1)
    assert (np.diff(table[0].astype(int), axis=0) >= 0).all()
    assert table[0, 0].max() == 0


def test_channels_are_not_mixed_up():
    """A red hand laid in as it is stays (200, 25, 30), not (30, 25, 200)."""
    made = laid([patch(SHIRT_RED, (40, 30, 120, 110))], grey())
    assert np.abs(made.image[70, 80].astype(int) - SHIRT_RED).max() <= 1
    assert np.abs(laid([patch(SHIRT_RED, (40, 30, 120, 110))], grey()).image[5, 5].astype(int) - GREY).max() == 0


def test_light_follows_the_background():
    skin = np.array([200.0, 150, 130])

    def lit(background, strength=1.0):
        table = light_table(skin, background, BOX, strength, np.random.default_rng(3))
        return np.array([table[0, int(v), c] for c, v in enumerate(skin)], float)

    dark, bright = lit(grey(25)), lit(grey(220))
    assert (dark < skin - 30).all() and (bright > dark + 40).all()
    warm = np.clip(grey(120).astype(int) + (50, 0, -50), 0, 255).astype(np.uint8)
    lamp, neutral = lit(warm), lit(grey(120))
    assert lamp[0] / lamp[2] > 1.1 * neutral[0] / neutral[2]
    assert np.abs(lit(grey(25), 0.0) - skin).max() <= 1


# --- shadows


@given(seed=st.integers(0, 10_000), level=st.integers(1, 255))
def test_a_shadow_only_darkens_and_is_soft(seed, level):
    background = grey(level)
    throw_shadow(background, [patch((1, 1, 1), (60, 50, 100, 110)).layer], np.random.default_rng(seed))
    assert background.max() <= level
    assert background.min() >= 0.3 * level - 1
    steps = np.abs(np.diff(background[..., 0].astype(int), axis=1)).max()
    assert steps <= 0.3 * level + 2  # no hard edge: a hard one of the darkest shadow would be 0.65


def test_shadows_lie_behind_the_hand_and_near_it():
    hand = patch((200, 150, 130), (60, 50, 100, 110))
    config = replace(PLAIN, shadow_probability=1.0)
    darker = 0
    for seed in range(20):
        plain, shaded = laid([hand], grey(), seed=seed), laid([hand], grey(), config, seed=seed)
        assert (plain.masks[0] == shaded.masks[0]).all()
        inside = cv2.erode(plain.masks[0], np.ones((9, 9), np.uint8)) > 0
        assert (plain.image[inside] == shaded.image[inside]).all()
        darker += bool((shaded.image.astype(int) < plain.image.astype(int) - 10).any())
        assert shaded.image[:8, :8].min() >= GREY - 2
    assert darker >= 15


# --- occluders


@settings(max_examples=60)
@given(seed=st.integers(0, 100_000))
def test_occluders_hide_at_most_half_and_stay_inside(seed):
    hand = patch((200, 150, 130), (40, 30, 120, 110)).layer
    layer = draw_occluder(hand, grey(), np.random.default_rng(seed))
    if layer is None:
        return
    rows, columns = layer.box
    assert 0 <= rows.start < rows.stop <= SIZE[0] and 0 <= columns.start < columns.stop <= SIZE[1]
    assert layer.colors.shape[:2] == layer.alpha.shape
    assert layer.alpha.dtype == np.uint8 and layer.alpha.max() > 127
    assert hidden_share(hand, layer) <= 0.5


def test_occluders_meet_the_hand_and_take_pixels_from_its_mask():
    hand = patch((200, 150, 130), (40, 30, 120, 110))
    met = 0
    for seed in range(40):
        layer = draw_occluder(hand.layer, grey(), np.random.default_rng(seed))
        if layer is None:
            continue
        made = laid([hand], grey(), occluder=layer)
        met += hidden_share(hand.layer, layer) > 0.005
        where = np.zeros(SIZE, np.uint8)
        where[layer.box] = layer.alpha
        assert (made.covered[0] == where).all()
        assert not made.masks[0][where >= 128].any()
        assert (made.masks[0][where == 0] == hand.mask[where == 0]).all()
    assert met >= 30
