"""From a MakeHuman body to a flat hand in MANO's frame: which vertices, which joints, where they lie at rest.

Frame of the right hand: the wrist at the origin, fingers along -x, the palm facing -y, the thumb towards +z;
metres.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import trimesh
from hand_model.anatomy import PALM_NORMAL, thumb_frame, trapezium_frame
from hand_model.kinematics import (
    local_from_world,
    rotation_about,
    rotation_between,
    skin,
    skinning_transforms,
    unit,
)
from hand_model.makehuman import FINGER_NUMBERS, METRES_PER_UNIT, MakeHumanData

from handgen.hand.skeleton import FINGER_JOINTS, FINGERS, JOINT_COUNT, JOINT_PARENTS

WRIST_BONES = ("wrist.R", "lowerarm01.R", "lowerarm02.R", *(f"metacarpal{k}.R" for k in range(1, 5)))
FOREARM_END_M = 0.20  # the surface mesh keeps this much forearm
HAND_END_M = 0.025  # MANO's mesh ends just behind the wrist

# The crease between hand and forearm lies this far in front of MakeHuman's wrist joint.
WRIST_SHIFT_M = np.array([-0.004, 0.0, 0.0])
# MakeHuman puts the knuckles where the fingers leave the palm, well beyond the joints: this far back along the
# finger they lie 2 mm behind the joint line, at the distance from the wrist that the carpus (25 mm) and the
# metacarpals of `hand_model.proportions` give. The centre of the metacarpal's head would be some millimetres
# further back; people and keypoint detectors mark knuckles further out still.
KNUCKLE_SHIFT_M = {"index": 0.009, "middle": 0.006, "ring": 0.007, "pinky": 0.007}
# MakeHuman's first metacarpal is 32 mm long where it measures 46: its base from the wrist, and how far its head
# is moved outwards.
THUMB_BASE_M = np.array([-0.0165, -0.0095, 0.0180])
THUMB_KNUCKLE_SHIFT_M = 0.0045
# Share of the way from the back of the hand to the palm: metacarpal heads lie nearer to the back.
KNUCKLE_DEPTH = 0.45
# Bones lie this deep at most: keeps the thumb's knuckle from being centred in the whole palm.
DEEPEST_M = 0.0115
REST_FLEXION_DEG = (2.0, 2.0, 2.0)  # per joint, fingers only: flat on a table


@dataclass(frozen=True)
class HandRegion:
    """Which part of MakeHuman's mesh is the hand with its forearm.

    vertex_ids: (n,) ids in the base mesh. faces: (m, 4) ids into `vertex_ids`, quads. faces_uv: (m, 4).
    hand_faces: (m,) which quads belong to MANO's extent. joint_cubes, tip_cubes: base mesh ids whose mean is
    the joint or the fingertip. weights: (n, 16) of MakeHuman, normalised.
    """

    vertex_ids: np.ndarray
    faces: np.ndarray
    faces_uv: np.ndarray
    hand_faces: np.ndarray
    joint_cubes: tuple[np.ndarray, ...]
    tip_cubes: dict[str, np.ndarray]
    weights: np.ndarray


@dataclass(frozen=True)
class Hand:
    """A mesh with its skeleton, in metres. tips: (5, 3), thumb to pinky."""

    vertices: np.ndarray
    joints: np.ndarray
    tips: np.ndarray

    def moved(self, move: Callable[[np.ndarray], np.ndarray]) -> Hand:
        """The hand with every point (n, 3) put through `move`."""
        return Hand(move(self.vertices), move(self.joints), move(self.tips))

    def bone_ends(self) -> np.ndarray:
        """Find where each joint's bone ends, (16, 3): the next joint or tip; the middle knuckle for the wrist."""
        ends = np.zeros((JOINT_COUNT, 3))
        ends[0] = self.joints[FINGER_JOINTS["middle"][0]]
        for finger, tip in zip(FINGERS, self.tips, strict=True):
            first, second, third = FINGER_JOINTS[finger]
            ends[first], ends[second], ends[third] = self.joints[second], self.joints[third], tip
        return ends


def joint_bones() -> list[str]:
    """The MakeHuman bone whose head is each of MANO's 16 joints."""
    bones = ["wrist.R"] * JOINT_COUNT
    for finger, joints in FINGER_JOINTS.items():
        for k, joint in enumerate(joints):
            bones[joint] = f"finger{FINGER_NUMBERS[finger]}-{k + 1}.R"
    return bones


def find_region(data: MakeHumanData, body: np.ndarray) -> HandRegion:
    """Select hand and forearm of a whole body with the given vertices (decimetres)."""
    bones = joint_bones()
    cubes = tuple(data.joint_cube(bone, "head") for bone in bones)
    tips = {finger: data.joint_cube(bones[FINGER_JOINTS[finger][2]], "tail") for finger in FINGERS}
    weights = np.zeros((len(body), JOINT_COUNT))
    for joint, bone in enumerate(bones):
        for source in WRIST_BONES if joint == 0 else (bone,):
            weights[:, joint] += data.bone_weights(source)
    placed = to_hand_frame(body, [body[cube].mean(0) for cube in cubes])
    mesh = data.base
    owned = weights.sum(1) > 0.5
    depth = placed[mesh.faces[mesh.body], 0].mean(1)
    quads = mesh.body[owned[mesh.faces[mesh.body]].all(1) & (depth < FOREARM_END_M)]
    vertex_ids, faces = np.unique(mesh.faces[quads], return_inverse=True)
    faces = faces.reshape(-1, 4)
    hand_faces = placed[vertex_ids[faces], 0].mean(1) < HAND_END_M
    weights = weights[vertex_ids]
    weights /= weights.sum(1, keepdims=True)
    return HandRegion(vertex_ids, faces, mesh.faces_uv[quads], hand_faces, cubes, tips, weights)


def to_hand_frame(points: np.ndarray, joints: list[np.ndarray]) -> np.ndarray:
    """Rotate, shift and scale body coordinates into the hand's frame, metres."""
    distal = unit(joints[FINGER_JOINTS["middle"][0]] - joints[0])
    radial = joints[FINGER_JOINTS["index"][0]] - joints[FINGER_JOINTS["pinky"][0]]
    radial = unit(radial - radial @ distal * distal)
    rows = np.stack([-distal, np.cross(radial, -distal), radial])
    return (points - joints[0]) @ rows.T * METRES_PER_UNIT


def extract(region: HandRegion, body: np.ndarray) -> Hand:
    """The hand of a body, bent as MakeHuman has it, with MakeHuman's joints."""
    joints = [body[cube].mean(0) for cube in region.joint_cubes]
    tips = [body[region.tip_cubes[finger]].mean(0) for finger in FINGERS]
    placed = to_hand_frame(np.concatenate([body[region.vertex_ids], joints, tips]), joints)
    n = len(region.vertex_ids)
    return Hand(placed[:n], placed[n : n + JOINT_COUNT], placed[n + JOINT_COUNT :])


def triangulate_quads(vertices: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """Corner numbers (m, 2, 3) of the two triangles of each quad, cut along its shorter diagonal."""
    first = np.linalg.norm(vertices[quads[:, 0]] - vertices[quads[:, 2]], axis=1)
    second = np.linalg.norm(vertices[quads[:, 1]] - vertices[quads[:, 3]], axis=1)
    cuts = np.where((first <= second)[:, None, None], [[0, 1, 2], [0, 2, 3]], [[0, 1, 3], [1, 2, 3]])
    return cuts


def corners(quads: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """Triangles (2m, 3) from quads (m, 4) and their cuts (m, 2, 3)."""
    return np.take_along_axis(quads[:, None, :], cuts, 2).reshape(-1, 3)


def _centre(
    mesh: trimesh.Trimesh,
    point: np.ndarray,
    direction: np.ndarray,
    share: float = 0.5,
    deepest_m: float = np.inf,
) -> np.ndarray:
    """Move `point` along the line `direction` to `share` of the way between the skin before and behind it."""
    distances = []
    for sign in (-1.0, 1.0):
        hits, _, _ = mesh.ray.intersects_location([point], [sign * direction], multiple_hits=True)
        if not len(hits):
            return point
        distances.append(sign * min(float(np.linalg.norm(hits - point, axis=1).min()), deepest_m))
    return point + direction * (distances[0] + share * (distances[1] - distances[0]))


def flexion_axes(hand: Hand) -> np.ndarray:
    """Axes (5, 3) about which each digit curls, thumb to pinky."""
    axes = []
    for finger, tip in zip(FINGERS, hand.tips, strict=True):
        first, second, _ = FINGER_JOINTS[finger]
        if finger == "thumb":
            axes.append(thumb_frame(tip - hand.joints[second], trapezium_frame())[0])
        else:
            axes.append(unit(np.cross((hand.joints[second] - hand.joints[first]) * [1, 0, 1], PALM_NORMAL)))
    return np.array(axes)


def centre_joints(hand: Hand, triangles: np.ndarray) -> Hand:
    """Put every joint where the bone would be: half way between the skin surfaces around it."""
    mesh = trimesh.Trimesh(hand.vertices, triangles, process=False)
    joints = hand.joints.copy()
    joints[0] = _centre(mesh, joints[0], np.array([0.0, 1.0, 0.0]))
    joints[0] = _centre(mesh, joints[0], np.array([0.0, 0.0, 1.0]))
    for finger, axis, tip in zip(FINGERS, flexion_axes(hand), hand.tips, strict=True):
        first, second, third = FINGER_JOINTS[finger]
        for joint, end in ((first, joints[second]), (second, joints[third]), (third, tip)):
            along = unit(end - joints[joint])
            palmar = unit(np.cross(axis, along))
            if joint == first:
                if finger != "thumb":
                    joints[joint] = _centre(mesh, joints[joint], palmar, KNUCKLE_DEPTH)
                continue
            for direction in 3 * (palmar, np.cross(along, palmar)):
                joints[joint] = _centre(mesh, joints[joint], direction, deepest_m=DEEPEST_M)
    return replace(hand, joints=joints)


def place_skeleton(hand: Hand, triangles: np.ndarray) -> Hand:
    """Joints of a real hand for MakeHuman's skin: see the constants above."""
    joints = hand.joints.copy()
    joints[0] += WRIST_SHIFT_M
    for finger, shift in KNUCKLE_SHIFT_M.items():
        first, second, _ = FINGER_JOINTS[finger]
        joints[first] -= shift * unit(joints[second] - joints[first])
    _, second, third = FINGER_JOINTS["thumb"]
    joints[second] += THUMB_KNUCKLE_SHIFT_M * unit(joints[third] - joints[second])
    placed = centre_joints(replace(hand, joints=joints), triangles)
    joints = placed.joints
    joints[FINGER_JOINTS["thumb"][0]] = joints[0] + THUMB_BASE_M
    return replace(placed, joints=joints)


def flat_rotations(hand: Hand) -> np.ndarray:
    """Rotations (16, 3, 3), relative to the hand, that lay every finger flat; the thumb keeps its place."""
    world = np.tile(np.eye(3), (JOINT_COUNT, 1, 1))
    ends = hand.bone_ends()
    for finger, axis in zip(FINGERS, flexion_axes(hand), strict=True):
        if finger == "thumb":
            continue
        straight = np.cross(PALM_NORMAL, axis)
        wanted = 0.0
        for joint, flexion_deg in zip(FINGER_JOINTS[finger], REST_FLEXION_DEG, strict=True):
            wanted += np.radians(flexion_deg)
            bone = ends[joint] - hand.joints[joint]
            bone = bone - bone @ axis * axis
            bent = np.arctan2(np.cross(straight, bone) @ axis, straight @ bone)
            world[joint] = rotation_about(axis, wanted - bent)
    return world


def pose_hand(hand: Hand, world_rotations: np.ndarray, weights: np.ndarray) -> Hand:
    """The hand with its bones turned by rotations relative to the hand."""
    transforms, joints = skinning_transforms(hand.joints, local_from_world(world_rotations))
    last = [FINGER_JOINTS[finger][2] for finger in FINGERS]
    tips = np.einsum("nab,nb->na", transforms[last][:, :, :3], hand.tips) + transforms[last][:, :, 3]
    return Hand(skin(hand.vertices, weights, transforms), joints, tips)


def unpose_like(hand: Hand, reference: Hand, reference_world: np.ndarray, weights: np.ndarray) -> Hand:
    """Flatten a hand so that its bones end up parallel to those of the flattened `reference`.

    reference: another hand in its bent pose. reference_world: the rotations that flatten it.
    """
    world = reference_world.copy()
    directions = hand.bone_ends() - hand.joints
    wanted = reference.bone_ends() - reference.joints
    for joint, parent in enumerate(JOINT_PARENTS):
        if parent >= 0:
            world[joint] = world[joint] @ rotation_between(directions[joint], wanted[joint])
    return pose_hand(hand, world, weights)
