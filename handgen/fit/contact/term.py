"""Two hands do not pass into each other: a term of the fit between the spheres of both (`handgen.fit.contact.spheres`).

Every pair of spheres that overlap costs its depth over a deviation in metres, squared. The hands are solved one by one
with the other one held, yet each is to give way by half: seen from one hand, the other is expected to give way by as
much as this one does. A depth that was `h` when the term was made and is `d` after this hand has moved is then
`2 d - h` once both have, and costs half of `(2 d - h)^2 / sigma^2`. Where rounds of this end, `h = d`, the gradient is
that of the cost of both hands together; the order of the hands has no say.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from handgen.fit.contact.spheres import SphereHand, Spheres
from handgen.fit.kinematics import Equations, HandState, joint_moves
from handgen.fit.pose_fit import Fit
from handgen.fit.solver import weighted
from handgen.hand.skeleton import JOINT_PARENTS

SIGMA_M = 0.002  # of a depth that is none
NEAR_PAIRS = 64  # per frame, the deepest or nearest; hands that touch have 15 that overlap, ones 7 mm deep have more
_FRAMES = 32  # whose pairs are compared at once
_SAME_PLACE_M = 1e-6  # centres nearer than this do not say which way to part
_CONTACT_ROUNDS = 2


@dataclass(frozen=True)
class ContactTerm:
    """One hand's share of the contact with the other hand, which is held, in `n` frames. Metres.

    mine: of each near pair, which of this hand's spheres. theirs: the centre of the other's. reach: the sum of both
    radii. held_depth: how deep the pair was when the term was made, at least 0. weight: 0 in frames without the other
    hand. Parameters as in `handgen.fit.kinematics`, without betas.
    """

    hand: SphereHand
    mine: Int[Tensor, "n pairs"]
    theirs: Float[Tensor, "n pairs 3"]
    reach: Float[Tensor, "n pairs"]
    held_depth: Float[Tensor, "n pairs"]
    weight: Float[Tensor, " n"]
    sigma_m: float = SIGMA_M

    @classmethod
    def between(cls, hand: SphereHand, state: HandState, other: Spheres, sigma_m: float = SIGMA_M) -> ContactTerm:
        """The term of a hand that is about in this state: the pairs that are nearest in it are the ones that count.

        hand: made with the state's betas. other: the other hand's spheres in the same frames.
        """
        own = hand.at(state)
        reach = own.radii[:, None] + other.radii
        count = min(NEAR_PAIRS, reach.numel())
        found = [  # some frames at a time: all pairs of all frames would fill the memory
            (reach - torch.cdist(mine, theirs)).flatten(1).topk(count, 1)
            for mine, theirs in zip(own.centers.split(_FRAMES), other.centers.split(_FRAMES), strict=True)
        ]
        depth, flat = (torch.cat(parts) for parts in zip(*found, strict=True))
        mine, theirs = flat // len(other.radii), flat % len(other.radii)
        centers = torch.take_along_dim(other.centers, theirs[..., None], 1)
        weight = own.weight * other.weight
        return cls(hand, mine, centers, reach[mine, theirs], depth.clamp(min=0), weight, sigma_m)

    def cost(self, state: HandState) -> Float[Tensor, " n"]:
        """Squared residuals in variances, summed per frame."""
        _, offset = self._offsets(self.hand.frames(state))
        return self._residuals(offset.norm(dim=-1)).square().sum(1)

    def normal_equations(self, state: HandState, by_betas: bool = False) -> Equations:
        """The term's equations by the pose; ValueError if asked for betas: the spheres are those of one shape."""
        if by_betas:
            raise ValueError("ContactTerm: the betas are held; fit them without contact")
        n = len(state)
        frames = rotations, joints, _ = self.hand.frames(state)
        skinned, offset = self._offsets(frames)
        distance = offset.norm(dim=-1)
        residuals = self._residuals(distance)
        away = offset / distance.clamp(min=_SAME_PLACE_M)[..., None]
        # Turning joint a by w (in its parent's frame) moves what it carries of a centre x by (G_parent w) x (x - p_a).
        moves = joint_moves(joints)
        share = self.hand.skinning[self.mine] @ moves.T  # (n, pairs, 16): how much of each centre a joint moves
        carried = (moves @ skinned) - share[..., None] * joints[:, None]
        parents = torch.cat([torch.eye(3).to(joints).expand(n, 1, 3, 3), rotations[:, list(JOINT_PARENTS[1:])]], 1)
        turning = torch.linalg.cross(carried, away[:, :, None].expand_as(carried))
        turning = torch.einsum("naij,npai->npaj", parents, turning)
        slopes = torch.cat([turning.flatten(2), away], 2) * (-(2**0.5) / self.sigma_m)  # of 2 d / (sqrt(2) sigma)
        slopes = torch.where((residuals > 0)[..., None], slopes, torch.zeros_like(slopes))
        gradient = (slopes.transpose(1, 2) @ residuals[..., None])[..., 0]
        return slopes.transpose(1, 2) @ slopes, gradient, residuals.square().sum(1)

    def _offsets(self, frames: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Each joint's part of each pair's own centre (n, pairs, 16, 3), and that centre from the other's."""
        rotations, _, offsets = frames
        rest, skinning = self.hand.rest[self.mine], self.hand.skinning[self.mine]
        rigid = torch.einsum("nbij,npj->npbi", rotations, rest) + offsets[:, None]
        skinned = skinning[..., None] * rigid
        return skinned, skinned.sum(2) - self.theirs

    def _residuals(self, distance: Float[Tensor, "n pairs"]) -> Float[Tensor, "n pairs"]:
        """Depths that both hands leave, in deviations; 0 without overlap, without the other hand, and if not finite."""
        left = 2 * (self.reach - distance) - self.held_depth
        overlap = (left > 0) & (self.weight > 0)[:, None] & distance.isfinite()
        return torch.where(overlap, left, torch.zeros_like(left)) / (2**0.5 * self.sigma_m)


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
