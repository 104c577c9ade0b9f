"""References that the tests of exports compare with: shards read without handgen, and hands posed by the model."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch

from handgen.hand.model import HandPose, PosedHand
from handgen.options import make_config
from handgen.stages.export import stage
from handgen.stages.export.config import ExportConfig
from handgen.stages.export.report import ExportReport
from handgen.stages.synthesize import stage as synthesize
from handgen.stages.synthesize.config import SynthesizeConfig
from support.annotations import open_hand, write_annotations

SAMPLES = 40


@dataclass(frozen=True)
class Sample:
    """One sample of shards. labels: its JSON. mask: bool."""

    labels: dict
    jpeg: bytes
    mask: np.ndarray

    @property
    def hands(self) -> list[dict]:
        return [self.labels, *([self.labels["other_hand"]] if self.labels.get("other_hand") else [])]

    @property
    def named(self) -> list[dict]:
        """Hands that formats of pictures name: the sample's own, and the other one if five keypoints are in there."""
        return [hand for hand in self.hands if hand is self.labels or self.inside(hand).sum() >= 5]

    @staticmethod
    def inside(hand: dict) -> np.ndarray:
        pixels = np.array(hand["keypoints_2d"])
        return ((pixels >= -0.5) & (pixels <= 223.5)).all(1)

    @property
    def camera(self) -> np.ndarray:
        return np.array(self.labels["camera"]["intrinsics"])

    @property
    def cam_from_world(self) -> np.ndarray:
        return np.array(self.labels["camera"]["cam_from_world"])


def make_shards(folder: Path) -> Path:
    """Forty samples in four shards: both sides, mirrored and not, some with the other hand."""
    annotations = write_annotations(folder / "annotations", frames=4, cameras=2, apart_m=0.12)
    synthesize.run(
        annotations, folder / "shards", None, SynthesizeConfig(samples=SAMPLES, samples_per_shard=10, workers=1)
    )
    return folder / "shards"


def read_samples(shards: Path) -> list[Sample]:
    found = []
    for path in sorted(shards.glob("*.tar")):
        members: dict[str, dict[str, bytes]] = {}
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, suffix = member.name.partition(".")
                members.setdefault(key, {})[suffix] = tar.extractfile(member).read()
        for group in members.values():
            mask = cv2.imdecode(np.frombuffer(group["mask.png"], np.uint8), cv2.IMREAD_GRAYSCALE) > 127
            found.append(Sample(json.loads(group["json"]), group["jpg"], mask))
    return found


def export(source: Path, out: Path, format: str, **options) -> ExportReport:
    return stage.run(source, out, make_config(ExportConfig, format=format, workers=1, **options))


def decoded(jpeg: bytes) -> np.ndarray:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


@cache
def mean_pose(side: str) -> np.ndarray:
    """The 45 numbers that poses relative to the mean lack."""
    return open_hand(side).arrays.mean_pose


def vertices(side: str, pose, betas, translation) -> np.ndarray:
    """The mesh of a full pose, metres."""
    return _posed(side, pose, betas, translation).vertices[0].numpy()


def keypoint_9(side: str, pose, betas) -> np.ndarray:
    """Compute where the middle finger begins, of a full pose that is not moved, metres."""
    return _posed(side, pose, betas, np.zeros(3)).keypoints[0, 9].numpy()


def _posed(side: str, pose, betas, translation) -> PosedHand:
    hand = HandPose(
        torch.tensor(np.array(pose, float)).reshape(1, 16, 3),
        torch.tensor(np.array(translation, float))[None],
        torch.tensor(np.array(betas, float))[None],
    )
    return open_hand(side)(hand)


def true_vertices(hand: dict) -> np.ndarray:
    """Pose a hand of a sample's labels."""
    return vertices(hand["side"], hand["hand"]["pose"], hand["hand"]["betas"], hand["hand"]["translation_m"])


def projected(camera, points) -> np.ndarray:
    pixels = np.array(points) @ np.array(camera).T
    return pixels[:, :2] / pixels[:, 2:]


def npz(data: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(data)) as arrays:
        return dict(arrays)
