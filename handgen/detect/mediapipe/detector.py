"""The default detector runs MediaPipe's two networks with our own search and tracking.

A hand found in a frame is looked for around its keypoints in the next one. While fewer hands are tracked than
wanted, and from time to time even so, the palm network looks at the whole frame and at overlapping tiles of
it, because hands smaller than a sixth of the frame are seen badly in 192 px.

Rather too many hands than too few: what is found only in one view, or contradicts the others, is dropped
later, when detections of different views are put together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from importlib import resources
from itertools import product
from typing import Any

import numpy as np
import orjson
from jaxtyping import Float

from handgen.detect.base import DetectionTask, Detector
from handgen.detect.mediapipe.landmarks import LandmarkNetwork, Landmarks, region_from_keypoints, region_from_palm
from handgen.detect.mediapipe.networks import NETWORKS, locate
from handgen.detect.mediapipe.palm import PalmNetwork, Palms, concatenate, merge
from handgen.detect.view_bias import ViewBias
from handgen.geometry.camera import inside_image
from handgen.media.arrays import Image
from handgen.plugins import NoOptions
from handgen.records.detection import Detection

Window = tuple[int, int, int, int]  # left, top, right, bottom, px

OFFSETS_FILE = "mediapipe_offsets.json"
MIN_PRESENCE = 0.5  # hand_landmark_cpu.pbtxt, ThresholdingCalculator
MIN_PALM_SCORE = 0.3  # palm_detection_cpu.pbtxt has 0.5; the landmark network sorts out the additional ones
OUTSIDE_CONFIDENCE = 0.2  # of keypoints that the network puts outside the image, times presence
# Sides of the tiles as parts of the frame's short side; measured on 1280x720 frames with hands of 100 px.
TILE_SIDES = (1.0, 2 / 3)
TILE_OVERLAP = 0.5
TILES_PER_FRAME = 1  # looked at, besides the whole frame, when hands have been missing for longer; 3 found no more
SEARCH_INTERVAL = 10  # frames between complete searches while enough hands are tracked
_HOPELESS_PRESENCE = 0.05  # a second pass has not saved a palm whose first gave less
_SAME_HAND = 0.3  # median keypoint distance, in parts of the hand's larger extent, below which two are one
_SAME_PALM = 0.4  # mean distance of a palm's keypoints from a hand's, in parts of the palm's box
_PALM_FROM_HAND = (0, 5, 9, 13, 17, 1, 2)  # the hand's keypoints that the palm network gives
_SETTLED = 0.01  # of the hand's extent: keypoints that move less from one pass to the next are final
_MAX_PASSES = 3
_MIRROR_AGREES = 0.1  # of the hand's extent: a mirror image whose keypoints are farther off is no second opinion
_FAR_FROM_GUESS = 0.5  # of the smaller extent of hand and guess: beyond, `detect_near` has found another hand


def create_detector(task: DetectionTask, options: NoOptions) -> Detector:
    """The detector, with its networks loaded."""
    return MediaPipeDetector(max_hands=task.max_hands)


class MediaPipeDetector:
    """Both networks, shared by the views of a rig."""

    name = "mediapipe"
    needs_images = True
    notes: tuple[str, ...] = ()

    def __init__(self, max_hands: int = 2) -> None:
        """Look for `max_hands` hands per view; up to twice as many candidates are reported."""
        if max_hands < 1:
            raise ValueError(f"max_hands: must be at least 1, got {max_hands}")
        self.max_hands = max_hands
        self.offsets_m = load_offsets_m()
        self.view_bias = load_view_bias()

    @cached_property
    def networks(self) -> tuple[PalmNetwork, LandmarkNetwork]:
        """The networks, loaded when first asked for; HandgenError if they have not been fetched."""
        return PalmNetwork(), LandmarkNetwork()

    def fingerprint(self) -> str:
        """Return a digest of both network files."""
        digest = hashlib.sha256()
        for name in NETWORKS:
            digest.update(locate(name).read_bytes())
        return digest.hexdigest()

    def start(self, camera: str) -> MediaPipeView:
        """Begin a run of consecutive frames of one camera, with no memory of earlier ones."""
        return MediaPipeView(*self.networks, max_hands=self.max_hands)


class MediaPipeView:
    """Finds and tracks hands in successive frames of one camera."""

    def __init__(self, palms: PalmNetwork, landmarks: LandmarkNetwork, max_hands: int) -> None:
        self._palms = palms
        self._landmarks = landmarks
        self._max_hands = max_hands
        self._tracked: list[Landmarks] = []
        self._last_search: int | None = None

    def detect(self, image: Image, frame: int) -> list[Detection]:
        """Return the hands in frame number `frame` (RGB), the surest first."""
        before = len(self._tracked)
        again = (self._landmarks.find(image, region_from_keypoints(hand.keypoints_px)) for hand in self._tracked)
        hands = drop_duplicates([hand for hand in again if hand.presence >= MIN_PRESENCE])
        due = self._last_search is None or frame - self._last_search >= SEARCH_INTERVAL
        if due or len(hands) < self._max_hands:
            everywhere = due or len(hands) < before
            hands = self._search(image, frame, hands, everywhere)
            if everywhere:
                self._last_search = frame
        self._tracked = hands[: 2 * self._max_hands]
        return [self._detection(image, hand) for hand in self._tracked]

    def _detection(self, image: Image, hand: Landmarks) -> Detection:
        hand = self._average_with_mirror_image(image, hand)
        inside = inside_image(hand.keypoints_px, (image.shape[1], image.shape[0]))
        return Detection(hand.keypoints_px, hand.presence * np.where(inside, 1.0, OUTSIDE_CONFIDENCE), hand.right)

    def _average_with_mirror_image(self, image: Image, hand: Landmarks) -> Landmarks:
        """Average the network's answers for the hand and for its mirror image, where both agree.

        The network errs otherwise on left than on right hands, and part of that cancels: 2 to 3 % of the error. Further
        passes, turned and from farther away, gave half a per cent more for twice the time.
        """
        other = self._landmarks.find(image, region_from_keypoints(hand.keypoints_px), mirrored=True)
        off = _distance(other.keypoints_px, hand.keypoints_px)
        if other.presence < MIN_PRESENCE or off > _MIRROR_AGREES * _extent(hand.keypoints_px):
            return hand
        return replace(hand, keypoints_px=(hand.keypoints_px + other.keypoints_px) / 2)

    def detect_near(
        self, image: Image, keypoints_px: Float[np.ndarray, "21 2"], right: float | None = None
    ) -> Detection | None:
        """Return the hand that is about where `keypoints_px` are, or None; tracking is not touched.

        The region is taken again from the keypoints found until they settle. right: the probability that the hand
        looked for is a right one; with it, a hand of the other side that lies off the guess is not taken for it.
        """
        if not np.isfinite(keypoints_px).all():
            return None
        guess = keypoints_px.astype(float)
        found: Landmarks | None = None
        for _ in range(_MAX_PASSES):
            last = guess if found is None else found.keypoints_px
            candidate = self._landmarks.find(image, region_from_keypoints(last))
            if candidate.presence < MIN_PRESENCE:
                break
            settled = found is not None and _distance(candidate.keypoints_px, last) < _SETTLED * _extent(last)
            found = candidate
            if settled:
                break
        if found is None:
            return None
        away = _distance(found.keypoints_px, guess) / min(_extent(guess), _extent(found.keypoints_px))
        other_side = right is not None and abs(found.right - right) > 0.8
        if away > (_FAR_FROM_GUESS / 2 if other_side else _FAR_FROM_GUESS):
            return None
        return self._detection(image, found)

    def _search(self, image: Image, frame: int, hands: list[Landmarks], everywhere: bool) -> list[Landmarks]:
        """Return `hands` and those found besides, in the whole frame, then in tiles: all, or those whose turn it is."""
        height, width = image.shape[:2]
        levels = search_levels(width, height)
        if not everywhere:
            tiles = [tile for level in levels[1:] for tile in level]
            first = frame * TILES_PER_FRAME
            turn = [tiles[(first + k) % len(tiles)] for k in range(min(TILES_PER_FRAME, len(tiles)))]
            levels = [levels[0], turn]
        for windows in levels:
            parts = [self._palms.find(image, window, MIN_PALM_SCORE) for window in windows]
            hands = drop_duplicates([*hands, *self._hands_of(image, merge(concatenate(parts)), hands)])
            if len(hands) >= self._max_hands:
                break
        return hands

    def _hands_of(self, image: Image, palms: Palms, known: Sequence[Landmarks]) -> list[Landmarks]:
        """Return the hands of those palms that belong to none of the known ones."""
        found = []
        for box, keypoints in zip(palms.boxes, palms.keypoints, strict=True):
            reach = _SAME_PALM * float((box[2:] - box[:2]).max())
            palm_of_known = (hand.keypoints_px[list(_PALM_FROM_HAND)] for hand in known)
            if any(np.linalg.norm(keypoints - points, axis=1).mean() < reach for points in palm_of_known):
                continue
            first = self._landmarks.find(image, region_from_palm(box, keypoints))
            if first.presence < _HOPELESS_PRESENCE:
                continue
            # The region from landmarks is the better one; and it is what the next frame will use.
            second = self._landmarks.find(image, region_from_keypoints(first.keypoints_px))
            best = second if second.presence >= min(first.presence, MIN_PRESENCE) else first
            if best.presence >= MIN_PRESENCE:
                found.append(best)
        return found


def load_offsets_m() -> Float[np.ndarray, "21 3"]:
    """Return this detector's constant keypoint offsets (see `base.Detector`) as measured."""
    return np.array(_read_measurements()["offsets_m"], float)


def load_view_bias() -> ViewBias | None:
    """Return how offsets and noise depend on the view, as measured; None if they were not."""
    document = _read_measurements().get("view_bias")
    return None if document is None else ViewBias.from_json(document)


def _read_measurements() -> dict[str, Any]:
    return orjson.loads(resources.files("handgen.detect.mediapipe").joinpath(OFFSETS_FILE).read_bytes())


def search_levels(width: int, height: int) -> list[list[Window]]:
    """Return windows to look for palms in: the whole frame, then tiles, the larger ones first."""
    levels = [[(0, 0, width, height)]]
    for part in TILE_SIDES:
        side = max(1, round(part * min(width, height)))
        if side < max(width, height):
            corners = product(_tile_starts(height, side), _tile_starts(width, side))
            levels.append([(left, top, left + side, top + side) for top, left in corners])
    return levels


def drop_duplicates(hands: Sequence[Landmarks]) -> list[Landmarks]:
    """Return the hands, the surest first, without those that a surer one is already."""
    kept: list[Landmarks] = []
    for hand in sorted(hands, key=lambda hand: -hand.presence):
        extents = (max(_extent(hand.keypoints_px), _extent(other.keypoints_px)) for other in kept)
        distances = (_distance(hand.keypoints_px, other.keypoints_px) for other in kept)
        if all(distance > _SAME_HAND * extent for distance, extent in zip(distances, extents, strict=True)):
            kept.append(hand)
    return kept


def _tile_starts(length: int, side: int) -> list[int]:
    """Return where tiles begin that cover `length` evenly and overlap by `TILE_OVERLAP` or more."""
    count = int(np.ceil((length - side) / (side * (1 - TILE_OVERLAP)))) + 1
    return [round(k * (length - side) / max(count - 1, 1)) for k in range(count)]


def _distance(a_px: Float[np.ndarray, "21 2"], b_px: Float[np.ndarray, "21 2"]) -> float:
    return float(np.median(np.linalg.norm(a_px - b_px, axis=1)))


def _extent(keypoints_px: Float[np.ndarray, "21 2"]) -> float:
    return max(float(np.ptp(keypoints_px, axis=0).max()), 1e-6)
