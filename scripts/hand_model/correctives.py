"""Pose correctives (`posedirs`): give back the flesh that linear blend skinning loses at bent joints.

The wanted surface is that of dual-quaternion skinning (Kavan, Collins, Zara, O'Sullivan, "Geometric skinning
with approximate dual quaternion blending", ACM TOG 27(4), 2008): around a single joint, a vertex of weight w
turns by the blend of no rotation and the joint's, at its full distance from the joint. Offsets are fitted as
linear functions of the rotation's entries, as in MANO, one joint at a time.
"""

from __future__ import annotations

import numpy as np
from hand_model.anatomy import rotations_from_angles
from scipy.spatial.transform import Rotation

from handgen.hand.layout import JOINT_COUNT, JOINT_PARENTS

SAMPLES_PER_JOINT = 60
STRENGTH = 0.8  # whole dual-quaternion skinning bulges at sharp bends
RIDGE = 0.05
SMALLEST_OFFSET_M = 2.0**-20  # smaller steps are not stored


def carried_weights(weights: np.ndarray) -> np.ndarray:
    """Weight (n, 16) with which each joint, or one it carries, moves a vertex."""
    carried = weights.copy()
    for joint in range(JOINT_COUNT - 1, 0, -1):
        carried[:, JOINT_PARENTS[joint]] += carried[:, joint]
    return carried


def wanted_offsets(vertices: np.ndarray, weight: np.ndarray, joint: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Offsets (n, 3) at rest that make linear blending end where dual quaternions would."""
    arms = vertices - joint
    quaternions = np.tile(Rotation.from_matrix(rotation).as_quat(), (len(vertices), 1))
    quaternions[quaternions[:, 3] < 0] *= -1
    blended = weight[:, None] * quaternions + (1 - weight[:, None]) * [0.0, 0.0, 0.0, 1.0]
    goal = Rotation.from_quat(blended).apply(arms)
    linear = weight[:, None, None] * rotation + (1 - weight[:, None, None]) * np.eye(3)
    return np.linalg.solve(linear, goal[:, :, None])[:, :, 0] - arms


def pose_correctives(
    vertices: np.ndarray,
    weights: np.ndarray,
    joints: np.ndarray,
    axes: np.ndarray,
    limits: np.ndarray,
    seed: int,
) -> np.ndarray:
    """MANO's posedirs (n, 3, 135), metres per unit of the entries of `R - I` of joints 1 to 15."""
    rng = np.random.default_rng(seed)
    carried = carried_weights(weights)
    directions = np.zeros((len(vertices), 3, 135))
    for joint in range(1, JOINT_COUNT):
        touched = np.flatnonzero((carried[:, joint] > 0.01) & (carried[:, joint] < 0.99))
        least, greatest = limits[joint - 1].T
        angles = rng.uniform(least, greatest, (SAMPLES_PER_JOINT, 3))
        angles[:, 0] = np.linspace(least[0], greatest[0], SAMPLES_PER_JOINT)
        rotations = rotations_from_angles(angles[:, None], axes[[joint - 1]])[:, 0]
        features = (rotations - np.eye(3)).reshape(SAMPLES_PER_JOINT, 9)
        offsets = [wanted_offsets(vertices[touched], carried[touched, joint], joints[joint], r) for r in rotations]
        wanted = STRENGTH * np.stack(offsets).reshape(SAMPLES_PER_JOINT, -1)
        gram = features.T @ features + RIDGE * np.eye(9)
        fitted = np.linalg.solve(gram, features.T @ wanted).reshape(9, len(touched), 3)
        directions[touched, :, 9 * (joint - 1) : 9 * joint] = fitted.transpose(1, 2, 0)
    return np.round(directions / SMALLEST_OFFSET_M) * SMALLEST_OFFSET_M
