"""Batched Levenberg-Marquardt over frames: poses with given betas, or with betas shared by a subject.

Betas couple all frames of a subject; they are eliminated by the Schur complement, so the cost stays linear in the
frames. Source of the damping: Marquardt 1963, diagonal scaling, per frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from handgen.fit.kinematics import POSE_PARAMETERS, Equations, HandState, KeypointKinematics
from handgen.fit.residuals import Observations, PosePrior

_FIRST_DAMPING, _MIN_DAMPING, _MAX_DAMPING = 1e-3, 1e-9, 1e6
_RIDGE = 1e-9
SETTLED = 1e-5  # radians and metres: a step this small ends a frame, a hundredth of a millimetre away


class Term(Protocol):
    """Something that a hand's pose should agree with besides its keypoints. Costs: squared residuals in variances."""

    def cost(self, state: HandState) -> Float[Tensor, " n"]:
        """Squared residuals in variances, summed per frame."""

    def normal_equations(self, state: HandState, by_betas: bool = False) -> Equations:
        """Gauss-Newton matrix, gradient of half the cost, and the cost; p = 51, or 61 with betas."""


@dataclass(frozen=True)
class Linearised:
    """A problem near a state, by its p = 51 (pose) or 61 (pose and betas) parameters.

    points, jacobian: of the observed keypoints. gradient: of half the cost.
    """

    points: Float[Tensor, "n 21 3"]
    jacobian: Float[Tensor, "n 21 3 p"]
    matrix: Float[Tensor, "n p p"]
    gradient: Float[Tensor, "n p"]
    cost: Float[Tensor, " n"]


@dataclass(frozen=True)
class Problem:
    """The frames of one side of a subject's hands. terms: by name, what counts besides keypoints and the prior."""

    kinematics: KeypointKinematics
    observations: Observations
    prior: PosePrior
    terms: Mapping[str, Term] = field(default_factory=dict)

    def cost(self, state: HandState) -> Float[Tensor, " n"]:
        """Cost per frame, in variances."""
        cost = self.observations.cost(self.kinematics.keypoints(state)) + self.prior.cost(state.rotations)
        return cost + sum(term.cost(state) for term in self.terms.values())

    def costs(self, state: HandState) -> dict[str, Float[Tensor, " n"]]:
        """Cost of each term, by name."""
        pull, limits = self.prior.costs(state.rotations).unbind(-1)
        keypoints = self.observations.cost(self.kinematics.keypoints(state))
        own = {"keypoints": keypoints, "pose_prior": pull, "joint_limits": limits}
        return own | {name: term.cost(state) for name, term in self.terms.items()}

    def linearised(self, state: HandState, by_betas: bool = False) -> Linearised:
        """The Gauss-Newton model of the cost; by pose alone, or by pose and betas."""
        points, jacobian = self.kinematics.keypoints_and_jacobian(state, by_betas)
        term = self.observations.reprojection(points)
        n, parameters = len(state), jacobian.shape[-1]
        weighted = torch.cat([term.information @ jacobian, term.gradient[..., None]], -1)
        product = jacobian.reshape(n, 63, -1).transpose(1, 2) @ weighted.reshape(n, 63, -1)
        matrix, gradient = product[..., :parameters].contiguous(), product[..., parameters].contiguous()
        information, pull, prior_cost = self.prior.normal_equations(state.rotations)
        blocks = matrix[:, 3:48, 3:48].unflatten(2, (15, 3)).unflatten(1, (15, 3)).diagonal(dim1=1, dim2=3)
        blocks += information.permute(0, 2, 3, 1)
        gradient[:, 3:48] += pull.reshape(n, 45)
        cost = term.cost + prior_cost
        for extra in self.terms.values():
            extra_matrix, extra_gradient, extra_cost = extra.normal_equations(state, by_betas)
            matrix, gradient, cost = matrix + extra_matrix, gradient + extra_gradient, cost + extra_cost
        return Linearised(points, jacobian, matrix, gradient, cost)

    def normal_equations(self, state: HandState, by_betas: bool = False) -> Equations:
        """Gauss-Newton matrix, gradient of half the cost, and the cost, per frame."""
        here = self.linearised(state, by_betas)
        return here.matrix, here.gradient, here.cost


@dataclass(frozen=True)
class Sum:
    """Several terms as one, whose cost counts `weight` times."""

    terms: tuple[Term, ...]
    weight: float = 1.0

    def cost(self, state: HandState) -> Float[Tensor, " n"]:
        """Squared residuals in variances, summed per frame."""
        return self.weight * torch.stack([term.cost(state) for term in self.terms]).sum(0)

    def normal_equations(self, state: HandState, by_betas: bool = False) -> Equations:
        """Gauss-Newton matrix, gradient of half the cost, and the cost, per frame."""
        parts = zip(*(term.normal_equations(state, by_betas) for term in self.terms), strict=True)
        matrix, gradient, cost = (self.weight * torch.stack(part).sum(0) for part in parts)
        return matrix, gradient, cost


def weighted(term: Term, weight: float) -> Term:
    """The term itself for a weight of 1."""
    return term if weight == 1 else Sum((term,), weight)


def solve_poses(problem: Term, state: HandState, steps: int = 12) -> tuple[HandState, Float[Tensor, " n"]]:
    """Poses with the betas held; each frame accepts or rejects its own steps. Returns the state and its cost.

    problem: a `Problem`, or any other term or sum of terms.
    """
    damping = torch.full((len(state), 1), _FIRST_DAMPING, dtype=state.betas.dtype, device=state.betas.device)
    matrix, gradient, cost = problem.normal_equations(state)
    for taken in range(1, steps + 1):
        step = _damped_step(matrix, gradient, damping)
        candidate = state.moved(step)
        if taken == steps:  # nothing is built on what the last step leads to
            new_cost = problem.cost(candidate)
            better = new_cost <= cost
            return candidate.where(better, state), torch.where(better, new_cost, cost)
        new_matrix, new_gradient, new_cost = problem.normal_equations(candidate)
        better = new_cost <= cost
        small = step.abs().amax(1) < SETTLED
        if bool(better.all()):
            state, matrix, gradient, cost = candidate, new_matrix, new_gradient, new_cost
            damping = (damping * 0.1).clamp(min=_MIN_DAMPING)
        else:
            state = candidate.where(better, state)
            matrix = torch.where(better[:, None, None], new_matrix, matrix)
            gradient = torch.where(better[:, None], new_gradient, gradient)
            cost = torch.where(better, new_cost, cost)
            damping = torch.where(better[:, None], damping * 0.1, damping * 10).clamp(_MIN_DAMPING, _MAX_DAMPING)
        if bool((small | (damping[:, 0] >= _MAX_DAMPING)).all()):
            break
    return state, cost


def damp(matrix: Float[Tensor, "n p p"], damping: Float[Tensor, "#n 1"]) -> Float[Tensor, "n p p"]:
    """A copy with its diagonals enlarged by the share `damping` of themselves, and never zero."""
    diagonal = torch.diagonal(matrix, dim1=1, dim2=2)
    damped = matrix.clone()
    torch.diagonal(damped, dim1=1, dim2=2).add_(damping * diagonal + _RIDGE * diagonal.mean(1, keepdim=True))
    return damped


def _damped_step(matrix: Tensor, gradient: Tensor, damping: Tensor) -> Tensor:
    factor, failed = torch.linalg.cholesky_ex(damp(matrix, damping))
    step = -torch.cholesky_solve(gradient[..., None], factor)[..., 0]
    return torch.where((failed == 0)[:, None] & step.isfinite(), step, torch.zeros_like(step))


def solve_shared(
    problems: Sequence[Problem], states: Sequence[HandState], betas_weight: float, steps: int = 15
) -> list[HandState]:
    """Poses of all frames and the betas that they share, over both sides of a subject.

    betas_weight: information of the unit Gaussian prior on the betas; n if residuals of n frames repeat each other.
    """
    states = list(states)
    betas = states[0].betas[0]
    damping = _FIRST_DAMPING
    identity = torch.eye(10, dtype=betas.dtype, device=betas.device)
    systems = [problem.linearised(state, by_betas=True) for problem, state in zip(problems, states, strict=True)]
    cost = _total(systems, betas, betas_weight)
    for taken in range(1, steps + 1):
        schur, right = betas_weight * identity, betas_weight * betas
        eliminated = []
        for system in systems:
            damped = damp(system.matrix, torch.full_like(system.cost[:, None], damping))
            cross = damped[:, :POSE_PARAMETERS, POSE_PARAMETERS:]
            factor, _ = torch.linalg.cholesky_ex(damped[:, :POSE_PARAMETERS, :POSE_PARAMETERS])
            right_sides = torch.cat([cross, system.gradient[:, :POSE_PARAMETERS, None]], 2)
            solved = torch.nan_to_num(torch.cholesky_solve(right_sides, factor))
            reduced = cross.transpose(1, 2) @ solved
            schur = schur + (damped[:, POSE_PARAMETERS:, POSE_PARAMETERS:] - reduced[..., :10]).sum(0)
            right = right + (system.gradient[:, POSE_PARAMETERS:] - reduced[..., 10]).sum(0)
            eliminated.append(solved)
        betas_step = -torch.linalg.solve(schur, right)
        moved = betas + betas_step
        steps_of_poses = (-(solved[..., 10] + solved[..., :10] @ betas_step) for solved in eliminated)
        candidates = [s.moved(step).with_betas(moved) for s, step in zip(states, steps_of_poses, strict=True)]
        if taken == steps:
            ends = sum(float(p.cost(s).sum()) for p, s in zip(problems, candidates, strict=True))
            return candidates if ends + betas_weight * float(moved.square().sum()) <= cost else states
        new = [p.linearised(s, by_betas=True) for p, s in zip(problems, candidates, strict=True)]
        new_cost = _total(new, moved, betas_weight)
        if new_cost <= cost:
            converged = cost - new_cost < 1e-9 * max(cost, 1e-12)
            states, betas, cost, systems = candidates, moved, new_cost, new
            damping = max(damping * 0.1, _MIN_DAMPING)
            if converged:
                break
        else:
            damping = min(damping * 10, _MAX_DAMPING)
    return states


def _total(systems: Sequence[Linearised], betas: Tensor, betas_weight: float) -> float:
    return sum(float(system.cost.sum()) for system in systems) + betas_weight * float(betas.square().sum())
