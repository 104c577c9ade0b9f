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
from handgen.stages.simulate.light import Noise
from handgen.stages.simulate.motion import finger_direction
from handgen.stages.simulate.person import Person, personal_surface
from handgen.stages.simulate.skin.atlas import corner_texels, subdivide_corners
from handgen.stages.simulate.skin.maps import SkinMaps
from handgen.stages.simulate.subdivision import subdivision

HAND, ARM, CLOTH = 0, 1, 2  # what a face belongs to
_VERTEX_M = 2e-3  # of skin, whose mean a vertex's colour is
ELBOW_M = 0.27  # from the wrist
_SEGMENTS = 32
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
    tube, sleeve_faces = _sleeve(vertices * [back, 1, 1], person.cuff_m, rng)
    tube *= [back, 1, 1]
    if back < 0:
        sleeve_faces = sleeve_faces[:, ::-1]
    weave = 1 + 0.3 * Noise(rng).fractal(tube / 0.004)[:, None]
    cloth = (person.cloth * weave).clip(0.01, 0.9)
    sleeve_weights = np.eye(JOINT_COUNT)[np.zeros(len(tube), int)]  # it follows the wrist
    return Surface(
        vertices=np.concatenate([vertices, tube]),
        shapedirs=np.concatenate([shapedirs, np.zeros((len(tube), *shapedirs.shape[1:]))]),
        posedirs=posedirs,
        weights=np.concatenate([weights, sleeve_weights]),
        faces=np.concatenate([faces, sleeve_faces + len(vertices)]),
        albedo=np.concatenate([albedo, cloth]),
        gloss=np.concatenate([gloss, np.zeros(len(tube))]),
        part=np.concatenate([part, np.full(len(sleeve_faces), CLOTH)]),
        texels=np.concatenate([texels, np.zeros((len(sleeve_faces), 3, 2))]),
        cloth=person.cloth,
        behind_hand_m=back * np.concatenate([vertices, tube])[:, 0] - hand_end_m,
        wrist_m=np.array([back * hand_end_m * _WRIST_SHARE, *model.template[model.wrist_border, 1:].mean(0).tolist()]),
    )


def _sleeve(vertices: np.ndarray, cuff: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A tube of cloth around the forearm, which lies along +x, from the cuff to the elbow."""
    rings_x = np.concatenate([[cuff + 0.004, cuff, cuff, cuff + 0.003], np.arange(cuff + 0.012, ELBOW_M + 0.02, 0.01)])
    looseness = np.concatenate([[0.75, 1.0, 1.06, 1.12], np.full(len(rings_x) - 4, 1.1)])
    arm = vertices[(vertices[:, 0] > 0.06) & (vertices[:, 0] < 0.17)]
    angle = np.linspace(0, 2 * np.pi, _SEGMENTS, endpoint=False)
    rings, phase = [], rng.uniform(0, 2 * np.pi, 4)
    for x, loose in zip(rings_x, looseness, strict=True):
        near = arm[np.abs(arm[:, 0] - min(x, 0.15)) < 0.02]
        center = (near[:, 1:].max(0) + near[:, 1:].min(0)) / 2
        radius = np.ptp(near[:, 1:], axis=0) / 2 * loose + 0.003 * (loose >= 1)
        fold = np.sin(75 * x + 2 * angle + phase[0]) * np.sin(3 * angle + 20 * x + phase[1])
        fold = 0.05 * fold + 0.03 * np.sin(140 * x + angle + phase[2])
        radius = radius * (1 + (fold * (x > cuff + 0.01))[:, None])
        circle = center + radius * np.stack([np.cos(angle), np.sin(angle)], 1)
        rings.append(np.stack([np.full(_SEGMENTS, x), *circle.T], 1))
    return np.concatenate(rings), tube_faces(len(rings), _SEGMENTS)


def tube_faces(rings: int, segments: int) -> Int[np.ndarray, "faces 3"]:
    """Faces of a tube of rings of vertices, seen from outside when the rings turn about their path."""
    index = np.arange(rings * segments).reshape(rings, segments)
    a, b = index[:-1], np.roll(index, -1, 1)[:-1]
    c, d = index[1:], np.roll(index, -1, 1)[1:]
    return np.concatenate([np.stack([a, b, c], -1), np.stack([b, d, c], -1)]).reshape(-1, 3)
