"""Places of texels on the hand: by each joint's own axes, on which finger, on the palm or the back.

All in a right hand's rest pose, metres. Local axes of a joint are anatomical (`HandArrays.joint_axes`): x along the
bone to the tip, y to the back of the finger, z across it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Int

from handgen.hand.model import HandModel
from handgen.hand.model_files import OPEN_HAND, surface_bytes
from handgen.hand.skeleton import FINGER_JOINTS, FINGERS, TIP_VERTICES
from handgen.stages.simulate.skin.atlas import Atlas, bake, corner_texels, subdivide_corners
from handgen.stages.simulate.subdivision import subdivision, vertex_normals
from handgen.storage.numpy_files import read_arrays

_NO_FINGER = -1
_FINGER_SHARE = 0.5  # of a texel's skinning weights, that make it one of a finger's


@dataclass(frozen=True)
class JointPlace:
    """One joint's place at rest: its centre, its axes as rows (along, back, across), the length of its bone."""

    center_m: Float[np.ndarray, " 3"]
    axes: Float[np.ndarray, "3 3"]
    length_m: float


@dataclass(frozen=True)
class Places:
    """The anatomical place of every covered texel of the atlas.

    finger: index into `FINGERS`, or -1. joint: the one whose bending moves the texel most, 0 for palm, back and
    forearm. facing_back: 1 on the back of hand or finger, -1 on the palm's side.
    """

    atlas: Atlas
    joints: dict[int, JointPlace]
    tips_m: dict[str, Float[np.ndarray, " 3"]]
    rest_joints_m: Float[np.ndarray, "16 3"]
    finger: Int[np.ndarray, " n"]
    joint: Int[np.ndarray, " n"]
    facing_back: Float[np.ndarray, " n"]

    def local(self, joint: int, chosen: Int[np.ndarray, " k"]) -> Float[np.ndarray, "k 3"]:
        """Return positions of some texels along, to the back of and across a joint, metres."""
        place = self.joints[joint]
        return (self.atlas.position_m[chosen] - place.center_m) @ place.axes.T

    def of_finger(self, finger: str) -> Int[np.ndarray, " k"]:
        """Return which texels belong to a finger."""
        return np.flatnonzero(self.finger == FINGERS.index(finger))

    @property
    def off_fingers(self) -> Bool[np.ndarray, " n"]:
        """Mark palm, back and forearm."""
        return self.finger == _NO_FINGER


@cache
def rest_places(side_px: int) -> Places:
    """Return the places on the mean right hand; computed once per process."""
    arrays = read_arrays(surface_bytes("right"), "the right hand's surface")
    model = HandModel.load(OPEN_HAND, "right")
    operator, faces = subdivision(arrays["faces"].astype(np.int64), len(arrays["vertices"]))
    corners = subdivide_corners(corner_texels(arrays["uv"].astype(float), arrays["faces_uv"].astype(np.int64), side_px))
    vertices, weights = (operator @ arrays[name].astype(float) for name in ("vertices", "weights"))
    atlas = bake(corners, faces, vertices, vertex_normals(faces, vertices), weights, side_px)

    rest = model.rest_joints.numpy()
    tips = {name: model.template[TIP_VERTICES[name]].numpy() for name in FINGERS}
    joints = {}
    for name, chain in FINGER_JOINTS.items():
        for joint, end in zip(chain, [*rest[list(chain[1:])], tips[name]], strict=True):
            flexion, back, along = model.arrays.joint_axes[joint - 1]
            joints[joint] = JointPlace(
                rest[joint], np.stack([along, back, flexion]), float(np.linalg.norm(end - rest[joint]))
            )
    share = np.stack([atlas.weights[:, list(FINGER_JOINTS[name])].sum(1) for name in FINGERS], 1)
    finger = np.where(share.max(1) > _FINGER_SHARE, share.argmax(1), _NO_FINGER)
    return Places(
        atlas, joints, tips, rest, finger, _nearest_joint(atlas, joints, finger), _facing(atlas, joints, finger)
    )


def _nearest_joint(atlas: Atlas, joints: dict[int, JointPlace], finger: np.ndarray) -> Int[np.ndarray, " n"]:
    """Return the joint of its finger that is nearest along the finger."""
    nearest = np.zeros(len(finger), np.int64)
    for index, name in enumerate(FINGERS):
        chosen = np.flatnonzero(finger == index)
        chain = np.array(FINGER_JOINTS[name])
        centers = np.stack([joints[joint].center_m for joint in chain])
        squared = ((atlas.position_m[chosen, None] - centers) ** 2).sum(-1)
        nearest[chosen] = chain[squared.argmin(1)]
    return nearest


def _facing(atlas: Atlas, joints: dict[int, JointPlace], finger: np.ndarray) -> Float[np.ndarray, " n"]:
    """Return how far a texel faces the back of its finger, or of the hand."""
    backs = np.zeros((len(finger), 3))
    backs[:] = (0.0, 1.0, 0.0)
    for index, name in enumerate(FINGERS):
        chain = FINGER_JOINTS[name]
        chosen = np.flatnonzero(finger == index)
        share = atlas.weights[chosen][:, list(chain)]
        turned = share @ np.stack([joints[joint].axes[1] for joint in chain])
        backs[chosen] = turned / np.linalg.norm(turned, axis=1, keepdims=True).clip(1e-9)
    return (atlas.normal * backs).sum(1)
