"""The labels of a sample: keypoints and model parameters in the frame of its virtual camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from handgen.geometry.rigid import Rigid
from handgen.hand.conversions import moved_hand
from handgen.hand.model_files import HandArrays
from handgen.hand.skeleton import JOINT_COUNT, MIRROR_X, MIRROR_X_ROTATION, other_side
from handgen.media.arrays import Mask
from handgen.records.sample import SampleHand, SampleParameters, SampleSource
from handgen.stages.synthesize.views import SourceView
from handgen.stages.synthesize.virtual_camera import VirtualView

_FLIP_POSE = np.tile(MIRROR_X_ROTATION, JOINT_COUNT)
_FLIP_POINT = np.array(MIRROR_X)


@dataclass(frozen=True)
class RestWrist:
    """The rest place of a model's wrist, which its poses turn about: `at + by_beta @ betas`, metres."""

    at: Float[np.ndarray, " 3"]
    by_beta: Float[np.ndarray, "3 10"]

    @classmethod
    def of(cls, arrays: HandArrays) -> RestWrist:
        """Read it off one side of a model."""
        row = arrays.joint_regressor[0]
        return cls(row @ arrays.template, np.einsum("v,vcb->cb", row, arrays.shapedirs))

    def __call__(self, betas: Float[np.ndarray, " 10"]) -> Float[np.ndarray, " 3"]:
        """Return the wrist's place for one shape."""
        return self.at + self.by_beta @ betas


def hand_in_camera(
    source: SourceView, rest_wrist: RestWrist, view: VirtualView
) -> tuple[Float[np.ndarray, " 48"], Float[np.ndarray, " 3"]]:
    """Pose and translation in the frame of the sample's camera; of the other side where the view is mirrored."""
    there, wrist = view.camera.cam_from_world, rest_wrist(source.betas)
    if not view.mirrored:
        return moved_hand(source.pose, source.translation_m, wrist, there)
    # back to the unmirrored frame, in which the annotation's hand lives; mirrored below
    unmirrored = Rigid(there.rotation * np.outer(_FLIP_POINT, _FLIP_POINT), there.translation * _FLIP_POINT)
    pose, moved = moved_hand(source.pose, source.translation_m, wrist, unmirrored)
    return pose * _FLIP_POSE, moved * _FLIP_POINT


@dataclass(frozen=True)
class Labeller:
    """Writes the labels of samples of one run. capture, model: names. model_sha256, rest_wrists: by side."""

    capture: str
    model: str
    model_sha256: dict[str, str]
    rest_wrists: dict[str, RestWrist]

    def hand(self, source: SourceView, view: VirtualView, covered: Mask | None) -> SampleHand:
        """Describe one hand.

        covered: how much of each pixel of the sample (0 to 255) belongs to things in front of this hand, if there are.
        2D keypoints are projected from the 3D keypoints as they are written, rounded.
        """
        side = other_side(source.side) if view.mirrored else source.side
        pose, translation = hand_in_camera(source, self.rest_wrists[source.side], view)
        sha256 = self.model_sha256[side]
        points = np.round(view.points_cam(source.keypoints_world_m), 7)
        pixels = (points @ view.camera.intrinsics.T)[:, :2] / points[:, 2:]  # all are in front, or it had no place
        visible = source.shown & view.camera.contains(pixels)
        if covered is not None:
            columns, rows = np.round(pixels[visible]).astype(int).T
            visible[visible] = covered[rows, columns] < 128
        return SampleHand(
            side=side,
            keypoints_2d=pixels,
            keypoints_3d=points,
            visible=visible,
            hand=SampleParameters(
                model=self.model, model_sha256=sha256, pose=pose, betas=source.betas, translation_m=translation
            ),
        )

    def source(self, source: SourceView) -> SampleSource:
        """Describe where a hand comes from, and how good its annotation is."""
        return SampleSource(
            capture=self.capture,
            frame=source.frame,
            subject=source.subject,
            camera=source.camera.name,
            reprojection_px=source.reprojection_px,
            mask_iou=source.mask_iou,
        )
