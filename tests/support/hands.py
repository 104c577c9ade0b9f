"""Hands to fit: models of random numbers, natural poses, what cameras see of them."""

import numpy as np
import torch

from handgen.fit.kinematics import HandState
from handgen.fit.residuals import Observations
from handgen.geometry.rotations import rotation_from_axis_angle
from handgen.geometry.triangulation import triangulate
from handgen.hand.model import HandPose
from handgen.hand.model_files import HandArrays
from handgen.hand.skeleton import FINGER_JOINTS, FINGERS, JOINT_PARENTS, TIP_VERTICES

_SHAPES_MOVE_M = np.random.default_rng(1).normal(0, 0.002, (3, 10))  # what each beta moves the whole hand by


def random_hand_arrays(seed: int = 0, side: str = "right") -> HandArrays:
    """A MANO-format model of random numbers: every term (pose correctives, blended tips) is far from zero.

    Its wrist rests off the origin and moves with the betas, as MANO's does.
    """
    rng = np.random.default_rng(seed)
    joints = np.zeros((16, 3))
    for i, finger in enumerate(FINGERS):
        direction = np.array([-1.0, rng.normal(0, 0.1), 0.5 - 0.25 * i])
        for k, joint in enumerate(FINGER_JOINTS[finger]):
            joints[joint] = (0.08 + 0.03 * k) * direction / np.linalg.norm(direction)
    owner = rng.integers(0, 16, 778)
    template = joints[owner] + rng.normal(0, 0.008, (778, 3))
    weights = rng.random((778, 16)) * 0.05 + np.eye(16)[owner]
    for finger in FINGERS:
        last = FINGER_JOINTS[finger][-1]
        tip = TIP_VERTICES[finger]
        template[tip] = joints[last] + 0.025 * joints[last] / np.linalg.norm(joints[last])
        weights[tip] = 0.9 * np.eye(16)[last] + 0.1 * np.eye(16)[JOINT_PARENTS[last]]
    regressor = np.zeros((16, 778))
    for joint in range(16):
        nearest = np.argsort(np.linalg.norm(template - joints[joint], axis=1))[:20]
        system = np.vstack([template[nearest].T, np.ones(20)])
        regressor[joint, nearest] = np.linalg.pinv(system) @ np.append(joints[joint], 1)
    return HandArrays(
        name="random",
        side=side,
        sha256="0" * 64,
        template=template + (0.02, -0.03, 0.05),
        faces=rng.integers(0, 778, (1534, 3)),
        shapedirs=np.einsum("vc,cdb->vdb", template, rng.normal(0, 0.03, (3, 3, 10))) + _SHAPES_MOVE_M,
        posedirs=rng.normal(0, 5e-4, (778, 3, 135)),
        joint_regressor=regressor,
        weights=weights / weights.sum(1, keepdims=True),
        mean_pose=rng.normal(0, 0.1, 45),
        pose_components=np.linalg.qr(rng.normal(size=(45, 45)))[0],
        joint_axes=np.linalg.qr(rng.normal(size=(15, 3, 3)))[0],
        joint_limits_rad=np.tile([-0.6, 1.2], (15, 3, 1)),
    )


def natural_poses(model, n, rng, betas=None):
    """Poses inside the joint limits, anywhere in a 10 cm cube, any orientation."""
    limits = torch.as_tensor(model.arrays.joint_limits_rad)
    share = torch.as_tensor(rng.uniform(0.1, 0.9, (n, 15, 3)))
    angles = limits[..., 0] + share * (limits[..., 1] - limits[..., 0])
    axes = torch.as_tensor(model.arrays.joint_axes)
    rotations = torch.zeros(n, 16, 3, dtype=torch.float64)
    rotations[:, 1:] = torch.einsum("jka,njk->nja", axes, angles)
    rotations[:, 0] = torch.as_tensor(rng.normal(0, 1.0, (n, 3)))
    betas = torch.as_tensor(rng.normal(0, 1, 10)) if betas is None else betas
    rest_wrist = model.rest_joints[0]
    translation = torch.as_tensor(rng.uniform(-0.05, 0.05, (n, 3))) - rest_wrist
    return HandPose(rotations, translation, betas.expand(n, 10))


def state_of(pose):
    return HandState(rotation_from_axis_angle(pose.rotations), pose.translation, pose.betas)


def observe(rig, keypoints, noise_px=0.0, rng=None):
    """Observations of (n, 21, 3) keypoints in every camera of an ideal rig."""
    pixels = np.stack([camera.project(keypoints.numpy())[0] for camera in rig], 1)
    if noise_px:
        pixels = pixels + rng.normal(0, noise_px, pixels.shape)
    projections = np.stack([camera.ideal_px_from_world for camera in rig])
    weight = torch.full(pixels.shape[:3], 1.0 / max(noise_px, 0.5) ** 2, dtype=torch.float64)
    return Observations(torch.as_tensor(projections), torch.as_tensor(pixels), weight)


def triangulated(observations, noise_px=0.5):
    n, views = observations.weight.shape[:2]
    pixels = observations.pixels.numpy().transpose(1, 0, 2, 3).reshape(views, -1, 2)
    result = triangulate(
        observations.ideal_px_from_world.numpy(), pixels, np.ones(pixels.shape[:2]), 4 * max(noise_px, 0.5)
    )
    return torch.as_tensor(result.points_world.reshape(n, 21, 3))


FPS = 30.0


def swing(model, n, rng, seconds=2.0):
    """A hand that goes from one pose to another and back, smoothly: one swing in `seconds`."""
    ends = natural_poses(model, 2, rng)
    share = torch.as_tensor(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / FPS / seconds))
    mix = ends.rotations[0] + 0.4 * share[:, None, None] * (ends.rotations[1] - ends.rotations[0])
    mix[:, 0] = ends.rotations[0, 0] + 0.3 * share[:, None]
    translation = ends.translation[0] + share[:, None] * (ends.translation[1] - ends.translation[0])
    return HandPose(mix, translation, ends.betas[:1].expand(n, 10))
