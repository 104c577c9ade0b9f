"""The solvers' steps, one by one, against what Levenberg and Marquardt's rule says of problems of known numbers."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from support.hands import natural_poses, observe, state_of

from handgen.fit.kinematics import HandState, KeypointKinematics
from handgen.fit.residuals import Expected, PosePrior
from handgen.fit.solver import Linearised, Problem, Sum, damp, solve_poses, solve_shared, weighted

FIRST_DAMPING, MIN_DAMPING, MAX_DAMPING, RIDGE, SETTLED = 1e-3, 1e-9, 1e6, 1e-9, 1e-5


def zero_state(n, betas=0.0):
    return HandState(
        torch.eye(3, dtype=torch.float64).repeat(n, 16, 1, 1),
        torch.zeros(n, 3, dtype=torch.float64),
        torch.full((n, 10), betas, dtype=torch.float64),
    )


def positive_definite(rng, n, size):
    root = rng.normal(size=(n, size, size))
    return torch.as_tensor(root @ root.transpose(0, 2, 1) + size * np.eye(size))


@dataclass
class Scripted:
    """A term that costs what was written down before, whatever the pose, and notes the poses it was asked for."""

    costs: np.ndarray  # (calls, n)
    matrix: torch.Tensor
    gradient: torch.Tensor
    asked: list = field(default_factory=list)
    last_alone: int = 0

    def cost(self, state):
        self.last_alone += 1
        self.asked.append(state)
        return torch.as_tensor(self.costs[len(self.asked) - 1])

    def normal_equations(self, state, by_betas=False):
        self.asked.append(state)
        # By the call, so that the equations of a rejected pose differ from those of the pose that is kept.
        times = len(self.asked)
        return self.matrix * times, self.gradient * times**2, torch.as_tensor(self.costs[times - 1])

    def linearised(self, state, by_betas=False):
        n = len(state)
        return Linearised(torch.zeros(n, 21, 3), torch.zeros(n, 21, 3, 61), *self.normal_equations(state, by_betas))


def damped(matrix, damping):
    """Marquardt's matrix of one frame."""
    diagonal = matrix.diagonal()
    return matrix + torch.diag(damping * diagonal + RIDGE * diagonal.mean())


def expected_poses(term, state, steps):
    """Frame by frame, what a solve asks for and where it ends: slow and plain."""
    n = len(state)
    damping, kept_call = [FIRST_DAMPING] * n, [1] * n
    asked, cost = [state], list(term.costs[0])
    for taken in range(1, steps + 1):
        step = torch.stack(
            [
                -torch.linalg.solve(
                    damped(term.matrix[i] * kept_call[i], damping[i]), term.gradient[i] * kept_call[i] ** 2
                )
                for i in range(n)
            ]
        )
        candidate = state.moved(step)
        asked.append(candidate)
        new = term.costs[len(asked) - 1]
        better = [bool(new[i] <= cost[i]) for i in range(n)]
        state = candidate.where(torch.tensor(better), state)
        cost = [float(new[i]) if better[i] else cost[i] for i in range(n)]
        if taken == steps:
            break
        for i in range(n):
            kept_call[i] = len(asked) if better[i] else kept_call[i]
            damping[i] = min(max(damping[i] * (0.1 if better[i] else 10), MIN_DAMPING), MAX_DAMPING)
        if all(float(step[i].abs().max()) < SETTLED or damping[i] >= MAX_DAMPING for i in range(n)):
            break
    return asked, state, cost


SCRIPTS = {
    "falls": np.stack([np.linspace(9, 1, 20), np.linspace(8, 2, 20)], 1),
    "one frame's steps are rejected": np.stack([np.linspace(9, 1, 20), np.r_[5.0, np.full(19, 6.0)]], 1),
    "each frame has its own": np.random.default_rng(2).uniform(1, 2, (20, 2)).cumsum(0)[::-1]
    + np.random.default_rng(3).uniform(-2, 2, (20, 2)),
    "none is accepted, but at last": np.stack([np.r_[5.0, np.full(12, 6.0), np.full(7, 4.0)]] * 2, 1),
    "one is accepted at last": np.stack([np.r_[5.0, np.full(12, 6.0), np.full(7, 4.0)], np.linspace(9, 1, 20)], 1),
    "stays the same": np.full((20, 2), 3.0),
}


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 12, 17])
@pytest.mark.parametrize("pull", [1.0, 1e5])
def test_each_step_is_marquardts(rng, script, steps, pull):
    """Every pose that the solver asks the cost of, and the one that it ends with, to the last digits.

    pull: so strong that no step is small, however much it is damped.
    """
    matrix, gradient = positive_definite(rng, 2, 51), pull * torch.as_tensor(rng.normal(size=(2, 51)))
    term = Scripted(SCRIPTS[script], matrix, gradient)
    state, cost = solve_poses(term, zero_state(2), steps)
    asked, expected, expected_cost = expected_poses(Scripted(SCRIPTS[script], matrix, gradient), zero_state(2), steps)
    assert len(term.asked) == len(asked)
    for found, wanted in zip((*term.asked, state), (*asked, expected), strict=True):
        torch.testing.assert_close(found.translation, wanted.translation, rtol=1e-9, atol=1e-15)
        torch.testing.assert_close(found.rotations, wanted.rotations, rtol=1e-9, atol=1e-15 * pull)
    np.testing.assert_allclose(cost, expected_cost, rtol=1e-12)
    assert term.last_alone == (len(asked) == steps + 1 > 1)  # no equations are made that nobody will use


def test_a_solve_has_twelve_steps_unless_told_otherwise(rng):
    term = Scripted(SCRIPTS["falls"], positive_definite(rng, 2, 51), torch.as_tensor(rng.normal(size=(2, 51))))
    solve_poses(term, zero_state(2))
    assert len(term.asked) == 13


@pytest.mark.parametrize(("size", "asked"), [(0.9e-5, 2), (1.1e-5, 5)])
def test_a_step_of_a_hundredth_of_a_millimetre_is_the_last(size, asked):
    """Every frame must be there: here the second one always is, and the first is judged by its largest number."""
    step = torch.zeros(2, 51, dtype=torch.float64)
    step[0, 50], step[0, 3], step[1] = -size, size / 2, 1e-7

    class Still(Scripted):
        def normal_equations(self, state, by_betas=False):
            self.asked.append(state)
            return self.matrix, self.gradient, torch.as_tensor(self.costs[len(self.asked) - 1])

    eye = torch.eye(51, dtype=torch.float64).expand(2, 51, 51)
    for script in (SCRIPTS["falls"], np.stack([np.linspace(9, 1, 20), np.r_[5.0, np.full(19, 6.0)]], 1)):
        term = Still(script, eye, step)
        solve_poses(term, zero_state(2), 4)
        assert len(term.asked) == asked


@pytest.mark.parametrize("break_it", ["negative", "nan", "infinite"])
def test_a_frame_without_a_step_stays_and_the_other_goes_on(rng, break_it):
    matrix, gradient = positive_definite(rng, 2, 51).clone(), torch.as_tensor(rng.normal(size=(2, 51)))
    if break_it == "negative":
        matrix[0] = -matrix[0]
    else:
        gradient[0, 7] = torch.nan if break_it == "nan" else torch.inf
    state, _ = solve_poses(Scripted(SCRIPTS["falls"], matrix, gradient), zero_state(2), 1)
    assert not state.translation[0].any() and torch.equal(state.rotations[0], zero_state(1).rotations[0])
    assert state.translation[1].abs().min() > 0


def test_damping_enlarges_the_diagonal_and_leaves_none_of_it_zero(rng):
    matrix = positive_definite(rng, 2, 4).clone()
    matrix[:, 2] = matrix[:, :, 2] = 0
    before = matrix.clone()
    found = damp(matrix, torch.tensor([[0.5], [0.0]], dtype=torch.float64))
    for i, damping in enumerate((0.5, 0.0)):
        torch.testing.assert_close(found[i], damped(before[i], damping), rtol=0, atol=1e-12)
        assert float(found[i, 2, 2]) == pytest.approx(RIDGE * float(before[i].diagonal().mean()), rel=1e-9)
    assert torch.equal(matrix, before)


def expected_shared(problems, states, betas_weight, steps):
    """Solve by one dense system of all frames' poses and the betas, which nothing is eliminated from."""
    betas, damping = states[0].betas[0], FIRST_DAMPING
    kept = [(p.matrix, p.gradient) for p in problems]
    total = sum(p.costs[0].sum() for p in problems) + betas_weight * float(betas @ betas)
    asked = [[state] for state in states]
    for taken in range(1, steps + 1):
        frames = [(m, g) for matrix, gradient in kept for m, g in zip(matrix, gradient, strict=True)]
        poses = 51 * len(frames)
        dense = torch.zeros(poses + 10, poses + 10, dtype=torch.float64)
        right = torch.zeros(poses + 10, dtype=torch.float64)
        for k, (m, g) in enumerate(frames):
            place = [*range(51 * k, 51 * k + 51), *range(poses, poses + 10)]
            dense[np.ix_(place, place)] += damped(m, damping)
            right[place] += g
        dense[poses:, poses:] += betas_weight * torch.eye(10)
        right[poses:] += betas_weight * betas
        step = -torch.linalg.solve(dense, right)
        moved = betas + step[poses:]
        parts = step[:poses].reshape(-1, 51).split([len(state) for state in states])
        candidates = [s.moved(part).with_betas(moved) for s, part in zip(states, parts, strict=True)]
        for calls, candidate in zip(asked, candidates, strict=True):
            calls.append(candidate)
        call = len(asked[0])
        new = sum(p.costs[call - 1].sum() for p in problems) + betas_weight * float(moved @ moved)
        if new > total:
            damping = min(damping * 10, MAX_DAMPING)
            continue
        done = taken < steps and total - new < 1e-9 * max(total, 1e-12)
        states, betas, total = candidates, moved, new
        kept = [(p.matrix * call, p.gradient * call**2) for p in problems]
        damping = max(damping * 0.1, MIN_DAMPING)
        if done:
            break
    return asked, states


def shared_script(name):
    """Costs of two frames and of three, by call."""
    rng = np.random.default_rng(4)
    if name == "falls":
        totals = np.linspace(90, 10, 20)
    elif name == "rises":
        totals = np.linspace(10, 90, 20)
    elif name == "rises far, then falls":
        totals = np.r_[50, np.full(13, 1e9), np.linspace(40, 0, 6)]
    elif name == "both":
        totals = rng.uniform(40, 50, 20) - np.arange(20)
    else:
        totals = np.r_[90.0, 80.0, 70.0, 70.0 * (1 - (0.5e-9 if name == "settles" else 2e-9)), np.full(16, 60.0)]
    share = rng.uniform(0.1, 0.3, 5)
    share /= share.sum()
    return np.split(totals[:, None] * share * 1e6, [2], axis=1)  # so much that the prior on the betas decides nothing


@pytest.mark.parametrize("name", ["falls", "rises", "rises far, then falls", "both", "settles", "nearly settles"])
@pytest.mark.parametrize("steps", [0, 1, 2, 15, 19])
def test_eliminating_the_poses_changes_nothing(rng, name, steps):
    """Both hands of a subject: each pose that is asked for and the end, against the dense system's."""
    sides = []
    for n, costs in zip((2, 3), shared_script(name), strict=True):
        sides.append((costs, positive_definite(rng, n, 61), 0.3 * torch.as_tensor(rng.normal(size=(n, 61)))))
    given = [zero_state(2, 0.3), zero_state(3, 0.3)]
    problems, plain = ([Scripted(*side) for side in sides] for _ in range(2))
    found = solve_shared(problems, given, 2.5, steps)
    asked, expected = expected_shared(plain, given, 2.5, steps)
    for problem, wanted, end, wanted_end in zip(problems, asked, found, expected, strict=True):
        assert len(problem.asked) == len(wanted)
        assert problem.last_alone == (len(wanted) == steps + 1 > 1)
        for state, other in zip((*problem.asked, end), (*wanted, wanted_end), strict=True):
            torch.testing.assert_close(state.translation, other.translation, rtol=1e-7, atol=1e-10)
            torch.testing.assert_close(state.rotations, other.rotations, rtol=1e-7, atol=1e-10)
            torch.testing.assert_close(state.betas, other.betas, rtol=1e-7, atol=1e-10)


def test_the_prior_on_the_betas_is_in_the_cost_that_is_compared():
    """A step that the frames like by less than the prior on the betas dislikes is not taken."""
    gradient = torch.zeros(1, 61, dtype=torch.float64)
    gradient[0, 51] = -1e3  # towards a beta of 1000 / (1000 + 2)
    matrix = 1e3 * torch.eye(61, dtype=torch.float64)[None]
    size = 1000 / (1000 * (1 + FIRST_DAMPING) + 2)
    for gain, is_taken in ((2 * size**2 - 0.01, False), (2 * size**2 + 0.01, True)):
        for steps in (1, 2):
            costs = np.array([[10.0], [10.0 - gain], [99.0]])
            (found,) = solve_shared([Scripted(costs, matrix, gradient)], [zero_state(1)], 2.0, steps)
            assert (float(found.betas[0, 0]) == pytest.approx(size, rel=1e-6)) == is_taken
            assert is_taken or not found.betas.any()


def test_a_shared_solve_that_cannot_get_better_ends():
    """Equal costs are no rise: the step is taken, and it is the last."""
    problem = Scripted(np.full((9, 1), 7.0), torch.eye(61, dtype=torch.float64)[None], torch.zeros(1, 61).double())
    solve_shared([problem], [zero_state(1)], 1.0, 5)
    assert len(problem.asked) == 2
    pulled = Scripted(problem.costs, problem.matrix, torch.ones(1, 61).double())
    for steps in (1, 2):
        pulled.asked.clear()
        (found,) = solve_shared([pulled], [zero_state(1)], 0.0, steps)
        assert found.betas.abs().min() > 0.5


def test_a_shared_solve_has_fifteen_steps_unless_told_otherwise(rng):
    costs = shared_script("falls")[0]
    problem = Scripted(costs, positive_definite(rng, 2, 61), torch.as_tensor(rng.normal(size=(2, 61))))
    solve_shared([problem], [zero_state(2)], 1.0)
    assert len(problem.asked) == 16


def problem_with_a_term(model, rig, rng):
    kinematics = KeypointKinematics(model, torch.as_tensor(rng.normal(0, 0.005, (21, 3))))
    state = state_of(natural_poses(model, 2, rng))
    points = kinematics.keypoints(state)
    term = Expected(kinematics, points + 0.01, 0.02)
    return Problem(kinematics, observe(rig, points, 2.0, rng), PosePrior.of(model), {"near": term}), term, state


@pytest.mark.parametrize("by_betas", [False, True])
def test_a_problem_is_the_sum_of_its_terms(random_model, rig, rng, by_betas):
    problem, term, state = problem_with_a_term(random_model, rig, rng)
    here = problem.linearised(state, by_betas)
    points, jacobian = problem.kinematics.keypoints_and_jacobian(state, by_betas)
    torch.testing.assert_close(here.points, points)
    torch.testing.assert_close(here.jacobian, jacobian)
    model = problem.observations.reprojection(points)
    matrix, gradient, near = term.normal_equations(state, by_betas)
    information, pull, prior = problem.prior.normal_equations(state.rotations)
    matrix = matrix + torch.einsum("nkcp,nkcd,nkdq->npq", jacobian, model.information, jacobian)
    gradient = gradient + torch.einsum("nkcp,nkc->np", jacobian, model.gradient)
    for joint in range(15):
        place = slice(3 + 3 * joint, 6 + 3 * joint)
        matrix[:, place, place] += information[:, joint]
        gradient[:, place] += pull[:, joint]
    torch.testing.assert_close(here.matrix, matrix)
    torch.testing.assert_close(here.gradient, gradient)
    torch.testing.assert_close(here.cost, model.cost + prior + near)
    for found, wanted in zip(
        problem.normal_equations(state, by_betas), (here.matrix, here.gradient, here.cost), strict=True
    ):
        torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(problem.cost(state), here.cost)
    named = problem.costs(state)
    assert list(named) == ["keypoints", "pose_prior", "joint_limits", "near"]
    pull, limits = problem.prior.costs(state.rotations).T
    for name, wanted in zip(named, (model.cost, pull, limits, near), strict=True):
        torch.testing.assert_close(named[name], wanted)


def test_a_sum_of_terms_is_their_sum(random_model, rig, rng):
    problem, term, state = problem_with_a_term(random_model, rig, rng)
    both = Sum((problem, weighted(term, 2.0)))
    torch.testing.assert_close(both.cost(state), problem.cost(state) + 2 * term.cost(state))
    for by_betas in (False, True):
        parts = problem.normal_equations(state, by_betas), term.normal_equations(state, by_betas)
        for found, first, second in zip(both.normal_equations(state, by_betas), *parts, strict=True):
            torch.testing.assert_close(found, first + 2 * second)
    assert weighted(term, 1.0) is term
    for each in (both, problem, weighted(term, 2.0)):
        assert each.normal_equations(state)[1].shape == (2, 51)
    assert problem.linearised(state).jacobian.shape == (2, 21, 3, 51)
