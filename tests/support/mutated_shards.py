"""Changes that people make to shards."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from handgen.hand.conversions import fingertips, pca_from_pose, relative_from_full
from handgen.hand.model_files import load_hand
from handgen.hand.skeleton import FINGER_JOINTS, FINGER_KEYPOINTS, FINGERS, KEYPOINT_ORDERS, other_side
from handgen.media import images
from support.mutations import (
    Document,
    Members,
    Mutation,
    each_sample,
    field,
    hands_of,
    inside,
    labels,
    made_anew,
    vertices_of,
)

_TIPS = [FINGER_KEYPOINTS[finger][-1] for finger in FINGERS]
_SOME = 7  # the sample that is changed where only one is


def _all_points(change):
    """Make one change to 2D and 3D keypoints, and to what is visible."""

    def each_hand(hand: Document) -> None:
        for name in ("keypoints_2d", "keypoints_3d", "visible"):
            hand[name] = change(np.array(hand[name])).tolist()

    return each_hand


def _swap(array: np.ndarray, one: list[int], two: list[int]) -> np.ndarray:
    swapped = array.copy()
    swapped[one], swapped[two] = array[two], array[one]
    return swapped


def _other_side(with_model: bool):
    def flip(hand: Document) -> None:
        hand["side"] = other_side(hand["side"])
        if with_model:
            hand["hand"]["model_sha256"] = load_hand("open", hand["side"]).sha256

    def each(document: Document, _: Members) -> None:
        for hand in hands_of(document):
            flip(hand)

    return each


def _to_millimetres(hand: Document) -> None:
    hand["keypoints_3d"] = (1000 * np.array(hand["keypoints_3d"])).tolist()
    hand["hand"]["translation_m"] = (1000 * np.array(hand["hand"]["translation_m"])).tolist()


def _scale_2d(document: Document, _: Members) -> None:
    for hand in hands_of(document):
        hand["keypoints_2d"] = (np.array(hand["keypoints_2d"]) * 0.5).tolist()


def _mirror_2d(document: Document, _: Members) -> None:
    for hand in hands_of(document):
        points = np.array(hand["keypoints_2d"])
        hand["keypoints_2d"] = np.stack([document["camera"]["size_px"][0] - 1 - points[:, 0], points[:, 1]], 1).tolist()


def _pose(change):
    """Change every pose, knowing the side's model and the sample."""

    def each(document: Document, _: Members) -> None:
        for hand in hands_of(document):
            pose = np.array(hand["hand"]["pose"])
            hand["hand"]["pose"] = change(pose, load_hand("open", hand["side"]), document).tolist()

    return each


def _to_pca(pose, arrays, _):
    return np.concatenate([pose[:3], pca_from_pose(pose[3:], arrays)])


def _thumb_first(pose, arrays, _):
    order = [0, *(joint for finger in FINGERS for joint in FINGER_JOINTS[finger])]
    return pose.reshape(16, 3)[order].ravel()


def _turned(rotation_of):
    def change(pose, arrays, document):
        rotation = rotation_of(np.array(document["camera"]["cam_from_world"])[:3, :3], cv2.Rodrigues(pose[:3])[0])
        return np.concatenate([cv2.Rodrigues(rotation)[0][:, 0], pose[3:]])

    return change


def _camera(change):
    def each(document: Document, _: Members) -> None:
        camera = document["camera"]
        camera["cam_from_world"] = change(np.array(camera["cam_from_world"])).tolist()

    return each


def _transposed(matrix: np.ndarray) -> np.ndarray:
    matrix[:3, :3] = matrix[:3, :3].T
    return matrix


def _intrinsics(change):
    def each(document: Document, _: Members) -> None:
        document["camera"]["intrinsics"] = change(np.array(document["camera"]["intrinsics"])).tolist()

    return each


def _other_tips(hand: Document) -> None:
    parameters = [np.array(hand["hand"][name]) for name in ("pose", "betas", "translation_m")]
    points = np.array(hand["keypoints_3d"])
    points[_TIPS] = fingertips(vertices_of(hand["side"], *parameters), "manopth")
    hand["keypoints_3d"] = points.tolist()


def _with_tips(document: Document, _: Members) -> None:
    for hand in hands_of(document):
        _other_tips(hand)
        points = np.array(hand["keypoints_3d"])
        pixels = (points @ np.array(document["camera"]["intrinsics"]).T)[:, :2] / points[:, 2:]
        hand["keypoints_2d"] = pixels.tolist()
        hand["visible"] = (np.array(hand["visible"]) * inside(pixels, document)).tolist()


def _shape_per_frame(document: Document, _: Members) -> None:
    made_anew(document, np.array(document["hand"]["betas"]) + 0.05 * (document["source"]["frame"] + 1))


def _picture(change):
    def each(document: Document, members: Members) -> None:
        picture = images.decode_rgb(members["jpg"], "picture")
        members["jpg"] = images.encode_jpeg(np.ascontiguousarray(change(picture)), 95)

    return each


def _of_some(change, which):
    """Do it to the samples whose number `which` takes."""
    return lambda document, members: change(document, members) if which(document["index"]) else None


def _pictures_of_others(masks_too: bool):
    """Every sample has the picture of the sample before it in its tar."""

    def change_set(root: Path) -> None:
        before: dict[str, Members] = {}

        def each(document: Document, members: Members) -> None:
            kept = dict(members)
            if "last" in before:
                members["jpg"] = before["last"]["jpg"]
                if masks_too:
                    members["mask.png"] = before["last"]["mask.png"]
                    mask = images.decode_grey(members["mask.png"], "mask")
                    document["box_px"] = list(cv2.boundingRect(mask))
            before["last"] = kept

        each_sample(each)(root)

    return change_set


def _mask(change):
    def each(document: Document, members: Members) -> None:
        mask = np.ascontiguousarray(change(images.decode_grey(members["mask.png"], "mask")))
        members["mask.png"] = images.encode_mask_png(mask)
        document["box_px"] = list(cv2.boundingRect(mask))

    return each


def _picture_and_mask_mirrored(document: Document, members: Members) -> None:
    _picture(lambda picture: picture[:, ::-1])(document, members)
    _mask(lambda mask: mask[:, ::-1])(document, members)


def _same_picture(root: Path) -> None:
    kept: list[bytes] = []

    def each(document: Document, members: Members) -> None:
        kept.append(members["jpg"])
        if document["index"] == 1:
            members["jpg"] = kept[0]

    each_sample(each)(root)


def _moved_picture(document: Document, _: Members) -> None:
    """Labels of a crop, `visible` of the whole picture."""
    document["camera"]["intrinsics"][0][2] += 60
    for hand in hands_of(document):
        hand["keypoints_2d"] = (np.array(hand["keypoints_2d"]) + (60, 0)).tolist()


def _behind(hand: Document) -> None:
    hand["keypoints_3d"] = (np.array(hand["keypoints_3d"]) * (1, -1, -1)).tolist()


def _one_axis_negated(matrix: np.ndarray) -> np.ndarray:
    return np.diag([1.0, 1.0, -1.0, 1.0]) @ matrix


def _relative_to_wrist(points: np.ndarray) -> np.ndarray:
    return points - points[0]


def _longer_focal(k: np.ndarray) -> np.ndarray:
    return k * np.array([[1.2, 1, 1], [1, 1.2, 1], [1, 1, 1]])


def _normalised_2d(document: Document, _: Members) -> None:
    for hand in hands_of(document):
        hand["keypoints_2d"] = (np.array(hand["keypoints_2d"]) / document["camera"]["size_px"]).tolist()


def _in_world(document: Document, _: Members) -> None:
    world_from_cam = np.linalg.inv(np.array(document["camera"]["cam_from_world"]))
    for hand in hands_of(document):
        points = np.array(hand["keypoints_3d"]) @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]
        hand["keypoints_3d"] = points.tolist()


_SWAPPED = _all_points(lambda array: _swap(array, list(FINGER_KEYPOINTS["index"]), list(FINGER_KEYPOINTS["middle"])))
_INTERHAND = _all_points(lambda array: array[list(KEYPOINT_ORDERS["interhand"])])
_ONE_JOINT = _all_points(lambda array: _swap(array, [17], [18]))

SHARDS = [
    Mutation("index and middle finger swapped", labels(_SWAPPED), "joint order", "index and middle swapped"),
    Mutation("keypoints in InterHand2.6M's order", labels(_INTERHAND), "joint order", "interhand"),
    Mutation("two joints of one sample swapped", labels(_ONE_JOINT, _SOME), "joint order", "pinky_mcp and pinky_pip"),
    Mutation("3D keypoints and translation in millimetres", labels(_to_millimetres), "metres", "millimetres"),
    Mutation("3D keypoints in centimetres", field("keypoints_3d", lambda a: a * 100), "metres", "centimetres"),
    Mutation("left for right", each_sample(_other_side(False)), "side", "model_sha256 is of the"),
    Mutation("left for right, the model's digest too", each_sample(_other_side(True)), "side", "parameters give"),
    Mutation("half a pixel off", field("keypoints_2d", lambda a: a + 0.5), "reprojection", "half a pixel"),
    Mutation("2D keypoints of a picture twice as small", each_sample(_scale_2d), "reprojection", "scaled by 0.5"),
    Mutation("2D keypoints mirrored alone", each_sample(_mirror_2d), "reprojection", "mirrored in x"),
    Mutation("x and y of 2D keypoints swapped", field("keypoints_2d", lambda a: a[:, ::-1]), "reprojection", "swapped"),
    Mutation("2D keypoints of a crop", field("keypoints_2d", lambda a: a - (8, 5)), "reprojection", "(-8.00, -5.00)"),
    Mutation("a focal length of another picture", each_sample(_intrinsics(_longer_focal)), "reprojection", "too long"),
    Mutation("2D keypoints by the picture's size", each_sample(_normalised_2d), "reprojection", "normalised to 0..1"),
    Mutation("y of the 3D keypoints up", field("keypoints_3d", lambda a: a * (1, -1, 1)), "reprojection", "y is up"),
    Mutation(
        "y and z of the 3D keypoints swapped",
        field("keypoints_3d", lambda a: a[:, [0, 2, 1]]),
        "depth",
        "y and z are swapped",
    ),
    Mutation("3D keypoints in the world's frame", each_sample(_in_world), "depth", "the world's frame"),
    Mutation(
        "2D keypoints alone in RHD's order",
        field("keypoints_2d", lambda a: a[list(KEYPOINT_ORDERS["rhd"])]),
        "reprojection",
        "another order (rhd",
    ),
    Mutation(
        "mean pose missing",
        each_sample(_pose(lambda pose, arrays, _: relative_from_full(pose, arrays))),
        "mean pose",
        "missing",
    ),
    Mutation(
        "mean pose added twice",
        each_sample(_pose(lambda pose, arrays, _: 2 * pose - relative_from_full(pose, arrays))),
        "mean pose",
        "twice",
    ),
    Mutation("principal components for rotations", each_sample(_pose(_to_pca)), "pose", "principal components"),
    Mutation("the pose's joints thumb first", each_sample(_pose(_thumb_first)), "pose", "thumb first"),
    Mutation("pose in degrees", field("hand/pose", np.degrees), "pose", "degrees"),
    Mutation(
        "orientation in the world's frame",
        each_sample(_pose(_turned(lambda camera, own: camera.T @ own))),
        "orientation",
        "the world's",
    ),
    Mutation("orientation transposed", each_sample(_pose(_turned(lambda _, own: own.T))), "orientation", "transposed"),
    Mutation(
        "translation in millimetres", field("hand/translation_m", lambda a: 1000 * a), "translation", "millimetres"
    ),
    Mutation(
        "3D keypoints relative to the wrist",
        field("keypoints_3d", _relative_to_wrist),
        "depth",
        "relative to the wrist",
    ),
    Mutation("fingertips of manopth's vertices", each_sample(_with_tips), "fingertips", "other points"),
    Mutation("a shape for every frame", each_sample(_shape_per_frame), "betas per person", "differ by"),
    Mutation("betas that are not a person's", field("hand/betas", lambda a: a * 9), "betas", "lie within 3"),
    Mutation(
        "world_from_cam for cam_from_world", each_sample(_camera(np.linalg.inv)), "world", "looks like world_from_cam"
    ),
    Mutation(
        "rotation of cam_from_world transposed", each_sample(_camera(_transposed)), "world", "rotation transposed"
    ),
    Mutation("the same, of one sample", each_sample(_camera(_transposed), _SOME), "world", "one place in the world"),
    Mutation("one axis of the camera negated", each_sample(_camera(_one_axis_negated)), "rotation", "mirror"),
    Mutation("cam_from_world by columns", each_sample(_camera(np.transpose)), "rotation", "last row"),
    Mutation("intrinsics by columns", each_sample(_intrinsics(np.transpose)), "intrinsics", "transposed"),
    Mutation(
        "focal length in millimetres",
        each_sample(_intrinsics(lambda k: k * np.array([[0.005, 1, 1], [1, 0.005, 1], [1, 1, 1]]))),
        "intrinsics",
        "millimetres",
    ),
    Mutation("y up and z backwards", labels(_behind), "depth", "OpenGL"),
    Mutation("BGR pictures", each_sample(_picture(lambda picture: picture[..., ::-1])), "colours", "BGR"),
    Mutation(
        "pictures mirrored alone",
        each_sample(_picture(lambda picture: picture[:, ::-1])),
        "picture against mask",
        "mirrored",
    ),
    Mutation(
        "a half of the pictures BGR",
        each_sample(_of_some(_picture(lambda picture: picture[..., ::-1]), lambda index: index % 2)),
        "colours",
        "BGR",
    ),
    Mutation(
        "the pictures of one tar BGR",
        each_sample(_of_some(_picture(lambda picture: picture[..., ::-1]), lambda index: index < 9)),
        "colours",
        "BGR",
    ),
    Mutation(
        "a third of the pictures mirrored",
        each_sample(_of_some(_picture(lambda picture: picture[:, ::-1]), lambda index: index % 3 == 0)),
        "picture against mask",
        "mirrored",
    ),
    Mutation(
        "pictures upside down",
        each_sample(_picture(lambda picture: picture[::-1])),
        "picture against mask",
        "upside down",
    ),
    Mutation(
        "pictures rotated by 180 degrees",
        each_sample(_picture(lambda picture: picture[::-1, ::-1])),
        "picture against mask",
        "rotated by 180 degrees",
    ),
    Mutation(
        "pictures rotated by 90 degrees",
        each_sample(_picture(lambda picture: np.rot90(picture, -1))),
        "picture against mask",
        "rotated by 90 degrees, clockwise",
    ),
    Mutation(
        "pictures with x and y swapped",
        each_sample(_picture(lambda picture: picture.swapaxes(0, 1))),
        "picture against mask",
        "transposed",
    ),
    Mutation(
        "pictures of another crop",
        each_sample(_picture(lambda picture: np.roll(picture, 12, 1))),
        "picture against mask",
        "shifted by (12, 0) px",
    ),
    Mutation(
        "pictures of other samples",
        _pictures_of_others(masks_too=False),
        "picture against mask",
        "do not follow the masks",
    ),
    Mutation(
        "pictures and masks mirrored", each_sample(_picture_and_mask_mirrored), "mesh against mask", "are mirrored"
    ),
    Mutation(
        "pictures and masks of other samples",
        _pictures_of_others(masks_too=True),
        "mesh against mask",
        "belong to other pictures",
    ),
    Mutation("masks inverted", each_sample(_mask(lambda mask: 255 - mask)), "mask", "inverted"),
    Mutation("masks empty", each_sample(_mask(np.zeros_like)), "mask", "empty"),
    Mutation("a picture twice", _same_picture, "picture twice", "byte for byte"),
    Mutation("visible not told anew after a crop", each_sample(_moved_picture), "visible", "outside the picture"),
]
