"""A hand as spheres inside its skin, whose centres are skinned like the skin around them.

The spheres are medial balls of the model's own mesh at rest: tangent to the skin from inside at one point and stopped
by the skin on the other side, so that none is larger than the flesh around it. Source: Ma, Bae, Choi, "3D medial axis
point approximation using nearest neighbors and the normal field", The Visual Computer 28, 2012. A greedy choice keeps
the few that leave next to no skin uncovered. Radii stay as they are in the flat hand; pose correctives
are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

from handgen.fit.kinematics import HandState
from handgen.hand.model import HandModel, forward_kinematics

_LARGEST_M, _SMALLEST_M = 0.016, 0.003  # radii; a palm is 3 cm thick, and smaller balls sit in creases
_SHRINKING_STEPS = 12
_UNCOVERED_M = 0.001  # skin this far outside the nearest sphere counts as covered
_MOST_SPHERES = 300  # 160 leave 3.8 mm instead of 3.1 mm between separated hands, 95th percentile
# Added to the radii: a hand that is as much under the spheres' skin as above it. Hands of simulated encounters, which
# touch, then overlap by 1 mm in the 95th percentile and are 0.3 mm apart in the median; without it, 0.7 mm.
_GROWN_M = 0.0002


@dataclass(frozen=True)
class Spheres:
    """`n` frames of one hand's spheres in the world, metres. weight: 0 in frames without the hand, else 1."""

    centers: Float[Tensor, "n spheres 3"]
    radii: Float[Tensor, " spheres"]
    weight: Float[Tensor, " n"]


@dataclass(frozen=True)
class SphereHand:
    """The spheres of one hand model with one shape.

    rest: their centres in the flat hand, metres. skinning: how much of each centre each joint carries.
    """

    model: HandModel
    rest: Float[Tensor, "spheres 3"]
    radii: Float[Tensor, " spheres"]
    skinning: Float[Tensor, "spheres 16"]

    @classmethod
    def of(cls, model: HandModel, betas: Float[Tensor, " 10"]) -> SphereHand:
        """Derived from the model's mesh with these betas."""
        skin = (model.template + model.shapedirs @ betas.to(model.template)).cpu().numpy()
        balls = _chosen_balls(skin, model.faces, model.weights.cpu().numpy())
        rest, radii, skinning = (torch.as_tensor(array).to(model.template) for array in balls)
        return cls(model, rest, radii + _GROWN_M, skinning)

    def frames(self, state: HandState) -> tuple[Tensor, Tensor, Tensor]:
        """World frames of the joints: rotations (n, 16, 3, 3), positions (n, 16, 3), offsets of a turned point."""
        rest = self.model.rest_joints + torch.einsum("jcb,nb->njc", self.model.joint_shapedirs, state.betas)
        rotations, joints = forward_kinematics(state.rotations, rest)
        joints = joints + state.translation[:, None]
        return rotations, joints, joints - (rotations @ rest[..., None])[..., 0]

    def at(self, state: HandState, present: Bool[Tensor, " n"] | None = None) -> Spheres:
        """The spheres of a posed hand; a frame where it is not `present`, or not finite, has weight 0."""
        n = len(state)
        rotations, _, offsets = self.frames(state)
        blended = (self.skinning @ rotations.reshape(n, -1, 9)).unflatten(-1, (3, 3))
        centers = (blended @ self.rest[..., None])[..., 0] + self.skinning @ offsets
        there = centers.isfinite().all(-1).all(-1)
        if present is not None:
            there = there & present
        centers = torch.where(there[:, None, None], centers, torch.zeros_like(centers))
        return Spheres(centers, self.radii, there.to(centers))


def _chosen_balls(
    skin: Float[np.ndarray, "vertices 3"], faces: Int[np.ndarray, "faces 3"], skinning: Float[np.ndarray, "vertices 16"]
) -> tuple[Float[np.ndarray, "spheres 3"], Float[np.ndarray, " spheres"], Float[np.ndarray, "spheres 16"]]:
    """Centres, radii and skinning weights of a few balls that fill the mesh."""
    corners = skin[faces]
    middles = corners.mean(1)
    samples = np.concatenate([middles, skin])
    weights = np.concatenate([skinning[faces].mean(1), skinning])
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-12)
    tree = cKDTree(samples)
    centers, radii = _medial_balls(middles, normals, samples, tree)
    kept = radii > _SMALLEST_M
    centers, radii = centers[kept], radii[kept]
    distance = np.linalg.norm(samples[None] - centers[:, None], axis=-1)
    near = distance < radii[:, None] + _UNCOVERED_M
    # A ball is carried as the skin is that it touches.
    carried = near.astype(float) @ weights / near.sum(1, keepdims=True)
    same = carried.argmax(1)[:, None] == weights.argmax(1)[None]
    chosen = _greedy_cover(near & same)
    return centers[chosen], radii[chosen], carried[chosen]


def _medial_balls(
    points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"], samples: np.ndarray, tree: cKDTree
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, " n"]]:
    """Balls inside the skin that touch it at `points`: each shrinks until no sample of the skin is in it."""
    radii = np.full(len(points), _LARGEST_M)
    for _ in range(_SHRINKING_STEPS):
        _, nearest = tree.query(points - normals * radii[:, None])
        offset = points - samples[nearest]
        facing = (normals * offset).sum(1)
        # The ball through both the point and the sample that was too near.
        through = (offset**2).sum(1) / (2 * facing).clip(1e-9)
        radii = np.where(facing > 1e-6, np.minimum(radii, through), radii)
    return points - normals * radii[:, None], radii


def _greedy_cover(covers: Bool[np.ndarray, "balls samples"]) -> Int[np.ndarray, " chosen"]:
    """Balls that cover most samples, the one that adds most first."""
    gains, left = covers.sum(1), np.ones(covers.shape[1], bool)
    chosen: list[int] = []
    while len(chosen) < _MOST_SPHERES and gains.any():
        best = int(gains.argmax())
        chosen.append(best)
        gains = gains - covers[:, covers[best] & left].sum(1)
        left &= ~covers[best]
    return np.array(chosen, dtype=np.int64)
