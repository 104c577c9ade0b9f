"""A picture with the hands in it and all that is known of them: what exporters write, importers read, `validate` asks.

handgen's conventions, whatever file it came from: metres, radians, pixels with (0, 0) in the centre of the first one;
camera frame x right, y down, z forward; 21 keypoints in the order of `handgen.hand.layout`; poses full (mean added).
Nothing here is decoded: pictures and masks are the bytes of their files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from handgen.hand.assets import HandArrays
from handgen.hand.conversions import moved_hand, rest_wrist
from handgen.io.annotations import HandRecord, ViewRecord
from handgen.rigid import Rigid

MIN_KEYPOINTS = 5  # in the picture, of a hand that is named there: HaMeR's loader drops those with fewer
Box = tuple[float, float, float, float]  # left, top, width, height; from edge to edge of pixels, the first one at 0


@dataclass(frozen=True)
class HandParameters:
    """Of the model `model` (name, SHA-256 of its file for this side, where they are known).

    pose: (48,), axis-angle, full rotations, the orientation in the camera's frame first. translation_m: (3,), smplx's
    `transl` in the camera's frame, or None where only the shape and the bend are known.
    """

    pose: Float[np.ndarray, " 48"]
    betas: Float[np.ndarray, " 10"]
    translation_m: Float[np.ndarray, " 3"] | None
    model: str | None = None
    model_sha256: str | None = None


@dataclass(frozen=True)
class LabelledHand:
    """One hand of a picture.

    keypoints_px: (21, 2). labelled: which of them are known; others have values that mean nothing. visible: which are
    seen: in the picture, nothing in front as far as is known. keypoints_cam_m: (21, 3) or None. box_px: of its mask, or
    None.
    """

    side: str
    keypoints_px: Float[np.ndarray, "21 2"]
    visible: Bool[np.ndarray, " 21"]
    labelled: Bool[np.ndarray, " 21"] = field(default_factory=lambda: np.ones(21, bool))
    keypoints_cam_m: Float[np.ndarray, "21 3"] | None = None
    box_px: Box | None = None
    parameters: HandParameters | None = None


@dataclass(frozen=True)
class LabelledImage:
    """One picture. name: unique in its data set, for messages.

    image, mask: bytes of the files, or None where there is none; suffix: of the picture's file ("jpg", "png"). The mask
    is of the first hand. intrinsics: (3, 3) or None. cam_from_world: metres, or None. capture, subject, camera, frame:
    where it comes from, as far as that is known. mirrored: whether world and picture are the mirror image of the
    capture's.
    """

    name: str
    size_px: tuple[int, int]
    hands: tuple[LabelledHand, ...]
    image: bytes | None
    suffix: str = "jpg"
    mask: bytes | None = None
    intrinsics: Float[np.ndarray, "3 3"] | None = None
    cam_from_world: Rigid | None = None
    capture: str = ""
    subject: str = ""
    camera: str = ""
    frame: int = 0
    mirrored: bool = False


def in_picture(hand: LabelledHand, picture: LabelledImage) -> Bool[np.ndarray, " 21"]:
    """Which keypoints are known and lie in the picture, hidden or not."""
    width, height = picture.size_px
    x, y = hand.keypoints_px.T
    return hand.labelled & (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)


def of_sample(key: str, document: Mapping[str, Any], members: Mapping[str, bytes]) -> LabelledImage:
    """Of a sample of shards. document: its labels, validated. members: by suffix, as `handgen.io.shards` has them."""
    others = [document["other_hand"]] if document.get("other_hand") else []
    camera, source = document["camera"], document["source"]
    first, *more = (_hand_of(entry) for entry in (document, *others))
    size_px = (camera["size_px"][0], camera["size_px"][1])
    return LabelledImage(
        name=key,
        size_px=size_px,
        hands=(first, *more),
        image=members.get("jpg"),
        mask=members.get("mask.png"),
        intrinsics=np.array(camera["intrinsics"], float),
        cam_from_world=Rigid.from_matrix(np.array(camera["cam_from_world"], float)),
        capture=source["capture"],
        subject=source["subject"],
        camera=source["camera"],
        frame=source["frame"],
        mirrored=document["mirrored"],
    )


def _hand_of(entry: Mapping[str, Any]) -> LabelledHand:
    hand = entry["hand"]
    return LabelledHand(
        side=entry["side"],
        keypoints_px=np.array(entry["keypoints_2d"], float),
        visible=np.array(entry["visible"], bool),
        keypoints_cam_m=np.array(entry["keypoints_3d"], float),
        box_px=tuple(entry["box_px"]) if "box_px" in entry else None,
        parameters=HandParameters(
            np.array(hand["pose"], float),
            np.array(hand["betas"], float),
            np.array(hand["translation_m"], float),
            hand["model"],
            hand["model_sha256"],
        ),
    )


def hand_in_view(
    record: HandRecord, view: ViewRecord, betas: Float[np.ndarray, " 10"], arrays: HandArrays
) -> LabelledHand:
    """A record's hand as the camera of one of its views (or of another record's) has it.

    arrays: of the hand model, of the record's side. What hides a keypoint is not known: those in the picture count as
    visible.
    """
    cam_from_world = view.camera.cam_from_world
    points = cam_from_world.apply(record.keypoints_world_m)
    pixels, visible = view.camera.project_cam(points)
    wrist = rest_wrist(betas, arrays)
    pose, translation = moved_hand(record.pose, record.translation_m, wrist, cam_from_world)
    return LabelledHand(
        side=record.side,
        keypoints_px=pixels,
        visible=visible,
        labelled=points[:, 2] > 0,
        keypoints_cam_m=points,
        parameters=HandParameters(pose, betas, translation, arrays.name, arrays.sha256),
    )
