"""Checks of one hand in its camera: finite, in front, of a hand's size, and where the 2D keypoints are."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from handgen.hand.skeleton import FINGER_KEYPOINTS, KEYPOINT_NAMES, WRIST
from handgen.label_checks.evidence import Check, Evidence, Fault, Outcome, judge
from handgen.label_checks.hands import HUGE
from handgen.label_checks.reprojection import PointsInCamera, explain_reprojection, other_frame

HAND_LENGTH_M = (0.12, 0.25)  # wrist to the tip of the middle finger, along the bones: of children of 4 to large men
_PLACES = 20  # the principal point of a crop may lie this many pictures away
_FOCAL = (0.2, 200.0)  # focal length by the picture's longer side; a crop of a hand far away has a long one
_BEYOND = 0.1  # of the picture, a box may reach beyond it
_TRIANGULAR = 1e-6
_BESIDE_ORIGIN_M = 0.02  # of the world: no rig has a camera there and the hands behind it
_UNITS = {1000.0: "millimetres", 100.0: "centimetres", 10.0: "decimetres", 0.001: "kilometres", 39.37: "inches"}


def _finite(evidence: Evidence, look: Bool[np.ndarray, " n"]) -> Outcome:
    hands, outcome = evidence.hands, Outcome(int(look.sum()))
    for i in np.flatnonzero(look).tolist():
        labels = hands.labels(i)
        parts = {"2D keypoints": labels.keypoints_px, "3D keypoints": labels.keypoints_cam_m}
        for name, points in parts.items():
            if points is None:
                continue
            bad = ~(np.abs(points) < HUGE).all(1) & labels.labelled
            if bad.any():
                first = int(np.argmax(bad))
                fact = "is beyond all bounds" if np.isfinite(points[first]).all() else "is not a finite number"
                what = f"{KEYPOINT_NAMES[first]} of the {name} {fact}"
                outcome.wrong[i] = Fault(what, "write the value, or say that the keypoint is not labelled")
        if (parameters := labels.parameters) is not None:
            values = (parameters.pose, parameters.betas, parameters.translation_m)
            if any(value is not None and not (np.abs(value) < HUGE).all() for value in values):
                what = "pose, betas or translation is not finite, or beyond all bounds"
                outcome.wrong[i] = Fault(what, "leave its parameters out")
        intrinsics = hands.image(i).intrinsics
        if intrinsics is not None and not (np.abs(intrinsics) < HUGE).all():
            outcome.wrong[i] = Fault("the intrinsics are not finite, or beyond all bounds", "write pixels, or none")
    return outcome


def _camera(evidence: Evidence, look: Bool[np.ndarray, " n"]) -> Outcome:
    hands = evidence.hands
    look = look & hands.has_camera
    k, size = hands.intrinsics, hands.size_px
    focal = k[:, [0, 1], [0, 1]] / size.max(1)[:, None]
    well = (focal > _FOCAL[0]).all(1) & (focal < _FOCAL[1]).all(1)
    well &= np.abs(k[:, [1, 2, 2], [0, 0, 1]]).max(1) < _TRIANGULAR
    well &= np.abs(k[:, 2, 2] - 1) < _TRIANGULAR
    well &= np.abs(k[:, :2, 2] / size - 0.5).max(1) < _PLACES
    outcome = Outcome(int(look.sum()))
    for i in np.flatnonzero(look & ~well).tolist():
        if (fault := intrinsics_fault(k[i], size[i])) is not None:
            outcome.wrong[i] = fault
    return outcome


def intrinsics_fault(
    k: Float[np.ndarray, "3 3"], size: Float[np.ndarray, " 2"], places: float = _PLACES
) -> Fault | None:
    """Find what is wrong with intrinsics. places: how many pictures the principal point may be away."""
    focal = k[[0, 1], [0, 1]]
    middle = np.abs(k[:2, 2] / size - 0.5).max()
    if np.abs(k[:2, 2]).max() < 1e-9 and np.abs(k[2, :2]).min() > 0:
        return Fault("the intrinsics are transposed: the principal point is in the last row", "transpose them")
    if max(abs(k[1, 0]), *np.abs(k[2] - (0, 0, 1)).tolist()) > _TRIANGULAR:
        return Fault("the intrinsics are not upper triangular, ending in 0 0 1", "write K as OpenCV has it")
    if not (focal > 0).all():
        return Fault(f"the focal length is {focal[0]:g}, {focal[1]:g} px", "write a positive one")
    share = focal / size.max()
    if not ((share > _FOCAL[0]) & (share < _FOCAL[1])).all():
        what = f"the focal length is {focal[0]:g} px for a picture of {size[0]:.0f}x{size[1]:.0f}"
        return Fault(what, "give it in pixels of this picture, not in millimetres nor by the picture's size")
    if not middle < places:
        what = f"the principal point ({k[0, 2]:g}, {k[1, 2]:g}) is {middle:.1f} pictures from the middle"
        return Fault(what, "give it in pixels of this picture")
    return None


def _depth(evidence: Evidence, look: Bool[np.ndarray, " n"]) -> Outcome:
    hands = evidence.hands
    rooted = np.linalg.norm(hands.cam_m[:, WRIST], axis=-1) < 1e-6
    look = look & hands.has_points & (~rooted | hands.has_camera)  # without a camera there is no depth to speak of
    behind = (hands.cam_m[..., 2] <= 0).sum(1)

    def fault_of(i: int) -> Fault:
        place_m = None if (pose := hands.image(i).cam_from_world) is None else pose.inverse().translation
        in_view = PointsInCamera(hands.cam_m[i], hands.intrinsics[i], pose)
        if rooted[i]:
            return Fault("the 3D keypoints are relative to the wrist", "write them in the camera's frame, metres")
        if (other := other_frame(hands.px[i], in_view, max(evidence.tolerances.reprojection_px, 0.02))) is not None:
            return Fault(f"{behind[i]} 3D keypoints lie behind the camera: {other.what}", other.fix)
        if place_m is not None and 0 < (away_m := float(np.linalg.norm(place_m))) < _BESIDE_ORIGIN_M:
            what = f"{behind[i]} 3D keypoints lie behind the camera, which is {1000 * away_m:.2g} mm from the origin"
            return Fault(what, "its place looks like metres where millimetres are meant, or the other way round")
        if behind[i] == 21:
            fix = "negate y and z if the camera's axes are OpenGL's; otherwise cam_from_world is the wrong way round"
            return Fault("all 3D keypoints lie behind the camera", fix)
        return Fault(f"{behind[i]} 3D keypoints lie behind the camera", "give points in the camera's frame, z forward")

    return judge(look, rooted | (behind > 0), fault_of)


def hand_length_m(points: Float[np.ndarray, "*batch 21 3"]) -> Float[np.ndarray, "*batch"]:
    """Measure from the wrist to the tip of the middle finger, along the bones."""
    chain = points[..., [WRIST, *FINGER_KEYPOINTS["middle"]], :]
    return np.linalg.norm(np.diff(chain, axis=-2), axis=-1).sum(-1)


def _size(evidence: Evidence, look: Bool[np.ndarray, " n"]) -> Outcome:
    hands = evidence.hands
    look = look & hands.has_points
    length = hand_length_m(hands.cam_m)
    low, high = HAND_LENGTH_M

    def fault_of(i: int) -> Fault:
        unit = next((name for factor, name in _UNITS.items() if low <= length[i] / factor <= high), None)
        what = f"the hand is {length[i]:.4g} m long"
        if unit:
            return Fault(f"{what}: the 3D keypoints look like {unit}", "write metres")
        return Fault(f"{what}; hands have {low * 1000:.0f} to {high * 1000:.0f} mm", "write metres; check the scale")

    return judge(look, ~((length >= low) & (length <= high)), fault_of)


def _reprojection(evidence: Evidence, look: Bool[np.ndarray, " n"]) -> Outcome:
    hands, tolerance = evidence.hands, evidence.tolerances.reprojection_px
    projected = evidence.projected_px
    look = look & hands.has_points & hands.has_camera & np.isfinite(projected).all((1, 2))
    miss = hands.px - projected
    off_px = np.abs(miss).max((1, 2))

    def fault_of(i: int) -> Fault:
        seen = PointsInCamera(hands.cam_m[i], hands.intrinsics[i], hands.image(i).cam_from_world)
        return explain_reprojection(hands.px[i], projected[i], hands.size_px[i], max(tolerance, 0.02), seen)

    return judge(look, ~(off_px <= tolerance), fault_of)


def _visible(evidence: Evidence, look: Bool[np.ndarray, " n"]) -> Outcome:
    hands = evidence.hands
    x, y = hands.px[..., 0], hands.px[..., 1]
    width, height = hands.size_px[:, :1], hands.size_px[:, 1:]
    edge = 0.5 if evidence.tolerances.parameters_mm is not None else 1.5  # others round, or count from the corner
    outside = ~((x >= -edge) & (x <= width - 1 + edge) & (y >= -edge) & (y <= height - 1 + edge))
    wrong = (hands.visible & hands.labelled & outside).sum(1)

    def fault_of(i: int) -> Fault:
        first = KEYPOINT_NAMES[int(np.argmax(hands.visible[i] & outside[i]))]
        what = f"{wrong[i]} keypoints are said to be visible but lie outside the picture ({first} the first)"
        return Fault(what, "set visible to 0 there, or check that 2D keypoints are pixels of this picture")

    return judge(look, wrong > 0, fault_of)


def _box(evidence: Evidence, look: Bool[np.ndarray, " n"]) -> Outcome:
    """Visible keypoints lie in the box, but for half of them: an occluder may hide what the mask would hold."""
    hands = evidence.hands
    seen = hands.visible & hands.labelled
    masked = np.array([hands.number[i] == 0 and hands.image(i).mask is not None for i in range(len(hands))], bool)
    empty = (hands.box_px[:, 2:] <= 0).any(1)
    told = np.isfinite(hands.box_px).all(1) & ~(empty & masked)  # of an empty mask its own check tells
    inside = _share_in_box(hands.px, seen, hands.box_px)
    left_top, size = hands.box_px[:, :2], hands.box_px[:, 2:]
    beyond = np.maximum(-left_top, left_top + size - hands.size_px).max(1) / hands.size_px.max(1)
    corners = np.concatenate([left_top, size - left_top], 1)
    by_corners = (size > left_top).all(1) & (_share_in_box(hands.px, seen, corners) > 0.8)
    by_corners &= (size <= hands.size_px + 1).all(1)

    def fault_of(i: int) -> Fault:
        what = f"{inside[i]:.0%} of the visible keypoints lie in the box {hands.box_px[i].round(1).tolist()}"
        if beyond[i] > _BEYOND:
            what += f", which reaches {beyond[i]:.0%} beyond the picture"
        if by_corners[i]:
            return Fault(f"{what}: it looks like left, top, right, bottom", "write left, top, width, height")
        return Fault(what, "write the box of this hand's mask, in pixels of this picture")

    return judge(look & told & (seen.sum(1) >= 5), (inside < 0.5) | (beyond > _BEYOND), fault_of)


def _share_in_box(
    px: Float[np.ndarray, "n 21 2"], seen: Bool[np.ndarray, "n 21"], box: Float[np.ndarray, "n 4"]
) -> Float[np.ndarray, " n"]:
    margin = 0.1 * box[:, None, 2:]  # joints lie within the flesh, tips at its end
    low = box[:, None, :2] - margin
    inside = ((px >= low) & (px <= low + box[:, None, 2:] + 2 * margin)).all(-1)
    return (inside & seen).sum(1) / np.maximum(seen.sum(1), 1)


_WHOLE = ("not finite",)
CHECKS: dict[str, Check] = {
    "not finite": Check("labelled keypoints, pose, betas and translation are numbers", _finite),
    "intrinsics": Check(
        f"upper triangular, focal length {_FOCAL[0]} to {_FOCAL[1]:.0f} times the picture's longer side, principal "
        f"point within {_PLACES} pictures",
        _camera,
    ),
}
AFTER_ORDER: dict[str, Check] = {
    "metres": Check(
        f"the hand is {HAND_LENGTH_M[0] * 1000:.0f} to {HAND_LENGTH_M[1] * 1000:.0f} mm long (wrist to the tip of the "
        "middle finger, along the bones)",
        _size,
        (*_WHOLE, "joint order"),
    ),
    "depth": Check("3D keypoints lie in front of the camera, and are not relative to the wrist", _depth, _WHOLE),
    "reprojection": Check(
        "3D keypoints, through the picture's camera, fall on the 2D keypoints; half a pixel, crops, scales, mirrors, "
        "focal lengths and other frames of the 3D keypoints are named",
        _reprojection,
        (*_WHOLE, "intrinsics", "depth", "joint order"),
    ),
    "visible": Check("keypoints said to be visible lie in the picture", _visible, (*_WHOLE, "reprojection")),
    "box": Check(
        "at least half of the visible keypoints lie in the box (10 % of its size beyond counts), and the box in the "
        "picture (10 %); corners in place of sizes are named",
        _box,
        (*_WHOLE, "reprojection"),
    ),
}
