"""Batched Levenberg-Marquardt over frames: poses with given betas, or with betas shared by a subject.

Betas couple all frames of a subject; they are eliminated by the Schur complement, so the cost stays linear in the
frames. Source of the damping: Marquardt 1963, diagonal scaling, per frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from handgen.fit.kinematics import PARAMETERS, POSE_PARAMETERS, HandState, KeypointKinematics
from handgen.fit.residuals import Observations, PosePrior, reprojection, reprojection_cost

_FIRST_DAMPING, _MIN_DAMPING, _MAX_DAMPING = 1e-3, 1e-9, 1e6
_RIDGE = 1e-9
_SETTLED = 1e-7  # radians and metres: a step this small ends a frame


@dataclass(frozen=True)
class Problem:
    """The frames of one side of a subject's hands."""

    kinematics: KeypointKinematics
    observations: Observations
    prior: PosePrior

    def cost(self, state: HandState) -> Float[Tensor, " n"]:
        """Cost per frame, in variances."""
        points = self.kinematics.keypoints(state)
        return reprojection_cost(self.observations, points) + self.prior.cost(state.rotations)

    def normal_equations(
        self, state: HandState
    ) -> tuple[Float[Tensor, "n 61 61"], Float[Tensor, "n 61"], Float[Tensor, " n"]]:
        """Gauss-Newton matrix and gradient by all parameters, and the cost, per frame."""
        points, jacobian = self.kinematics.keypoints_and_jacobian(state)
        term = reprojection(self.observations, points)
        n = len(state)
        flat = jacobian.reshape(n, 63, PARAMETERS)
        matrix = flat.transpose(1, 2) @ (term.information @ jacobian).reshape(n, 63, PARAMETERS)
        gradient = (flat.transpose(1, 2) @ term.gradient.reshape(n, 63, 1))[..., 0]
        information, pull = self.prior.normal_equations(state.rotations)
        for joint in range(1, 16):
            block = slice(3 * joint, 3 * joint + 3)
            matrix[:, block, block] += information[:, joint - 1]
        gradient[:, 3:48] += pull.reshape(n, 45)
        return matrix, gradient, term.cost + self.prior.cost(state.rotations)


def solve_poses(problem: Problem, state: HandState, steps: int = 12) -> tuple[HandState, Float[Tensor, " n"]]:
    """Poses with the betas held; each frame accepts or rejects its own steps. Returns the state and its cost."""
    damping = torch.full((len(state), 1), _FIRST_DAMPING, dtype=state.betas.dtype, device=state.betas.device)
    matrix, gradient, cost = problem.normal_equations(state)
    for _ in range(steps):
        step = _damped_step(matrix[:, :POSE_PARAMETERS, :POSE_PARAMETERS], gradient[:, :POSE_PARAMETERS], damping)
        candidate = state.moved(step)
        new_matrix, new_gradient, new_cost = problem.normal_equations(candidate)
        better = new_cost <= cost
        state = candidate.where(better, state)
        matrix = torch.where(better[:, None, None], new_matrix, matrix)
        gradient = torch.where(better[:, None], new_gradient, gradient)
        cost = torch.where(better, new_cost, cost)
        damping = torch.where(better[:, None], damping * 0.1, damping * 10).clamp(_MIN_DAMPING, _MAX_DAMPING)
        settled = (better & (step.abs().amax(1) < _SETTLED)) | (damping[:, 0] >= _MAX_DAMPING)
        if bool(settled.all()):
            break
    return state, cost


def _damped_step(matrix: Tensor, gradient: Tensor, damping: Tensor) -> Tensor:
    diagonal = torch.diagonal(matrix, dim1=1, dim2=2)
    damped = matrix.clone()
    torch.diagonal(damped, dim1=1, dim2=2).add_(damping * diagonal + _RIDGE * diagonal.mean(1, keepdim=True))
    factor, failed = torch.linalg.cholesky_ex(damped)
    step = -torch.cholesky_solve(gradient[..., None], factor)[..., 0]
    return torch.where((failed == 0)[:, None], step, torch.zeros_like(step))


def solve_shared(
    problems: Sequence[Problem],
    states: Sequence[HandState],
    betas_weight: float,
    steps: int = 15,
) -> list[HandState]:
    """Poses of all frames and the betas that they share, over both sides of a subject.

    betas_weight: information of the unit Gaussian prior on the betas; 1 if residuals were independent between frames,
    n if those of n frames repeat each other.
    """
    states = list(states)
    betas = states[0].betas[0]
    damping = _FIRST_DAMPING
    identity = torch.eye(10, dtype=betas.dtype, device=betas.device)

    def total_cost(candidates: Sequence[HandState], candidate_betas: Tensor) -> float:
        cost = sum(float(p.cost(s).sum()) for p, s in zip(problems, candidates, strict=True))
        return cost + betas_weight * float(candidate_betas.square().sum())

    cost = total_cost(states, betas)
    systems = [problem.normal_equations(state)[:2] for problem, state in zip(problems, states, strict=True)]
    for _ in range(steps):
        schur = betas_weight * identity
        right = betas_weight * betas
        eliminated = []
        for matrix, gradient in systems:
            diagonal = torch.diagonal(matrix, dim1=1, dim2=2)
            damped = matrix.clone()
            torch.diagonal(damped, dim1=1, dim2=2).add_(damping * diagonal + _RIDGE * diagonal.mean(1, keepdim=True))
            pose, cross = (
                damped[:, :POSE_PARAMETERS, :POSE_PARAMETERS],
                damped[:, :POSE_PARAMETERS, POSE_PARAMETERS:],
            )
            factor = torch.linalg.cholesky(pose)
            solved = torch.cholesky_solve(torch.cat([cross, gradient[:, :POSE_PARAMETERS, None]], 2), factor)
            reduced = cross.transpose(1, 2) @ solved
            schur = schur + (damped[:, POSE_PARAMETERS:, POSE_PARAMETERS:] - reduced[..., :10]).sum(0)
            right = right + (gradient[:, POSE_PARAMETERS:] - reduced[..., 10]).sum(0)
            eliminated.append(solved)
        betas_step = -torch.linalg.solve(schur, right)
        candidates = []
        for state, solved in zip(states, eliminated, strict=True):
            pose_step = -(solved[..., 10] + solved[..., :10] @ betas_step)
            candidates.append(state.moved(pose_step).with_betas(betas + betas_step))
        new_cost = total_cost(candidates, betas + betas_step)
        if new_cost <= cost:
            converged = cost - new_cost < 1e-9 * max(cost, 1e-12)
            states, betas, cost, damping = (
                candidates,
                betas + betas_step,
                new_cost,
                max(damping * 0.1, _MIN_DAMPING),
            )
            if converged:
                break
            systems = [p.normal_equations(s)[:2] for p, s in zip(problems, states, strict=True)]
        else:
            damping = min(damping * 10, _MAX_DAMPING)
    return states
