"""Labelled pictures of handgen's own files: of samples of shards, and of records of annotations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from handgen.geometry.rigid import Rigid
from handgen.hand.conversions import moved_hand, rest_wrist
from handgen.hand.model_files import HandArrays
from handgen.records.annotation import HandRecord, ViewRecord
from handgen.records.labelled_image import HandParameters, LabelledHand, LabelledImage


def label_sample(key: str, document: Mapping[str, Any], members: Mapping[str, bytes]) -> LabelledImage:
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


def label_hand(
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
