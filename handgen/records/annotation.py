"""Annotation records: one hand in one frame, and in each of its views.

The schema `annotation_record.schema.json` and its page in docs/schemas/ are made from the fields. A new field is
`optional` and has a default, so that annotations of earlier versions are still read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from jaxtyping import Float

from handgen.geometry.camera import Camera
from handgen.geometry.rigid import Rigid
from handgen.hand.skeleton import SIDES
from handgen.records.detection import MAX_FRAME
from handgen.storage.json_fields import Json, Stored

Span = tuple[int, int]  # first byte and number of bytes
_FARTHEST = 2**62  # first byte: sums of it still have 64 bits
KEYPOINTS, SILHOUETTE, INTERPOLATED = SOURCES = ("keypoints", "silhouette", "interpolated")
MATRIX = Stored(Float[np.ndarray, "4 4"], Rigid.as_matrix, Rigid.from_matrix)
_UPPER = np.triu_indices(3)  # xx, xy, xz, yy, yz, zz


@dataclass(frozen=True)
class _CutoutCamera:
    """The ideal camera of a cutout as a record has it."""

    camera: str
    """Name of the camera in the capture."""
    size_px: Annotated[tuple[int, int], Json({"minimum": 1, "maximum": 65535})]
    """Width and height of the cutout."""
    intrinsics: Annotated[Float[np.ndarray, "3 3"], Json(decimals=9)]
    """Takes camera coordinates to pixels of the cutout; no distortion; pixel (0, 0) is the centre of the first
    pixel."""
    cam_from_world: Annotated[Rigid, Json(decimals=12, stored=MATRIX)]
    """World (metres) to camera (x right, y down, z forward)."""

    @classmethod
    def of(cls, camera: Camera) -> _CutoutCamera:
        return cls(camera.name, camera.size_px, camera.intrinsics, camera.cam_from_world)

    @staticmethod
    def ideal_camera(
        camera: str, size_px: tuple[int, int], intrinsics: Float[np.ndarray, "3 3"], cam_from_world: Rigid
    ) -> Camera:
        return Camera(camera, size_px, intrinsics, cam_from_world=cam_from_world)


@dataclass(frozen=True, kw_only=True)
class ViewRecord:
    """One hand in one view."""

    camera: Annotated[
        Camera, Json(inline=True, stored=Stored(_CutoutCamera, _CutoutCamera.of, _CutoutCamera.ideal_camera))
    ]  # ideal, of the cutout, in the capture's world
    cutout: Annotated[str, Json({"pattern": "^[A-Za-z0-9_-]+$"})]
    """Key of the members KEY.jpg, KEY.mask.png and, where a forearm was found, KEY.arm.png in the chunk's tar."""
    cutout_span: Annotated[Span | None, Json({"minimum": 0, "maximum": _FARTHEST}, optional=True)] = None
    """First byte and number of bytes of the cutout's members in the chunk's tar, headers included; absent or null
    where that is not known."""
    box_px: tuple[int, int, int, int]
    """Left, top, width, height of the cutout in the undistorted full image."""
    detected_px: Annotated[Float[np.ndarray, "21 3"] | None, Json(decimals=3)]
    """x, y in the full, distorted image, and confidence; null where the detector missed the hand."""
    detected_again: Annotated[bool, Json(optional=True)] = False
    """Whether the detector found the hand in a second look, where other views say that it is."""
    reprojection_px: Annotated[float | None, Json({"minimum": 0})]
    """Median distance between fitted (with the detector's offsets) and detected keypoints, full image pixels."""
    mask_iou: Annotated[float | None, Json({"minimum": 0, "maximum": 1})]
    """Overlap of the segmented mask with the projected mesh or, if less, how well the picture's colours near the
    mesh's edge agree with it."""
    edge_blur_px: Annotated[float | None, Json({"exclusiveMinimum": 0}, decimals=3, optional=True)] = None
    """Sigma of the blur along the hand's edge (focus, motion, pixels), pixels of the cutout; null or absent where
    it is not known."""
    screen: Annotated[str | None, Json({"enum": ["green", "blue"]}, optional=True)] = None
    """The colour of the screen behind the hand; null or absent where there is none."""
    accepted: bool
    """Whether the view is good enough to be used."""
    reasons: tuple[str, ...] = ()
    """Why the view was rejected; empty if it was accepted."""


def _upper_triangles(covariance: Float[np.ndarray, "21 3 3"]) -> Float[np.ndarray, "21 6"]:
    return covariance[:, *_UPPER]


def _symmetric(upper: Float[np.ndarray, "21 6"]) -> Float[np.ndarray, "21 3 3"]:
    full = np.zeros((len(upper), 3, 3))
    full[:, *_UPPER] = upper
    return full + full.transpose(0, 2, 1) - full * np.eye(3)


@dataclass(frozen=True, kw_only=True)
class HandRecord:
    """One hand in one frame. World frame, metres, radians."""

    frame: Annotated[int, Json({"minimum": 0, "maximum": MAX_FRAME})]
    """Index of the frame in the capture."""
    side: Annotated[str, Json({"enum": SIDES})]
    """The person's own hand that it is."""
    subject: str
    """Key into the manifest's subjects, which hold the betas."""
    pose: Annotated[Float[np.ndarray, " 48"], Json(decimals=6)]
    """Axis-angle, full rotations (mean pose already added), global orientation in the world first; MANO's joint
    order."""
    translation_m: Annotated[Float[np.ndarray, " 3"], Json(decimals=6)]
    """smplx's transl: added after posing about the rest wrist."""
    keypoints_world_m: Annotated[Float[np.ndarray, "21 3"], Json(decimals=6)]
    """Keypoints of the fitted model: wrist, thumb, index, middle, ring, pinky, palm to tip."""
    covariance_mm2: Annotated[
        Float[np.ndarray, "21 3 3"] | None,
        Json(
            key="keypoints_covariance_mm2",
            decimals=3,
            optional=True,
            stored=Stored(Float[np.ndarray, "21 6"], _upper_triangles, _symmetric),
        ),
    ] = None
    """Covariance of each keypoint's position in the world, mm^2: xx, xy, xz, yy, yz, zz. One sigma holds 68 % of
    the errors along any axis. null or absent where it is not known."""
    source: Annotated[str, Json({"enum": SOURCES}, optional=True)] = KEYPOINTS
    """Evidence for the pose in this frame: detected keypoints, masks alone, or nothing but the frames before
    and after. Absent: keypoints."""
    terms: Annotated[dict[str, float], Json({"minimum": 0, "maximum": 1}, decimals=4, optional=True)] = field(
        default_factory=dict
    )
    """Share of each term in the cost of the fit, by name; they sum to 1. Empty where nothing was fitted."""
    accepted: bool
    """Whether the record is good enough to be used."""
    reasons: tuple[str, ...] = ()
    """Why the record was rejected; empty if it was accepted."""
    reprojection_px: Annotated[float | None, Json({"minimum": 0}, group="quality")] = None
    """Median over views and keypoints."""
    mask_iou: Annotated[float | None, Json({"minimum": 0, "maximum": 1}, group="quality")] = None
    """Median over the accepted views."""
    views_detected: Annotated[int, Json({"minimum": 0}, group="quality")] = 0
    """In how many views the detector saw the hand."""
    views: tuple[ViewRecord, ...] = ()
    """The cameras that show the hand."""

    @property
    def expected_error_mm(
        self,
    ) -> Annotated[float | None, Json({"minimum": 0}, group="quality", decimals=3, optional=True)]:
        """How far a keypoint is off, by the covariance: root of its trace, mean over the keypoints.

        null where the covariance is not known.
        """
        if self.covariance_mm2 is None:
            return None
        return float(np.sqrt(np.trace(self.covariance_mm2, axis1=-2, axis2=-1)).mean())
