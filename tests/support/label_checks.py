"""Labelled hands in front of a camera, and what is found wrong with them."""

import numpy as np
import torch

from handgen.hand.model import HandPose
from handgen.label_checks.checks import conclude, examine
from handgen.label_checks.evidence import HandModels, Tolerances
from handgen.records.labelled_image import HandParameters, LabelledHand, LabelledImage
from support.annotations import open_hand

K = np.array([[600.0, 0, 319.5], [0, 600.0, 239.5], [0, 0, 1]])


MODELS = HandModels()


def hand_in_front(side: str, seed: int, low: float = 0.1, high: float = 0.9, name: str = "a") -> LabelledImage:
    """A hand at half a metre, turned anyhow, its joints between shares of their limits."""
    rng = np.random.default_rng(seed)
    model = open_hand(side)
    limits = model.arrays.joint_limits_rad
    angles = limits[..., 0] + rng.uniform(low, high, (15, 3)) * (limits[..., 1] - limits[..., 0])
    bend = np.einsum("jk,jkc->jc", angles, model.arrays.joint_axes)
    rotations = np.concatenate([rng.uniform(-1.5, 1.5, (1, 3)), bend])
    betas = np.clip(rng.normal(size=10), -2, 2)
    translation = np.array([rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1), rng.uniform(0.5, 0.8)])
    pose = HandPose(*(torch.tensor(value)[None] for value in (rotations, translation, betas)))
    points = model(pose).keypoints[0].numpy()
    pixels = (points @ K.T)[:, :2] / points[:, 2:]
    parameters = HandParameters(rotations.ravel(), betas, translation, "open", model.arrays.sha256)
    visible = (pixels > -0.5).all(1) & (pixels < (639.5, 479.5)).all(1)
    hand = LabelledHand(side, pixels, visible, keypoints_cam_m=points, parameters=parameters)
    return LabelledImage(name, (640, 480), (hand,), None, intrinsics=K)


def found(*pictures: LabelledImage, tolerances: Tolerances | None = None) -> dict[str, str]:
    """Return what is said, by check; the first of each."""
    part = examine(pictures, "", MODELS, tolerances or Tolerances())
    findings, _ = conclude([part], "")
    return {finding.kind: finding.what for finding in reversed(findings.kept)}
