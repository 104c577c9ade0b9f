"""Name what is wrong with a camera, or with a whole rig, from the detections alone.

Two detections of one hand meet in space if both cameras are what the capture says. By how much they miss each other is
measured for every pair of cameras, in sizes of the hand, and again under each hypothesis: the picture is mirrored or
turned, two cameras are exchanged, the video is late, early, or of another rate, the extrinsics are inverted. The
hypothesis under which the cameras agree is the cause.

    1. pairs       cameras that agree with each other are trusted; the rest is to be explained
    2. explain     each of the rest is tried under every hypothesis against the trusted ones (or, where no two agree,
                   together with all others)
    3. delays      cameras that agree are tried a little earlier and later, to fractions of a frame
    4. look again  a camera that nothing explains is judged by what the detector finds where the others see the hands

Detections of one camera are compared with those of another, never with a fit, so that nothing wrong is learnt first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from handgen.geometry.camera import CameraSet
from handgen.reconstruct.camera_agreement import AGREES, AS_GIVEN, IMAGES, MIN_HANDS, Hypothesis, Misses, SeenHands
from handgen.records.detection import Detection

# Where no cause is found: hand sizes by which all but one in twenty of a camera's hands must miss the others'. Where a
# detector errs, some hands are right (0.033 at most, of simulated hands seen along the fingers); 0.047 and more where
# a camera was moved.
_ALWAYS_MISSES, _NEARLY_ALL = 0.04, 0.05
# Of two cameras alone: hand sizes by which their hands miss each other, in the median and in the best of twenty.
# Intact: 0.033 at most in the median (0.010 in the best); 0.043 and 0.018 where one's focal length was a quarter off.
_TWO_AGREE, _TWO_AGREE_AT_BEST = 0.035, 0.015
# Cameras that agree, though far worse than the others with each other, may still have another camera's pictures.
_WORSE, _LEAST_WORSE = 6.0, 0.012  # times the others' distance, and hand sizes
_EXPLAINS = 0.6  # of the distance as the capture has it: what a hypothesis must lower it to
_TIME_LEAVES = 0.03  # hand sizes that miss at the right time: at another one, a detector's errors may be less, too
_AMBIGUOUS = 1.5  # times the best hypothesis' distance: another camera's may as well be true
_DELAYS = tuple(range(-8, 9))  # frames, of cameras that disagree
_FINE_DELAYS = tuple(range(-8, 9))  # frames, of cameras that agree
_RATES = (0.5, 2.0, 5 / 6, 6 / 5, 2 / 5, 5 / 2)  # of a video against the others: 30 and 60, 25 and 30, 24 and 60
_NEXT_FRAME = 1.25  # frames: a longer delay is no matter of clocks
_WHOLE_FRAME = 0.85  # frames: a delay that moving the video by one mends
MIN_DELAY = 0.35  # frames; less is within what simulated cameras without delay show
_DELAY_GAIN = 1.2  # squared distances at the frame itself, in those at the delay; 1.02 in simulated, 1.1 in real rigs
_DELAY_HELPS = 0.82  # of the median distance that is left; 0.86 to 0.95 where nothing is late, 0.77 at most else
# Hand sizes (half a millimetre) by which a delay of a part of a frame must lower it: less matters to no label.
_LEAST_HELP = 0.003
_FEW_MOMENTS, _FEW_GAIN = 24, 2.0  # with fewer moments: up to 1.6 in simulated rigs that are in time
_RATE_GAIN = 0.9  # of the best delay's squared distance: another rate is less usual

_SHARED_IMAGES = ("mirrored", "upside down", "mirrored top to bottom")  # that all videos may be
_ZOOMS = (0.5, 2 / 3, 1.5, 2.0)  # of all intrinsics, where they are of pictures of another size
_ALL = -1  # in the place of a camera's number

_MENDS = {
    "mirrored": "mirror its video back (ffmpeg -vf hflip), or record without mirroring",
    "upside down": "turn its video (ffmpeg -vf hflip,vflip), or calibrate it as it is",
    "mirrored top to bottom": "turn its video back (ffmpeg -vf vflip)",
    "rotated by 90 degrees clockwise": "turn its video back (ffmpeg -vf transpose=2)",
    "rotated by 90 degrees counter-clockwise": "turn its video back (ffmpeg -vf transpose=1)",
}


@dataclass(frozen=True)
class Suspect:
    """A camera that fits the others only under a hypothesis (None: under none that was tried).

    alternatives: other cameras that may be the cause instead. everywhere: all cameras have it. swapped: the other
    camera has this one's calibration. clocks_differ: others are late by a part of a frame as well, so that no moment is
    the right one. before, after: median distance between its detections and the others', in hand sizes, as the capture
    has it and under the hypothesis.
    """

    camera: str
    hypothesis: Hypothesis | None
    before: float
    after: float
    alternatives: tuple[str, ...] = ()
    everywhere: bool = False
    swapped: bool = False
    clocks_differ: bool = False

    @property
    def delay_frames(self) -> float:
        """Frames that it is late; 0 where that is not what is wrong."""
        return 0.0 if self.hypothesis is None else self.hypothesis.delay_frames

    @property
    def left_out(self) -> bool:
        """Whether its views are worth nothing as they are; a delay below a frame only makes them less precise."""
        return self.delay_frames == 0 or (abs(self.delay_frames) >= _WHOLE_FRAME and not self.clocks_differ)

    def note(self) -> str:
        """Name the camera, what is wrong with it, the figures, and the edit that mends it."""
        names = "all cameras" if self.everywhere else "camera " + " or ".join(sorted((self.camera, *self.alternatives)))
        looks = "look" if self.everywhere else "looks"
        figures = f"detections miss the other cameras' by {self.before:.2f} hand sizes, {self.after:.2f} if so"
        found = self.hypothesis
        if found is None:
            return (
                f"{names} disagrees with the others: its detections miss theirs by {self.before:.2f} hand sizes; is "
                "it the right video, or has it moved since it was calibrated? Calibrate again, or leave it out"
            )
        if found.inverted:
            which = "the extrinsics look" if self.everywhere else f"{names}: its extrinsics look"
            return (
                f"{which} inverted (camera to world instead of world to camera): {figures}; invert the transforms of "
                "the calibration"
            )
        if found.zoom != 1:
            return (
                f"the intrinsics look like those of pictures of another size, {found.zoom:.3g} times too small: "
                f"{figures}; calibrate at the videos' size, or correct the size in the calibration"
            )
        if found.image:
            return f"{names} {looks} {found.image}: {figures}; {_MENDS[found.image]}"
        if found.calibration and not self.swapped:
            return (
                f"{names} sees what camera {found.calibration} sees: {figures}; its video or keypoints are of another "
                "camera, give it its own"
            )
        if found.calibration:
            pair = " and ".join(sorted((self.camera, found.calibration)))
            return (
                f"cameras {pair} look exchanged: {figures}; exchange their files in "
                "capture.json, or their entries in the calibration"
            )
        if found.rate != 1:
            return (
                f"{names} has another frame rate, {found.rate:.3g} of its frames per frame of the others: "
                f"{figures}; give timestamps in capture.json, or convert its video to the others' rate"
            )
        number = f"{abs(found.delay_frames):.2g}"
        late = f"{number} {'frame' if number == '1' else 'frames'}"
        word, whole = ("late" if found.delay_frames > 0 else "early"), round(found.delay_frames)
        mend = (
            f'add {whole} to its "frame_offset" in capture.json'
            if self.left_out
            else "its views are rejected where the hand moves far; synchronise the cameras better, or give timestamps"
        )
        return f"{names} is {word} by {late}: {figures}; {mend}"


def notes_of(suspects: Sequence[Suspect]) -> list[str]:
    """Say what is wrong, each thing once."""
    by_cause: dict[str | frozenset[str], str] = {}
    for suspect in suspects:
        found = suspect.hypothesis
        pair = frozenset((suspect.camera, found.calibration)) if found is not None and suspect.swapped else None
        by_cause.setdefault(pair or suspect.note(), suspect.note())
    return list(by_cause.values())


def find_suspects(rig: CameraSet, detections: Mapping[int, Sequence[Sequence[Detection]]]) -> list[Suspect]:
    """Find the cameras whose detections contradict the others', and why.

    rig: the cameras as calibrated, in any unit. detections: by moment (frame of the capture) and camera; consecutive
    moments are needed to tell delays. What was found in a second look, where the others see a hand, is asked only about
    cameras that nothing explains: a detector that took the wrong part of the picture for the hand finds it then, while
    in a wrong picture, or at a wrong place, the hand is still elsewhere. Returns none where too little was seen to say
    anything.
    """
    found = _find(rig, detections)
    if unexplained := unexplained_cameras(rig, found):
        agreeing = unexplained.intersection(Misses(SeenHands(rig, detections, unexplained)).trusted())
        found = [suspect for suspect in found if rig.numbers[suspect.camera] not in agreeing]
    return found


def unexplained_cameras(rig: CameraSet, suspects: Sequence[Suspect]) -> set[int]:
    """Numbers of the cameras that disagree with others, which agree, without a cause."""
    return {rig.numbers[found.camera] for found in suspects if found.hypothesis is None and not found.alternatives}


def _find(rig: CameraSet, detections: Mapping[int, Sequence[Sequence[Detection]]]) -> list[Suspect]:
    seen = SeenHands(rig, detections)
    if len(rig) < 2 or not seen.moments:
        return []
    misses = Misses(seen)
    trusted = misses.trusted()
    suspicious = [v for v in range(len(rig)) if v not in trusted]
    together = (suspicious and 2 * len(trusted) <= len(rig)) or _barely_agree(misses)
    found = _explain_together(misses) if together else []
    if any(suspect.everywhere for suspect in found):
        return found
    if suspicious and len(trusted) > 1 and all(suspect.hypothesis is None for suspect in found):
        found = [suspect for v in suspicious if (suspect := _explain_alone(misses, v, trusted)) is not None]
    found += _delays(misses, [v for v in trusted if rig.names[v] not in {suspect.camera for suspect in found}])
    left = [v for v in trusted if rig.names[v] not in {suspect.camera for suspect in found}]
    for v in [v for v in left if _is_worse(misses, v, left)]:
        suspect = _explain_alone(misses, v, [b for b in left if b != v])
        found += [] if suspect is None or suspect.hypothesis is None else [suspect]
    near = [suspect for suspect in found if 0 < abs(suspect.delay_frames) < _NEXT_FRAME]
    differ = len(near) > 1 and any(abs(suspect.delay_frames) < _WHOLE_FRAME for suspect in near)
    return [replace(suspect, clocks_differ=differ and suspect in near) for suspect in found]


def _barely_agree(misses: Misses) -> bool:
    """Whether two cameras, which no third one can confirm, miss each other by more than intact ones in all hands."""
    if len(misses.seen.rig) > 2:
        return False
    miss = misses.of_pair(0, 1)
    nearest = np.nanquantile(miss.distances, _NEARLY_ALL) if miss.hands >= MIN_HANDS else 0.0
    return miss.distance > _TWO_AGREE and bool(nearest > _TWO_AGREE_AT_BEST)


def _is_worse(misses: Misses, v: int, cameras: Sequence[int]) -> bool:
    """Whether a camera agrees with others far worse than these do with each other."""
    others = [misses.of_pair(a, b) for a, b in combinations(cameras, 2) if v not in (a, b)]
    known = [miss.distance for miss in others if miss.hands >= MIN_HANDS]
    own, hands = misses.of_camera(v, AS_GIVEN, cameras)
    return bool(known) and hands >= MIN_HANDS and own > max(_LEAST_WORSE, _WORSE * float(np.median(known)))


def _alone(rig: CameraSet, v: int) -> Iterator[Hypothesis]:
    """All that may be wrong with one camera by itself; the first of two has no time of its own."""
    yield from (Hypothesis(image=image) for image in IMAGES if image)
    yield Hypothesis(inverted=True)
    if len(rig) > 2 or v > 0:
        yield from (Hypothesis(delay_frames=float(delay)) for delay in _DELAYS if delay)
        yield from (Hypothesis(rate=rate) for rate in _RATES)


def _explain_alone(misses: Misses, v: int, trusted: Sequence[int]) -> Suspect | None:
    """Explain one camera by those that can be trusted."""
    rig = misses.seen.rig
    before, hands = misses.of_camera(v, AS_GIVEN, trusted)
    if hands < MIN_HANDS:
        return None
    alike = [c for c in range(len(rig)) if c != v and rig.cameras[c].size_px == rig.cameras[v].size_px]
    tried = []
    for hypothesis in (*_alone(rig, v), *(Hypothesis(calibration=rig.names[c]) for c in alike)):
        others = [b for b in trusted if rig.names[b] != hypothesis.calibration]
        after, hands = misses.of_camera(v, hypothesis, others)
        explains = hands >= MIN_HANDS and (after < _TIME_LEAVES or not hypothesis.is_of_time)
        tried.append((after if explains else np.inf, hypothesis))
    after, best = min(tried, key=lambda one: one[0])
    if after < min(AGREES, _EXPLAINS * before):
        swapped = bool(best.calibration) and rig.numbers[best.calibration] not in trusted
        return Suspect(rig.names[v], best, before, after, swapped=swapped)
    pairs = [miss for b in trusted if b != v and (miss := misses.of_pair(v, b)).hands]
    # A camera whose rays run along those of a partner meets it wherever it has moved to: so not all hands together.
    always = np.median([np.nanquantile(miss.distances, _NEARLY_ALL) for miss in pairs]) > _ALWAYS_MISSES
    return Suspect(rig.names[v], None, before, before) if always else None


def _explain_together(misses: Misses) -> list[Suspect]:
    """Explain a rig in which no two cameras agree, or not enough to tell which: everybody with everybody."""
    rig = misses.seen.rig
    everyone = range(len(rig))
    pairs = [(a, b) for a, b in combinations(everyone, 2) if misses.of_pair(a, b).hands >= MIN_HANDS]
    if not pairs:
        return []

    def distance(of: Mapping[int, Hypothesis]) -> float:
        found = [misses.of_pair(a, b, of.get(a, AS_GIVEN), of.get(b, AS_GIVEN)) for a, b in pairs]
        enough = all(miss.hands >= MIN_HANDS for miss in found)
        return float(np.mean([miss.distance for miss in found])) if enough else np.inf

    before = distance({})
    tried: list[tuple[float, int, Hypothesis]] = []
    for v in everyone:
        tried += [(distance({v: h}), v, h) for h in _alone(rig, v)]
    for a, b in combinations(everyone, 2):
        if rig.cameras[a].size_px == rig.cameras[b].size_px:
            exchanged = {a: Hypothesis(calibration=rig.names[b]), b: Hypothesis(calibration=rig.names[a])}
            tried.append((distance(exchanged), a, exchanged[a]))
    shared = [Hypothesis(inverted=True), *(Hypothesis(image=image) for image in _SHARED_IMAGES)]
    shared += [Hypothesis(zoom=zoom) for zoom in _ZOOMS]
    tried += [(distance(dict.fromkeys(everyone, hypothesis)), _ALL, hypothesis) for hypothesis in shared]
    after, v, best = min(tried, key=lambda found: found[0])
    if not after < min(AGREES, _EXPLAINS * before):
        others = {name: tuple(other for other in rig.names if other != name) for name in rig.names}
        disagree = before > AGREES or _barely_agree(misses)
        return [Suspect(name, None, before, before, others[name]) for name in rig.names] if disagree else []
    if v == _ALL:
        return [Suspect(name, best, before, after, everywhere=True) for name in rig.names]
    if best.calibration:
        both = (rig.names[v], best), (best.calibration, Hypothesis(calibration=rig.names[v]))
        return [Suspect(name, hypothesis, before, after, swapped=True) for name, hypothesis in both]
    same = [
        u
        for far, u, h in tried
        if u not in (v, _ALL)
        and far < _AMBIGUOUS * after
        and replace(h, delay_frames=0.0) == replace(best, delay_frames=0.0)
    ]
    return [Suspect(rig.names[v], best, before, after, tuple(rig.names[u] for u in dict.fromkeys(same)))]


def _delays(misses: Misses, trusted: Sequence[int]) -> list[Suspect]:
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


def _delay(misses: Misses, v: int, cameras: Sequence[int]) -> tuple[float, int, Suspect] | None:
    """Find how a camera's time differs from the others', and by what factor that lowers its squared distance."""
    partners = [b for b in cameras if b != v and misses.of_pair(v, b).hands >= 2 * MIN_HANDS]

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
    gain = _DELAY_GAIN if len(misses.seen.moments) >= _FEW_MOMENTS else _FEW_GAIN
    if after * gain > 1 or (hypothesis.rate == 1 and abs(hypothesis.delay_frames) < MIN_DELAY):
        return None
    before = float(np.median([misses.of_pair(v, b).distance for b in partners]))
    so = float(np.median([misses.of_pair(v, b, hypothesis).distance for b in partners]))
    part = hypothesis.rate == 1 and abs(hypothesis.delay_frames) < _WHOLE_FRAME
    if so > _DELAY_HELPS * before or (part and before - so < _LEAST_HELP):  # then some strays alone are nearer
        return None
    return 1 / max(after, 1e-9), v, Suspect(misses.seen.rig.names[v], hypothesis, before, so)
