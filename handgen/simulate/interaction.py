"""Two hands of one person that approach each other, touch or interleave their fingers, and part again.

An encounter holds both hands in a pose and moves them towards each other along one axis. How near they can come
without one passing through the other is found once, by marching from far to near; fingers that are offset by half
their pitch come nearer than fingers that meet head on, and so go between each other. Poses change only far apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation, Slerp

from handgen.hand.layout import SIDES
from handgen.hand.model import HandModel, HandPose
from handgen.raytrace import Mesh
from handgen.simulate.motion import HandMotion, Wander, placed, raised_hand
from handgen.simulate.penetration import mutual_depth_m
from handgen.simulate.poses import POSES, pose_angles_deg

PERIOD_S = 2.6  # of an encounter, from apart to apart
_APART_M = 0.27  # between the palms, where poses change: no fingers reach that far
_STEP_M, _HAIR_M, _MAX_DEPTH_M = 0.002, 2e-4, 3e-4
_CHANGED, _MET, _PARTING = 0.22, 0.50, 0.68  # shares of the period: new pose taken; together; parting begins
_TURN_DEG, _DRIFT_M, _WANDER_PERIOD_S = (8.0, 8.0, 22.0), (0.02, 0.02, 0.02), 4.0
_LEAN_DEG = 25.0  # of raised hands, away from the person
INTERLEAVE = "interleave"
_HALF_PITCHES_M = (0.015, 0.0165, 0.018, 0.0195)  # between fanned fingers, for hands of different sizes
_MARGIN = 2  # encounters more than a capture needs


@dataclass(frozen=True)
class Encounter:
    """Both hands of one kind of touch.

    turns_deg: per side, Euler angles xyz in the world after the palm was turned to the other hand. offset_m: of the
    left palm from the right one across the axis (y, z), halved between them. angles_deg: per side. nearest_m: between
    the palms along x, as near as the hands come.
    """

    name: str
    angles_deg: Mapping[str, Float[np.ndarray, "15 3"]]
    turns_deg: Mapping[str, tuple[float, float, float]]
    offset_m: tuple[float, float]
    nearest_m: float = _APART_M


def encounters() -> list[Encounter]:
    """All kinds. Angles of the right hand; the left one mirrors them unless it does something else."""
    flat = pose_angles_deg(replace(POSES["flat"], thumb_base=(0, -28, 0), thumb=(0, 0)))  # the thumb beside the palm
    lean = {"right": (-_LEAN_DEG, 0.0, 0.0), "left": (-_LEAN_DEG, 0.0, 0.0)}
    poke = {"right": (0.0, -80.0, 0.0), "left": (-20.0, 0.0, 0.0)}
    return [
        Encounter("palms", _both(flat), lean, (0.0, 0.0)),
        Encounter("fingertips", _both(_bent(flat, (38, 14, 6), 0.4)), lean, (0.0, 0.0)),
        Encounter(INTERLEAVE, _both(_bent(flat, (36, 10, 6), 1.3)), lean, (0.0, 0.0)),
        Encounter("point", {"right": pose_angles_deg(POSES["point"]), "left": flat}, poke, (0.0, 0.0)),
        Encounter("fist", {"right": pose_angles_deg(POSES["fist"]), "left": flat}, poke, (0.0, 0.0)),
    ]


def _both(angles_deg: np.ndarray) -> dict[str, np.ndarray]:
    return {side: angles_deg for side in SIDES}


def _bent(angles_deg: np.ndarray, bend_deg: tuple[float, float, float], spread: float) -> np.ndarray:
    """All four fingers bent alike and fanned out, the thumb as it is."""
    fan = pose_angles_deg(replace(POSES["open"], spread=spread))
    angles = angles_deg.copy()
    angles[:12, 1] = fan[:12, 1]
    angles[:12, 0] = np.tile(bend_deg, 4)
    return angles


@dataclass(frozen=True)
class _Placement:
    """Where both hands are at one moment, before the pair moves as a whole."""

    orientation: dict[str, np.ndarray]
    palm_m: dict[str, np.ndarray]
    angles_deg: dict[str, np.ndarray]


def _facing(model: HandModel, turn_deg: tuple[float, float, float]) -> Float[np.ndarray, "3 3"]:
    """A raised hand whose palm looks at the other one, turned further; the left hand's turns are mirrored."""
    sign = 1.0 if model.side == "right" else -1.0
    x, y, z = turn_deg
    palm_inwards = Rotation.from_euler("z", 90.0 * sign, degrees=True)
    return (Rotation.from_euler("xyz", (x, y * sign, z * sign), degrees=True) * palm_inwards).as_matrix() @ raised_hand(
        model
    )


def _placement(models: Mapping[str, HandModel], encounter: Encounter, apart_m: float) -> _Placement:
    y, z = np.array(encounter.offset_m) / 2
    palms = {"right": np.array([apart_m / 2, -y, -z]), "left": np.array([-apart_m / 2, y, z])}
    turned = {side: _facing(models[side], encounter.turns_deg[side]) for side in SIDES}
    return _Placement(turned, palms, dict(encounter.angles_deg))


def _meshes(models: Mapping[str, HandModel], betas: np.ndarray, at: _Placement) -> dict[str, Mesh]:
    meshes = {}
    for side, model in models.items():
        angles = np.radians(at.angles_deg[side])[None]
        motion = placed(model, betas, at.orientation[side][None], at.palm_m[side][None], angles)
        meshes[side] = Mesh(posed_vertices(model, betas, motion)[0], model.faces)
    return meshes


def posed_vertices(
    model: HandModel, betas: Float[np.ndarray, " 10"], motion: HandMotion
) -> Float[np.ndarray, "times 778 3"]:
    """The model's mesh along a motion, metres."""
    count = len(motion.translation)
    shape = torch.as_tensor(np.tile(betas, (count, 1)))
    return model(
        HandPose(torch.as_tensor(motion.rotations), torch.as_tensor(motion.translation), shape)
    ).vertices.numpy()


def _nearest_m(models: Mapping[str, HandModel], betas: np.ndarray, encounter: Encounter) -> float:
    """How near the palms can come: the first touch on the way from far to near, and a hair."""

    def is_free(apart_m: float) -> bool:
        meshes = _meshes(models, betas, _placement(models, encounter, apart_m))
        borders = models["left"].wrist_border, models["right"].wrist_border
        return mutual_depth_m(meshes["left"], meshes["right"], *borders) <= _MAX_DEPTH_M

    free = _APART_M
    while free > _STEP_M and is_free(free - _STEP_M):
        free -= _STEP_M
    low, high = free - _STEP_M, free
    for _ in range(5):
        middle = (low + high) / 2
        low, high = (low, middle) if is_free(middle) else (middle, high)
    return high + _HAIR_M


def _met(models: Mapping[str, HandModel], betas: np.ndarray, kind: Encounter) -> Encounter:
    """The encounter of these hands: as near as they come; fingers that interleave take the offset that lets them."""
    variants = [kind]
    if kind.name == INTERLEAVE:
        row = np.array([np.cos(np.radians(_LEAN_DEG)), -np.sin(np.radians(_LEAN_DEG))])  # of the fingers, in y and z
        variants = [replace(kind, offset_m=tuple((half * row).tolist())) for half in _HALF_PITCHES_M]
    met = [replace(variant, nearest_m=_nearest_m(models, betas, variant)) for variant in variants]
    return min(met, key=lambda encounter: encounter.nearest_m)


@dataclass(frozen=True)
class Meeting:
    """Both hands through a sequence of encounters; the pair turns and drifts as a whole. order[k]: the k-th one."""

    models: Mapping[str, HandModel]
    betas: Float[np.ndarray, " 10"]
    order: tuple[Encounter, ...]
    turn_rad: Wander
    drift_m: Wander

    def encounter(self, time_s: float) -> tuple[Encounter, Encounter, float]:
        """The encounter before, the present one, and how far it has gone, 0 to 1."""
        count = int(np.clip(np.floor(time_s / PERIOD_S), 0, len(self.order) - 2))
        return self.order[count], self.order[count + 1], float(np.clip(time_s / PERIOD_S - count, 0.0, 1.0))

    def placement(self, time_s: float) -> _Placement:
        """Where both hands are, before the pair moves as a whole."""
        before, now, share = self.encounter(time_s)
        if share < _CHANGED:
            return self._between(before, now, _ease(share / _CHANGED))
        if share < _MET:
            near = _ease((share - _CHANGED) / (_MET - _CHANGED))
        else:
            near = 1 - _ease((share - _PARTING) / (1 - _PARTING))
        return _placement(self.models, now, _APART_M + near * (now.nearest_m - _APART_M))

    def _between(self, before: Encounter, now: Encounter, share: float) -> _Placement:
        """Far apart, from one encounter's poses to the next one's."""
        a, b = (_placement(self.models, encounter, _APART_M) for encounter in (before, now))
        turned = {
            side: Slerp([0, 1], Rotation.from_matrix([a.orientation[side], b.orientation[side]]))(share).as_matrix()
            for side in SIDES
        }
        palms = {side: (1 - share) * a.palm_m[side] + share * b.palm_m[side] for side in SIDES}
        angles = {side: (1 - share) * a.angles_deg[side] + share * b.angles_deg[side] for side in SIDES}
        return _Placement(turned, palms, angles)

    def at(self, side: str, times_s: Float[np.ndarray, " times"]) -> HandMotion:
        """One hand at some moments."""
        pair = Rotation.from_euler("xyz", self.turn_rad(times_s)).as_matrix()
        found = [self.placement(float(time_s)) for time_s in times_s]
        orientation = pair @ np.stack([at.orientation[side] for at in found])
        palms = (pair @ np.stack([at.palm_m[side] for at in found])[..., None])[..., 0] + self.drift_m(times_s)
        angles = np.radians(np.stack([at.angles_deg[side] for at in found]))
        return placed(self.models[side], self.betas, orientation, palms, angles)


@dataclass(frozen=True)
class HandOfTwo:
    """One side of a meeting. A `handgen.simulate.motion.HandPath`."""

    meeting: Meeting
    side: str

    def at(self, times_s: Float[np.ndarray, " times"]) -> HandMotion:
        """See `HandPath`."""
        return self.meeting.at(self.side, times_s)


def _ease(share: float) -> float:
    """From 0 to 1 without a jump of speed or acceleration (Perlin's smootherstep)."""
    s = float(np.clip(share, 0.0, 1.0))
    return s * s * s * (s * (6 * s - 15) + 10)


def two_hands(
    models: Mapping[str, HandModel], betas: Float[np.ndarray, " 10"], seconds: float, rng: np.random.Generator
) -> dict[str, HandOfTwo]:
    """Random paths of both hands for `seconds`, all kinds of encounters in turn."""
    kinds = [_met(models, betas, kind) for kind in encounters()]
    order: list[Encounter] = []
    while len(order) < seconds / PERIOD_S + _MARGIN:
        order += [kinds[i] for i in rng.permutation(len(kinds))]
    meeting = Meeting(
        models=models,
        betas=betas,
        order=tuple(order),
        turn_rad=Wander.draw(np.radians(_TURN_DEG), _WANDER_PERIOD_S, rng),
        drift_m=Wander.draw(np.array(_DRIFT_M), _WANDER_PERIOD_S, rng),
    )
    return {side: HandOfTwo(meeting, side) for side in SIDES}
