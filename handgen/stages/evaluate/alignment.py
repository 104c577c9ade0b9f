"""Alignments: take the place, the size or the orientation of the hand out of an error before it is measured.

absolute        nothing: the same world
root_relative   the wrist is moved onto the truth's wrist
scale_aligned   the same, and the hand scaled about it so that wrist to middle knuckle has the truth's length.
Source: HO-3D, `eval.py` (shreyashampali/ho3d), "scale-translation aligned"
procrustes      the similarity (rotation, translation, scale) of least squares. Source: FreiHAND, `eval.py`
(lmb-freiburg/freihand), "aligned". Theirs may mirror the hand, ours never does: a hand that is
the truth's mirror image is wrong
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from handgen.geometry.rotations import procrustes_rotation
from handgen.hand.skeleton import MIDDLE_MCP, WRIST

Keypoints = Float[np.ndarray, "*batch 21 3"]
_NO_SIZE_M = 1e-9  # points nearer to each other than this have no size to scale by


@dataclass(frozen=True)
class Similarity:
    """Maps with any leading batch axes: `x_a = scale * rotation @ x_b + translation`, called `a_from_b`."""

    rotation: Float[np.ndarray, "*batch 3 3"]
    scale: Float[np.ndarray, "*batch"]
    translation: Float[np.ndarray, "*batch 3"]

    def apply(self, points: Float[np.ndarray, "*batch points 3"]) -> Float[np.ndarray, "*batch points 3"]:
        """Map points, one set per entry of the batch."""
        turned = points @ np.swapaxes(self.rotation, -1, -2)
        return self.scale[..., None, None] * turned + self.translation[..., None, :]


def similarity_between(
    source: Float[np.ndarray, "*batch points 3"], target: Float[np.ndarray, "*batch points 3"], with_scale: bool = True
) -> Similarity:
    """`target_from_source` of least squares (Kabsch 1976, Umeyama 1991), no mirror image.

    with_scale: False leaves the size alone. Points without extent keep their size, too.
    """
    source_center, target_center = source.mean(-2, keepdims=True), target.mean(-2, keepdims=True)
    centred, wanted = source - source_center, target - target_center
    tensors = (torch.as_tensor(np.ascontiguousarray(points)) for points in (centred, wanted))
    rotation = procrustes_rotation(*tensors).numpy()
    turned = centred @ np.swapaxes(rotation, -1, -2)
    size = (centred**2).sum((-1, -2))
    scale = np.ones(size.shape)
    if with_scale:
        has_size = size > _NO_SIZE_M**2
        scale = np.where(has_size, (turned * wanted).sum((-1, -2)) / np.where(has_size, size, 1.0), 1.0)
    moved = scale[..., None] * (source_center @ np.swapaxes(rotation, -1, -2))[..., 0, :]
    return Similarity(rotation, scale, target_center[..., 0, :] - moved)


def root_relative(points: Keypoints, truth: Keypoints) -> Keypoints:
    """The points with the wrist on the truth's."""
    return points - points[..., WRIST : WRIST + 1, :] + truth[..., WRIST : WRIST + 1, :]


def scale_aligned(points: Keypoints, truth: Keypoints) -> Keypoints:
    """The points with the wrist on the truth's and its length from wrist to middle knuckle."""
    wrist, true_wrist = points[..., WRIST : WRIST + 1, :], truth[..., WRIST : WRIST + 1, :]
    length = np.linalg.norm(points[..., MIDDLE_MCP, :] - wrist[..., 0, :], axis=-1)
    true_length = np.linalg.norm(truth[..., MIDDLE_MCP, :] - true_wrist[..., 0, :], axis=-1)
    scale = np.where(length > _NO_SIZE_M, true_length / np.maximum(length, _NO_SIZE_M), 1.0)
    return (points - wrist) * scale[..., None, None] + true_wrist


ALIGNMENTS: dict[str, Callable[[Keypoints, Keypoints], Keypoints]] = {
    "absolute": lambda points, truth: points,
    "root_relative": root_relative,
    "scale_aligned": scale_aligned,
    "procrustes": lambda points, truth: similarity_between(points, truth).apply(points),
}


def errors_mm(alignment: str, points: Keypoints, truth: Keypoints) -> Float[np.ndarray, "*batch 21"]:
    """Distance of every keypoint from the truth's after the named alignment, mm. Points are in metres."""
    return np.linalg.norm(ALIGNMENTS[alignment](points, truth) - truth, axis=-1) * 1e3
