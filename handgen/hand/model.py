"""Kinematics and skinning of a MANO-format hand in torch, batched.

Source of the model: Romero, Tzionas, Black, "Embodied Hands", SIGGRAPH Asia 2017. Poses are axis-angle and full: the
mean pose is already added. `translation` is smplx's `transl`: it is added after posing about the rest wrist, so that
`smplx.MANO(betas, global_orient=pose[:3], hand_pose=pose[3:], transl=translation, flat_hand_mean=True)` gives the
same vertices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from handgen.hand.assets import HandArrays, load_hand
from handgen.hand.layout import (
    FINGERS,
    JOINT_COUNT,
    JOINT_PARENTS,
    KEYPOINTS_FROM_JOINTS_AND_TIPS,
    TIP_VERTICES,
)
from handgen.so3 import rotation_from_axis_angle


@dataclass(frozen=True)
class HandPose:
    """`n` poses of one hand.

    rotations: axis-angle per joint in its parent's frame (joint 0 in the world's), radians, mean pose included.
    translation: smplx's `transl`, metres. betas: shape coefficients.
    """

    rotations: Float[Tensor, "n 16 3"]
    translation: Float[Tensor, "n 3"]
    betas: Float[Tensor, "n 10"]

    def __post_init__(self) -> None:
        n = len(self.rotations)
        for name, shape in (("rotations", (n, JOINT_COUNT, 3)), ("translation", (n, 3)), ("betas", (n, 10))):
            if tuple(getattr(self, name).shape) != shape:
                raise ValueError(f"{name}: expected {shape}, got {tuple(getattr(self, name).shape)}")

    def __len__(self) -> int:
        return len(self.rotations)


@dataclass(frozen=True)
class PosedHand:
    """The model's output, in the frame of the pose's translation, metres."""

    vertices: Float[Tensor, "n 778 3"]
    joints: Float[Tensor, "n 16 3"]
    keypoints: Float[Tensor, "n 21 3"]
    rotations: Float[Tensor, "n 16 3 3"]  # world_from_joint


class HandModel:
    """One side of a hand model: `model(pose)` gives vertices, joints and keypoints."""

    def __init__(self, arrays: HandArrays, dtype: torch.dtype = torch.float64, device: str = "cpu") -> None:
        def tensor(array: np.ndarray) -> Tensor:
            return torch.as_tensor(array, dtype=dtype, device=device)

        self.arrays = arrays
        self.side = arrays.side
        self.faces: Int[np.ndarray, "faces 3"] = arrays.faces
        self.template = tensor(arrays.template)
        self.shapedirs = tensor(arrays.shapedirs)
        self.posedirs = tensor(arrays.posedirs)
        self.weights = tensor(arrays.weights)
        self.rest_joints = tensor(arrays.joint_regressor @ arrays.template)
        self.joint_shapedirs = tensor(np.einsum("jv,vcb->jcb", arrays.joint_regressor, arrays.shapedirs))
        self._tips = torch.tensor([TIP_VERTICES[finger] for finger in FINGERS], device=device)
        self._keypoint_index = torch.tensor(KEYPOINTS_FROM_JOINTS_AND_TIPS, device=device)

    @classmethod
    def load(cls, model: str, side: str, dtype: torch.dtype = torch.float64, device: str = "cpu") -> HandModel:
        """The named model for one side; see `handgen.hand.assets.load_hand`."""
        return cls(load_hand(model, side), dtype, device)

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the model's tensors."""
        return self.template.dtype

    def rest_keypoints(self, betas: Float[Tensor, "*batch 10"]) -> Float[Tensor, "*batch 21 3"]:
        """Keypoints of the flat hand, metres."""
        joints = self.rest_joints + torch.einsum("jcb,...b->...jc", self.joint_shapedirs, betas)
        tips = self.template[self._tips] + torch.einsum("tcb,...b->...tc", self.shapedirs[self._tips], betas)
        return torch.cat([joints, tips], -2)[..., self._keypoint_index, :]

    def __call__(self, pose: HandPose) -> PosedHand:
        """Pose the hand by linear blend skinning with pose correctives."""
        n = len(pose)
        local = rotation_from_axis_angle(pose.rotations)
        identity = torch.eye(3, dtype=self.dtype, device=self.template.device)
        correction = (local[:, 1:] - identity).reshape(n, -1)
        shaped = self.template + torch.einsum("vcb,nb->nvc", self.shapedirs, pose.betas)
        rest = self.rest_joints + torch.einsum("jcb,nb->njc", self.joint_shapedirs, pose.betas)
        rotations, joints = forward_kinematics(local, rest)
        offset = joints - (rotations @ rest[..., None])[..., 0]
        corrected = shaped + torch.einsum("vcp,np->nvc", self.posedirs, correction)
        blended = torch.einsum("vj,njab->nvab", self.weights, rotations)
        vertices = (blended @ corrected[..., None])[..., 0] + torch.einsum("vj,nja->nva", self.weights, offset)
        translation = pose.translation[:, None]
        vertices, joints = vertices + translation, joints + translation
        keypoints = torch.cat([joints, vertices[:, self._tips]], 1)[:, self._keypoint_index]
        return PosedHand(vertices, joints, keypoints, rotations)


def forward_kinematics(
    local: Float[Tensor, "n 16 3 3"], rest: Float[Tensor, "n 16 3"]
) -> tuple[Float[Tensor, "n 16 3 3"], Float[Tensor, "n 16 3"]]:
    """World rotations and positions of the joints of a hand whose wrist rests at `rest[:, 0]`."""
    rotations, joints = [local[:, 0]], [rest[:, 0]]
    for joint in range(1, JOINT_COUNT):
        parent = JOINT_PARENTS[joint]
        offset = (rest[:, joint] - rest[:, parent])[..., None]
        joints.append(joints[parent] + (rotations[parent] @ offset)[..., 0])
        rotations.append(rotations[parent] @ local[:, joint])
    return torch.stack(rotations, 1), torch.stack(joints, 1)


def single_pose(pose: np.ndarray, translation: np.ndarray, betas: np.ndarray) -> HandPose:
    """One `HandPose` from flat numpy arrays of 48, 3 and 10 numbers (a record's or a sample's)."""
    return HandPose(
        torch.as_tensor(np.asarray(pose, dtype=np.float64)).reshape(1, JOINT_COUNT, 3),
        torch.as_tensor(np.asarray(translation, dtype=np.float64)).reshape(1, 3),
        torch.as_tensor(np.asarray(betas, dtype=np.float64)).reshape(1, 10),
    )
