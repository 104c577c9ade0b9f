"""Cameras whose pictures lag by a part of a frame: their keypoints are moved to the moment, and count a little less."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from handgen.geometry.camera import Camera
from handgen.multiview.association import ViewObservation
from handgen.multiview.tracking import HandObservations

_UNEVEN = 0.3  # of the way that keypoints are moved: hands do not move evenly from one frame to the next


def at_the_moment(hand: HandObservations, delays: Mapping[int, float]) -> HandObservations:
    """Move a late camera's keypoints to where they were at the moment, on the line between two of its frames.

    delays: frames that a camera is late (early: below 0), by its number in the rig. A share of the way that keypoints
    are moved is added to their noise. Where the two frames do not both show the hand, keypoints stay, and all of the
    way that the hand moves in that time is noise. `detection` stays as it was seen.
    """
    seen = dict(hand.seen_hands)
    for frame, seen_hand in hand.seen_hands.items():
        views = list(seen_hand.views)
        for v, delay in delays.items():
            if (view := views[v]) is not None:
                views[v] = _moved(view, hand, frame, v, delay)
        seen[frame] = replace(seen_hand, views=tuple(views))
    return replace(hand, seen_hands=seen)


def _moved(view: ViewObservation, hand: HandObservations, frame: int, v: int, delay: float) -> ViewObservation:
    """Return one observation at its moment, which camera v shows `delay` frames later."""

    def at(place: int) -> ViewObservation | None:
        seen_hand = hand.seen_hands.get(place)
        return None if seen_hand is None else seen_hand.views[v]

    place = math.floor(frame + delay)
    share = frame + delay - place
    before, after = at(place), at(place + 1)
    if before is not None and after is not None:
        shift_px = (1 - share) * before.ideal_px + share * after.ideal_px - view.ideal_px
        shift_px = np.where(np.isfinite(shift_px), shift_px, 0.0)
        way_px = float(np.median(np.linalg.norm(shift_px, axis=-1)))
        noise_px = float(np.hypot(view.noise_px, _UNEVEN * way_px))
        return replace(view, ideal_px=view.ideal_px + shift_px, noise_px=noise_px)
    near = [other for other in (at(frame - 1), at(frame + 1)) if other is not None]
    steps_px = [np.linalg.norm(other.center_px - view.center_px) for other in near]
    return replace(view, noise_px=float(np.hypot(view.noise_px, delay * np.mean(steps_px)))) if near else view


def label_offset_px(
    camera: Camera, keypoints_world: Float[np.ndarray, "n 21 3"], frames: Sequence[int], i: int, delay: float
) -> float:
    """How far the i-th hand's keypoints lie from those in a picture that is `delay` frames late, pixels.

    keypoints_world: of one hand in `frames`, in metres. Returns the root mean square over keypoints: where fingers move
    and the palm rests, the median says nothing of the fingers.
    """
    here = camera.project(keypoints_world[i])[0]
    near = [k for k in (i - 1, i + 1) if 0 <= k < len(frames) and abs(frames[k] - frames[i]) == 1]
    steps = [np.linalg.norm(camera.project(keypoints_world[k])[0] - here, axis=-1) for k in near]
    return abs(delay) * float(np.sqrt(np.mean(np.square(np.mean(steps, 0))))) if steps else 0.0
