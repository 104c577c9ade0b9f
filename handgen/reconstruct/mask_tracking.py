"""Carry hands by their masks alone through frames in which the detector is silent (`annotate --track silhouette`).

From the last frame in which a hand is known, each next one starts where its motion would take it; its pictures are
segmented there, the pose is fitted to the masks, and once more with the masks that this gives. Where the mesh no longer
covers its masks the detector is asked again in that place; if it does not find the hand either, the hand is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
import torch
from jaxtyping import Float

from handgen.detect.view_bias import DetectorCalibration
from handgen.fit.kinematics import HandState
from handgen.fit.observations import pose_of
from handgen.fit.pose_fit import Fit, fit_poses
from handgen.fit.residuals import Expected, Observations
from handgen.fit.silhouette.mask_edges import MaskView
from handgen.fit.silhouette.term import POSE_CONTOUR_POINTS, SilhouetteTerm, refine
from handgen.fit.solver import Problem
from handgen.geometry.camera import Rig
from handgen.geometry.meshes import mesh_mask
from handgen.media.arrays import Image
from handgen.multiview.association import MultiviewHand, make_view, triangulate_hand
from handgen.reconstruct.hand_view import PosedMesh
from handgen.reconstruct.mask_refinement import edge_support, masks_of_frame
from handgen.records.detection import Detection
from handgen.segmentation.segment import REACH_SHARE, iou

# Looks for a hand in the picture of a camera (by number), about where keypoints are; right: 1 of a right hand.
Redetect = Callable[[int, Image, Float[np.ndarray, "21 2"], float], Detection | None]

# Segmented and fitted twice: how far from where it was expected the hand may be, in its sizes, and the smallest IoU.
_PASSES = ((0.25, 0.2), (REACH_SHARE, 0.5))
_STEPS, _STEPS_PER_CONTOUR = 6, 2
_SIGMA_M = 0.02  # how far keypoints stray from where the motion would take them
_MIN_IOU = 0.75  # of mesh and mask, median of the views: below, the detector is asked again
_LOST_IOU = 0.55  # below that the hand is lost, unless the detector finds it
_MIN_EDGE_SUPPORT = 0.3  # of a mask's edge must be an edge in the picture
_MIN_VIEWS = 2  # that must show a mask
_MAX_REDETECTED_ERROR_SHARE = 0.08  # of the hand's extent: detections that differ more are of different things


@dataclass
class MaskTrack:
    """One hand on its way: its last states, and what was found in the frames that it was carried through.

    detector: on this person, as the fit has it. seen_hands: of the frames in which the detector found it again.
    """

    fit: Fit
    side: str
    detector: DetectorCalibration
    states: dict[int, HandState] = field(default_factory=dict)
    masks: dict[int, list[MaskView]] = field(default_factory=dict)
    seen_hands: dict[int, MultiviewHand] = field(default_factory=dict)

    def known(self, frame: int) -> HandState | None:
        """Its state in a frame, fitted or carried."""
        if frame in self.states:
            return self.states[frame]
        place = torch.nonzero(self.fit.frames == frame)
        return None if not len(place) else _one(self.fit.solved.state, int(place[0]))

    def predict(self, frame: int) -> HandState | None:
        """The state that the motion of the two frames before leads to; None if the frame before is not known."""
        last, before = self.known(frame - 1), self.known(frame - 2)
        if last is None or before is None:
            return last
        turned = last.rotations @ before.rotations.transpose(-1, -2) @ last.rotations
        clean = torch.linalg.svd(turned)  # predicting doubles whatever keeps a matrix from being a rotation
        return HandState(clean.U @ clean.Vh, 2 * last.translation - before.translation, last.betas)

    def posed(self, state: HandState) -> PosedMesh:
        """The mesh of a state."""
        model = self.fit.problem.kinematics.model
        posed = model(pose_of(state))
        return PosedMesh(model, posed.vertices[0].cpu().numpy(), posed.keypoints[0].cpu().numpy())


def track_by_masks(
    hands: Sequence[MaskTrack],
    frames: range,
    pictures: Iterable[Sequence[Image | None]],
    rig: Rig,
    background: str,
    redetect: Redetect | None,
) -> None:
    """Carry each hand through the frames in which it is not fitted, as far as it goes; `hands` get what is found."""
    for frame, images in zip(frames, pictures, strict=True):
        states = [hand.known(frame) for hand in hands]
        silent = [state is None for state in states]
        if not any(silent):
            continue
        states = [hand.predict(frame) if state is None else state for hand, state in zip(hands, states, strict=True)]
        for k, (hand, state) in enumerate(zip(hands, states, strict=True)):
            if not silent[k] or state is None:
                continue
            pairs = zip(hands, states, strict=True)
            other = next((h.posed(s) for h, s in pairs if h is not hand and s is not None), None)
            found, masks, overlap = _fit_to_masks(hand, state, images, rig, other, background)
            if overlap < _MIN_IOU and redetect is not None:
                redetected = _redetect_hand(hand, found, frame, images, rig, redetect)
                if redetected is not None:
                    found, hand.seen_hands[frame] = redetected
                    masks, overlap = [], 1.0  # the masks were of where the hand is not
            if overlap >= _LOST_IOU:
                hand.states[frame], hand.masks[frame] = found, masks
                states[k] = found


def _fit_to_masks(
    hand: MaskTrack,
    state: HandState,
    images: Sequence[Image | None],
    rig: Rig,
    other: PosedMesh | None,
    background: str,
) -> tuple[HandState, list[MaskView], float]:
    """The state that masks and motion agree on, the masks, and how well the mesh then covers them (median IoU)."""
    kinematics = hand.fit.problem.kinematics
    motion = Expected(kinematics, kinematics.keypoints(state), _SIGMA_M)
    nothing = Observations.none(rig, like=kinematics.offsets)
    problem = Problem(kinematics, nothing, hand.fit.problem.prior, {"motion": motion})
    masks: list[MaskView] = []
    overlap = 0.0
    for reach_share, min_iou in _PASSES:
        masks = masks_of_frame(0, images, rig, hand.posed(state), other, background, reach_share, min_iou)
        # Where nothing can be seen a mask is the mesh that it was looked for with, and agrees with it.
        masks = [view for view in masks if edge_support(view) >= _MIN_EDGE_SUPPORT]
        if len(masks) < _MIN_VIEWS:
            return state, masks, 0.0
        term = SilhouetteTerm(kinematics.model, masks, 1, independent=POSE_CONTOUR_POINTS)
        state = refine(term, [problem], state, _STEPS, _STEPS_PER_CONTOUR)
        vertices = hand.posed(state).vertices
        overlap = float(np.median([_overlap(view, vertices, kinematics.model.faces) for view in masks]))
    return state, masks, overlap


def _overlap(view: MaskView, vertices: Float[np.ndarray, "778 3"], faces: np.ndarray) -> float:
    """IoU of a mask and the projected mesh, where the mask says something."""
    mesh = mesh_mask(view.camera.project(vertices)[0], faces, view.camera.size_px)
    if view.unknown is None:
        return iou(mesh, view.mask)
    return iou(*(np.where(view.unknown > 0, np.uint8(0), each) for each in (mesh, view.mask)))


def _redetect_hand(
    hand: MaskTrack, state: HandState, frame: int, images: Sequence[Image | None], rig: Rig, redetect: Redetect
) -> tuple[HandState, MultiviewHand] | None:
    """Ask the detector for the hand about where it should be; None unless two views agree."""
    points = hand.fit.problem.kinematics.keypoints(state)[0].cpu().numpy()
    views = {}
    for number, (camera, image) in enumerate(zip(rig, images, strict=True)):
        guess, inside = camera.project(points)
        if image is None or not inside.any():
            continue
        detection = redetect(number, image, guess, float(hand.side == "right"))
        view = None if detection is None else make_view(rig, number, replace(detection, redetected=True))
        if view is not None:
            views[number] = view
    seen_hand = triangulate_hand(rig, frame, views) if len(views) >= _MIN_VIEWS else None
    if seen_hand is None or not seen_hand.error_share <= _MAX_REDETECTED_ERROR_SHARE:  # infinite, or not a number
        return None
    betas = state.betas[0].cpu().numpy()
    fit = fit_poses(hand.fit.problem.kinematics, rig, [seen_hand], betas, hand.detector.view_bias)
    return fit.solved.state, seen_hand


def _one(state: HandState, i: int) -> HandState:
    return HandState(state.rotations[i : i + 1], state.translation[i : i + 1], state.betas[i : i + 1])


def merge_frames(hand: MaskTrack) -> tuple[list[int], HandState]:
    """All frames of the hand in their order, fitted and carried, and their states."""
    fitted = hand.fit.frames.tolist()
    frames = [*fitted, *hand.states]
    order = sorted(range(len(frames)), key=frames.__getitem__)
    parts = [hand.fit.solved.state, *hand.states.values()]
    joined = (torch.cat([getattr(part, each.name) for part in parts])[order] for each in fields(HandState))
    return [frames[i] for i in order], HandState(*joined)
