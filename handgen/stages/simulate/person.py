"""The simulated person: hands that the open hand's ten betas cannot describe, their skin and clothes.

The truth must not lie in the span of the model that is fitted to it. So a person's shape has parts along the twenty
further directions of the open hand's population, and their pose correctives are weaker or stronger than the model's.
Both are baked into the person's own hand model in MANO's format, which the truth is stored with.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from handgen.hand.model_files import FIELDS, KINTREE, OPEN_HAND, HandArrays, load_hand, npz_bytes, surface_bytes
from handgen.stages.simulate.light import linear_from_srgb
from handgen.stages.simulate.skin.traits import SkinTraits, draw_traits
from handgen.stages.simulate.sleeve import Sleeve, draw_sleeve
from handgen.storage.numpy_files import read_arrays

MODEL_NAME = "hand_{side}.npz"  # of a person's own hand model
_BETA_SIGMA, _EXTRA_SIGMA = 0.8, 1.0  # of each coefficient, in the population's standard deviations
_SHAPE_LIMIT = 2.0
_EXTRA_COUNT = 20
_BULGE = (0.6, 1.4)  # strength of the pose correctives against the model's
_CUFF_M = (0.085, 0.13)  # behind the wrist


@dataclass(frozen=True)
class Person:
    """Shape and looks. betas, extra: coefficients. bulge: factor of the pose correctives.

    skin: how it looks. sleeve: what they wear. cuff_m: where the sleeve begins, behind the wrist.
    """

    betas: Float[np.ndarray, " 10"]
    extra: Float[np.ndarray, " 20"]
    bulge: float
    skin: SkinTraits
    sleeve: Sleeve
    cuff_m: float


def make_person(rng: np.random.Generator) -> Person:
    """A random person."""
    betas = rng.normal(0, _BETA_SIGMA, 10).clip(-_SHAPE_LIMIT, _SHAPE_LIMIT)
    cloth = linear_from_srgb(rng.uniform(0.15, 0.75) * rng.uniform(0.7, 1.0, 3))
    return Person(
        betas=betas,
        extra=rng.normal(0, _EXTRA_SIGMA, _EXTRA_COUNT).clip(-_SHAPE_LIMIT, _SHAPE_LIMIT),
        bulge=rng.uniform(*_BULGE),
        skin=draw_traits(rng),
        cuff_m=rng.uniform(*_CUFF_M),
        sleeve=draw_sleeve(cloth, rng),
    )


def personal_surface(person: Person, side: str) -> dict[str, np.ndarray]:
    """The arrays of the open hand's full-resolution surface, with the person's shape and correctives baked in."""
    arrays = read_arrays(surface_bytes(side), f"the {side} hand's surface")
    arrays["vertices"] = arrays["vertices"].astype(float) + arrays["shapedirs_extra"].astype(float) @ person.extra
    arrays["posedirs"] = arrays["posedirs"] * np.float32(person.bulge)
    return arrays


def personal_hand(person: Person, side: str) -> HandArrays:
    """The person's own hand model: the open hand of 778 vertices with the same shape and correctives baked in.

    Its betas are the open hand's; its sha256 is that of `personal_file`.
    """
    model = load_hand(OPEN_HAND, side)
    surface = read_arrays(surface_bytes(side), f"the {side} hand's surface")
    extra = surface["shapedirs_extra"][surface["mano_vertices"]].astype(float)
    hand = replace(
        model,
        name=MODEL_NAME,
        template=model.template + extra @ person.extra,
        posedirs=model.posedirs * person.bulge,
        note="a simulated person's own hand: its shape is outside the span of the ten betas",
    )
    return replace(hand, sha256=hashlib.sha256(personal_file(hand)).hexdigest())


def personal_file(hand: HandArrays) -> bytes:
    """The npz in MANO's format that `load_hand` reads the same model from."""
    arrays = {key: getattr(hand, field) for key, field in FIELDS.items()}
    anatomy = {"joint_axes": hand.joint_axes, "joint_limits_rad": hand.joint_limits_rad}
    return npz_bytes(arrays | anatomy | {"kintree_table": KINTREE, "f": hand.faces, "note": np.array(hand.note)})
