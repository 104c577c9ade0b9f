"""Light and colour of a simulated room: its lamps, how much arrives at a point, sRGB, and noise. Linear RGB; metres."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float
from scipy.ndimage import map_coordinates

from handgen.geometry.meshes import Points, Tracer
from handgen.stages.simulate.environments import environments, harmonics

_LATTICE = 32
_SHADOW_RAYS, _AMBIENT_RAYS = 6, 16
_SPILL = 0.25  # of the light from everywhere that has the walls' colour
_RGB_FROM_XYZ = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
_START_M = 1.2e-3  # rays start this far off the surface, so as not to hit it


def linear_from_srgb(color: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
    """Linear light of sRGB values in 0 to 1."""
    return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


def linear_from_lab(lab: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
    """Linear light of a CIELAB colour under daylight, at least 0.01."""
    found: np.ndarray = cv2.cvtColor(np.asarray(lab, np.float32).reshape(1, 1, 3), cv2.COLOR_Lab2LRGB)
    return found.reshape(3).astype(float).clip(0.01, 0.95)


def srgb_from_linear(light: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
    """SRGB values of linear light, clipped to 0 to 1."""
    light = np.clip(light, 0.0, 1.0)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


class Noise:
    """Smooth noise over space with a feature size of about 1; repeats after 32."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._lattice = rng.uniform(-1, 1, (_LATTICE,) * 3).astype(np.float32)

    def __call__(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Values in -1 to 1."""
        return map_coordinates(self._lattice, (points % _LATTICE).T, order=1, mode="grid-wrap")

    def fractal(self, points: Float[np.ndarray, "n 3"], octaves: int = 3) -> Float[np.ndarray, " n"]:
        """Noise plus finer noise, each octave half as strong; values in about -1 to 1."""
        total = np.zeros(len(points))
        for octave in range(octaves):
            total += 0.5**octave * self(points * 2.0**octave + 7.3 * octave)
        return total / 1.5


@dataclass(frozen=True)
class Fill:
    """Light from a wide part of the surroundings: a bright wall, a second window. direction: unit, towards it."""

    direction: Float[np.ndarray, " 3"]
    light: Float[np.ndarray, " 3"]


@dataclass(frozen=True)
class Lighting:
    """A key light of some size, weak wide lights, and light from everywhere.

    key_position: its centre; key_half_size: of the cube it fills. sky, ground: from above and below. around: of a
    photographed place (`environments`), in nine spherical harmonics; None where light is drawn.
    """

    key_position: Float[np.ndarray, " 3"]
    key_half_size: float
    key: Float[np.ndarray, " 3"]
    fills: tuple[Fill, ...]
    sky: Float[np.ndarray, " 3"]
    ground: Float[np.ndarray, " 3"]
    around: Float[np.ndarray, "9 3"] | None = None

    def ambient(self, normals: Points, openness: Float[np.ndarray, " n"]) -> Points:
        """Light from everywhere, dimmed by `openness` (0 to 1), and the wide lights."""
        upward = (0.5 + 0.5 * normals[:, 2])[:, None]
        total = (self.sky * upward + self.ground * (1 - upward)) * openness[:, None]
        if self.around is not None:
            arriving = harmonics(normals) @ self.around
            total = total + arriving.clip(0) * openness[:, None]
        for fill in self.fills:
            total = total + fill.light * ((normals @ fill.direction).clip(0) * (0.4 + 0.6 * openness))[:, None]
        return total

    def single(self) -> Lighting:
        """Return the same in single precision, for pixels by the million."""
        single = np.float32
        return Lighting(
            self.key_position.astype(single),
            self.key_half_size,
            self.key.astype(single),
            tuple(Fill(fill.direction.astype(single), fill.light.astype(single)) for fill in self.fills),
            self.sky.astype(single),
            self.ground.astype(single),
            None if self.around is None else self.around.astype(single),
        )

    def towards_key(self, points: Points) -> Points:
        """Unit directions to the key light."""
        towards = self.key_position - points
        return towards / np.sqrt(np.einsum("nc,nc->n", towards, towards))[:, None]


@dataclass(frozen=True)
class _Kind:
    """One kind of light, by ranges. Angles of the key light: azimuth from the cameras' middle, elevation.

    distance_m, half_size_m: of the key light. kelvin: its colour. ambient: all other light as a share of the key's;
    from_below: the ground's part of it. fills: how many wide lights, at most.
    """

    share: float
    azimuth_deg: tuple[float, float]
    elevation_deg: tuple[float, float]
    distance_m: tuple[float, float]
    half_size_m: tuple[float, float]
    kelvin: tuple[float, float]
    ambient: tuple[float, float]
    ambient_kelvin: tuple[float, float]
    from_below: tuple[float, float] = (0.35, 0.6)
    fills: int = 2


# Not measured anywhere: what rooms, windows and streets are like, wide rather than exact.
_KINDS = {
    "room": _Kind(0.24, (-60, 60), (35, 65), (1.6, 2.0), (0.12, 0.4), (3500, 6500), (0.5, 0.9), (4500, 7500)),
    "window": _Kind(0.24, (-110, 110), (5, 40), (1.4, 2.1), (0.3, 0.55), (5500, 8000), (0.12, 0.6), (3800, 7000)),
    "ceiling": _Kind(0.16, (-180, 180), (65, 88), (1.2, 1.5), (0.3, 0.6), (3000, 6000), (0.4, 1.1), (3200, 6000)),
    "lamp": _Kind(0.14, (-130, 130), (5, 60), (0.8, 1.5), (0.04, 0.12), (2500, 3400), (0.1, 0.45), (2700, 4500)),
    "screen": _Kind(0.05, (-25, 25), (-15, 15), (0.9, 1.2), (0.15, 0.3), (6500, 9000), (0.15, 0.6), (2700, 5000)),
    "sun": _Kind(0.12, (-150, 150), (20, 70), (2.0, 2.1), (0.012, 0.03), (4800, 6000), (0.12, 0.35), (7500, 12000)),
    "flash": _Kind(0.05, (-20, 20), (0, 30), (0.8, 1.2), (0.02, 0.05), (5200, 6200), (0.03, 0.25), (2700, 5500)),
}
_PHOTOGRAPHED = 0.4  # of scenes, lit as places were
_FARTHEST_KEY_M = 2.0
_PLAIN = ("room",)
_STUDIO = ("room", "ceiling")  # kinds that a green studio is lit by
_EXPOSED = 0.78  # irradiance over pi, mean over what faces the cameras, that exposure brings the scene to
_EXPOSURE_SPREAD = 0.25  # of its logarithm
_BRIGHTEST = 2.2  # irradiance over pi, at most, of a surface turned to the light: cameras spare what would be white
_BALANCED = 0.8  # share of the light's tint that a camera's white balance takes away


def make_lighting(
    rng: np.random.Generator, spill: Float[np.ndarray, " 3"] | None = None, plain: bool = False
) -> Lighting:
    """Light of one kind, exposed and white-balanced as a camera would.

    spill: the colour of a studio's walls. plain: of one kind alone.
    """
    if spill is None and not plain and rng.random() < _PHOTOGRAPHED:
        return _expose(_photographed(rng), _EXPOSED * float(np.exp(rng.normal(0, _EXPOSURE_SPREAD))))
    names = _PLAIN if plain else _STUDIO if spill is not None else tuple(_KINDS)
    shares = np.array([_KINDS[name].share for name in names])
    kind = _KINDS[names[rng.choice(len(names), p=shares / shares.sum())]]
    azimuth, elevation = np.radians((rng.uniform(*kind.azimuth_deg), rng.uniform(*kind.elevation_deg)))
    around = np.array([np.sin(azimuth) * np.cos(elevation), np.cos(azimuth) * np.cos(elevation), np.sin(elevation)])
    tint = np.ones(3) if spill is None else (1 - _SPILL) + _SPILL * 3 * spill / spill.sum()
    ambient = rng.uniform(*kind.ambient) * blackbody(rng.uniform(*kind.ambient_kelvin)) * tint
    below = rng.uniform(*kind.from_below)
    lighting = Lighting(
        key_position=rng.uniform(*kind.distance_m) * around,
        key_half_size=rng.uniform(*kind.half_size_m),
        key=blackbody(rng.uniform(*kind.kelvin)),
        fills=tuple(_draw_fill(ambient, rng) for _ in range(rng.integers(kind.fills + 1))),
        sky=ambient * (1 - below) * 1.2,
        ground=ambient * below * 1.2 * np.array([1.0, 0.92, 0.84]),
    )
    return _expose(lighting, _EXPOSED * float(np.exp(rng.normal(0, _EXPOSURE_SPREAD))))


def _photographed(rng: np.random.Generator) -> Lighting:
    """The light of one place, turned about the vertical."""
    places = environments()
    place = places[rng.integers(len(places))].turned(rng.uniform(0, 2 * np.pi))
    return Lighting(
        key_position=_FARTHEST_KEY_M * place.towards_key,
        key_half_size=_FARTHEST_KEY_M * float(np.tan(place.key_half_angle_rad)),
        key=place.key,
        fills=(),
        sky=np.zeros(3),
        ground=np.zeros(3),
        around=place.harmonics,
    )


def _draw_fill(ambient: Float[np.ndarray, " 3"], rng: np.random.Generator) -> Fill:
    direction = rng.standard_normal(3) + np.array([0.0, 0.3, 0.3])
    return Fill(direction / np.linalg.norm(direction), ambient * rng.uniform(0.2, 1.0) * rng.uniform(0.85, 1.15, 3))


def _expose(lighting: Lighting, target: float) -> Lighting:
    """Scale all light so that what faces the cameras gets `target` in the mean, and take most of its tint away.

    Less than that where a surface turned to the key light or a wide light would get more than `_BRIGHTEST`.
    """
    facing = np.array([[0.0, 1.0, 0.0], [0.7, 0.7, 0.0], [-0.7, 0.7, 0.0], [0.0, 0.7, 0.7], [0.0, 0.7, -0.7]])
    towards = lighting.key_position / np.linalg.norm(lighting.key_position)
    light = (facing @ towards).clip(0).mean() * lighting.key + lighting.ambient(facing, np.ones(len(facing))).mean(0)
    turned = np.stack([towards, *(fill.direction for fill in lighting.fills)])
    most = (turned @ towards).clip(0)[:, None] * lighting.key + lighting.ambient(turned, np.ones(len(turned)))
    gain = min(target / light.mean(), _BRIGHTEST / most.mean(1).max()) * (light.mean() / light) ** _BALANCED
    return replace(
        lighting,
        key=lighting.key * gain,
        fills=tuple(Fill(fill.direction, fill.light * gain) for fill in lighting.fills),
        sky=lighting.sky * gain,
        ground=lighting.ground * gain,
        around=None if lighting.around is None else lighting.around * gain,
    )


def blackbody(kelvin: float) -> Float[np.ndarray, " 3"]:
    """Linear sRGB of a black body's light, mean 1; 1,700 to 25,000 K.

    Kim et al., US patent 7,024,034 (2006): cubic splines of its chromaticity; CIE XYZ to sRGB by IEC 61966-2-1.
    """
    t = 1e3 / kelvin
    if kelvin < 4000:
        x = -0.2661239 * t**3 - 0.2343589 * t**2 + 0.8776956 * t + 0.179910
    else:
        x = -3.0258469 * t**3 + 2.1070379 * t**2 + 0.2226347 * t + 0.240390
    if kelvin < 2222:
        y = -1.1063814 * x**3 - 1.34811020 * x**2 + 2.18555832 * x - 0.20219683
    elif kelvin < 4000:
        y = -0.9549476 * x**3 - 1.37418593 * x**2 + 2.09137015 * x - 0.16748867
    else:
        y = 3.0817580 * x**3 - 5.87338670 * x**2 + 3.75112997 * x - 0.37001483
    xyz = np.array([x / y, 1.0, (1 - x - y) / y])
    light = (_RGB_FROM_XYZ @ xyz).clip(0.02)
    return light / light.mean()


def key_visibility(
    lighting: Lighting, points: Points, normals: Points, tracer: Tracer, rng: np.random.Generator
) -> Float[np.ndarray, " n"]:
    """Compute the share of the key light that each point sees."""
    starts = points + normals * _START_M
    seen = np.zeros(len(points))
    for _ in range(_SHADOW_RAYS):
        jitter = rng.uniform(-1, 1, points.shape) * lighting.key_half_size
        seen += ~tracer.blocked(starts, lighting.key_position + jitter - starts, 1.0)
    return seen / _SHADOW_RAYS


def openness(
    points: Points, normals: Points, tracer: Tracer, reach_m: float, rng: np.random.Generator
) -> Float[np.ndarray, " n"]:
    """Compute the share of the surroundings that each point sees, by cosine: ambient occlusion within `reach_m`."""
    starts = points + normals * _START_M
    seen = np.zeros(len(points))
    for _ in range(_AMBIENT_RAYS):
        sphere = rng.standard_normal(points.shape)
        sphere /= np.linalg.norm(sphere, axis=1, keepdims=True).clip(1e-9)
        directions = normals * 1.02 + sphere  # a cosine-weighted direction is the normal plus a point of the sphere
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        seen += ~tracer.blocked(starts, directions, reach_m)
    return seen / _AMBIENT_RAYS
