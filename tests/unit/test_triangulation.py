import numpy as np
import pytest
from scipy.optimize import least_squares
from support.cameras import look_at, ring

from handgen.geometry.camera import Rig
from handgen.geometry.triangulation import triangulate


def scene(rng, views=8, points=400, noise_px=0.5, outliers=0.0):
    rig = ring(views)
    world = rng.uniform(-0.08, 0.08, (points, 3))
    pixels = rig.project(world)[0] + rng.normal(0, noise_px, (views, points, 2))
    wrong = rng.random((views, points)) < outliers
    pixels[wrong] += rng.normal(0, 60, (int(wrong.sum()), 2))
    return np.stack([c.ideal_px_from_world for c in rig]), pixels, world, wrong


def test_exact_pixels_give_exact_points(rng):
    projections, pixels, world, _ = scene(rng, noise_px=0)
    result = triangulate(projections, pixels, np.ones(pixels.shape[:2]), 5.0)
    assert np.abs(result.points_world - world).max() * 1e3 < 1e-3  # mm: rounding alone
    assert result.valid.all()


def test_a_tenth_of_outliers_costs_nothing(rng):
    projections, pixels, world, wrong = scene(rng, outliers=0.1, points=2000)
    result = triangulate(projections, pixels, np.ones(pixels.shape[:2]), 5.0)
    error_mm = np.linalg.norm(result.points_world - world, axis=1) * 1e3
    assert np.percentile(error_mm, 99) < 1.0  # 0.5 px is 0.44 mm at 0.7 m and 800 px focal length
    far = wrong & (np.linalg.norm(pixels - ring(8).project(world)[0], axis=2) > 10)
    assert not result.inliers[far].any()


def test_most_views_wrong_is_still_found_by_consensus(rng):
    projections, pixels, world, _ = scene(rng, points=50, noise_px=0.2)
    pixels[:4] += rng.uniform(40, 120, (4, 50, 2)) * rng.choice([-1, 1], (4, 50, 2))
    result = triangulate(projections, pixels, np.ones(pixels.shape[:2]), 3.0)
    error_mm = np.linalg.norm(result.points_world - world, axis=1) * 1e3
    assert (error_mm < 1.5).mean() > 0.9


def test_missing_views_are_ignored_whatever_they_hold(rng):
    projections, pixels, world, _ = scene(rng, views=4, points=60, noise_px=0)
    confidence = np.ones(pixels.shape[:2])
    confidence[2:] = 0
    pixels[2:] = np.nan
    result = triangulate(projections, pixels, confidence, 5.0)
    assert np.abs(result.points_world - world).max() < 1e-6
    assert np.isnan(result.error_px[2:]).all()


def test_a_point_seen_once_is_not_valid(rng):
    projections, pixels, _, _ = scene(rng, views=3, points=5)
    confidence = np.zeros(pixels.shape[:2])
    confidence[0] = 1
    result = triangulate(projections, pixels, confidence, 5.0)
    assert not result.valid.any()
    assert np.isfinite(result.points_world).all()


def near_and_far_rig() -> Rig:
    """Three cameras at 0.5 m and two at 6 m: a pixel of the far ones is twelve times as many millimetres."""
    near = [
        look_at(f"near{i}", 0.5 * np.array([np.cos(a), 0.3, np.sin(a)]), np.zeros(3)) for i, a in enumerate((0, 1, 2))
    ]
    far = [look_at(f"far{i}", 6.0 * np.array([np.cos(a), 0.2, np.sin(a)]), np.zeros(3)) for i, a in enumerate((3, 4.5))]
    return Rig((*near, *far))


def least_reprojection(rig, pixels, start):
    """The point that the reprojection error is least for, found by a solver that knows nothing of triangulation."""

    def off(point):
        return (rig.project(point[None])[0][:, 0] - pixels).ravel()

    return least_squares(off, start, x_scale=1e-3, xtol=1e-12, ftol=1e-12).x


@pytest.mark.parametrize("consensus", [False, True])
def test_an_observation_counts_by_its_pixels_however_far_its_camera_is(rng, consensus):
    """The point is that of least reprojection error. By rows not divided by the depth the far cameras would decide.

    consensus: half of the views are so far off, and agree so little, that the others must be found first.
    """
    rig = near_and_far_rig()
    world = rng.uniform(-0.05, 0.05, (100, 3))
    pixels = rig.project(world)[0] + rng.normal(0, 1.0, (5, 100, 2))
    best = np.stack([least_reprojection(rig, pixels[:, i], world[i]) for i in range(100)])
    projections = np.stack([camera.ideal_px_from_world for camera in rig])
    if consensus:
        wrong = pixels + 60.0 * np.arange(1, 6)[:, None, None] + rng.uniform(0, 20, pixels.shape)
        projections, pixels = np.concatenate([projections, projections]), np.concatenate([pixels, wrong])
    found = triangulate(projections, pixels, np.ones(pixels.shape[:2]), 5.0 if consensus else 20.0)
    off_mm = 1e3 * np.median(np.linalg.norm(found.points_world - best, axis=1))
    assert off_mm < (0.3 if consensus else 0.02)  # of 0.65 mm of noise; far cameras alone are off by 5 mm
