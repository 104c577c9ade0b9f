"""MediaPipe's landmark network gives the 21 keypoints of the hand in a rotated square region of an image.

Regions follow MediaPipe's graphs in `modules/hand_landmark`: `palm_detection_detection_to_roi.pbtxt` for a region from
a palm, `hand_landmark_landmarks_to_roi.pbtxt` and `calculators/hand_landmarks_to_rect_calculator.cc` for one from the
landmarks of the frame before. The network's keypoints are in handgen's order already.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from handgen.detect.mediapipe import palm
from handgen.detect.mediapipe.litert import Network
from handgen.detect.mediapipe.networks import LANDMARKS, locate
from handgen.hand.skeleton import KEYPOINT_COUNT, WRIST
from handgen.media.arrays import Image

INPUT_PX = LANDMARKS.input_shape[1]
_MIRROR_SUM_PX = 223.4  # over 259 real hands a keypoint in a crop and in its mirror image sum to this in x
_PALM_SCALE, _PALM_SHIFT = 2.6, -0.5  # palm_detection_detection_to_roi.pbtxt: scale_x, scale_y; shift_y
_HAND_SCALE, _HAND_SHIFT = 2.0, -0.1  # hand_landmark_landmarks_to_roi.pbtxt: the same
# hand_landmark_tracking_cpu.pbtxt hands these keypoints to the next frame's region: all but the finger ends.
_STEADY_KEYPOINTS = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)
_INDEX_MCP, _MIDDLE_MCP, _RING_MCP = 5, 9, 13
_MIN_SIDE_PX = 2.0  # smaller regions hold nothing


@dataclass(frozen=True)
class Region:
    """A square of an image, turned so that a hand in it points up.

    center_px: (2,), pixels of the image. side_px: its width and height. angle_rad: how far the square's "up"
    is turned from the image's, clockwise as seen.
    """

    center_px: Float[np.ndarray, " 2"]
    side_px: float
    angle_rad: float

    def __post_init__(self) -> None:
        values = np.array([*self.center_px, self.side_px, self.angle_rad])
        if values.shape != (4,) or not np.isfinite(values).all() or self.side_px <= 0:
            raise ValueError(f"Region: expected a finite centre, side > 0 and angle, got {values.tolist()}")

    def image_from_crop(self, crop_px: int = INPUT_PX) -> Float[np.ndarray, "2 3"]:
        """Return the affine map from pixels of the crop, `crop_px` wide, to pixels of the image, both centred at 0."""
        scale = self.side_px / crop_px
        rotation = scale * _rotation(self.angle_rad)
        middle = np.full(2, (crop_px - 1) / 2)
        return np.concatenate([rotation, (self.center_px - rotation @ middle)[:, None]], 1)

    def crop(self, image: Image, crop_px: int = INPUT_PX, outside: int = 0) -> np.ndarray:
        """Cut the region out, `crop_px` by `crop_px` pixels, upright (uint8); outside: grey level beyond the image."""
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        size_px = (crop_px, crop_px)
        return cv2.warpAffine(image, self.image_from_crop(crop_px), size_px, flags=flags, borderValue=(outside,) * 3)

    def to_image(self, points: Float[np.ndarray, "*batch 2"], crop_px: int = INPUT_PX) -> Float[np.ndarray, "*batch 2"]:
        """Convert pixels of the crop to pixels of the image."""
        affine = self.image_from_crop(crop_px)
        return points @ affine[:, :2].T + affine[:, 2]


@dataclass(frozen=True)
class Landmarks:
    """The network's answer about one region: image pixels; probabilities of a hand, and of a right one."""

    keypoints_px: Float[np.ndarray, "21 2"]
    presence: float
    right: float


def region_from_palm(box_px: Float[np.ndarray, " 4"], keypoints_px: Float[np.ndarray, "7 2"]) -> Region:
    """Return the region of the hand of a palm (one of `palm.Palms`, in pixels): wrist to middle MCP points up."""
    angle = _up_angle(keypoints_px[palm.WRIST], keypoints_px[palm.MIDDLE_MCP])
    width, height = box_px[2:] - box_px[:2]
    center = (box_px[:2] + box_px[2:]) / 2 + _rotation(angle) @ np.array([0.0, _PALM_SHIFT * height])
    return Region(center, max(_PALM_SCALE * float(max(width, height)), _MIN_SIDE_PX), angle)


def region_from_keypoints(keypoints_px: Float[np.ndarray, "21 2"]) -> Region:
    """Return the region to look in for a hand that is about where `keypoints_px` are."""
    index, middle, ring = keypoints_px[[_INDEX_MCP, _MIDDLE_MCP, _RING_MCP]]
    target = (index + 2 * middle + ring) / 4  # as ComputeRotation in the calculator
    angle = _up_angle(keypoints_px[WRIST], target)
    turn = _rotation(angle)
    upright = keypoints_px[list(_STEADY_KEYPOINTS)] @ turn
    low, high = upright.min(0), upright.max(0)
    width, height = high - low
    center = turn @ ((low + high) / 2 + (0.0, _HAND_SHIFT * height))
    return Region(center, max(_HAND_SCALE * float(max(width, height)), _MIN_SIDE_PX), angle)


class LandmarkNetwork:
    """Finds the keypoints of the hand in a region."""

    def __init__(self) -> None:
        """Load the network from the user's cache; HandgenError if it is not there."""
        self._network = Network(locate(LANDMARKS.name), LANDMARKS.input_shape, LANDMARKS.output_shapes)

    def find(self, image: Image, region: Region, mirrored: bool = False) -> Landmarks:
        """Find the landmarks in `region` of an RGB image, whatever their presence. mirrored: in its mirror image."""
        crop = region.crop(image)
        crop = crop[:, ::-1] if mirrored else crop
        values = np.divide(crop[None], np.float32(255), dtype=np.float32)
        landmarks, presence, handedness, _ = self._network(values)
        # Pixels of the crop, first centre at 0.
        points = landmarks.reshape(KEYPOINT_COUNT, 3)[:, :2].astype(float)
        if mirrored:
            points[:, 0] = _MIRROR_SUM_PX - points[:, 0]
            handedness = 1 - handedness
        # Its handedness is that of a mirrored image: the first label ("Left") is a right hand in an ordinary
        # photo.
        right = float(np.clip(handedness[0], 0, 1))
        return Landmarks(region.to_image(points), float(np.clip(presence[0], 0, 1)), right)


def _rotation(angle_rad: float) -> Float[np.ndarray, "2 2"]:
    """Return the rotation of image from region directions."""
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[cos, -sin], [sin, cos]])


def _up_angle(start_px: Float[np.ndarray, " 2"], end_px: Float[np.ndarray, " 2"]) -> float:
    """Return the angle that makes start -> end point up (0, -1) in the region."""
    x, y = end_px - start_px
    return float(np.arctan2(x, -y))
