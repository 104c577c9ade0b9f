"""handgen's own files: JSONL, `schemas/detection.schema.json`, any number of cameras and of hands per frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from handgen.detect.keypoint_files.hands import CameraHands, HandList
from handgen.io.detections import read_detections

SUFFIX = ".jsonl"
KEYS = (b'"camera"', b'"keypoints_px"')  # by which a line is known


def read_all(path: Path, cameras: tuple[str, ...]) -> dict[str, CameraHands]:
    """The hands of all cameras, out of one file. Raises HandgenError naming the line that does not fit."""
    found = {camera: HandList(str(path)) for camera in cameras}
    for record in read_detections(path, cameras):
        values = np.concatenate([record.keypoints_px, record.confidence[:, None]], 1)
        found[record.camera].add(record.frame, values, record.right)
    return {camera: hands.packed() for camera, hands in found.items()}
