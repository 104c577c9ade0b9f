"""The terms of the fit, each with its Gauss-Newton normal equations and cost.

Weights are 1 / variance, so every residual is in standard deviations and terms can be added. Reprojection: pixels over
the detector's noise, robust. Joint limits and pose prior: radians, in the joint's anatomical axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from handgen.fit.kinematics import Equations, HandState, KeypointKinematics
from handgen.geometry.camera import Rig
from handgen.geometry.rotations import axis_angle_from_rotation, skew
from handgen.hand.model import HandModel

ROBUST_SIGMAS = 3.0  # residuals beyond this many standard deviations lose their say (Geman-McClure)
LIMIT_SIGMA_RAD = 0.05  # how soft a joint's limit is
MIN_PRIOR_SIGMA_RAD = 0.05


@dataclass(frozen=True)
class Observations:
    """Keypoints of `n` frames in `views` ideal cameras. weight: confidence / (noise px)^2, zero where not observed."""

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

    @classmethod
    def none(cls, rig: Rig, like: Tensor, n: int = 1) -> Observations:
        """Observations of `n` frames in which nothing was observed. like: a tensor of their type and device."""
        views = len(rig)
        projections = np.stack([camera.ideal_px_from_world for camera in rig])
        return cls(torch.as_tensor(projections).to(like), like.new_zeros(n, views, 21, 2), like.new_zeros(n, views, 21))

    def __len__(self) -> int:
        return len(self.pixels)

    @cached_property
    def _by_keypoint(self) -> tuple[Tensor, Tensor, Tensor]:
        """Both pixel coordinates and the weights, each (n * 21, views)."""
        arrays = self.pixels[..., 0], self.pixels[..., 1], self.weight
        u, v, weight = (array.transpose(1, 2).reshape(-1, array.shape[1]) for array in arrays)
        return u, v, weight

    @cached_property
    def _tables(self) -> tuple[Tensor, Tensor]:
        """Products of the cameras' rows a, b, c that the gradient (3 views, 3) and the information are sums of.

        information: (4 views, 9), as the module `handgen.geometry.triangulation` explains.
        """
        a, b, c = self.ideal_px_from_world[:, :, :3].unbind(1)

        def outer(x: Tensor, y: Tensor) -> Tensor:
            return (x[:, :, None] * y[:, None, :]).flatten(1)

        parts = outer(a, a) + outer(b, b), -outer(a, c) - outer(c, a), -outer(b, c) - outer(c, b), outer(c, c)
        return torch.cat([a, b, -c]), torch.cat(parts)

    def _errors(self, points: Float[Tensor, "n 21 3"]) -> tuple[Tensor, ...]:
        """Projections, errors, depths and squared errors in variances, each (n * 21, views)."""
        u, v, weight = self._by_keypoint
        projection = self.ideal_px_from_world
        rows = projection[:, :, :3].transpose(0, 1).reshape(-1, 3)
        homogeneous = torch.addmm(projection[:, :, 3].T.reshape(-1), points.reshape(-1, 3), rows.T)
        x, y, depth = homogeneous.unflatten(1, (3, -1)).unbind(1)
        depth = depth.clamp(min=1e-4)
        x, y = x / depth, y / depth
        error_x, error_y = x - u, y - v
        return x, y, error_x, error_y, depth, weight * (error_x * error_x + error_y * error_y)

    def cost(self, points: Float[Tensor, "n 21 3"]) -> Float[Tensor, " n"]:
        """Robust squared error in variances (Geman and McClure)."""
        return _robust_cost(self._errors(points)[5], len(points))

    def reprojection(self, points: Float[Tensor, "n 21 3"]) -> Reprojection:
        """Cost, gradient and Gauss-Newton information by the keypoints' world positions."""
        x, y, error_x, error_y, depth, squared = self._errors(points)
        n, scale = len(points), ROBUST_SIGMAS**2
        weight = self._by_keypoint[2] * (scale / (scale + squared)) ** 2  # the loss' derivative by `squared`
        slope = weight / depth
        by_gradient, by_information = self._tables
        pull = torch.cat([slope * error_x, slope * error_y, slope * (error_x * x + error_y * y)], 1)
        slope = slope / depth
        features = torch.cat([slope, slope * x, slope * y, slope * (x * x + y * y)], 1)
        return Reprojection(
            _robust_cost(squared, n),
            (pull @ by_gradient).reshape(n, -1, 3),
            (features @ by_information).reshape(n, -1, 3, 3),
        )


@dataclass(frozen=True)
class Reprojection:
    """Per-keypoint quadratic model of the reprojection cost: summed over views, so it does not grow with them."""

    cost: Float[Tensor, " n"]
    gradient: Float[Tensor, "n 21 3"]
    information: Float[Tensor, "n 21 3 3"]


def _robust_cost(squared: Float[Tensor, "points views"], n: int) -> Float[Tensor, " n"]:
    scale = ROBUST_SIGMAS**2
    return (scale * squared / (scale + squared)).reshape(n, -1).sum(1)


@dataclass(frozen=True)
class Expected:
    """Keypoints that should be about where something else says, such as the motion before. Metres."""

    kinematics: KeypointKinematics
    points: Float[Tensor, "n 21 3"]
    sigma_m: float

    def cost(self, state: HandState) -> Float[Tensor, " n"]:
        """Squared distances in variances."""
        return ((self.kinematics.keypoints(state) - self.points) / self.sigma_m).square().sum((1, 2))

    def normal_equations(self, state: HandState, by_betas: bool = False) -> Equations:
        """Gauss-Newton matrix, gradient of half the cost, and the cost, per frame."""
        points, jacobian = self.kinematics.keypoints_and_jacobian(state, by_betas)
        off = ((points - self.points) / self.sigma_m).flatten(1)
        slopes = (jacobian / self.sigma_m).flatten(1, 2)
        gradient = (slopes.transpose(1, 2) @ off[..., None])[..., 0]
        return slopes.transpose(1, 2) @ slopes, gradient, off.square().sum(1)


@dataclass(frozen=True)
class PosePrior:
    """Joint limits and a weak pull to the middle of each joint's range, in its anatomical axes."""

    axes: Float[Tensor, "15 3 3"]
    limits: Float[Tensor, "15 3 2"]

    @classmethod
    def of(cls, model: HandModel) -> PosePrior:
        """The prior of a model's own axes and limits."""
        both = model.arrays.joint_axes, model.arrays.joint_limits_rad
        return cls(*(torch.as_tensor(array).to(model.template) for array in both))

    def _residuals(self, rotations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Axis-angle vectors, residuals (n 15 3 2: prior, limit) and their slopes by the anatomical angles."""
        vectors = axis_angle_from_rotation(rotations[:, 1:])
        angles = (self.axes @ vectors[..., None])[..., 0]
        low, high = self.limits.unbind(-1)
        sigma = ((high - low) / 2).clamp(min=MIN_PRIOR_SIGMA_RAD)
        prior = (angles - (low + high) / 2) / sigma
        beyond = (angles - angles.clamp(min=low, max=high)) / LIMIT_SIGMA_RAD
        slope = torch.stack([(1 / sigma).expand_as(angles), (beyond != 0) / LIMIT_SIGMA_RAD], -1)
        return vectors, torch.stack([prior, beyond], -1), slope

    def costs(self, rotations: Float[Tensor, "n 16 3 3"]) -> Float[Tensor, "n 2"]:
        """Squared residuals of the pull to the middle and of the limits, summed over joints."""
        return self._residuals(rotations)[1].square().sum((1, 2))

    def cost(self, rotations: Float[Tensor, "n 16 3 3"]) -> Float[Tensor, " n"]:
        """Squared residuals, summed."""
        return self._residuals(rotations)[1].square().sum((1, 2, 3))

    def normal_equations(
        self, rotations: Float[Tensor, "n 16 3 3"]
    ) -> tuple[Float[Tensor, "n 15 3 3"], Float[Tensor, "n 15 3"], Float[Tensor, " n"]]:
        """Information and gradient per joint, by left steps of its rotation, and the cost."""
        vectors, residuals, slope = self._residuals(rotations)
        jacobian = self.axes @ _left_jacobian_inverse(vectors)  # anatomical angles by steps
        weighted = slope.square().sum(-1)[..., None] * jacobian
        information = jacobian.transpose(-1, -2) @ weighted
        gradient = ((slope * residuals).sum(-1)[..., None, :] @ jacobian)[..., 0, :]
        return information, gradient, residuals.square().sum((1, 2, 3))


def _left_jacobian_inverse(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """D log(exp(w) exp(vector)) / dw at w = 0. Source: Sola et al., "A micro Lie theory", 2018, eq. 146."""
    angle = vector.norm(dim=-1)[..., None, None].clamp(min=1e-2, max=torch.pi - 1e-2)
    cross = skew(vector)
    factor = 1 / angle**2 - (1 + torch.cos(angle)) / (2 * angle * torch.sin(angle))
    return torch.eye(3).to(vector) - cross / 2 + factor * (cross @ cross)
