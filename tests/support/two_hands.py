"""Two hands in front of four cameras, as detections: shared by the tests of association and of tracks."""

import numpy as np
import pytest
import torch

from handgen.hand.model import HandPose
from handgen.records.detection import Detection
from support.hands import natural_poses


@pytest.fixture(scope="module")
def two_hands(hand):
    """Ten frames of two hands 15 cm apart that drift slowly: (frames, hands, 21, 3)."""
    rng = np.random.default_rng(3)
    pose = natural_poses(hand, 2, rng)
    frames = []
    for frame in range(10):
        shift = torch.tensor([[-0.075, 0, 0], [0.075, 0, 0]]) + 0.002 * frame
        moved = HandPose(pose.rotations, shift.double() - hand.rest_joints[0], pose.betas)
        frames.append(hand(moved).keypoints.numpy())
    return np.stack(frames)


def detections(rig, keypoints, rng, right=(0.95, 0.05), noise_px=1.0):
    """Per camera, the two hands in random order; right[h] is what the detector thinks of hand h."""
    found = []
    for camera in rig:
        hands = [
            Detection(camera.project(points)[0] + rng.normal(0, noise_px, (21, 2)), np.ones(21), right[h])
            for h, points in enumerate(keypoints)
        ]
        found.append([hands[i] for i in rng.permutation(len(hands))])
    return found
