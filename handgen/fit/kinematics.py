"""The 21 keypoints of a posed hand and their analytic Jacobian, without touching the other vertices.

Joint positions are linear in the betas once the joint regressor is folded in (`J = J0 + Jd beta`); only the five
fingertip vertices are skinned. A detector's keypoints are not the model's joints: each is offset from it by a
constant in the frame of the joint that carries it (`handgen.hand.skeleton.KEYPOINT_CARRIERS`).

Parameters per pose, in this order: 16 x 3 rotations, 3 translation, 10 betas. A rotation step `w` acts from the left,
in the frame of the joint's parent: `R <- exp(w) R`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from handgen.geometry.rotations import rotation_from_axis_angle, skew
from handgen.hand.model import HandModel, forward_kinematics
from handgen.hand.skeleton import (
    FINGERS,
    JOINT_COUNT,
    JOINT_LEVELS,
    JOINT_PARENTS,
    KEYPOINT_CARRIERS,
    KEYPOINTS_FROM_JOINTS_AND_TIPS,
    TIP_VERTICES,
)

ROTATIONS, TRANSLATION, BETAS = slice(0, 48), slice(48, 51), slice(51, 61)
POSE_PARAMETERS, PARAMETERS = 51, 61
# Gauss-Newton matrix, gradient of half the cost, and the cost, per frame; p = 51, or 61 with betas.
Equations = tuple[Float[Tensor, "n p p"], Float[Tensor, "n p"], Float[Tensor, " n"]]


@dataclass(frozen=True)
class HandState:
    """`n` poses during a solve. rotations: local, joint 0 in the world. translation: smplx's `transl`, metres."""

    rotations: Float[Tensor, "n 16 3 3"]
    translation: Float[Tensor, "n 3"]
    betas: Float[Tensor, "n 10"]

    def __len__(self) -> int:
        return len(self.rotations)

    def __getitem__(self, frames: slice | Tensor) -> HandState:
        return HandState(self.rotations[frames], self.translation[frames], self.betas[frames])

    def moved(self, step: Float[Tensor, "n parameters"]) -> HandState:
        """After a step of 51 (pose) or 61 (pose and betas) parameters."""
        turned = rotation_from_axis_angle(step[:, ROTATIONS].reshape(-1, JOINT_COUNT, 3)) @ self.rotations
        betas = self.betas + step[:, BETAS] if step.shape[1] == PARAMETERS else self.betas
        return HandState(turned, self.translation + step[:, TRANSLATION], betas)

    def where(self, keep: Tensor, other: HandState) -> HandState:
        """This state's poses where `keep` (n,), the other's elsewhere."""
        return HandState(
            torch.where(keep[:, None, None, None], self.rotations, other.rotations),
            torch.where(keep[:, None], self.translation, other.translation),
            torch.where(keep[:, None], self.betas, other.betas),
        )

    def with_betas(self, betas: Float[Tensor, " 10"]) -> HandState:
        """Give the poses to a hand of another shape."""
        return replace(self, betas=betas.expand(len(self), 10))


def joint_moves(like: Tensor) -> Float[Tensor, "16 16"]:
    """[a, b]: 1 if turning joint a moves joint b's frame."""
    moves = torch.eye(JOINT_COUNT).to(like)
    for joint, parent in enumerate(JOINT_PARENTS[1:], 1):  # parents come before their children
        moves[:, joint] += moves[:, parent]
    return moves


class KeypointKinematics:
    """Keypoints (model joint plus detector offset) of one side of a hand model."""

    def __init__(self, model: HandModel, offsets_m: Float[Tensor, "21 3"] | None = None) -> None:
        self.model = model
        device = model.template.device
        tips = torch.tensor([TIP_VERTICES[finger] for finger in FINGERS], device=device)
        self._rest, self._shape = model.rest_joints, model.joint_shapedirs
        self._tip_rest, self._tip_shape = model.template[tips], model.shapedirs[tips]
        self._tip_pose = model.posedirs[tips].reshape(5, 3, JOINT_COUNT - 1, 9)
        self._tip_weights = model.weights[tips]
        self._moves = moves = joint_moves(model.template)
        self._tip_moves = torch.einsum("tb,ab->tab", self._tip_weights, moves)
        self._parents = torch.tensor((0, *JOINT_PARENTS[1:]), device=device)
        self._order = torch.tensor(KEYPOINTS_FROM_JOINTS_AND_TIPS, device=device)
        self._carriers = torch.tensor(KEYPOINT_CARRIERS, device=device)
        self._identity = torch.eye(3).to(model.template)
        self.offsets = (torch.zeros(21, 3) if offsets_m is None else offsets_m).to(model.template)
        by_point = torch.empty_like(self.offsets)  # in the order joints, tips
        by_point[self._order] = self.offsets
        self._joint_offsets, self._tip_offsets = by_point[:JOINT_COUNT], by_point[JOINT_COUNT:]
        self._tip_carriers = self._carriers[torch.argsort(self._order)][JOINT_COUNT:]
        self._tip_carried = moves[:, self._tip_carriers].T  # (5, 16): does joint a carry this tip's offset
        self._tip_rows = torch.argsort(self._order)[JOINT_COUNT:]
        self._generators = skew(self._identity)  # (3, 3, 3): [e_c]x

    def rest(self, betas: Float[Tensor, "*batch 10"]) -> Float[Tensor, "*batch 21 3"]:
        """Observed keypoints of the flat hand."""
        return self.model.rest_keypoints(betas) + self.offsets

    @property
    def rest_shapedirs(self) -> Float[Tensor, "21 3 10"]:
        """Derivatives of the flat hand's keypoints by the betas."""
        return torch.cat([self._shape, self._tip_shape])[self._order]

    def keypoints(self, state: HandState) -> Float[Tensor, "n 21 3"]:
        """Observed keypoints in the world, metres."""
        rotations, joints, _, tips = self._forward(state)
        return self._ordered(rotations, joints, tips)

    def keypoints_and_jacobian(
        self, state: HandState, by_betas: bool = True
    ) -> tuple[Float[Tensor, "n 21 3"], Float[Tensor, "n 21 3 parameters"]]:
        """Keypoints and their derivatives by the 61 parameters, or by the 51 of the pose alone."""
        rotations, joints, skinned, tips = self._forward(state)
        points = self._ordered(rotations, joints, tips)
        blended = torch.einsum("tb,nbij->ntij", self._tip_weights, rotations)
        by_rotation = self._by_rotation(state, rotations, joints, skinned, blended)
        parts = [by_rotation, self._identity.expand(len(state), 21, 3, 3)]
        if by_betas:
            parts.append(self._by_shape(rotations, blended))
        return points, torch.cat(parts, -1)

    def _forward(self, state: HandState) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """World rotations and positions of the joints; tips as each joint carries them (n 5 16 3), and blended."""
        rest = self._rest + torch.einsum("jcb,nb->njc", self._shape, state.betas)
        rotations, joints = forward_kinematics(state.rotations, rest)
        joints = joints + state.translation[:, None]
        feature = (state.rotations[:, 1:] - self._identity).reshape(len(state), JOINT_COUNT - 1, 9)
        tip_rest = self._tip_rest + torch.einsum("tcb,nb->ntc", self._tip_shape, state.betas)
        tip_rest = tip_rest + torch.einsum("tcjx,njx->ntc", self._tip_pose, feature)
        local = tip_rest[:, :, None] - rest[:, None]
        skinned = (rotations[:, None] @ local[..., None])[..., 0] + joints[:, None]
        tips = torch.einsum("tb,ntbc->ntc", self._tip_weights, skinned)
        return rotations, joints, skinned, tips

    def _ordered(self, rotations: Tensor, joints: Tensor, tips: Tensor) -> Tensor:
        points = torch.cat([joints, tips], 1)[:, self._order]
        return points + (rotations[:, self._carriers] @ self.offsets[..., None])[..., 0]

    def _by_rotation(
        self, state: HandState, rotations: Tensor, joints: Tensor, skinned: Tensor, blended: Tensor
    ) -> Tensor:
        n = len(state)
        parents = torch.cat([self._identity.expand(n, 1, 3, 3), rotations[:, self._parents[1:]]], 1)
        # Turning joint a by w (in its parent's frame) moves a point x on it by (G_parent w) x (x - p_a).
        joint_points = joints + (rotations @ self._joint_offsets[..., None])[..., 0]
        arm_joints = self._moves.T[None, :, :, None] * (joint_points[:, :, None] - joints[:, None])
        tip_offsets = (rotations[:, self._tip_carriers] @ self._tip_offsets[..., None])[..., 0]
        arm_tips = (
            self._tip_moves @ skinned
            - self._tip_moves.sum(-1)[None, :, :, None] * joints[:, None]
            + self._tip_carried[None, :, :, None] * tip_offsets[:, :, None]
        )
        x, y, z = torch.cat([arm_joints, arm_tips], 1)[:, self._order].unsqueeze(-1).unbind(3)  # each (n, 21, 16, 1)
        gx, gy, gz = parents[:, None].unbind(3)  # each (n, 1, 16, 3): rows of the frames, crossed with the arms
        rows = torch.stack([gy * z - gz * y, gz * x - gx * z, gx * y - gy * x], 2)
        by_rotation = rows.reshape(n, 21, 3, 48)
        # Pose correctives of the tips: d(exp(w) R - I) = [w]x R.
        turned = (self._generators @ state.rotations[:, 1:, None]).reshape(n, 15, 3, 9)
        corrective = torch.einsum("tajx,njcx->ntajc", self._tip_pose, turned).reshape(n, 5, 3, 45)
        by_rotation[:, self._tip_rows, :, 3:] += blended @ corrective
        return by_rotation

    def _by_shape(self, rotations: Tensor, blended: Tensor) -> Tensor:
        n = len(rotations)
        relative = torch.cat([self._shape[:1], self._shape[1:] - self._shape[self._parents[1:]]])
        wrist = relative[:1].expand(n, 1, 3, 10)
        levels, above, parent = [], wrist.expand(n, 5, 3, 10), rotations[:, :1].expand(n, 5, 3, 3)
        for level in JOINT_LEVELS:
            above = above + parent @ relative[list(level)]
            levels.append(above)
            parent = rotations[:, list(level)]
        joints = torch.cat([wrist, torch.stack(levels, 2).reshape(n, 15, 3, 10)], 1)
        skinned = torch.einsum("tb,nbcx->ntcx", self._tip_weights, joints - rotations @ self._shape)
        return torch.cat([joints, blended @ self._tip_shape + skinned], 1)[:, self._order]
