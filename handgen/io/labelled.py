"""Labelled pictures made from handgen's own files: samples of shards, and records of annotations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from handgen.hand.conversions import moved_hand, rest_wrist
from handgen.hand.model_files import HandArrays
from handgen.records.annotation import HandRecord, ViewRecord
from handgen.records.labelled_image import HandParameters, LabelledHand, LabelledImage
from handgen.records.sample import SampleHand, SampleLabels
from handgen.storage.json_fields import from_document


def label_sample(key: str, document: Mapping[str, Any], members: Mapping[str, bytes]) -> LabelledImage:
    """The picture of a sample of shards: its validated labels, and members by suffix. ValueError for a bad camera."""
    labels = from_document(SampleLabels, document)
    camera, source, other = labels.camera, labels.source, labels.other_hand
    own = replace(_labelled(labels.own_hand), box_px=labels.box_px)
    return LabelledImage(
        name=key,
        size_px=camera.size_px,
        hands=(own,) if other is None else (own, _labelled(other)),
        image=members.get("jpg"),
        mask=members.get("mask.png"),
        intrinsics=camera.intrinsics,
        cam_from_world=camera.cam_from_world,
        capture=source.capture,
        subject=source.subject,
        camera=source.camera,
        frame=source.frame,
        mirrored=labels.mirrored,
    )


def _labelled(hand: SampleHand) -> LabelledHand:
    own = hand.hand
    return LabelledHand(
        side=hand.side,
        keypoints_px=hand.keypoints_2d,
        visible=hand.visible,
        keypoints_cam_m=hand.keypoints_3d,
        parameters=HandParameters(own.pose, own.betas, own.translation_m, own.model, own.model_sha256),
    )


def label_hand(
    record: HandRecord, view: ViewRecord, betas: Float[np.ndarray, " 10"], arrays: HandArrays
) -> LabelledHand:
    """A record's hand as a view's camera has it; keypoints in the picture count as visible. arrays: of its side."""
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
