"""One sample of shards: its picture and mask as files, and its labels as the label checks want them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import simplejpeg

from handgen.io import shards
from handgen.io.labelled import label_sample
from handgen.label_checks.evidence import Fault
from handgen.label_checks.rotations import transform_fault
from handgen.media import images
from handgen.records.labelled_image import LabelledImage


def label_checked(key: str, document: dict[str, Any], members: dict[str, bytes]) -> tuple[LabelledImage, Fault | None]:
    """Label a sample, without its transform where that is none, and find what is wrong with that."""
    matrix = np.array(document["camera"]["cam_from_world"], float)
    fault = transform_fault(matrix)
    if fault is None:
        return label_sample(key, document, members), None
    unplaced = {**document, "camera": {**document["camera"], "cam_from_world": np.eye(4).tolist()}}
    return replace(label_sample(key, unplaced, members), cam_from_world=None), fault


def picture_is_sound(
    document: dict[str, Any], members: dict[str, bytes], where: str, pixels: bool, wrong: Callable[[str], None]
) -> bool:
    """Whether picture and mask can be read, and are of the labels' size; the mask's box is the labels'.

    pixels: decode the picture, too; otherwise its header is read.
    """
    size_px = tuple(document["camera"]["size_px"])
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(members[shards.IMAGE])
    except ValueError as error:
        wrong(f"its image cannot be read ({error})")
        return False
    if (width, height) != size_px:
        wrong(f"its image is {width}x{height}, its labels say {size_px[0]}x{size_px[1]}")
        return False
    if pixels:
        images.decode_rgb(members[shards.IMAGE], f"{where}.{shards.IMAGE}")
    mask = images.decode_mask(members[shards.MASK], f"{where}.{shards.MASK}", size_px)
    if list(cv2.boundingRect(mask)) != document["box_px"]:
        wrong(f"box_px is {document['box_px']}, the mask's box is {list(cv2.boundingRect(mask))}")
    return True
