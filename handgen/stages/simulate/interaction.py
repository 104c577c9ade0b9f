"""Two hands of one person that approach each other, touch, grip or interleave their fingers, and part again.

An encounter is a script with one coordinate at a time: both hands hold a pose and move towards each other along one
axis; once they have met, fingers may close around the other hand. How far each goes without one hand passing through
the other is found once per capture, by marching to the first touch. Fingers that are offset by half their pitch come
nearer than fingers that meet head on, and so go between each other. Poses change only far apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation, Slerp

from handgen.geometry.meshes import Mesh
from handgen.hand.model import HandModel
from handgen.hand.skeleton import FINGER_JOINTS, SIDES
from handgen.stages.simulate.encounters import APART_M, CLASP, INTERLEAVE, Encounter, encounters, vary_encounter
from handgen.stages.simulate.motion import Betas, HandMotion, Wander, hand_motion_at, posed_vertices, raised_hand
from handgen.stages.simulate.named_poses import Angles
from handgen.stages.simulate.penetration import gap_m, mutual_depth_m

PERIOD_S = 3.0  # of an encounter, from apart to apart
# Shares of the period: new pose taken; hands together; fingers closed; fingers open again; parting begins.
_CHANGED, _MET, _CLOSED, _OPENING, _PARTING = 0.20, 0.46, 0.57, 0.65, 0.74
HELD_SHARE = (_CLOSED + _OPENING) / 2  # of the period: the middle of the touch
_HAIR_M, _MAX_DEPTH_M = 2e-4, 3e-4
_STEP_M, _BISECTIONS = 0.002, 5  # of the approach
_SURE_M = 0.01  # more than the surfaces can be nearer than the palms' way to go says: what a face's size hides
_CLOSING_STEPS, _CLOSING_BISECTIONS = 8, 4
_TURN_DEG, _DRIFT_M, _WANDER_PERIOD_S = (8.0, 8.0, 22.0), (0.02, 0.02, 0.02), 4.0
_HALF_PITCHES_M = (0.017, 0.019, 0.021)  # between fanned fingers, for hands of different sizes
_ROOM_TO_CLOSE_M = 0.006  # by which interleaved hands stay apart to close their fingers
_MARGIN = 2  # encounters more than a capture needs


@dataclass(frozen=True)
class _Placement:
    """Poses of both hands at one moment, before the pair moves as a whole."""

    orientation: Mapping[str, Float[np.ndarray, "3 3"]]
    palm_m: Mapping[str, Float[np.ndarray, " 3"]]
    angles_deg: Mapping[str, Angles]


def _facing(model: HandModel, turn_deg: tuple[float, float, float]) -> Float[np.ndarray, "3 3"]:
    """A raised hand whose palm looks at the other one, turned further; the left hand's turns are mirrored."""
    sign = 1.0 if model.side == "right" else -1.0
    x, y, z = turn_deg
    palm_inwards = Rotation.from_euler("z", 90.0 * sign, degrees=True)
    turned = Rotation.from_euler("xyz", (x, y * sign, z * sign), degrees=True) * palm_inwards
    return turned.as_matrix() @ raised_hand(model)


@dataclass(frozen=True)
class _Hands:
    """The two hands of one person."""

    models: Mapping[str, HandModel]
    betas: Betas

    def placement(
        self, encounter: Encounter, apart_m: float, closed: float | Float[np.ndarray, "15 1"] = 0.0
    ) -> _Placement:
        """Palms `apart_m` from each other, fingers closed by a share, of all or of each joint."""
        y, z = np.array(encounter.offset_m) / 2
        return _Placement(
            {side: _facing(self.models[side], encounter.turns_deg[side]) for side in SIDES},
            {"right": np.array([apart_m / 2, -y, -z]), "left": np.array([-apart_m / 2, y, z])},
            {side: encounter.closing_deg(side, closed) for side in SIDES},
        )

    def meshes(self, at: _Placement) -> tuple[Mesh, Mesh]:
        """Return the left and the right hand."""
        meshes = []
        for side in SIDES:
            model, angles = self.models[side], np.radians(at.angles_deg[side])[None]
            motion = hand_motion_at(model, self.betas, at.orientation[side][None], at.palm_m[side][None], angles)
            meshes.append(Mesh(posed_vertices(model, self.betas, motion)[0], model.faces))
        return meshes[0], meshes[1]

    def is_free(self, at: _Placement) -> bool:
        """Tell whether neither hand is in the other by more than a trace."""
        left, right = (self.models[side].wrist_border for side in SIDES)
        return mutual_depth_m(*self.meshes(at), left, right) <= _MAX_DEPTH_M

    def met(self, encounter: Encounter) -> Encounter:
        """Find how near the palms come on the way from far to near, and add a hair."""

        def is_free(apart_m: float) -> bool:
            return self.is_free(self.placement(encounter, apart_m))

        free = APART_M
        while free > _STEP_M:
            # The surfaces are at least their gap apart, so that much of the way needs no look.
            step = max(_STEP_M, gap_m(*self.meshes(self.placement(encounter, free))) - _SURE_M)
            if not is_free(free - step):
                break
            free -= step
        return replace(encounter, nearest_m=_last_free(is_free, free, free - step, _BISECTIONS) + _HAIR_M)

    def interleave(self, encounter: Encounter) -> Encounter:
        """Met with the offset along the row of fingers that lets them go deepest between each other."""
        lean = np.radians(encounter.turns_deg["right"][0])
        row = np.array([np.cos(lean), np.sin(lean)])  # in y and z
        variants = [replace(encounter, offset_m=tuple((half * row).tolist())) for half in _HALF_PITCHES_M]
        return min((self.met(variant) for variant in variants), key=lambda met: met.nearest_m)

    def close_fingers(self, met: Encounter) -> Encounter:
        """With each finger closed until it touches, one after the other, both hands at once."""
        if not met.closed_deg:
            return met
        shares = np.zeros((15, 1))
        for joints in FINGER_JOINTS.values():
            rows = np.array(joints) - 1
            if not any(np.ptp([a[rows], met.angles_deg[side][rows]], 0).any() for side, a in met.closed_deg.items()):
                continue

            def is_free(share: float, rows: np.ndarray = rows) -> bool:
                shares[rows] = share
                return self.is_free(self.placement(met, met.nearest_m, shares))

            steps = np.linspace(0, 1, _CLOSING_STEPS + 1)
            ends = next(((a, b) for a, b in zip(steps, steps[1:], strict=False) if not is_free(b)), None)
            shares[rows] = 1.0 if ends is None else _last_free(is_free, *ends, _CLOSING_BISECTIONS)
        closed = replace(met, closed_deg={side: met.closing_deg(side, shares) for side in met.closed_deg})
        # Fingers that closed in turn now close together; where that passes through something, they close less.
        shares_of_all = np.linspace(0, 1, 2 * _CLOSING_STEPS + 1)
        free = [self.is_free(self.placement(closed, met.nearest_m, share)) for share in shares_of_all[1:]]
        share = 1.0 if all(free) else float(shares_of_all[free.index(False)])
        return replace(closed, closed_deg={side: closed.closing_deg(side, share) for side in closed.closed_deg})


def _last_free(is_free: Callable[[float], bool], free: float, blocked: float, bisections: int) -> float:
    """The way from a free to a blocked value, as far as it is free."""
    for _ in range(bisections):
        middle = (free + blocked) / 2
        free, blocked = (middle, blocked) if is_free(middle) else (free, middle)
    return free


@dataclass(frozen=True)
class Meeting:
    """Both hands through a sequence of encounters; the pair turns and drifts as a whole. order[k]: the k-th one."""

    hands: _Hands
    order: tuple[Encounter, ...]
    turn_rad: Wander
    drift_m: Wander

    def placement(self, time_s: float) -> _Placement:
        """Pose both hands, before the pair moves as a whole."""
        count = int(np.clip(np.floor(time_s / PERIOD_S), 0, len(self.order) - 2))
        before, now = self.order[count : count + 2]
        share = float(np.clip(time_s / PERIOD_S - count, 0.0, 1.0))  # of the present one's time that has gone
        if share < _CHANGED:
            return self._between(before, now, _ease(share / _CHANGED))
        near = _ease((share - _CHANGED) / (_MET - _CHANGED)) - _ease((share - _PARTING) / (1 - _PARTING))
        closed = _ease((share - _MET) / (_CLOSED - _MET)) - _ease((share - _OPENING) / (_PARTING - _OPENING))
        return self.hands.placement(now, APART_M + near * (now.nearest_m - APART_M), closed)

    def _between(self, before: Encounter, now: Encounter, share: float) -> _Placement:
        """Far apart, from one encounter's poses to the next one's."""
        a, b = (self.hands.placement(encounter, APART_M) for encounter in (before, now))
        pairs = {side: Rotation.from_matrix([a.orientation[side], b.orientation[side]]) for side in SIDES}
        turned = {side: Slerp([0, 1], pair)(share).as_matrix() for side, pair in pairs.items()}
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
        return hand_motion_at(self.hands.models[side], self.hands.betas, orientation, palms, angles)


def _ease(share: float) -> float:
    """From 0 to 1 without a jump of speed or acceleration (Perlin's smootherstep)."""
    s = float(np.clip(share, 0.0, 1.0))
    return min(s * s * s * (s * (6 * s - 15) + 10), 1.0)


def two_hands(models: Mapping[str, HandModel], betas: Betas, seconds: float, rng: np.random.Generator) -> Meeting:
    """A random path of both hands for `seconds`, all kinds of encounters in turn."""
    hands = _Hands(models, betas)
    kinds: dict[str, Encounter] = {}
    for kind in encounters():
        varied = vary_encounter(kind, rng)
        if kind.name == INTERLEAVE:
            met = hands.interleave(varied)
        elif kind.name == CLASP:  # what follows when fingers have interleaved
            met = replace(kinds[INTERLEAVE], name=CLASP, closed_deg=varied.closed_deg)
            met = replace(met, nearest_m=met.nearest_m + _ROOM_TO_CLOSE_M)
        else:
            met = hands.met(varied)
        kinds[kind.name] = hands.close_fingers(met)
    order: list[Encounter] = []
    while len(order) < seconds / PERIOD_S + _MARGIN:
        order += [kinds[str(name)] for name in rng.permutation(list(kinds))]
    turn = Wander.draw(np.radians(_TURN_DEG), _WANDER_PERIOD_S, rng)
    drift = Wander.draw(np.array(_DRIFT_M), _WANDER_PERIOD_S, rng)
    return Meeting(hands, tuple(order), turn, drift)
