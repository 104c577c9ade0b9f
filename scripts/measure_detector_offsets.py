"""Measure where a detector puts each keypoint relative to the model's, on simulated captures with known truth.

    python scripts/measure_detector_offsets.py [--out handgen/detect/mediapipe_offsets.json] [--captures 8]

Every capture has its own subject, motion and room. Detections of all views are triangulated; the difference from the
true keypoint, in the rest axes of the joint that carries it, is averaged over frames by the median. Left hands are
mirrored.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from handgen.associate import clusters_of_frame
from handgen.config import SimulateConfig
from handgen.detect import registry
from handgen.hand.layout import KEYPOINT_CARRIERS, KEYPOINT_NAMES, MIRROR_X
from handgen.hand.model import HandModel, single_pose
from handgen.io.annotations import Annotations
from handgen.io.capture import load_capture
from handgen.io.schema import write_json
from handgen.simulate import run as simulate

MAX_ERROR_M = 0.03  # a triangulated keypoint further off than this belongs to another hand
MIN_VIEWS = 4


def differences(capture_path: Path, detector_name: str) -> Iterator[np.ndarray]:
    """Per frame (21, 3): detected minus true keypoint, metres, in the carrier joint's axes; NaN where unusable."""
    capture = load_capture(capture_path)
    truth = Annotations(capture_path / "truth")
    records = {record.frame: record for _, record in truth}
    detector = registry.create(detector_name, cameras=capture.rig.names, max_hands=1)
    views = [detector.start(name) for name in capture.rig.names]
    for frame, images in enumerate(capture.read()):
        found = [view.detect(image, frame) for view, image in zip(views, images, strict=True) if image is not None]
        clusters = clusters_of_frame(capture.rig, frame, found)
        if not clusters or clusters[0].view_count < MIN_VIEWS or frame not in records:
            continue
        record = records[frame]
        model = HandModel.load("open", record.side)
        posed = model(single_pose(record.pose, record.translation_m, truth.betas[record.subject]))
        keypoints = posed.keypoints[0].numpy()
        off = clusters[0].points_world - keypoints
        off[~clusters[0].valid] = np.nan
        off[np.linalg.norm(off, axis=1) > MAX_ERROR_M] = np.nan
        rotations = posed.rotations[0].numpy()[list(KEYPOINT_CARRIERS)]
        local = np.einsum("kba,kb->ka", rotations, off)
        yield local if record.side == "right" else local * MIRROR_X


def main() -> None:
    """Simulate, detect, average, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", default="mediapipe")
    parser.add_argument("--out", type=Path, default=Path("handgen/detect/mediapipe_offsets.json"))
    parser.add_argument("--captures", type=int, default=8)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--views", type=int, default=8)
    options = parser.parse_args()
    rows: list[np.ndarray] = []
    for seed in range(options.captures):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "capture"
            side = "right" if seed % 2 == 0 else "left"
            simulate(path, SimulateConfig(views=options.views, frames=options.frames, seed=1000 + seed, hands=side))
            rows += differences(path, options.detector)
        print(f"capture {seed}: {len(rows)} frames so far", flush=True)
    offsets = np.nanmedian(np.stack(rows), axis=0)
    left = np.stack(rows) - offsets
    for name, offset, spread in zip(
        KEYPOINT_NAMES, offsets, np.nanmedian(np.linalg.norm(left, axis=2), 0), strict=True
    ):
        print(f"{name:11} {np.round(offset * 1e3, 1)} mm, then {spread * 1e3:.1f} mm left over")
    source = f"scripts/measure_detector_offsets.py: {len(rows)} frames of {options.captures} simulated captures"
    write_json(options.out, {"offsets_m": np.round(offsets, 5).tolist(), "source": source})


if __name__ == "__main__":
    main()
