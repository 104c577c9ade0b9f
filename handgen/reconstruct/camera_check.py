"""Cameras that were bumped after the calibration: noticed, named, and mended from the hands themselves.

    1. match  detections that the association left out, because the camera sees them elsewhere, are given back to the
              hand of the same moment whose shape they have
    2. name   the camera that explains most if it alone is free to move (`handgen.geometry.bundle_adjustment`); then one
              more, as long as the errors are worth a name
    3. mend   the named ones are where that puts them

A detector's errors repeat: seen from one side, a knuckle is always put a few millimetres off. So a camera is named only
for what such errors cannot fake: hands in its image that lie several per cent of their size beside the place that the
other cameras agree on, and no more so once the camera is mended.

Two cameras can be found to disagree, but not which of them moved. Of three or more, those that moved are named as long
as they are a third at most; the others hold the world's place and scale. Where more seem to have moved, that is all
that is said, and nothing is mended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from handgen.geometry.bundle_adjustment import Adjusted, CameraPrior, Sightings, adjust, step_between
from handgen.geometry.camera import Camera, Rig
from handgen.hand.skeleton import KEYPOINT_COUNT
from handgen.multiview.association import (
    MIN_KEYPOINTS,
    MIRRORED_BELOW,
    MultiviewHand,
    ViewObservation,
    evenly_spaced,
    make_view,
    support_of_side,
)
from handgen.records.detection import Detection

MAX_TURN_DEG = 4.0  # detections farther from where the hand should be are of something else
MIN_HANDS = 10  # that a camera must see together with two others before anything is said about it
_HANDS_PER_SIDE = 128  # more tell nothing new: errors repeat
_SHAPE_SHARE = 0.15  # a hand's extent: how far keypoints may lie off once the whole hand is shifted into place
_TURN_RAD = np.radians(1.0)  # what a bump is like; 0.2 degree makes bumps of 1 degree seem a little smaller
# Against the prior of a camera's motion, all hands together count as so much of one: a detector's errors repeat, and
# would be taken for a camera that was turned one way and shifted the other (10 hands: 3.4 degrees and 40 mm for 1.5
# and 10, and pixels twice as far off).
_INDEPENDENT_HANDS = 0.3
# Of hands in the camera's image, in noises of the detections (1.5 % of the hand's extent). Simulated hands all turned
# the same way, with errors that each view repeats in all frames (3 mm per keypoint and 3 mm of the whole hand), fake
# 1.9 (95th percentile of cameras) and up to 3.8; cameras of a real room, 1.3. Such errors also keep cameras apart that
# did not move, by about one noise. Where those agree better, less is faked: at most 2.2 times what keeps seven others
# apart, and 3 times what keeps two others apart.
_MIN_MOTION = 3.0
_MIN_MOTION_OF_NOISE = 2.35  # times the spread of a camera against the mean of the others
_LEAST_NOISE = 0.1  # in noises of the detections: what is assumed to keep cameras apart that did not move
_MIN_APART = 1.0  # of two cameras, in the same unit, each from halfway between them; 0.4 where only noise is left
_EXPLAINS = 0.95  # of all cameras' errors: what one more camera that moved must lower them to; 0.97 where none did
_MAX_LEFT = 0.6  # of the distance from what the others say, when mended


@dataclass(frozen=True)
class CameraMove:
    """Motion of a camera since the calibration.

    rotation_deg, shift_mm: how far it turned, and its optical centre moved. before_px, after_px: median distance of its
    detections from what the other cameras say, as calibrated and as mended; NaN if they say nothing. motion_noises:
    median distance between both images of the same keypoints, in noises of their detections. moved: whether that is
    more than the detector's errors can fake.
    """

    name: str
    rotation_deg: float
    shift_mm: float
    before_px: float
    after_px: float
    motion_noises: float
    moved: bool


@dataclass(frozen=True)
class ExtrinsicsCheck:
    """The cameras that moved since the calibration.

    rig: the calibration's, but for the cameras that moved. frames: how many moments say so. disagree: cameras some of
    which moved, though it cannot be told which; nothing is mended then.
    """

    moves: tuple[CameraMove, ...]
    rig: Rig
    frames: int
    disagree: tuple[str, ...] = ()

    @property
    def moved(self) -> tuple[str, ...]:
        """The cameras that moved, by name."""
        return tuple(move.name for move in self.moves if move.moved)


def check_extrinsics(
    rig: Rig, hands: Mapping[str, Sequence[MultiviewHand]], detections: Mapping[int, Sequence[Sequence[Detection]]]
) -> ExtrinsicsCheck:
    """Find the cameras of `rig` that moved. hands: by side, whatever their error. detections: by frame, per camera."""
    chosen = {side: evenly_spaced(seen_hands, _HANDS_PER_SIDE) for side, seen_hands in hands.items() if seen_hands}
    found = match_left_out(rig, chosen, detections)
    case = _Case(rig, sightings_of(found, len(rig)))
    most = len(rig) // 3  # to name: of two in five, the wrong two were named in one trial of twelve
    free = [False] * len(rig)
    adjusted = case.adjust(free)
    while sum(free) <= most and (more := case.next_to_move(free, adjusted)) is not None:
        free, adjusted = more
    left = [v for v in range(len(rig)) if not free[v]]
    disagree: tuple[str, ...] = ()
    if sum(free) > most or (len(left) == 2 and case.disagree(left)):
        free, disagree = [False] * len(rig), rig.names
        adjusted = case.adjust(free)
    moves = case.moves(adjusted, free)
    return ExtrinsicsCheck(tuple(moves), adjusted.rig, len({c.frame for c in found}), disagree)


@dataclass(frozen=True)
class _Case:
    """A rig and what its cameras saw, to decide which of them moved."""

    rig: Rig
    seen: Sightings

    def adjust(self, free: Sequence[bool]) -> Adjusted:
        """Adjust the rig with these cameras free to move."""
        hands = self.seen.weight.shape[1] / KEYPOINT_COUNT
        return adjust(self.rig, self.seen, free, CameraPrior(_TURN_RAD, max(hands / _INDEPENDENT_HANDS, 1.0)))

    def next_to_move(self, free: Sequence[bool], adjusted: Adjusted) -> tuple[list[bool], Adjusted] | None:
        """Free one more camera: the one that explains most of those that would be named then; None if there is none."""
        best = None
        for v in np.flatnonzero(self._judged() & ~np.array(free)).tolist():
            more = [f or v == u for u, f in enumerate(free)]
            trial = self.adjust(more)
            all_moved = all(m.moved for m, f in zip(self.moves(trial, more), more, strict=True) if f)
            if all_moved and trial.cost < (_EXPLAINS * adjusted.cost if best is None else best[1].cost):
                best = more, trial
        return best

    def _judged(self) -> Bool[np.ndarray, " views"]:
        """Cameras that see enough hands together with two others."""
        there = (self.seen.weight > 0).reshape(len(self.rig), -1, KEYPOINT_COUNT)
        return (there & (there.sum(0) >= 3)).any(-1).sum(-1) >= MIN_HANDS

    def moves(self, adjusted: Adjusted, free: Sequence[bool]) -> list[CameraMove]:
        """Tell of each camera how it moved."""
        others = [v for v in range(len(self.rig)) if not free[v]]
        spread = self._noise(adjusted, others) * np.sqrt(1 + 1 / max(len(others), 1))
        faked = min(_MIN_MOTION, _MIN_MOTION_OF_NOISE * spread)
        return [self._move(v, adjusted, free[v], faked) for v in range(len(self.rig))]

    def _noise(self, adjusted: Adjusted, cameras: Sequence[int]) -> float:
        """Return how far from what all say these cameras' sightings lie, in noises of the detections."""
        there = self.seen.weight[cameras] > 0
        off = self._off(adjusted)[cameras] * np.sqrt(self.seen.weight[cameras])[..., None]
        # A point has three unknowns and two equations of each view that sees it.
        equations = 2 * (self.seen.weight > 0).sum(0)
        fitted = np.sqrt(equations / np.maximum(equations - 3, 1))
        return float(np.fmax(_median_length((off * fitted[:, None])[there]), _LEAST_NOISE))

    def _move(self, v: int, adjusted: Adjusted, free: bool, faked: float) -> CameraMove:
        given, mended = self.rig.cameras[v], adjusted.rig.cameras[v]
        there = (self.seen.weight[v] > 0) & adjusted.seen_by_others[v]
        points, pixels = adjusted.others_world[v, there], self.seen.pixels[v, there]
        before, after = (camera.ideal().project(points)[0] for camera in (given, mended))
        before_px, after_px = (_median_length(image - pixels) for image in (before, after))
        motion = _median_length((after - before) * np.sqrt(self.seen.weight[v, there])[:, None])
        step = step_between(given, mended)
        return CameraMove(
            name=given.name,
            rotation_deg=float(np.degrees(np.linalg.norm(step[:3]))),
            shift_mm=float(np.linalg.norm(mended.center_world - given.center_world)) * 1e3,
            before_px=before_px,
            after_px=after_px,
            motion_noises=motion,
            moved=bool(free and motion > faked and after_px < _MAX_LEFT * before_px),
        )

    def disagree(self, pair: Sequence[int]) -> bool:
        """Tell whether two cameras cannot both be where the calibration has them.

        Two rays that miss each other meet halfway, so each camera is off by half of what one of them moved, and by
        nothing of what it moved along the lines that the other camera's rays are in its image.
        """
        rig = Rig(tuple(self.rig.cameras[v] for v in pair))
        seen = Sightings(self.seen.pixels[list(pair)], self.seen.weight[list(pair)])
        both = (seen.weight > 0).all(0)
        if both.reshape(-1, KEYPOINT_COUNT).any(-1).sum() < MIN_HANDS:
            return False
        case = _Case(rig, seen)
        before, after = (case._off_noises(case.adjust([False, free])) for free in (False, True))
        return before > _MIN_APART and after < _MAX_LEFT * before

    def _off_noises(self, adjusted: Adjusted) -> float:
        """Median distance between sightings and what all cameras together say."""
        both = (self.seen.weight > 0).all(0)
        return _median_length((self._off(adjusted) * np.sqrt(self.seen.weight)[..., None])[:, both])

    def _off(self, adjusted: Adjusted) -> Float[np.ndarray, "views points 2"]:
        """Return how far sightings lie from what all cameras together say, in pixels."""
        said = np.stack([camera.ideal().project(adjusted.points_world)[0] for camera in adjusted.rig])
        return said - self.seen.pixels


def _median_length(vectors: Float[np.ndarray, "*batch 2"]) -> float:
    """NaN if there are none."""
    return float(np.median(np.linalg.norm(vectors, axis=-1))) if vectors.size else float("nan")


def sightings_of(seen_hands: Sequence[MultiviewHand], views: int) -> Sightings:
    """All keypoints of all hands as points; what is not finite was not seen."""
    pixels = np.zeros((views, len(seen_hands), KEYPOINT_COUNT, 2))
    weight = np.zeros((views, len(seen_hands), KEYPOINT_COUNT))
    for i, seen_hand in enumerate(seen_hands):
        for v, view in enumerate(seen_hand.views):
            if view is not None:
                pixels[v, i] = view.ideal_px
                weight[v, i] = view.confidence / view.noise_px**2
    there = np.isfinite(pixels).all(-1) & np.isfinite(weight) & (weight > 0)
    pixels, weight = np.where(there[..., None], pixels, 0.0), np.where(there, weight, 0.0)
    return Sightings(pixels.reshape(views, -1, 2), weight.reshape(views, -1))


def match_left_out(
    rig: Rig, hands: Mapping[str, Sequence[MultiviewHand]], detections: Mapping[int, Sequence[Sequence[Detection]]]
) -> list[MultiviewHand]:
    """Give hands what was detected of them by cameras that the association found too far off.

    Of several candidates in one image, the one that is off by what most of that camera's detections are.
    """
    seen_hands = [(side, seen_hand) for side, found in hands.items() for seen_hand in found]
    used = {_key(c, v, view.detection) for _, c in seen_hands for v, view in enumerate(c.views) if view is not None}
    views = [list(seen_hand.views) for _, seen_hand in seen_hands]
    for v, camera in enumerate(rig):
        candidates: list[list[tuple[np.ndarray, ViewObservation]]] = []
        for side, seen_hand in seen_hands:
            there = seen_hand.views[v]
            spare = detections.get(seen_hand.frame, [()] * len(rig))[v] if there is None else ()
            free = (d for d in spare if _key(seen_hand, v, d) not in used)
            seen = [there, *(make_view(rig, v, d) for d in free if support_of_side(d, side) >= MIRRORED_BELOW)]
            shifts = [(_shift(camera, seen_hand, view), view) for view in seen if view is not None]
            candidates.append([(shift, view) for shift, view in shifts if shift is not None])
        nearest = [min((shift for shift, _ in found), key=np.linalg.norm) for found in candidates if found]
        usual = np.median(nearest, axis=0) if nearest else np.zeros(2)
        for own, found in zip(views, candidates, strict=True):
            if own[v] is None and found:
                own[v] = found[int(np.argmin([np.linalg.norm(shift - usual) for shift, _ in found]))][1]
    return [replace(seen_hand, views=tuple(own)) for (_, seen_hand), own in zip(seen_hands, views, strict=True)]


def _key(seen_hand: MultiviewHand, camera: int, detection: Detection) -> tuple[int, int, bytes]:
    """Tells detections of one moment apart, also where they were read from a file twice."""
    return seen_hand.frame, camera, detection.keypoints_px.tobytes()


def _shift(camera: Camera, seen_hand: MultiviewHand, view: ViewObservation) -> Float[np.ndarray, " 2"] | None:
    """Measure how far off a detection is as a whole, pixels; None if it is not this hand, even so."""
    common = seen_hand.valid & view.observed & np.isfinite(view.ideal_px).all(-1)
    if common.sum() < MIN_KEYPOINTS:
        return None
    off = view.ideal_px[common] - camera.ideal().project(seen_hand.points_world[common])[0]
    shift = np.median(off, axis=0)
    reach = np.tan(np.radians(MAX_TURN_DEG)) * camera.intrinsics[0, 0]
    shape = np.median(np.linalg.norm(off - shift, axis=-1))
    return shift if np.linalg.norm(shift) < reach and shape < _SHAPE_SHARE * view.extent_px else None


def notes(check: ExtrinsicsCheck, mended: bool = False) -> list[str]:
    """Tell of each camera that moved in a line; nothing if all are in place. mended: the mended rig is in use."""
    lines = [
        f"camera {move.name} {'had' if mended else 'seems to have'} moved after calibration: "
        f"{move.rotation_deg:.1f} deg, {move.shift_mm:.0f} mm (its keypoints lie {move.before_px:.1f} px off, "
        f"{move.after_px:.1f} px when mended)" + ("" if mended else "; mend it with --refine-extrinsics")
        for move in check.moves
        if move.moved
    ]
    if check.disagree:
        lines.append(
            f"cameras {', '.join(check.disagree)} disagree, as if some had moved after calibration, and it cannot be "
            "told which: calibrate again"
        )
    return lines
