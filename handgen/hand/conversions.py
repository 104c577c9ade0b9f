"""Convert poses, keypoints, fingertips, sides and translations from one project's convention to another's.

handgen's own convention, used everywhere else: poses are axis-angle in radians, 3 numbers per joint in MANO's joint
order, joint 0 being the orientation of the whole hand, **full**: the mean pose is already added (smplx:
`flat_hand_mean=True, use_pca=False`). Keypoints are 21, wrist first, each finger from palm to tip. Translations are
smplx's `transl`, metres. Tables of indices and their sources are in `handgen.hand.skeleton`.

Other projects' conventions, found in their code:

- smplx.MANO's defaults: `use_pca=True, num_pca_comps=6, flat_hand_mean=False`: 6 coefficients, mean to be added.
- FreiHAND's `training_mano.json`, InterHand2.6M's NeuralAnnot: 45 axis-angle numbers **relative to the mean**.
- HaMeR's training tars: full poses. manopth: PCA or axis-angle, mean by its own `flat_hand_mean`, output in mm.
- A model moved about its wrist or about the origin: see `origin_translation_from_transl`.

Arrays are numpy's, float64, with any leading axes. Poses may have 45 numbers (the fingers) or 48 (orientation first;
mean and PCA leave it alone).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from handgen.geometry.rigid import Rigid
from handgen.hand.model_files import HandArrays
from handgen.hand.skeleton import (
    FINGER_KEYPOINTS,
    FINGERS,
    JOINT_COUNT,
    KEYPOINT_COUNT,
    KEYPOINT_ORDERS,
    MIRROR_X,
    MIRROR_X_ROTATION,
    TIP_VERTEX_SETS,
)

Vectors = Float[np.ndarray, "*batch 3"]
Betas = Float[np.ndarray, "*batch 10"]
_FINGER_NUMBERS = 3 * (JOINT_COUNT - 1)
_MIRROR_TOLERANCE = 1e-5  # metres, and as sharp for weights
_TIP_KEYPOINTS = [FINGER_KEYPOINTS[finger][-1] for finger in FINGERS]


# Mean pose
def full_from_relative(pose: Float[np.ndarray, "*batch n"], hand: HandArrays) -> Float[np.ndarray, "*batch n"]:
    """Return a full pose from one relative to the model's mean pose (`flat_hand_mean=False`)."""
    return _add_to_fingers(pose, hand.mean_pose)


def relative_from_full(pose: Float[np.ndarray, "*batch n"], hand: HandArrays) -> Float[np.ndarray, "*batch n"]:
    """Return a pose relative to the model's mean pose (FreiHAND, InterHand2.6M) from a full one."""
    return _add_to_fingers(pose, -hand.mean_pose)


def _add_to_fingers(pose: Float[np.ndarray, "*batch n"], by: Float[np.ndarray, " 45"]) -> Float[np.ndarray, "*batch n"]:
    if pose.shape[-1] not in (_FINGER_NUMBERS, _FINGER_NUMBERS + 3):
        raise ValueError(f"pose: expected 45 or 48 numbers, got shape {pose.shape}")
    moved = np.array(pose, np.float64)
    moved[..., -_FINGER_NUMBERS:] += by
    return moved


# Principal components
def pose_from_pca(
    coefficients: Float[np.ndarray, "*batch n"], hand: HandArrays, *, flat_hand_mean: bool = False
) -> Float[np.ndarray, "*batch 45"]:
    """Return the full pose of the fingers from 1 to 45 coefficients of the model's pose components.

    flat_hand_mean: as in smplx and manopth: whether the coefficients 0 mean the flat hand, or (False) the mean pose.
    """
    count = coefficients.shape[-1]
    if not 1 <= count <= _FINGER_NUMBERS:
        raise ValueError(f"coefficients: expected 1 to 45 numbers, got shape {coefficients.shape}")
    pose = coefficients @ hand.pose_components[:count]
    return pose if flat_hand_mean else pose + hand.mean_pose


def pca_from_pose(
    pose: Float[np.ndarray, "*batch 45"], hand: HandArrays, *, count: int = 45, flat_hand_mean: bool = False
) -> Float[np.ndarray, "*batch count"]:
    """Return the `count` coefficients nearest (in least squares) to a full pose of the fingers; 45 are exact."""
    offset = pose if flat_hand_mean else pose - hand.mean_pose
    return offset @ np.linalg.pinv(hand.pose_components[:count])


# Rotation matrices
def rotations_from_pose(pose: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch joints 3 3"]:
    """Return rotation matrices per joint from axis-angle: 16 (48 numbers) or 15 (45)."""
    import torch

    from handgen.geometry.rotations import rotation_from_axis_angle

    vectors = np.array(pose, np.float64).reshape(*pose.shape[:-1], -1, 3)
    return rotation_from_axis_angle(torch.from_numpy(vectors)).numpy()


def pose_from_rotations(rotations: Float[np.ndarray, "*batch joints 3 3"]) -> Float[np.ndarray, "*batch n"]:
    """Return axis-angle (angles of 0 to pi) from rotation matrices per joint."""
    import torch

    from handgen.geometry.rotations import axis_angle_from_rotation

    vectors = axis_angle_from_rotation(torch.from_numpy(np.array(rotations, np.float64))).numpy()
    return vectors.reshape(*rotations.shape[:-3], -1)


# Keypoints
def reorder_keypoints(
    keypoints: Float[np.ndarray, "*batch 21 n"], source: str, target: str
) -> Float[np.ndarray, "*batch 21 n"]:
    """Reorder keypoints (or their confidences, with n = 1) from one order of `KEYPOINT_ORDERS` to another.

    "handgen" (also OpenPose, FreiHAND, HaMeR, MediaPipe and manopth's output), "mano" (smplx: 16 joints and 5 tips),
    "interhand" (one hand: 21 of its 42 joints), "rhd".
    """
    if keypoints.shape[-2] != KEYPOINT_COUNT:
        raise ValueError(f"keypoints: expected (..., 21, n), got {keypoints.shape}")
    from_source = np.argsort(KEYPOINT_ORDERS[source])
    return keypoints[..., from_source[list(KEYPOINT_ORDERS[target])], :]


def fingertips(vertices: Float[np.ndarray, "*batch 778 3"], convention: str) -> Float[np.ndarray, "*batch 5 3"]:
    """Return the fingertips, thumb to pinky, that a project takes from MANO's mesh.

    convention: "smplx" (and HaMeR), "manopth", "manopth_left" or "freihand". The open hand's mesh has its tips at
    smplx's vertices alone.
    """
    return vertices[..., list(TIP_VERTEX_SETS[convention]), :]


def with_fingertips(
    keypoints: Float[np.ndarray, "*batch 21 3"], vertices: Float[np.ndarray, "*batch 778 3"], convention: str
) -> Float[np.ndarray, "*batch 21 3"]:
    """Return our keypoints with the fingertips of another project, out of the mesh that they belong to."""
    changed = np.array(keypoints)
    changed[..., _TIP_KEYPOINTS, :] = fingertips(vertices, convention)
    return changed


# Left and right: each is the other seen in a mirror that negates x, and each of these is its own inverse
def mirror_points(points: Vectors) -> Vectors:
    """Return points, translations and other vectors of the other hand."""
    return points * np.array(MIRROR_X)


def mirror_pose(pose: Float[np.ndarray, "*batch n"]) -> Float[np.ndarray, "*batch n"]:
    """Return axis-angle of the other hand, full (a mean is mirrored with it), any number of joints.

    PCA coefficients cannot be mirrored: a left model's components are not a right's. Go through `pose_from_pca`.
    """
    return pose * np.tile(MIRROR_X_ROTATION, pose.shape[-1] // 3)


def mirror_mesh(
    vertices: Float[np.ndarray, "*batch vertices 3"], faces: Int[np.ndarray, "faces 3"]
) -> tuple[Float[np.ndarray, "*batch vertices 3"], Int[np.ndarray, "faces 3"]]:
    """Return a mesh of the other hand, its faces turned over so that they still face outwards."""
    return mirror_points(vertices), faces[:, ::-1]


def sides_mirror(right: HandArrays, left: HandArrays) -> bool:
    """Tell whether the left model is the right one mirrored in x: vertices, shapes, correctives and weights."""
    flip = np.array(MIRROR_X)
    correctives = np.einsum("a,b->ab", flip, flip).reshape(-1)  # of the entries of a joint's rotation
    pairs = (
        (left.template, right.template * flip),
        (left.shapedirs, right.shapedirs * flip[:, None]),
        (left.posedirs, right.posedirs * flip[:, None] * np.tile(correctives, JOINT_COUNT - 1)),
        (left.joint_regressor, right.joint_regressor),
        (left.weights, right.weights),
    )
    return all(np.abs(a - b).max() < _MIRROR_TOLERANCE for a, b in pairs)


# Translation
#
# A vertex v of the shaped and bent hand, whose wrist rests at J (not at the origin in MANO's files, and moving with the
# betas), is placed by the orientation R as
#   smplx, handgen   R (v - J) + J + transl    turned about the wrist
#   about the origin R v + translation         what a rigid transform of the whole mesh does
# so that the wrist comes to be at J + transl.
def rest_wrist(betas: Betas, hand: HandArrays) -> Vectors:
    """Return J, the wrist of a shape at rest, metres."""
    row = hand.joint_regressor[0]
    return row @ hand.template + betas @ np.einsum("v,vcb->bc", row, hand.shapedirs)


def wrist_from_transl(transl: Vectors, betas: Betas, hand: HandArrays) -> Vectors:
    """Return the position of the wrist, from smplx's `transl`."""
    return transl + rest_wrist(betas, hand)


def transl_from_wrist(wrist: Vectors, betas: Betas, hand: HandArrays) -> Vectors:
    """Return the `transl` of smplx that brings the wrist to where it is to be."""
    return wrist - rest_wrist(betas, hand)


def origin_translation_from_transl(transl: Vectors, orientation: Vectors, betas: Betas, hand: HandArrays) -> Vectors:
    """Return the translation for turning the hand about the origin by `orientation`, from smplx's `transl`."""
    return transl + _wrist_shift(orientation, betas, hand)


def transl_from_origin_translation(
    translation: Vectors, orientation: Vectors, betas: Betas, hand: HandArrays
) -> Vectors:
    """Return the `transl` of smplx from the translation that goes with turning the hand about the origin."""
    return translation - _wrist_shift(orientation, betas, hand)


def moved_hand(
    pose: Float[np.ndarray, " 48"], transl: Float[np.ndarray, " 3"], wrist: Float[np.ndarray, " 3"], a_from_b: Rigid
) -> tuple[Float[np.ndarray, " 48"], Float[np.ndarray, " 3"]]:
    """Pose and smplx's `transl` in frame a, of a hand that is given in frame b.

    wrist: where it rests (`rest_wrist`). The model turns about it, so a point that is R (v - J) + J + t in b is, with
    Q and c of `a_from_b`, Q (...) + c in a: the orientation is Q R and the translation Q (J + t) + c - J.
    """
    import cv2

    rotation = a_from_b.rotation
    moved = np.array(pose, np.float64)
    moved[:3] = cv2.Rodrigues(rotation @ cv2.Rodrigues(moved[:3])[0])[0][:, 0]
    return moved, rotation @ (wrist + transl) + a_from_b.translation - wrist


def _wrist_shift(orientation: Vectors, betas: Betas, hand: HandArrays) -> Vectors:
    """Return J - R J."""
    wrist = rest_wrist(betas, hand)
    return wrist - (rotations_from_pose(orientation)[..., 0, :, :] @ wrist[..., None])[..., 0]
