"""Pose correctives (`posedirs`): give back the flesh that linear blend skinning loses at bent joints.

The wanted surface is that of dual-quaternion skinning (Kavan, Collins, Zara, O'Sullivan, "Geometric skinning
with approximate dual quaternion blending", ACM TOG 27(4), 2008): around a single joint, a vertex of weight w
turns by the blend of no rotation and the joint's, at its full distance from the joint. Offsets are fitted as
linear functions of the rotation's entries, as in MANO, one joint at a time. Flesh is pushed aside rather than lost: the
skin around the joint then moves along its normals until the volume is that of rest, within bounds.
"""

from __future__ import annotations

import numpy as np
from hand_model.anatomy import rotations_from_angles
from scipy.spatial.transform import Rotation

from handgen.hand.skeleton import FINGER_JOINTS, JOINT_COUNT, JOINT_PARENTS

SAMPLES_PER_JOINT = 60
STRENGTH = 0.9  # whole dual-quaternion skinning bulges at sharp bends
# How far skin may swell: around knuckles and in the thumb's ball, where muscle is pushed aside; at hinges, where more
# would look like a knob.
MOST_SWELLING_M, MOST_SWELLING_HINGE_M = 0.004, 0.0005
FLESHY_JOINTS = tuple(joints[0] for joints in FINGER_JOINTS.values())
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


def corner_areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Outward area vectors (n, 3) of the vertices: a third of those of their faces."""
    corner = vertices[faces]
    normals = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]) / 6
    areas = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(areas, faces[:, k], normals)
    return areas


def signed_volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Volume of the mesh; of an open one up to a constant, as long as its border stays."""
    a, b, c = vertices[faces].transpose(1, 0, 2)
    return float(np.einsum("nk,nk->", a, np.cross(b, c)) / 6)


def swelling(
    vertices: np.ndarray,
    faces: np.ndarray,
    pattern: np.ndarray,
    turn: tuple[np.ndarray, np.ndarray, np.ndarray],
    offsets: np.ndarray,
    most: float,
) -> np.ndarray:
    """Offsets (n, 3) that, on top of `offsets`, give back the volume lost by one joint's turn.

    pattern: (n, 3) directions to swell in. turn: carried weight (n,), place and rotation of the joint.
    """
    weight, joint, rotation = turn

    def turned(rest: np.ndarray) -> np.ndarray:
        return rest + weight[:, None] * ((rest - joint) @ (rotation - np.eye(3)).T)

    rest = signed_volume(vertices, faces)
    lost = rest - signed_volume(turned(vertices + offsets), faces)
    step = 1e-4
    gain = (signed_volume(turned(vertices + offsets + step * pattern), faces) - rest + lost) / step
    return np.clip(lost / gain, -most, most) * pattern


def swelling_pattern(
    vertices: np.ndarray, faces: np.ndarray, weight: np.ndarray, palmar: np.ndarray | None
) -> np.ndarray:
    """Normals (n, 3) times how much each vertex swells, most half way between two bones; none in a crease."""
    areas = corner_areas(vertices, faces)
    normals = areas / np.maximum(np.linalg.norm(areas, axis=1), 1e-12)[:, None]
    amount = 4 * weight * (1 - weight)
    if palmar is not None:
        amount = amount * (1 - np.maximum(normals @ palmar, 0.0))
    return amount[:, None] * normals


def pose_correctives(
    vertices: np.ndarray,
    faces: np.ndarray,
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
        wanted = np.zeros((SAMPLES_PER_JOINT, len(vertices), 3))
        weight, fleshy = carried[:, joint], joint in FLESHY_JOINTS
        flexion, _, bone = axes[joint - 1]
        pattern = swelling_pattern(vertices, faces, weight, None if fleshy else np.cross(flexion, bone))
        most = MOST_SWELLING_M if fleshy else MOST_SWELLING_HINGE_M
        for k, r in enumerate(rotations):
            wanted[k, touched] = STRENGTH * wanted_offsets(vertices[touched], weight[touched], joints[joint], r)
            wanted[k] += swelling(vertices, faces, pattern, (weight, joints[joint], r), wanted[k], most)
        wanted = wanted[:, touched].reshape(SAMPLES_PER_JOINT, -1)
        gram = features.T @ features + RIDGE * np.eye(9)
        fitted = np.linalg.solve(gram, features.T @ wanted).reshape(9, len(touched), 3)
        directions[touched, :, 9 * (joint - 1) : 9 * joint] = fitted.transpose(1, 2, 0)
    return np.round(directions / SMALLEST_OFFSET_M) * SMALLEST_OFFSET_M
