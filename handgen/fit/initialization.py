"""Closed-form start of a fit: betas from bone lengths, the palm by Procrustes, minimal rotations along the fingers."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from handgen.fit.kinematics import HandState, KeypointKinematics
from handgen.geometry.rotations import procrustes_rotation, rotation_between
from handgen.hand.skeleton import FINGER_JOINTS, FINGER_KEYPOINTS, JOINT_COUNT, KEYPOINT_PARENTS, MCP_KEYPOINTS, WRIST

# Distances that no pose changes: the bones, and those between the knuckles.
_RIGID_PAIRS = (
    *((parent, child) for child, parent in enumerate(KEYPOINT_PARENTS) if parent >= 0),
    *((a, b) for i, a in enumerate(MCP_KEYPOINTS) for b in MCP_KEYPOINTS[i + 1 :]),
)
_PALM = (WRIST, 1, *MCP_KEYPOINTS)
_PALM_WEIGHTS = (1.0, 0.3, 1.0, 1.0, 1.0, 1.0)  # the thumb's base moves with the thumb
_LENGTH_SIGMA_M = 0.004  # of a triangulated bone length, against betas of unit variance


def rigid_lengths(points: Float[Tensor, "*batch 21 3"]) -> Float[Tensor, "*batch pairs"]:
    """Bone lengths and distances between the knuckles."""
    first, second = zip(*_RIGID_PAIRS, strict=True)
    return (points[..., list(first), :] - points[..., list(second), :]).norm(dim=-1)


def betas_from_lengths(kinematics: KeypointKinematics, lengths: Float[Tensor, " pairs"]) -> Float[Tensor, " 10"]:
    """The likeliest betas behind measured `rigid_lengths` (linearised at the mean hand, Gaussian prior)."""
    zero = torch.zeros(10, dtype=lengths.dtype, device=lengths.device)
    rest = kinematics.rest(zero)
    first, second = (list(index) for index in zip(*_RIGID_PAIRS, strict=True))
    direction = torch.nn.functional.normalize(rest[first] - rest[second], dim=-1)
    moves = kinematics.rest_shapedirs
    slope = torch.einsum("pc,pcb->pb", direction, moves[first] - moves[second])
    identity = torch.eye(10, dtype=lengths.dtype, device=lengths.device)
    excess = torch.nan_to_num(lengths - rigid_lengths(rest))  # what was never seen says nothing
    normal = slope.T @ slope / _LENGTH_SIGMA_M**2 + identity
    return torch.linalg.solve(normal, slope.T @ excess / _LENGTH_SIGMA_M**2)


def start(
    kinematics: KeypointKinematics,
    points_world: Float[Tensor, "n 21 3"],
    betas: Float[Tensor, " 10"],
    valid: Bool[Tensor, "n 21"] | None = None,
) -> HandState:
    """A pose near the one behind triangulated keypoints. Bones follow their directions; twists are left at zero.

    valid: which keypoints there are (default: all); at least three of wrist and knuckles. Joints without keypoints
    stay straight.
    """
    n = len(points_world)
    rest = kinematics.rest(betas)
    if valid is None:
        valid = torch.ones(n, len(rest), dtype=torch.bool, device=rest.device)
    palm_weights = torch.tensor(_PALM_WEIGHTS, dtype=rest.dtype, device=rest.device)
    weights = (palm_weights * valid[:, list(_PALM)])[..., None]  # (n, 6, 1)
    palm, target = rest[list(_PALM)], points_world[:, list(_PALM)]
    palm_center = (weights * palm).sum(1, keepdim=True) / weights.sum(1, keepdim=True)
    target_center = (weights * target).sum(1, keepdim=True) / weights.sum(1, keepdim=True)
    wrist = procrustes_rotation(weights * (palm - palm_center), target - target_center)
    rotations = torch.eye(3, dtype=rest.dtype, device=rest.device).repeat(n, JOINT_COUNT, 1, 1)
    rotations[:, 0] = wrist
    rest_wrist = kinematics.model.rest_joints[0] + kinematics.model.joint_shapedirs[0] @ betas
    arm = (wrist @ (palm_center[:, 0] - rest_wrist)[..., None])[..., 0]
    translation = target_center[:, 0] - arm - rest_wrist
    for finger, keypoints in FINGER_KEYPOINTS.items():
        world_from_parent = wrist
        for joint, here, there in zip(FINGER_JOINTS[finger], keypoints, keypoints[1:], strict=False):
            bone = torch.nn.functional.normalize(rest[there] - rest[here], dim=-1).expand(n, 3)
            seen = points_world[:, there] - points_world[:, here]
            seen = (world_from_parent.transpose(1, 2) @ seen[..., None])[..., 0]
            turned = rotation_between(bone, torch.nn.functional.normalize(seen, dim=-1))
            is_seen = (valid[:, here] & valid[:, there])[:, None, None]
            rotations[:, joint] = torch.where(is_seen, turned, rotations[:, joint])
            world_from_parent = world_from_parent @ rotations[:, joint]
    return HandState(rotations, translation, betas.expand(n, 10))
