"""The vertices of a posed hand, and how they move with its joints: what a term on the mesh needs for its Jacobian.

Parameters as in `handgen.fit.kinematics`. The derivatives leave out the pose correctives (how the skin changes its
shape with the bending, a tenth of a vertex's motion at most).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from handgen.fit.kinematics import HandState
from handgen.hand.model import HandModel, forward_kinematics
from handgen.hand.skeleton import JOINT_COUNT, JOINT_PARENTS


@dataclass(frozen=True)
class Arms:
    """Arms that turn a pull on a vertex into one on the joints; columns: the 16 joints' x, then their y, then their z.

    of_vertices: each vertex less the joint's place, as far as that joint carries it, in the frame of the joint's
    parent, metres. parent_axes: world vectors times this are vectors in those frames.
    """

    of_vertices: Float[Tensor, "n 778 48"]
    parent_axes: Float[Tensor, "n 3 48"]


class SurfaceKinematics:
    """Vertices of one side of a hand model, from states of a solve."""

    def __init__(self, model: HandModel) -> None:
        directions = torch.cat([model.shapedirs, model.posedirs], 2).permute(2, 1, 0)  # (145, 3, 778)
        self._directions = directions.reshape(len(directions), -1).contiguous()
        self._template = model.template.T.reshape(-1)
        self._weights = model.weights
        self._rest, self._shape = model.rest_joints, model.joint_shapedirs
        self._identity = torch.eye(3).to(model.template)
        self._finger_weights = model.weights[:, 1:].reshape(-1, 5, 3).transpose(0, 1)[..., None].contiguous()
        self._carried = torch.tril(torch.ones_like(self._identity))  # along a finger: a joint hangs on those before it

    def vertices(self, state: HandState) -> Float[Tensor, "n 778 3"]:
        """Vertices in the world, metres."""
        return self._posed(state)[0]

    def vertices_and_arms(self, state: HandState) -> tuple[Float[Tensor, "n 778 3"], Arms]:
        """Vertices in the world, metres, and their arms about the joints."""
        vertices, corrected, rotations, offsets, joints = self._posed(state)
        n = len(state)
        parents = torch.cat([self._identity.expand(n, 1, 3, 3), rotations[:, list(JOINT_PARENTS[1:])]], 1)
        # A joint of a finger carries only what hangs on that finger: weight times (where each joint takes a vertex).
        fingers = (n, 5, 3, 3)
        turned, placed = rotations[:, 1:].reshape(*fingers, 3), offsets[:, 1:].reshape(fingers)
        away = (placed[:, :, None] - joints[:, 1:].reshape(fingers)[:, :, :, None])[..., None]
        arm_from_rest = torch.cat([turned[:, :, None].expand(*fingers, 3, 3), away], -1)
        # (n, 5, joint, carrying joint, 3 world, 4)
        in_parent = parents[:, 1:].reshape(*fingers, 3).transpose(-1, -2)[:, :, :, None] @ arm_from_rest
        in_parent = in_parent * self._carried.T[:, :, None, None]
        flat = torch.cat([corrected, torch.ones_like(corrected[:, :1])], 1).transpose(1, 2)[:, None, :, None]
        features = (self._finger_weights * flat).reshape(n, 5, -1, 12)
        of_fingers = features @ in_parent.permute(0, 1, 3, 5, 4, 2).reshape(n, 5, 12, 9)
        arms = torch.empty(n, vertices.shape[1], 3, JOINT_COUNT).to(vertices)
        arms[..., 0] = vertices - joints[:, :1]
        arms[..., 1:].unflatten(-1, (5, 3)).copy_(of_fingers.unflatten(-1, (3, 3)).permute(0, 2, 3, 1, 4))
        return vertices, Arms(arms.flatten(2), parents.permute(0, 2, 3, 1).reshape(n, 3, 48))

    def by_betas(self, state: HandState) -> Float[Tensor, "n 778 30"]:
        """Derivatives of the vertices by each of the ten betas: x of all ten, then y, then z, metres.

        Differences are exact: with the pose held, vertices are linear in the betas.
        """
        here = self.vertices(state)
        steps = torch.eye(10).to(here)
        moved = [self.vertices(replace(state, betas=state.betas + step)) - here for step in steps]
        return torch.stack(moved, -1).flatten(2)

    def _posed(self, state: HandState) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Vertices; in the flat hand (n 3 778); and of each joint: rotation, offset and place in the world."""
        n = len(state)
        rest = self._rest + torch.einsum("jcb,nb->njc", self._shape, state.betas)
        rotations, joints = forward_kinematics(state.rotations, rest)
        joints = joints + state.translation[:, None]
        offsets = joints - (rotations @ rest[..., None])[..., 0]
        feature = torch.cat([state.betas, (state.rotations[:, 1:] - self._identity).reshape(n, -1)], 1)
        corrected = torch.addmm(self._template, feature, self._directions).reshape(n, 3, -1)
        bones = torch.cat([rotations.reshape(n, JOINT_COUNT, 9), offsets], 2).transpose(1, 2)
        blended = bones @ self._weights.T
        turned = (blended[:, :9].reshape(n, 3, 3, -1) * corrected[:, None]).sum(2)
        return (turned + blended[:, 9:]).transpose(1, 2), corrected, rotations, offsets, joints
