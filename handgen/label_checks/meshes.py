"""The labels' meshes in the pictures, with which masks are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from handgen.hand.model import HandPose
from handgen.hand.skeleton import JOINT_COUNT
from handgen.label_checks.evidence import Evidence


@dataclass(frozen=True)
class ProjectedMesh:
    """A hand's surface in its picture, pixels."""

    vertices_px: Float[np.ndarray, "n 2"]
    faces: Int[np.ndarray, "faces 3"]


def meshes_in(evidence: Evidence, pictures: Sequence[int]) -> dict[int, ProjectedMesh]:
    """Compute, by the picture's number, the mesh of its first hand, which is the one that its mask shows.

    Hands whose model is not here, or whose labels have a fault already, are left out.
    """
    hands, found = evidence.hands, {}
    sound = hands.has_pose & hands.has_camera & np.isfinite(hands.translation_m).all(1) & (hands.number == 0)
    sound &= ~np.any([np.zeros(len(hands), bool), *evidence.wrong.values()], axis=0)
    for hand in np.flatnonzero(sound & np.isin(hands.image_of, np.array(pictures, int))).tolist():
        labels = hands.labels(hand)
        assert labels.parameters is not None
        name, sha256 = labels.parameters.model, labels.parameters.model_sha256
        side = None if name is None and sha256 is None else evidence.models.sides(name, sha256)
        if side is None or labels.side not in side:
            continue
        model = side[labels.side].model
        pose = HandPose(
            torch.tensor(hands.pose[hand]).reshape(1, JOINT_COUNT, 3),
            torch.tensor(hands.translation_m[hand])[None],
            torch.tensor(hands.betas[hand])[None],
        )
        rays = model(pose).vertices[0].numpy() @ hands.intrinsics[hand].T
        if (rays[:, 2] > 0).all():
            found[int(hands.image_of[hand])] = ProjectedMesh(rays[:, :2] / rays[:, 2:], model.arrays.faces)
    return found
