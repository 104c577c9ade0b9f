"""The boundary of checks: what they are given, and what they answer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool, Float

from handgen.errors import HandgenError
from handgen.fit.kinematics import KeypointKinematics
from handgen.hand.model import HandModel
from handgen.hand.model_files import MANO, NAMED_MODELS, OPEN_HAND, HandArrays, load_hand
from handgen.hand.skeleton import SIDES
from handgen.label_checks.hands import Hands

T = TypeVar("T")


@dataclass(frozen=True)
class Fault:
    """A fault of one hand, picture or set. what: the fact. fix: what to change."""

    what: str
    fix: str


@dataclass
class Outcome:
    """The answer of one check. wrong: faults by the hand's number."""

    looked_at: int = 0
    wrong: dict[int, Fault] = field(default_factory=dict)


def judge(look: Bool[np.ndarray, " n"], wrong: Bool[np.ndarray, " n"], fault_of: Callable[[int], Fault]) -> Outcome:
    """Answer with a fault for each hand that is looked at and `wrong`."""
    return Outcome(int(look.sum()), {i: fault_of(i) for i in np.flatnonzero(look & wrong).tolist()})


@dataclass(frozen=True)
class Check:
    """A check of single hands. about: what it looks at and how far off is too far, as the documentation has it.

    look: of the hands that are to be looked at (a mask), what is wrong. after: checks whose faults explain any that
    this one would find; it leaves out the hands that they name.
    """

    about: str
    look: Callable[[Evidence, Bool[np.ndarray, " n"]], Outcome]
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class SetCheck:
    """A check of a whole set. about: for the documentation, as a `Check` has it.

    collect: takes from one part what goes on, small; None where there is nothing. conclude: gives of all parts how many
    things were looked at, and the faults, each with where it is.
    """

    about: str
    collect: Callable[[Evidence], Any]
    conclude: Callable[[list[Any]], tuple[int, list[tuple[str, Fault]]]]


@dataclass(frozen=True)
class Tolerances:
    """The exactness with which labels agree, which depends on how many digits their format keeps.

    reprojection_px: of 3D on 2D keypoints. parameters_mm: of the model's keypoints from the labelled ones; None: these
    are not the model's own, and only what another convention explains much better is wrong. world_mm: of one hand in
    several pictures. pixels_per_part: of how many pictures of a part the pixels are looked at. share: of the hands that
    are compared over the set. shapes_vary: captures in which one person may have several shapes. in_mask: share of a
    hand's visible keypoints that its mask holds; little where a format does not say which are hidden.
    """

    reprojection_px: float = 0.01
    parameters_mm: float | None = 1.0
    world_mm: float = 1.0
    pixels_per_part: int | None = 20
    share: float = 1.0
    in_mask: float = 0.5
    shapes_vary: frozenset[str] = frozenset()


def load_sides(name: str) -> dict[str, HandArrays]:
    """Load the sides of a hand model that are here."""
    arrays = {}
    for side in SIDES:
        with suppress(HandgenError):
            arrays[side] = load_hand(name, side)
    return arrays


def model_beside(folder: str, name: str) -> str | None:
    """Find the file of a model that lies in the directory `folder` of this machine; None for any other."""
    parts = PurePath(name).parts if isinstance(name, str) else ()
    if not parts or not name.endswith(".npz") or ".." in parts or PurePath(name).is_absolute() or "://" in folder:
        return None
    return f"{folder}/{name}"


class HandModels:
    """The hand models that labels name, read once. known: others, by name, as `load_hand` takes them.

    missing: why a model that was asked for cannot be used.
    """

    def __init__(self, known: dict[str, str] | None = None) -> None:
        self._known = known or {}
        self._read: dict[tuple[str, str], KeypointKinematics | None] = {}
        self.missing: set[str] = set()

    def sides(self, name: str | None, sha256: str | None) -> dict[str, KeypointKinematics] | None:
        """Load the sides of a model that are here, if either has that digest; None where it cannot be had."""
        name = name or OPEN_HAND
        both = {side: self._of(name, side) for side in SIDES}
        found = {side: model for side, model in both.items() if model is not None}
        if not found:
            return None
        if sha256 is not None and sha256 not in {model.model.arrays.sha256 for model in found.values()}:
            self.missing.add(f"hand model {name} here is another one (SHA-256) than the labels were made with")
            return None
        return found

    def candidates(self) -> list[str]:
        """The models that labels without a name may be of."""
        return [name for name in (*self._known, *NAMED_MODELS) if self.sides(name, None)]

    def _of(self, name: str, side: str) -> KeypointKinematics | None:
        if (name, side) not in self._read:
            try:
                self._read[name, side] = KeypointKinematics(HandModel.load(self._known.get(name, name), side))
            except HandgenError as error:
                self._read[name, side] = None
                if name != MANO or name in self._known:
                    self.missing.add(str(error))
        return self._read[name, side]


@dataclass(frozen=True)
class Evidence:
    """The hands that checks look at, and all that several checks derive from them, once."""

    hands: Hands
    models: HandModels
    tolerances: Tolerances = Tolerances()
    shared: dict[Any, Any] = field(default_factory=dict)  # what several checks need, by the function that makes it
    wrong: dict[str, Bool[np.ndarray, " n"]] = field(default_factory=dict)  # hands, by the checks that ran so far

    @cached_property
    def projected_px(self) -> Float[np.ndarray, "n 21 2"]:
        """The 3D keypoints through the pictures' cameras; NaN where either is unknown or a point is not in front."""
        hands = self.hands
        rays = np.einsum("nij,nkj->nki", hands.intrinsics, hands.cam_m)
        depth = rays[..., 2:]
        return rays[..., :2] / np.where(depth > 0, depth, np.nan)

    def share(self, make: Callable[[Evidence], T]) -> T:
        """Make what several checks need, once."""
        if make not in self.shared:
            self.shared[make] = make(self)
        return self.shared[make]

    def mark(self, name: str, wrong: dict[int, Fault]) -> None:
        """Note what a check found."""
        marked = np.zeros(len(self.hands), bool)
        marked[list(wrong)] = True
        self.wrong[name] = marked

    def applicable(self, check: Check) -> Bool[np.ndarray, " n"]:
        """The hands that a check is to look at."""
        found = [self.wrong[name] for name in check.after if name in self.wrong]
        return ~np.any(found, 0) if found else np.ones(len(self.hands), bool)
