from dataclasses import replace

import cv2
import numpy as np
import pytest

from handgen.hand.skeleton import FINGER_JOINTS, FINGERS
from handgen.stages.simulate.light import linear_from_lab, srgb_from_linear
from handgen.stages.simulate.skin.atlas import FULL_PX, SIDES_PX, side_for
from handgen.stages.simulate.skin.folds import WRINKLE_OF_JOINT, draw_folds, fold_openness
from handgen.stages.simulate.skin.maps import make_maps
from handgen.stages.simulate.skin.nails import draw_nails
from handgen.stages.simulate.skin.paint import Layers, paint
from handgen.stages.simulate.skin.places import rest_places
from handgen.stages.simulate.skin.traits import Ring, draw_traits, leave_out

SIDE = SIDES_PX[1]


def rng(seed=0):
    return np.random.default_rng(seed)


def lab(albedo):
    return cv2.cvtColor(srgb_from_linear(albedo).astype(np.float32)[None], cv2.COLOR_RGB2LAB)[0]


def palm_and_back(places):
    position, off = places.atlas.position_m, places.off_fingers
    middle = off & (position[:, 0] < -0.03) & (position[:, 0] > -0.075)
    return middle & (places.facing_back < -0.6), middle & (places.facing_back > 0.6)


def test_every_texel_lies_where_its_vertices_do():
    places = rest_places(SIDE)
    positions = places.atlas.image(places.atlas.position_m)
    covered = places.atlas.covered
    inner = covered[1:, 1:] & covered[:-1, 1:] & covered[1:, :-1]
    steps = np.linalg.norm(np.diff(positions, axis=0)[:, 1:], axis=-1)[inner]
    # One texel is half a millimetre here; at the seams of the forearm it is up to ten of them.
    assert np.median(steps) == pytest.approx(places.atlas.texel_m, rel=0.25) and (steps < 0.005).mean() > 0.999


def test_the_smallest_atlas_that_shows_all_is_taken():
    assert side_for(0.01) == SIDES_PX[0] and side_for(1e-5) == FULL_PX
    assert side_for(6e-4) == SIDES_PX[1]


@pytest.mark.parametrize("seed", range(6))
def test_palms_are_redder_than_backs_and_lighter_where_those_are_dark(seed):
    places = rest_places(SIDE)
    traits = replace(draw_traits(rng(seed)), palms=1.0, veins=0.0, hair=0.0, band=None)
    palm, back = palm_and_back(places)
    found = lab(paint(places, traits, rng(seed)).albedo)
    redder = found[palm, 1].mean() - found[back, 1].mean()  # a*; brown skin is red as well
    assert redder > (2 if traits.pigment < 0.5 else -1)
    lighter = found[palm, 0].mean() - found[back, 0].mean()  # L*
    assert lighter > 8 if traits.pigment > 0.6 else lighter > -8  # most where the back is dark


def test_creases_lie_where_fingers_bend_and_the_palm_folds():
    places = rest_places(FULL_PX)
    folds = draw_folds(places, 0.3, rng())
    for finger in FINGERS:
        mine = places.of_finger(finger)
        for joint in FINGER_JOINTS[finger][1:]:
            along, _, across = places.local(joint, mine).T
            palmar = (places.facing_back[mine] < -0.7) & (np.abs(across) < 0.003)
            at, off = palmar & (np.abs(along) < 0.004), palmar & (np.abs(along - 0.010) < 0.002)
            assert folds.strength[mine[at]].max() > 0.55, f"{finger} {joint}"
            assert folds.strength[mine[at]].mean() > folds.strength[mine[off]].mean(), f"{finger} {joint}"
    palm, back = palm_and_back(places)
    assert folds.strength[palm].max() > 0.6 and folds.strength[back].max() < 0.3


def test_wrinkles_are_on_the_back_and_open_when_bent_as_creases_deepen():
    places = rest_places(SIDE)
    folds = draw_folds(places, 0.5, rng(1))
    wrinkles = folds.bends >= WRINKLE_OF_JOINT
    assert wrinkles.any() and (places.facing_back[wrinkles] > 0).all()
    straight, bent = np.zeros(16), np.full(16, np.radians(80))
    assert (fold_openness(bent)[:WRINKLE_OF_JOINT] > fold_openness(straight)[:WRINKLE_OF_JOINT] + 0.3).all()
    assert (fold_openness(bent)[WRINKLE_OF_JOINT + 1 :] < 0.3).all()


def test_nails_are_on_the_backs_of_fingertips():
    places = rest_places(SIDE)
    nails = draw_nails(places, 0.001, rng())
    shown = nails.plate > 0.5
    assert set(places.joint[shown]) == {chain[-1] for chain in FINGER_JOINTS.values()}
    assert (places.facing_back[shown] > 0.1).all()
    area_mm2 = shown.sum() * (places.atlas.texel_m * 1e3) ** 2
    assert 250 < area_mm2 < 800  # five nails of about 10 by 11 mm, the thumb's larger


def test_a_ring_is_about_its_finger_alone():
    places = rest_places(SIDE)
    traits = replace(draw_traits(rng(3)), polish=None, band=None, ring=None)
    bare = paint(places, traits, rng(3))
    ring = Ring("ring", 0.5, 0.004, np.array([0.02, 0.4, 0.02]))
    worn = paint(places, replace(traits, ring=ring), rng(3))
    changed = np.abs(worn.albedo - bare.albedo).max(1) > 0.01
    assert changed.any() and set(places.finger[changed]) == {FINGERS.index("ring")}
    assert (worn.gloss[changed] > 0.5).mean() > 0.8


def test_left_out_components_are_gone():
    traits = draw_traits(rng(5))
    plain = leave_out(traits, ("creases", "palms", "fine_skin", "worn", "poses"))
    assert plain.creases == plain.palms == plain.ridges == plain.veins == plain.hair == 0
    assert plain.polish is plain.ring is plain.band is None
    assert leave_out(traits, ("light",)) == traits


def test_the_same_seed_paints_the_same_skin():
    places = rest_places(SIDES_PX[0])
    first, second, other = (paint(places, draw_traits(rng(s)), rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.albedo, second.albedo)
    assert np.abs(first.albedo - other.albedo).max() > 0.05


def test_maps_give_back_what_was_painted_and_the_mean_from_afar():
    places = rest_places(SIDE)
    atlas, count = places.atlas, len(places.joint)
    stripes = np.where(np.nonzero(atlas.covered)[1] % 2, 0.6, 0.2)
    slope = 0.4
    columns = np.nonzero(atlas.covered)[1]
    layers = Layers(
        albedo=np.tile(stripes[:, None], 3),
        gloss=np.full(count, 0.25),
        height_m=columns * slope * atlas.texel_m,
        fold=np.full(count, 0.5),
        bends=places.joint.astype(np.uint8),
    )
    maps = make_maps(atlas, layers)
    rows, columns = np.nonzero(cv2.erode(atlas.covered.astype(np.uint8), np.ones((35, 35), np.uint8)))
    texels = np.stack([columns, rows], -1).astype(float)
    near, far = maps.at(texels, 1.0), maps.at(texels, 16.0)
    expected = np.where(columns % 2, 0.6, 0.2)
    np.testing.assert_allclose(near.albedo[:, 0], expected, atol=0.005)  # 8 bits
    np.testing.assert_allclose(near.gloss, 0.25, atol=0.003)
    np.testing.assert_allclose(near.slope, np.tile((slope, 0.0), (len(rows), 1)), atol=0.01)
    np.testing.assert_allclose(near.fold, 0.5, atol=0.005)
    assert far.albedo.std() < 0.01 and np.abs(far.slope[:, 0] - slope).max() < 0.03


@pytest.mark.parametrize("lightness", [30.0, 50.0, 77.0])
def test_a_colour_of_cielab_comes_back(lightness):
    expected = (lightness, 11.0, 17.0)
    found = lab(linear_from_lab(np.array(expected))[None])[0]
    np.testing.assert_allclose(found, expected, atol=0.6)  # eight bits of sRGB would be half a unit


def test_backs_have_the_colours_that_were_measured():
    """Chroma of living backs lies between about 14 and 26 (Wang et al.), whatever the tone."""
    tones = np.stack([draw_traits(rng(seed)).tone for seed in range(200)])
    lightness, a, b = lab(tones).T
    assert lightness.min() < 42 and lightness.max() > 72 and (np.hypot(a, b) < 29).all() and (a > 3).all()
