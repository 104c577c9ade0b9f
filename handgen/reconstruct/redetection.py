"""Multi-view bootstrapping: where some views see a hand, the others are searched in the place where it must be.

Source of the idea: Simon, Joo, Matthews, Sheikh, "Hand keypoint detection in single images using multiview
bootstrapping", CVPR 2017; here it is the detector's input that is mended and not its training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from handgen.detect.base import Detector
from handgen.geometry.camera import CameraSet
from handgen.media.arrays import Image
from handgen.multiview.association import MultiviewHand
from handgen.multiview.tracking import HandObservations
from handgen.records.detection import Detection

# Of each moment of a range: every camera's own frame number, below 0 where it has none, and its picture.
Pictures = Callable[[range], Iterable[tuple[Sequence[int], Sequence[Image | None]]]]

_MIN_INSIDE = 16  # keypoints of 21 in the image, for a search to be worth it


@dataclass(frozen=True)
class SearchRegion:
    """A place in the distorted image of camera number `camera` that should show a hand it missed. right: 1 or 0."""

    frame: int
    camera: int
    guess_px: Float[np.ndarray, "21 2"]
    right: float


def views_to_search(rig: CameraSet, hands: Sequence[HandObservations], gap_frames: int) -> list[SearchRegion]:
    """Views and frames that should show a hand and did not; unseen for `gap_frames` at most, it moved evenly."""
    regions = []
    for hand in hands:
        for seen_hand, points in _points(hand, gap_frames):
            for number, camera in enumerate(rig):
                if seen_hand.views[number] is None:
                    guess, inside = camera.project(points)
                    if inside.sum() >= _MIN_INSIDE:
                        regions.append(SearchRegion(seen_hand.frame, number, guess, float(hand.side == "right")))
    return sorted(regions, key=lambda region: (region.frame, region.camera, region.right))


def search_regions(
    detector: Detector, cameras: Sequence[str], regions: Sequence[SearchRegion], pictures: Pictures
) -> Iterator[tuple[SearchRegion, int, Detection]]:
    """Search the regions; gives what was found in each, with the number of the frame in the camera's own video.

    cameras: their names, in the order of their numbers.
    """
    by_frame: dict[int, list[SearchRegion]] = {}
    for region in regions:
        by_frame.setdefault(region.frame, []).append(region)
    if not by_frame:
        return
    views = [detector.start(name) for name in cameras]
    wanted = range(min(by_frame), max(by_frame) + 1)
    for frame, (numbers, images) in zip(wanted, pictures(wanted), strict=True):
        for region in by_frame.get(frame, []):
            number, image = numbers[region.camera], images[region.camera]
            if number < 0 or image is None:
                continue
            found = views[region.camera].detect_near(image, region.guess_px, region.right)
            if found is not None:
                yield region, number, replace(found, redetected=True)


def _points(hand: HandObservations, gap_frames: int) -> Iterator[tuple[MultiviewHand, Float[np.ndarray, "21 3"]]]:
    """The hand in each frame with all its keypoints, as far as two views or the frames around tell."""
    whole = [seen_hand for seen_hand in hand.seen_hands.values() if seen_hand.valid.all()]
    if not whole:
        return
    frames = np.array([seen_hand.frame for seen_hand in whole])
    known = np.stack([seen_hand.points_world for seen_hand in whole])
    for seen_hand in hand.bridge_gaps(gap_frames).seen_hands.values():
        after = int(np.searchsorted(frames, seen_hand.frame))
        if after < len(frames) and frames[after] == seen_hand.frame:
            yield seen_hand, known[after]
        elif 0 < after < len(frames) and frames[after] - frames[after - 1] <= gap_frames + 1:
            share = (seen_hand.frame - frames[after - 1]) / (frames[after] - frames[after - 1])
            yield seen_hand, (1 - share) * known[after - 1] + share * known[after]
