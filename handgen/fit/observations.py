"""Detections in the form that the fit wants: kinematics, observations, and corrections by a hand fitted before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from handgen.detect.view_bias import ViewBias
from handgen.fit.kinematics import HandState, KeypointKinematics
from handgen.fit.residuals import Observations
from handgen.geometry.camera import Rig
from handgen.geometry.meshes import Mesh, Tracer
from handgen.geometry.rotations import axis_angle_from_rotation
from handgen.hand.model import HandModel, HandPose, PosedHand
from handgen.hand.skeleton import KEYPOINT_CARRIERS, MIRROR_X
from handgen.multiview.association import MultiviewHand

Offsets = Float[np.ndarray, "21 3"]  # of a detector's keypoints, metres


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
    """Predict what a bias does to detections of hands posed about like this. rotations: the pose, axis-angle."""
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


def kinematics_of(hand_model: str, side: str, offsets_m: Offsets, device: str = "cpu") -> KeypointKinematics:
    """Keypoints of one side as a detector sees them. offsets_m: of the right hand; mirrored for the left."""
    model = HandModel.load(hand_model, side, device=device)
    mirrored = offsets_m if side == "right" else offsets_m * MIRROR_X
    return KeypointKinematics(model, torch.as_tensor(mirrored))


def observations_of(
    rig: Rig, seen_hands: Sequence[MultiviewHand], device: str = "cpu", corrections: Corrections | None = None
) -> Observations:
    """Detections as the solver wants them: ideal pixels, and weights that know each detection's noise.

    corrections: of the same frames, from an earlier fit.
    """
    n, views = len(seen_hands), len(rig)
    pixels = np.zeros((n, views, 21, 2))
    weight = np.zeros((n, views, 21))
    for i, seen_hand in enumerate(seen_hands):
        for v, view in enumerate(seen_hand.views):
            if view is not None:
                pixels[i, v] = view.ideal_px
                weight[i, v] = view.confidence / view.noise_px**2
    if corrections is not None:
        pixels = pixels - corrections.shift_px
        weight = weight / corrections.noise_factor**2
    projections = np.stack([camera.ideal_px_from_world for camera in rig])
    return Observations(*(torch.as_tensor(a, device=device) for a in (projections, pixels, weight)))


def triangulated(hands: Sequence[MultiviewHand]) -> Float[Tensor, "n 21 3"]:
    """The triangulated keypoints of hands in the world."""
    return torch.as_tensor(np.stack([hand.points_world for hand in hands]))


def valid_of(seen_hands: Sequence[MultiviewHand], device: torch.device) -> Bool[Tensor, "n 21"]:
    """A mask of the keypoints that at least two views saw."""
    return torch.as_tensor(np.stack([seen_hand.valid for seen_hand in seen_hands]), device=device)


def pose_of(state: HandState) -> HandPose:
    """The poses of a state."""
    return HandPose(axis_angle_from_rotation(state.rotations), state.translation, state.betas)


def apply_view_bias(
    view_bias: ViewBias | None, rig: Rig, kinematics: KeypointKinematics, state: HandState
) -> Corrections | None:
    """Per-view keypoint shift and noise that the view-bias model predicts for hands in this state; None without one."""
    if view_bias is None:
        return None
    pose = pose_of(state)
    posed = kinematics.model(pose)
    return corrections_of(view_bias, rig, kinematics.model, posed, pose.rotations.cpu().numpy())
