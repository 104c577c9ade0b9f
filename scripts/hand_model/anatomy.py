"""Axes and ranges of motion of the 15 joints of the hand, from the literature.

Every joint has a right-handed frame in the rest pose: flexion, abduction and twist axis. Positive flexion
curls towards the palm; positive abduction moves a finger to the thumb's side and the thumb out of the palm's
plane; twist turns about the bone. A rotation is `R(flexion) @ R(abduction) @ R(twist)` about these fixed
axes: flexion about an axis of the proximal bone, twist about the distal one, abduction floating, as in Wu et
al., "ISB recommendation on definitions of joint coordinate systems, part II", J. Biomech. 38(5), 2005. That is how
the poses of this script are made; how handgen reads angles out of a pose is said by
`handgen.hand.model_files.HandArrays`.
"""

from __future__ import annotations

import numpy as np
from hand_model.kinematics import rotation_about, rotation_between, unit
from scipy.spatial.transform import Rotation

from handgen.hand.skeleton import FINGER_JOINTS, FINGERS

PALM_NORMAL = np.array([0.0, -1.0, 0.0])

# The trapezium's axes against those of the third metacarpal: Cooney, Lucca, Chao, Linscheid, "The kinesiology
# of the thumb trapeziometacarpal joint", J. Bone Joint Surg. Am. 63(9), 1981.
TRAPEZIUM_FLEXION_DEG, TRAPEZIUM_ABDUCTION_DEG, TRAPEZIUM_PRONATION_DEG = 48.0, 38.0, 80.0

# (flexion, abduction, twist), each (least, greatest), degrees.
# Flexion of fingers and of the thumb's outer joints: active ranges of Hume, Gellman, McKellop, Brumfield,
# "Functional range of motion of the joints of the hand", J. Hand Surg. Am. 15(2), 1990; but the fingers' hinges as far
# as fists and grips press them. "Comparing the active, functional, and passive range of motion of finger joints using
# dynamic measurement" (TU Delft) has outer joints 8 to 20 degrees past their active range; photographs of fists have
# middle joints at 115 to 124. Hyperextension and sideways range of the knuckles: American Academy of Orthopaedic
# Surgeons, "The clinical measurement of joint motion", 1994. The small sideways and twisting play of hinge joints
# covers their passive laxity and the skin.
KNUCKLE = ((-30, 100), (-22, 22), (-10, 10))
MIDDLE_HINGE = ((-8, 120), (-4, 4), (-5, 5))
OUTER_HINGE = ((-15, 95), (-4, 4), (-5, 5))
# Totals of 53 flexion-extension, 42 abduction-adduction and 17 twist (Cooney et al.), about the trapezium's
# axes, plus ten degrees at either end because subjects differ.
THUMB_BASE = ((-33, 40), (-30, 32), (-15, 22))
THUMB_KNUCKLE = ((-15, 56), (-10, 10), (-8, 8))
THUMB_HINGE = ((-20, 73), (-4, 4), (-5, 5))
FINGER_LIMITS_DEG = (KNUCKLE, MIDDLE_HINGE, OUTER_HINGE)
THUMB_LIMITS_DEG = (THUMB_BASE, THUMB_KNUCKLE, THUMB_HINGE)


def trapezium_frame() -> np.ndarray:
    """Rows: flexion, abduction and long axis of the thumb's base in a right hand, after Cooney et al."""
    frame = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    frame = frame @ rotation_about(frame[0], np.radians(TRAPEZIUM_FLEXION_DEG)).T
    frame = frame @ rotation_about(frame[1], np.radians(TRAPEZIUM_ABDUCTION_DEG)).T
    return frame @ rotation_about(frame[2], np.radians(-TRAPEZIUM_PRONATION_DEG)).T


def finger_frame(bone: np.ndarray) -> np.ndarray:
    """Axes of a finger's joint from the direction of its bone: flexion stays in the finger's plane."""
    flexion = unit(np.cross(bone, PALM_NORMAL))
    twist = unit(bone)
    return np.stack([flexion, np.cross(twist, flexion), twist])


def thumb_frame(bone: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """`reference` turned by the smallest rotation that lays its long axis along `bone`."""
    return reference @ rotation_between(reference[2], bone).T


def joint_axes(joints: np.ndarray, bone_ends: np.ndarray, thumb_nail_normal: np.ndarray | None = None) -> np.ndarray:
    """Frames (15, 3, 3) of joints 1 to 15 in the rest pose, rows flexion, abduction and twist axis.

    thumb_nail_normal: where the thumb's nail looks. It fixes the hinge axis of the thumb's last joint (across
    the nail); that of the knuckle lies half way between this and the base's.
    """
    axes = np.zeros((15, 3, 3))
    for finger in FINGERS:
        frame = trapezium_frame()
        for k, joint in enumerate(FINGER_JOINTS[finger]):
            bone = bone_ends[joint] - joints[joint]
            axes[joint - 1] = thumb_frame(bone, frame) if finger == "thumb" else finger_frame(bone)
            frame = axes[joint - 1]
            if finger == "thumb" and k and thumb_nail_normal is not None:
                across = np.cross(thumb_nail_normal, frame[2])
                angle = np.arctan2(np.cross(frame[0], across) @ frame[2], frame[0] @ across)
                share = 0.5 if k == 1 else 1.0
                axes[joint - 1] = frame @ rotation_about(frame[2], share * angle).T
    return axes


def joint_limits_rad() -> np.ndarray:
    """Ranges (15, 3, 2) from the rest pose: joint, (flexion, abduction, twist), (least, greatest)."""
    limits = np.zeros((15, 3, 2))
    for finger in FINGERS:
        table = THUMB_LIMITS_DEG if finger == "thumb" else FINGER_LIMITS_DEG
        for joint, ranges in zip(FINGER_JOINTS[finger], table, strict=True):
            limits[joint - 1] = np.radians(ranges)
    return limits


def rotations_from_angles(angles: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 15, 3, 3) of anatomical angles (..., 15, 3), radians."""
    local = Rotation.from_euler("XYZ", angles.reshape(-1, 3)).as_matrix().reshape(*angles.shape, 3)
    return np.swapaxes(axes, -1, -2) @ local @ axes
