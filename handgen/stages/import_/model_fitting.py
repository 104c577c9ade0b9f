"""A hand model fitted to 3D keypoints of another: where the data set's own model is not installed.

The keypoints are taken for the model's own. They are not quite: two models put joints and fingertips some millimetres
apart, and that stays as the residual. Betas: shared by the hands of one person, or each hand's own where nobody knows
whose it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from handgen.fit.initialization import betas_from_lengths, rigid_lengths, start
from handgen.fit.kinematics import HandState, KeypointKinematics
from handgen.fit.observations import pose_of
from handgen.fit.residuals import Expected, Observations, PosePrior
from handgen.fit.solver import Problem, Term, solve_poses, solve_shared
from handgen.geometry.camera import Camera, Rig
from handgen.hand.model import HandModel, HandPose
from handgen.hand.model_files import MOST_BETA

# Of a given keypoint against the priors of betas and bends. With the model's own keypoints it leaves 0.4 mm, with
# joints 4 mm elsewhere 2.3 mm; half of it would let betas explain what is the other model's idea of a joint.
_SIGMA_M = 0.002
_STEPS = 20


@dataclass(frozen=True)
class _WithBetas:
    """A problem solved by 61 parameters: each frame has betas of its own, with a unit Gaussian prior."""

    problem: Term

    def cost(self, state: HandState) -> Float[Tensor, " n"]:
        """Squared residuals in variances, summed per frame."""
        return self.problem.cost(state) + state.betas.square().sum(1)

    def normal_equations(
        self, state: HandState, by_betas: bool = True
    ) -> tuple[Float[Tensor, "n p p"], Float[Tensor, "n p"], Float[Tensor, " n"]]:
        """Normal equations by pose and betas, whatever is asked for."""
        matrix, gradient, cost = self.problem.normal_equations(state, by_betas=True)
        matrix, gradient = matrix.clone(), gradient.clone()
        torch.diagonal(matrix, dim1=1, dim2=2)[:, -10:] += 1
        gradient[:, -10:] += state.betas
        return matrix, gradient, cost + state.betas.square().sum(1)


def fit_keypoints(model: HandModel, points_m: Float[np.ndarray, "n 21 3"], people: Sequence[str | None]) -> HandPose:
    """Poses whose keypoints are nearest, metres. people: whose hand each is (None: nobody knows), who share betas.

    Betas stay within `MOST_BETA`: beyond, they explain what is the other model's idea of a joint.
    """
    points = torch.as_tensor(points_m).to(model.template)
    kinematics = KeypointKinematics(model)
    state = _unknown(kinematics, points)
    for person in sorted({name for name in people if name is not None}):
        mine = torch.tensor([i for i, name in enumerate(people) if name == person])
        few = HandState(state.rotations[mine], state.translation[mine], state.betas[mine])
        together = few.with_betas(few.betas.mean(0))
        solved = solve_shared([_problem(kinematics, points[mine])], [together], betas_weight=1.0)[0]
        for name in ("rotations", "translation", "betas"):
            getattr(state, name)[mine] = getattr(solved, name)
    far = (state.betas.abs() > MOST_BETA).any(1)
    if far.any():
        near = HandState(state.rotations[far], state.translation[far], state.betas[far].clamp(-MOST_BETA, MOST_BETA))
        near, _ = solve_poses(_problem(kinematics, points[far]), near, _STEPS)
        for name in ("rotations", "translation", "betas"):
            getattr(state, name)[far] = getattr(near, name)
    return pose_of(state)


def _unknown(kinematics: KeypointKinematics, points: Float[Tensor, "n 21 3"]) -> HandState:
    """Each hand with betas of its own."""
    betas = torch.stack([betas_from_lengths(kinematics, lengths) for lengths in rigid_lengths(points)])
    state = replace(start(kinematics, points, betas.mean(0)), betas=betas)
    state, _ = solve_poses(_WithBetas(_problem(kinematics, points)), state, _STEPS)
    return replace(state, betas=state.betas.clone())


def _problem(kinematics: KeypointKinematics, points: Float[Tensor, "n 21 3"]) -> Problem:
    no_camera = Rig((Camera("none", (1, 1), np.eye(3)),))
    return Problem(
        kinematics,
        Observations.none(no_camera, points, len(points)),
        PosePrior.of(kinematics.model),
        {"keypoints_3d": Expected(kinematics, points, _SIGMA_M)},
    )
