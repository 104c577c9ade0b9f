"""Name what is wrong with a camera, or with a whole rig, from the detections alone.

Two detections of one hand meet in space if both cameras are what the capture says. By how much they miss each other is
measured for every pair of cameras, in sizes of the hand, and again under each hypothesis: the picture is mirrored or
turned, two cameras are exchanged, the video is late, early, or of another rate, the extrinsics are inverted. The
hypothesis under which the cameras agree is the cause.

    1. pairs       cameras that agree with each other are trusted; the rest is to be explained
    2. explain     each of the rest is tried under every hypothesis against the trusted ones (or, where no two agree,
                   together with all others)
    3. delays      cameras that agree are tried a little earlier and later, to fractions of a frame

Detections of one camera are compared with those of another, never with a fit, so that nothing wrong is learnt first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from handgen.geometry.camera import Camera, CameraSet
from handgen.geometry.triangulation import linear_information, solve_points
from handgen.multiview.association import MIN_KEYPOINTS
from handgen.records.detection import Detection

_MOMENTS = 48  # that are compared; more tell nothing new
_MIN_HANDS = 3  # that two cameras, or a camera and all others, must have in common before anything is said
# Median distance, in hand sizes, by which detections of one hand miss each other. Intact: 0.007 to 0.024 (simulated and
# real rigs, 2 to 15 views); mirrored, turned, exchanged: 0.087 to 0.9.
_AGREES = 0.05
_EXPLAINS = 0.6  # of the distance as the capture has it: what a hypothesis must lower it to
_AMBIGUOUS = 1.5  # times the best hypothesis' distance: another camera's may as well be true
_DELAYS = tuple(range(-8, 9))  # frames, of cameras that disagree
_FINE_DELAYS = tuple(range(-6, 7))  # frames, of cameras that agree
_RATES = (0.5, 2.0, 5 / 6, 6 / 5, 2 / 5, 5 / 2)  # of a video against the others: 30 and 60, 25 and 30, 24 and 60
_SAME_HAND = 0.5  # of its size: how far a hand moves at most from one frame to the next to be followed
MIN_DELAY = 0.35  # frames; less is within what simulated cameras without delay show
_DELAY_GAIN = 1.2  # squared distances at the frame itself, in those at the delay; 1.02 in simulated, 1.1 in real rigs
_STRAY = 0.2  # share of hands that may be something else's detections
_RATE_GAIN = 0.9  # of the best delay's squared distance: another rate is less usual
_FAR = 0.15  # hand sizes: beyond it two detections are not of one hand, however far they are apart

_IMAGES: dict[str, tuple[tuple[int, int], bool]] = {  # signs of x and y, whether they are exchanged first
    "": ((1, 1), False),
    "mirrored": ((-1, 1), False),
    "upside down": ((-1, -1), False),
    "mirrored top to bottom": ((1, -1), False),
    "rotated by 90 degrees clockwise": ((1, -1), True),
    "rotated by 90 degrees counter-clockwise": ((-1, 1), True),
}
_MENDS = {
    "mirrored": "mirror its video back (ffmpeg -vf hflip), or record without mirroring",
    "upside down": "turn its video (ffmpeg -vf hflip,vflip), or calibrate it as it is",
    "mirrored top to bottom": "turn its video back (ffmpeg -vf vflip)",
    "rotated by 90 degrees clockwise": "turn its video back (ffmpeg -vf transpose=2)",
    "rotated by 90 degrees counter-clockwise": "turn its video back (ffmpeg -vf transpose=1)",
}


@dataclass(frozen=True)
class Hypothesis:
    """A way in which a camera may differ from what the capture says.

    image: a key of `_IMAGES`. calibration: name of the camera whose calibration it has, "" for its own. delay_frames:
    how many frames its pictures lag. rate: its frames per frame of the others. inverted: world_from_cam was given.
    """

    image: str = ""
    calibration: str = ""
    delay_frames: float = 0.0
    rate: float = 1.0
    inverted: bool = False


AS_GIVEN = Hypothesis()


@dataclass(frozen=True)
class Suspect:
    """A camera that fits the others only under a hypothesis (None: under none that was tried).

    alternatives: other cameras that may be the cause instead. before, after: median distance between its detections and
    the others', in hand sizes, as the capture has it and under the hypothesis.
    """

    camera: str
    hypothesis: Hypothesis | None
    before: float
    after: float
    alternatives: tuple[str, ...] = ()

    @property
    def left_out(self) -> bool:
        """Whether its views are worth nothing as they are; a delay below a frame only makes them less precise."""
        return self.hypothesis is None or replace(self.hypothesis, delay_frames=0.0) != AS_GIVEN or self.late_by_frames

    @property
    def late_by_frames(self) -> bool:
        """Whether it is late or early by one frame or more."""
        return self.hypothesis is not None and abs(self.hypothesis.delay_frames) >= 0.75

    def note(self) -> str:
        """Name the camera, what is wrong with it, the figures, and the edit that mends it."""
        names = " or ".join((self.camera, *self.alternatives))
        figures = f"detections miss the other cameras' by {self.before:.2f} hand sizes, {self.after:.2f} if so"
        found = self.hypothesis
        if found is None:
            return (
                f"camera {names} disagrees with the others: its detections miss theirs by {self.before:.2f} hand "
                "sizes; is it the right video, and calibrated where it stands now? Calibrate again, or leave it out"
            )
        if found.inverted:
            return (
                f"the extrinsics look inverted (camera to world instead of world to camera): {figures}; invert the "
                "transforms of the calibration"
            )
        if found.image:
            return f"camera {names} looks {found.image}: {figures}; {_MENDS[found.image]}"
        if found.calibration:
            return (
                f"cameras {self.camera} and {found.calibration} look exchanged: {figures}; exchange their files in "
                "capture.json, or their entries in the calibration"
            )
        if found.rate != 1:
            return (
                f"camera {names} has another frame rate, {found.rate:.3g} of its frames per frame of the others: "
                f"{figures}; give timestamps in capture.json, or convert its video to the others' rate"
            )
        late = f"{abs(found.delay_frames):.2g} {'frame' if abs(found.delay_frames) == 1 else 'frames'}"
        word, whole = ("late" if found.delay_frames > 0 else "early"), round(found.delay_frames)
        mend = (
            f'add {whole} to its "frame_offset" in capture.json'
            if whole
            else "its views count less while the hand moves; synchronise the cameras better"
        )
        return f"camera {names} is {word} by {late}: {figures}; {mend}"


def find_suspects(rig: CameraSet, detections: Mapping[int, Sequence[Sequence[Detection]]]) -> list[Suspect]:
    """Find the cameras whose detections contradict the others', and why.

    rig: the cameras as calibrated, in any unit. detections: by moment (frame of the capture) and camera; consecutive
    moments are needed to tell delays. Returns none where too little was seen to say anything.
    """
    seen = _Seen(rig, detections)
    if len(rig) < 2 or not seen.moments:
        return []
    misses = _Misses(seen)
    trusted = misses.trusted()
    suspicious = [v for v in range(len(rig)) if v not in trusted]
    if len(trusted) < 2:
        found = _explain_together(misses) if suspicious else []
    else:
        found = [suspect for v in suspicious if (suspect := _explain_alone(misses, v, trusted)) is not None]
    return found + _delays(misses, trusted)


class _Seen:
    """The detections of every camera, without lens distortion, under any hypothesis and at fractions of frames."""

    def __init__(self, rig: CameraSet, detections: Mapping[int, Sequence[Sequence[Detection]]]) -> None:
        self.rig = rig
        self._pixels: list[dict[int, np.ndarray]] = []
        for v in range(len(rig)):
            by_frame = {frame: [d for d in found[v] if not d.redetected] for frame, found in detections.items()}
            self._pixels.append({frame: _pixels_of(found) for frame, found in by_frame.items() if found})
        several = sorted({f for f in detections if sum(f in pixels for pixels in self._pixels) >= 2})
        chosen = np.unique(np.linspace(0, len(several) - 1, min(len(several), _MOMENTS)).astype(int))
        self.moments = [several[i] for i in chosen.tolist()]
        self.first = min(detections, default=0)
        self._ideal: dict[tuple[int, str, str], dict[int, np.ndarray]] = {}

    def camera(self, v: int, hypothesis: Hypothesis) -> Camera:
        """The calibration that a camera has under a hypothesis."""
        camera = self.rig[hypothesis.calibration] if hypothesis.calibration else self.rig.cameras[v]
        if hypothesis.inverted:
            return replace(camera, cam_from_world=camera.cam_from_world.inverse())
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
        key = (v, hypothesis.image, hypothesis.calibration)
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


def _pixels_of(found: Sequence[Detection]) -> Float[np.ndarray, "hands 21 2"]:
    return np.stack([np.where((d.confidence > 0)[:, None], d.keypoints_px, np.nan) for d in found])


def _turn(pixels: np.ndarray, image: str, size_px: tuple[int, int]) -> np.ndarray:
    """Pixels of the picture as it would be without the mirror or the turn."""
    signs, exchange = _IMAGES[image]
    turned = pixels[..., ::-1] if exchange else pixels
    far = np.array(size_px) - 1.0
    return np.where(np.array(signs) > 0, turned, far - turned)


def _between(before: np.ndarray | None, after: np.ndarray | None, share: float) -> np.ndarray | None:
    """The hands between two frames; those that are in both."""
    if before is None or after is None:
        return None
    centers, later = (np.nanmedian(hands, axis=1) for hands in (before, after))
    step = np.linalg.norm(centers[:, None] - later[None], axis=-1)
    rows, columns = linear_sum_assignment(step)
    near = step[rows, columns] < _SAME_HAND * _extents(before)[rows]
    rows, columns = rows[near], columns[near]
    return (1 - share) * before[rows] + share * after[columns] if len(rows) else None


def _extents(hands: np.ndarray) -> np.ndarray:
    return np.maximum(np.linalg.norm(np.nanmax(hands, 1) - np.nanmin(hands, 1), axis=-1), 1e-9)


@dataclass(frozen=True)
class _Miss:
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

    def squared_ratio(self, given: _Miss) -> float:
        """The mean square distance in that of `given`, over the same hands; infinite where less than half are left."""
        both = np.isfinite(self.distances) & np.isfinite(given.distances)
        if 2 * both.sum() < given.hands:
            return np.inf
        tried, before = (np.sort(np.minimum(miss.distances[both], _FAR)) for miss in (self, given))
        kept = slice(0, -int(_STRAY * both.sum()) or None)
        return float((tried[kept] ** 2).mean() / max((before[kept] ** 2).mean(), 1e-12))


class _Misses:
    """Distances of pairs of cameras under hypotheses; each is computed once."""

    def __init__(self, seen: _Seen) -> None:
        self.seen = seen
        self._known: dict[tuple[int, int, Hypothesis, Hypothesis], _Miss] = {}

    def of_pair(self, a: int, b: int, of_a: Hypothesis = AS_GIVEN, of_b: Hypothesis = AS_GIVEN) -> _Miss:
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
        """Cameras that agree with each other: the one that disagrees with most is left out, then the next."""
        left = list(range(len(self.seen.rig)))
        while len(left) > 1:
            wrong = {}
            for v in left:
                misses = [miss for b in left if b != v and (miss := self.of_pair(*sorted((v, b)))).hands >= _MIN_HANDS]
                off = [miss.distance for miss in misses if miss.distance > _AGREES]
                wrong[v] = (len(off) / max(len(misses), 1), float(np.mean(off)) if off else 0.0)
            worst = max(left, key=lambda v: wrong[v])
            if not wrong[worst][0]:
                break
            left.remove(worst)
        return left


def _compare(seen: _Seen, a: int, b: int, of_a: Hypothesis, of_b: Hypothesis) -> _Miss:
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
        return _Miss(distances)
    cameras = seen.camera(a, of_a), seen.camera(b, of_b)
    flat, done = _distances(cameras, np.concatenate(first), np.concatenate(second)), 0
    for start, rows, columns in tables:
        table = flat[done : done + rows * columns].reshape(rows, columns)
        i, j = linear_sum_assignment(np.nan_to_num(table, nan=2.0))
        distances[start + j] = table[i, j]
        done += rows * columns
    return _Miss(distances)


def _distances(
    cameras: tuple[Camera, Camera], first: Float[np.ndarray, "n 21 2"], second: Float[np.ndarray, "n 21 2"]
) -> Float[np.ndarray, " n"]:
    """How far two detections are from one hand, in hand sizes: 1 at most, NaN if they have too little in common."""
    both = np.isfinite(first).all(-1) & np.isfinite(second).all(-1)
    projections = np.stack([camera.ideal_px_from_world for camera in cameras])
    pixels = np.nan_to_num(np.stack([first, second]))
    information = sum(
        linear_information(np.broadcast_to(p, (len(one), 3, 4)), one)
        for p, one in zip(projections, pixels, strict=True)
    )
    points = solve_points(information)
    errors, front = [], both.any(1)
    for p, one in zip(projections, pixels, strict=True):
        image = points @ p[:, :3].T + p[:, 3]
        front &= ((image[..., 2] > 1e-9) | ~both).all(1)
        off = np.linalg.norm(image[..., :2] / np.maximum(image[..., 2:], 1e-9) - one, axis=-1)
        errors.append(np.where(both, off, np.nan) / _extents(np.where(both[..., None], one, np.nan))[:, None])
    share = np.nanmedian(np.mean(errors, 0), axis=1)
    return np.where(both.sum(1) < MIN_KEYPOINTS, np.nan, np.where(front, np.minimum(share, 1.0), 1.0))


def _alone(rig: CameraSet, v: int) -> Iterator[Hypothesis]:
    """All that may be wrong with one camera by itself; the first of two has no time of its own."""
    width, height = rig.cameras[v].size_px
    for image, (_, exchange) in _IMAGES.items():
        if image and (not exchange or width == height):
            yield Hypothesis(image=image)
    if len(rig) > 2 or v > 0:
        yield from (Hypothesis(delay_frames=float(delay)) for delay in _DELAYS if delay)
        yield from (Hypothesis(rate=rate) for rate in _RATES)


def _explain_alone(misses: _Misses, v: int, trusted: Sequence[int]) -> Suspect | None:
    """Explain one camera by those that can be trusted."""
    rig = misses.seen.rig
    before, hands = misses.of_camera(v, AS_GIVEN, trusted)
    if hands < _MIN_HANDS or before <= _AGREES:
        return None
    swaps = [
        c for c in range(len(rig)) if c != v and c not in trusted and rig.cameras[c].size_px == rig.cameras[v].size_px
    ]
    tried = []
    for hypothesis in (*_alone(rig, v), *(Hypothesis(calibration=rig.names[c]) for c in swaps)):
        after, hands = misses.of_camera(v, hypothesis, trusted)
        tried.append((after if hands >= _MIN_HANDS else np.inf, hypothesis))
    after, best = min(tried, key=lambda one: one[0])
    if after < min(_AGREES, _EXPLAINS * before):
        return Suspect(rig.names[v], best, before, after)
    return Suspect(rig.names[v], None, before, before)


def _explain_together(misses: _Misses) -> list[Suspect]:
    """Explain a rig in which no two cameras agree, or not enough to tell which: everybody with everybody."""
    rig = misses.seen.rig
    everyone = range(len(rig))
    pairs = [(a, b) for a, b in combinations(everyone, 2) if misses.of_pair(a, b).hands >= _MIN_HANDS]
    if not pairs:
        return []

    def distance(of: Mapping[int, Hypothesis]) -> float:
        found = [misses.of_pair(a, b, of.get(a, AS_GIVEN), of.get(b, AS_GIVEN)) for a, b in pairs]
        enough = all(miss.hands >= _MIN_HANDS for miss in found)
        return float(np.mean([miss.distance for miss in found])) if enough else np.inf

    before = distance({})
    tried: list[tuple[float, int, Hypothesis]] = []
    for v in everyone:
        tried += [(distance({v: h}), v, h) for h in _alone(rig, v)]
    for a, b in combinations(everyone, 2):
        if rig.cameras[a].size_px == rig.cameras[b].size_px:
            exchanged = {a: Hypothesis(calibration=rig.names[b]), b: Hypothesis(calibration=rig.names[a])}
            tried.append((distance(exchanged), a, exchanged[a]))
    inverted = Hypothesis(inverted=True)
    tried.append((distance(dict.fromkeys(everyone, inverted)), 0, inverted))
    after, v, best = min(tried, key=lambda found: found[0])
    if not after < min(_AGREES, _EXPLAINS * before):
        return [Suspect(name, None, before, before) for name in rig.names] if before > _AGREES else []
    same = [
        u
        for far, u, h in tried
        if u != v and far < _AMBIGUOUS * after and replace(h, delay_frames=0.0) == replace(best, delay_frames=0.0)
    ]
    return [Suspect(rig.names[v], best, before, after, tuple(rig.names[u] for u in dict.fromkeys(same)))]


def _delays(misses: _Misses, trusted: Sequence[int]) -> list[Suspect]:
    """Find cameras that agree with the others, and would more so at another time: the clearest first."""
    left, found = list(trusted), []
    while len(left) > 1:
        # Of two cameras it cannot be told which is late: the second is named, against the first.
        delays = [_delay(misses, v, left) for v in (left if len(left) > 2 else left[1:])]
        clear = [delay for delay in delays if delay is not None]
        if not clear:
            break
        gain, v, suspect = max(clear, key=lambda one: one[0])
        found.append(suspect)
        left.remove(v)
    return found


def _delay(misses: _Misses, v: int, cameras: Sequence[int]) -> tuple[float, int, Suspect] | None:
    """Find how a camera's time differs from the others', and by what factor that lowers its squared distance."""
    partners = [b for b in cameras if b != v and misses.of_pair(v, b).hands >= 2 * _MIN_HANDS]

    def squared(hypothesis: Hypothesis) -> float:
        """Mean over the partners of what the hypothesis makes of the squared distance."""
        return float(np.mean([misses.of_pair(v, b, hypothesis).squared_ratio(misses.of_pair(v, b)) for b in partners]))

    if not partners:
        return None
    tried = {delay: squared(Hypothesis(delay_frames=float(delay))) for delay in _FINE_DELAYS}
    best = min(tried, key=lambda delay: tried[delay])
    # Whole frames alone: between two frames detections are averaged, which lowers the distance by itself.
    around = [tried.get(best + step, np.inf) for step in (-1, 0, 1)]
    delay, after = float(best), tried[best]
    if np.isfinite(around).all() and (bend := around[0] - 2 * after + around[2]) > 1e-9:
        slope = 0.5 * (around[0] - around[2])
        delay, after = best + slope / bend, after - 0.5 * slope**2 / bend  # the parabola's lowest point
    hypothesis = Hypothesis(delay_frames=round(delay, 2))
    for rate in _RATES:
        if (so := squared(Hypothesis(rate=rate))) < _RATE_GAIN * after:
            hypothesis, after = Hypothesis(rate=rate), so
    if after * _DELAY_GAIN > 1 or (hypothesis.rate == 1 and abs(hypothesis.delay_frames) < MIN_DELAY):
        return None
    before = float(np.median([misses.of_pair(v, b).distance for b in partners]))
    so = float(np.median([misses.of_pair(v, b, hypothesis).distance for b in partners]))
    return 1 / max(after, 1e-9), v, Suspect(misses.seen.rig.names[v], hypothesis, before, so)
