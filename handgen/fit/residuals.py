"""The terms of the fit, each with its Gauss-Newton normal equations and cost.

Weights are 1 / variance, so every residual is in standard deviations and terms can be added. Reprojection: pixels over
the detector's noise, robust. Joint limits and pose prior: radians, in the joint's anatomical axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from handgen.hand.model import HandModel
from handgen.so3 import axis_angle_from_rotation, skew

ROBUST_SIGMAS = 3.0  # residuals beyond this many standard deviations lose their say (Geman-McClure)
LIMIT_SIGMA_RAD = 0.05  # how soft a joint's limit is
MIN_PRIOR_SIGMA_RAD = 0.05


@dataclass(frozen=True)
class Observations:
    """Keypoints of `n` frames in `views` ideal cameras.

    weight: confidence / (noise px)^2, zero where a keypoint was not observed.
    """

    ideal_px_from_world: Float[Tensor, "views 3 4"]
    pixels: Float[Tensor, "n views 21 2"]
    weight: Float[Tensor, "n views 21"]

    def __post_init__(self) -> None:
        n, views = self.weight.shape[:2]
        if self.pixels.shape != (n, views, 21, 2) or self.ideal_px_from_world.shape != (views, 3, 4):
            raise ValueError(
                f"Observations: expected ({n}, {views}, 21, 2) and ({views}, 3, 4), "
                f"got {tuple(self.pixels.shape)} and {tuple(self.ideal_px_from_world.shape)}"
            )

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True)
class Reprojection:
    """Per-keypoint quadratic model of the reprojection cost: summed over views, so it does not grow with them."""

    cost: Float[Tensor, " n"]
    gradient: Float[Tensor, "n 21 3"]
    information: Float[Tensor, "n 21 3 3"]


def _squared_error(observations: Observations, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    projection = observations.ideal_px_from_world
    homogeneous = torch.einsum("vij,nkj->nvki", projection[:, :, :3], points) + projection[:, None, :, 3]
    depth = homogeneous[..., 2:].clamp(min=1e-4)
    pixels = homogeneous[..., :2] / depth
    error = pixels - observations.pixels
    squared = observations.weight * (error * error).sum(-1)
    return pixels, error, depth, squared


def _robust_cost(squared: Tensor) -> Tensor:
    scale = ROBUST_SIGMAS**2
    return (scale * squared / (scale + squared)).sum((1, 2))


def reprojection_cost(observations: Observations, points: Float[Tensor, "n 21 3"]) -> Float[Tensor, " n"]:
    """Robust squared error in variances."""
    return _robust_cost(_squared_error(observations, points)[3])


def reprojection(observations: Observations, points: Float[Tensor, "n 21 3"]) -> Reprojection:
    """Cost, gradient and Gauss-Newton information by the keypoints' world positions."""
    pixels, error, depth, squared = _squared_error(observations, points)
    scale = ROBUST_SIGMAS**2
    weight = observations.weight * (scale / (scale + squared)) ** 2  # the loss' derivative by `squared`
    rows = observations.ideal_px_from_world[None, :, None, :, :3]
    slopes = (rows[..., :2, :] - pixels[..., None] * rows[..., 2:, :]) / depth[..., None]
    weighted = slopes * weight[..., None, None]
    return Reprojection(
        _robust_cost(squared),
        torch.einsum("nvkia,nvki->nka", weighted, error),
        torch.einsum("nvkia,nvkib->nkab", weighted, slopes),
    )


@dataclass(frozen=True)
class PosePrior:
    """Joint limits and a weak pull to the middle of each joint's range, in its anatomical axes."""

    axes: Float[Tensor, "15 3 3"]
    limits: Float[Tensor, "15 3 2"]

    @classmethod
    def of(cls, model: HandModel) -> PosePrior:
        """The prior of a model's own axes and limits."""
        return cls(
            torch.as_tensor(model.arrays.joint_axes).to(model.template),
            torch.as_tensor(model.arrays.joint_limits_rad).to(model.template),
        )

    def _residuals(self, rotations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Axis-angle vectors, residuals (n 15 3 2: prior, limit) and their slopes by the anatomical angles."""
        vectors = axis_angle_from_rotation(rotations[:, 1:])
        angles = (self.axes @ vectors[..., None])[..., 0]
        low, high = self.limits.unbind(-1)
        sigma = ((high - low) / 2).clamp(min=MIN_PRIOR_SIGMA_RAD)
        prior = (angles - (low + high) / 2) / sigma
        beyond = ((angles - high).clamp(min=0) + (angles - low).clamp(max=0)) / LIMIT_SIGMA_RAD
        slope = torch.stack([(1 / sigma).expand_as(angles), (beyond != 0) / LIMIT_SIGMA_RAD], -1)
        return vectors, torch.stack([prior, beyond], -1), slope

    def cost(self, rotations: Float[Tensor, "n 16 3 3"]) -> Float[Tensor, " n"]:
        """Squared residuals, summed."""
        return self._residuals(rotations)[1].square().sum((1, 2, 3))

    def normal_equations(
        self, rotations: Float[Tensor, "n 16 3 3"]
    ) -> tuple[Float[Tensor, "n 15 3 3"], Float[Tensor, "n 15 3"]]:
        """Information and gradient per joint, by left steps of its rotation."""
        vectors, residuals, slope = self._residuals(rotations)
        jacobian = self.axes @ _left_jacobian_inverse(vectors)  # anatomical angles by steps
        weight = slope.square().sum(-1)
        information = torch.einsum("njka,njk,njkb->njab", jacobian, weight, jacobian)
        gradient = torch.einsum("njka,njk->nja", jacobian, (slope * residuals).sum(-1))
        return information, gradient


def _left_jacobian_inverse(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """D log(exp(w) exp(vector)) / dw at w = 0. Source: Sola et al., "A micro Lie theory", 2018, eq. 146."""
    angle = vector.norm(dim=-1)[..., None, None].clamp(min=1e-2, max=torch.pi - 1e-2)
    cross = skew(vector)
    factor = 1 / angle**2 - (1 + torch.cos(angle)) / (2 * angle * torch.sin(angle))
    identity = torch.eye(3, dtype=vector.dtype, device=vector.device)
    return identity - cross / 2 + factor * (cross @ cross)
