"""Boxes around hands in pictures, as COCO and InterHand2.6M have them: left, top, width, height along pixels' edges."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from handgen.records.labelled_image import Box, LabelledHand, LabelledImage, in_picture

NO_BOX = (0.0, 0.0, 0.0, 0.0)


def hand_box(hand: LabelledHand, picture: LabelledImage) -> Box | None:
    """The box of a hand's mask, else of its keypoints in the picture; None for a hand that is outside."""
    if hand.box_px is not None:
        left, top, width, height = (float(value) for value in hand.box_px)
        return left, top, width, height
    inside = in_picture(hand, picture)
    if not inside.any():
        return None
    low, high = hand.keypoints_px[inside].min(0), hand.keypoints_px[inside].max(0)
    left, top = np.round(low + 0.5, 3).tolist()
    width, height = np.round(high - low, 3).tolist()
    return left, top, width, height


def union_of(boxes: Iterable[Box | None]) -> Box:
    """The box around several; `NO_BOX` around none."""
    corners = np.array([(x, y, x + width, y + height) for x, y, width, height in filter(None, boxes)])
    if not len(corners):
        return NO_BOX
    left, top = corners[:, :2].min(0).tolist()
    right, bottom = corners[:, 2:].max(0).tolist()
    return left, top, round(right - left, 3), round(bottom - top, 3)
