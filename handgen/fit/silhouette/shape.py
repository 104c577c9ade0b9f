"""Learn a person's shape from masks: betas and detector offsets are solved again, with silhouettes beside keypoints.

Keypoints say how long bones are, as far as a detector's idea of a knuckle goes; how wide a hand is, only its outline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from handgen.detect.view_bias import DetectorCalibration
from handgen.fit.observations import Offsets, kinematics_of
from handgen.fit.pose_fit import Fit
from handgen.fit.silhouette.mask_edges import MaskView
from handgen.fit.silhouette.term import SilhouetteTerm
from handgen.fit.solver import solve_shared
from handgen.fit.subject import HandShape, frames_per_independent_one, likeliest_offsets

_ROUNDS = 4
_STEPS = 3
_OFFSET_SIGMA_M = 0.006  # twice what keypoints alone may say: masks know where the skin is


@dataclass(frozen=True)
class SeenHand:
    """Frames of one side: fitted one by one with the shape so far, and their masks (frame: index into the fit)."""

    fit: Fit
    masks: Sequence[MaskView]


def shape_from_masks(
    shape: HandShape,
    detector: DetectorCalibration,
    hand_model: str,
    hands: Sequence[SeenHand],
    offsets_m: Offsets,
    device: str,
) -> tuple[HandShape, DetectorCalibration]:
    """Fit betas and detector offsets again so that they explain masks as well.

    shape, detector: what the keypoints gave. offsets_m: (21, 3), the detector's on anybody, which a person's are near.
    """
    hands = [hand for hand in hands if hand.masks]
    if not hands:
        return shape, detector
    problems = [hand.fit.problem for hand in hands]
    states = [hand.fit.solved.state for hand in hands]
    terms = [SilhouetteTerm(h.fit.problem.kinematics.model, h.masks, len(h.fit.frames)) for h in hands]
    offsets = detector.offsets_m
    for _ in range(_ROUNDS):
        seen = [
            replace(
                problem,
                kinematics=kinematics_of(hand_model, problem.kinematics.model.side, offsets, device),
                terms={"silhouette": term.refreshed(state)},
            )
            for problem, term, state in zip(problems, terms, states, strict=True)
        ]
        states = solve_shared(seen, states, betas_weight=frames_per_independent_one(states), steps=_STEPS)
        offsets = likeliest_offsets(seen, states, offsets, offsets_m, _OFFSET_SIGMA_M)
    return replace(shape, betas=states[0].betas[0].cpu().numpy()), replace(detector, offsets_m=offsets)
