from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handgen.geometry.camera import Rig
from handgen.stages.simulate.cameras import LENSES, MIXED_LENSES, make_rig, make_sensor, perturbed_rig

CORNERS = np.array([[x, y, z] for x in (-0.1, 0.1) for y in (-0.1, 0.1) for z in (-0.1, 0.1)])


@pytest.mark.parametrize(
    ("kind", "views"),
    [*((kind, views) for kind in ("ring", "cage") for views in (1, 2, 4, 8, 15)), ("stereo", 2), ("stereo", 4)],
)
def test_every_camera_looks_at_the_hands_upright(kind, views):
    rig = make_rig(kind, views, (640, 480), np.random.default_rng(views))
    assert isinstance(rig, Rig) and len(rig) == views
    _, valid = rig.project(CORNERS)
    assert valid.all()
    if views > 1:
        nearest = rig.baselines_m() + np.eye(views)
        assert nearest.min() > 0.12  # metres
    for camera in rig:
        up_px = camera.project(np.array([[0, 0, 0.05], [0, 0, -0.05]]))[0]
        assert up_px[0, 1] < up_px[1, 1] - 10


def test_a_cage_sees_from_all_sides_and_a_stereo_pair_from_one():
    cage = make_rig("cage", 15, (640, 480), np.random.default_rng(0))
    directions = np.array([camera.center_world / np.linalg.norm(camera.center_world) for camera in cage])
    assert np.linalg.norm(directions.mean(0)) < 0.5 and directions[:, 2].min() < -0.2 and directions[:, 2].max() > 0.8
    left, right = (camera.center_world for camera in make_rig("stereo", 2, (640, 480), np.random.default_rng(0)))
    assert 0.15 < np.linalg.norm(left - right) < 0.45 and min(left[1], right[1]) > 0.4  # metres


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.floats(0.1, 5.0))
def test_a_disturbed_rig_is_off_by_as_much_as_asked(seed, error_px):
    rng = np.random.default_rng(seed)
    rig = make_rig("ring", 2, (640, 480), rng)
    grid = np.stack(np.meshgrid(*[(-0.15, 0.0, 0.15)] * 3), -1).reshape(-1, 3)
    for exact, off in zip(rig, perturbed_rig(rig, error_px, rng), strict=True):
        apart = exact.ideal().project(grid)[0] - off.ideal().project(grid)[0]
        # The error is nearly linear in its size; at 5 px the rest is below 2 %.
        assert np.sqrt((apart**2).sum(-1).mean()) == pytest.approx(error_px, rel=0.02)
        np.testing.assert_array_equal(exact.distortion, off.distortion)


def test_no_error_leaves_the_rig_as_it_is():
    rig = make_rig("ring", 3, (640, 480), np.random.default_rng(0))
    assert perturbed_rig(rig, 0.0, np.random.default_rng(1)) is rig


def half_angle_deg(camera):
    return np.degrees(np.arctan(camera.size_px[0] / 2 / camera.intrinsics[0, 0]))


@pytest.mark.parametrize(("kind", "low", "high"), [("webcam", 19, 23), ("phone", 29, 38), ("wide", 41, 51)])
def test_a_lens_sees_as_wide_as_its_kind_and_all_of_the_hands(kind, low, high):
    for seed in range(10):
        for camera in make_rig("ring", 4, (640, 480), np.random.default_rng(seed), lens_kind=kind):
            assert low < half_angle_deg(camera) < high
            pixels, valid = camera.project(CORNERS)
            assert valid.all() and camera.contains(pixels).all()
            back, found = camera.undistort(pixels)
            assert found.all()
            np.testing.assert_allclose(camera.ideal().project(CORNERS)[0], back, atol=0.01)  # px


def test_any_lens_is_each_kind_in_turn():
    rigs = [make_rig("ring", 1, (640, 480), np.random.default_rng(seed), lens_kind=MIXED_LENSES) for seed in range(60)]
    wide = np.array([half_angle_deg(rig.cameras[0]) for rig in rigs])
    shares = [(wide < 25).mean(), ((wide > 25) & (wide < 40)).mean(), (wide > 40).mean()]
    assert len(LENSES) == 3 and min(shares) > 0.15


def test_sensors_differ_in_focus_and_compression_unless_plain():
    light = np.tile(np.linspace(0.1, 0.9, 32)[:, None, None], (1, 32, 3)).astype(np.float32)
    light[::4] *= 0.5
    sensors = [make_sensor(np.random.default_rng(seed), 640) for seed in range(60)]
    blurred = [sensor for sensor in sensors if sensor.defocus_px]
    assert 0.2 < len(blurred) / len(sensors) < 0.5
    assert all(np.abs(np.diff(s.far(light), axis=0)).mean() < np.abs(np.diff(light, axis=0)).mean() for s in blurred)
    squeezed = [sensor for sensor in sensors if sensor.jpeg_quality]
    assert 0.25 < len(squeezed) / len(sensors) < 0.55
    for sensor in squeezed:
        clean = replace(sensor, jpeg_quality=0).develop(light, np.random.default_rng(0)).astype(int)
        off = np.abs(sensor.develop(light, np.random.default_rng(0)) - clean)
        assert 0 < off.mean() < 12  # grey levels
    plain = make_sensor(np.random.default_rng(1), 640, plain=True)
    assert plain.far(light) is light and plain.jpeg_quality == 0
