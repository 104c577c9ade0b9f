"""Explanations of 2D keypoints off the projected 3D ones: mixed-up conventions of pixels, cameras and axes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from jaxtyping import Float

from handgen.geometry.rigid import Rigid
from handgen.hand.skeleton import KEYPOINT_NAMES
from handgen.label_checks.evidence import Fault
from handgen.label_checks.order import REORDER, named_order, permutation

_AXES = "xyz"
_FOCAL_OFF = 0.002  # of the focal length: less is no mistake of convention


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
        if np.abs(np.abs(offset) - 0.5).max() < near_px:
            return Fault(
                f"half a pixel: {off}, all by ({offset[0]:.2f}, {offset[1]:.2f})",
                "let (0, 0) be the first pixel's centre in both: move the 2D keypoints or the principal point by that",
            )
        return Fault(
            f"{off}, all by ({offset[0]:.2f}, {offset[1]:.2f})",
            "the picture was cropped or padded: move the 2D keypoints or the principal point by that",
        )
    if (order := permutation(px, projected, near_px)) is not None:
        return Fault(f"{off}: they are in another order ({named_order(order)})", REORDER)
    if np.abs(px[:, ::-1] - projected).max() < near_px:
        return Fault(f"{off}: x and y of the 2D keypoints are swapped", "write x, then y")
    for start in (1.0, 0.0):
        if np.abs(size[0] - start - px[:, 0] - projected[:, 0]).max() < max(near_px, 1.01 * (1 - start)):
            return Fault(
                f"{off}: they are mirrored in x", "mirror picture, 2D and 3D keypoints, pose and side together"
            )
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
        return Fault(
            f"{off}: they are scaled by {scale:.4g} and moved by ({shift[0]:.1f}, {shift[1]:.1f})",
            "the picture was resized: scale the intrinsics (c becomes (c + 0.5) s - 0.5) and the keypoints together",
        )
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
            known = {
                "x, -y, -z": "y is up and z backwards (OpenGL)",
                "x, -y, z": "y is up",
                "x, z, y": "y and z are swapped",
            }
            name = f"the 3D keypoints have other axes: {known.get(axes, 'they fit')}"
            yield name, points[:, order] * signs, f"write ({axes}) of what is there: x right, y down, z forward"
