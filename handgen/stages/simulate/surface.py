"""The open hand's full-resolution surface, made smooth and dressed: what the simulator renders.

The mesh is loop-subdivided once, at rest (Loop, "Smooth subdivision surfaces based on triangles", 1987);
skinning weights, shape directions and pose correctives go through the same linear operator, so that posing it
costs no more than skinning. The forearm runs into a sleeve, which is part of the same mesh and follows the wrist.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.transform import Rotation

from handgen.hand.model import HandModel
from handgen.hand.skeleton import JOINT_COUNT, JOINT_PARENTS
from handgen.stages.simulate.motion import finger_direction
from handgen.stages.simulate.person import Person, personal_surface
from handgen.stages.simulate.skin.atlas import corner_texels, subdivide_corners
from handgen.stages.simulate.skin.maps import SkinMaps
from handgen.stages.simulate.sleeve import sleeve_mesh
from handgen.stages.simulate.subdivision import subdivision

HAND, ARM, CLOTH = 0, 1, 2  # what a face belongs to
_VERTEX_M = 2e-3  # of skin, whose mean a vertex's colour is
_WRIST_M, _WRIST_SHARE = 0.045, 0.5  # length of skin that bends with the wrist; where it turns, of the hand's end
_ARM_IN_SLEEVE_M = 0.012  # how far the forearm reaches into the sleeve


@dataclass(frozen=True)
class Surface:
    """A hand with forearm and sleeve at rest, ready to be skinned. Metres.

    posedirs: of the first vertices, the skin's; the sleeve has none. albedo: linear RGB; of skin, what its maps say
    there. gloss: strength of the highlight, per vertex. part: HAND, ARM or CLOTH per face. texels: where the corners
    of each face lie in the skin's maps; of no meaning for cloth. cloth: linear albedo of the sleeve. behind_hand_m: how
    far a vertex lies behind the end of the model's mesh. wrist_m: what the forearm turns about.
    """

    vertices: Float[np.ndarray, "n 3"]
    shapedirs: Float[np.ndarray, "n 3 10"]
    posedirs: Float[np.ndarray, "skin 3 135"]
    weights: Float[np.ndarray, "n 16"]
    faces: Int[np.ndarray, "faces 3"]
    albedo: Float[np.ndarray, "n 3"]
    gloss: Float[np.ndarray, " n"]
    part: Int[np.ndarray, " faces"]
    texels: Float[np.ndarray, "faces 3 2"]
    cloth: Float[np.ndarray, " 3"]
    behind_hand_m: Float[np.ndarray, " n"]
    wrist_m: Float[np.ndarray, " 3"]

    def pose(
        self,
        betas: Float[np.ndarray, " 10"],
        rotations: Float[np.ndarray, "16 3 3"],
        joints: Float[np.ndarray, "16 3"],
        rest_joints: Float[np.ndarray, "16 3"],
        bend: Float[np.ndarray, " 3"] | None = None,
    ) -> Float[np.ndarray, "n 3"]:
        """World vertices of a hand whose joints are turned and placed by its model.

        bend: axis-angle of the forearm against the hand, in the hand's rest frame. None: it goes straight on.
        """
        shaped = self.vertices + self.shapedirs @ betas
        if bend is not None:
            shaped = self._bent(shaped, bend)
        parents = rotations[list((0, *JOINT_PARENTS[1:]))]
        local = np.swapaxes(parents[1:], -1, -2) @ rotations[1:]
        turned = (local - np.eye(3)).reshape(-1).astype(self.posedirs.dtype)
        shaped[: len(self.posedirs)] += (self.posedirs.reshape(-1, len(turned)) @ turned).reshape(-1, 3)
        offset = joints - (rotations @ rest_joints[..., None])[..., 0]
        blended = (self.weights @ rotations.reshape(JOINT_COUNT, 9)).reshape(-1, 3, 3)
        return (blended @ shaped[..., None])[..., 0] + self.weights @ offset

    def _bent(self, shaped: Float[np.ndarray, "n 3"], bend: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "n 3"]:
        """Turn the forearm about the wrist, all of it a little behind the hand's end and none of the hand."""
        share = np.clip((self.behind_hand_m + _WRIST_M / 4) / _WRIST_M, 0, 1)
        share = share * share * (3 - 2 * share)
        moved = share > 0
        turned = Rotation.from_rotvec(share[moved, None] * bend).apply(shaped[moved] - self.wrist_m) + self.wrist_m
        shaped = shaped.copy()
        shaped[moved] = turned
        return shaped


def load_surface(person: Person, model: HandModel, skin: SkinMaps, rng: np.random.Generator) -> Surface:
    """The person's surface of `model`'s side, subdivided and dressed; `rng` decides the folds of the sleeve."""
    arrays = personal_surface(person, model.side)
    operator, faces = subdivision(arrays["faces"].astype(np.int64), len(arrays["vertices"]))
    vertices = operator @ arrays["vertices"].astype(float)
    weights = operator @ arrays["weights"].astype(float)
    weights /= weights.sum(1, keepdims=True)
    shapedirs = arrays["shapedirs"].astype(float)
    shapedirs = (operator @ shapedirs.reshape(len(shapedirs), -1)).reshape(-1, 3, shapedirs.shape[2])
    posedirs = arrays["posedirs"].astype(np.float32)
    posedirs = (operator.astype(np.float32) @ posedirs.reshape(len(posedirs), -1)).reshape(-1, 3, posedirs.shape[2])
    corners = corner_texels(arrays["uv"].astype(float), arrays["faces_uv"].astype(np.int64), skin.side_px)
    texels = subdivide_corners(corners)
    at = skin.at(texels.reshape(-1, 2), _VERTEX_M / skin.texel_m)
    albedo, gloss = np.zeros((len(vertices), 3)), np.zeros(len(vertices))
    albedo[faces.reshape(-1)], gloss[faces.reshape(-1)] = at.albedo, at.gloss
    back = -finger_direction(model)  # the forearm's side of x
    behind_wrist = back * vertices[faces, 0].mean(1)
    shown = behind_wrist < person.cuff_m + _ARM_IN_SLEEVE_M
    hand_end_m = float(back * model.template[model.wrist_border, 0].mean())  # the mask ends where the model's mesh does
    faces, texels = faces[shown], texels[shown]
    part = np.where(behind_wrist < hand_end_m, HAND, ARM)[shown]
    sleeve = sleeve_mesh(vertices * [back, 1, 1], person.cuff_m, person.sleeve, rng)
    tube, sleeve_faces = sleeve.vertices * [back, 1, 1], sleeve.faces if back > 0 else sleeve.faces[:, ::-1]
    sleeve_weights = np.eye(JOINT_COUNT)[np.zeros(len(tube), int)]  # it follows the wrist
    return Surface(
        vertices=np.concatenate([vertices, tube]),
        shapedirs=np.concatenate([shapedirs, np.zeros((len(tube), *shapedirs.shape[1:]))]),
        posedirs=posedirs,
        weights=np.concatenate([weights, sleeve_weights]),
        faces=np.concatenate([faces, sleeve_faces + len(vertices)]),
        albedo=np.concatenate([albedo, sleeve.albedo]),
        gloss=np.concatenate([gloss, np.zeros(len(tube))]),
        part=np.concatenate([part, np.full(len(sleeve_faces), CLOTH)]),
        texels=np.concatenate([texels, np.zeros((len(sleeve_faces), 3, 2))]),
        cloth=person.sleeve.color,
        behind_hand_m=back * np.concatenate([vertices, tube])[:, 0] - hand_end_m,
        wrist_m=np.array([back * hand_end_m * _WRIST_SHARE, *model.template[model.wrist_border, 1:].mean(0).tolist()]),
    )
