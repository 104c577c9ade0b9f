"""Hands of a moment and its pictures -> records and cutouts, as `annotate` makes them.

Masks are the data set's where it has them, else made of the pixels as `annotate` makes them, guided by the mesh. Of a
mask of the data set, what goes on from the wrist along the forearm becomes the arm's, and what the mesh does not bear
out makes its overlap smaller: too small, and the view is rejected.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from handgen.datasets.reader import Moment, in_front
from handgen.errors import HandgenError
from handgen.geometry.camera import Camera
from handgen.hand.model_files import MOST_BETA
from handgen.io.cutouts import Cutout
from handgen.media import images
from handgen.media.arrays import Image, Mask
from handgen.reconstruct import quality
from handgen.reconstruct.hand_view import HandCutOut, PosedMesh, cut_out
from handgen.reconstruct.record_builder import add_views, build_view, rounded
from handgen.reconstruct.settings import QualityLimits
from handgen.records.annotation import HandRecord, ViewRecord
from handgen.records.labelled_image import LabelledImage
from handgen.segmentation.crops import MASK_THRESHOLD
from handgen.segmentation.segment import Segmented, iou, screen_around
from handgen.stages.import_.posing import PosedHand, model_of

IMPLAUSIBLE_SHAPE = "implausible shape"  # `validate` calls it a fault, and HaMeR drops the pose of such a hand
_NAME_LENGTH = 72

_BACKGROUND = "auto"  # as the pixels around the hand say


@dataclass(frozen=True)
class Picture:
    """A decoded picture of a moment. name: its camera's, in the manifest. mask: of the whole picture, 0 and 255."""

    labelled: LabelledImage
    camera: Camera
    image: Image
    mask: Mask | None


def decoded(image: LabelledImage, camera: Camera, root: str) -> Picture:
    """A picture whose bytes are there. Raises HandgenError where it or its mask is damaged or of another size."""
    assert image.image is not None
    where = f"{root}/{image.name}"
    pixels = images.decode_rgb(image.image, where)
    mask = None if image.mask is None else images.decode_grey(image.mask, f"the mask of {where}")
    for what, found in (("", pixels), ("the mask of ", mask)):
        if found is not None and found.shape[1::-1] != image.size_px:
            raise HandgenError(
                f"{what}{where}: is {found.shape[1]}x{found.shape[0]} px, but should be "
                f"{image.size_px[0]}x{image.size_px[1]}; unpack the data set again"
            )
    if mask is not None:
        mask = cv2.threshold(mask, MASK_THRESHOLD, 255, cv2.THRESH_BINARY)[1]
    return Picture(image, camera, pixels, mask)


def records_of_moment(
    frame: int,
    moment: Moment,
    hands: Sequence[PosedHand],
    cameras: Sequence[Camera | None],
    hand_model: str,
    fitted: bool,
    limits: QualityLimits,
    root: str,
) -> Iterator[tuple[HandRecord, list[tuple[str, Cutout]]]]:
    """The records of one moment, each with its cutouts by key. cameras: None where there is no picture."""
    pictures = [
        None if camera is None else decoded(image, camera, root)
        for image, camera in zip(moment.images, cameras, strict=True)
    ]
    meshes = [PosedMesh(model_of(hand_model, hand.side), hand.vertices_m, hand.keypoints_m) for hand in hands]
    for hand, mesh in zip(hands, meshes, strict=True):
        other = next((other for other in meshes if other is not mesh), None)
        reasons = _reasons(hand, hand_model, fitted)
        views, cutouts = [], []
        for number, picture in enumerate(pictures):
            place = f"{frame:08d}_{number:03d}"
            if picture is not None and (found := _view(place, picture, hand.side, mesh, other, limits)):
                views.append(found[0])
                cutouts.append((found[0].cutout, found[1]))
        errors = [view.reprojection_px for view in views if view.accepted and view.reprojection_px is not None]
        record = HandRecord(
            frame=frame,
            side=hand.side,
            subject=hand.subject,
            pose=hand.pose,
            translation_m=hand.translation_m,
            keypoints_world_m=hand.keypoints_m,
            accepted=not reasons,
            reasons=reasons,
            reprojection_px=rounded(np.median(errors)) if errors else None,
            views_detected=len(views),
        )
        yield add_views(record, views, _why_no_view(pictures, views)), cutouts


def _why_no_view(pictures: Sequence[Picture | None], views: Sequence[ViewRecord]) -> str:
    if views:
        return quality.NO_GOOD_VIEW
    return quality.NOT_IN_PICTURE if any(picture is not None for picture in pictures) else quality.NO_PICTURE


def _reasons(hand: PosedHand, hand_model: str, fitted: bool) -> tuple[str, ...]:
    """A data set's own parameters are its word, but for shapes of no people; of a fit the pose must be possible too."""
    shape = (IMPLAUSIBLE_SHAPE,) if np.abs(hand.betas).max() > MOST_BETA else ()
    if not fitted:
        return shape
    arrays = model_of(hand_model, hand.side).arrays
    excess = quality.limit_excess_rad(hand.pose[3:].reshape(15, 3), arrays.joint_axes, arrays.joint_limits_rad)
    return (*quality.record_reasons(None, 0, excess, 0.0, QualityLimits()), *shape)


def _view(
    place: str, picture: Picture, side: str, hand: PosedMesh, other: PosedMesh | None, limits: QualityLimits
) -> tuple[ViewRecord, Cutout] | None:
    """The view of a hand; None where it is outside the picture, or the data set does not know it there."""
    labelled = next((there for there in picture.labelled.hands if there.side == side), None)
    if labelled is None or not (known := in_front(labelled)).any():
        return None
    found = cut_out(picture.image, picture.camera, hand, other)
    if found is None:
        return None
    segmented = found.segment(_BACKGROUND) if picture.mask is None else _with_mask(found, picture.mask)
    projected, _ = picture.camera.project(hand.keypoints)
    error = quality.view_error(projected, labelled.keypoints_px, known)
    reasons = quality.view_reasons(found.inside, error, segmented.iou, found.guides.visible_share, limits)
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", picture.labelled.name.rpartition(".")[0])[-_NAME_LENGTH:]
    return build_view(f"{place}_{name}_{side}", found, segmented, reasons, error)


def _with_mask(found: HandCutOut, mask: Mask) -> Segmented:
    guides = found.guides
    cut = found.cutter.cut_mask(mask)
    hand = cv2.bitwise_and(cut, cv2.bitwise_not(guides.unknown))
    beyond = cv2.bitwise_and(guides.forearm, cv2.bitwise_not(cv2.bitwise_or(guides.hand, guides.other)))
    arm = cv2.bitwise_and(cut, beyond)
    return Segmented(hand, iou(hand, guides.visible), screen_around(found.crop, guides, found.extent_px), arm)
