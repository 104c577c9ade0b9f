"""One hand in several pictures is at one place in the world: what a transform the wrong way round cannot keep up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt64

from handgen.hand.skeleton import FINGER_KEYPOINTS, WRIST, other_side
from handgen.label_checks.evidence import Evidence, Fault, SetCheck
from handgen.label_checks.findings import hash_values

_POINTS = [WRIST, FINGER_KEYPOINTS["middle"][-1], FINGER_KEYPOINTS["pinky"][0]]
# What cam_from_world may hold instead, as world = f(rotation, translation, camera's point). The first is right.
_MISREADINGS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "": lambda r, t, x: (x - t) @ r,
    "its rotation transposed": lambda r, t, x: (x - t) @ r.T,
    "world_from_cam": lambda r, t, x: x @ r.T + t,
    "the camera's place in the world as its translation": lambda r, t, x: x @ r + t,
    "a translation in millimetres": lambda r, t, x: (x - t / 1000) @ r,
}


@dataclass(frozen=True)
class WorldHands:
    """Hands in the world. keys: equal for one hand at one moment. camera: a hash. world_m: by misreading and point."""

    keys: UInt64[np.ndarray, " n"]
    camera: UInt64[np.ndarray, " n"]
    names: list[str]
    world_m: Float[np.ndarray, "n misreadings points 3"]
    tolerance_m: float


def _collect(evidence: Evidence) -> WorldHands | None:
    hands, share = evidence.hands, evidence.tolerances.share
    keys, cameras, names, world = [], [], [], []
    for i in np.flatnonzero(hands.has_points).tolist():
        image = hands.image(i)
        if image.cam_from_world is None or not image.capture:
            continue
        side = other_side(hands.labels(i).side) if image.mirrored else hands.labels(i).side
        key = hash_values(image.capture, image.frame, image.subject, side, image.mirrored)
        if key >= share * 2**64:
            continue
        transform, points = image.cam_from_world, hands.cam_m[i, _POINTS]
        keys.append(key)
        cameras.append(hash_values(image.camera))
        names.append(hands.name(i))
        world.append([misread(transform.rotation, transform.translation, points) for misread in _MISREADINGS.values()])
    if not keys:
        return None
    of_hands, of_cameras = np.array(keys, np.uint64), np.array(cameras, np.uint64)
    return WorldHands(of_hands, of_cameras, names, np.array(world, np.float32), evidence.tolerances.world_mm / 1000)


def _conclude(parts: list[WorldHands]) -> tuple[int, list[tuple[str, Fault]]]:
    keys, cameras = (np.concatenate([getattr(part, name) for part in parts]) for name in ("keys", "camera"))
    world = np.concatenate([part.world_m for part in parts])
    names = [name for part in parts for name in part.names]
    tolerance_m = parts[0].tolerance_m
    order = np.argsort(keys, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(keys[order])) + 1)
    groups = [group for group in groups if len(set(cameras[group].tolist())) > 1]
    looked_at = sum(map(len, groups))
    wrong = [(group, away) for group in groups if (away := _away(world[group, 0])).max() > tolerance_m]
    if not wrong:
        return looked_at, []
    if len(groups) >= 3 and len(wrong) > len(groups) / 2:
        for number, misreading in enumerate(_MISREADINGS):
            agreeing = sum(_away(world[group, number]).max() <= tolerance_m for group in groups)
            if number and agreeing > 0.9 * len(groups):
                return looked_at, [("all pictures", _fault(f"{len(wrong)} of {len(groups)} hands are not", misreading))]
    faults = []
    for group, away in wrong:
        points = world[group, 0]
        far = np.linalg.norm(points[:, None] - points[None], axis=-1).max(-1)
        for member in np.flatnonzero(away > tolerance_m).tolist():
            others = np.delete(np.arange(len(group)), member)
            if len(group) > 2 and far[np.ix_(others, others)].max() > far[member].min():
                continue  # another one is the odd one out
            place = np.median(points[others], axis=0)
            off = np.linalg.norm(world[group[member]] - place, axis=-1).max(-1)
            misreading = list(_MISREADINGS)[int(off.argmin())] if off.min() <= tolerance_m else ""
            what = f"the hand is {off[0] * 1000:.0f} mm from where other pictures of it have it, not"
            faults.append((names[group[member]], _fault(what, misreading)))
    return looked_at, faults or [(names[wrong[0][0][0]], _fault(f"{len(wrong)} of {len(groups)} hands are not", ""))]


def _fault(what: str, misreading: str) -> Fault:
    what += " at one place in the world"
    if misreading:
        return Fault(f"{what}; cam_from_world looks like {misreading}", "write cam_from_world, metres")
    return Fault(what, "check cam_from_world, 3D keypoints, frame and capture of these pictures")


def _away(points: Float[np.ndarray, "n points 3"]) -> Float[np.ndarray, " n"]:
    """Measure how far each is from the median."""
    return np.linalg.norm(points - np.median(points, axis=0), axis=-1).max(-1)


SET_CHECKS = {
    "world": SetCheck(
        "one hand at one moment is at one place in the world, whichever camera saw it (1 mm); inverted and transposed "
        "transforms are named",
        _collect,
        _conclude,
    )
}
