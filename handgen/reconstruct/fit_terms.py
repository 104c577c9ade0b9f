"""The terms of the fit that can be switched, by name: what a hand should agree with besides keypoints and its motion.

A new term is a class of its own (`handgen.fit.solver.Term`: a cost and its normal equations) and a line here:

    "my_term": FitTerm(0.0, per_hand(lambda fit: MyTerm(fit.problem.kinematics, ...)))

A weight of 0 switches a term off, and `annotate --term my_term=1` on. Terms are added in the order of the table, each
to what the ones before it gave. Imports nothing heavy, so that options can be checked against the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from handgen.reconstruct.settings import FitSettings

if TYPE_CHECKING:
    from handgen.fit.pose_fit import Fit
    from handgen.fit.solver import Term
    from handgen.geometry.camera import Rig

# Pictures of a range of frames, one frame at a time, an entry per camera.
ReadPictures = Callable[[range], Iterable[Sequence[Any]]]


@dataclass(frozen=True)
class FitScene:
    """Things that terms may look at besides the hands. frames: whose pictures may be read. background: of masks."""

    rig: Rig
    frames: range
    pictures: ReadPictures
    background: str


# Solves the hands of one person again with the term of this name, whose cost is multiplied by a weight.
SolveWithTerm = Callable[["list[Fit]", FitScene, str, float], "list[Fit]"]


@dataclass(frozen=True)
class FitTerm:
    """One entry of the table. weight: unless another is asked for; 0: the term is off."""

    weight: float
    solve: SolveWithTerm


def per_hand(make: Callable[[Fit], Term]) -> SolveWithTerm:
    """Add a term that looks at one hand alone. make: from the fit so far."""

    def solve(fits: list[Fit], scene: FitScene, name: str, weight: float) -> list[Fit]:
        from handgen.fit.solver import weighted

        return [fit.with_terms({name: weighted(make(fit), weight)}) for fit in fits]

    return solve


def _contact(fits: list[Fit], scene: FitScene, name: str, weight: float) -> list[Fit]:
    from handgen.fit.contact.term import keep_apart

    return list(keep_apart(fits[0], fits[1], weight)) if len(fits) == 2 else fits


def _silhouette(fits: list[Fit], scene: FitScene, name: str, weight: float) -> list[Fit]:
    from handgen.reconstruct.mask_refinement import masks_of_frames, with_masks

    views = masks_of_frames(fits, scene.frames, scene.pictures(scene.frames), scene.rig, scene.background)
    return [with_masks(fit, seen, weight) for fit, seen in zip(fits, views, strict=True)]


FIT_TERMS: dict[str, FitTerm] = {"contact": FitTerm(1.0, _contact), "silhouette": FitTerm(1.0, _silhouette)}


def weights_of(settings: FitSettings) -> dict[str, float]:
    """The weight of each term of the table. Raises ValueError for the name of a term that is none."""
    asked = dict(settings.term_weights)
    if unknown := sorted(asked.keys() - FIT_TERMS.keys()):
        raise ValueError(f"term {unknown[0]!r}: there is none of this name; choose from {', '.join(FIT_TERMS)}")
    switched = {} if settings.refine == "silhouette" else {"silhouette": 0.0}
    return {name: term.weight for name, term in FIT_TERMS.items()} | switched | asked


def solve_with_terms(fits: list[Fit], settings: FitSettings, scene: FitScene) -> list[Fit]:
    """Solve the hands of one person again with every term that is on."""
    for name, weight in weights_of(settings).items():
        if weight > 0 and fits:
            fits = FIT_TERMS[name].solve(fits, scene, name, weight)
    return fits
