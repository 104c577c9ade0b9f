import numpy as np
import torch
from support.cameras import ring
from support.hands import FPS, observe, state_of, swing, triangulated

from handgen.fit.initialization import start
from handgen.fit.kinematics import HandState, KeypointKinematics
from handgen.fit.residuals import Observations, PosePrior
from handgen.fit.sequence import Motion, solve_sequence
from handgen.fit.solver import Problem, solve_poses
from handgen.hand.model import HandPose


def fitted_alone(kinematics, observations, betas):
    problem = Problem(kinematics, observations, PosePrior.of(kinematics.model))
    return problem, solve_poses(problem, start(kinematics, triangulated(observations, 2.0), betas))[0]


def motion_of(n, sigma_m_s2=3.0):
    return Motion(torch.arange(n), 1 / FPS, sigma_m_s2)


def mean_mm(kinematics, state, truth):
    return float((kinematics.keypoints(state) - truth).norm(dim=-1).mean() * 1e3)


def test_gradient_of_the_system_is_the_slope_of_the_total_cost(random_model, rng):
    from handgen.fit.sequence import _system

    kinematics = KeypointKinematics(random_model)
    state = state_of(swing(random_model, 5, rng))
    observations = observe(ring(3), kinematics.keypoints(state), noise_px=2.0, rng=rng)
    problem = Problem(kinematics, observations, PosePrior.of(random_model))
    motion = Motion(torch.tensor([3, 4, 5, 6, 7]), 1 / FPS, 2.0)
    gradient = _system(problem.linearised(state), motion)[2].reshape(-1)[: 5 * 51]

    def total(moved):
        return float(problem.cost(moved).sum() + motion.cost(kinematics.keypoints(moved)).sum())

    for parameter in (3, 49, 51 + 8, 2 * 51 + 50, 4 * 51 + 1):
        step = torch.zeros(5 * 51, dtype=torch.float64)
        step[parameter] = 1e-6
        slope = (total(state.moved(step.reshape(5, 51))) - total(state.moved(-step.reshape(5, 51)))) / 2e-6 / 2
        torch.testing.assert_close(float(gradient[parameter]), slope, rtol=1e-4, atol=1e-3)


def test_the_matrix_is_that_of_the_accelerations(random_model, rng):
    """Blocks of pairs against a dense matrix built from the second differences' own Jacobian."""
    from handgen.fit.sequence import _system

    n = 7
    kinematics = KeypointKinematics(random_model)
    state = state_of(swing(random_model, n, rng))
    problem = Problem(kinematics, observe(ring(3), kinematics.keypoints(state)), PosePrior.of(random_model))
    here, motion = problem.linearised(state), motion_of(n)
    diagonal, upper, _ = _system(here, motion)
    _, weight = motion.weights(here.points)
    dense = torch.zeros(n * 51, n * 51, dtype=torch.float64)
    for t in range(n):
        dense[t * 51 : t * 51 + 51, t * 51 : t * 51 + 51] = here.matrix[t]
    for t in range(n - 2):
        rows = torch.zeros(63, n * 51, dtype=torch.float64)
        for frame, factor in ((t, 1), (t + 1, -2), (t + 2, 1)):
            rows[:, frame * 51 : frame * 51 + 51] = factor * here.jacobian[frame].reshape(63, 51)
        dense += rows.T @ (weight[t].repeat_interleave(3)[:, None] * rows)
    torch.testing.assert_close(diagonal[1], dense[102:204, 102:204])
    torch.testing.assert_close(upper[1], dense[102:204, 204:306])


def test_a_sequence_is_more_accurate_than_its_frames(hand, rng):
    kinematics = KeypointKinematics(hand)
    pose = swing(hand, 60, rng)
    truth = kinematics.keypoints(state_of(pose))
    problem, alone = fitted_alone(kinematics, observe(ring(3), truth, 3.0, rng), pose.betas[0])
    together = solve_sequence(problem, alone, motion_of(60)).state
    # At 30 frames/s a hand that swings in two seconds tells its place several times: noise must fall by a third.
    assert mean_mm(kinematics, together, truth) < 0.67 * mean_mm(kinematics, alone, truth)


def test_a_gap_is_bridged(hand, rng):
    kinematics = KeypointKinematics(hand)
    pose = swing(hand, 40, rng)
    truth = kinematics.keypoints(state_of(pose))
    seen = observe(ring(4), truth, 1.0, rng)
    weight = seen.weight.clone()
    weight[15:25] = 0
    problem, alone = fitted_alone(kinematics, seen, pose.betas[0])
    blind = Problem(kinematics, Observations(seen.ideal_px_from_world, seen.pixels, weight), problem.prior)
    held = alone.rotations.clone(), alone.translation.clone()
    for array in held:
        array[15:25] = array[14]  # nothing is known there
    found = solve_sequence(blind, HandState(*held, alone.betas), motion_of(40), steps=20)
    error_mm = (kinematics.keypoints(found.state) - truth)[15:25].norm(dim=-1).mean() * 1e3
    still_mm = (truth[15:25] - truth[14]).norm(dim=-1).mean() * 1e3
    # A third of a second of a swing of two seconds: the path in between is nearly the parabola that the prior draws.
    assert error_mm < 4.0
    assert error_mm < 0.35 * still_mm
    sigma_mm = found.covariance().diagonal(dim1=-2, dim2=-1).mean((1, 2)).sqrt() * 1e3
    assert sigma_mm[20] > 3 * sigma_mm[5]  # and it says that it does not know


def test_a_jump_is_not_smoothed(hand, rng):
    kinematics = KeypointKinematics(hand)
    pose = swing(hand, 30, rng)
    translation = pose.translation.clone()
    translation[15:] += torch.tensor([0.15, 0.0, 0.0])  # 135 m/s^2: a cut in the video
    truth = kinematics.keypoints(state_of(HandPose(pose.rotations, translation, pose.betas)))
    problem, alone = fitted_alone(kinematics, observe(ring(4), truth, 1.0, rng), pose.betas[0])
    together = solve_sequence(problem, alone, motion_of(30)).state
    error_mm = (kinematics.keypoints(together) - truth).norm(dim=-1).mean(1) * 1e3
    assert error_mm[13:17].max() < 2.0  # as good as frame by frame


def test_covariance_is_the_spread_of_repeated_fits(hand):
    """Fits of one sequence under many draws of the noise scatter by what the normal matrix says."""
    kinematics = KeypointKinematics(hand)
    pose = swing(hand, 9, np.random.default_rng(3))
    truth = kinematics.keypoints(state_of(pose))
    found, said = [], []
    for draw in range(40):
        observations = observe(ring(4), truth, 1.0, np.random.default_rng(draw))
        problem = Problem(kinematics, observations, PosePrior.of(hand))
        fit = solve_sequence(problem, state_of(pose), motion_of(9))
        found.append(kinematics.keypoints(fit.state))
        said.append(fit.covariance().diagonal(dim1=-2, dim2=-1))
    spread = torch.stack(found).var(0).mean().sqrt()
    expected = torch.stack(said).mean().sqrt()
    # The prior's variances are in it too, which no draw realises: it may say up to a third more, hardly less.
    assert 0.9 < expected / spread < 1.35
