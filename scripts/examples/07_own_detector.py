"""Use a keypoint detector of one's own; the truth with some noise stands in for a network.

    python scripts/examples/07_own_detector.py [OUT]

Reads OUT/capture of example 01, writes OUT/own_detector. The command line takes it from a module that it can import:
`handgen --plugin MODULE annotate CAPTURE --detector noisy_truth --truth TRUTH`
"""

import sys
from dataclasses import dataclass

import numpy as np

import handgen
from handgen.detect.registry import register_detector
from handgen.options import REQUIRED, option
from handgen.records.detection import Detection


@dataclass(frozen=True, kw_only=True)
class NoisyTruthOptions:  # noqa: D101
    truth: str = option(REQUIRED, "folder of the true annotations.", kind="location", metavar="DIR")
    noise: float = option(1.0, "standard deviation of the noise, pixels.", low=0, high=20)


class NoisyTruth:
    """The detector of one camera; it remembers nothing between frames."""

    name, view_bias, notes, needs_images = "noisy_truth", None, (), False  # a network needs images
    offsets_m = np.zeros((21, 3))  # from the hand model's own keypoints

    def __init__(self, task: object, options: NoisyTruthOptions, camera: str | None = None) -> None:
        self.task, self.options, self.hands = task, options, handgen.open_annotations(options.truth)
        self.camera = next((each for each in self.hands.rig if each.name == camera), None)

    def fingerprint(self) -> str:
        """Name what decides the detections: of a network the digest of its weights."""
        return f"noise {self.options.noise}"

    def start(self, camera: str) -> "NoisyTruth":
        """A detector for one camera."""
        return NoisyTruth(self.task, self.options, camera)

    def detect(self, image: np.ndarray, frame: int) -> list[Detection]:
        """The hands in an RGB image: 21 keypoints in its pixels, how sure each is, how surely it is a right hand."""
        noise = np.random.default_rng(frame).normal(0, self.options.noise, (21, 2))
        pixels = self.camera.project(self.hands[frame].keypoints_3d)[0]  # the truth has one hand in each frame
        return [Detection(pixels + noise, np.ones(21), 1.0)]

    def detect_near(self, image: np.ndarray, keypoints_px: np.ndarray, right: float) -> None:
        """The hand that other cameras saw there; None: there is nothing more to be found."""


register_detector("noisy_truth", NoisyTruth, NoisyTruthOptions)

if __name__ == "__main__":
    out = sys.argv[1] if len(sys.argv) > 1 else "example_out"
    own = {"detector": "noisy_truth", "truth": f"{out}/capture/truth", "noise": 1.5}
    print(handgen.annotate(f"{out}/capture", f"{out}/own_detector", **own, hands="right", workers=1, refine="none"))
