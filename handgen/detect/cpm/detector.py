"""The original system's detector runs hand3d's PoseNet (`cpm_network`), on crops found by a green or blue screen.

It finds one hand per view and does not tell left from right. The crop is the square around the keypoints of the frame
before, else around the largest blob that is no screen. Then it is looked at again around what was found, until the crop
fits. A crop's sides are 1.25 times the hand's longer one, as in hand3d (`nets/ColorHandPose3DNetwork.py`, `inference`).

What hand3d's code says, and its documentation does not:

- A cell of the score map is the pixel 8 times its index: in training the maps are enlarged from 32 to 256 by
  TensorFlow 1's `resize_images`, which puts cell i at pixel 8 i (`training_posenet.py`), and compared with maps around
  the true pixels. (Labels were rounded down before: half a pixel of the crop, which is left as it is.)
- The first keypoint is the middle between the wrist and the middle finger's MCP joint, in the image
  (`use_wrist_coord=False` in `training_posenet.py`, `data/BinaryDbReader.py`). The wrist is as far on the other side.
- No picture is mirrored: RHD shows both hands, but STB, on which the network was trained further, left ones alone. The
  original system showed it right hands in a mirror (`optimize.py`), and so does this: all hands look like left ones.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float

from handgen.detect.base import DetectionTask, Detector
from handgen.detect.cpm.network import CELL_PX, INPUT_PX, PoseNetwork, load_network
from handgen.detect.mediapipe.landmarks import Region
from handgen.detect.registry import CpmOptions
from handgen.detect.view_bias import ViewBias
from handgen.errors import HandgenError
from handgen.hand.conversions import reorder_keypoints
from handgen.hand.skeleton import KEYPOINT_COUNT, KEYPOINT_ORDERS, MIDDLE_MCP, SIDES
from handgen.media.arrays import Image
from handgen.records.detection import Detection
from handgen.segmentation import chroma_key
from handgen.segmentation.matting import SCREENS

_ORDER = "rhd"
_MIDDLE_MCP = KEYPOINT_ORDERS[_ORDER].index(MIDDLE_MCP)  # in the network's order
_MARGIN = 1.25  # side of a crop, in the hand's longer one
_GREY = 128  # outside the image: 0 for the network, as hand3d's `crop_and_resize` fills it
_MIN_SIDE_PX = 8.0
# Chosen, not measured: the weights were not to be had when this was written. Maps are trained towards a peak of 1.
_MIN_SCORE = 0.2  # of the median keypoint of a hand that is there
_SURE_SCORE = 0.1  # of keypoints that the next crop is put around
_MAX_LOOKS = 3
# Of a crop's side, for it to fit: half of the margin is left, and the last cells are half of that from the edge.
_MAX_SHIFT, _MAX_GROWTH = 0.05, 1.1
_FAR_FROM_GUESS = 0.5  # of the guess's extent: beyond, `detect_near` has found another hand
_SCREEN_SHARE = 0.3  # of the image, for it to be in front of a screen
_MIN_BLOB_SHARE = 0.001  # of the image: smaller blobs are noise


def create_detector(task: DetectionTask, options: CpmOptions) -> Detector:
    """The detector, with its weights read; HandgenError where it is not known which hand it is to find."""
    if task.side is None:
        raise HandgenError(
            "detector cpm: finds one hand per view and does not know which; give --hands left or --hands right"
        )
    return CpmDetector(Path(options.weights), task.side, task.device)


class CpmDetector:
    """The network, shared by the views of a rig."""

    name = "cpm"
    needs_images = True
    notes: tuple[str, ...] = ()

    def __init__(self, weights: Path, side: str, device: str = "cpu") -> None:
        """Read the weights; HandgenError if they do not fit. side: "left" or "right", the one hand in view."""
        if side not in SIDES:
            raise ValueError(f"side: must be one of {SIDES}, got {side!r}")
        self.side = side
        self.view_bias: ViewBias | None = None
        self.offsets_m: Float[np.ndarray, "21 3"] = np.zeros((KEYPOINT_COUNT, 3))
        self.network, self._sha256 = load_network(weights, device)

    def fingerprint(self) -> str:
        """Return the SHA-256 of the file of weights."""
        return self._sha256

    def start(self, camera: str) -> CpmView:
        """Begin a run of consecutive frames of one camera, with no memory of earlier ones."""
        return CpmView(self.network, self.side)


class CpmView:
    """Finds and tracks the one hand in successive frames of one camera."""

    def __init__(self, network: PoseNetwork, side: str) -> None:
        self._network = network
        self._side = side
        self._last: Detection | None = None

    def detect(self, image: Image, frame: int) -> list[Detection]:
        """Return the hand in this frame (RGB), if one is found."""
        hand = None if self._last is None else self._find(image, region_around_hand(self._last))
        if hand is None:
            region = region_before_screen(image)
            hand = None if region is None else self._find(image, region)
        self._last = hand
        return [] if hand is None else [hand]

    def detect_near(self, image: Image, keypoints_px: Float[np.ndarray, "21 2"], right: float) -> Detection | None:
        """Return the hand that is about where `keypoints_px` are, or None; tracking is not touched."""
        if not np.isfinite(keypoints_px).all():
            return None
        found = self._find(image, region_around(keypoints_px))
        if found is None:
            return None
        away = float(np.median(np.linalg.norm(found.keypoints_px - keypoints_px, axis=1)))
        return found if away <= _FAR_FROM_GUESS * float(np.ptp(keypoints_px, axis=0).max()) else None

    def _find(self, image: Image, region: Region) -> Detection | None:
        """Find the hand in a region, until the crop fits it: it may have moved, and a blob may have an arm."""
        hand = self._detect_in(image, region)
        for _ in range(_MAX_LOOKS - 1):
            if hand is None or _fits(region, region_around_hand(hand)):
                break
            region = region_around_hand(hand)
            again = self._detect_in(image, region)
            if again is None:
                break
            hand = again
        return hand

    def _detect_in(self, image: Image, region: Region) -> Detection | None:
        crop = region.crop(image, INPUT_PX, outside=_GREY)
        mirrored = self._side == "right"
        scores = self._network.score_crop(crop[:, ::-1] if mirrored else crop)
        points, peaks = peaks_of(scores)
        if mirrored:
            points[:, 0] = INPUT_PX - 1 - points[:, 0]
        confidence = np.clip(peaks, 0, 1)
        points[0] = 2 * points[0] - points[_MIDDLE_MCP]  # the wrist, out of the palm
        confidence[0] = min(confidence[0], confidence[_MIDDLE_MCP])
        if np.median(confidence) < _MIN_SCORE:
            return None
        hand = np.concatenate([region.to_image(points, INPUT_PX), confidence[:, None]], 1)
        hand = reorder_keypoints(hand, _ORDER, "handgen")
        return Detection(hand[:, :2], hand[:, 2], float(mirrored))


def peaks_of(
    scores: Float[np.ndarray, "21 rows columns"],
) -> tuple[Float[np.ndarray, "21 2"], Float[np.ndarray, " 21"]]:
    """Find where the score maps are largest, x and y in pixels of the crop, and how large they are there.

    Between cells by the parabola through the logarithms of the largest and its neighbours, per axis: exact for a
    Gaussian, which the maps are trained towards. No further than half a cell; not at all at the edge.
    """
    maps = np.nan_to_num(scores.astype(float), nan=0.0, posinf=0.0, neginf=0.0)
    rows, columns = maps.shape[1:]
    flat = maps.reshape(len(maps), -1)
    best = flat.argmax(1)
    peaks = flat[np.arange(len(maps)), best]
    cells = np.stack([best % columns, best // columns], 1)
    logs = np.log(np.maximum(maps, 1e-6))
    each = np.arange(len(maps))
    shifts = np.zeros((len(maps), 2))
    for axis, count in enumerate((columns, rows)):
        step = np.eye(2, dtype=int)[axis]
        inner = (cells[:, axis] > 0) & (cells[:, axis] < count - 1)
        before, here, after = (
            logs[each, np.clip(at[:, 1], 0, rows - 1), np.clip(at[:, 0], 0, columns - 1)]
            for at in (cells - step, cells, cells + step)
        )
        bend = before - 2 * here + after
        bent = inner & (bend < -1e-9) & (peaks > 0)
        shifts[bent, axis] = np.clip(0.5 * (before - after)[bent] / bend[bent], -0.5, 0.5)
    return CELL_PX * (cells + shifts), peaks


def region_around(keypoints_px: Float[np.ndarray, "n 2"]) -> Region:
    """Return the upright square around keypoints."""
    low, high = keypoints_px.min(0), keypoints_px.max(0)
    return Region((low + high) / 2, max(_MARGIN * float((high - low).max()), _MIN_SIDE_PX), 0.0)


def region_around_hand(hand: Detection) -> Region:
    """Return the square around a hand's sure keypoints; around all if none is."""
    sure = hand.confidence >= _SURE_SCORE
    return region_around(hand.keypoints_px[sure] if sure.any() else hand.keypoints_px)


def _fits(region: Region, wanted: Region) -> bool:
    shift = float(np.abs(region.center_px - wanted.center_px).max())
    return shift <= _MAX_SHIFT * region.side_px and 1 / _MAX_GROWTH <= wanted.side_px / region.side_px <= _MAX_GROWTH


def region_before_screen(image: Image) -> Region | None:
    """Return the square around the largest blob that is no screen; None without a screen or a blob."""
    screen = max((chroma_key.excess(image, color) > chroma_key.MARGIN for color in SCREENS), key=np.mean)
    if screen.mean() < _SCREEN_SHARE:
        return None
    count, _, boxes, _ = cv2.connectedComponentsWithStats((~screen).astype(np.uint8))
    if count < 2:
        return None
    left, top, width, height, area = boxes[1 + boxes[1:, cv2.CC_STAT_AREA].argmax()]
    if area < _MIN_BLOB_SHARE * screen.size:
        return None
    return region_around(np.array([[left, top], [left + width - 1, top + height - 1]], float))
