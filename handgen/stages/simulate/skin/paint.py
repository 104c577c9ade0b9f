"""Paint a person's skin: colour, gloss and relief of every texel of the atlas.

Colours are linear albedo. Skin reflects what melanin (over all colours, most in blue) and blood (most in green) leave:
palm, sole and nail beds have next to no melanin in people of every tone, so that they are paler and redder than the
back (Anderson, Parrish, "The optics of human skin", J. Invest. Dermatol. 77, 1981; Yamaguchi et al., "Mesenchymal-
epithelial interactions in the skin", J. Cell Biol. 165, 2004, on palms).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from handgen.hand.skeleton import FINGER_JOINTS, FINGERS
from handgen.stages.simulate.light import Noise, linear_from_lab, linear_from_srgb
from handgen.stages.simulate.skin.back import draw_hairs, draw_tendons, draw_veins
from handgen.stages.simulate.skin.folds import draw_folds
from handgen.stages.simulate.skin.nails import draw_nails
from handgen.stages.simulate.skin.places import Places
from handgen.stages.simulate.skin.traits import SkinTraits

_PALM_LIGHT, _PALM_DARK = linear_from_lab(np.array((73.0, 15.0, 15.0))), linear_from_lab(np.array((62.0, 14.0, 17.0)))
_BLOOD = np.array([0.08, 0.42, 0.36])  # what more blood takes from red, green and blue
FOLD_DEPTH_M, _VEIN_M, _TENDON_M, _NAIL_M, _RIDGE_M, _PORE_M = 4.5e-4, 5e-4, 9e-4, 2.5e-4, 4.5e-5, 1.3e-5
_RIDGE_PERIOD_M = 5.2e-4  # of the friction ridges: 0.4 to 0.6 mm (Cummins, Midlo, "Finger prints, palms and soles")
_COARSE_PX = 320  # side of the atlas at which slow noise is computed


@dataclass(frozen=True)
class Layers:
    """One person's texels before they become maps. height_m: relief that no pose changes. fold: see `folds.Folds`."""

    albedo: Float[np.ndarray, "n 3"]
    gloss: Float[np.ndarray, " n"]
    height_m: Float[np.ndarray, " n"]
    fold: Float[np.ndarray, " n"]
    bends: UInt8[np.ndarray, " n"]


def paint(places: Places, traits: SkinTraits, rng: np.random.Generator) -> Layers:
    """Paint all texels."""
    atlas = places.atlas
    noise = Noise(rng)
    slow, medium = (_slow_noise(places, noise, size) for size in (0.013, 0.0042))
    fine, finest = _texel_noise(places, 0.0011, rng), _texel_noise(places, 0.0005, rng)
    palmar = _step(0.25, -0.35, places.facing_back + 0.06 * medium) * _step(0.022, -0.010, atlas.position_m[:, 0])

    palm_tone = _PALM_LIGHT + (_PALM_DARK - _PALM_LIGHT) * traits.pigment
    share = (0.85 * traits.palms * palmar)[:, None]
    albedo = traits.tone * (1 - share) + (0.18 * traits.tone + 0.82 * palm_tone) * share
    blood = traits.redness * _blood(places, palmar) * (1 - 0.45 * traits.pigment * (1 - palmar))
    blood = blood + traits.blotches * (0.10 + 0.10 * palmar) * slow + 0.06 * traits.blotches * medium
    melanin = (0.05 * medium + traits.pores * (0.05 * fine + 0.035 * finest)) * (1 - 0.4 * palmar)
    albedo = albedo * np.exp(-np.clip(blood, -0.5, 1.2)[:, None] * _BLOOD) * (1 + melanin[:, None] * (0.8, 1.0, 1.1))

    folds = draw_folds(places, traits.age, rng)
    fold = np.clip(folds.strength * traits.creases, 0, 1.4)
    knuckles = _knuckles(places) * (1 - palmar)
    albedo = albedo * (1 - (0.10 + 0.12 * traits.pigment) * knuckles[:, None] * (0.8, 1.0, 1.0))
    ridges = traits.ridges * _ridges(places, palmar, rng)
    height = _RIDGE_M * ridges + _PORE_M * traits.pores * (fine + finest) * (1 - palmar)
    albedo = albedo * (1 + 0.035 * ridges[:, None])

    veins = draw_veins(places, rng) * traits.veins
    albedo = albedo * (1 - veins[:, None] * np.array([0.22, 0.05, -0.02]) * (1 - 0.7 * traits.pigment))
    height = height + _VEIN_M * veins + _TENDON_M * traits.tendons * draw_tendons(places, rng)

    albedo = _with_marks(albedo, places, traits, rng)
    if traits.hair:
        hairs = (0.75 * draw_hairs(places, traits.hair, rng))[:, None]
        albedo = albedo * (1 - hairs) + traits.hair_color * hairs
    gloss = traits.gloss * (0.8 + 0.5 * palmar) * (1 + 0.35 * fine) * (1 - 0.5 * np.minimum(fold, 1))
    albedo, gloss, height = _with_nails(albedo, gloss, height, places, traits, rng)
    albedo, gloss, height, fold = _with_worn(albedo, gloss, height, fold, places, traits)
    return Layers(albedo.clip(0.005, 0.95), gloss.clip(0, 1), height, fold, folds.bends.astype(np.uint8))


def _step(low: float, high: float, values: np.ndarray) -> np.ndarray:
    share = np.clip((values - low) / (high - low), 0, 1)
    return share * share * (3 - 2 * share)


def _blood(places: Places, palmar: np.ndarray) -> np.ndarray:
    """Return where blood shows: tips, thenar and hypothenar pads, pads of the fingers, knuckles; less in the hollow."""
    position = places.atlas.position_m
    near = np.zeros(len(position))
    for finger in FINGERS:
        mine = places.of_finger(finger)
        tip = places.tips_m[finger]
        near[mine] = np.exp(-((position[mine] - tip) ** 2).sum(1) / (2 * 0.011**2))
    pads = np.zeros(len(position))
    for center, radius in (((-0.035, 0.028), 0.017), ((-0.03, -0.028), 0.02), ((-0.09, 0.0), 0.014)):
        pads += np.exp(-((position[:, [0, 2]] - center) ** 2).sum(1) / (2 * radius**2))
    return 0.34 * near + palmar * (0.10 + 0.28 * np.minimum(pads, 1)) + 0.16 * _knuckles(places) * (1 - palmar)


def _knuckles(places: Places) -> np.ndarray:
    near = np.zeros(len(places.joint))
    for chain in FINGER_JOINTS.values():
        for joint in chain:
            squared = ((places.atlas.position_m - places.joints[joint].center_m) ** 2).sum(1)
            near = np.maximum(near, np.exp(-squared / (2 * 0.0085**2)))
    return near


def _slow_noise(places: Places, noise: Noise, size_m: float) -> np.ndarray:
    """Return smooth noise over the skin, without seams."""
    atlas = places.atlas
    step = max(1, atlas.side_px // _COARSE_PX)
    positions, covered = atlas.image(atlas.position_m)[::step, ::step], atlas.covered[::step, ::step]
    values = np.zeros(covered.shape, np.float32)
    values[covered] = noise.fractal(positions[covered] / size_m)
    side = atlas.side_px
    filled = fill_empty(values, covered)
    return cv2.resize(filled, (side, side), interpolation=cv2.INTER_LINEAR)[atlas.covered].astype(float)


def fill_empty(values: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Give empty texels the mean of covered ones nearby, so that nothing bleeds in where maps are made smaller."""
    filled: np.ndarray = values.copy()
    share: np.ndarray = covered.astype(np.float32)
    total: np.ndarray = values * (share if values.ndim == 2 else share[..., None])
    for _ in range(6):
        total, share = cv2.blur(total, (5, 5)), cv2.blur(share, (5, 5))
        mean = total / np.maximum(share if values.ndim == 2 else share[..., None], 1e-6)
        empty = ~covered & (share > 1e-4)
        filled[empty] = mean[empty]
    return filled


def _texel_noise(places: Places, size_m: float, rng: np.random.Generator) -> np.ndarray:
    """Return noise of deviation 1 over the atlas's plane; fine enough that seams are not seen."""
    side = places.atlas.side_px
    cells = max(4, int(side * places.atlas.texel_m / size_m))
    grid = rng.standard_normal((cells, cells)).astype(np.float32)
    values = cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)[places.atlas.covered]
    return (values / values.std()).astype(float)


def _ridges(places: Places, palmar: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return friction ridges, -1 to 1: across the pads, bent by a slow warp as in prints."""
    side = places.atlas.side_px
    warp = cv2.resize(rng.standard_normal((28, 28, 2)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    rows, columns = np.nonzero(places.atlas.covered)
    position = places.atlas.position_m
    phase = position[:, 0] + 0.35 * position[:, 2] + 0.0022 * warp[rows, columns, 0] + 6.0 * position[:, 2] ** 2
    return np.sin(2 * np.pi * phase / _RIDGE_PERIOD_M) * palmar


def _with_marks(albedo: np.ndarray, places: Places, traits: SkinTraits, rng: np.random.Generator) -> np.ndarray:
    """Add moles and freckles to the back, and scars anywhere."""
    position, back = places.atlas.position_m, places.facing_back > 0
    candidates = np.flatnonzero(back)
    for _ in range(traits.moles):
        center = position[rng.choice(candidates)]
        near = np.exp(-((position - center) ** 2).sum(1) / (2 * rng.uniform(3e-4, 1.1e-3) ** 2))
        albedo = albedo * (1 - (rng.uniform(0.25, 0.7) * near)[:, None] * (0.7, 0.9, 1.0))
    for _ in range(traits.scars):
        center, heading = position[rng.integers(len(position))], rng.standard_normal(3)
        heading /= np.linalg.norm(heading)
        offset = position - center
        along = offset @ heading
        off = np.linalg.norm(offset - along[:, None] * heading, axis=1)
        line = np.exp(-((off / 5e-4) ** 2) / 2 - (along / rng.uniform(0.003, 0.009)) ** 4)
        albedo = albedo * (1 + (0.35 * line)[:, None] * (0.5, 0.7, 0.7))
    return albedo


def _with_nails(
    albedo: np.ndarray,
    gloss: np.ndarray,
    height: np.ndarray,
    places: Places,
    traits: SkinTraits,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    nails = draw_nails(places, traits.nail_length_m, rng)
    albedo = albedo * (1 - 0.30 * nails.fold[:, None] * (0.6, 1.0, 1.0))
    bed = (0.5 * traits.tone + 0.5 * (_PALM_LIGHT + 0.6 * traits.pigment * (_PALM_DARK - _PALM_LIGHT))) * 1.02
    white = 0.45 * bed + 0.55 * linear_from_srgb(np.array((0.90, 0.86, 0.80)))
    color = bed + 0.4 * nails.lunula[:, None] * (white - bed)
    color = color * (1 - 0.8 * nails.edge[:, None]) + 0.8 * nails.edge[:, None] * white
    shine = 0.28
    if traits.polish is not None:
        color, shine = np.broadcast_to(traits.polish, color.shape), 0.6
    plate = nails.plate[:, None]
    albedo = albedo * (1 - plate) + color * plate
    return albedo, gloss * (1 - nails.plate) + shine * nails.plate, height + _NAIL_M * (nails.plate - nails.fold)


def _with_worn(
    albedo: np.ndarray, gloss: np.ndarray, height: np.ndarray, fold: np.ndarray, places: Places, traits: SkinTraits
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Put a ring on a finger and a band about the wrist."""
    position = places.atlas.position_m
    for color, shine, rise, share in _worn(places, position, traits):
        mixed = share[:, None]
        albedo = albedo * (1 - mixed) + color * mixed
        gloss = gloss * (1 - share) + shine * share
        height = height + rise * share
        fold = fold * (1 - share)
    return albedo, gloss, height, fold


def _worn(
    places: Places, position: np.ndarray, traits: SkinTraits
) -> list[tuple[np.ndarray, float, float, np.ndarray]]:
    found = []
    if traits.ring is not None:
        ring, mine = traits.ring, places.of_finger(traits.ring.finger)
        joint = FINGER_JOINTS[ring.finger][1 if ring.finger == "thumb" else 0]
        along = places.local(joint, mine)[:, 0] - ring.along * places.joints[joint].length_m
        share = np.zeros(len(position))
        share[mine] = _step(1.6e-4, -1.6e-4, np.abs(along) - ring.width_m / 2)
        found.append((ring.color, 0.9, 1.1e-3, share))
    if traits.band is not None:
        band = traits.band
        behind = position[:, 0] - band.behind_m
        share = _step(2.5e-4, -2.5e-4, np.abs(behind) - band.width_m / 2)
        found.append((band.color, band.gloss, 1.6e-3, share))
        if band.dial:
            across = np.hypot(behind, position[:, 2] - 0.004) * (places.facing_back > 0.1) + (places.facing_back <= 0.1)
            face = _step(2.5e-4, -2.5e-4, across - 0.0165)
            rim = face * _step(0.0140, 0.0146, across)
            found.append((band.color * 0.5 + 0.02, 0.7, 2.2e-3, face))
            found.append((np.full(3, 0.45), 0.8, 0.4e-3, rim))
    return found
