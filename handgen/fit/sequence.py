"""Poses of a whole sequence, solved together: each keypoint's acceleration is a term of the fit.

The prior acts where it has a unit: millimetres per second squared of the keypoints, and it is robust, so that a hand
that is hit or that strikes is not smoothed. It ties each frame to the two after it; pairs of frames then make a
block-tridiagonal system. Frames without observations are carried by their neighbours alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from handgen.fit.block_tridiagonal import Factor, factorise
from handgen.fit.kinematics import POSE_PARAMETERS, HandState
from handgen.fit.residuals import ROBUST_SIGMAS
from handgen.fit.solver import SETTLED, Linearised, Problem, damp

_FIRST_DAMPING, _MIN_DAMPING, _MAX_DAMPING = 1e-4, 1e-9, 1e6
_PAIR = 2 * POSE_PARAMETERS


@dataclass(frozen=True)
class Motion:
    """A prior on how the keypoints of `n` frames move.

    frames: their numbers, rising; three that follow each other without a hole share an acceleration.
    interval_s: between two frames. sigma_m_s2: what accelerations are usual; infinite: any.
    """

    frames: Int[Tensor, " n"]
    interval_s: float
    sigma_m_s2: float

    @property
    def _unit_m(self) -> float:
        """A usual second difference of a keypoint's positions, metres."""
        return self.sigma_m_s2 * self.interval_s**2

    @cached_property
    def _linked(self) -> Float[Tensor, "triples 1"]:
        """A mask of the frames that are consecutive with the next two."""
        linked = self.frames[2:] - self.frames[:-2] == 2
        return linked.to(torch.float64)[:, None]

    def _squared(self, points: Float[Tensor, "n 21 3"]) -> tuple[Tensor, Tensor]:
        """Second differences (n - 2, 21, 3), and their squares in variances (0 where frames are missing)."""
        second = points[:-2] - 2 * points[1:-1] + points[2:]
        return second, (second / self._unit_m).square().sum(-1) * self._linked.to(points.dtype)

    def cost(self, points: Float[Tensor, "n 21 3"]) -> Float[Tensor, " n"]:
        """Robust squared acceleration in variances; of each frame together with its two neighbours."""
        cost = points.new_zeros(len(points))
        if len(points) > 2:
            squared, scale = self._squared(points)[1], ROBUST_SIGMAS**2
            cost[1:-1] = (scale * squared / (scale + squared)).sum(1)
        return cost

    def weights(self, points: Float[Tensor, "n 21 3"]) -> tuple[Tensor, Tensor]:
        """Second differences, and what they weigh: the loss' derivative by their squares, (n - 2, 21)."""
        second, squared = self._squared(points)
        scale = ROBUST_SIGMAS**2
        return second, (scale / (scale + squared)) ** 2 / self._unit_m**2 * self._linked.to(points.dtype)


@dataclass(frozen=True)
class SequenceFit:
    """The poses, what each frame costs apart from its acceleration, and the factor of the normal matrix there."""

    state: HandState
    cost: Float[Tensor, " n"]
    linearised: Linearised
    factor: Factor

    def covariance(self) -> Float[Tensor, "n 21 3 3"]:
        """Covariance of the observed keypoints in the world, metres squared: what the terms' variances leave open."""
        blocks, _ = self.factor.inverse_blocks()
        n = len(self.state)
        of_pairs = blocks.unflatten(2, (2, POSE_PARAMETERS)).unflatten(1, (2, POSE_PARAMETERS))
        of_frames = of_pairs.diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2).reshape(-1, POSE_PARAMETERS, POSE_PARAMETERS)
        jacobian = self.linearised.jacobian
        return jacobian @ of_frames[:n, None] @ jacobian.transpose(-1, -2)


def solve_sequence(problem: Problem, state: HandState, motion: Motion, steps: int = 8) -> SequenceFit:
    """All frames of `problem` at once, from a state near the solution; betas are held."""
    damping = _FIRST_DAMPING
    here = problem.linearised(state)
    total = float(here.cost.sum() + motion.cost(here.points).sum())
    for _ in range(steps):
        diagonal, upper, gradient = _system(here, motion)
        try:
            pairs = damp(diagonal, torch.full_like(diagonal[:, :1, 0], damping))
            step = -factorise(pairs, upper).solve(gradient).reshape(-1, POSE_PARAMETERS)[: len(state)]
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
            damping *= 10
            continue
        candidate = state.moved(step)
        new = problem.linearised(candidate)
        new_total = float(new.cost.sum() + motion.cost(new.points).sum())
        if new_total <= total:
            state, here, total = candidate, new, new_total
            damping = max(damping * 0.1, _MIN_DAMPING)
            if float(step.abs().max()) < SETTLED:
                break
        else:
            damping *= 10
            if damping > _MAX_DAMPING:
                break
    diagonal, upper, _ = _system(here, motion)
    factor = factorise(damp(diagonal, torch.zeros_like(diagonal[:, :1, 0])), upper)
    return SequenceFit(state, here.cost, here, factor)


def _system(here: Linearised, motion: Motion) -> tuple[Tensor, Tensor, Tensor]:
    """The normal equations by pairs of frames: diagonal blocks, those right of them, and the gradient."""
    n = len(here.points)
    even = n + n % 2
    matrix = here.matrix.new_zeros(even, POSE_PARAMETERS, POSE_PARAMETERS)
    next_one, next_but_one = torch.zeros_like(matrix), torch.zeros_like(matrix)
    gradient = here.gradient.new_zeros(even, POSE_PARAMETERS)
    matrix[:n], gradient[:n] = here.matrix, here.gradient
    if even > n:
        matrix[n] = torch.eye(POSE_PARAMETERS, dtype=matrix.dtype, device=matrix.device)
    if n > 2:
        second, weight = motion.weights(here.points)
        jacobian = here.jacobian.reshape(n, 63, POSE_PARAMETERS)
        own, one, pull = _stencil(second, weight)
        matrix[:n] += jacobian.transpose(1, 2) @ (own[..., None] * jacobian)
        next_one[: n - 1] = jacobian[:-1].transpose(1, 2) @ (one[..., None] * jacobian[1:])
        two = weight.repeat_interleave(3, dim=1)
        next_but_one[: n - 2] = jacobian[:-2].transpose(1, 2) @ (two[..., None] * jacobian[2:])
        gradient[:n] += (jacobian.transpose(1, 2) @ pull.reshape(n, 63, 1))[..., 0]
    first, later = matrix[0::2], matrix[1::2]
    link = next_one[0::2]
    diagonal = torch.cat([torch.cat([first, link], 2), torch.cat([link.transpose(1, 2), later], 2)], 1)
    # Of two successive pairs (a, b), (c, d): a-c and b-d are next but one, b-c are next, a-d are not tied.
    a_c, b_d, b_c = next_but_one[0:-2:2], next_but_one[1:-2:2], next_one[1:-2:2]
    upper = torch.cat([torch.cat([a_c, torch.zeros_like(a_c)], 2), torch.cat([b_c, b_d], 2)], 1)
    return diagonal, upper, gradient.reshape(-1, _PAIR, 1)


def _stencil(second: Float[Tensor, "triples 21 3"], weight: Float[Tensor, "triples 21"]) -> tuple[Tensor, ...]:
    """Sums by the pattern 1, -2, 1: weights of a frame with itself (n, 63) and the next (n - 1, 63), and the pull."""
    triples = len(weight)
    own = weight.new_zeros(triples + 2, 21)
    own[:-2] += weight
    own[1:-1] += 4 * weight
    own[2:] += weight
    one = weight.new_zeros(triples + 1, 21)
    one[:-1] -= 2 * weight
    one[1:] -= 2 * weight
    pull = second.new_zeros(triples + 2, 21, 3)
    weighted = weight[..., None] * second
    pull[:-2] += weighted
    pull[1:-1] -= 2 * weighted
    pull[2:] += weighted
    return own.repeat_interleave(3, dim=1), one.repeat_interleave(3, dim=1), pull
