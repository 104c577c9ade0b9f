"""Flesh that gives way where fingers, the palm or two hands touch, and bulges beside it.

Skinning lets soft parts overlap by a few millimetres where in life both are pressed flat. Both sides of an overlap give
way by half of it, so that they meet in one surface, and what they lose swells the skin around.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from handgen.geometry.meshes import Mesh, Points, Tracer
from handgen.hand.skeleton import JOINT_COUNT, JOINT_PARENTS

_DEEPEST_M = 0.008  # of an overlap that is pressed flat: more is no touch
_START_M = 2e-4  # rays start this far under their own surface
_RING_SPREADS = 4  # over how many neighbours the bulge reaches
_BULGE_SHARE = 0.5  # of what is pressed in that swells out around: the rest goes where nobody sees it


@dataclass(frozen=True)
class Flesh:
    """The skin of all hands of a scene.

    faces: of hands, not of arms and cloth. bone: owner and joint that carry most of a vertex, as one number. spread:
    the operator that averages a vertex' value with its neighbours'.
    """

    faces: Int[np.ndarray, "faces 3"]
    bone: Int[np.ndarray, " n"]
    spread: sparse.csr_matrix

    def give_m(self, vertices: Points, normals: Points) -> Float[np.ndarray, " n"]:
        """How far each vertex moves along its unit normal, metres: inwards where it is in another part of a hand."""
        depth = self._depth_m(vertices, normals)
        if not depth.any():
            return depth
        inward = np.maximum(depth, self.spread @ depth) / 2
        around = inward
        for _ in range(_RING_SPREADS):
            around = self.spread @ around
        return np.where(depth > 0, 0.0, _BULGE_SHARE * around) - inward

    def _depth_m(self, vertices: Points, normals: Points) -> Float[np.ndarray, " n"]:
        """How far a ray from under each vertex, away from its skin, goes until it leaves another part, or 0."""
        depth = np.zeros(len(vertices))
        skin = np.unique(self.faces)
        mesh = Mesh(vertices, self.faces)
        hits = Tracer(mesh).first(vertices[skin] - _START_M * normals[skin], -normals[skin])
        leaves = np.einsum("nc,nc->n", mesh.face_normals[hits.face], -normals[skin]) > 0
        other = self.bone[self.faces[hits.face, 0]]
        touched = hits.found & leaves & (hits.distance < _DEEPEST_M) & may_touch(self.bone[skin], other)
        depth[skin[touched]] = hits.distance[touched] + _START_M
        return depth


def may_touch(first: Int[np.ndarray, " n"], second: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Whether two bones can press against each other: of two hands, or neither the same nor joined by a joint."""
    parents = np.array((0, *JOINT_PARENTS[1:]))
    a, b = first % JOINT_COUNT, second % JOINT_COUNT
    joined = (a == b) | (parents[a] == b) | (parents[b] == a)
    return ~joined | (first // JOINT_COUNT != second // JOINT_COUNT)
