"""Bones of measured length for MakeHuman's fingers.

Bone lengths of adults: Buryanov, Kotiuk, "Proportions of hand segments", Int. J. Morphol. 28(3), 2010, table 1 (66
adults, radiographs, from joint line to joint line, pulp apart).
"""

from __future__ import annotations

import numpy as np
from hand_model.kinematics import unit
from hand_model.rest_pose import Hand

from handgen.hand.skeleton import FINGER_JOINTS, FINGERS

# Metacarpal, proximal, middle and distal phalanx, pulp; millimetres. The thumb has no middle phalanx.
BONES_MM = {
    "thumb": (46.22, 31.57, 0.0, 21.67, 5.67),
    "index": (68.12, 39.78, 22.38, 15.82, 3.84),
    "middle": (64.60, 44.63, 26.33, 17.40, 3.95),
    "ring": (58.00, 41.37, 25.65, 17.30, 3.95),
    "pinky": (53.69, 32.74, 18.11, 15.96, 3.73),
}
BONE_DEVIATIONS_MM = {
    "thumb": (3.9, 3.1, 0.0, 1.6),
    "index": (6.3, 4.9, 2.5, 2.3),
    "middle": (5.4, 3.8, 3.0, 1.9),
    "ring": (5.1, 3.9, 3.3, 2.2),
    "pinky": (4.4, 2.8, 2.5, 2.5),
}
CARPUS_MM = 25.0  # wrist crease to the base of the metacarpals
# How far behind the joint line a joint turns: the heads of the bones are round. For the knuckles see
# `rest_pose.KNUCKLE_SHIFT_M`.
BEHIND_MM = {"mcp": 2.0, "pip": 3.0, "dip": 2.5, "thumb_mcp": 2.0, "thumb_ip": 1.0}
# MakeHuman's little finger is short for its hand; the other digits keep their length.
STRETCH = {"thumb": 1.0, "index": 1.0, "middle": 1.0, "ring": 1.0, "pinky": 1.055}


def segments_mm(finger: str) -> np.ndarray:
    """Lengths from the MCP joint on between the centres of joints, the last to the tip of the skin."""
    _, proximal, middle, distal, pulp = BONES_MM[finger]
    if finger == "thumb":
        knuckle, hinge = BEHIND_MM["thumb_mcp"], BEHIND_MM["thumb_ip"]
        return np.array([proximal + knuckle - hinge, distal + pulp + hinge])
    knuckle, hinge, outer = BEHIND_MM["mcp"], BEHIND_MM["pip"], BEHIND_MM["dip"]
    return np.array([proximal + knuckle - hinge, middle + hinge - outer, distal + pulp + outer])


def knots(hand: Hand, finger: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First knot (3,) of a digit's straight part, its direction (3,), and how far along it the others lie."""
    chain = list(FINGER_JOINTS[finger])[int(finger == "thumb") :]
    tip = hand.tips[FINGERS.index(finger)]
    along = unit(tip - hand.joints[chain[0]])
    places = (np.vstack([hand.joints[chain], tip]) - hand.joints[chain[0]]) @ along
    return hand.joints[chain[0]], along, places


def segment_factors(hand: Hand) -> dict[str, np.ndarray]:
    """By what to multiply the lengths of each digit's segments so that they are in measured proportion."""
    factors = {}
    for finger in FINGERS:
        lengths = np.diff(knots(hand, finger)[2])
        wanted = segments_mm(finger)
        factors[finger] = STRETCH[finger] * wanted / wanted.sum() * lengths.sum() / lengths
    return factors


def stretch_segments(hand: Hand, weights: np.ndarray, factors: dict[str, np.ndarray]) -> Hand:
    """Lengthen or shorten the segments of straight digits, skin and joints together.

    weights: (n, 16) skinning weights. factors: per finger, of its segments from MCP on.
    """
    vertices, joints, tips = hand.vertices.copy(), hand.joints.copy(), hand.tips.copy()
    for finger, factor in factors.items():
        start, along, places = knots(hand, finger)
        moved = np.concatenate([[0.0], np.cumsum(np.diff(places) * factor)]) - places
        moved[0] = 0.0

        def offsets(points: np.ndarray, start=start, along=along, places=places, moved=moved) -> np.ndarray:
            return np.interp((points - start) @ along, places, moved)[:, None] * along

        chain = list(FINGER_JOINTS[finger])
        vertices += weights[:, chain].sum(1)[:, None] * offsets(hand.vertices)
        joints[chain[1:]] += offsets(hand.joints[chain[1:]])
        tips[FINGERS.index(finger)] += offsets(hand.tips[[FINGERS.index(finger)]])[0]
    return Hand(vertices, joints, tips)
