"""Correct detections by a fitted hand, which tells which were seen through flesh, and from which side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from handgen.detect.view_bias import ViewBias
from handgen.geometry.camera import Rig
from handgen.geometry.ray_casting import Mesh, Tracer
from handgen.hand.model import HandModel, PosedHand
from handgen.hand.skeleton import KEYPOINT_CARRIERS


@dataclass(frozen=True)
class Corrections:
    """Corrections of the detections of `n` frames, in the rig's ideal images.

    shift_px: what the side that a keypoint is seen from moves its detection by. noise_factor: at least 1.
    """

    shift_px: Float[np.ndarray, "n views 21 2"]
    noise_factor: Float[np.ndarray, "n views 21"]


def corrections_of(
    bias: ViewBias, rig: Rig, model: HandModel, posed: PosedHand, rotations: Float[np.ndarray, "n 16 3"]
) -> Corrections:
    """Predict what a detector's bias does to detections of hands that are posed about like this. Metres.

    rotations: the pose, axis-angle.
    """
    keypoints = posed.keypoints.cpu().numpy()
    world_from_carrier = posed.rotations.cpu().numpy()[:, list(KEYPOINT_CARRIERS)]
    flexion_rad = np.einsum("ja,nja->nj", model.arrays.joint_axes[:, 0], rotations[:, 1:])
    shifts, factors = [], []
    flesh_m = flesh_before(rig, posed.vertices.cpu().numpy(), model.faces, keypoints)
    for view, camera in enumerate(rig):
        towards = camera.center_world - keypoints
        towards /= np.linalg.norm(towards, axis=-1, keepdims=True)
        local = np.einsum("nkba,nkb->nka", world_from_carrier, towards)
        moved = np.einsum("nkab,nkb->nka", world_from_carrier, bias.offsets_m(local, flexion_rad, model.side))
        ideal = camera.ideal()
        shifts.append(ideal.project(keypoints + moved)[0] - ideal.project(keypoints)[0])
        factors.append(bias.noise_factor(flesh_m[:, view]))
    return Corrections(np.stack(shifts, 1), np.stack(factors, 1))


def flesh_before(
    rig: Rig, vertices: Float[np.ndarray, "n 778 3"], faces: np.ndarray, keypoints: Float[np.ndarray, "n 21 3"]
) -> Float[np.ndarray, "n views 21"]:
    """Metres from where the line of sight of each camera to each keypoint first meets the hand, to the keypoint."""
    flesh = np.zeros((len(vertices), len(rig), keypoints.shape[1]))
    centers = np.stack([camera.center_world for camera in rig])
    for i, mesh in enumerate(vertices):
        lines = keypoints[i] - centers[:, None]
        lengths = np.linalg.norm(lines, axis=-1)
        origins = np.broadcast_to(centers[:, None], lines.shape).reshape(-1, 3)
        hits = Tracer(Mesh(mesh, faces)).first(origins, (lines / lengths[..., None]).reshape(-1, 3))
        distance = np.where(hits.found, hits.distance, np.inf).reshape(lengths.shape)
        flesh[i] = (lengths - distance).clip(min=0)
    return flesh
