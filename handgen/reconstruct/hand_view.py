"""One hand in one picture: where it is cut out, what the fit knows of the cutout, and its mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from handgen.geometry.camera import MIN_DEPTH_M, Camera
from handgen.geometry.raster import mesh_mask
from handgen.hand.model import HandModel
from handgen.hand.skeleton import MCP_KEYPOINTS
from handgen.multiview.association import keypoint_extent
from handgen.segmentation.crops import Cutter
from handgen.segmentation.segment import REACH_SHARE, MeshGuides, OtherHand, Segmented, forearm_mask, guides_of, segment

Image = UInt8[np.ndarray, "height width 3"]

_MIN_CUTOUT_PX = 16


@dataclass(frozen=True)
class HandCutOut:
    """cutter, crop: of the cutout. keypoints_px: in it. inside: which keypoints the picture shows."""

    cutter: Cutter
    crop: Image
    keypoints_px: Float[np.ndarray, "21 2"]
    inside: Bool[np.ndarray, " 21"]
    guides: MeshGuides

    @property
    def camera(self) -> Camera:
        """The ideal camera of the cutout."""
        return self.cutter.camera

    @property
    def extent_px(self) -> float:
        """The hand's size in the cutout."""
        return keypoint_extent(self.keypoints_px)


@dataclass(frozen=True)
class HandInView(HandCutOut):
    """With its mask."""

    segmented: Segmented


def hand_in_view(
    image: Image,
    camera: Camera,
    model: HandModel,
    vertices: Float[np.ndarray, "778 3"],
    keypoints: Float[np.ndarray, "21 3"],
    other_vertices: Float[np.ndarray, "778 3"] | None,
    background: str,
    reach_share: float = REACH_SHARE,
    with_arm: bool = True,
) -> HandInView | None:
    """Cut a fitted hand out of a picture and segment it; None where the hand is outside it, or too small.

    background, reach_share, with_arm: as in `handgen.segmentation.segment.segment`; the others as in `cut_out`.
    """
    found = cut_out(image, camera, model, vertices, keypoints, other_vertices)
    if found is None:
        return None
    segmented = segment(found.crop, found.guides, found.extent_px, background, reach_share, with_arm)
    return HandInView(found.cutter, found.crop, found.keypoints_px, found.inside, found.guides, segmented)


def cut_out(
    image: Image,
    camera: Camera,
    model: HandModel,
    vertices: Float[np.ndarray, "778 3"],
    keypoints: Float[np.ndarray, "21 3"],
    other_vertices: Float[np.ndarray, "778 3"] | None,
) -> HandCutOut | None:
    """Cut a fitted hand out of a picture; None where the hand is outside it, or too small.

    vertices, keypoints: of the hand's model in the world, metres. other_vertices: of the other hand, if there is one;
    both hands' meshes have the same faces.
    """
    depths = camera.cam_from_world.apply(vertices)[:, 2]
    _, inside = camera.project(keypoints)
    if (depths <= MIN_DEPTH_M).any() or not inside.any():
        return None
    cutter = Cutter(camera, vertices)
    target = cutter.camera
    if min(target.size_px) < _MIN_CUTOUT_PX:
        return None
    other = None
    if other_vertices is not None:
        other_depths = camera.cam_from_world.apply(other_vertices)[:, 2]
        if (other_depths > MIN_DEPTH_M).all():
            mask = mesh_mask(target.project(other_vertices)[0], model.faces, target.size_px)
            other = OtherHand(mask, bool(np.median(other_depths) < np.median(depths)))
    keypoints_px, _ = target.project(keypoints)
    hand = mesh_mask(target.project(vertices)[0], model.faces, target.size_px)
    palm = keypoints[list(MCP_KEYPOINTS)].mean(0)
    forearm = forearm_mask(target, vertices[model.wrist_border], palm)
    guides = guides_of(hand, forearm, cutter.picture, other)
    return HandCutOut(cutter, cutter.cut(image), keypoints_px, inside, guides)
