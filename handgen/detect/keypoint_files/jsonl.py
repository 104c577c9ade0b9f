"""handgen's own files: JSONL, `schemas/detection.schema.json`, any number of cameras and of hands per frame."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from handgen.detect.keypoint_files.hands import CameraHands, HandList, check_frame
from handgen.io.detections import read_detections

SUFFIX = ".jsonl"
KEYS = (b'"camera"', b'"keypoints_px"')  # by which a line is known


def read_all(paths: Sequence[Path], cameras: tuple[str, ...]) -> dict[str, CameraHands]:
    """The hands of all cameras, out of one file or several. Raises HandgenError naming the line that does not fit."""
    found = {camera: HandList(str(paths[0])) for camera in cameras}
    for record in chain.from_iterable(read_detections(path, cameras) for path in paths):
        values = np.concatenate([record.keypoints_px, record.confidence[:, None]], 1)
        frame = check_frame(record.frame, f"{paths[0]}: camera {record.camera}")
        found[record.camera].add(frame, values, record.right, record.again)
    return {camera: hands.packed() for camera, hands in found.items()}
