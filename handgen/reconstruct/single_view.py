"""Place hands that only one camera sees (`annotate --min-views 1`) by the model and its mean size.

How far away such a hand is, its size in the picture alone says; so it is flagged (`views_detected` is 1), and its
covariance is long along the line of sight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from handgen.fit.initialization import start_from_one_view
from handgen.fit.observations import kinematics_of
from handgen.fit.residuals import Observations
from handgen.geometry.camera import Rig
from handgen.hand.skeleton import KEYPOINT_COUNT, SIDES
from handgen.multiview.association import MultiviewHand, ViewObservation, make_view
from handgen.records.detection import Detection

_MAX_MODEL_ERROR_SHARE = 0.08  # of the hand's extent: a detection that the model cannot take on is no hand


@dataclass(frozen=True)
class SingleViewFinder:
    """Puts a hand that one camera alone sees into the world. offsets_m: (21, 3), of the detector."""

    hand_model: str
    offsets_m: Float[np.ndarray, "21 3"]

    def __call__(
        self,
        rig: Rig,
        frames: Sequence[int],
        detections: Sequence[Sequence[Sequence[Detection]]],
        seen_hands: Sequence[Sequence[MultiviewHand]],
        hands: str,
    ) -> list[list[MultiviewHand]]:
        """Append to the hands of each frame those that one camera alone sees. hands: "left", "right" or "both"."""
        wanted = SIDES if hands == "both" else (hands,)
        found = [list(here) for here in seen_hands]
        for side in wanted:
            lone = []
            for place, (frame, seen, here) in enumerate(zip(frames, detections, seen_hands, strict=True)):
                if len(here) < len(wanted):
                    lone += [(place, frame, camera, view) for camera, view in _unused(rig, seen, here, side, hands)]
            for (place, *_), seen_hand in zip(lone, self._placed(rig, side, lone), strict=True):
                if seen_hand.error_share < _MAX_MODEL_ERROR_SHARE:
                    found[place].append(seen_hand)
        return found

    def _placed(
        self, rig: Rig, side: str, lone: Sequence[tuple[int, int, int, ViewObservation]]
    ) -> list[MultiviewHand]:
        if not lone:
            return []
        kinematics = kinematics_of(self.hand_model, side, self.offsets_m)
        pixels = np.zeros((len(lone), len(rig), KEYPOINT_COUNT, 2))
        weight = np.zeros(pixels.shape[:3])
        for i, (_, _, camera, view) in enumerate(lone):
            pixels[i, camera], weight[i, camera] = view.ideal_px, view.confidence / view.noise_px**2
        nothing = Observations.none(rig, kinematics.offsets, len(lone))
        observed = Observations(nothing.ideal_px_from_world, torch.as_tensor(pixels), torch.as_tensor(weight))
        state = start_from_one_view(kinematics, observed, torch.zeros(10).to(kinematics.offsets))
        points = kinematics.keypoints(state).numpy()
        seen_hands = []
        for (_, frame, camera, view), here in zip(lone, points, strict=True):
            projected, _ = rig.cameras[camera].ideal().project(here)
            off = np.linalg.norm(projected - view.ideal_px, axis=1)[view.observed]
            share = float(np.median(off)) / view.extent_px if np.isfinite(here).all() else np.inf
            views = tuple(view if v == camera else None for v in range(len(rig)))
            seen_hands.append(MultiviewHand(frame, views, here, np.ones(KEYPOINT_COUNT, bool), share))
        return seen_hands


def _unused(
    rig: Rig, seen: Sequence[Sequence[Detection]], seen_hands: Sequence[MultiviewHand], side: str, hands: str
) -> list[tuple[int, ViewObservation]]:
    """The surest detection of that side that is of no hand yet; none if two views have one, which makes two hands."""
    used = [id(view.detection) for seen_hand in seen_hands for view in seen_hand.views if view is not None]
    found = [
        (camera, view)
        for camera, here in enumerate(seen)
        for detection in here
        if id(detection) not in used
        and (hands != "both" or (detection.right >= 0.5) == (side == "right"))
        and (view := make_view(rig, camera, detection)) is not None
    ]
    cameras = {camera for camera, _ in found}
    return [max(found, key=lambda each: float(each[1].confidence.sum()))] if len(cameras) == 1 else []
