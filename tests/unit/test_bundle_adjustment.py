"""Bundle adjustment against one dense Gauss-Newton system of cameras and points, with slopes by differences."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.cameras import look_at, ring

from handgen.geometry.bundle_adjustment import CameraPrior, Sightings, adjust, step_between, stepped
from handgen.geometry.camera import Rig
from handgen.geometry.rigid import Rigid
from handgen.geometry.triangulation import triangulate

WIDTHS = (24.0, 24.0, 12.0, 6.0, *(3.0,) * 8)
SHIFT_SHARE, MIN_DEPTH_SHARE, AGREES, DAMPING = 0.3, 0.05, 0.25, 1e-6


def scene(rng, views=4, points=10):
    """Sightings of a bumped rig: most within the noise, some far off, some missing, a point that hardly anybody sees.

    The last camera is so near to some points that they have no say there, and behind others.
    """
    near = look_at("near", np.array([0.0, 0.0, -0.1]), np.array([0.0, 0.0, 1.0]), focal=300.0)
    given = Rig((*ring(views).cameras, near))
    truth = Rig(tuple(stepped(c, rng.normal(0, 1, 6) * np.repeat([0.01, 0.003], 3)) for c in given))
    world = rng.uniform(-0.12, 0.12, (points, 3))
    pixels = []
    for camera in truth:
        cam = camera.cam_from_world.apply(world)
        homogeneous = cam @ camera.intrinsics.T
        pixels.append(homogeneous[:, :2] / homogeneous[:, 2:])
    pixels = np.stack(pixels)
    noise = rng.uniform(0.5, 2.0, pixels.shape[:2])
    spread = rng.choice([1.0, 2.5, 15.0], noise.shape, p=[0.6, 0.3, 0.1])
    pixels = np.clip(pixels + rng.normal(size=pixels.shape) * (noise * spread)[..., None], -1e5, 1e5)
    weight = (rng.random(noise.shape) > 0.1) * rng.uniform(0.5, 1.0, noise.shape) / noise**2
    weight[1:, 0] = 0  # seen once: says nothing
    weight[:, 1] = 0
    weight[:, 2] = [1.0, 1.0, 0, 0, 0]  # seen twice, which is enough
    return given, Sightings(pixels, weight)


def step_vector(given, moved):
    delta = moved.cam_from_world @ given.cam_from_world.inverse()
    return np.concatenate([Rotation.from_matrix(delta.rotation).as_rotvec(), delta.translation])


def projected(camera, step, points):
    """Ideal pixels (n, 2) and depths of points after a left step of the camera."""
    cam = Rotation.from_rotvec(step[:3]).apply(camera.cam_from_world.apply(points)) + step[3:]
    homogeneous = cam @ camera.intrinsics.T
    return homogeneous[:, :2] / homogeneous[:, 2:], homogeneous[:, 2]


def slopes(camera, points, size=1e-6):
    """Derivatives of the pixels by the camera's step and by the points, (n, 2, 9): central differences."""
    columns = []
    for k in range(9):
        step = size * np.eye(9)[k]
        ahead, behind = (projected(camera, sign * step[:6], points + sign * step[6:])[0] for sign in (1, -1))
        columns.append((ahead - behind) / (2 * size))
    return np.stack(columns, -1)


def linearised(rig, pixels, weight, points, free, width, min_depth):
    """The dense matrix and gradient (cameras, then points), each sighting's part of its point's, cost and agreement."""
    free, count = list(free), 6 * len(free)
    size = count + 3 * len(points)
    matrix, gradient, cost = np.zeros((size, size)), np.zeros(size), 0.0
    parts = np.zeros((len(rig), len(points), 3, 3))
    pulls, agrees = np.zeros((len(rig), len(points), 3)), np.zeros((len(rig), len(points)), bool)
    for v, camera in enumerate(rig):
        image, depth = projected(camera, np.zeros(6), points)
        by_step, by_point = np.split(slopes(camera, points), [6], axis=2)
        for p in np.flatnonzero((weight[v] > 0) & (depth > min_depth)):
            off = image[p] - pixels[v, p]
            square = weight[v, p] * (off @ off)
            robust = 1 / (1 + square / width**2) ** 2
            cost += square / (1 + square / width**2)
            agrees[v, p] = robust > AGREES
            row, own = np.zeros((2, size)), slice(count + 3 * p, count + 3 * p + 3)
            row[:, own] = by_point[p]
            parts[v, p] = weight[v, p] * robust * row[:, own].T @ row[:, own]
            pulls[v, p] = weight[v, p] * robust * row[:, own].T @ off
            if v in free:
                row[:, 6 * free.index(v) : 6 * free.index(v) + 6] = by_step[p]
            matrix += weight[v, p] * robust * row.T @ row
            gradient += weight[v, p] * robust * row.T @ off
    return matrix, gradient, cost, parts, pulls, agrees


def damped(part):
    return part + (DAMPING * np.trace(part) + 1e-12) * np.eye(3)


def plain(rig, seen, free, prior):
    free = np.flatnonzero(free)
    weight = seen.weight * ((seen.weight > 0).sum(0) >= 2)
    projections = np.stack([camera.ideal_px_from_world for camera in rig])
    threshold = 3.0 / np.sqrt(np.where(weight > 0, weight, 1.0))
    points = triangulate(projections, seen.pixels, (weight > 0).astype(float), threshold).points_world
    depths = np.stack([camera.cam_from_world.apply(points)[:, 2] for camera in rig])[weight > 0]
    depth = np.median(depths[depths > 0])
    unit = np.repeat([prior.turn_rad, SHIFT_SHARE * prior.turn_rad * depth], 3)
    cameras, steps = list(rig), np.zeros((len(free), 6))
    for width in WIDTHS:
        matrix, gradient, *_ = linearised(cameras, seen.pixels, weight, points, free, width, MIN_DEPTH_SHARE * depth)
        count = steps.size
        for p in range(len(points)):
            own = slice(count + 3 * p, count + 3 * p + 3)
            matrix[own, own] = damped(matrix[own, own])
        matrix, gradient = matrix / prior.repeats, gradient / prior.repeats
        pull = 1 / unit**2 / (1 + ((steps / unit) ** 2).sum(1, keepdims=True))
        matrix[:count, :count] += np.diag(pull.ravel())
        gradient[:count] += (pull * steps).ravel()
        moves = -np.linalg.solve(matrix, gradient)
        for k, v in enumerate(free):
            move = moves[6 * k : 6 * k + 6]
            delta = Rigid(Rotation.from_rotvec(move[:3]).as_matrix(), move[3:])
            cameras[v] = replace(cameras[v], cam_from_world=delta @ cameras[v].cam_from_world)
            steps[k] = step_vector(rig.cameras[v], cameras[v])
        points = points + moves[count:].reshape(-1, 3)
    _, _, cost, parts, pulls, agrees = linearised(
        cameras, seen.pixels, weight, points, free, WIDTHS[-1], MIN_DEPTH_SHARE * depth
    )
    others = np.zeros((len(cameras), len(points), 3))
    for v in range(len(cameras)):
        rest = np.arange(len(cameras)) != v
        for p in range(len(points)):
            move = np.linalg.solve(damped(parts[rest, p].sum(0)), pulls[rest, p].sum(0))
            others[v, p] = points[p] - move
    by_others = np.stack([agrees[np.arange(len(cameras)) != v].sum(0) >= 2 for v in range(len(cameras))])
    cost = cost / prior.repeats + np.log1p(((steps / unit) ** 2).sum(1)).sum()
    return cameras, points, cost, others, by_others


@pytest.mark.parametrize("free", [(), (1,), (0, 3), (4,)])
def test_cameras_and_points_are_those_of_the_dense_system(rng, free):
    given, seen = scene(rng)
    free = np.isin(np.arange(5), free)
    prior = CameraPrior(turn_rad=0.01, repeats=3.0)
    found = adjust(given, seen, free.tolist(), prior)
    cameras, points, cost, others, by_others = plain(given, seen, free, prior)
    for v, (camera, expected) in enumerate(zip(found.rig, cameras, strict=True)):
        # Metres and radians: what rounding becomes in twelve steps.
        np.testing.assert_allclose(camera.cam_from_world.as_matrix(), expected.cam_from_world.as_matrix(), atol=1e-7)
        assert (camera is given.cameras[v]) == (not free[v])
    seen_twice = (seen.weight > 0).sum(0) >= 2
    np.testing.assert_allclose(found.points_world[seen_twice], points[seen_twice], atol=1e-6)
    assert np.isfinite(found.points_world).all() and seen_twice[:3].tolist() == [False, False, True]
    assert found.cost == pytest.approx(cost, rel=1e-6)
    np.testing.assert_array_equal(found.seen_by_others, by_others)
    assert 0.1 < by_others.mean() < 0.9
    np.testing.assert_allclose(found.others_world[by_others], others[by_others], atol=1e-6)


def test_a_step_is_undone_by_the_step_between(rng):
    camera = ring(1).cameras[0]
    step = rng.normal(0, 0.2, 6)
    moved = stepped(camera, step)
    np.testing.assert_allclose(step_between(camera, moved), step, atol=1e-12)
    np.testing.assert_allclose(step_vector(camera, moved), step, atol=1e-12)
    np.testing.assert_array_equal(moved.intrinsics, camera.intrinsics)
    point = rng.normal(size=3)
    expected = Rotation.from_rotvec(step[:3]).apply(camera.cam_from_world.apply(point)) + step[3:]
    np.testing.assert_allclose(moved.cam_from_world.apply(point), expected, atol=1e-12)


def test_nothing_seen_leaves_everything_where_it_is():
    given = ring(3)
    found = adjust(given, Sightings(np.zeros((3, 4, 2)), np.zeros((3, 4))), [True] * 3, CameraPrior(0.01, 1.0))
    for camera, before in zip(found.rig, given, strict=True):
        np.testing.assert_allclose(camera.cam_from_world.as_matrix(), before.cam_from_world.as_matrix(), atol=1e-12)
    assert found.cost == 0 and not found.seen_by_others.any() and np.isfinite(found.points_world).all()


@pytest.mark.parametrize(
    ("pixels", "weight", "message"),
    [
        (np.zeros((2, 3, 3)), np.zeros((2, 3)), "expected"),
        (np.zeros((2, 4, 2)), np.zeros((2, 3)), "expected"),
        (np.full((2, 3, 2), np.nan), np.zeros((2, 3)), "not finite"),
        (np.zeros((2, 3, 2)), np.full((2, 3), np.inf), "not finite"),
        (np.zeros((2, 3, 2)), np.full((2, 3), -1.0), "negative"),
    ],
)
def test_sightings_that_are_none_are_refused(pixels, weight, message):
    with pytest.raises(ValueError, match=message):
        Sightings(pixels, weight)
