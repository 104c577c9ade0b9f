"""Cameras whose pictures lag by a part of a frame: their views count less the faster a hand moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from handgen.geometry.camera import Camera
from handgen.multiview.association import MultiviewHand, ViewObservation
from handgen.multiview.tracking import HandObservations


def down_weight(hand: HandObservations, delays: Mapping[int, float]) -> HandObservations:
    """Add to the noise of a late camera's detections how far the hand moves in the picture in that time.

    delays: frames that a camera is late, by its number in the rig.
    """
    seen = dict(hand.seen_hands)
    for frame, seen_hand in hand.seen_hands.items():
        views = list(seen_hand.views)
        for v, delay in delays.items():
            if (view := views[v]) is not None:
                step = _step_px(view, [hand.seen_hands.get(frame + side) for side in (-1, 1)], v)
                views[v] = replace(view, noise_px=float(np.hypot(view.noise_px, delay * step)))
        seen[frame] = replace(seen_hand, views=tuple(views))
    return replace(hand, seen_hands=seen)


def _step_px(view: ViewObservation, neighbours: Sequence[MultiviewHand | None], v: int) -> float:
    """Pixels that a hand moves per frame, by the frames before and after; 0 where there are none."""
    others = [one.views[v] for one in neighbours if one is not None]
    steps = [np.linalg.norm(other.center_px - view.center_px) for other in others if other is not None]
    return float(np.mean(steps)) if steps else 0.0


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
