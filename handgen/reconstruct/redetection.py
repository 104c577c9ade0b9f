"""Multi-view bootstrapping: where some views see a hand, the others are looked at again in the place where it must be.

Source of the idea: Simon, Joo, Matthews, Sheikh, "Hand keypoint detection in single images using multiview
bootstrapping", CVPR 2017; here it is the detector's input that is mended and not its training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from handgen.geometry.camera import CameraSet
from handgen.multiview.association import MultiviewHand
from handgen.multiview.tracking import HandObservations

_MIN_INSIDE = 16  # keypoints of 21 in the image, for a second look to be worth it


@dataclass(frozen=True)
class SearchRegion:
    """Where one view should see a hand that it missed.

    camera: its number in the rig. guess_px: in its own (distorted) image. right: 1 of a right hand, 0 of a left one.
    """

    frame: int
    camera: int
    guess_px: Float[np.ndarray, "21 2"]
    right: float


def views_to_search(rig: CameraSet, hands: Sequence[HandObservations], gap_frames: int) -> list[SearchRegion]:
    """Every view and frame in which a hand should be seen and was not, by frame and camera.

    gap_frames: a hand that no view saw for at most so many frames is taken to have moved evenly.
    """
    looks = []
    for hand in hands:
        for cluster, points in _points(hand, gap_frames):
            for number, camera in enumerate(rig):
                if cluster.views[number] is None:
                    guess, inside = camera.project(points)
                    if inside.sum() >= _MIN_INSIDE:
                        looks.append(SearchRegion(cluster.frame, number, guess, float(hand.side == "right")))
    return sorted(looks, key=lambda look: (look.frame, look.camera, look.right))


def _points(hand: HandObservations, gap_frames: int) -> Iterator[tuple[MultiviewHand, Float[np.ndarray, "21 3"]]]:
    """The clusters, and where all their keypoints are, as far as two views or the frames around tell."""
    whole = [cluster for cluster in hand.clusters.values() if cluster.valid.all()]
    if not whole:
        return
    frames = np.array([cluster.frame for cluster in whole])
    known = np.stack([cluster.points_world for cluster in whole])
    for cluster in hand.bridge_gaps(gap_frames).clusters.values():
        after = int(np.searchsorted(frames, cluster.frame))
        if after < len(frames) and frames[after] == cluster.frame:
            yield cluster, known[after]
        elif 0 < after < len(frames) and frames[after] - frames[after - 1] <= gap_frames + 1:
            share = (cluster.frame - frames[after - 1]) / (frames[after] - frames[after - 1])
            yield cluster, (1 - share) * known[after - 1] + share * known[after]
