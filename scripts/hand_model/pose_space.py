"""MANO's pose components: principal components of anatomically plausible poses."""

from __future__ import annotations

import numpy as np
from hand_model.anatomy import rotations_from_angles
from scipy.spatial.transform import Rotation

from handgen.hand.skeleton import FINGER_JOINTS

SAMPLE_COUNT = 6000
# Fingers flex together, the outer joints in proportion: Santello, Flanders, Soechting, "Postural hand
# synergies for tool use", J. Neurosci. 18(23), 1998. Shares of full flexion.
CURL_ALPHA, CURL_BETA = 0.8, 1.2
FINGER_INDEPENDENCE = 0.22
KNUCKLE_SHARE, MIDDLE_SHARE = (0.6, 1.0), (0.7, 1.0)
OUTER_PER_MIDDLE = (0.45, 0.8)  # radians of the last joint per radian of the middle one
SPREAD_DEG = {
    "index": 6.0,
    "middle": 0.0,
    "ring": -4.0,
    "pinky": -8.0,
}  # of an open hand, to the thumb's side
PLAY = 0.25  # deviation of the directions nothing else drives, as a share of their half range


def sample_angles(rng: np.random.Generator, limits: np.ndarray) -> np.ndarray:
    """One pose: anatomical angles (15, 3) within `limits` (15, 3, 2), radians."""
    greatest = limits[:, 0, 1]
    centre, half = limits.mean(2), 0.5 * (limits[:, :, 1] - limits[:, :, 0])
    angles = centre + PLAY * half * rng.normal(size=(15, 3))
    curl = rng.beta(CURL_ALPHA, CURL_BETA)
    for finger, joints in FINGER_JOINTS.items():
        first, second, third = (joint - 1 for joint in joints)
        if finger == "thumb":
            bend = np.clip(curl + rng.normal(0, 0.35), -0.3, 1)
            angles[first] = centre[first] + half[first] * np.clip(
                rng.normal([0.5 * bend, 0.3 * bend, 0.4 * bend], 0.4), -1, 1
            )
            angles[second, 0] = greatest[second] * (bend * rng.uniform(0.3, 1.0))
            angles[third, 0] = greatest[third] * (bend * rng.uniform(0.2, 1.0))
            continue
        bend = np.clip(curl + rng.normal(0, FINGER_INDEPENDENCE), -0.1, 1)
        middle = greatest[second] * bend * rng.uniform(*MIDDLE_SHARE)
        open_share = 1 - max(bend, 0)
        angles[first, 0] = (
            greatest[first] * bend * rng.uniform(*KNUCKLE_SHARE) - np.radians(10) * open_share * rng.random()
        )
        angles[first, 1] = np.radians(SPREAD_DEG[finger] * open_share * rng.uniform(-0.8, 1.3) + rng.normal(0, 4))
        angles[second, 0] = middle
        angles[third, 0] = middle * rng.uniform(*OUTER_PER_MIDDLE)
    return np.clip(angles, limits[:, :, 0], limits[:, :, 1])


def pose_components(axes: np.ndarray, limits: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean (45,) and orthonormal components (45, 45), strongest first, of axis-angle poses."""
    rng = np.random.default_rng(seed)
    angles = np.stack([sample_angles(rng, limits) for _ in range(SAMPLE_COUNT)])
    rotations = rotations_from_angles(angles, axes)
    poses = Rotation.from_matrix(rotations.reshape(-1, 3, 3)).as_rotvec().reshape(SAMPLE_COUNT, 45)
    mean = poses.mean(0)
    _, _, components = np.linalg.svd(poses - mean, full_matrices=False)
    largest = components[np.arange(45), np.abs(components).argmax(1)]
    return mean, components * np.sign(largest)[:, None]
