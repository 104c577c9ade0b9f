import numpy as np
from support.cameras import ring

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
