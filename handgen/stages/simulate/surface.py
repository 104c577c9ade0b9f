"""The open hand's full-resolution surface, made smooth and dressed: what the simulator renders.

The mesh is loop-subdivided once, at rest (Loop, "Smooth subdivision surfaces based on triangles", 1987);
skinning weights, shape directions and pose correctives go through the same linear operator, so that posing it
costs no more than skinning. The forearm runs into a sleeve, which is part of the same mesh and follows the wrist.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from handgen.hand.model import HandModel
from handgen.hand.skeleton import FINGER_JOINTS, FINGERS, JOINT_COUNT, JOINT_PARENTS, TIP_VERTICES
from handgen.stages.simulate.light import Noise, linear_from_srgb
from handgen.stages.simulate.motion import finger_direction
from handgen.stages.simulate.person import Person, personal_surface

HAND, ARM, CLOTH = 0, 1, 2  # what a face belongs to
ELBOW_M = 0.27  # from the wrist
_SEGMENTS = 32
_ARM_IN_SLEEVE_M = 0.012  # how far the forearm reaches into the sleeve


@dataclass(frozen=True)
class Surface:
    """A hand with forearm and sleeve at rest, ready to be skinned. Metres.

    posedirs: of the first vertices, the skin's; the sleeve has none. albedo: linear RGB. gloss: strength of the
    highlight, per vertex. part: HAND, ARM or CLOTH per face. cloth: linear albedo of the sleeve.
    """

    vertices: Float[np.ndarray, "n 3"]
    shapedirs: Float[np.ndarray, "n 3 10"]
    posedirs: Float[np.ndarray, "skin 3 135"]
    weights: Float[np.ndarray, "n 16"]
    faces: Int[np.ndarray, "faces 3"]
    albedo: Float[np.ndarray, "n 3"]
    gloss: Float[np.ndarray, " n"]
    part: Int[np.ndarray, " faces"]
    cloth: Float[np.ndarray, " 3"]

    def pose(
        self,
        betas: Float[np.ndarray, " 10"],
        rotations: Float[np.ndarray, "16 3 3"],
        joints: Float[np.ndarray, "16 3"],
        rest_joints: Float[np.ndarray, "16 3"],
    ) -> Float[np.ndarray, "n 3"]:
        """World vertices of a hand whose joints are turned and placed by its model."""
        shaped = self.vertices + self.shapedirs @ betas
        parents = rotations[list((0, *JOINT_PARENTS[1:]))]
        local = np.swapaxes(parents[1:], -1, -2) @ rotations[1:]
        shaped[: len(self.posedirs)] += self.posedirs @ (local - np.eye(3)).reshape(-1)
        offset = joints - (rotations @ rest_joints[..., None])[..., 0]
        blended = (self.weights @ rotations.reshape(JOINT_COUNT, 9)).reshape(-1, 3, 3)
        return (blended @ shaped[..., None])[..., 0] + self.weights @ offset


def load_surface(person: Person, model: HandModel, rng: np.random.Generator) -> Surface:
    """The person's surface of `model`'s side, subdivided and dressed; `rng` decides the mottling and the folds."""
    arrays = personal_surface(person, model.side)
    operator, faces = subdivision(arrays["faces"].astype(np.int64), len(arrays["vertices"]))
    vertices = operator @ arrays["vertices"].astype(float)
    weights = operator @ arrays["weights"].astype(float)
    weights /= weights.sum(1, keepdims=True)
    shapedirs = arrays["shapedirs"].astype(float)
    shapedirs = (operator @ shapedirs.reshape(len(shapedirs), -1)).reshape(-1, 3, shapedirs.shape[2])
    posedirs = arrays["posedirs"].astype(np.float32)
    posedirs = (operator.astype(np.float32) @ posedirs.reshape(len(posedirs), -1)).reshape(-1, 3, posedirs.shape[2])
    nail = np.clip(operator @ arrays["nail_mask"].astype(float).reshape(-1), 0, 1)
    albedo, gloss = _skin(vertices, model, nail, person.skin, rng)
    back = -finger_direction(model)  # the forearm's side of x
    behind_wrist = back * vertices[faces, 0].mean(1)
    shown = behind_wrist < person.cuff_m + _ARM_IN_SLEEVE_M
    hand_end_m = float(back * model.template[model.wrist_border, 0].mean())  # the mask ends where the model's mesh does
    faces, part = faces[shown], np.where(behind_wrist < hand_end_m, HAND, ARM)[shown]
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
        cloth=person.cloth,
    )


def face_incidence(faces: Int[np.ndarray, "faces 3"], count: int) -> sparse.csr_matrix:
    """The (count, faces) matrix that sums values of faces onto their vertices."""
    columns = np.repeat(np.arange(len(faces)), 3)
    return sparse.csr_matrix((np.ones(len(columns)), (faces.reshape(-1), columns)), (count, len(faces)))


def subdivision(faces: Int[np.ndarray, "faces 3"], count: int) -> tuple[sparse.csr_matrix, np.ndarray]:
    """One step of loop subdivision: the operator on vertex values (new, count), and the new faces."""
    halves = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), 1)
    edges, edge_of_half = np.unique(halves, axis=0, return_inverse=True)
    edge_of_half = edge_of_half.reshape(-1)
    opposite = faces[:, [2, 0, 1]].reshape(-1)
    uses = np.bincount(edge_of_half, minlength=len(edges))
    is_border = uses == 1
    adjacency, border_adjacency = _adjacency(edges, count), _adjacency(edges[is_border], count)
    valence = np.asarray(adjacency.sum(1)).reshape(-1).clip(1)
    beta = (5 / 8 - (3 / 8 + np.cos(2 * np.pi / valence) / 4) ** 2) / valence
    on_border = np.asarray(border_adjacency.sum(1)).reshape(-1) == 2
    own = np.where(on_border, 0.75, 1 - valence * beta)
    old = sparse.diags(own) + sparse.diags(np.where(on_border, 0.0, beta)) @ adjacency
    old = old + sparse.diags(np.where(on_border, 0.125, 0.0)) @ border_adjacency

    ends = np.where(is_border, 0.5, 3 / 8)
    row = np.arange(len(edges))
    shape, across = (len(edges), count), np.where(is_border, 0.0, 1 / 8)[edge_of_half]
    new = sparse.csr_matrix((np.tile(ends, 2), (np.tile(row, 2), edges.T.reshape(-1))), shape)
    new = new + sparse.csr_matrix((across, (edge_of_half, opposite)), shape)
    middle = edge_of_half.reshape(-1, 3) + count  # of sides 01, 12, 20
    a, b, c = faces.T
    ab, bc, ca = middle.T
    corners = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return sparse.vstack([old, new]).tocsr(), np.concatenate([np.stack(corner, 1) for corner in corners])


def _adjacency(edges: Int[np.ndarray, "edges 2"], count: int) -> sparse.csr_matrix:
    half = sparse.csr_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), (count, count))
    return half + half.T


def _near(points: np.ndarray, centers: np.ndarray, radius_m: float) -> np.ndarray:
    """Compute how near each point is to any of the centres, 0 to 1."""
    squared = ((points[:, None] - centers[None]) ** 2).sum(-1)
    return np.exp(-squared / (2 * radius_m**2)).max(1)


def _skin(
    vertices: np.ndarray, model: HandModel, nail: np.ndarray, tone: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Linear albedo and gloss: a lighter, pinker palm, redder knuckles and tips, mottling, paler nails."""
    palm_tone = linear_from_srgb(np.array((0.90, 0.68, 0.60)))
    rest = model.rest_joints.cpu().numpy()
    tips = model.template.cpu().numpy()[[TIP_VERTICES[finger] for finger in FINGERS]]
    knuckles = rest[[joint for finger in FINGERS for joint in FINGER_JOINTS[finger]]]
    center_y = np.interp(np.abs(vertices[:, 0]), [0.0, 0.1], [rest[0, 1], rest[FINGER_JOINTS["middle"][0], 1]])
    palmar = 1 / (1 + np.exp((vertices[:, 1] - center_y) / 0.003))  # the palm faces -y
    is_hand = 1 / (1 + np.exp((vertices[:, 0] * -finger_direction(model) - 0.02) / 0.008))
    lighter = (0.55 * palmar * is_hand)[:, None]
    albedo = tone * (1 - lighter) + (0.5 * tone + 0.5 * palm_tone) * lighter
    redness = 0.6 * _near(vertices, knuckles, 0.009) * (1 - palmar) + 0.9 * _near(vertices, tips, 0.011)
    albedo = albedo * (1 - redness[:, None] * np.array([0.03, 0.22, 0.20]))
    noise = Noise(rng)
    mottling = noise.fractal(vertices / 0.012) * 0.16 + noise.fractal(vertices / 0.0025) * 0.10
    albedo = albedo * (1 + mottling[:, None] * np.array([0.7, 1.0, 1.0]))
    nail_tone = 0.6 * tone + 0.4 * linear_from_srgb(np.array((0.93, 0.74, 0.70)))
    albedo = albedo * (1 - nail[:, None]) + nail_tone * 1.12 * nail[:, None]
    return albedo.clip(0.01, 0.95), 0.05 + 0.22 * nail


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
