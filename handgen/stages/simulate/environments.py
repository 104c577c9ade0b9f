"""The light of photographed places, as `scripts/environments/build.py` measured it: a key light, and all the rest.

The rest is irradiance over pi by direction in nine spherical harmonics (Ramamoorthi, Hanrahan, "An efficient
representation for irradiance environment maps", SIGGRAPH 2001). z is up; linear RGB.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from jaxtyping import Float

FILE_NAME = "environments.json"


@dataclass(frozen=True)
class Environment:
    """One place. towards_key: unit. key_half_angle_rad: as wide as the key light looks. key: its irradiance over pi."""

    name: str
    towards_key: Float[np.ndarray, " 3"]
    key_half_angle_rad: float
    key: Float[np.ndarray, " 3"]
    harmonics: Float[np.ndarray, "9 3"]

    def turned(self, azimuth_rad: float) -> Environment:
        """Return the place turned about the vertical."""
        c, s = np.cos(azimuth_rad), np.sin(azimuth_rad)
        turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        # Nine directions that tell all harmonics apart say what the turned ones are.
        return Environment(
            self.name,
            turn @ self.towards_key,
            self.key_half_angle_rad,
            self.key,
            np.linalg.lstsq(harmonics(_PROBES), harmonics(_PROBES @ turn) @ self.harmonics, rcond=None)[0],
        )


def harmonics(directions: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 9"]:
    """Real spherical harmonics of degree 0 to 2 at unit directions, in their precision."""
    x, y, z = directions.T
    found = np.empty((9, len(directions)), directions.dtype)
    found[0] = 0.282095
    found[1], found[2], found[3] = 0.488603 * y, 0.488603 * z, 0.488603 * x
    found[4], found[5], found[7] = 1.092548 * x * y, 1.092548 * y * z, 1.092548 * x * z
    found[6], found[8] = 0.946176 * z * z - 0.315392, 0.546274 * (x * x - y * y)
    return found.T


def _probes() -> Float[np.ndarray, "n 3"]:
    axes = np.array([[x, y, z] for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if x or y or z], float)
    return axes / np.linalg.norm(axes, axis=1, keepdims=True)


_PROBES = _probes()


@cache
def environments() -> tuple[Environment, ...]:
    """Read all places that come with handgen."""
    document = json.loads((files(__package__) / FILE_NAME).read_text(encoding="utf-8"))
    return tuple(
        Environment(
            name,
            np.array(place["towards_key"]),
            float(place["key_half_angle_rad"]),
            np.array(place["key"]),
            np.array(place["harmonics"]),
        )
        for name, place in document["places"].items()
    )
