"""Named poses of simulated hands: gestures of everyday life, finger counting, letters of sign language, grasps.

Angles are anatomical, degrees (`handgen.hand.model_files.HandArrays`). Finger bends follow the published pictures: the
letters those of the American manual alphabet (Stokoe, "Sign language structure", 1960), the grasps the taxonomy of
Feix, Romero, Schmiedmayer, Dollar, Kragic, "The GRASP taxonomy of human grasp types", IEEE Trans. Human-Machine Systems
46(1), 2016. Where a thumb touches a finger, its angles (and those of the finger it meets) are solved for that on the
open hand of mean shape, not guessed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from handgen.hand.skeleton import FINGER_JOINTS, JOINT_COUNT

Bend = tuple[float, float, float]  # flexion of a finger's three joints, degrees
Angles = Float[np.ndarray, "15 3"]
# Abduction of each knuckle, degrees, positive to the thumb's side: of fingers held together, what the fan adds, and how
# fingers that bend come together (all point to the scaphoid). The first and the last as in fits of real hands.
_TOGETHER_DEG = {"index": -3.5, "middle": 0.5, "ring": 6.5, "pinky": 6.5}
SPREAD_DEG = {"index": 12.0, "middle": 2.0, "ring": -8.0, "pinky": -17.0}
_GATHERED_DEG = {"index": -11.0, "middle": -6.0, "ring": -4.0, "pinky": 1.0}
_CLOSED_DEG = 160.0  # bend of the first two joints of a closed finger
_STRAIGHT: Bend = (4, 5, 3)
_CURLED: Bend = (74, 92, 64)
_TIGHT: Bend = (84, 110, 74)
_FOLDED: Bend = (70, 88, 63)
_OUT = (-18.0, -10.0, 0.0)  # a thumb that points away
_OVER = (17.0, 7.0, -13.0)  # on the middle finger's middle phalanx


@dataclass(frozen=True)
class NamedPose:
    """Anatomical angles of one pose, degrees.

    index, middle, ring, pinky: flexion of knuckle and both hinges. spread: 1 fans the fingers out, 0 holds them
    together, or the abduction of each knuckle. thumb_base: flexion, abduction, twist. thumb: flexion of its two outer
    joints.
    """

    index: Bend
    middle: Bend
    ring: Bend
    pinky: Bend
    spread: float | tuple[float, float, float, float]
    thumb_base: Bend
    thumb: tuple[float, float]


def closedness(bends_deg: Float[np.ndarray, " 3"]) -> float:
    """Return how closed a finger is, 0 to 1, by the bend of its joints."""
    return float(np.clip(bends_deg[:2].sum() / _CLOSED_DEG, 0, 1))


def abduction_deg(finger: str, spread: float, bends_deg: Float[np.ndarray, " 3"]) -> float:
    """Return the abduction of a finger's knuckle; spread: 0 for fingers held together, 1 for the fan."""
    gathered = _GATHERED_DEG[finger] * closedness(bends_deg)
    return _TOGETHER_DEG[finger] + spread * SPREAD_DEG[finger] + gathered


def pose_angles_deg(pose: NamedPose) -> Angles:
    """Flexion, abduction and twist of joints 1 to 15."""
    angles = np.zeros((JOINT_COUNT, 3))
    for place, finger in enumerate(SPREAD_DEG):
        joints = list(FINGER_JOINTS[finger])
        angles[joints, 0] = getattr(pose, finger)
        if isinstance(pose.spread, tuple):
            angles[joints[0], 1] = pose.spread[place]
        else:
            angles[joints[0], 1] = abduction_deg(finger, pose.spread, angles[joints, 0])
    base, middle, tip = FINGER_JOINTS["thumb"]
    angles[base] = pose.thumb_base
    angles[middle, 0], angles[tip, 0] = pose.thumb
    return angles[1:]


def _alike(bend: Bend, spread: float, thumb_base: Bend, thumb: tuple[float, float]) -> NamedPose:
    return NamedPose(bend, bend, bend, bend, spread, thumb_base, thumb)


# The thumbs of fist, point and peace lie on the middle phalanges in front of them: solved for that, not guessed.
POSES: dict[str, NamedPose] = {
    "open": _alike(_STRAIGHT, 1.0, (-8, 4, 0), (2, 2)),
    "flat": _alike(_STRAIGHT, 0.0, (0, -6, 0), (5, 5)),
    "relaxed": NamedPose((18, 24, 12), (24, 30, 14), (28, 32, 16), (30, 30, 16), 0.25, (4, 2, 0), (12, 15)),
    "relaxed_closed": NamedPose((34, 48, 24), (42, 54, 28), (48, 56, 30), (50, 54, 28), 0.15, (8, 2, 0), (16, 20)),
    "claw": _alike((8, 62, 40), 0.9, (-4, 10, 0), (10, 30)),
    "fist": _alike(_CURLED, 0.0, (13, 3, 3), (3, 55)),
    "tight_fist": _alike(_TIGHT, 0.0, (15, 2, 3), (6, 58)),
    "point": NamedPose((5, 8, 4), (74, 86, 48), (76, 88, 48), (74, 84, 46), 0.0, _OVER, (23, 28)),
    "peace": NamedPose((4, 6, 4), (4, 6, 4), (72, 86, 48), (72, 84, 46), 0.9, (19, 1, -13), (36, 11)),
    "pinch": NamedPose((50, 48, 23), (24, 28, 14), (18, 22, 12), (14, 18, 10), 0.4, (12, 11, 5), (17, 21)),
    "grasp": NamedPose((36, 42, 24), (38, 44, 26), (40, 46, 26), (42, 46, 26), 0.5, (8, 22, 6), (16, 22)),
    "thumb_up": _alike(_CURLED, 0.0, _OUT, (-4, -6)),
    "ok": NamedPose((55, 54, 26), (12, 14, 8), (8, 10, 6), (6, 8, 5), 0.7, (11, 4, 0), (14, 19)),
    "horns": NamedPose(_STRAIGHT, (74, 86, 48), (76, 88, 48), _STRAIGHT, 0.6, _OVER, (23, 28)),
    "i_love_you": NamedPose(_STRAIGHT, _CURLED, _CURLED, _STRAIGHT, 0.8, (-14, -4, 0), (2, 2)),
    "call": NamedPose(_CURLED, _CURLED, _CURLED, _STRAIGHT, (0, 0, -2, -16), (-16, -4, 0), (0, 0)),
    "crossed": NamedPose((8, 10, 5), (22, 8, 4), _FOLDED, _FOLDED, (-9, 12, -2, -4), (19, 1, -13), (36, 11)),
    "gun": NamedPose(_STRAIGHT, _CURLED, _CURLED, _CURLED, 0.0, _OUT, (0, 0)),
    "finger_gun": NamedPose(_STRAIGHT, _STRAIGHT, _CURLED, _CURLED, 0.0, _OUT, (0, 0)),
    # Counting, with the thumb in (American) or out (European).
    "three": NamedPose(_STRAIGHT, _STRAIGHT, _STRAIGHT, (72, 86, 46), 0.7, (32, -22, -3), (41, -6)),
    "three_with_thumb": NamedPose(_STRAIGHT, _STRAIGHT, _FOLDED, _FOLDED, 0.7, (-14, 2, 0), (2, 2)),
    "four": _alike(_STRAIGHT, 0.5, (12, -20, -15), (14, 13)),
    "four_with_thumb": NamedPose(_STRAIGHT, _STRAIGHT, _STRAIGHT, (70, 84, 46), 0.8, (-10, 4, 0), (2, 2)),
    "middle_out": NamedPose(_CURLED, _STRAIGHT, _CURLED, _CURLED, 0.0, (10, -8, 0), (10, 20)),
    # Letters that none of the above is.
    "letter_a": _alike(_CURLED, 0.0, (12, -16, 0), (-7, -4)),
    "letter_b": _alike(_STRAIGHT, 0.0, (12, -20, -15), (14, 13)),
    "letter_c": _alike((34, 44, 26), 0.05, (6, 24, 6), (10, 18)),
    "letter_d": NamedPose((6, 6, 4), (60, 58, 30), (66, 64, 34), (68, 66, 36), 0.1, (20, 7, -3), (24, 25)),
    "letter_e": _alike((34, 95, 62), 0.0, (16, -17, -15), (28, 49)),
    "letter_g": NamedPose((16, 8, 4), _CURLED, _CURLED, _CURLED, 0.0, (6, -8, -2), (2, 4)),
    "letter_h": NamedPose(_STRAIGHT, _STRAIGHT, _FOLDED, _FOLDED, 0.0, (19, 1, -13), (36, 11)),
    "letter_i": NamedPose(_CURLED, _CURLED, _CURLED, _STRAIGHT, (0, 0, -2, -10), (13, 3, 3), (3, 55)),
    "letter_k": NamedPose((6, 6, 4), (52, 14, 8), (78, 88, 48), (76, 86, 46), 0.6, (22, -10, -8), (0, -5)),
    "letter_m": NamedPose((78, 62, 26), (80, 62, 26), (80, 64, 26), (78, 92, 54), 0.15, (24, -10, -10), (36, 30)),
    "letter_n": NamedPose((76, 60, 26), (78, 60, 26), (78, 88, 50), (78, 88, 50), 0.15, (14, -14, -8), (30, 30)),
    "letter_o": NamedPose((52, 46, 22), (60, 52, 24), (60, 50, 24), (60, 50, 24), 0.1, (22, 10, -2), (18, 25)),
    "letter_t": NamedPose((70, 76, 36), _CURLED, _CURLED, _CURLED, 0.0, (10, -4, -6), (14, 24)),
    "letter_x": NamedPose((14, 86, 52), _CURLED, _CURLED, _CURLED, 0.0, _OVER, (23, 28)),
    # Grasps.
    "large_cylinder": NamedPose((26, 34, 20), (28, 36, 20), (28, 38, 20), (30, 36, 20), 0.5, (2, 28, 8), (4, 10)),
    "small_cylinder": _alike((62, 72, 40), 0.1, (14, 12, 4), (14, 30)),
    "adducted_thumb": _alike((60, 70, 38), 0.1, (6, -12, -4), (2, 6)),
    "power_sphere": _alike((28, 34, 22), 1.0, (2, 26, 8), (6, 16)),
    "power_disk": _alike((12, 36, 32), 1.1, (-2, 20, 6), (8, 24)),
    "precision_disk": _alike((30, 24, 16), 1.1, (4, 26, 8), (4, 14)),
    "hook": _alike((12, 87, 49), 0.1, (0, -6, 0), (5, 10)),
    "lateral": NamedPose((48, 62, 30), (54, 66, 34), (58, 68, 36), (60, 68, 36), 0.1, (18, -12, -5), (2, 6)),
    "tripod": NamedPose((58, 46, 18), (58, 54, 27), (60, 66, 34), (64, 66, 34), (-6, 9, 0, 0), (20, 5, -1), (10, 16)),
    "writing": NamedPose((60, 42, 14), (58, 52, 24), (62, 66, 34), (66, 66, 34), 0.1, (13, 6, -1), (16, 22)),
    "quadpod": NamedPose((54, 44, 20), (56, 48, 22), (58, 48, 22), (64, 60, 32), 0.2, (18, 12, 2), (12, 20)),
    "plate": _alike((60, 12, 8), 0.1, (20, 16, 10), (-2, 4)),
    "extension_grip": _alike((46, 20, 10), 0.1, (12, 18, 8), (0, 4)),
    "index_along": NamedPose((20, 12, 6), (62, 72, 38), (66, 74, 40), (66, 72, 40), 0.1, (12, 8, 0), (10, 20)),
    "light_tool": NamedPose((54, 74, 44), (60, 78, 46), (64, 78, 46), (64, 76, 44), 0.1, (8, -4, 0), (6, 14)),
    "pincer": NamedPose((62, 38, 12), (28, 30, 14), (24, 28, 14), (20, 24, 12), 0.4, (18, 8, 1), (8, 6)),
    "tip_pinch": NamedPose((48, 56, 36), (40, 50, 28), (42, 54, 28), (44, 54, 28), 0.2, (8, 4, 0), (15, 41)),
    "ring_grip": NamedPose((50, 60, 36), (30, 40, 22), (28, 36, 20), (26, 32, 18), 0.3, (8, 8, 2), (14, 26)),
    "scissors": NamedPose((26, 46, 24), (38, 52, 28), (46, 62, 34), (50, 64, 34), 0.3, (10, 4, 2), (18, 30)),
    "medium_wrap": NamedPose((44, 52, 30), (46, 54, 30), (48, 56, 30), (50, 54, 28), 0.3, (8, 24, 6), (8, 18)),
    "prismatic_4": NamedPose((50, 44, 20), (54, 46, 21), (54, 46, 21), (52, 46, 21), 0.15, (20, 10, 1), (12, 17)),
    "prismatic_3": NamedPose((50, 44, 20), (54, 46, 21), (54, 46, 21), (30, 32, 17), 0.15, (20, 10, 1), (12, 17)),
    "prismatic_2": NamedPose((50, 44, 20), (54, 47, 21), (36, 38, 20), (28, 30, 16), 0.1, (20, 9, 1), (12, 17)),
    "precision_sphere": NamedPose((28, 30, 18), (28, 30, 18), (28, 30, 18), (26, 30, 18), 0.9, (4, 26, 8), (4, 14)),
    "sphere_4": NamedPose((32, 38, 22), (34, 38, 22), (34, 40, 22), (56, 64, 34), 0.7, (8, 26, 8), (4, 14)),
    "sphere_3": NamedPose((34, 40, 22), (36, 40, 22), (58, 66, 34), (60, 66, 34), 0.6, (8, 24, 7), (4, 14)),
    "tripod_variation": NamedPose(
        (54, 50, 22), (69, 47, 17), (62, 66, 34), (64, 66, 34), (-4, 9, 0, 0), (25, 8, 0), (10, 14)
    ),
    "lateral_tripod": NamedPose((58, 59, 24), (58, 62, 30), (62, 68, 36), (64, 68, 36), 0.05, (18, -6, -4), (2, 7)),
    "stick": NamedPose((59, 68, 34), (54, 68, 36), (60, 70, 38), (62, 70, 38), 0.05, (18, -14, -5), (-3, 1)),
    "ventral": NamedPose((62, 62, 28), (66, 80, 44), (68, 82, 46), (68, 80, 44), 0.05, (17, -13, -5), (-2, 3)),
    "adduction_grip": NamedPose((8, 14, 8), (6, 12, 8), (16, 26, 14), (20, 28, 14), 0.0, (2, -4, 0), (8, 10)),
    "palmar": NamedPose((58, 34, 18), (60, 38, 20), (62, 40, 20), (64, 40, 20), 0.1, (6, -12, -2), (0, 4)),
    "board": NamedPose((58, 38, 36), (64, 60, 41), (76, 52, 43), (90, 28, 32), (-14, -7, 4, 15), (17, 8, 0), (16, 20)),
    "book": NamedPose((46, 40, 28), (56, 52, 34), (64, 48, 36), (72, 36, 30), (-10, -5, 2, 10), (14, 12, 2), (14, 18)),
    "loose_tool": NamedPose(
        (42, 44, 34), (56, 68, 50), (66, 66, 62), (76, 44, 66), (-13, -6, -1, 5), (18, 2, -2), (9, 16)
    ),
    # At a keyboard, on a mouse, on a table.
    "typing": NamedPose((22, 38, 22), (24, 42, 24), (24, 42, 24), (22, 36, 20), 0.4, (4, -4, 0), (10, 16)),
    "typing_reach": NamedPose((6, 22, 12), (26, 46, 26), (28, 48, 26), (22, 40, 22), 0.6, (2, -2, 0), (8, 12)),
    "mouse": NamedPose((12, 26, 14), (12, 28, 16), (20, 36, 20), (26, 36, 20), 0.5, (2, 8, 2), (6, 14)),
    "bent_back": _alike((-16, 4, 2), 0.7, (-10, 4, 0), (-6, -8)),
    "point_bent": NamedPose((33, 0, 2), (61, 75, 80), (66, 78, 80), (70, 77, 80), (-5, -5, 1, 6), (6, -8, 0), (24, 40)),
    "easy_open": NamedPose((10, 10, -2), (11, 8, 10), (15, 6, 14), (23, -2, 16), 0.4, (-9, 2, 0), (4, -6)),
    "call_tight": NamedPose(
        (68, 94, 72), (70, 92, 70), (66, 86, 70), (30, -4, 1), (-8, -3, 5, 8), (-8, -6, 0), (-8, -10)
    ),
    "loose_curl": NamedPose((25, 46, 24), (26, 50, 36), (31, 44, 36), (42, 30, 30), 0.1, (-2, 2, 0), (24, 20)),
    "knuckle_bend": _alike((72, 6, 4), 0.1, (4, -4, 0), (8, 10)),
}
FEW_POSES = ("open", "flat", "relaxed", "fist", "point", "peace", "pinch", "grasp", "thumb_up")
