"""Follow hands through frames, and decide which side each is by all its detections together.

Each track votes with the detections of all its frames and views, so that a wrong label in one view or a few frames
makes no third hand; and two hands seen at one time are a left and a right one unless their labels insist.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from handgen.geometry.camera import CameraSet, Rig
from handgen.hand.skeleton import SIDES, other_side
from handgen.multiview.association import MIRRORED_BELOW, MultiviewHand, associate_frame, retriangulate, support_of_side
from handgen.multiview.consensus import FEW_FRAMES, leave_out_contradicting
from handgen.records.detection import Detection

_HAND_SPAN_LIMITS = (0.3, 3.0)  # times the median span of the hands: others are chance agreements
_MAX_STEP_SPANS = 0.8  # how far, in hand spans, a hand may move from one frame to the next and stay the same track
_MAX_GAP_FRAMES = 5
_SURE = 0.85  # a vote beyond this for a side never becomes the other side
_LABEL_STEP_SPANS = 0.4  # what a change of label from frame to frame counts as motion, in hand spans
_VOTING_FRAMES = 16  # of a track, for which side it is while it is followed
_MIN_STRAIGHT_VIEWS = 3  # with so many left, a hand does without the views that saw it mirrored
_MAX_SHARED = 0.5  # of a track's frames in which its side may be taken already

Detections = Sequence[Sequence[Sequence[Detection]]]  # per frame and camera
Hands = Sequence[Sequence[MultiviewHand]]  # per frame
# Adds the hands that one camera alone sees, such as `handgen.reconstruct.single_view.SingleViewFinder`.
AddSingleViews = Callable[[Rig, Sequence[int], Detections, Hands, str], list[list[MultiviewHand]]]


@dataclass(frozen=True)
class HandObservations:
    """All that was seen of one hand, by frame."""

    side: str
    seen_hands: dict[int, MultiviewHand]

    def bridge_gaps(self, frames: int) -> HandObservations:
        """Fill the gaps that are at most so many frames long with hands that no view saw."""
        seen_hands: dict[int, MultiviewHand] = {}
        last: int | None = None
        for frame, seen_hand in self.seen_hands.items():
            if last is not None and frame - last - 1 <= frames:
                views = len(seen_hand.views)
                seen_hands |= {missed: MultiviewHand.unseen(missed, views) for missed in range(last + 1, frame)}
            seen_hands[frame] = seen_hand
            last = frame
        return HandObservations(self.side, seen_hands)


def hands_of_detections(
    rig: Rig, frames: Sequence[int], detections: Detections, hands: str, single_view: AddSingleViews | None = None
) -> list[HandObservations]:
    """The hands in consecutive frames. detections: per frame and camera. hands: "left", "right" or "both".

    single_view: to have hands as well that only one camera sees.
    """
    associated = _associate(rig, frames, detections, hands)
    if single_view is not None:
        associated = single_view(rig, frames, detections, associated, hands)
    return _agreed_hands(rig, frames, detections, hands_of_frames(associated, hands))


def hands_in_any_unit(
    rig: CameraSet, frames: Sequence[int], detections: Detections, hands: str
) -> list[HandObservations]:
    """The hands that `hands_of_detections` finds, in whatever unit: callers may only make of them what has none."""
    return _agreed_hands(rig, frames, detections, hands_of_frames(_associate(rig, frames, detections, hands), hands))


def _agreed_hands(
    rig: CameraSet, frames: Sequence[int], detections: Detections, hands: Sequence[HandObservations]
) -> list[HandObservations]:
    """The hands without views that contradict their side, and in few moments without any that contradict the others."""
    kept = _drop_mirrored_views(rig, hands)
    if len(frames) > FEW_FRAMES:
        return kept
    found = dict(zip(frames, detections, strict=True))
    return [replace(hand, seen_hands=leave_out_contradicting(rig, hand.seen_hands, found)) for hand in kept]


def _associate(rig: CameraSet, frames: Sequence[int], detections: Detections, hands: str) -> list[list[MultiviewHand]]:
    only_side = hands if hands in SIDES else None
    return [associate_frame(rig, n, found, only_side) for n, found in zip(frames, detections, strict=True)]


def hands_of_frames(seen_hands: Sequence[Sequence[MultiviewHand]], hands: str) -> list[HandObservations]:
    """Left and right hand through consecutive frames. seen_hands: per frame. hands: "left", "right" or "both"."""
    sides = {side: _Side() for side in (SIDES if hands == "both" else (hands,))}
    # The longest, best-seen tracks choose first.
    for track in sorted(_link(seen_hands), key=lambda t: -sum(c.view_count for c in t)):
        right, unsure = _vote(track), _is_unsure(track)
        preferred = "right" if right >= 0.5 else "left"
        other = other_side(preferred)
        if preferred in sides and sides[preferred].has_room(track):
            sides[preferred].tracks.append(track)
        elif unsure and preferred not in sides and sides[other].has_room(track):
            sides[other].tracks.append(track)
        elif hands == "both" and sides[other].has_room(track):
            rivals = sides[preferred].sharing(track)
            weakest = min(rivals, key=lambda t: abs(_vote(t) - 0.5))
            if len(rivals) == 1 and abs(_vote(weakest) - 0.5) < abs(right - 0.5) and _is_unsure(weakest):
                sides[preferred].tracks.remove(weakest)
                sides[other].tracks.append(weakest)
                sides[preferred].tracks.append(track)
            elif unsure:
                sides[other].tracks.append(track)
    return [HandObservations(side, chosen) for side in sides if (chosen := sides[side].by_frame())]


def _drop_mirrored_views(rig: CameraSet, hands: Sequence[HandObservations]) -> list[HandObservations]:
    """Drop the detections that are surely of the other side, where enough views of a hand are left.

    Such a detection took the palm for the back, and so has index and pinky the wrong way round.
    """
    kept = []
    for hand in hands:
        seen_hands = {}
        for frame, seen_hand in hand.seen_hands.items():
            views = tuple(
                view if view is None or support_of_side(view.detection, hand.side) >= MIRRORED_BELOW else None
                for view in seen_hand.views
            )
            left = sum(view is not None for view in views)
            if _MIN_STRAIGHT_VIEWS <= left < seen_hand.view_count:
                straight = retriangulate(rig, replace(seen_hand, views=views))
                seen_hand = straight if np.isfinite(straight.error_share) else seen_hand
            seen_hands[frame] = seen_hand
        kept.append(HandObservations(hand.side, seen_hands))
    return kept


class _Side:
    """The tracks that were given one side."""

    def __init__(self) -> None:
        self.tracks: list[list[MultiviewHand]] = []

    def by_frame(self) -> dict[int, MultiviewHand]:
        """One hand per frame; the track that came first has it."""
        chosen: dict[int, MultiviewHand] = {}
        for track in self.tracks:
            for seen_hand in track:
                chosen.setdefault(seen_hand.frame, seen_hand)
        return dict(sorted(chosen.items()))

    def sharing(self, track: Sequence[MultiviewHand]) -> list[list[MultiviewHand]]:
        """The tracks here that have a frame in common with `track`."""
        frames = {seen_hand.frame for seen_hand in track}
        return [mine for mine in self.tracks if any(seen_hand.frame in frames for seen_hand in mine)]

    def has_room(self, track: Sequence[MultiviewHand]) -> bool:
        """Tell whether most of the track's frames are free."""
        taken = self.by_frame()
        return sum(seen_hand.frame in taken for seen_hand in track) < _MAX_SHARED * len(track)


def _vote(track: Sequence[MultiviewHand]) -> float:
    """Mean probability of a right hand over all detections of a track, 0 to 1."""
    votes = [view.detection.right for seen_hand in track for view in seen_hand.views if view is not None]
    return float(np.mean(votes))


def _is_unsure(track: Sequence[MultiviewHand]) -> bool:
    right = _vote(track)
    return max(right, 1 - right) < _SURE


def _link(seen_hands: Sequence[Sequence[MultiviewHand]]) -> list[list[MultiviewHand]]:
    """Tracks: chains of hands whose centres move less than a hand from frame to frame."""
    spans = [seen_hand.span for found in seen_hands for seen_hand in found]
    if not spans:
        return []
    span = float(np.median(spans))
    low, high = _HAND_SPAN_LIMITS
    tracks: list[list[MultiviewHand]] = []
    open_tracks: list[list[MultiviewHand]] = []
    for found in seen_hands:
        plausible = [c for c in found if low * span < c.span < high * span]
        if not plausible:
            continue
        frame = plausible[0].frame
        open_tracks = [track for track in open_tracks if frame - track[-1].frame <= _MAX_GAP_FRAMES]
        steps = []
        for i, track in enumerate(open_tracks):
            reach = _MAX_STEP_SPANS * span * (frame - track[-1].frame)
            for k, seen_hand in enumerate(plausible):
                step = float(np.linalg.norm(seen_hand.center_world - track[-1].center_world))
                if step < reach:
                    # Of two hands in one place, the one of the same side is the same.
                    turned = abs(_vote([seen_hand]) - _vote(track[-_VOTING_FRAMES:]))
                    steps.append((step + _LABEL_STEP_SPANS * span * turned, i, k))
        taken: dict[int, int] = {}  # hand: its track
        for _, i, k in sorted(steps):
            if i not in taken.values() and k not in taken:
                open_tracks[i].append(plausible[k])
                taken[k] = i
        new = [[seen_hand] for k, seen_hand in enumerate(plausible) if k not in taken]
        tracks += new
        open_tracks += new
    return tracks
