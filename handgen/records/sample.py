"""The labels of a training sample: KEY.json in a shard.

The schema `sample.schema.json` and its page in docs/schemas/ are made from the fields. A new field is `optional` and
has a default, so that shards of earlier versions are still read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Float

from handgen.geometry.rigid import Rigid
from handgen.hand.skeleton import SIDES
from handgen.records.annotation import MATRIX
from handgen.storage.json_fields import Json

POSE_CONVENTION = "axis-angle, full"


@dataclass(frozen=True, kw_only=True)
class SampleParameters:
    """Parameters that give keypoints_3d when put into the model of this side."""

    model: str
    """Name of the hand model."""
    model_sha256: Annotated[str, Json({"pattern": "^[0-9a-f]{64}$"})]
    """Digest of the model's file for this side."""
    convention: Annotated[str, Json({"enum": (POSE_CONVENTION,)})] = POSE_CONVENTION
    """Full rotations: the mean pose is already added (smplx: flat_hand_mean=True, use_pca=False)."""
    pose: Annotated[Float[np.ndarray, " 48"], Json(decimals=7)]
    """Radians, axis-angle per joint in MANO's order (wrist, index, middle, pinky, ring, thumb); the first is the
    global orientation in the frame of the sample's camera."""
    betas: Float[np.ndarray, " 10"]
    """Shape coefficients of the subject."""
    translation_m: Annotated[Float[np.ndarray, " 3"], Json(decimals=7)]
    """smplx's transl in the frame of the sample's camera: added after posing about the rest wrist."""


@dataclass(frozen=True, kw_only=True)
class SampleHand:
    """A hand of the picture."""

    side: Annotated[str, Json({"enum": SIDES})]
    """Side of the hand as it is seen; mirroring already applied."""
    keypoints_2d: Annotated[Float[np.ndarray, "21 2"], Json(decimals=4)]
    """Pixels of KEY.jpg; the projection of keypoints_3d by camera.intrinsics. May lie outside the image."""
    keypoints_3d: Float[np.ndarray, "21 3"]
    """Metres, in the frame of the sample's camera. Of the fitted model."""
    visible: Bool[np.ndarray, " 21"]
    """1 where the keypoint projects into the image, where the capture shows its place (its picture and the cutout reach
    that far), and where nothing laid before the hand (an occluder, the nearer other hand) covers its pixel by half or
    more. A keypoint hidden by the hand itself, or by another object in the capture, still counts as visible."""
    hand: SampleParameters


@dataclass(frozen=True)
class SampleCamera:
    """The sample's virtual camera."""

    size_px: Annotated[tuple[int, int], Json({"minimum": 1})]
    """Width, height of KEY.jpg."""
    intrinsics: Annotated[Float[np.ndarray, "3 3"], Json(decimals=9)]
    """Takes camera coordinates to pixels of KEY.jpg; no distortion."""
    cam_from_world: Annotated[Rigid, Json(decimals=9, stored=MATRIX)]
    """From the capture's world (metres). Where mirrored is true, from that world mirrored in x: (x, y, z) of the
    capture is (-x, y, z) there."""


@dataclass(frozen=True, kw_only=True)
class SampleSource:
    """The annotation, and how good it is."""

    capture: str
    """Name of the capture."""
    frame: Annotated[int, Json({"minimum": 0})]
    """Index in the capture."""
    subject: str
    """Name of the person."""
    camera: str
    """Name of the camera in the capture."""
    reprojection_px: Annotated[float | None, Json({"minimum": 0})]
    """Median distance of the fit from the detected keypoints in this view, pixels of the capture's image."""
    mask_iou: Annotated[float | None, Json({"minimum": 0, "maximum": 1})]
    """Overlap of segmented mask and projected model."""


@dataclass(frozen=True, kw_only=True)
class SampleLabels:
    """KEY.json of one training sample: one hand in one image.

    KEY.jpg is the image (RGB), KEY.mask.png its mask (0 or 255: where at least half of the pixel's colour is the
    hand's). Metres, radians, pixels; pixel (0, 0) is the centre of the first pixel. Camera frame: x right, y down, z
    forward. Keypoints: wrist, then thumb, index, middle, ring, pinky, each from the palm to the tip.
    """

    key: Annotated[str, Json({"pattern": "^[A-Za-z0-9_-]+$"})]
    """Name of the sample's members, unique in the data set."""
    own_hand: Annotated[SampleHand, Json(inline=True)]
    box_px: Annotated[tuple[int, int, int, int], Json({"minimum": 0})]
    """Left, top, width, height of the mask."""
    other_hand: Annotated[SampleHand | None, Json(optional=True)] = None
    """The person's other hand in the same picture, in the same camera frame, as the two truly were, with the fields of
    the sample's own. Its pixels are not in KEY.mask.png. null or absent where no other hand was laid in."""
    camera: SampleCamera
    mirrored: bool
    """Whether pixels, side, pose, keypoints, camera and world were mirrored in x."""
    source: SampleSource
    background: str
    """Path below the folder of backgrounds, or synthesized."""
    index: Annotated[int, Json({"minimum": 0})]
    """Number of the sample in the data set."""
    seed: Annotated[tuple[int, int, int], Json({"minimum": 0})]
    """Data set's seed, shard, sample in the shard: seeds of all that was random here."""
