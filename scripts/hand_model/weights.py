"""Skin weights that follow the moved joints.

The share of each digit against the palm is the equilibrium of heat fed by the bones (Baran, Popovic,
"Automatic rigging and animation of 3D characters", ACM TOG 26(3), 2007, section 4). Inside a digit a bone's share
rises over a stretch of skin around its joint. A crease does not fold into itself if skin that lies `d` on the palm's
side of the axis takes up at most 1 / d radians per metre: the stretch is longer on the palm's side than on the back.
"""

from __future__ import annotations

import numpy as np
from hand_model.kinematics import unit
from hand_model.rest_pose import Hand, flexion_axes
from scipy.sparse import coo_matrix, csc_matrix, diags
from scipy.sparse.linalg import splu

from handgen.hand.skeleton import FINGER_JOINTS, FINGERS

HEAT = 1.0  # heat exchanged with the nearest bone, relative to that along the skin
# Half lengths around a joint: on the back, on the back of the thumb's thicker knuckle, and how they grow.
STRETCH_BACK_M, STRETCH_THUMB_M, STRETCH_PER_DEPTH, STRETCH_MOST_M = 0.0045, 0.0095, 1.1, 0.0115
MINIMUM_WEIGHT = 0.01
MAXIMUM_INFLUENCES = 4


def cotangent_laplacian(vertices: np.ndarray, triangles: np.ndarray) -> tuple[csc_matrix, np.ndarray]:
    """Stiffness matrix (n, n), positive semi-definite, and the area of each vertex."""
    n = len(vertices)
    rows, columns, values = [], [], []
    areas = np.zeros(n)
    for k in range(3):
        a, b, c = triangles[:, k], triangles[:, (k + 1) % 3], triangles[:, (k + 2) % 3]
        u, v = vertices[b] - vertices[a], vertices[c] - vertices[a]
        double_area = np.linalg.norm(np.cross(u, v), axis=1)
        half_cotangent = np.clip(0.5 * (u * v).sum(1) / double_area, 0.0, 10.0)
        rows += [b, c]
        columns += [c, b]
        values += [half_cotangent, half_cotangent]
        np.add.at(areas, a, double_area / 6)
    adjacency = coo_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), (n, n)).tocsc()
    return (diags(np.asarray(adjacency.sum(1)).ravel()) - adjacency).tocsc(), areas


def distance_to_segment(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Distance of points (n, 3) to one segment."""
    along = end - start
    share = np.clip((points - start) @ along / (along @ along), 0.0, 1.0)
    return np.linalg.norm(points - start - share[:, None] * along, axis=1)


def digit_weights(hand: Hand, triangles: np.ndarray) -> np.ndarray:
    """Share (n, 6) of the palm and of each digit, thumb to pinky, in every vertex."""
    palm = []
    for finger in FINGERS[1:]:
        knuckle = hand.joints[FINGER_JOINTS[finger][0]]
        palm.append(distance_to_segment(hand.vertices, hand.joints[0], knuckle))
    palm.append(distance_to_segment(hand.vertices, hand.joints[0], np.array([0.3, 0.0, 0.0])))
    distances = [np.min(palm, axis=0)]
    for finger, tip in zip(FINGERS, hand.tips, strict=True):
        chain = [*hand.joints[list(FINGER_JOINTS[finger])], tip]
        pieces = [distance_to_segment(hand.vertices, a, b) for a, b in zip(chain, chain[1:], strict=False)]
        distances.append(np.min(pieces, axis=0))
    nearest = np.argmin(distances, axis=0)
    stiffness, areas = cotangent_laplacian(hand.vertices, triangles)
    exchange = HEAT * areas / np.maximum(np.min(distances, axis=0), 1e-3) ** 2
    solve = splu((stiffness + diags(exchange)).tocsc()).solve
    return np.stack([solve(exchange * (nearest == k)) for k in range(len(distances))], axis=1)


def bone_share(
    vertices: np.ndarray, bones: tuple[np.ndarray, np.ndarray, np.ndarray], axis: np.ndarray, back_m: float
) -> np.ndarray:
    """Share (n,) in 0..1 that skin around a joint has of the bone beyond it.

    bones: the near end of the bone before it, the joint, the far end of the bone after it. axis: of flexion.
    """
    before, joint, after = bones
    along = unit(unit(joint - before) + unit(after - joint))
    palmar = unit(np.cross(axis, along))
    offsets = vertices - joint
    half = back_m + STRETCH_PER_DEPTH * np.maximum(offsets @ palmar, 0.0)
    steps = np.clip(offsets @ along / np.minimum(half, STRETCH_MOST_M), -1.0, 1.0)
    return 0.5 + 0.25 * steps * (3 - steps**2)


def reweight(hand: Hand, triangles: np.ndarray) -> np.ndarray:
    """Weights (n, 16): digits against palm by heat, bones inside a digit by distance from their joints."""
    shares = np.clip(digit_weights(hand, triangles), 0.0, 1.0)
    result = np.zeros((len(hand.vertices), len(hand.joints)))
    result[:, 0] = shares[:, 0]
    axes = flexion_axes(hand)
    for k, (finger, tip) in enumerate(zip(FINGERS, hand.tips, strict=True)):
        first, second, third = FINGER_JOINTS[finger]
        ends = (*hand.joints[[first, second, third]], tip)
        back = STRETCH_THUMB_M if finger == "thumb" else STRETCH_BACK_M
        middle = bone_share(hand.vertices, ends[:3], axes[k], back)
        outer = bone_share(hand.vertices, ends[1:], axes[k], STRETCH_BACK_M)
        result[:, first] = shares[:, k + 1] * (1 - middle)
        result[:, second] = shares[:, k + 1] * middle * (1 - outer)
        result[:, third] = shares[:, k + 1] * middle * outer
    return limit_influences(result)


def limit_influences(weights: np.ndarray) -> np.ndarray:
    """Keep the largest few weights of each vertex, and make them sum to one."""
    floor = np.sort(weights, axis=1)[:, -MAXIMUM_INFLUENCES][:, None]
    kept = np.where((weights >= floor) & (weights > MINIMUM_WEIGHT), weights, 0.0)
    return kept / kept.sum(1, keepdims=True)
