"""Triangulation against the same method written down point by point, with its equations as rows."""

from itertools import combinations

import numpy as np
import pytest
from support.cameras import look_at, ring

from handgen.geometry.triangulation import linear_information, solve_points, triangulate

SCALES, RIDGE = (33.0, 8.0, 3.3, 1.3, 1.0, 1.0), 1e-9


def least_squares(projections, pixels, weights):
    """The point of least weighted squares of the rows a - u c and b - v c."""
    rows = np.concatenate([p[:2] - pixel[:, None] * p[2] for p, pixel in zip(projections, pixels, strict=True)])
    weighted = rows * np.repeat(weights, 2)[:, None]
    matrix = rows[:, :3].T @ weighted[:, :3]
    matrix += RIDGE * np.trace(matrix) * np.eye(3)
    return np.linalg.solve(matrix, -rows[:, :3].T @ weighted[:, 3]) if weights.any() else np.zeros(3)


def errors(projections, pixels, point):
    homogeneous = projections @ np.append(point, 1)
    return ((homogeneous[:, :2] / homogeneous[:, 2:] - pixels) ** 2).sum(1), homogeneous[:, 2]


def from_pairs(projections, pixels, base, threshold):
    """The pair's point that costs the others least, refined on those that agree with it."""
    best, point = np.inf, np.zeros(3)
    for pair in combinations(range(len(base)), 2):
        if not (base[list(pair)] > 0).all():
            continue
        candidate = least_squares(projections, pixels, np.isin(np.arange(len(base)), pair) * 1.0)
        squared, depth = errors(projections, pixels, candidate)
        cost = (base * np.minimum(squared / threshold**2, 1) + (base > 0) * (depth <= 0)).sum()
        if cost < best:
            best, point = cost, candidate
    for _ in range(2):
        squared, depth = errors(projections, pixels, point)
        weights = base * (squared < threshold**2) * (depth > 0) / np.maximum(depth, 1e-6) ** 2
        if (weights > 0).sum() >= 2:
            point = least_squares(projections, pixels, weights)
    return point


def plain(projections, pixels, confidence, threshold):
    """One point in some views; also says whether it took the consensus of pairs to find it."""
    observed = (confidence > 0) & np.isfinite(pixels).all(1)
    pixels, base = np.where(observed[:, None], pixels, 0.0), np.where(observed, confidence, 0.0)
    weights = base
    for scale in SCALES:
        point = least_squares(projections, pixels, weights)
        squared, depth = errors(projections, pixels, point)
        weights = base * (depth > 0) / ((1 + squared / (scale * threshold) ** 2) * np.maximum(depth, 1e-6)) ** 2
    inliers = observed & (squared < threshold**2) & (depth > 0)
    needs_pairs = observed.sum() >= 2 and (inliers.sum() < 2 or inliers.sum() < observed.sum() / 2)
    if needs_pairs:
        point = from_pairs(projections, pixels, base, threshold)
        squared, depth = errors(projections, pixels, point)
        inliers = observed & (squared < threshold**2) & (depth > 0)
    return point, np.where(observed, np.sqrt(squared), np.nan), inliers, needs_pairs


def scene(seed, views, wrong, seen=0.85, points=40):
    """Noisy pixels; `wrong`: the share that is far off, by as much as a hand or a few noises. One camera looks away."""
    rng = np.random.default_rng(seed)
    cameras = [*ring(views), look_at("away", np.array([0.05, 0.0, 0.3]), np.array([0.0, 0.1, 2.0]))]
    projections = np.stack([camera.ideal_px_from_world for camera in cameras])
    world = rng.uniform(-0.08, 0.08, (points, 3))
    homogeneous = np.einsum("vab,pb->vpa", projections, np.column_stack([world, np.ones(points)]))
    pixels = homogeneous[..., :2] / homogeneous[..., 2:] + rng.normal(0, 0.7, (views + 1, points, 2))
    off = rng.random((views + 1, points)) < wrong
    pixels[off] += rng.normal(0, 1, (off.sum(), 2)) * rng.choice([6.0, 40.0], (off.sum(), 1))
    confidence = rng.uniform(0.2, 1.0, off.shape) * (rng.random(off.shape) < seen)
    pixels[rng.random(off.shape) < 0.05] = np.nan
    pixels[confidence == 0] = rng.choice([0.0, np.nan, 1e6])
    return projections, pixels, confidence, rng.uniform(2.0, 5.0, off.shape)


@pytest.mark.parametrize("views", [2, 3, 5])
@pytest.mark.parametrize("wrong", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("seed", [0, 1])
def test_each_point_is_what_its_own_equations_give(views, wrong, seed):
    projections, pixels, confidence, threshold = scene(seed, views, wrong)
    found = triangulate(projections, pixels, confidence, threshold)
    took_pairs = 0
    for i in range(pixels.shape[1]):
        point, error_px, inliers, needs_pairs = plain(projections, pixels[:, i], confidence[:, i], threshold[:, i])
        took_pairs += needs_pairs
        np.testing.assert_array_equal(found.inliers[:, i], inliers, err_msg=f"point {i}")
        if (confidence[:, i] * np.isfinite(pixels[:, i]).all(1) > 0).sum() < 2:
            assert not found.valid[i] and np.isfinite(found.points_world[i]).all()  # the ridge alone decides
            continue
        # Points on which no two views agree may lie metres away, where the equations are as good as singular.
        np.testing.assert_allclose(found.points_world[i], point, rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(found.error_px[:, i], error_px, rtol=1e-4, atol=1e-5)
        assert found.valid[i] == (inliers.sum() >= 2)
    assert took_pairs > 2 or wrong == 0  # or the consensus of pairs was not tested


def test_one_threshold_is_that_of_every_observation():
    projections, pixels, confidence, _ = scene(3, 4, 0.3)
    found = triangulate(projections, pixels, confidence, 3.0)
    expected = triangulate(projections, pixels, confidence, np.full(confidence.shape, 3.0))
    np.testing.assert_array_equal(found.points_world, expected.points_world)
    np.testing.assert_array_equal(found.inliers, expected.inliers)
    assert (found.error_px[found.inliers] < 3.0).all()


def test_only_the_ratio_of_confidences_counts():
    """Also where all are so small that equations of that size would be lost beside the ridge."""
    projections, pixels, confidence, _ = scene(5, 5, 0.0)
    found, expected = (triangulate(projections, pixels, confidence * share, 3.0) for share in (1e-12, 1.0))
    assert expected.valid.mean() > 0.5
    np.testing.assert_allclose(found.points_world[expected.valid], expected.points_world[expected.valid], atol=1e-9)


def test_what_was_given_is_not_changed():
    given = scene(4, 3, 0.5)
    before = [array.copy() for array in given]
    triangulate(*given)
    for array, copy in zip(given, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_information_of_observations_adds_up_and_is_solved(rng):
    projections, pixels, _, _ = scene(5, 4, 0.0, seen=1.0, points=7)
    pixels = np.nan_to_num(pixels, nan=100.0)
    information = linear_information(projections, pixels)
    assert information.shape == (5, 7, 4, 4)
    for v, projection in enumerate(projections):
        for p, (x, y) in enumerate(pixels[v]):
            rows = np.stack([projection[0] - x * projection[2], projection[1] - y * projection[2]])
            np.testing.assert_allclose(information[v, p], rows.T @ rows, rtol=1e-12, atol=1e-9)
    weights = rng.uniform(0.5, 2.0, (5, 1, 1, 1))
    total = (weights * information).sum(0)
    for batch in (total, total.reshape(7, 1, 4, 4), 1e6 * total):
        solved = solve_points(batch)
        assert solved.shape == (*batch.shape[:-2], 3)
        expected = [least_squares(projections, pixels[:, p], weights.ravel()) for p in range(7)]
        np.testing.assert_allclose(solved.reshape(7, 3), expected, rtol=1e-6, atol=1e-9)


def test_a_point_behind_a_camera_agrees_with_nothing_that_it_saw():
    """Two pairs of cameras say two points; what the fifth saw is nearly the one, and exactly the other behind it."""
    cameras = [*ring(4), look_at("fifth", np.array([0.0, 0.0, 0.1]), np.array([0.0, 0.0, 1.0]))]
    projections = np.stack([camera.ideal_px_from_world for camera in cameras])
    behind, front = np.array([0.02, 0.03, -0.1]), np.array([-0.0198, -0.0302, 0.3])  # nearly one line through the fifth
    pixels = np.empty((5, 2))
    for v, projection in enumerate(projections):
        x, y, depth = projection @ np.append(front if v in (2, 3) else behind, 1)
        pixels[v] = x / depth, y / depth
    off, _ = errors(projections[4:], pixels[4:], front)
    assert off[0] < 8.0**2
    for threshold in (8.0, 12.0):
        args = projections, pixels, np.ones(5), np.full(5, threshold)
        found = triangulate(args[0], pixels[:, None], np.ones((5, 1)), threshold)
        point, _, inliers, needs_pairs = plain(*args)
        assert needs_pairs and inliers[4]
        np.testing.assert_allclose(found.points_world[0], point, atol=1e-9)
        np.testing.assert_allclose(point, front, atol=0.01)
        assert found.inliers[:, 0].tolist() == inliers.tolist() == [False, False, True, True, True]
