"""Cut one hand out of one picture, with what its mesh says of the cutout's pixels.

Annotating, importing, simulating and fitting masks all cut hands out here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, UInt8

from handgen.geometry.camera import MIN_DEPTH_M, Camera
from handgen.geometry.meshes import mesh_mask
from handgen.hand.model import HandModel
from handgen.hand.skeleton import MCP_KEYPOINTS
from handgen.media.arrays import Image, Mask
from handgen.multiview.association import keypoint_extent
from handgen.segmentation.crops import Cutter
from handgen.segmentation.segment import REACH_SHARE, MeshGuides, OtherHand, Segmented, forearm_mask, guides_of, segment

MIN_CUTOUT_PX = 16  # on the shorter side: less shows no hand that a fit could be judged by


@dataclass(frozen=True)
class PosedMesh:
    """A hand of one frame in the world, metres."""

    model: HandModel
    vertices: Float[np.ndarray, "778 3"]
    keypoints: Float[np.ndarray, "21 3"]


@dataclass(frozen=True)
class HandCutOut:
    """A hand in the part of a picture around it.

    crop: the cutout's pixels. hand, other: both hands of the frame; other: None where there is one alone. keypoints_px:
    in the cutout. inside: which keypoints the whole picture shows.
    """

    cutter: Cutter
    crop: Image
    hand: PosedMesh
    other: PosedMesh | None
    keypoints_px: Float[np.ndarray, "21 2"]
    inside: Bool[np.ndarray, " 21"]

    @property
    def camera(self) -> Camera:
        """The ideal camera of the cutout."""
        return self.cutter.camera

    @property
    def extent_px(self) -> float:
        """The hand's size in the cutout."""
        return keypoint_extent(self.keypoints_px)

    @cached_property
    def mesh(self) -> Mask:
        """The hand's mesh in the cutout, 255 on it."""
        return self._mask_of(self.hand)

    @cached_property
    def guides(self) -> MeshGuides:
        """The meshes and the forearm in the cutout, which guide segmentation."""
        other = None
        if self.other is not None:
            depths = _depths(self.cutter.source, self.other)
            if (depths > MIN_DEPTH_M).all():
                is_nearer = bool(np.median(depths) < np.median(_depths(self.cutter.source, self.hand)))
                other = OtherHand(self._mask_of(self.other), is_nearer)
        palm = self.hand.keypoints[list(MCP_KEYPOINTS)].mean(0)
        forearm = forearm_mask(self.camera, self.hand.vertices[self.hand.model.wrist_border], palm)
        return guides_of(self.mesh, forearm, self.cutter.picture, other)

    def segment(self, background: str, reach_share: float = REACH_SHARE, with_arm: bool = True) -> Segmented:
        """Segment the hand by the picture's colours, as `handgen.segmentation.segment.segment` does."""
        return segment(self.crop, self.guides, self.extent_px, background, reach_share, with_arm)

    def _mask_of(self, hand: PosedMesh) -> Mask:
        return mesh_mask(self.camera.project(hand.vertices)[0], hand.model.faces, self.camera.size_px)


def cut_out(
    image: UInt8[np.ndarray, "height width 3"],
    camera: Camera,
    hand: PosedMesh,
    other: PosedMesh | None = None,
    min_side_px: int = MIN_CUTOUT_PX,
) -> HandCutOut | None:
    """Cut a hand out of a picture; None where the hand is outside it, or too small."""
    _, inside = camera.project(hand.keypoints)
    if (_depths(camera, hand) <= MIN_DEPTH_M).any() or not inside.any():
        return None
    cutter = Cutter(camera, hand.vertices)
    if min(cutter.camera.size_px) < min_side_px:
        return None
    keypoints_px, _ = cutter.camera.project(hand.keypoints)
    return HandCutOut(cutter, cutter.cut(image), hand, other, keypoints_px, inside)


def _depths(camera: Camera, hand: PosedMesh) -> Float[np.ndarray, " 778"]:
    return camera.cam_from_world.apply(hand.vertices)[:, 2]
