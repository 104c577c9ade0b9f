"""Bring detections into the form that the fit wants: kinematics, observations, triangulated keypoints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from handgen.detect.view_bias import ViewBias
from handgen.fit.corrections import Corrections, corrections_of
from handgen.fit.kinematics import HandState, KeypointKinematics
from handgen.fit.residuals import Observations
from handgen.geometry.camera import Rig
from handgen.geometry.rotations import axis_angle_from_rotation
from handgen.hand.model import HandModel, HandPose
from handgen.hand.skeleton import MIRROR_X
from handgen.multiview.association import MultiviewHand


def kinematics_of(
    hand_model: str, side: str, offsets_m: Float[np.ndarray, "21 3"], device: str = "cpu"
) -> KeypointKinematics:
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
