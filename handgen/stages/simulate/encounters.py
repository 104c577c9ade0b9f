"""Touches of both hands of simulated people.

World frame of a simulated capture: metres, z up, the hands around the origin, the person at negative y, facing +y: the
right hand at positive x.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from handgen.hand.skeleton import FINGER_JOINTS, SIDES
from handgen.stages.simulate.named_poses import POSES, Angles, pose_angles_deg

INTERLEAVE, CLASP = "interleave", "clasp"
APART_M = 0.27  # between the palms, where poses change: no fingers reach that far
_LEAN_DEG, _ROOF_DEG, _POKE_YAW_DEG = 25.0, 14.0, 35.0  # away from the person; tips together; an arm from the side
# Flexion and abduction of the knuckles that interleave: gaps of one width where the fingers cross, short ones inwards.
_FAN_DEG = {"index": (14.0, 17.0), "middle": (16.0, 6.0), "ring": (20.0, -5.0), "pinky": (30.0, -22.0)}
_BEND_NOISE_DEG, _TURN_NOISE_DEG = 2.0, 3.0  # from one capture to the next


@dataclass(frozen=True)
class Encounter:
    """Both hands of one kind of touch.

    angles_deg: per side, while the hands move. closed_deg: per side, what fingers close to once the hands have met.
    turns_deg: per side, Euler angles xyz in the world after the palm was turned to the other hand. offset_m: of the
    left palm from the right one across the axis (y, z), halved between them. nearest_m: along x between the palms at
    their nearest.
    """

    name: str
    angles_deg: Mapping[str, Angles]
    turns_deg: Mapping[str, tuple[float, float, float]]
    closed_deg: Mapping[str, Angles] = field(default_factory=dict)
    offset_m: tuple[float, float] = (0.0, 0.0)
    nearest_m: float = APART_M

    def closing_deg(self, side: str, share: float | Float[np.ndarray, "15 1"]) -> Angles:
        """The fingers of a side that has closed by `share`."""
        open_deg = self.angles_deg[side]
        return open_deg + share * (self.closed_deg.get(side, open_deg) - open_deg)


def encounters() -> list[Encounter]:
    """All kinds, not fitted to any hands. Angles of the right hand; the left one mirrors them."""
    flat = pose_angles_deg(replace(POSES["flat"], thumb_base=(0, -28, 0), thumb=(0, 0)))  # the thumb beside the palm
    arched, fanned = (dict.fromkeys(SIDES, x) for x in (_bent(flat, (20, 10, 6), 0.4), _fan_out(flat, (2, 4))))
    lean = dict.fromkeys(SIDES, (-_LEAN_DEG, 0.0, 0.0))
    roof = dict.fromkeys(SIDES, (-_LEAN_DEG, -_ROOF_DEG, 0.0))
    poke = {"right": (0.0, -80.0, -_POKE_YAW_DEG), "left": (-20.0, 0.0, _POKE_YAW_DEG)}
    point, fist = pose_angles_deg(POSES["point"]), pose_angles_deg(POSES["fist"])
    return [
        Encounter("palms", dict.fromkeys(SIDES, flat), lean),
        Encounter("fingertips", arched, roof, dict.fromkeys(SIDES, _bent(flat, (46, 18, 10), 0.4))),
        Encounter(INTERLEAVE, fanned, roof),
        Encounter(CLASP, fanned, roof, dict.fromkeys(SIDES, _fan_out(flat, (80, 45)))),
        Encounter("point", {"right": point, "left": flat}, poke),
        Encounter("grasp", {"right": fist, "left": flat}, poke, {"left": _bent(flat, (70, 80, 45), 0.3)}),
    ]


def _bent(angles_deg: Angles, bend_deg: tuple[float, float, float], spread: float) -> Angles:
    """All four fingers bent alike and fanned out, the thumb as it is."""
    fan = pose_angles_deg(replace(POSES["open"], spread=spread))
    angles = angles_deg.copy()
    angles[:12, 1] = fan[:12, 1]
    angles[:12, 0] = np.tile(bend_deg, 4)
    return angles


def _fan_out(angles_deg: Angles, hinges_deg: tuple[float, float]) -> Angles:
    """All four fingers as `_FAN_DEG` and their outer joints bent alike, the thumb as it is."""
    angles = angles_deg.copy()
    for finger, knuckle_deg in _FAN_DEG.items():
        knuckle, hinge, outer = np.array(FINGER_JOINTS[finger]) - 1
        angles[knuckle, :2] = knuckle_deg
        angles[[hinge, outer], 0] = hinges_deg
    return angles


def vary_encounter(kind: Encounter, rng: np.random.Generator) -> Encounter:
    """Vary a touch as another person would do it, both hands alike, or fingers would not meet."""
    bend = np.zeros((15, 3))
    bend[:, 0] = rng.normal(0, _BEND_NOISE_DEG, 15)
    x, y, z = rng.normal(0, _TURN_NOISE_DEG, 3)
    return replace(
        kind,
        angles_deg={side: angles + bend for side, angles in kind.angles_deg.items()},
        closed_deg={side: angles + bend for side, angles in kind.closed_deg.items()},
        turns_deg={side: (turn[0] + x, turn[1] + y, turn[2] + z) for side, turn in kind.turns_deg.items()},
    )
