"""Starts of a fit: from triangulated keypoints, or from one view.

From keypoints in closed form: betas from bone lengths, the palm by Procrustes, minimal rotations along the fingers.

From the ideal pixels of one pinhole camera, with known betas: some template poses are placed in the closed form of
scaled orthography (POS: DeMenthon, Davis, "Model-based object pose in 25 lines of code", IJCV 15, 1995), each both ways
round: what is nearly flat looks the same tilted to the camera and away from it. All are fitted together, at first as if
the pixels were coarse, so that no template is too far; the cheapest wins.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from handgen.fit.kinematics import HandState, KeypointKinematics
from handgen.fit.residuals import Observations, PosePrior
from handgen.fit.solver import Problem, solve_poses
from handgen.geometry.rotations import procrustes_rotation, rotation_between, rotation_from_axis_angle
from handgen.hand.skeleton import (
    FINGER_JOINTS,
    FINGER_KEYPOINTS,
    FINGERS,
    JOINT_COUNT,
    KEYPOINT_PARENTS,
    MCP_KEYPOINTS,
    WRIST,
)

# Distances that no pose changes: the bones, and those between the knuckles.
_RIGID_PAIRS = (
    *((parent, child) for child, parent in enumerate(KEYPOINT_PARENTS) if parent >= 0),
    *((a, b) for i, a in enumerate(MCP_KEYPOINTS) for b in MCP_KEYPOINTS[i + 1 :]),
)
_PALM = (WRIST, 1, *MCP_KEYPOINTS)
_PALM_WEIGHTS = (1.0, 0.3, 1.0, 1.0, 1.0, 1.0)  # the thumb's base moves with the thumb
_LENGTH_SIGMA_M = 0.004  # of a triangulated bone length, against betas of unit variance
# Flexion of each finger's joints from the palm, thumb to pinky, degrees; whatever a model's limits allow of it. Four
# more templates found nothing that these do not.
_STRAIGHT, _HALF, _CURLED = (4, 5, 3), (45, 50, 30), (75, 88, 50)
_TEMPLATES_DEG = (
    ((5, 5, 5), _STRAIGHT, _STRAIGHT, _STRAIGHT, _STRAIGHT),
    ((10, 15, 20), _HALF, _HALF, _HALF, _HALF),
    ((13, 5, 50), _CURLED, _CURLED, _CURLED, _CURLED),
    ((17, 23, 28), _STRAIGHT, _CURLED, _CURLED, _CURLED),  # points
    ((12, 17, 21), (50, 48, 23), (24, 28, 14), (18, 22, 12), (14, 18, 10)),  # pinches
)
_FOCAL = 1000.0  # pixels of the common camera that all views are brought to
_PERSPECTIVE_ROUNDS = 3
_MIN_DEPTH_M, _MAX_DEPTH_M, _DEPTH_UNSEEN_M = 0.05, 20.0, 0.5
_RIDGE_M = 0.003  # added to each extent of a template: a flat one says nothing about what is across it
# Noise that the pixels are taken to have, as a share of the hand's size in the image; candidates kept; steps.
_STAGES = ((0.15, 3, 3), (0.03, 2, 4), (0.0, 1, 8))


def rigid_lengths(points: Float[Tensor, "*batch 21 3"]) -> Float[Tensor, "*batch pairs"]:
    """Bone lengths and distances between the knuckles."""
    first, second = zip(*_RIGID_PAIRS, strict=True)
    return (points[..., list(first), :] - points[..., list(second), :]).norm(dim=-1)


def betas_from_lengths(kinematics: KeypointKinematics, lengths: Float[Tensor, " pairs"]) -> Float[Tensor, " 10"]:
    """The likeliest betas behind measured `rigid_lengths` (linearised at the mean hand, Gaussian prior)."""
    rest = kinematics.rest(lengths.new_zeros(10))
    first, second = (list(index) for index in zip(*_RIGID_PAIRS, strict=True))
    direction = torch.nn.functional.normalize(rest[first] - rest[second], dim=-1)
    moves = kinematics.rest_shapedirs
    slope = torch.einsum("pc,pcb->pb", direction, moves[first] - moves[second])
    excess = torch.nan_to_num(lengths - rigid_lengths(rest))  # what was never seen says nothing
    normal = slope.T @ slope / _LENGTH_SIGMA_M**2 + torch.eye(10).to(lengths)
    return torch.linalg.solve(normal, slope.T @ excess / _LENGTH_SIGMA_M**2)


def start(
    kinematics: KeypointKinematics,
    points_world: Float[Tensor, "n 21 3"],
    betas: Float[Tensor, " 10"],
    valid: Bool[Tensor, "n 21"] | None = None,
) -> HandState:
    """A pose near the one behind triangulated keypoints. Bones follow their directions; twists are left at zero.

    valid: which keypoints there are (default: all); at least three of wrist and knuckles. Others stay straight.
    """
    n = len(points_world)
    rest = kinematics.rest(betas)
    if valid is None:
        valid = torch.ones(n, len(rest), dtype=torch.bool, device=rest.device)
    weights = (rest.new_tensor(_PALM_WEIGHTS) * valid[:, list(_PALM)])[..., None]  # (n, 6, 1)
    palm, target = rest[list(_PALM)], points_world[:, list(_PALM)]
    palm_center = (weights * palm).sum(1, keepdim=True) / weights.sum(1, keepdim=True)
    target_center = (weights * target).sum(1, keepdim=True) / weights.sum(1, keepdim=True)
    wrist = procrustes_rotation(weights * (palm - palm_center), target - target_center)
    rotations = torch.eye(3).to(rest).repeat(n, JOINT_COUNT, 1, 1)
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


def start_from_one_view(
    kinematics: KeypointKinematics, observations: Observations, betas: Float[Tensor, " 10"]
) -> HandState:
    """Poses (in the world, metres) that explain what the view with the largest total weight shows of each frame.

    observations: `n` frames; other views are not looked at. Without any weight, a flat hand is put before the first
    camera.
    """
    n = len(observations)
    view = observations.weight.sum(2).argmax(1)
    calibration, world_from_cam, center = _decomposed(observations.ideal_px_from_world)
    frame = torch.arange(n, device=view.device)
    weight = observations.weight[frame, view].clamp(min=0)
    pixels = torch.where(weight[..., None] > 0, observations.pixels[frame, view], 0.0)
    homogeneous = torch.cat([pixels, torch.ones_like(pixels[..., :1])], -1)
    rays = (torch.linalg.inv(calibration)[view][:, None] @ homogeneous[..., None])[..., :2, 0]
    # In the common camera the same error is another number of pixels.
    weight = weight * (calibration[view, 0, 0] * calibration[view, 1, 1])[:, None] / _FOCAL**2
    in_cam = _fitted(kinematics, rays, weight, betas.to(rays))
    rest_wrist = kinematics.model.rest_joints[0] + kinematics.model.joint_shapedirs[0] @ betas.to(rays)
    turn = world_from_cam[view]
    rotations = torch.cat([(turn @ in_cam.rotations[:, 0])[:, None], in_cam.rotations[:, 1:]], 1)
    wrist = (turn @ (in_cam.translation + rest_wrist)[..., None])[..., 0] + center[view]
    return HandState(rotations, wrist - rest_wrist, in_cam.betas)


def _decomposed(
    projections: Float[Tensor, "views 3 4"],
) -> tuple[Float[Tensor, "views 3 3"], Float[Tensor, "views 3 3"], Float[Tensor, "views 3"]]:
    """Calibration matrices, world_from_cam rotations and camera centres.

    Source: Hartley, Zisserman, "Multiple View Geometry", 2004, section 6.2.4; RQ through the QR of the flipped matrix.
    """
    square = projections[:, :, :3]
    q, r = torch.linalg.qr(square.flip(1).transpose(1, 2))
    upper, cam_from_world = r.transpose(1, 2).flip(1, 2), q.transpose(1, 2).flip(1)
    sign = torch.diagonal(upper, dim1=1, dim2=2).sign()
    upper, cam_from_world = upper * sign[:, None], cam_from_world * sign[:, :, None]
    center = -torch.linalg.solve(square, projections[:, :, 3:])[..., 0]
    return upper / upper[:, 2:, 2:], cam_from_world.transpose(1, 2), center


def _fitted(
    kinematics: KeypointKinematics, rays: Float[Tensor, "n 21 2"], weight: Float[Tensor, "n 21"], betas: Tensor
) -> HandState:
    """The best pose of each frame in the frame of its camera, which sees `rays` at depth 1."""
    n = len(rays)
    prior = PosePrior.of(kinematics.model)
    candidates = _placed_templates(kinematics, prior, rays, weight, betas)
    seen = (weight > 0).to(weight)
    middle = (seen[..., None] * rays).sum(1, keepdim=True) / seen.sum(1).clamp(min=1)[:, None, None]
    size_px = _FOCAL * (seen * (rays - middle).square().sum(-1)).sum(1).div(seen.sum(1).clamp(min=1)).sqrt()
    projection = torch.diag(torch.tensor([_FOCAL, _FOCAL, 1.0])) @ torch.eye(3, 4)
    count = 2 * len(_TEMPLATES_DEG)
    for share, kept, steps in _STAGES:
        # Coarse pixels weigh less, and all of them count in the robust cost.
        coarse = weight / (1 + weight * (share * size_px).square()[:, None])
        repeated = (_FOCAL * rays[:, None], coarse[:, None])
        observed = Observations(projection[None].to(rays), *(a.repeat_interleave(count, 0) for a in repeated))
        candidates, cost = solve_poses(Problem(kinematics, observed, prior), candidates, steps)
        cost = torch.nan_to_num(cost, nan=torch.inf).reshape(n, count)
        best = cost.topk(min(kept, count), 1, largest=False).indices
        flat = (best + count * torch.arange(n, device=best.device)[:, None]).flatten()
        candidates = candidates[flat]
        count = best.shape[1]
    return candidates


def _placed_templates(
    kinematics: KeypointKinematics, prior: PosePrior, rays: Tensor, weight: Tensor, betas: Tensor
) -> HandState:
    """Every template in every frame, both ways round: `n` times twice the templates."""
    n, count = len(rays), len(_TEMPLATES_DEG)
    local = _templates(prior)
    points = kinematics.keypoints(HandState(local, torch.zeros(count, 3).to(local), betas.expand(count, 10)))
    # At most the median weight of what was seen: a few sure keypoints must not place the hand alone.
    seen = torch.where(weight > 0, weight, torch.nan)
    share = weight.clamp(max=torch.nan_to_num(seen.nanmedian(1, keepdim=True).values))
    share = share / share.sum(1, keepdim=True).clamp(min=1e-12)
    placed = [_scaled_orthography(points, rays, share, mirrored) for mirrored in (False, True)]
    turn, shift = (torch.stack(parts, 2).flatten(0, 2) for parts in zip(*placed, strict=True))
    rotations = local[None, :, None].expand(n, count, 2, JOINT_COUNT, 3, 3).flatten(0, 2).clone()
    rotations[:, 0] = turn  # the templates' own wrists are not turned
    rest_wrist = kinematics.model.rest_joints[0] + kinematics.model.joint_shapedirs[0] @ betas
    wrist = (turn @ rest_wrist) + shift
    return HandState(rotations, wrist - rest_wrist, betas.expand(len(turn), 10))


def _templates(prior: PosePrior) -> Float[Tensor, "templates 16 3 3"]:
    """Local rotations, the wrist's none. Abduction and twist are in the middle of their ranges."""
    low, high = prior.limits.unbind(-1)
    angles = ((low + high) / 2).repeat(len(_TEMPLATES_DEG), 1, 1)
    flexion = torch.deg2rad(torch.tensor(_TEMPLATES_DEG, dtype=low.dtype, device=low.device))
    for i, finger in enumerate(FINGERS):
        angles[:, [joint - 1 for joint in FINGER_JOINTS[finger]], 0] = flexion[:, i]
    angles = angles.clamp(low, high)
    rotations = rotation_from_axis_angle((prior.axes.transpose(1, 2) @ angles[..., None])[..., 0])
    return torch.cat([torch.eye(3).to(low).expand(len(rotations), 1, 3, 3), rotations], 1)


def _scaled_orthography(
    points: Float[Tensor, "templates 21 3"], rays: Float[Tensor, "n 21 2"], share: Float[Tensor, "n 21"], mirrored: bool
) -> tuple[Float[Tensor, "n templates 3 3"], Float[Tensor, "n templates 3"]]:
    """Rotations and shifts that bring each template to where the rays see it; mirrored: through its own plane.

    share: of each keypoint in its frame, which sum to 1, or are all 0 in a frame where nothing is seen.
    """
    middle = torch.einsum("nk,tkc->ntc", share, points)
    arms = points - middle[:, :, None]  # (n, templates, 21, 3)
    weighted = share[:, None, :, None] * arms
    spread = weighted.transpose(2, 3) @ arms
    normal = torch.linalg.eigh(spread).eigenvectors[..., :1]
    spread = spread + _RIDGE_M**2 * torch.eye(3).to(spread)
    depth_ratio = torch.ones_like(arms[..., :1])
    for _ in range(_PERSPECTIVE_ROUNDS):
        image = rays[:, None] * depth_ratio
        center = (share[:, None, :, None] * image).sum(2, keepdim=True)
        affine = torch.linalg.solve(spread, weighted.transpose(2, 3) @ (image - center)).transpose(2, 3)
        if mirrored:
            affine = affine - 2 * (affine @ normal) @ normal.transpose(2, 3)
        u, sizes, vt = torch.linalg.svd(affine, full_matrices=False)
        two = u @ vt
        rotation = torch.cat([two, torch.linalg.cross(two[..., :1, :], two[..., 1:, :])], 2)
        depth = torch.where(sizes[..., 0] > 1e-9, 1 / sizes.mean(-1).clamp(min=1e-9), _DEPTH_UNSEEN_M)
        depth = depth.clamp(_MIN_DEPTH_M, _MAX_DEPTH_M)
        along = (arms @ rotation[..., 2, :, None]) / depth[..., None, None]
        depth_ratio = 1 + along.clamp(-0.5, 0.5)
    there = torch.cat([center[..., 0, :], torch.ones_like(depth)[..., None]], -1) * depth[..., None]
    return rotation, there - (rotation @ middle[..., None])[..., 0]
