"""Kinematics and skinning of a MANO-format hand in torch, batched.

Source of the model: Romero, Tzionas, Black, "Embodied Hands", SIGGRAPH Asia 2017. Poses are axis-angle and full: the
mean pose is already added. `translation` is smplx's `transl`: it is added after posing about the rest wrist, so that
`smplx.MANO(betas, global_orient=pose[:3], hand_pose=pose[3:], transl=translation, flat_hand_mean=True)` gives the
same vertices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from handgen.arguments import check_arguments
from handgen.geometry.rotations import rotation_from_axis_angle
from handgen.hand.model_files import HandArrays, load_hand
from handgen.hand.skeleton import FINGERS, JOINT_COUNT, JOINT_LEVELS, KEYPOINTS_FROM_JOINTS_AND_TIPS, TIP_VERTICES


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

        self.arrays, self.side = arrays, arrays.side
        self.faces: Int[np.ndarray, "faces 3"] = arrays.faces
        self.template = tensor(arrays.template)
        self.shapedirs = tensor(arrays.shapedirs)
        self.posedirs = tensor(arrays.posedirs)
        self.weights = tensor(arrays.weights)
        self.rest_joints = tensor(arrays.joint_regressor @ arrays.template)
        self.joint_shapedirs = tensor(np.einsum("jv,vcb->jcb", arrays.joint_regressor, arrays.shapedirs))
        self._tips = torch.tensor([TIP_VERTICES[finger] for finger in FINGERS], device=device)
        self._keypoint_index = torch.tensor(KEYPOINTS_FROM_JOINTS_AND_TIPS, device=device)

        # One matrix for shape and pose correctives: features (10 betas, 135 rotation entries) by coordinates.
        directions = torch.cat([self.shapedirs, self.posedirs], 2).permute(2, 1, 0)  # (features, 3, vertices)
        self._directions = directions.reshape(directions.shape[0], -1).contiguous()
        self._flat_template = self.template.T.reshape(-1)
        self._weights_by_joint = self.weights.T.contiguous()
        self._joint_directions = self.joint_shapedirs.reshape(-1, 10).T.contiguous()
        self._flat_rest_joints = self.rest_joints.reshape(-1)
        self._identity = torch.eye(3, dtype=dtype, device=device)
        self._turning = torch.tensor([0, *JOINT_LEVELS[0], *JOINT_LEVELS[1]], device=device)

    def _rest_joints_of(self, betas: Float[Tensor, "n 10"]) -> Float[Tensor, "n 16 3"]:
        return torch.addmm(self._flat_rest_joints, betas, self._joint_directions).reshape(-1, JOINT_COUNT, 3)

    @classmethod
    @check_arguments
    def load(cls, model: str, side: str, dtype: torch.dtype = torch.float64, device: str = "cpu") -> HandModel:
        """Return the named model for one side; see `handgen.hand.model_files.load_hand`."""
        return cls(load_hand(model, side), dtype, device)

    @cached_property
    def wrist_border(self) -> Int[np.ndarray, " border"]:
        """The vertices around the opening where the mesh ends behind the wrist."""
        edges = np.sort(np.concatenate([self.faces[:, pair] for pair in ((0, 1), (1, 2), (2, 0))]), axis=1)
        unique, count = np.unique(edges, axis=0, return_counts=True)
        return np.unique(unique[count == 1])

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the model's tensors."""
        return self.template.dtype

    def rest_keypoints(self, betas: Float[Tensor, "*batch 10"]) -> Float[Tensor, "*batch 21 3"]:
        """Return keypoints of the flat hand, metres."""
        joints = self.rest_joints + torch.einsum("jcb,...b->...jc", self.joint_shapedirs, betas)
        tips = self.template[self._tips] + torch.einsum("tcb,...b->...tc", self.shapedirs[self._tips], betas)
        return torch.cat([joints, tips], -2)[..., self._keypoint_index, :]

    def joints(self, pose: HandPose) -> Float[Tensor, "n 16 3"]:
        """Return joint positions alone, without touching the mesh; the frame of the pose's translation, metres."""
        rest = self._rest_joints_of(pose.betas)
        # The fingers' last joints turn nothing but their tips.
        turning = rotation_from_axis_angle(pose.rotations[:, self._turning]).split([1, 5, 5], 1)
        fingers = torch.stack([position for _, position in _walk(turning[0], turning[1:], rest)], 2)
        return torch.cat([rest[:, :1], fingers.reshape(len(pose), -1, 3)], 1) + pose.translation[:, None]

    def __call__(self, pose: HandPose) -> PosedHand:
        """Pose the hand by linear blend skinning with pose correctives."""
        n = len(pose)
        local = rotation_from_axis_angle(pose.rotations)
        rest = self._rest_joints_of(pose.betas)
        rotations, joints = forward_kinematics(local, rest)
        offset = joints - (rotations @ rest[..., None])[..., 0]
        feature = torch.cat([pose.betas, (local[:, 1:] - self._identity).reshape(n, -1)], 1)
        corrected = torch.addmm(self._flat_template, feature, self._directions).reshape(n, 1, 3, -1)
        # Skinning, coordinates before vertices so that long rows are added: one product blends all joints' frames.
        bones = torch.cat([rotations.reshape(n, JOINT_COUNT, 9), offset], 2).transpose(1, 2)
        blended = bones @ self._weights_by_joint
        turned = (blended[:, :9].reshape(n, 3, 3, -1) * corrected).sum(2)
        vertices = (turned + blended[:, 9:]).transpose(1, 2)
        vertices, joints = vertices + pose.translation[:, None], joints + pose.translation[:, None]
        keypoints = torch.cat([joints, vertices[:, self._tips]], 1)[:, self._keypoint_index]
        return PosedHand(vertices, joints, keypoints, rotations)


def forward_kinematics(
    local: Float[Tensor, "n 16 3 3"], rest: Float[Tensor, "n 16 3"]
) -> tuple[Float[Tensor, "n 16 3 3"], Float[Tensor, "n 16 3"]]:
    """Return world rotations and positions of the joints of a hand whose wrist rests at `rest[:, 0]`."""
    n, levels = len(local), len(JOINT_LEVELS)
    walked = list(_walk(local[:, :1], [local[:, 1 + k :: levels] for k in range(levels)], rest))
    rotations = torch.stack([rotation for rotation, _ in walked], 2).reshape(n, -1, 3, 3)
    joints = torch.stack([position for _, position in walked], 2).reshape(n, -1, 3)
    return torch.cat([local[:, :1], rotations], 1), torch.cat([rest[:, :1], joints], 1)


def _walk(
    wrist: Float[Tensor, "n 1 3 3"], fingers: Sequence[Float[Tensor, "n 5 3 3"]], rest: Float[Tensor, "n 16 3"]
) -> Iterator[tuple[Float[Tensor, "n 5 3 3"], Float[Tensor, "n 5 3"]]]:
    """Yield world rotations and positions of the fingers' joints, level by level from the palm.

    fingers: local rotations of each level. Without those of the last joints, their rotations are their parents'.
    """
    world_from_parent, parent, parent_rest = wrist, rest[:, :1], rest[:, :1]
    for k in range(len(JOINT_LEVELS)):
        here = rest[:, 1 + k :: len(JOINT_LEVELS)]  # the k-th joint of every finger
        parent = parent + (world_from_parent @ (here - parent_rest)[..., None])[..., 0]
        if k < len(fingers):
            world_from_parent = world_from_parent @ fingers[k]
        parent_rest = here
        yield world_from_parent, parent


def single_pose(pose: np.ndarray, translation: np.ndarray, betas: np.ndarray) -> HandPose:
    """Make one `HandPose` from flat numpy arrays of 48, 3 and 10 numbers (a record's or a sample's)."""
    arrays = ((pose, (1, JOINT_COUNT, 3)), (translation, (1, 3)), (betas, (1, 10)))
    return HandPose(*(torch.as_tensor(np.asarray(array, np.float64)).reshape(shape) for array, shape in arrays))
