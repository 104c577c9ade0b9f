"""The closed-form start of a fit against the same steps written down frame by frame."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from support.hands import natural_poses, state_of

from handgen.fit.initialization import betas_from_lengths, rigid_lengths, start
from handgen.fit.kinematics import KeypointKinematics
from handgen.hand.skeleton import FINGER_JOINTS, FINGER_KEYPOINTS

MCP = (5, 9, 13, 17)
BONES = [(0, 1), (1, 2), (2, 3), (3, 4)]
for knuckle in MCP:
    BONES += [(0, knuckle), *((knuckle + k, knuckle + k + 1) for k in range(3))]
BETWEEN_KNUCKLES = [(a, b) for a in MCP for b in MCP if a < b]
PALM, PALM_WEIGHTS = [0, 1, *MCP], np.array([1.0, 0.3, 1.0, 1.0, 1.0, 1.0])
LENGTH_SIGMA_M = 0.004


@pytest.fixture
def kinematics(random_model, rng):
    return KeypointKinematics(random_model, torch.as_tensor(rng.normal(0, 0.004, (21, 3))))


def test_lengths_that_no_pose_changes_are_the_bones_and_those_between_knuckles(rng):
    points = rng.normal(size=(2, 21, 3))
    expected = [np.linalg.norm(points[:, a] - points[:, b], axis=-1) for a, b in BONES + BETWEEN_KNUCKLES]
    np.testing.assert_allclose(rigid_lengths(torch.as_tensor(points)), np.stack(expected, -1), atol=1e-12)


def test_betas_are_the_likeliest_behind_the_lengths(kinematics, rng):
    """Least squares of the linearised lengths, in deviations of 4 mm, and of the betas themselves."""
    zero = torch.zeros(10, dtype=torch.float64)
    mean = rigid_lengths(kinematics.rest(zero))
    lengths = mean + torch.as_tensor(rng.normal(0, 0.01, len(mean)))
    lengths[3] = torch.nan  # never seen
    size, columns = 1e-5, []
    for k in range(10):
        step = size * torch.eye(10, dtype=torch.float64)[k]
        columns.append((rigid_lengths(kinematics.rest(step)) - rigid_lengths(kinematics.rest(-step))) / (2 * size))
    slopes = torch.stack(columns, -1).numpy() / LENGTH_SIGMA_M
    excess = np.nan_to_num((lengths - mean).numpy()) / LENGTH_SIGMA_M
    expected = np.linalg.lstsq(np.vstack([slopes, np.eye(10)]), np.append(excess, np.zeros(10)), rcond=None)[0]
    found = betas_from_lengths(kinematics, lengths)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-5)  # the slopes are those of differences


def turn_between(a, b):
    """The smallest rotation from one direction to another."""
    axis = np.cross(a, b)
    sine, cosine = np.linalg.norm(axis), a @ b
    return Rotation.from_rotvec(axis / max(sine, 1e-15) * np.arctan2(sine, cosine)).as_matrix()


def plain_start(kinematics, points, betas, valid):
    """One frame."""
    rest = kinematics.rest(betas).numpy()
    weights = PALM_WEIGHTS * valid[PALM]
    middle, target = (np.average(array[PALM], axis=0, weights=weights) for array in (rest, points))
    wrist, _ = Rotation.align_vectors(points[PALM] - target, rest[PALM] - middle, weights=weights)
    wrist = wrist.as_matrix()
    rotations = np.tile(np.eye(3), (16, 1, 1))
    rotations[0] = wrist
    root = (kinematics.model.rest_joints[0] + kinematics.model.joint_shapedirs[0] @ betas).numpy()
    translation = target - wrist @ (middle - root) - root
    for finger, keypoints in FINGER_KEYPOINTS.items():
        frame = wrist
        for joint, here, there in zip(FINGER_JOINTS[finger], keypoints, keypoints[1:], strict=False):
            if valid[here] and valid[there]:
                bone, seen = rest[there] - rest[here], frame.T @ (points[there] - points[here])
                rotations[joint] = turn_between(bone / np.linalg.norm(bone), seen / np.linalg.norm(seen))
            frame = frame @ rotations[joint]
    return rotations, translation


@pytest.mark.parametrize("lacking", [False, True])
def test_a_start_turns_the_palm_and_then_each_bone(kinematics, rng, lacking):
    pose = natural_poses(kinematics.model, 4, rng)
    points = kinematics.keypoints(state_of(pose))
    points = points + torch.as_tensor(rng.normal(0, 0.004, points.shape))  # so that no rigid palm fits
    valid = np.ones((4, 21), bool)
    if lacking:
        valid[1, [0, 6]] = valid[2, [1, 9, 12, 20]] = valid[3, [5, 17, 4]] = False
    betas = torch.as_tensor(rng.normal(0, 1, 10))
    state = start(kinematics, points, betas, torch.as_tensor(valid)) if lacking else start(kinematics, points, betas)
    for i in range(4):
        rotations, translation = plain_start(kinematics, points[i].numpy(), betas, valid[i])
        np.testing.assert_allclose(state.rotations[i], rotations, atol=1e-7)
        np.testing.assert_allclose(state.translation[i], translation, atol=1e-9)
    assert torch.equal(state.betas, betas.expand(4, 10))
