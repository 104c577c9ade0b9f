"""Traits in which people's skin differs, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from handgen.hand.skeleton import FINGERS
from handgen.stages.simulate.light import linear_from_lab, linear_from_srgb

# CIELAB of the back of the hand, light to dark. Chroma is highest between: Wang et al., "Comparing skin colours between
# different skin groups"; lightness over roughly the range of Xiao et al., Skin Res. Technol. 23 (2017), and darker.
SKIN_TONES_LAB = (
    (77.0, 9.5, 14.0),
    (70.0, 10.5, 16.5),
    (64.0, 11.5, 18.0),
    (57.0, 12.5, 20.0),
    (50.0, 12.5, 19.5),
    (42.0, 11.0, 16.0),
    (35.0, 9.0, 12.5),
)
_TONE_DEVIATION_LAB = (1.5, 1.5, 1.5)
_POLISHED, _RINGED, _BANDED, _HAIRY, _SCARRED = 0.15, 0.3, 0.3, 0.45, 0.15  # shares of people


@dataclass(frozen=True)
class Ring:
    """A ring: its finger, how far along the first bone (share), its width (metres), its linear albedo."""

    finger: str
    along: float
    width_m: float
    color: Float[np.ndarray, " 3"]


@dataclass(frozen=True)
class Band:
    """A bracelet or a watch's strap about the wrist: metres behind it, width, albedo; whether it has a dial."""

    behind_m: float
    width_m: float
    color: Float[np.ndarray, " 3"]
    gloss: float
    dial: bool


@dataclass(frozen=True)
class SkinTraits:
    """One person's skin.

    tone: linear albedo of the back. pigment: 0 light to 1 dark. palms: 1 for palms of their own colour, 0 for the
    back's. redness: of the blood's colour, 1 usual. age: 0 to 1, of lines and wrinkles. creases, pores, ridges, veins,
    tendons, blotches: strengths, 1 usual. hair: strokes per cm^2 of the
    back. hair_color: linear. moles, scars: how many. gloss: of the highlight, dry 0.03 to moist 0.16. nail_length_m:
    beyond the flesh. polish: linear albedo, or None.
    """

    tone: Float[np.ndarray, " 3"]
    pigment: float
    palms: float
    redness: float
    age: float
    creases: float
    pores: float
    ridges: float
    veins: float
    tendons: float
    blotches: float
    hair: float
    hair_color: Float[np.ndarray, " 3"]
    moles: int
    scars: int
    gloss: float
    nail_length_m: float
    polish: Float[np.ndarray, " 3"] | None
    ring: Ring | None
    band: Band | None


def draw_traits(rng: np.random.Generator) -> SkinTraits:
    """Draw a random person's skin."""
    pigment = rng.uniform()
    shares = np.linspace(0, 1, len(SKIN_TONES_LAB))
    tone_lab = [np.interp(pigment, shares, values) for values in np.transpose(SKIN_TONES_LAB)]
    tone = linear_from_lab(tone_lab + rng.normal(0, _TONE_DEVIATION_LAB))
    age = float(rng.beta(1.6, 2.2))
    return SkinTraits(
        tone=tone,
        pigment=pigment,
        palms=rng.uniform(0.3, 1.0),
        redness=rng.uniform(0.7, 1.5),
        age=age,
        creases=rng.uniform(0.1, 1.15),
        pores=rng.uniform(0.6, 1.3),
        ridges=rng.uniform(0.5, 1.3),
        veins=float(rng.beta(1.3, 1.6)) * (0.6 + 0.8 * age) * 1.4,
        tendons=rng.uniform(0.2, 1.2),
        blotches=rng.uniform(0.6, 1.5),
        hair=rng.uniform(2, 22) if rng.random() < _HAIRY else 0.0,
        hair_color=linear_from_srgb(np.array((0.28, 0.19, 0.13)) * rng.uniform(0.3, 2.2)),
        moles=int(rng.poisson(2 + 5 * age)),
        scars=int(rng.random() < _SCARRED),
        gloss=rng.uniform(0.03, 0.16),
        nail_length_m=max(0.0, rng.normal(0.0012, 0.0012)),
        polish=linear_from_srgb(rng.uniform(0.05, 0.9, 3)) if rng.random() < _POLISHED else None,
        ring=_draw_ring(rng) if rng.random() < _RINGED else None,
        band=_draw_band(rng) if rng.random() < _BANDED else None,
    )


def leave_out(traits: SkinTraits, components: tuple[str, ...]) -> SkinTraits:
    """Return the same person without some components of `SimulateConfig.without`; others have no part in skin."""
    changes: dict[str, Any] = {}
    if "creases" in components:
        changes |= {"creases": 0.0}
    if "palms" in components:
        changes |= {"palms": 0.0}
    if "fine_skin" in components:
        changes |= dict.fromkeys(("pores", "ridges", "veins", "tendons", "hair"), 0.0) | {"moles": 0, "scars": 0}
    if "worn" in components:
        changes |= dict.fromkeys(("polish", "ring", "band"))
    return replace(traits, **changes)


def _draw_ring(rng: np.random.Generator) -> Ring:
    metal = np.array([(0.83, 0.68, 0.38), (0.78, 0.78, 0.78), (0.35, 0.34, 0.34)])[rng.integers(3)]
    finger = str(rng.choice(FINGERS, p=(0.08, 0.2, 0.17, 0.45, 0.1)))
    return Ring(finger, rng.uniform(0.42, 0.62), rng.uniform(0.0018, 0.006), linear_from_srgb(metal))


def _draw_band(rng: np.random.Generator) -> Band:
    dial = bool(rng.random() < 0.6)
    dark = rng.random() < 0.6
    color = linear_from_srgb(rng.uniform(0.03, 0.2, 3) if dark else rng.uniform(0.2, 0.85, 3))
    width = rng.uniform(0.014, 0.022) if dial else rng.uniform(0.002, 0.012)
    return Band(rng.uniform(0.022, 0.045), width, color, rng.uniform(0.02, 0.3), dial)
