"""Tell by the shape of hands whether they are of the side that is said: a left hand's keypoints fit no right hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from handgen.detect.view_bias import DetectorCalibration
from handgen.errors import HandgenError
from handgen.fit.observations import kinematics_of
from handgen.fit.pose_fit import fit_poses
from handgen.geometry.camera import Rig
from handgen.hand.skeleton import other_side
from handgen.multiview.association import MultiviewHand, evenly_spaced
from handgen.reconstruct.quality import view_error
from handgen.storage.filesystem import Location

_HANDS = 8  # of each side that are fitted as both
_OTHER = 1.35  # of the other side's misses: more than that, and it is the other one. The right side has 0.24 to 0.64


def check_sides(
    capture: Location,
    hand_model: str,
    detector: DetectorCalibration,
    rig: Rig,
    sure: Mapping[str, Sequence[MultiviewHand]],
    device: str = "cpu",
) -> None:
    """Raise a HandgenError where hands fit the other side's model far better. sure: by the side that is said."""
    for side, found in sure.items():
        hands, other = evenly_spaced(found, _HANDS), other_side(side)
        own, opposite = (_miss(hand_model, each, detector, rig, hands, device) for each in (side, other))
        if len(hands) >= _HANDS // 2 and own > _OTHER * opposite:
            raise HandgenError(
                f"{capture}: the {side} hands look like {other} hands (fitted as such they miss by {opposite:.1%} of a "
                f"hand instead of {own:.1%}); give --hands {other}, or exchange the sides of the keypoints"
            )


def _miss(
    hand_model: str,
    side: str,
    detector: DetectorCalibration,
    rig: Rig,
    hands: Sequence[MultiviewHand],
    device: str,
) -> float:
    """Distance of fitted hands from what the views saw, in hand sizes: median."""
    kinematics = kinematics_of(hand_model, side, detector.offsets_m, device)
    fitted = fit_poses(kinematics, rig, hands, np.zeros(10), detector.view_bias).hands()
    shares = []
    for v, camera in enumerate(rig):
        expected = fitted.expected_px(v, camera)
        seen = [(px, hand.views[v]) for px, hand in zip(expected, hands, strict=True)]
        shares += [
            view_error(px, view.detection.keypoints_px, view.observed).share for px, view in seen if view is not None
        ]
    return float(np.median(shares)) if shares else float("nan")
