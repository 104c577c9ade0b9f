"""Two fitted hands of one person are solved again so that they do not pass into each other."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from handgen.fit.contact.spheres import SphereHand, Spheres
from handgen.fit.contact.term import ContactTerm
from handgen.fit.pose_fit import Fit
from handgen.fit.solver import weighted

_CONTACT_ROUNDS = 2


def keep_apart(first: Fit, second: Fit, weight: float = 1.0) -> tuple[Fit, Fit]:
    """Solve two hands of a person again so that they do not pass into each other. weight: of the term."""
    spheres = [SphereHand.of(fit.problem.kinematics.model, fit.solved.state.betas[0]) for fit in (first, second)]
    for _ in range(_CONTACT_ROUNDS):
        placed = [hand.at(fit.solved.state) for hand, fit in zip(spheres, (first, second), strict=True)]
        # Each hand sees the other one where this round began, so that their order has no say.
        terms = [
            ContactTerm.between(spheres[0], first.solved.state, _in_frames(placed[1], second.frames, first.frames)),
            ContactTerm.between(spheres[1], second.solved.state, _in_frames(placed[0], first.frames, second.frames)),
        ]
        if not any(bool((t.cost(f.solved.state) > 0).any()) for t, f in zip(terms, (first, second), strict=True)):
            break
        first = first.with_terms({"contact": weighted(terms[0], weight)})
        second = second.with_terms({"contact": weighted(terms[1], weight)})
    return first, second


def _in_frames(spheres: Spheres, frames: Int[Tensor, " n"], wanted: Int[Tensor, " m"]) -> Spheres:
    """Spheres of other frames; those of a frame that there is not have weight 0."""
    place = torch.searchsorted(frames, wanted).clamp(max=len(frames) - 1)
    there = frames[place] == wanted
    return Spheres(spheres.centers[place], spheres.radii, spheres.weight[place] * there)
