"""Poses from one view alone: exact pixels give nearly the pose, noisy ones a start, and nothing gives NaN."""

import numpy as np
import pytest
import torch
from support.cameras import ring
from support.hands import natural_poses, observe, state_of

from handgen.fit.initialization import start_from_one_view
from handgen.fit.kinematics import KeypointKinematics
from handgen.fit.residuals import Observations
from handgen.hand.model import HandModel, HandPose
from handgen.stages.simulate.named_poses import POSES, pose_angles_deg
from handgen.stages.simulate.poses import hand_pose, vary_angles


def named_poses(model, n, rng):
    """Variants of the simulator's poses, turned and placed anywhere in a 10 cm cube."""
    names = list(POSES)
    angles = np.radians([vary_angles(pose_angles_deg(POSES[names[i % len(names)]]), rng) for i in range(n)])
    anywhere = natural_poses(model, n, rng)
    rotations = anywhere.rotations.clone()
    limits = model.arrays.joint_limits_rad
    rotations[:, 1:] = torch.as_tensor(hand_pose(model, angles.clip(limits[..., 0], limits[..., 1])))
    return HandPose(rotations, anywhere.translation, anywhere.betas)


def one_view_of_each(observations, rng):
    """One camera per frame has the say; the others see nonsense with a little weight."""
    n, views = observations.weight.shape[:2]
    chosen = torch.arange(n) % views
    pixels = torch.as_tensor(rng.uniform(0, 640, observations.pixels.shape))
    weight = observations.weight * 1e-3
    pixels[torch.arange(n), chosen] = observations.pixels[torch.arange(n), chosen]
    weight[torch.arange(n), chosen] *= 1e3
    return Observations(observations.ideal_px_from_world, pixels, weight), chosen


def root_relative_mm(found, truth):
    return ((found - found[:, :1]) - (truth - truth[:, :1])).norm(dim=-1).mean(1) * 1e3


@pytest.mark.parametrize("poses", [named_poses, natural_poses])
@pytest.mark.parametrize("side", ["right", "left"])
def test_exact_pixels_of_one_view_give_the_pose(side, poses, rng):
    model = HandModel.load("open", side)
    pose = poses(model, 36, rng)
    kinematics, rig = KeypointKinematics(model), ring(4)
    truth = kinematics.keypoints(state_of(pose))
    observations, chosen = one_view_of_each(observe(rig, truth), rng)
    found = kinematics.keypoints(start_from_one_view(kinematics, observations, pose.betas[0]))
    error_mm = root_relative_mm(found, truth)
    # What is left is the prior's pull, and a few fingers that are bent to the other side of the image.
    assert error_mm.median() < 2.0 and (error_mm < 10.0).double().mean() > 0.9
    assert (found - truth).norm(dim=-1).mean(1).median() * 1e3 < 3.0  # in the world: the distance from the camera, too
    seen = np.stack([camera.project(found.numpy())[0] for camera in rig], 1)
    off_px = np.linalg.norm(seen - observations.pixels.numpy(), axis=-1).mean(2)[np.arange(36), chosen.numpy()]
    assert np.median(off_px) < 0.1 and (off_px < 1.0).mean() > 0.9


def test_noisy_pixels_give_a_start(hand, rig, rng):
    pose = named_poses(hand, 36, rng)
    kinematics = KeypointKinematics(hand)
    truth = kinematics.keypoints(state_of(pose))
    observations, _ = one_view_of_each(observe(rig, truth, noise_px=1.0, rng=rng), rng)
    found = kinematics.keypoints(start_from_one_view(kinematics, observations, pose.betas[0]))
    error_mm = root_relative_mm(found, truth)
    # 1 px is 0.9 mm across the view; a bone's tilt of acos(1 - 0.9 / 30) is 14 degrees or 7 mm along it.
    assert error_mm.median() < 6.0 and (error_mm < 15.0).double().mean() > 0.9


def test_cameras_of_other_focal_lengths_and_scaled_matrices(hand, rig, rng):
    pose = named_poses(hand, 8, rng)
    kinematics = KeypointKinematics(hand)
    truth = kinematics.keypoints(state_of(pose))
    plain = observe(rig, truth)
    stretch = torch.diag(torch.tensor([2.0, 1.5, 1.0])).double()
    pixels = plain.pixels * torch.tensor([2.0, 1.5])
    changed = Observations(3.0 * stretch @ plain.ideal_px_from_world, pixels, plain.weight)
    found = kinematics.keypoints(start_from_one_view(kinematics, changed, pose.betas[0]))
    assert root_relative_mm(found, truth).median() < 2.0
    assert (found - truth).norm(dim=-1).mean(1).median() * 1e3 < 3.0


def test_missing_keypoints_and_empty_frames_are_no_nan(hand, rig, rng):
    pose = named_poses(hand, 24, rng)
    kinematics = KeypointKinematics(hand)
    truth = kinematics.keypoints(state_of(pose))
    observations, chosen = one_view_of_each(observe(rig, truth), rng)
    frames = torch.arange(24)
    weight, pixels = torch.zeros_like(observations.weight), observations.pixels.clone()
    weight[frames, chosen] = observations.weight[frames, chosen]
    weight = torch.where(torch.as_tensor(rng.random(weight.shape)) < 0.2, 0.0, weight)
    weight[3] = 0  # nothing
    weight[4, :, 1:] = 0  # the wrist alone
    weight[5, :, 2:] = 0  # two keypoints
    pixels[weight == 0] = torch.nan
    pixels[6] = 320.0  # all in one place
    pixels[7] = 1e5  # far outside the image
    lacking = Observations(observations.ideal_px_from_world, pixels, weight)
    state = start_from_one_view(kinematics, lacking, pose.betas[0])
    found = kinematics.keypoints(state)
    assert found.isfinite().all() and state.rotations.isfinite().all()
    assert root_relative_mm(found, truth)[8:].median() < 5.0  # a missing tip costs a centimetre or two, over 21
