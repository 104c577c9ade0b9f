"""The residuals of the fit against plain loops, and their slopes against automatic ones and differences."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from support.cameras import ring
from support.hands import natural_poses, state_of

from handgen.fit.kinematics import KeypointKinematics
from handgen.fit.residuals import Expected, Observations, PosePrior
from handgen.geometry.rotations import rotation_from_axis_angle

RIG = ring(3)
PROJECTIONS = torch.as_tensor(np.stack([camera.ideal_px_from_world for camera in RIG]))
ROBUST, LIMIT_SIGMA_RAD, MIN_PRIOR_SIGMA_RAD = 3.0**2, 0.05, 0.05


def pixel_of(projection, point):
    x, y, depth = projection[:, :3] @ point + projection[:, 3]
    return torch.stack([x, y]) / depth


@pytest.fixture
def scene(rng):
    """Points and what three cameras say of them: some to the pixel, some far off, some not seen."""
    points = torch.as_tensor(rng.uniform(-0.08, 0.08, (2, 21, 3)))
    pixels = torch.stack([torch.stack([torch.stack([pixel_of(p, x) for x in f]) for p in PROJECTIONS]) for f in points])
    pixels = pixels + torch.as_tensor(rng.normal(0, 1, pixels.shape) * rng.choice([0.3, 3.0, 30.0], (2, 3, 21, 1)))
    weight = torch.as_tensor(rng.uniform(0.1, 2.0, (2, 3, 21)) * (rng.random((2, 3, 21)) > 0.2))
    return points, Observations(PROJECTIONS, pixels, weight)


def plain_cost(observations, frame, keypoint, point):
    """Geman and McClure's loss of one keypoint, view by view."""
    cost = torch.zeros((), dtype=torch.float64)
    for view, projection in enumerate(PROJECTIONS):
        off = pixel_of(projection, point) - observations.pixels[frame, view, keypoint]
        squared = observations.weight[frame, view, keypoint] * (off**2).sum()
        cost = cost + ROBUST * squared / (ROBUST + squared)
    return cost


def test_reprojection_is_the_sum_over_views_of_a_robust_loss(scene):
    points, observations = scene
    model = observations.reprojection(points)
    assert len(observations) == 2 and model.gradient.shape == (2, 21, 3) and model.information.shape == (2, 21, 3, 3)
    for frame in range(2):
        costs = []
        for k in range(21):
            point = points[frame, k].clone().requires_grad_()
            costs.append(plain_cost(observations, frame, k, point))
            (slope,) = torch.autograd.grad(costs[-1], point)
            torch.testing.assert_close(model.gradient[frame, k], slope / 2, rtol=1e-9, atol=1e-9)
            information = torch.zeros(3, 3, dtype=torch.float64)
            for view, projection in enumerate(PROJECTIONS):
                by_point = torch.autograd.functional.jacobian(lambda x, p=projection: pixel_of(p, x), points[frame, k])
                off = pixel_of(projection, points[frame, k]) - observations.pixels[frame, view, k]
                weight = observations.weight[frame, view, k]
                weight = weight * (ROBUST / (ROBUST + weight * (off**2).sum())) ** 2
                information += weight * by_point.T @ by_point
            torch.testing.assert_close(model.information[frame, k], information, rtol=1e-8, atol=1e-6)
        total = torch.stack(costs).sum().detach()
        torch.testing.assert_close(model.cost[frame], total)
        torch.testing.assert_close(observations.cost(points)[frame], total)


def test_a_point_at_the_lens_is_a_tenth_of_a_millimetre_before_it(scene):
    """So pixels stay finite, and a hand behind a camera is far from what the camera saw."""
    _, observations = scene
    camera = next(iter(RIG))
    seen = Observations(PROJECTIONS[:1], 0 * observations.pixels[:1, :1], 0 * observations.weight[:1, :1])
    seen.weight[0, 0, 4] = 1e-12
    for depth in (-1.0, 0.0, 0.7e-4, 1.5e-4):
        points = torch.zeros(1, 21, 3, dtype=torch.float64)
        points[0, 4] = torch.as_tensor(camera.cam_from_world.inverse().apply(np.array([1e-3, -2e-3, depth])))
        x, y, _ = camera.intrinsics @ (1e-3, -2e-3, depth)
        squared = 1e-12 * (x**2 + y**2) / max(depth, 1e-4) ** 2
        assert float(seen.cost(points)) == pytest.approx(ROBUST * squared / (ROBUST + squared), rel=1e-6)


def test_observations_of_nothing(rng):
    like = torch.zeros(1, dtype=torch.float32)
    for n in (1, 4):
        nothing = Observations.none(RIG, like, n) if n > 1 else Observations.none(RIG, like)
        assert len(nothing) == n and nothing.pixels.dtype == torch.float32
        assert not nothing.cost(torch.as_tensor(rng.normal(size=(n, 21, 3))).to(like)).any()
        torch.testing.assert_close(nothing.ideal_px_from_world, PROJECTIONS.to(like))


def test_shapes_that_do_not_belong_together_are_refused(scene):
    _, seen = scene
    for projections, pixels, weight in (
        (PROJECTIONS[:2], seen.pixels, seen.weight),
        (PROJECTIONS[:, :, :3], seen.pixels, seen.weight),
        (PROJECTIONS, seen.pixels[:, :, :20], seen.weight),
        (PROJECTIONS, seen.pixels[..., :1], seen.weight),
        (PROJECTIONS, seen.pixels, seen.weight[:1]),
    ):
        with pytest.raises(ValueError, match="Observations: expected"):
            Observations(projections, pixels, weight)


@pytest.mark.parametrize("by_betas", [False, True])
def test_expected_keypoints_pull_with_their_distance(random_model, rng, by_betas):
    kinematics = KeypointKinematics(random_model, torch.as_tensor(rng.normal(0, 0.005, (21, 3))))
    state = state_of(natural_poses(random_model, 2, rng))
    points = kinematics.keypoints(state)
    off = torch.as_tensor(rng.normal(0, 0.01, points.shape))
    term = Expected(kinematics, points - off, 0.004)
    matrix, gradient, cost = term.normal_equations(state, by_betas)
    _, jacobian = kinematics.keypoints_and_jacobian(state, by_betas)
    torch.testing.assert_close(cost, (off**2).sum((1, 2)) / 0.004**2)
    torch.testing.assert_close(term.cost(state), cost)
    torch.testing.assert_close(gradient, torch.einsum("nkcp,nkc->np", jacobian, off) / 0.004**2)
    torch.testing.assert_close(matrix, torch.einsum("nkcp,nkcq->npq", jacobian, jacobian) / 0.004**2)
    assert matrix.shape[-1] == (61 if by_betas else 51)
    assert term.normal_equations(state)[0].shape[-1] == 51


def joint_angles(prior, rotations):
    """Anatomical angles of each joint, by scipy: (n, 15, 3)."""
    vectors = Rotation.from_matrix(rotations[:, 1:].reshape(-1, 3, 3).numpy()).as_rotvec().reshape(-1, 15, 3)
    return np.einsum("jac,njc->nja", prior.axes.numpy(), vectors)


@pytest.fixture
def prior(rng):
    """Joints of all kinds: wide, narrow, stiff, and not about zero."""
    low = rng.uniform(-1.0, 0.2, (15, 3))
    width = rng.choice([0.0, 0.05, 0.4, 1.5], (15, 3))
    axes = np.linalg.qr(rng.normal(size=(15, 3, 3)))[0]
    return PosePrior(torch.as_tensor(axes), torch.as_tensor(np.stack([low, low + width], -1)))


@pytest.fixture
def rotations(rng):
    """No turn, a tiny one, ordinary ones within and beyond the limits, and nearly half a turn."""
    vectors = rng.normal(size=(5, 16, 3))
    vectors *= (
        np.array([0.0, 1e-4, 0.4, 1.2, np.pi - 0.015])[:, None, None] / np.linalg.norm(vectors, axis=-1)[..., None]
    )
    return torch.as_tensor(Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(5, 16, 3, 3))


def plain_prior(prior, rotations):
    """Residuals of the pull to the middle, and of the limits: (2, n, 15, 3), with their slopes by the angles."""
    angles = joint_angles(prior, rotations)
    low, high = prior.limits.numpy().transpose(2, 0, 1)
    sigma = np.maximum((high - low) / 2, MIN_PRIOR_SIGMA_RAD)
    beyond = np.maximum(angles - high, 0) + np.minimum(angles - low, 0)
    residuals = np.stack([(angles - (low + high) / 2) / sigma, beyond / LIMIT_SIGMA_RAD])
    return residuals, np.stack([np.broadcast_to(1 / sigma, angles.shape), (beyond != 0) / LIMIT_SIGMA_RAD])


def test_the_prior_pulls_to_the_middle_and_back_within_the_limits(prior, rotations):
    residuals, _ = plain_prior(prior, rotations)
    expected = (residuals**2).sum((2, 3))
    np.testing.assert_allclose(prior.costs(rotations), expected.T, rtol=1e-6)
    np.testing.assert_allclose(prior.cost(rotations), expected.sum(0), rtol=1e-6)
    assert (expected > 0).all()


def test_the_priors_equations_are_those_of_its_residuals(prior, rotations):
    information, gradient, cost = prior.normal_equations(rotations)
    torch.testing.assert_close(cost, prior.cost(rotations))
    residuals, slopes = plain_prior(prior, rotations)
    size = 1e-6
    columns = []
    for axis in range(3):
        step = torch.zeros(5, 16, 3, dtype=torch.float64)
        step[..., axis] = size
        ahead, behind = (joint_angles(prior, rotation_from_axis_angle(sign * step) @ rotations) for sign in (1, -1))
        columns.append((ahead - behind) / (2 * size))
    by_step = np.stack(columns, -1)  # (n, 15, angles, steps)
    expected = np.einsum("rnja,njas,njat->njst", slopes**2, by_step, by_step)
    np.testing.assert_allclose(information, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())
    pull = np.einsum("rnja,rnja,njas->njs", slopes, residuals, by_step)
    np.testing.assert_allclose(gradient, pull, rtol=1e-4, atol=1e-5 * np.abs(pull).max())


def test_the_prior_is_of_the_models_own_axes_and_limits(random_model):
    prior = PosePrior.of(random_model)
    np.testing.assert_array_equal(prior.axes, random_model.arrays.joint_axes)
    np.testing.assert_array_equal(prior.limits, random_model.arrays.joint_limits_rad)
