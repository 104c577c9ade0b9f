import numpy as np
import pytest
import torch
from support.cameras import ring
from support.hands import natural_poses, observe, state_of, triangulated

from handgen.fit.initialization import betas_from_lengths, rigid_lengths, start
from handgen.fit.kinematics import HandState, KeypointKinematics
from handgen.fit.residuals import PosePrior
from handgen.fit.solver import Problem, solve_poses, solve_shared
from handgen.geometry.rotations import axis_angle_from_rotation, rotation_from_axis_angle


@pytest.mark.parametrize("with_offsets", [False, True])
def test_keypoints_are_the_models(random_model, rng, with_offsets):
    offsets = torch.as_tensor(rng.normal(0, 0.005, (21, 3))) if with_offsets else None
    kinematics = KeypointKinematics(random_model, offsets)
    pose = natural_poses(random_model, 5, rng)
    expected = random_model(pose).keypoints
    found = kinematics.keypoints(state_of(pose))
    if with_offsets:
        assert 0.001 < (found - expected).norm(dim=-1).mean() < 0.02
    else:
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    flat = HandState(torch.eye(3).double().repeat(5, 16, 1, 1), torch.zeros(5, 3).double(), pose.betas)
    torch.testing.assert_close(kinematics.rest(pose.betas), kinematics.keypoints(flat), atol=1e-12, rtol=0)


def test_jacobian_is_the_slope_of_the_keypoints(random_model, rng):
    kinematics = KeypointKinematics(random_model, torch.as_tensor(rng.normal(0, 0.005, (21, 3))))
    state = state_of(natural_poses(random_model, 2, rng))
    _, jacobian = kinematics.keypoints_and_jacobian(state)
    for parameter in range(61):
        step = torch.zeros(2, 61, dtype=torch.float64)
        step[:, parameter] = 1e-6
        ahead, behind = kinematics.keypoints(state.moved(step)), kinematics.keypoints(state.moved(-step))
        slope = (ahead - behind) / 2e-6
        torch.testing.assert_close(jacobian[..., parameter], slope, atol=1e-8, rtol=0, msg=f"parameter {parameter}")


def test_prior_gradient_is_the_slope_of_its_cost(random_model, rng):
    prior = PosePrior.of(random_model)
    rotations = state_of(natural_poses(random_model, 3, rng)).rotations
    rotations[0, 1:] = rotation_from_axis_angle(torch.as_tensor(rng.normal(0, 0.9, (15, 3))))  # beyond the limits
    _, gradient, _ = prior.normal_equations(rotations)
    for joint in (1, 7, 15):
        for axis in range(3):
            step = torch.zeros(3, 16, 3, dtype=torch.float64)
            step[:, joint, axis] = 1e-6
            ahead = prior.cost(rotation_from_axis_angle(step) @ rotations)
            behind = prior.cost(rotation_from_axis_angle(-step) @ rotations)
            slope = (ahead - behind) / 2e-6 / 2  # the gradient is of half the squared residuals
            torch.testing.assert_close(gradient[:, joint - 1, axis], slope, atol=1e-4, rtol=1e-5)


def test_reprojection_gradient_is_the_slope_of_its_cost(random_model, rig, rng):
    points = random_model(natural_poses(random_model, 2, rng)).keypoints
    observations = observe(rig, points, noise_px=2.0, rng=rng)
    term = observations.reprojection(points)
    moved = points.clone()
    for axis in range(3):
        for sign, store in ((1e-7, []),):
            moved = points.clone()
            moved[:, 4, axis] += sign
            store.append(observations.cost(moved))
            moved[:, 4, axis] -= 2 * sign
            slope = (store[0] - observations.cost(moved)) / (2 * sign) / 2
        torch.testing.assert_close(term.gradient[:, 4, axis], slope, atol=1e-3, rtol=1e-5)


def test_fit_recovers_poses_behind_exact_pixels(hand, rng):
    rig = ring(8)
    pose = natural_poses(hand, 64, rng)
    kinematics = KeypointKinematics(hand)
    truth = kinematics.keypoints(state_of(pose))
    observations = observe(rig, truth)
    first = start(kinematics, triangulated(observations), pose.betas[0])
    prior = PosePrior.of(hand)
    state, _ = solve_poses(Problem(kinematics, observations, prior), first, steps=20)
    error_mm = (kinematics.keypoints(state) - truth).norm(dim=-1) * 1e3
    # The prior's pull against 0.5 px of assumed noise from eight views leaves a tenth of a millimetre.
    assert error_mm.mean() < 0.2
    assert (error_mm.amax(1) < 1.0).double().mean() > 0.95


def test_fit_recovers_the_pose_behind_noisy_pixels(hand, rig, rng):
    pose = natural_poses(hand, 64, rng)
    kinematics = KeypointKinematics(hand)
    truth = kinematics.keypoints(state_of(pose))
    observations = observe(rig, truth, noise_px=1.0, rng=rng)
    first = start(kinematics, triangulated(observations, 1.0), pose.betas[0])
    state, _ = solve_poses(Problem(kinematics, observations, PosePrior.of(hand)), first)
    error_mm = (kinematics.keypoints(state) - truth).norm(dim=-1) * 1e3
    assert error_mm.mean() < 1.0  # 1 px at 0.7 m and 800 px focal is 0.9 mm; four views and the model halve it


def test_shared_betas_are_recovered_with_both_hands(hand, rng):
    rig = ring(6)
    betas = torch.as_tensor(rng.normal(0, 1, 10))
    pose = natural_poses(hand, 48, rng, betas)
    kinematics = KeypointKinematics(hand)
    truth = kinematics.keypoints(state_of(pose))
    observations = observe(rig, truth, noise_px=0.5, rng=rng)
    points = triangulated(observations)
    first_betas = betas_from_lengths(kinematics, rigid_lengths(points).median(0).values)
    problem = Problem(kinematics, observations, PosePrior.of(hand))
    (state,) = solve_shared([problem], [start(kinematics, points, first_betas)], betas_weight=1.0)
    lengths = rigid_lengths(kinematics.rest(state.betas[0])) - rigid_lengths(kinematics.rest(betas))
    assert lengths.abs().max() * 1e3 < 0.5  # bones to half a millimetre; betas themselves may trade places
    assert (state.betas == state.betas[0]).all()


def test_log_inverts_exp_up_to_pi(rng):
    vectors = torch.as_tensor(rng.normal(size=(200, 3)))
    vectors = vectors / vectors.norm(dim=-1, keepdim=True) * torch.linspace(0, torch.pi - 1e-6, 200)[:, None]
    torch.testing.assert_close(axis_angle_from_rotation(rotation_from_axis_angle(vectors)), vectors, atol=1e-7, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_what_the_cpu_gives(hand, rig, rng):
    from handgen.fit.observations import kinematics_of
    from handgen.fit.pose_fit import fit_poses
    from handgen.multiview.association import associate_frame
    from handgen.records.detection import Detection

    keypoints = hand(natural_poses(hand, 4, rng)).keypoints.numpy()
    seen_hands = [
        associate_frame(rig, f, [[Detection(camera.project(k)[0], np.ones(21), 0.9)] for camera in rig])[0]
        for f, k in enumerate(keypoints)
    ]
    fitted = [
        fit_poses(kinematics_of("open", "right", np.zeros((21, 3)), device), rig, seen_hands, np.zeros(10)).hands()
        for device in ("cpu", "cuda")
    ]
    assert np.abs(fitted[0].keypoints - fitted[1].keypoints).max() < 1e-6  # m
