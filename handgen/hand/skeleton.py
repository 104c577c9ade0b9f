"""Joints, keypoints and their orders: the only tables of hand indices in handgen.

Keypoints (21): wrist, then thumb, index, middle, ring, pinky, each from the palm to the tip. The order of OpenPose,
FreiHAND and HaMeR. Thumb: CMC, MCP, IP, tip; fingers: MCP, PIP, DIP, tip.

Joints (16): MANO's own: wrist, index, middle, pinky, ring, thumb, three each. Fingertips are no joints but vertices
of the mesh, at smplx's ids (`smplx/vertex_ids.py`, "mano"); other wrappers use neighbours (`TIP_VERTEX_SETS`).

What other projects mean by the same words is converted in `handgen.hand.conversions`, from the tables at the end.
"""

from __future__ import annotations

FINGERS = ("thumb", "index", "middle", "ring", "pinky")
SIDES = ("left", "right")

# A left hand is the mirror image of a right one in x, and the reverse: the factors of points and other vectors, and of
# rotation vectors (axis-angle), which are pseudovectors and keep the component that the mirror turns.
MIRROR_X = (-1.0, 1.0, 1.0)
MIRROR_X_ROTATION = (1.0, -1.0, -1.0)

KEYPOINT_NAMES = (
    "wrist",
    *("thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip"),
    *(f"{finger}_{part}" for finger in FINGERS[1:] for part in ("mcp", "pip", "dip", "tip")),
)
KEYPOINT_COUNT = len(KEYPOINT_NAMES)
KEYPOINT_PARENTS = (-1, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19)
WRIST, MIDDLE_MCP = 0, 9
MCP_KEYPOINTS = (5, 9, 13, 17)
FINGER_KEYPOINTS = {finger: tuple(range(4 * i + 1, 4 * i + 5)) for i, finger in enumerate(FINGERS)}

JOINT_NAMES = (
    "wrist",
    *(f"{finger}{k}" for finger in ("index", "middle", "pinky", "ring", "thumb") for k in (1, 2, 3)),
)
JOINT_COUNT = len(JOINT_NAMES)
JOINT_PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
FINGER_JOINTS = {
    "thumb": (13, 14, 15),
    "index": (1, 2, 3),
    "middle": (4, 5, 6),
    "ring": (10, 11, 12),
    "pinky": (7, 8, 9),
}

# Joints at the same depth of the tree, in the order of the fingers in JOINT_NAMES.
JOINT_LEVELS = tuple(tuple(joint + depth for joint in (1, 4, 7, 10, 13)) for depth in range(3))

VERTEX_COUNT = 778
TIP_VERTICES = {"thumb": 744, "index": 320, "middle": 443, "ring": 554, "pinky": 671}

# The 16 joints followed by the five tips (thumb to pinky), in the order of the keypoints.
KEYPOINTS_FROM_JOINTS_AND_TIPS = (
    0,
    *(index for i, finger in enumerate(FINGERS) for index in (*FINGER_JOINTS[finger], JOINT_COUNT + i)),
)
# The joint whose rotation carries each keypoint: itself, or the last joint of the finger for a tip.
KEYPOINT_CARRIERS = tuple(
    index if index < JOINT_COUNT else FINGER_JOINTS[FINGERS[index - JOINT_COUNT]][-1]
    for index in KEYPOINTS_FROM_JOINTS_AND_TIPS
)

# Keypoint orders of other projects: entry i is our keypoint that they have at place i.
_TIP_TO_PALM = tuple(FINGER_KEYPOINTS[finger][3 - k] for finger in FINGERS for k in range(4))
KEYPOINT_ORDERS = {
    # handgen, OpenPose, FreiHAND, HaMeR, MediaPipe, and manopth's output
    "handgen": tuple(range(KEYPOINT_COUNT)),
    # smplx's and MANO's 16 joints, then the tips, thumb to pinky (smplx/vertex_joint_selector.py)
    "mano": tuple(KEYPOINTS_FROM_JOINTS_AND_TIPS.index(i) for i in range(KEYPOINT_COUNT)),
    # InterHand2.6M: each finger from the tip to the palm, the wrist last (its README, "joint_valid")
    "interhand": (*_TIP_TO_PALM, WRIST),
    # RHD and the networks of lmb-freiburg/hand3d: the wrist, then each finger from the tip to the palm
    "rhd": (WRIST, *_TIP_TO_PALM),
}

# Fingertip vertices of MANO's own mesh, thumb to pinky. The open hand has its tips at smplx's ids alone.
TIP_VERTEX_SETS = {
    "smplx": tuple(TIP_VERTICES[finger] for finger in FINGERS),
    "manopth": (745, 317, 444, 556, 673),  # manopth/manolayer.py, right hand
    "manopth_left": (745, 317, 445, 556, 673),
    "freihand": (744, 320, 443, 555, 672),  # lmb-freiburg/freihand utils/mano_utils.py
}


def other_side(side: str) -> str:
    """Return `left` for `right` and the reverse."""
    return "left" if side == "right" else "right"
