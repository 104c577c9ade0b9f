"""A small rendered capture and what a perfect detector says of it: shared by the tests of annotate."""

import numpy as np

from handgen.io.annotations import Annotations
from handgen.io.capture.capture import load_capture
from handgen.io.detections import write_detections
from handgen.options import make_config
from handgen.records.detection import DetectionRecord
from handgen.stages.annotate.config import AnnotateConfig
from handgen.stages.simulate import stage as simulate
from handgen.stages.simulate.config import SimulateConfig


def rendered(path, without=()):
    """The capture: three views, eight frames, hands of about 60 px. without: components of its pictures."""
    config = SimulateConfig(views=3, frames=8, size=(320, 240), fps=8, video=False, workers=1, without=without)
    simulate.run(path, config)
    return path


def rendered_with_keypoints(folder, frames):
    """A capture of three tiny views in `folder`, and true keypoints in it."""
    config = SimulateConfig(views=3, frames=frames, size=(160, 120), fps=8, video=False, workers=1)
    simulate.run(folder / "capture", config)
    true_keypoints(folder / "capture", folder / "keypoints.jsonl", frames=range(frames))
    return folder


def true_keypoints(capture, path, frames=range(8), noise_px=0.0, drop=()):
    """Write what a perfect detector would write: the truth projected into the capture's cameras."""
    rig = load_capture(capture).rig
    rng = np.random.default_rng(0)
    records = {record.frame: record for _, record in Annotations(capture / "truth")}
    rows = []
    for frame in frames:
        for camera in rig:
            if (frame, camera.name) not in drop:
                pixels, _ = camera.project(records[frame].keypoints_world_m)
                pixels = pixels + rng.normal(0, noise_px, pixels.shape) if noise_px else pixels
                rows.append(DetectionRecord(camera.name, frame, pixels, np.ones(21), 1.0))
    write_detections(path, rows)
    return str(path)


def errors_mm(capture, out):
    truth = {record.frame: record for _, record in Annotations(capture / "truth")}
    return {
        r.frame: np.linalg.norm(r.keypoints_world_m - truth[r.frame].keypoints_world_m, axis=1).mean() * 1e3
        for _, r in Annotations(out)
        if r.accepted
    }


def config(keypoints, **options):
    found = {"detector": "keypoints", "keypoints": str(keypoints), "hands": "right", "workers": 1}
    return make_config(AnnotateConfig, **found, **options)
