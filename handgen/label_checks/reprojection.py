"""Explanations of 2D keypoints off the projected 3D ones: mixed-up conventions of pixels, cameras and axes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from jaxtyping import Bool, Float

from handgen.geometry.rigid import Rigid
from handgen.hand.skeleton import KEYPOINT_NAMES, WRIST
from handgen.label_checks.evidence import Check, Evidence, Fault, Outcome
from handgen.label_checks.hands import HUGE
from handgen.label_checks.order import REORDER, named_order, orders, permutation

_AXES = "xyz"
_KNOWN_AXES = {"x, -y, -z": "y is up and z backwards (OpenGL)", "x, -y, z": "y is up", "x, z, y": "y and z are swapped"}
_FOCAL_OFF = 0.002  # of the focal length: less is no mistake of convention
_FEWEST = 8  # keypoints seen
_OFF = 0.1  # of the hand's extent, root mean square: 3D and 2D keypoints may have been labelled apart, and lenses bend
_OFF_ROOTED = 0.15  # where the 3D keypoints are relative to the wrist, so that perspective is unknown
_OFF_PX = 1.0


@dataclass(frozen=True)
class PointsInCamera:
    """The 3D keypoints of a hand, and their picture's camera."""

    points_m: Float[np.ndarray, "21 3"]
    intrinsics: Float[np.ndarray, "3 3"]
    cam_from_world: Rigid | None


def explain_reprojection(
    px: Float[np.ndarray, "21 2"],
    projected: Float[np.ndarray, "21 2"],
    size: Float[np.ndarray, " 2"],
    near_px: float,
    seen: PointsInCamera | None = None,
) -> Fault:
    """Explain how 2D keypoints differ from projected ones. near_px: how near an explanation must come."""
    miss = px - projected
    offset = np.median(miss, 0)
    worst = int(np.argmax(np.linalg.norm(miss, axis=1)))
    off = f"its 3D keypoints project {np.abs(miss).max():.2f} px from its 2D keypoints"
    if np.abs(miss - offset).max() < near_px:
        is_half = np.abs(np.abs(offset) - 0.5).max() < near_px
        why = "let (0, 0) be the first pixel's centre in both" if is_half else "the picture was cropped or padded"
        what = f"{'half a pixel: ' if is_half else ''}{off}, all by ({offset[0]:.2f}, {offset[1]:.2f})"
        return Fault(what, f"{why}: move the 2D keypoints or the principal point by that")
    if (order := permutation(px, projected, near_px)) is not None:
        return Fault(f"{off}: they are in another order ({named_order(order)})", REORDER)
    if np.abs(px[:, ::-1] - projected).max() < near_px:
        return Fault(f"{off}: x and y of the 2D keypoints are swapped", "write x, then y")
    for start in (1.0, 0.0):
        if np.abs(size[0] - start - px[:, 0] - projected[:, 0]).max() < max(near_px, 1.01 * (1 - start)):
            fix = "mirror picture, 2D and 3D keypoints, pose and side together"
            return Fault(f"{off}: they are mirrored in x", fix)
    fault = _normalised(px, projected, size, near_px)
    if fault is None and seen is not None:
        fault = _focal(px, projected, seen, near_px) or other_frame(px, seen, near_px)
    if fault is not None:
        return Fault(f"{off}: {fault.what}", fault.fix)
    spread = projected - projected.mean(0)
    scale = float((spread * (px - px.mean(0))).sum() / max((spread**2).sum(), 1e-12))
    shift = np.round(px.mean(0) - scale * projected.mean(0), 1) + 0.0  # no -0.0
    fitted = scale * spread + px.mean(0)
    if np.abs(px - fitted).max() < max(near_px, near_px * scale) and scale > 1e-6:
        what = f"{off}: they are scaled by {scale:.4g} and moved by ({shift[0]:.1f}, {shift[1]:.1f})"
        fix = "scale the intrinsics (c becomes (c + 0.5) s - 0.5) and the keypoints together"
        return Fault(what, f"the picture was resized: {fix}")
    few = np.flatnonzero(np.linalg.norm(miss, axis=1) > near_px)
    names = ", ".join(KEYPOINT_NAMES[k] for k in few[:4])
    where = f"at {names}" if len(few) <= 4 else f"at {len(few)} keypoints, most at {KEYPOINT_NAMES[worst]}"
    return Fault(f"{off}, {where}", "project keypoints_3d with the sample's camera")


def _normalised(
    px: Float[np.ndarray, "21 2"], projected: Float[np.ndarray, "21 2"], size: Float[np.ndarray, " 2"], near_px: float
) -> Fault | None:
    """Pixels by the picture's size, or its size less one: these differ by up to a pixel."""
    for name, shares, fix in (
        ("0..1", px, "multiply by the size"),
        ("-1..1", (px + 1) / 2, "add 1 and multiply by half the size"),
    ):
        if np.abs(shares * size - projected).max() < max(near_px, 1.01):
            return Fault(f"the 2D keypoints are normalised to {name}", f"write pixels: {fix}")
    return None


def _focal(
    px: Float[np.ndarray, "21 2"], projected: Float[np.ndarray, "21 2"], seen: PointsInCamera, near_px: float
) -> Fault | None:
    """Keypoints that are scaled about the principal point."""
    centre = seen.intrinsics[:2, 2]
    spread = projected - centre
    scale = float((spread * (px - centre)).sum() / max(float((spread**2).sum()), 1e-12))
    if scale <= 0.05 or abs(scale - 1) < _FOCAL_OFF or np.abs(centre + scale * spread - px).max() >= near_px:
        return None
    times = f"{1 / scale:.3g} times too long" if scale < 1 else f"{scale:.3g} times too short"
    return Fault(f"the focal length is {times}", "write the focal length of this picture, pixels")


def other_frame(px: Float[np.ndarray, "21 2"], seen: PointsInCamera, near_px: float) -> Fault | None:
    """Find a frame other than the camera's in which the 3D keypoints project onto the 2D ones."""
    for name, points, fix in _frames(seen):
        rays = points @ seen.intrinsics.T
        if (rays[:, 2] > 0).all() and np.abs(rays[:, :2] / rays[:, 2:] - px).max() < near_px:
            return Fault(name, fix)
    return None


def _frames(seen: PointsInCamera) -> Iterator[tuple[str, Float[np.ndarray, "21 3"], str]]:
    points = seen.points_m
    if seen.cam_from_world is not None:
        name = "the 3D keypoints are in the world's frame"
        yield name, seen.cam_from_world.apply(points), "write them in the camera's: apply cam_from_world"
    for order in permutations(range(3)):
        for signs in product((1, -1), repeat=3):
            if (order, signs) == ((0, 1, 2), (1, 1, 1)):
                continue
            axes = ", ".join(("-" if sign < 0 else "") + _AXES[axis] for axis, sign in zip(order, signs, strict=True))
            name = f"the 3D keypoints have other axes: {_KNOWN_AXES.get(axes, 'they fit')}"
            yield name, points[:, order] * signs, f"write ({axes}) of what is there: x right, y down, z forward"


def _fits(evidence: Evidence, look: Bool[np.ndarray, " n"]) -> Outcome:
    hands = evidence.hands
    seen = hands.visible & (np.abs(hands.px) < HUGE).all(2)
    look = look & hands.has_points & ~hands.has_camera & (seen.sum(1) >= _FEWEST)
    outcome = Outcome(int(look.sum()))
    for i in np.flatnonzero(look).tolist():
        points, pixels = hands.cam_m[i], hands.px[i, seen[i]]
        rooted = bool(np.linalg.norm(points[WRIST]) < 1e-6)
        limit = max(_OFF_PX, (_OFF_ROOTED if rooted else _OFF) * float(np.ptp(pixels, axis=0).max()))
        off = off_px(points[seen[i]], pixels, rooted)
        if off <= limit:
            continue
        near = f"nearer to the 2D ones than {off:.1f} px" if np.isfinite(off) else "to the 2D ones"
        what, fix = f"no camera takes the 3D keypoints {near}", REORDER
        others = (np.array(order) for order in orders().values())
        if off_px(points[seen[i]] * (-1, 1, 1), pixels, rooted) < limit:
            what, fix = f"{what}; mirrored in x they fit", "mirror both or none: a left hand is stored as it is seen"
        elif fitting := [order for order in others if off_px(points[order][seen[i]], pixels, rooted) < limit]:
            what += f"; they are in another order ({named_order(fitting[0])})"
        else:
            fix = "check that they are of one hand, one order and one picture, metres in the camera's frame"
        outcome.wrong[i] = Fault(what, fix)
    return outcome


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
