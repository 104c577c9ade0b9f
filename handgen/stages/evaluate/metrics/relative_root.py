"""The offset between a person's two wrists."""

from __future__ import annotations

import numpy as np

from handgen.hand.skeleton import WRIST
from handgen.stages.evaluate.distributions import Distribution, distribution, spread
from handgen.stages.evaluate.matched import Hands
from handgen.stages.evaluate.metrics.base import Metric


def relative_root(hands: Hands) -> Distribution | None:
    """Measure how far the offset between a person's two wrists is from the true one, mm, where both hands match.

    Source: InterHand2.6M (Moon et al., ECCV 2020), MRRPE.
    """
    errors = []
    for subject in np.unique(hands.truth_subject):
        left, right = ((hands.truth_subject == subject) & (hands.side == side) for side in ("left", "right"))
        _, i, j = np.intersect1d(hands.frame[left], hands.frame[right], return_indices=True)
        offset = [points[left, WRIST][i] - points[right, WRIST][j] for points in (hands.annotated_m, hands.truth_m)]
        errors.append(np.linalg.norm(offset[0] - offset[1], axis=1) * 1e3)
    return distribution(np.concatenate(errors)) if errors else None


RELATIVE_ROOT = Metric[Distribution](
    lambda matched: relative_root(matched.hands),
    lambda found: [("wrist to wrist", spread(found, "mm"))],
    has_own_key=True,
)
