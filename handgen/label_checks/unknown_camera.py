"""3D and 2D keypoints of pictures whose camera is not told: some pinhole camera must take one to the other."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from handgen.hand.skeleton import WRIST
from handgen.label_checks.evidence import Check, Evidence, Fault, Outcome
from handgen.label_checks.hands import HUGE
from handgen.label_checks.order import REORDER, named_order, orders

_FEWEST = 8  # keypoints seen
_OFF = 0.1  # of the hand's extent, root mean square: 3D and 2D keypoints may have been labelled apart, and lenses bend
_OFF_ROOTED = 0.15  # where the 3D keypoints are relative to the wrist, so that perspective is unknown
_OFF_PX = 1.0


def _fits(evidence: Evidence, look: Bool[np.ndarray, " n"]) -> Outcome:
    hands = evidence.hands
    seen = hands.visible & (np.abs(hands.px) < HUGE).all(2)
    look = look & hands.has_points & ~hands.has_camera & (seen.sum(1) >= _FEWEST)
    outcome = Outcome(int(look.sum()))
    for i in np.flatnonzero(look).tolist():
        points, pixels = hands.cam_m[i], hands.px[i]
        rooted = bool(np.linalg.norm(points[WRIST]) < 1e-6)
        extent = float(np.ptp(pixels[seen[i]], axis=0).max())
        limit = max(_OFF_PX, (_OFF_ROOTED if rooted else _OFF) * extent)
        off = off_px(points[seen[i]], pixels[seen[i]], rooted)
        if off <= limit:
            continue
        near = f"nearer to the 2D ones than {off:.1f} px" if np.isfinite(off) else "to the 2D ones"
        what = f"no camera takes the 3D keypoints {near}"
        if off_px(points[seen[i]] * (-1, 1, 1), pixels[seen[i]], rooted) < limit:
            fault = Fault(f"{what}; mirrored in x they fit", "mirror both or none: a left hand is stored as it is seen")
        elif (name := _order_that_fits(points, pixels, seen[i], rooted, limit)) is not None:
            fault = Fault(f"{what}; they are in another order ({name})", REORDER)
        else:
            fault = Fault(
                what, "check that they are of one hand, one order and one picture, metres in the camera's frame"
            )
        outcome.wrong[i] = fault
    return outcome


def _order_that_fits(
    points: Float[np.ndarray, "21 3"], pixels: Float[np.ndarray, "21 2"], seen: Bool[np.ndarray, " 21"], rooted: bool,
    limit: float,
) -> str | None:  # fmt: skip
    for order in orders().values():
        places = list(order)
        if off_px(points[places][seen], pixels[seen], rooted) < limit:
            return named_order(np.array(order))
    return None


def off_px(points: Float[np.ndarray, "n 3"], pixels: Float[np.ndarray, "n 2"], rooted: bool) -> float:
    """Measure how far the best camera (one focal length > 0, a principal point) leaves the points, root mean square."""
    if rooted:
        slopes = points[:, :2]
    elif (points[:, 2] <= 0).any():
        return float("inf")
    else:
        slopes = points[:, :2] / points[:, 2:]
    centred, target = slopes - slopes.mean(0), pixels - pixels.mean(0)
    focal = float((centred * target).sum() / max(float((centred**2).sum()), 1e-12))
    return float(np.sqrt(((focal * centred - target) ** 2).sum(1).mean())) if focal > 0 else float("inf")


CHECKS = {
    "projection": Check(
        f"where the camera is not told, some pinhole camera takes the 3D keypoints to the 2D ones, within {_OFF:.0%} "
        "of the hand's extent",
        _fits,
        ("not finite", "depth", "joint order", "metres"),
    )
}
