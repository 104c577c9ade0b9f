"""Refine fitted hands with masks: the fit so far guides the segmentation, and masks join keypoints in the solve.

What keypoints leave open is what a silhouette sees: how far fingertips reach, and fingers that no detector finds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from handgen.fit.pose_fit import Fit
from handgen.fit.silhouette.mask_edges import MaskView
from handgen.fit.silhouette.term import POSE_CONTOUR_POINTS, SIDE_PX, SilhouetteTerm
from handgen.fit.solver import weighted
from handgen.geometry.camera import Rig
from handgen.media.arrays import Image, Mask
from handgen.reconstruct.hand_view import HandCutOut, PosedMesh, cut_out
from handgen.segmentation.segment import REACH_SHARE

_SIGMA_SHARE = 0.01  # of the hand's extent: noise of a segmented edge
_MIN_SIGMA_PX = 0.7
_MIN_IOU = 0.6  # of mask and projected mesh: a worse mask is of something else
_CONTRAST_WINDOW_SHARE = 0.02  # of the hand's extent: how far on either side of an edge colours are looked at
_MIN_CONTRAST = 12.0  # grey levels, in the channel that changes most
_ROUNDS = 3  # of contours chosen anew; each is solved until it settles
_STEPS = 3


def masks_of_frame(
    index: int,
    images: Sequence[Image | None],
    rig: Rig,
    hand: PosedMesh,
    other: PosedMesh | None,
    background: str,
    reach_share: float = REACH_SHARE,
    min_iou: float = _MIN_IOU,
) -> list[MaskView]:
    """The masks of one hand in the pictures of frame `index` of a batch, without those of less IoU with the mesh."""
    views = []
    for camera, image in zip(rig, images, strict=True):
        if image is None:
            continue
        cutout = cut_out(image, camera, hand, other)
        if cutout is None:
            continue
        segmented = cutout.segment(background, reach_share, with_arm=False)
        if segmented.iou >= min_iou:
            views.append(mask_view(index, cutout, segmented.mask))
    return views


def mask_view(index: int, cutout: HandCutOut, mask: Mask) -> MaskView:
    """Mark where a mask says nothing: at forearm, other hand, border, and edges where the picture does not change."""
    guides = cutout.guides
    continues = cv2.bitwise_and(guides.skin, cv2.bitwise_not(guides.hand))
    silent = cv2.bitwise_or(cv2.bitwise_or(continues, guides.hidden), cv2.bitwise_not(guides.picture))
    silent = cv2.bitwise_or(silent, without_contrast(cutout.crop, mask, cutout.extent_px))
    sigma = max(_MIN_SIGMA_PX, _SIGMA_SHARE * cutout.extent_px)
    return MaskView(index, cutout.camera, mask, silent, sigma).shrunk(SIDE_PX)


def without_contrast(image: Image, mask: Mask, extent_px: float) -> Mask:
    """255 around those parts of a mask's edge on whose two sides the picture looks alike. extent_px: of the hand."""
    side = 2 * max(1, round(_CONTRAST_WINDOW_SHARE * extent_px)) + 1
    inside = mask.astype(np.float32) / 255
    share = cv2.blur(inside, (side, side))
    pixels = image.astype(np.float32)
    within = cv2.blur(pixels * inside[..., None], (side, side)) / np.maximum(share, 1e-3)[..., None]
    beyond = cv2.blur(pixels * (1 - inside)[..., None], (side, side)) / np.maximum(1 - share, 1e-3)[..., None]
    edge = (share > 0.2) & (share < 0.8)
    alike = np.abs(within - beyond).max(-1) < _MIN_CONTRAST
    return np.where(edge & alike, np.uint8(255), np.uint8(0))


def edge_support(view: MaskView) -> float:
    """Measure the share of a mask's edge that says something, 0 to 1; 0 without an edge."""
    edge = cv2.morphologyEx(view.mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    if not edge.any():
        return 0.0
    return 1.0 if view.unknown is None else float((view.unknown[edge] == 0).mean())


def masks_of_frames(
    fits: Sequence[Fit], frames: Iterable[int], pictures: Iterable[Sequence[Image | None]], rig: Rig, background: str
) -> list[list[MaskView]]:
    """The masks of each hand; their frames are indices into its fit. pictures: of `frames`, read one at a time."""
    posed = [fit.hands() for fit in fits]
    place = [{int(frame): i for i, frame in enumerate(fit.frames.tolist())} for fit in fits]
    views: list[list[MaskView]] = [[] for _ in fits]
    for frame, images in zip(frames, pictures, strict=True):
        meshes = [
            PosedMesh(fit.problem.kinematics.model, hands.vertices[i], hands.keypoints[i])
            if (i := at.get(frame)) is not None
            else None
            for fit, hands, at in zip(fits, posed, place, strict=True)
        ]
        for k, mesh in enumerate(meshes):
            if mesh is not None:
                other = meshes[1 - k] if len(meshes) == 2 else None
                views[k] += masks_of_frame(place[k][frame], images, rig, mesh, other, background)
    return views


def with_masks(fit: Fit, views: Sequence[MaskView], weight: float = 1.0) -> Fit:
    """Solve a fit again with masks; their contours are chosen anew in between."""
    if not views:
        return fit
    term = SilhouetteTerm(fit.problem.kinematics.model, views, len(fit.frames), independent=POSE_CONTOUR_POINTS)
    for _ in range(_ROUNDS):
        fit = fit.with_terms({"silhouette": weighted(term.refreshed(fit.solved.state), weight)}, steps=_STEPS)
    return fit
