import builtins
from dataclasses import replace

import numpy as np
import pytest

from handgen import simulate
from handgen.config import SimulateConfig
from handgen.errors import HandgenError
from handgen.simulate.photoreal import PathTracer
from handgen.simulate.scene import make_scene

CONFIG = SimulateConfig(views=2, frames=1, size=(160, 120), seed=5, background="green", video=False, workers=1)


@pytest.fixture(scope="module")
def scene():
    pytest.importorskip("mitsuba", reason="the photoreal extra is not installed")
    return make_scene(CONFIG)


def images(scene, view, seed=1, samples=8):
    """The path tracer's and the ray caster's view of the same moment, and the ray caster's labels."""
    moment, camera, background = scene.moment(0, view), scene.rig.cameras[view], scene.backgrounds[view]
    cast = moment.view(camera, scene.rays[view], background)
    tracer = PathTracer(scene.body, scene.lighting, samples)
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
        assert 0.7 < skin[0] / skin[1] < 1.4  # one exposure suits both
        assert np.abs(traced - cast)[hand >= 0].mean() > 0.01  # and yet they are not the same picture


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
