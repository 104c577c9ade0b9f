"""Cameras whose pictures lag by a part of a frame: their keypoints are moved to the moment, and count a little less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from handgen.geometry.camera import Camera
from handgen.multiview.association import ViewObservation
from handgen.multiview.tracking import HandObservations

_UNEVEN, _GONE_ON = 0.3, 1.0  # of the way between two frames, and beyond them: noise of keypoints that are moved


def at_the_moment(hand: HandObservations, delays: Mapping[int, float]) -> HandObservations:
    """Move a late camera's keypoints to where they were at the moment, on the line to those of the next frame.

    delays: frames that a camera is late (early: below 0), by its number in the rig. Where that frame does not show the
    hand, the line from the frame on the other side is gone on with; where neither does, the keypoints stay. A hand does
    not move evenly, so a share of what they are moved is added to their noise. `detection` stays as it was seen.
    """
    seen = dict(hand.seen_hands)
    for frame, seen_hand in hand.seen_hands.items():
        views = list(seen_hand.views)
        for v, delay in delays.items():
            if (view := views[v]) is None:
                continue
            side = 1 if delay > 0 else -1
            toward, away = (_view(hand, frame + step, v) for step in (side, -side))
            if toward is not None:
                step_px, share = toward.ideal_px - view.ideal_px, _UNEVEN
            elif away is not None:
                step_px, share = view.ideal_px - away.ideal_px, _GONE_ON
            else:
                continue
            shift_px = abs(delay) * np.where(np.isfinite(step_px), step_px, 0.0)
            moved = float(np.median(np.linalg.norm(shift_px, axis=-1)))
            noise_px = float(np.hypot(view.noise_px, share * moved))
            views[v] = replace(view, ideal_px=view.ideal_px + shift_px, noise_px=noise_px)
        seen[frame] = replace(seen_hand, views=tuple(views))
    return replace(hand, seen_hands=seen)


def _view(hand: HandObservations, frame: int, v: int) -> ViewObservation | None:
    seen_hand = hand.seen_hands.get(frame)
    return None if seen_hand is None else seen_hand.views[v]


def label_offset_px(
    camera: Camera, keypoints_world: Float[np.ndarray, "n 21 3"], frames: Sequence[int], i: int, delay: float
) -> float:
    """How far the i-th hand's keypoints lie from those in a picture that is `delay` frames late: median, pixels.

    keypoints_world: of one hand in `frames`, in metres.
    """
    here = camera.project(keypoints_world[i])[0]
    near = [k for k in (i - 1, i + 1) if 0 <= k < len(frames) and abs(frames[k] - frames[i]) == 1]
    steps = [np.median(np.linalg.norm(camera.project(keypoints_world[k])[0] - here, axis=-1)) for k in near]
    return abs(delay) * float(np.mean(steps)) if steps else 0.0
