import builtins
from dataclasses import replace

import cv2
import numpy as np
import pytest

from handgen.errors import HandgenError
from handgen.geometry.meshes import Tracer
from handgen.stages.simulate import stage as simulate
from handgen.stages.simulate.config import SimulateConfig
from handgen.stages.simulate.denoise import Layer, denoise_layer
from handgen.stages.simulate.photoreal import PathTracer
from handgen.stages.simulate.scene import make_scene

CONFIG = SimulateConfig(views=2, frames=1, size=(160, 120), seed=5, background="green", video=False, workers=1)


@pytest.fixture(scope="module")
def scene():
    pytest.importorskip("mitsuba", reason="the photoreal extra is not installed")
    return make_scene(CONFIG)


def images(scene, view, seed=1, samples=8):
    """The path tracer's and the ray caster's view of the same moment, and the ray caster's labels."""
    moment, camera, background = scene.moment(0, view), scene.rig.cameras[view], scene.backgrounds[view]
    cast = moment.view(camera, scene.rays[view], background)
    tracer = PathTracer(scene.body, scene.room, scene.lighting, samples)
    return tracer.view(moment, camera, scene.rays[view], background, seed), cast.light, cast.hand


@pytest.mark.slow
def test_both_renderers_show_the_same_thing_in_the_same_place(scene):
    for view in range(2):
        traced, cast, hand = images(scene, view)
        background = scene.backgrounds[view]
        shown = [np.abs(light - background).sum(-1) > 0.08 for light in (traced, cast)]
        iou = (shown[0] & shown[1]).sum() / (shown[0] | shown[1]).sum()
        assert iou > 0.9  # a hand and arm of 60 px: an edge that is off by a pixel all around is 0.85
        skin = [light[hand >= 0].mean() for light in (traced, cast)]
        assert 0.8 < skin[0] / skin[1] < 1.25  # one exposure suits both
        assert np.abs(traced - cast)[hand >= 0].mean() > 0.01  # and yet they are not the same picture


@pytest.mark.slow
@pytest.mark.parametrize("side", ["left", "right"])
def test_the_relief_of_the_skin_is_lit_from_the_same_side(side):
    """All skin tilted along an axis of its maps becomes brighter and darker in the same places in both renderers."""
    pytest.importorskip("mitsuba", reason="the photoreal extra is not installed")
    rough = make_scene(replace(CONFIG, views=1, size=(240, 180), hands=side))

    def with_slopes(axis):
        levels = [np.full_like(level, 128) for level in rough.skin.slopes]
        for level in levels if axis is not None else ():
            level[..., axis] = 188  # 0.76 metres per metre
        scene = replace(rough, skin=replace(rough.skin, slopes=tuple(levels)), _moments={})
        return images(scene, 0, samples=32)

    traced_flat, cast_flat, hand = with_slopes(None)
    inside = cv2.erode((hand >= 0).astype(np.uint8), np.ones((5, 5))) > 0
    for axis in range(2):
        traced, cast, _ = with_slopes(axis)
        changes = [(a - b).mean(-1)[inside] for a, b in ((traced, traced_flat), (cast, cast_flat))]
        # Two materials and few samples do not agree in all; tilted to the other side it would be as far below zero.
        assert np.corrcoef(*changes)[0, 1] > 0.2


@pytest.mark.slow
def test_outlines_are_where_the_ray_caster_has_them(scene):
    camera, rays, moment = scene.rig.cameras[0], scene.rays[0], scene.moment(0, 0)
    tracer = PathTracer(scene.body, scene.room, scene.lighting, 32)

    def coverage(render):
        """How much of each pixel hands and arms cover: the share of a white background that is lost."""
        black = np.zeros((*camera.size_px[::-1], 3))
        return cv2.GaussianBlur(1 - (render(black + 1) - render(black))[..., 1], (0, 0), 1.0)  # few rays per pixel

    traced = coverage(lambda background: tracer.view(moment, camera, rays, background, 1))
    cast = coverage(lambda background: moment.view(camera, rays, background).light)
    off_by_one = min(np.abs(np.roll(cast, 1, axis) - cast)[2:, 2:].sum() for axis in (0, 1))
    assert np.abs(traced - cast).sum() < 0.3 * off_by_one  # the lens bends these images by up to some pixels


@pytest.mark.slow
def test_a_room_is_lit_by_the_same_lamps_and_hands_throw_shadows_on_it():
    pytest.importorskip("mitsuba", reason="the photoreal extra is not installed")
    scene = make_scene(replace(CONFIG, background="room"))
    ratios, shaded = [], []
    for view in range(2):
        traced, cast, hand = images(scene, view)
        ratios.append(traced[hand >= 0].mean() / cast[hand >= 0].mean())
        near = scene.room.near[Tracer(scene.room.mesh).first(scene.rays[view].origin, scene.rays[view].all()).face]
        beside = near.reshape(hand.shape) & (np.abs(cast - scene.backgrounds[view]).max(-1) < 1e-6)
        shaded.append(traced[beside].mean() / cast[beside].mean())
        far = ~near.reshape(hand.shape) & (np.abs(cast - scene.backgrounds[view]).max(-1) < 1e-6)
        assert np.median(np.abs(traced - cast)[far]) < 1e-6  # walls are the ray caster's
    assert 0.8 < np.mean(ratios) < 1.25
    assert 0.6 < np.mean(shaded) < 1.1  # table, things and person


def test_the_filter_takes_grain_and_leaves_edges(rng):
    size = (40, 60)
    right = np.arange(size[1]) >= 30
    truth = np.where(right, 0.8, 0.3)[None, :, None] * np.ones((*size, 3))
    normal = np.where(right[:, None], (0.0, 0.0, 1.0), (1.0, 0.0, 0.0))[None] * np.ones((*size, 1))
    position = np.stack([*np.meshgrid(np.arange(60) * 1e-3, np.arange(40) * 1e-3), np.zeros(size)], -1)
    noisy = truth * (1 + 0.15 * rng.standard_normal((*size, 1)))
    one = np.ones(size)
    clean = denoise_layer(Layer(noisy, one, one[..., None], np.full((*size, 3), 0.5), normal, position))
    assert np.abs(clean - truth).mean() < 0.3 * np.abs(noisy - truth).mean()
    assert np.abs(clean - truth)[:, 28:32].mean() < 0.5 * np.abs(noisy - truth).mean()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_picture(scene):
    first, again, other = (images(scene, 0, seed, samples=2)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_without_mitsuba_it_names_the_extra_and_writes_nothing(tmp_path, monkeypatch):
    real = builtins.__import__

    def no_mitsuba(name, *args, **kwargs):
        if name == "mitsuba":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_mitsuba)
    with pytest.raises(HandgenError, match=r"pip install 'handgen\[photoreal\]'"):
        simulate.run(tmp_path / "capture", replace(CONFIG, renderer="mitsuba"))
    assert not (tmp_path / "capture").exists()


@pytest.mark.slow
def test_the_truth_is_the_ray_casters(scene, tmp_path):
    from handgen.io.annotations import Annotations

    simulate.run(tmp_path / "cast", replace(CONFIG, views=1))
    simulate.run(tmp_path / "traced", replace(CONFIG, views=1, renderer="mitsuba"))
    cast, traced = (Annotations(tmp_path / name / "truth") for name in ("cast", "traced"))
    ((chunk, record),), ((_, other),) = list(cast), list(traced)
    np.testing.assert_array_equal(record.keypoints_world_m, other.keypoints_world_m)
    a, b = cast.cutout(chunk, record.views[0]), traced.cutout(chunk, other.views[0])
    np.testing.assert_array_equal(a.mask, b.mask)
    assert (a.image != b.image).any()
