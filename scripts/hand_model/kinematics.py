"""Forward kinematics and linear blend skinning in numpy, as MANO defines them.

Source: Romero, Tzionas, Black, "Embodied hands", ACM TOG 36(6), 2017, equations 2-5.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from handgen.hand.skeleton import JOINT_COUNT, JOINT_PARENTS


def unit(vector: np.ndarray) -> np.ndarray:
    """`vector` at length one along the last axis."""
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)


def rotation_about(axis: np.ndarray, angle: float) -> np.ndarray:
    """Rotation matrix about a unit axis, radians."""
    return Rotation.from_rotvec(np.asarray(axis) * angle).as_matrix()


def rotation_between(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The smallest rotation taking the direction `source` to `target`."""
    a, b = unit(source), unit(target)
    cross = np.cross(a, b)
    skew = np.array([[0, -cross[2], cross[1]], [cross[2], 0, -cross[0]], [-cross[1], cross[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1 + a @ b)


def skinning_transforms(joints: np.ndarray, rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute what skinning applies to rest vertices, (16, 3, 4), and the posed joints, (16, 3).

    joints: (16, 3) at rest. rotations: (16, 3, 3), each in its parent's frame.
    """
    world = np.zeros((JOINT_COUNT, 3, 4))
    for joint, parent in enumerate(JOINT_PARENTS):
        if parent < 0:
            world[joint] = np.c_[rotations[joint], joints[joint]]
        else:
            offset = world[parent][:, :3] @ (joints[joint] - joints[parent]) + world[parent][:, 3]
            world[joint] = np.c_[world[parent][:, :3] @ rotations[joint], offset]
    posed = world[:, :, 3].copy()
    world[:, :, 3] -= np.einsum("jab,jb->ja", world[:, :, :3], joints)
    return world, posed


def skin(vertices: np.ndarray, weights: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """Linear blend skinning: (v, 3) rest vertices moved by their weighted mean transform."""
    blended = np.einsum("vj,jab->vab", weights, transforms)
    return np.einsum("vab,vb->va", blended[:, :, :3], vertices) + blended[:, :, 3]


def local_from_world(world_rotations: np.ndarray) -> np.ndarray:
    """Rotations relative to the parent, from rotations relative to the hand, both (16, 3, 3)."""
    return np.stack(
        [
            rotation if parent < 0 else world_rotations[parent].T @ rotation
            for rotation, parent in zip(world_rotations, JOINT_PARENTS, strict=True)
        ]
    )
