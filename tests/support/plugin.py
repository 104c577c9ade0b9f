"""A plug-in as its author would write it: a detector with an option, a calibration format and a metric."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from handgen.detect.keypoint_files.detector import KeypointsDetector, KeypointsView
from handgen.detect.registry import register_detector
from handgen.geometry.camera import Camera
from handgen.geometry.rigid import Rigid
from handgen.io.calibration_files.base import Calibration
from handgen.io.calibration_files.registry import register_calibration_format
from handgen.options import REQUIRED, check_options, option
from handgen.stages.evaluate.metrics.registry import Metric, register_metric


@dataclass(frozen=True, kw_only=True)
class ShiftedOptions:
    truth: str = option(REQUIRED, "file of the true keypoints.", kind="location", metavar="FILE", decides_output=False)
    shift_px: float = option(0.0, "how far they are moved, pixels.", low=0, high=10, flag="--shift")

    def __post_init__(self):
        check_options(self)


class ShiftedView(KeypointsView):
    """The true keypoints of one camera, moved to the right."""

    shift_px = 0.0

    def detect(self, image, frame):
        return [
            replace(hand, keypoints_px=hand.keypoints_px + [self.shift_px, 0]) for hand in super().detect(image, frame)
        ]


class Shifted(KeypointsDetector):
    """The true keypoints, moved to the right."""

    name = "shifted"

    def __init__(self, task, options):
        super().__init__(Path(options.truth), task.cameras, side=task.side)
        self.options = options

    def start(self, camera):
        view = ShiftedView(self._by_camera[camera])
        view.shift_px = self.options.shift_px
        return view


register_detector("shifted", Shifted, ShiftedOptions)


class Plain:
    """Calibrations of one flat list per camera."""

    NAME = "plain list"
    SUFFIXES = (".json",)

    def recognise(self, path, text):
        return path if text.startswith('{"plain":') else None

    def read(self, path):
        cameras = []
        for name, width, height, *values in json.loads(path.read_text())["plain"]:
            numbers = np.array(values)
            pose = Rigid(numbers[9:18].reshape(3, 3), numbers[18:])
            cameras.append(Camera(name, (width, height), numbers[:9].reshape(3, 3), cam_from_world=pose))
        return Calibration(tuple(cameras), path, self.NAME, 1.0, "metres (plain list)")


register_calibration_format(Plain())


register_metric(
    "index_tip",
    Metric(
        measure=lambda matched: {"mean_mm": float(matched.errors_mm["absolute"][:, 8].mean())},
        facts=lambda found: [("index fingertip", f"{found['mean_mm']:.2f} mm")],
    ),
)
