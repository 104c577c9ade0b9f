"""MediaPipe's palm network finds palms in an image.

All constants are those of MediaPipe's graph `modules/palm_detection/palm_detection_cpu.pbtxt` (SsdAnchorsCalculator,
TensorsToDetectionsCalculator, NonMaxSuppressionCalculator) unless said. The network sees a square of 192 px and answers
in units of that square, (0, 0) its upper left corner and (1, 1) its lower right one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from jaxtyping import Float

from handgen.detect.mediapipe.litert import Network
from handgen.detect.mediapipe.networks import PALM, locate
from handgen.media.arrays import Image

INPUT_PX = PALM.input_shape[1]
KEYPOINT_COUNT = 7  # wrist; MCP of index, middle, ring, pinky; thumb CMC and MCP
WRIST, MIDDLE_MCP = 0, 2
# (stride in px, anchors per cell): one layer of stride 8, three of 16; each layer gives two anchors per cell.
_ANCHOR_LAYERS = ((8, 2), (16, 6))
_SCORE_CLIP = 100.0
_MAX_OVERLAP = 0.3  # intersection over union above which two boxes are the same palm


@dataclass(frozen=True)
class Palms:
    """`n` palms, best first as `decode` and `merge` give them.

    boxes: left, top, right, bottom. keypoints: see `KEYPOINT_COUNT`. scores: 0 to 1.
    Units: of the network's square, or pixels of the image after `to_image`.
    """

    boxes: Float[np.ndarray, "n 4"]
    keypoints: Float[np.ndarray, "n 7 2"]
    scores: Float[np.ndarray, " n"]

    def __post_init__(self) -> None:
        n = len(self.scores)
        if self.boxes.shape != (n, 4) or self.keypoints.shape != (n, KEYPOINT_COUNT, 2):
            raise ValueError(f"Palms: shapes {self.boxes.shape}, {self.keypoints.shape} for {n} scores")

    def __len__(self) -> int:
        return len(self.scores)

    def to_image(self, left: float, top: float, side: float) -> Palms:
        """Convert to pixels (centres at integers) of an image with the square, `side` px wide, at (left, top)."""
        offset = np.array([left - 0.5, top - 0.5])
        return Palms(self.boxes * side + np.tile(offset, 2), self.keypoints * side + offset, self.scores)

    def take(self, indices: np.ndarray) -> Palms:
        """Return the palms of the given indices."""
        return Palms(self.boxes[indices], self.keypoints[indices], self.scores[indices])


def concatenate(parts: list[Palms]) -> Palms:
    """Return all palms of all `parts`, in that order."""
    return Palms(
        np.concatenate([np.zeros((0, 4)), *(part.boxes for part in parts)]),
        np.concatenate([np.zeros((0, KEYPOINT_COUNT, 2)), *(part.keypoints for part in parts)]),
        np.concatenate([np.zeros(0), *(part.scores for part in parts)]),
    )


@cache
def anchors() -> Float[np.ndarray, "2016 2"]:
    """Return the centres of the anchors, units of the square. Their size is fixed at 1 (`fixed_anchor_size`)."""
    layers = []
    for stride, per_cell in _ANCHOR_LAYERS:
        centers = (np.arange(INPUT_PX // stride) + 0.5) * stride / INPUT_PX
        x, y = np.meshgrid(centers, centers)
        layers.append(np.repeat(np.stack([x.ravel(), y.ravel()], 1), per_cell, axis=0))
    table = np.concatenate(layers)
    table.setflags(write=False)
    return table


def decode(raw: Float[np.ndarray, "2016 18"], logits: Float[np.ndarray, "2016 1"], min_score: float) -> Palms:
    """Return the palms of the network's two outputs, score at least `min_score`, best first; duplicates included.

    `raw` holds x and y of the centre, width, height and seven keypoints in pixels, positions from the anchor.
    """
    scores = 1.0 / (1.0 + np.exp(-np.clip(logits[:, 0].astype(float), -_SCORE_CLIP, _SCORE_CLIP)))
    kept = np.flatnonzero(scores >= min_score)
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    values = raw[kept].astype(float).reshape(len(kept), 2 + KEYPOINT_COUNT, 2) / INPUT_PX
    positions = anchors()[kept]
    center, half = values[:, 0] + positions, values[:, 1] / 2
    return Palms(np.concatenate([center - half, center + half], 1), values[:, 2:] + positions[:, None], scores[kept])


def overlap(box: Float[np.ndarray, " 4"], boxes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, " n"]:
    """Return the intersection over union of one box (left, top, right, bottom) with others."""
    size = np.clip(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]), 0, None)
    shared = size.prod(-1)
    areas = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(-1)
    union = np.clip(box[2:] - box[:2], 0, None).prod() + areas - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1.0), 0.0)


def merge(palms: Palms) -> Palms:
    """Suppress non-maxima, with weights: return one palm per group of overlapping ones, their mean weighted by score.

    Each keeps the score of the best of its group, as in MediaPipe's NonMaxSuppressionCalculator.
    """
    remaining = np.argsort(-palms.scores, kind="stable")
    merged = []
    while len(remaining):
        best = remaining[0]
        same = overlap(palms.boxes[best], palms.boxes[remaining]) > _MAX_OVERLAP
        same[0] = True
        group = palms.take(remaining[same])
        weights = group.scores / group.scores.sum()
        merged.append(
            Palms(
                (weights @ group.boxes)[None],
                np.einsum("n,nkc->kc", weights, group.keypoints)[None],
                palms.scores[best : best + 1],
            )
        )
        remaining = remaining[~same]
    return concatenate(merged)


class PalmNetwork:
    """Finds palms in a window of an image."""

    def __init__(self) -> None:
        """Load the network from the user's cache; HandgenError if it is not there."""
        self._network = Network(locate(PALM.name), PALM.input_shape, PALM.output_shapes)

    def find(self, image: Image, window: tuple[int, int, int, int], min_score: float) -> Palms:
        """Find palms in `window` (left, top, right, bottom, px) of an RGB image, pixels of it, unmerged."""
        left, top, right, bottom = window
        side = max(right - left, bottom - top)
        scale = INPUT_PX / side
        width = max(1, round((right - left) * scale))
        height = max(1, round((bottom - top) * scale))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = cv2.resize(image[top:bottom, left:right], (width, height), interpolation=method)
        # The image is centred and the rest black, as ImageToTensorCalculator's letterbox does.
        pad_x, pad_y = (INPUT_PX - width) // 2, (INPUT_PX - height) // 2
        values = np.zeros(PALM.input_shape, np.float32)
        np.divide(small, np.float32(255), out=values[0, pad_y : pad_y + height, pad_x : pad_x + width])
        raw, logits = self._network(values)
        return decode(raw, logits, min_score).to_image(left - pad_x / scale, top - pad_y / scale, side)
