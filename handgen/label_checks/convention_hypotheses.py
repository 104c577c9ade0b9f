"""Hypotheses why a model's keypoints and the labelled ones differ: the conventions that people mix up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float

from handgen.fit.kinematics import HandState, KeypointKinematics
from handgen.geometry.rigid import Rigid
from handgen.geometry.rotations import procrustes_rotation, rotation_from_axis_angle
from handgen.hand import conversions
from handgen.hand.skeleton import FINGER_JOINTS, FINGER_KEYPOINTS, FINGERS, JOINT_COUNT, WRIST, other_side
from handgen.label_checks.evidence import Fault
from handgen.label_checks.hands import Hands
from handgen.label_checks.order import REORDER, named_order, permutation

_TIPS = [FINGER_KEYPOINTS[finger][-1] for finger in FINGERS]
_THUMB_FIRST = [0, *(joint for finger in FINGERS for joint in FINGER_JOINTS[finger])]


@dataclass(frozen=True)
class Disagreement:
    """Hands of one side whose parameters and 3D keypoints are compared, metres. placed: whose translation is known.

    cam_from_world: of their pictures. Others are put where the labelled wrist is.
    """

    sides: dict[str, KeypointKinematics]
    side: str
    pose: Float[np.ndarray, "n 48"]
    betas: Float[np.ndarray, "n 10"]
    translation_m: Float[np.ndarray, "n 3"]
    placed: Bool[np.ndarray, " n"]
    labelled: Float[np.ndarray, "n 21 3"]
    cam_from_world: tuple[Rigid | None, ...]

    @classmethod
    def of(cls, hands: Hands, numbers: np.ndarray, sides: dict[str, KeypointKinematics], side: str) -> Disagreement:
        """Gather hands of one side and one model."""
        translation = hands.translation_m[numbers]
        placed = np.isfinite(translation).all(1)
        cameras = tuple(hands.image(i).cam_from_world for i in numbers.tolist())
        return cls(
            sides=sides,
            side=side,
            pose=hands.pose[numbers],
            betas=hands.betas[numbers],
            translation_m=np.where(placed[:, None], translation, 0.0),
            placed=placed,
            labelled=hands.cam_m[numbers],
            cam_from_world=cameras,
        )

    @cached_property
    def as_is(self) -> Float[np.ndarray, "n 21 3"]:
        """The model's keypoints by the parameters as they are."""
        return self.made(self.pose)

    def made(self, pose: Float[np.ndarray, "n 48"], side: str | None = None) -> Float[np.ndarray, "n 21 3"]:
        """Compute the model's keypoints with another pose, or of another side."""
        rotations = rotation_from_axis_angle(torch.tensor(pose).reshape(-1, JOINT_COUNT, 3))
        state = HandState(rotations, torch.tensor(self.translation_m), torch.tensor(self.betas))
        points = self.sides[side or self.side].keypoints(state).numpy()
        return np.where(self.placed[:, None, None], points, self.at_wrist(points))

    def at_wrist(self, points: Float[np.ndarray, "n 21 3"]) -> Float[np.ndarray, "n 21 3"]:
        """Move points so that their wrist is the labelled one."""
        return points - points[:, :1] + self.labelled[:, :1]

    def distance(self, made: Float[np.ndarray, "n 21 3"]) -> Float[np.ndarray, "n 21"]:
        """Measure each labelled keypoint from the one that was made."""
        return np.linalg.norm(made - self.labelled, axis=-1)

    def only(self, choose_pictures: Bool[np.ndarray, " n"]) -> Disagreement:
        """Select some of the hands."""
        fields = ("pose", "betas", "translation_m", "placed", "labelled")
        cameras = tuple(camera for camera, keep in zip(self.cam_from_world, choose_pictures, strict=True) if keep)
        return replace(self, cam_from_world=cameras, **{name: getattr(self, name)[choose_pictures] for name in fields})


@dataclass(frozen=True)
class Hypothesis:
    """`made` is what the parameters would give, `labelled` what the keypoints would be, if it is true of a hand."""

    check: str
    made: Float[np.ndarray, "n 21 3"]
    labelled: Float[np.ndarray, "n 21 3"]
    fault: Callable[[int], Fault]


def list_hypotheses(found: Disagreement) -> Iterator[Hypothesis]:
    """List all hypotheses, simple ones first."""
    arrays = found.sides[found.side].model.arrays
    pose, labelled, other = found.pose, found.labelled, other_side(found.side)

    def hypothesis_at_wrist(check: str, made: np.ndarray, what: str, fix: str) -> Hypothesis:
        return Hypothesis(check, found.at_wrist(made), labelled, lambda _: Fault(what, fix))

    put_back, orders = _restore_order(found)
    yield Hypothesis(
        "keypoint order",
        found.as_is,
        put_back,
        lambda k: Fault(f"the 3D keypoints are the model's own in another order: {orders[k]}", REORDER),
    )
    shift = labelled[:, :1] - found.as_is[:, :1]
    yield Hypothesis("translation", found.as_is + shift, labelled, lambda k: _shifted(found, k, shift[k, 0]))
    what = f"is labelled {found.side}, but its parameters give the 3D keypoints in the {other} model"
    if other in found.sides:
        yield hypothesis_at_wrist("side", found.made(pose, other), what, f"label it {other}")
    yield hypothesis_at_wrist(
        "side",
        conversions.mirror_points(found.as_is),
        "the 3D keypoints are mirrored in x, the parameters are not",
        "mirror picture, keypoints, pose, camera and side together or not at all",
    )
    yield hypothesis_at_wrist(
        "side",
        found.made(conversions.mirror_pose(pose)),
        f"the pose is that of a {other} hand, not mirrored",
        "negate y and z of every rotation vector of a mirrored hand",
    )
    yield hypothesis_at_wrist(
        "mean pose",
        found.made(conversions.full_from_relative(pose, arrays)),
        "the mean pose is missing: the pose agrees once the model's mean pose is added",
        "add it (handgen.hand.conversions.full_from_relative; smplx: flat_hand_mean=False means relative poses)",
    )
    yield hypothesis_at_wrist(
        "mean pose",
        found.made(conversions.relative_from_full(pose, arrays)),
        "the mean pose was added twice",
        "take it away once (handgen.hand.conversions.relative_from_full)",
    )
    for flat in (True, False):
        fingers = conversions.pose_from_pca(pose[:, 3:], arrays, flat_hand_mean=flat)
        yield hypothesis_at_wrist(
            "pose",
            found.made(np.concatenate([pose[:, :3], fingers], 1)),
            "the pose holds coefficients of principal components, not rotations",
            "write axis-angle (handgen.hand.conversions.pose_from_pca)",
        )
    joints = pose.reshape(-1, 16, 3)
    in_mano_order = joints[:, np.argsort(_THUMB_FIRST)].reshape(pose.shape)
    yield hypothesis_at_wrist(
        "pose",
        found.made(in_mano_order),
        "the pose's joints come thumb first, as the keypoints do",
        "write them in MANO's order: wrist, index, middle, pinky, ring, thumb",
    )
    yield hypothesis_at_wrist("pose", found.made(np.radians(pose)), "the pose is in degrees", "write radians")
    what = "the rotations of the pose are inverted (transposed)"
    yield hypothesis_at_wrist("pose", found.made(-pose), what, "negate them")
    tips_aside = found.as_is.copy()
    tips_aside[:, _TIPS] = labelled[:, _TIPS]
    yield hypothesis_at_wrist(
        "fingertips",
        tips_aside,
        "joints agree, but the fingertips are other points than the model's tip vertices",
        "take smplx's vertices (handgen.hand.conversions.with_fingertips)",
    )
    centred, wanted = (points - points.mean(1, keepdims=True) for points in (found.as_is, labelled))
    rotation = procrustes_rotation(torch.from_numpy(centred), torch.from_numpy(wanted)).numpy()
    turned = centred @ np.swapaxes(rotation, 1, 2) + labelled.mean(1, keepdims=True)
    yield Hypothesis("orientation", turned, labelled, lambda k: _turned(found, k, rotation[k]))


def _restore_order(found: Disagreement) -> tuple[np.ndarray, list[str]]:
    """Put the labelled keypoints in the order of the model's, and name the order in which they stand."""
    put_back, names = found.labelled.copy(), []
    for k in range(len(put_back)):
        order = permutation(found.labelled[k], found.as_is[k], 0.01)
        names.append("" if order is None else named_order(order))
        if order is not None:
            put_back[k][order] = found.labelled[k]
    return put_back, names


def _shifted(found: Disagreement, k: int, shift: Float[np.ndarray, " 3"]) -> Fault:
    length = float(np.linalg.norm(shift))
    far = f"{length * 1000:.0f} mm" if length < 2 else f"{length:.0f} m"
    what = f"the parameters' hand is {far} from the 3D keypoints, and agrees otherwise"
    if np.linalg.norm(found.labelled[k, WRIST]) < 1e-6:
        fix = "add the wrist's place in the camera's frame"
        return Fault(f"{what}: the 3D keypoints are relative to the wrist", fix)
    wanted = found.translation_m[k] + shift
    given = float(np.linalg.norm(found.translation_m[k]))
    if 0.9 < given / max(1000 * float(np.linalg.norm(wanted)), 1e-9) < 1.1:
        return Fault(f"{what}: translation_m looks like millimetres", "write metres")
    if np.linalg.norm(found.translation_m[k] - found.labelled[k, WRIST]) < 1e-3:
        return Fault(f"{what}: translation_m is where the wrist is", "write transl (conversions.transl_from_wrist)")
    rest = found.sides[found.side].model.rest_joints[0].numpy()
    if length < 2.2 * float(np.linalg.norm(rest)) + 0.02:
        what += ": translation_m may belong to a hand turned about the origin, not about its wrist"
        return Fault(what, "write smplx's transl (conversions.transl_from_origin_translation)")
    fix = "write smplx's transl in the camera's frame, metres; a translation in the world's must be turned"
    return Fault(what, fix)


def _turned(found: Disagreement, k: int, rotation: Float[np.ndarray, "3 3"]) -> Fault:
    """rotation: turns what the parameters give onto the labelled keypoints."""
    camera = found.cam_from_world[k]
    given = cv2.Rodrigues(found.pose[k, :3])[0]

    def is_close(one: np.ndarray, two: np.ndarray) -> bool:
        return float(np.abs(one - two).max()) < 0.05

    angle = float(np.degrees(np.linalg.norm(cv2.Rodrigues(rotation)[0])))
    what = f"the parameters' hand is turned by {angle:.0f} degrees against the 3D keypoints, and agrees otherwise"
    if is_close(rotation @ given, given.T):
        return Fault(f"{what}: the orientation is transposed (inverted)", "negate its rotation vector")
    if camera is not None and is_close(rotation, camera.rotation):
        fix = "turn it into the camera's frame (conversions.moved_hand)"
        return Fault(f"{what}: the orientation is the world's", fix)
    if is_close(rotation, np.diag([1.0, -1.0, -1.0])):
        what += ": the orientation is of a camera with y up, z backwards"
        return Fault(what, "write OpenCV's: y down, z forward")
    return Fault(what, "write the orientation in the frame of the picture's camera")


def describe_disagreement(found: Disagreement, k: int) -> Fault:
    """Describe how a hand differs that no hypothesis fits."""
    off = found.distance(found.as_is)[k]
    chains = np.stack([found.labelled[k], found.as_is[k]])[:, [0, 9, 10, 11]]
    labelled, made = np.linalg.norm(np.diff(chains, axis=1), axis=-1).sum(1)
    ratio = float(labelled / made)
    mean, most = off.mean() * 1000, off.max() * 1000
    what = f"the parameters give keypoints {mean:.1f} mm (at most {most:.1f}) from the labelled ones"
    if abs(ratio - 1) > 0.02:
        what += f"; the labelled hand is {ratio:.3g} times as large"
        return Fault(what, "check betas and the scale of the keypoints")
    return Fault(what, "check pose, betas and which model they belong to")
