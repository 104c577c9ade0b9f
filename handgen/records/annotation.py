"""Annotation records: one hand in one frame, and in each of its views."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from handgen.geometry.camera import Camera
from handgen.geometry.rigid import Rigid

Span = tuple[int, int]  # first byte and number of bytes
KEYPOINTS, SILHOUETTE, INTERPOLATED = SOURCES = ("keypoints", "silhouette", "interpolated")
_UPPER = np.triu_indices(3)  # xx, xy, xz, yy, yz, zz


@dataclass(frozen=True)
class ViewRecord:
    """One hand in one view.

    camera: the ideal camera of the cutout, in the capture's world. box_px: left, top, width, height of the cutout in
    the ideal full image. detected_px: (21, 3) x, y in the full, distorted image and confidence, or None where the
    detector missed the hand. detected_again: whether it took a second look. reprojection_px: median distance of the fit
    from the detection, full image pixels. edge_blur_px: how blurred the hand's edge is in the cutout
    (`handgen.segmentation.edge_blur`), None where that could not be measured. screen: "green" or "blue" where that is
    behind the hand. cutout_span: first byte and number of bytes of the cutout in the chunk's tar; None where that is
    not known.
    """

    camera: Camera
    cutout: str
    box_px: tuple[int, int, int, int]
    detected_px: Float[np.ndarray, "21 3"] | None
    reprojection_px: float | None
    mask_iou: float | None
    accepted: bool
    reasons: tuple[str, ...] = ()
    detected_again: bool = False
    edge_blur_px: float | None = None
    screen: str | None = None
    cutout_span: Span | None = None

    def to_json(self) -> dict[str, Any]:
        """As in `annotation_record.schema.json`."""
        return {
            "camera": self.camera.name,
            "cutout": self.cutout,
            "cutout_span": None if self.cutout_span is None else list(self.cutout_span),
            "box_px": list(self.box_px),
            "size_px": list(self.camera.size_px),
            "intrinsics": np.round(self.camera.intrinsics, 9).tolist(),
            "cam_from_world": np.round(self.camera.cam_from_world.as_matrix(), 12).tolist(),
            "detected_px": None if self.detected_px is None else np.round(self.detected_px, 3).tolist(),
            "detected_again": self.detected_again,
            "reprojection_px": self.reprojection_px,
            "mask_iou": self.mask_iou,
            "edge_blur_px": None if self.edge_blur_px is None else round(self.edge_blur_px, 3),
            "screen": self.screen,
            "accepted": self.accepted,
            "reasons": list(self.reasons),
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> ViewRecord:
        """Of a validated document."""
        camera = Camera(
            name=document["camera"],
            size_px=(document["size_px"][0], document["size_px"][1]),
            intrinsics=np.array(document["intrinsics"], dtype=float),
            cam_from_world=Rigid.from_matrix(np.array(document["cam_from_world"], dtype=float)),
        )
        detected = document["detected_px"]
        left, top, width, height = document["box_px"]
        span = document.get("cutout_span")
        return cls(
            camera=camera,
            cutout=document["cutout"],
            box_px=(left, top, width, height),
            detected_px=None if detected is None else np.array(detected, dtype=float),
            reprojection_px=document["reprojection_px"],
            mask_iou=document["mask_iou"],
            accepted=document["accepted"],
            reasons=tuple(document["reasons"]),
            detected_again=document.get("detected_again", False),
            edge_blur_px=document.get("edge_blur_px"),
            screen=document.get("screen"),
            cutout_span=None if span is None else (span[0], span[1]),
        )


@dataclass(frozen=True)
class HandRecord:
    """One hand in one frame. Pose and translation as in `handgen.hand.model`, world frame, metres and radians.

    covariance_mm2: of each keypoint in the world, mm^2; None where it is not known. source: what the pose is known by,
    one of `SOURCES`. terms: share of each term in the cost of the fit.
    """

    frame: int
    side: str
    subject: str
    pose: Float[np.ndarray, " 48"]
    translation_m: Float[np.ndarray, " 3"]
    keypoints_world_m: Float[np.ndarray, "21 3"]
    accepted: bool
    reasons: tuple[str, ...] = ()
    reprojection_px: float | None = None
    mask_iou: float | None = None
    views_detected: int = 0  # in how many views the detector saw the hand
    views: tuple[ViewRecord, ...] = field(default=())
    covariance_mm2: Float[np.ndarray, "21 3 3"] | None = None
    source: str = KEYPOINTS
    terms: dict[str, float] = field(default_factory=dict)

    @property
    def expected_error_mm(self) -> float | None:
        """How far a keypoint is off, by the covariance: root of its trace, mean over the keypoints."""
        if self.covariance_mm2 is None:
            return None
        return float(np.sqrt(np.trace(self.covariance_mm2, axis1=-2, axis2=-1)).mean())

    def to_json(self) -> dict[str, Any]:
        """As in `annotation_record.schema.json`."""
        return {
            "frame": self.frame,
            "side": self.side,
            "subject": self.subject,
            "pose": np.round(self.pose, 6).tolist(),
            "translation_m": np.round(self.translation_m, 6).tolist(),
            "keypoints_world_m": np.round(self.keypoints_world_m, 6).tolist(),
            "keypoints_covariance_mm2": None
            if self.covariance_mm2 is None
            else np.round(self.covariance_mm2[:, *_UPPER], 3).tolist(),
            "source": self.source,
            "terms": {name: round(share, 4) for name, share in self.terms.items()},
            "accepted": self.accepted,
            "reasons": list(self.reasons),
            "quality": {
                "expected_error_mm": None if (error := self.expected_error_mm) is None else round(error, 3),
                "reprojection_px": self.reprojection_px,
                "mask_iou": self.mask_iou,
                "views_detected": self.views_detected,
            },
            "views": [view.to_json() for view in self.views],
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> HandRecord:
        """Of a validated document."""
        return cls(
            frame=document["frame"],
            side=document["side"],
            subject=document["subject"],
            pose=np.array(document["pose"], dtype=float),
            translation_m=np.array(document["translation_m"], dtype=float),
            keypoints_world_m=np.array(document["keypoints_world_m"], dtype=float),
            accepted=document["accepted"],
            reasons=tuple(document["reasons"]),
            covariance_mm2=_symmetric(document.get("keypoints_covariance_mm2")),
            source=document.get("source", KEYPOINTS),
            terms=document.get("terms", {}),
            reprojection_px=document["quality"]["reprojection_px"],
            mask_iou=document["quality"]["mask_iou"],
            views_detected=document["quality"]["views_detected"],
            views=tuple(ViewRecord.from_json(view) for view in document["views"]),
        )


def _symmetric(upper: list[list[float]] | None) -> Float[np.ndarray, "21 3 3"] | None:
    if upper is None:
        return None
    full = np.zeros((len(upper), 3, 3))
    full[:, *_UPPER] = upper
    return full + full.transpose(0, 2, 1) - full * np.eye(3)
