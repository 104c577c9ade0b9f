"""One chunk of frames: fitted hands -> records and cutouts, one frame's images in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from handgen import quality
from handgen.associate import Cluster
from handgen.cameras import MIN_DEPTH_M, Camera, Rig, resampling_maps
from handgen.config import AnnotateConfig
from handgen.fit.hands import FittedHands, finite, poses_as_arrays
from handgen.hand.layout import MIDDLE_MCP, WRIST
from handgen.hand.model import HandModel
from handgen.io.annotations import Cutout, HandRecord, ViewRecord
from handgen.raster import mesh_mask
from handgen.segment import Segmented, guides_of, segment

Image = UInt8[np.ndarray, "height width 3"]

_MARGIN = 0.35  # of the hand's box, around it, so that the background's colours can be learnt and edges feathered
_MAX_CUTOUT_PX = 1024  # a larger hand is stored smaller: no network sees more
_MIN_CUTOUT_PX = 16


@dataclass(frozen=True)
class Track:
    """One hand through a chunk: frames[i] has clusters[i] and the i-th pose of `fitted`."""

    side: str
    model: HandModel
    frames: tuple[int, ...]
    clusters: tuple[Cluster, ...]
    fitted: FittedHands

    def index(self, frame: int) -> int | None:
        """Where `frame` is, if the hand was seen then."""
        return self.frames.index(frame) if frame in self.frames else None


def records_of_frame(
    frame: int,
    images: Sequence[Image | None],
    rig: Rig,
    tracks: Sequence[Track],
    subject: str,
    config: AnnotateConfig,
) -> Iterator[tuple[HandRecord, list[tuple[str, Cutout]]]]:
    """The records of one frame's hands, each with its cutouts by key."""
    present = [(track, i) for track in tracks if (i := track.index(frame)) is not None]
    for track, i in present:
        others = [(t, k) for t, k in present if t is not track]
        other = others[0][0].fitted.vertices[others[0][1]] if others else None
        yield _record(frame, images, rig, track, i, other, subject, config)


def _record(
    frame: int,
    images: Sequence[Image | None],
    rig: Rig,
    track: Track,
    i: int,
    other_vertices: Float[np.ndarray, "778 3"] | None,
    subject: str,
    config: AnnotateConfig,
) -> tuple[HandRecord, list[tuple[str, Cutout]]]:
    fitted, cluster = track.fitted, track.clusters[i]
    poses, translations = poses_as_arrays(fitted.pose)
    arrays = track.model.arrays
    excess = quality.limit_excess_rad(poses[i, 3:].reshape(15, 3), arrays.joint_axes, arrays.joint_limits_rad)
    errors: list[quality.ViewError | None] = []
    for camera, view in zip(rig, cluster.views, strict=True):
        fitted_px, _ = camera.project(fitted.observed_keypoints[i])
        errors.append(quality.view_error(fitted_px, view.detection.keypoints_px) if view else None)
    known = [error for error in errors if error is not None]
    reasons = quality.record_reasons(known, cluster.dissenting, excess, bool(finite(fitted)[i]), config)
    views, cutouts = [], []
    for v, camera in enumerate(rig):
        if images[v] is None or quality.IMPLAUSIBLE in reasons:
            continue
        found = _view(frame, images[v], camera, track, i, v, other_vertices, errors[v], config)
        if found:
            views.append(found[0])
            cutouts.append((found[0].cutout, found[1]))
    good = [view for view in views if view.accepted]
    if not good and not reasons:
        reasons = (quality.NO_GOOD_VIEW,)
    record = HandRecord(
        frame=frame,
        side=track.side,
        subject=subject,
        pose=poses[i],
        translation_m=translations[i],
        keypoints_world_m=fitted.keypoints[i],
        accepted=not reasons,
        reasons=reasons,
        reprojection_px=_rounded(np.median([e.median_px for e in known])) if known else None,
        mask_iou=_rounded(np.median([view.mask_iou for view in good])) if good else None,
        views=tuple(views),
    )
    return record, cutouts


def _rounded(value: float | np.floating) -> float:
    return round(float(value), 4)


def _view(
    frame: int,
    image: Image | None,
    camera: Camera,
    track: Track,
    i: int,
    v: int,
    other_vertices: np.ndarray | None,
    error: quality.ViewError | None,
    config: AnnotateConfig,
) -> tuple[ViewRecord, Cutout] | None:
    """The record and cutout of one view, or None where the hand is outside its image."""
    assert image is not None
    vertices = track.fitted.vertices[i]
    depths = camera.cam_from_world.apply(vertices)[:, 2]
    _, inside = camera.project(track.fitted.keypoints[i])
    if (depths <= MIN_DEPTH_M).any() or not inside.any():
        return None
    target, box = cutout_camera(camera, vertices)
    if min(target.size_px) < _MIN_CUTOUT_PX:
        return None
    crop = cut(image, camera, target, box)
    other, nearer, visible_share = None, False, 1.0
    vertices_px, _ = target.project(vertices)
    if other_vertices is not None and (camera.cam_from_world.apply(other_vertices)[:, 2] > MIN_DEPTH_M).all():
        other = mesh_mask(target.project(other_vertices)[0], track.model.faces, target.size_px)
        nearer = bool(np.median(camera.cam_from_world.apply(other_vertices)[:, 2]) < np.median(depths))
        visible_share = _visible_share(mesh_mask(vertices_px, track.model.faces, target.size_px), other, nearer)
    keypoints_px, _ = target.project(track.fitted.keypoints[i])
    wrist_px, knuckle_px = keypoints_px[WRIST], keypoints_px[MIDDLE_MCP]
    guides = guides_of(vertices_px, track.model.faces, wrist_px, knuckle_px, target.size_px, other, nearer)
    extent = float(np.linalg.norm(np.ptp(keypoints_px, axis=0)))
    segmented: Segmented = segment(crop, guides, extent, config.background)
    detection = track.clusters[i].views[v]
    reasons = quality.view_reasons(inside, error, segmented.iou, visible_share, config)
    record = ViewRecord(
        camera=target,
        cutout=f"{frame:08d}_{track.side}_{v:02d}",
        box_px=box,
        detected_px=None
        if detection is None
        else np.column_stack([detection.detection.keypoints_px, detection.detection.confidence]),
        reprojection_px=None if error is None else _rounded(error.median_px),
        mask_iou=_rounded(segmented.iou),
        accepted=not reasons,
        reasons=reasons,
    )
    return record, Cutout(crop, segmented.mask)


def _visible_share(hand: np.ndarray, other: np.ndarray, other_is_nearer: bool) -> float:
    if not other_is_nearer:
        return 1.0
    hidden = cv2.countNonZero(cv2.bitwise_and(hand, other))
    return 1.0 - hidden / max(cv2.countNonZero(hand), 1)


def cutout_camera(camera: Camera, vertices: Float[np.ndarray, "n 3"]) -> tuple[Camera, tuple[int, int, int, int]]:
    """The ideal camera of the crop around a hand, and its box (left, top, width, height) in the ideal image.

    It may reach outside the image. A fisheye's picture is too wide for one ideal image, so its crop gets a camera of
    its own that looks at the hand.
    """
    ideal = camera.ideal() if camera.lens == "pinhole" else _looking_at(camera, vertices.mean(0))
    pixels, _ = ideal.project(vertices)
    low, high = pixels.min(0), pixels.max(0)
    margin = _MARGIN * (high - low).max()
    left, top = (int(x) for x in np.floor(low - margin))
    width, height = (int(x) for x in np.ceil(high + margin) - (left, top))
    target = ideal.cropped(left, top, width, height)
    if max(width, height) > _MAX_CUTOUT_PX:
        scale = _MAX_CUTOUT_PX / max(width, height)
        target = target.resized((max(1, round(width * scale)), max(1, round(height * scale))))
    return target, (left, top, width, height)


def _looking_at(camera: Camera, point_world: np.ndarray) -> Camera:
    """An ideal camera at the same place, turned so that its axis goes through a point."""
    from dataclasses import replace

    from handgen.rigid import Rigid

    forward = camera.cam_from_world.apply(point_world)
    forward = forward / np.linalg.norm(forward)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    turned_from_cam = Rigid(np.stack([right, np.cross(forward, right), forward]), np.zeros(3))
    return replace(camera.ideal(), cam_from_world=turned_from_cam @ camera.cam_from_world)


def cut(image: Image, camera: Camera, target: Camera, box: tuple[int, int, int, int]) -> Image:
    """The pixels that `target` sees: a plain copy without distortion, else resampled; black outside the image."""
    left, top, width, height = box
    if camera.is_ideal and target.size_px == (width, height):
        crop = np.zeros((height, width, 3), np.uint8)
        rows = slice(max(top, 0), min(top + height, image.shape[0]))
        columns = slice(max(left, 0), min(left + width, image.shape[1]))
        if rows.start < rows.stop and columns.start < columns.stop:
            crop[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = image[rows, columns]
        return crop
    map_x, map_y = resampling_maps(target, camera)
    return cv2.remap(image, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT)
