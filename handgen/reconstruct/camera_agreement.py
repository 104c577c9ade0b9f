"""Measure how well two cameras' detections of the same hands meet in space, as calibrated or under a hypothesis."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from handgen.geometry.camera import Camera, CameraSet
from handgen.geometry.triangulation import linear_information, solve_points
from handgen.multiview.association import MIN_KEYPOINTS
from handgen.records.detection import Detection

_MOMENTS = 48  # that are compared; more tell nothing new
_SAME_HAND = 0.5  # of its size: how far a hand moves at most from one frame to the next to be followed
_NOWHERE_PX = 1e9  # how far off a hand is taken to be of which the lens shows no keypoint
_FAR = 0.15  # hand sizes: beyond it two detections are not of one hand, however far they are apart
_STRAY = 0.2  # share of hands that may be something else's detections
MIN_HANDS = 3  # that two cameras, or a camera and all others, must have in common before anything is said
# Median distance, in hand sizes, by which detections of one hand miss each other. Intact: 0.007 to 0.024 (simulated and
# real rigs, 2 to 15 views); mirrored, turned, exchanged: 0.087 to 0.9.
AGREES = 0.05

IMAGES: dict[str, tuple[tuple[int, int], bool]] = {  # signs of x and y, whether they are exchanged first
    "": ((1, 1), False),
    "mirrored": ((-1, 1), False),
    "upside down": ((-1, -1), False),
    "mirrored top to bottom": ((1, -1), False),
    "rotated by 90 degrees clockwise": ((1, -1), True),
    "rotated by 90 degrees counter-clockwise": ((-1, 1), True),
}


@dataclass(frozen=True)
class Hypothesis:
    """A way in which a camera may differ from what the capture says.

    image: a key of `IMAGES`. calibration: name of the camera whose calibration it has, "" for its own. delay_frames:
    how many frames its pictures lag. rate: its frames per frame of the others. inverted: world_from_cam was given.
    zoom: what its intrinsics must be multiplied by, of pictures of another size.
    """

    image: str = ""
    calibration: str = ""
    delay_frames: float = 0.0
    rate: float = 1.0
    inverted: bool = False
    zoom: float = 1.0

    @property
    def is_of_time(self) -> bool:
        """Whether it is the camera's clock alone that differs."""
        return self.delay_frames != 0 or self.rate != 1


AS_GIVEN = Hypothesis()


class SeenHands:
    """The detections of every camera, without lens distortion, under any hypothesis and at fractions of frames.

    searched: numbers of the cameras of which a second look counts, where it found something, instead of the first.
    """

    def __init__(
        self,
        rig: CameraSet,
        detections: Mapping[int, Sequence[Sequence[Detection]]],
        searched: Collection[int] = (),
    ) -> None:
        self.rig = rig
        self._pixels: list[dict[int, np.ndarray]] = []
        for v in range(len(rig)):
            again = v in searched
            by_frame = {frame: _detections_of_pass(found[v], again) for frame, found in detections.items()}
            self._pixels.append({frame: _pixels_of(found) for frame, found in by_frame.items() if found})
        several = sorted({f for f in detections if sum(f in pixels for pixels in self._pixels) >= 2})
        chosen = np.unique(np.linspace(0, len(several) - 1, min(len(several), _MOMENTS)).astype(int))
        self.moments = [several[i] for i in chosen.tolist()]
        self.first = min(detections, default=0)
        self._ideal: dict[tuple[int, str, str, float], dict[int, np.ndarray]] = {}

    def camera(self, v: int, hypothesis: Hypothesis) -> Camera:
        """The calibration that a camera has under a hypothesis."""
        camera = self.rig[hypothesis.calibration] if hypothesis.calibration else self.rig.cameras[v]
        if hypothesis.inverted:
            return replace(camera, cam_from_world=camera.cam_from_world.inverse())
        if hypothesis.zoom != 1:
            return replace(camera, intrinsics=np.diag([hypothesis.zoom, hypothesis.zoom, 1.0]) @ camera.intrinsics)
        return camera

    def hands(self, v: int, hypothesis: Hypothesis, moment: int) -> np.ndarray | None:
        """Ideal pixels (hands, 21, 2) of what a camera saw at a moment; NaN where there is no keypoint."""
        ideal = self._ideal_pixels(v, hypothesis)
        place = self.first + (moment - self.first) * hypothesis.rate + hypothesis.delay_frames
        before = int(np.floor(place))
        share = place - before
        if share < 1e-6:
            return ideal.get(before)
        return _between(ideal.get(before), ideal.get(before + 1), share)

    def _ideal_pixels(self, v: int, hypothesis: Hypothesis) -> dict[int, np.ndarray]:
        key = (v, hypothesis.image, hypothesis.calibration, hypothesis.zoom)
        if key not in self._ideal:
            camera = self.camera(v, hypothesis)
            frames = self._pixels[v]
            stacked = np.concatenate(list(frames.values())) if frames else np.zeros((0, 21, 2))
            upright = _turn(stacked, hypothesis.image, self.rig.cameras[v].size_px)
            ideal, valid = camera.undistort(np.nan_to_num(upright))
            ideal = np.where((valid & np.isfinite(upright).all(-1))[..., None], ideal, np.nan)
            ends = np.cumsum([len(found) for found in frames.values()])[:-1]
            self._ideal[key] = dict(zip(frames, np.split(ideal, ends), strict=True)) if frames else {}
        return self._ideal[key]


def _detections_of_pass(found: Sequence[Detection], again: bool) -> list[Detection]:
    second = [detection for detection in found if detection.redetected]
    return second if again and second else [detection for detection in found if not detection.redetected]


def _pixels_of(found: Sequence[Detection]) -> Float[np.ndarray, "hands 21 2"]:
    return np.stack([np.where((d.confidence > 0)[:, None], d.keypoints_px, np.nan) for d in found])


def _turn(pixels: np.ndarray, image: str, size_px: tuple[int, int]) -> np.ndarray:
    """Pixels of the picture as it would be without the mirror or the turn."""
    signs, exchange = IMAGES[image]
    turned = pixels[..., ::-1] if exchange else pixels
    far = np.array(size_px[::-1] if exchange else size_px) - 1.0
    return np.where(np.array(signs) > 0, turned, far - turned)


def _between(before: np.ndarray | None, after: np.ndarray | None, share: float) -> np.ndarray | None:
    """The hands between two frames; those that are in both."""
    if before is None or after is None:
        return None
    centers, later = (_medians(hands) for hands in (before, after))
    step = np.linalg.norm(centers[:, None] - later[None], axis=-1)
    rows, columns = linear_sum_assignment(np.nan_to_num(step, nan=_NOWHERE_PX))
    near = step[rows, columns] < _SAME_HAND * _extents(before)[rows]
    rows, columns = rows[near], columns[near]
    return (1 - share) * before[rows] + share * after[columns] if len(rows) else None


def _extents(hands: np.ndarray) -> np.ndarray:
    # fmax and fmin pass over NaN, and say nothing of a hand without any keypoint
    return np.maximum(np.linalg.norm(np.fmax.reduce(hands, 1) - np.fmin.reduce(hands, 1), axis=-1), 1e-9)


def _medians(values: np.ndarray) -> np.ndarray:
    """The medians along the second axis without NaN; NaN where there is nothing else."""
    there = np.isfinite(values).any(1, keepdims=True)
    return np.where(there[:, 0], np.nanmedian(np.where(there, values, 0.0), axis=1), np.nan)


@dataclass(frozen=True)
class Miss:
    """Distances of two cameras' detections in hand sizes, by the second one's hands; NaN where none was matched."""

    distances: Float[np.ndarray, " hands"]

    @property
    def hands(self) -> int:
        """How many hands both saw."""
        return int(np.isfinite(self.distances).sum())

    @property
    def distance(self) -> float:
        """The median; NaN if both saw none."""
        return float(np.nanmedian(self.distances)) if self.hands else np.nan

    def squared_ratio(self, given: Miss) -> float:
        """The mean square distance in that of `given`, over the same hands; infinite where less than half are left."""
        both = np.isfinite(self.distances) & np.isfinite(given.distances)
        if 2 * both.sum() < given.hands:
            return np.inf
        tried, before = (np.sort(np.minimum(miss.distances[both], _FAR)) for miss in (self, given))
        kept = slice(0, -int(_STRAY * both.sum()) or None)
        return float((tried[kept] ** 2).mean() / max((before[kept] ** 2).mean(), 1e-12))


class Misses:
    """Distances of pairs of cameras under hypotheses; each is computed once."""

    def __init__(self, seen: SeenHands) -> None:
        self.seen = seen
        self._known: dict[tuple[int, int, Hypothesis, Hypothesis], Miss] = {}

    def of_pair(self, a: int, b: int, of_a: Hypothesis = AS_GIVEN, of_b: Hypothesis = AS_GIVEN) -> Miss:
        """Compare two cameras."""
        key = (a, b, of_a, of_b)
        if key not in self._known:
            self._known[key] = _compare(self.seen, *key)
        return self._known[key]

    def of_camera(self, v: int, hypothesis: Hypothesis, partners: Sequence[int]) -> tuple[float, int]:
        """Compare a camera with others: the mean over those that see the same, and how many hands are in common."""
        found = [self.of_pair(v, b, hypothesis) for b in partners if b != v]
        known = [miss.distance for miss in found if miss.hands]
        return (float(np.mean(known)) if known else np.inf), sum(miss.hands for miss in found)

    def trusted(self) -> list[int]:
        """Cameras that agree with each other: the one that disagrees with most is left out, then the next.

        Of two that disagree with each other alone, it is the one that misses all the others by more.
        """
        left = list(range(len(self.seen.rig)))
        while len(left) > 1:
            wrong: dict[int, tuple[float, float, float]] = {}
            for v in left:
                misses = [
                    miss for b in left if b != v and (miss := self.of_pair(min(v, b), max(v, b))).hands >= MIN_HANDS
                ]
                off = [miss.distance for miss in misses if miss.distance > AGREES]
                overall = float(np.mean([miss.distance for miss in misses])) if misses else 0.0
                wrong[v] = (len(off) / max(len(misses), 1), float(np.mean(off)) if off else 0.0, overall)
            worst = max(left, key=lambda v: wrong[v])
            if not wrong[worst][0]:
                break
            left.remove(worst)
        return left


def _compare(seen: SeenHands, a: int, b: int, of_a: Hypothesis, of_b: Hypothesis) -> Miss:
    first, second, tables, count = [], [], [], 0
    for moment in seen.moments:
        hands_a, hands_b = seen.hands(a, of_a, moment), seen.hands(b, of_b, moment)
        if hands_b is None:
            continue
        if hands_a is not None:
            first.append(np.repeat(hands_a, len(hands_b), 0))
            second.append(np.tile(hands_b, (len(hands_a), 1, 1)))
            tables.append((count, len(hands_a), len(hands_b)))
        count += len(hands_b)
    distances = np.full(count, np.nan)
    if not tables:
        return Miss(distances)
    cameras = seen.camera(a, of_a), seen.camera(b, of_b)
    flat, done = _distances(cameras, np.concatenate(first), np.concatenate(second)), 0
    for start, rows, columns in tables:
        table = flat[done : done + rows * columns].reshape(rows, columns)
        i, j = linear_sum_assignment(np.nan_to_num(table, nan=2.0))
        distances[start + j] = table[i, j]
        done += rows * columns
    return Miss(distances)


def _distances(
    cameras: tuple[Camera, Camera], first: Float[np.ndarray, "n 21 2"], second: Float[np.ndarray, "n 21 2"]
) -> Float[np.ndarray, " n"]:
    """How far two detections are from one hand, in hand sizes: 1 at most, NaN if they have too little in common."""
    both = np.isfinite(first).all(-1) & np.isfinite(second).all(-1)
    projections = np.stack([camera.ideal_px_from_world for camera in cameras])
    pixels = np.nan_to_num(np.stack([first, second]))
    first_said, second_said = (
        linear_information(np.broadcast_to(p, (len(one), 3, 4)), one)
        for p, one in zip(projections, pixels, strict=True)
    )
    points = solve_points(first_said + second_said)
    errors, front = [], both.any(1)
    for p, one in zip(projections, pixels, strict=True):
        image = points @ p[:, :3].T + p[:, 3]
        front &= ((image[..., 2] > 1e-9) | ~both).all(1)
        off = np.linalg.norm(image[..., :2] / np.maximum(image[..., 2:], 1e-9) - one, axis=-1)
        errors.append(np.where(both, off, np.nan) / _extents(np.where(both[..., None], one, np.nan))[:, None])
    share = _medians(np.mean(errors, 0))
    return np.where(both.sum(1) < MIN_KEYPOINTS, np.nan, np.where(front, np.minimum(share, 1.0), 1.0))
