"""Leave out the views, and the fingers in views, that contradict what the other views agree on.

In a long capture the motion and the robust cost of the fit see to that. A few moments have nothing but their views:
there one bad finger pulls the fit, and a bad view makes the hand look unsure. Every pair of views proposes where the
keypoints are; the proposal that most views agree with is believed if no other one explains the views as well. Three
views of a finger may leave two proposals: then that one is believed whose bones have a hand's proportions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int

from handgen.geometry.camera import CameraSet
from handgen.geometry.triangulation import linear_information, solve_points
from handgen.hand.skeleton import FINGER_KEYPOINTS, KEYPOINT_COUNT, KEYPOINT_PARENTS
from handgen.multiview.association import (
    NOISE_SHARE,
    LeftOut,
    MultiviewHand,
    ViewObservation,
    lies_on,
    make_view,
    retriangulate,
    unused_detections,
)
from handgen.records.detection import Detection

FEW_FRAMES = 8  # so many moments at most are judged view by view
# Median distance of a view's keypoints from what the others say, in the detector's noise; of a finger more, since
# MediaPipe's errors in one are often as large (3 lost 0.3 mm of 2.9 in three views), but two views meet halfway.
_OUTLIER_SIGMAS, _FINGER_SIGMAS = 3.0, 5.0
MOST_OFF_SHARE, MOST_OFF_FINGER_SHARE = _OUTLIER_SIGMAS * NOISE_SHARE, _FINGER_SIGMAS * NOISE_SHARE  # of the hand
_HOPELESS_SIGMAS = 6.0  # a view that is so far off, and perhaps the one that is right: then nothing is sure
_LEAST_NOISE = 0.3  # of the detector's usual noise: views that agree better than that are not taken at their word
_CLEAR, _CLEAR_FINGER = 2.0, 3.0  # variances, as the views show them, by which another proposal must be worse
# Lengths that no pose changes, mm, of the open hand's mean: each keypoint's distance from the one before it in its
# finger, and of the knuckles from each other.
_RIGID = (*((parent, child) for child, parent in enumerate(KEYPOINT_PARENTS) if parent >= 0), (5, 9), (9, 13), (13, 17))
_RIGID_MM = np.array([27, 45, 31, 29, 92, 39, 23, 23, 89, 44, 27, 23, 85, 39, 25, 24, 82, 30, 17, 21, 23, 19, 20])
_LENGTH_SIGMA = 0.1  # of their logarithms, among people and detectors


@dataclass(frozen=True)
class _Proposals:
    """Places of some keypoints that each pair of views proposes.

    off_px: median distance of every view's keypoints, NaN without any. sigmas: in its noise. cost: in variances as the
    views show them. noise: what they show, in the usual one. limit: of sigmas.
    """

    points: Float[np.ndarray, "pairs kept 3"]
    off_px: Float[np.ndarray, "pairs views"]
    sigmas: Float[np.ndarray, "pairs views"]
    cost: Float[np.ndarray, " pairs"]
    noise: float
    limit: float

    @property
    def best(self) -> int:
        """The cheapest proposal."""
        return int(self.cost.argmin())

    @property
    def agree(self) -> Bool[np.ndarray, "pairs views"]:
        """Views that each proposal explains; one without these keypoints contradicts nothing."""
        return ~(self.sigmas > self.limit)

    def rivals(self, margin: float) -> Int[np.ndarray, " rivals"]:
        """The best proposal, then those that leave out other views and are worse by less than the margin."""
        others = (self.agree != self.agree[self.best]).any(1) & (self.cost < self.cost[self.best] + margin)
        return np.concatenate([[self.best], np.flatnonzero(others)])


def leave_out_contradicting(
    rig: CameraSet, hands: Mapping[int, MultiviewHand], detections: Mapping[int, Sequence[Sequence[Detection]]]
) -> dict[int, MultiviewHand]:
    """Judge the views and fingers of one hand in each frame. detections: all of each frame, by camera."""
    return {frame: _judge(rig, hand, detections[frame]) for frame, hand in hands.items()}


def _judge(rig: CameraSet, hand: MultiviewHand, detections: Sequence[Sequence[Detection]]) -> MultiviewHand:
    if hand.view_count < 2:
        return hand
    views = {v: view for v, view in enumerate(hand.views) if view is not None} | _dissenting(rig, hand, detections)
    numbers = np.array(sorted(views))
    if len(numbers) > 2:
        found = _propose(rig, views, numbers, np.arange(KEYPOINT_COUNT))
        agree, best = found.agree[found.best], found.best
        if len(found.rivals(_CLEAR)) == 1 and agree.sum() >= 2:
            out = [_left_out(views, v, None, off) for v, off in zip(numbers, found.off_px[best], strict=True)]
            views = {int(v): views[int(v)] for v in numbers[agree]}
            unlike = tuple(each for each, agrees in zip(out, agree, strict=True) if not agrees)
            hand = _with_views(rig, replace(hand, conflicting_views=0), views, unlike)
        elif found.sigmas[best].max() > _HOPELESS_SIGMAS:
            worst = int(found.sigmas[best].argmax())
            unsure = replace(_left_out(views, numbers[worst], None, found.off_px[best, worst]), sure=False)
            conflicting = max(hand.conflicting_views, (len(numbers) + 1) // 2)
            return replace(hand, conflicting_views=conflicting, left_out=(unsure,))
    return _without_fingers(rig, hand)


def _dissenting(
    rig: CameraSet, hand: MultiviewHand, detections: Sequence[Sequence[Detection]]
) -> dict[int, ViewObservation]:
    """The one detection of each further view that lies on the hand and was not thought to be it."""
    spare, found = unused_detections(detections, [hand]), {}
    for v, camera in enumerate(rig.cameras):
        if hand.views[v] is None:
            pixels = camera.ideal().project(hand.points_world[hand.valid])[0]
            near = [d for d in spare[v] if lies_on(pixels, [d])]
            if len(near) == 1 and (view := make_view(rig, v, near[0])) is not None:
                found[v] = view
    return found


def _propose(
    rig: CameraSet,
    views: Mapping[int, ViewObservation],
    numbers: Int[np.ndarray, " views"],
    keypoints: Int[np.ndarray, " kept"],
    noise: float | None = None,
    limit: float = _OUTLIER_SIGMAS,
) -> _Proposals:
    """Triangulate some keypoints from every pair of views. noise: what these views show, if that is known."""
    chosen = [views[int(v)] for v in numbers]
    projections = np.stack([rig.cameras[int(v)].ideal_px_from_world for v in numbers])
    pixels = np.stack([view.ideal_px[keypoints] for view in chosen])
    observed = np.stack([view.observed[keypoints] for view in chosen])
    pairs = np.array(list(combinations(range(len(numbers)), 2)))
    information = linear_information(projections, pixels)
    points = solve_points(information[pairs[:, 0]] + information[pairs[:, 1]])
    homogeneous = np.einsum("vij,pkj->pvki", projections[:, :, :3], points) + projections[:, None, :, 3]
    depth = homogeneous[..., 2]
    off = np.linalg.norm(homogeneous[..., :2] / np.where(depth > 1e-9, depth, 1e-9)[..., None] - pixels, axis=-1)
    both = (observed[pairs[:, 0]] & observed[pairs[:, 1]])[:, None]
    off = np.where(both & observed, np.where(depth > 0, off, np.inf), np.nan)
    there = ~np.isnan(off).all(-1)
    median = np.full(there.shape, np.nan)
    median[there] = np.nanmedian(off[there], axis=-1)
    sigmas = median / np.array([view.noise_px for view in chosen])
    # A pair without the keypoints explains nothing.
    counted = np.where(there | both.any(-1), np.nan_to_num(sigmas.clip(max=limit)), limit)
    if noise is None:  # a pair meets halfway, so its own distances are half of what its members are off
        best = int(np.square(counted).sum(1).argmin())
        noise = float(np.clip(2 * counted[best][pairs[best]].max(), _LEAST_NOISE, 1.0))
    return _Proposals(points, median, sigmas, np.square(counted / noise).sum(1), noise, limit)


def _without_fingers(rig: CameraSet, hand: MultiviewHand) -> MultiviewHand:
    """Take from views the fingers in which they contradict the others; two views that do leave the hand unsure."""
    views = {v: view for v, view in enumerate(hand.views) if view is not None}
    numbers = np.array(sorted(views))
    noise = _propose(rig, views, numbers, np.arange(KEYPOINT_COUNT)).noise
    limit = _FINGER_SIGMAS if len(numbers) > 2 else _OUTLIER_SIGMAS
    out: list[LeftOut] = []
    for finger, keypoints in FINGER_KEYPOINTS.items():
        found = _propose(rig, views, numbers, np.array(keypoints), noise, limit)
        chosen = _most_plausible(found, found.rivals(_CLEAR_FINGER), hand, np.array(keypoints))
        if chosen is None or found.agree[chosen].all() or (found.agree[chosen].sum() < 2 < len(numbers)):
            continue
        for v, off in zip(numbers[~found.agree[chosen]], found.off_px[chosen][~found.agree[chosen]], strict=True):
            out.append(_left_out(views, v, finger, off))
    for each in out:
        assert each.finger is not None
        confidence = views[each.view].confidence.copy()
        confidence[list(FINGER_KEYPOINTS[each.finger])] = 0
        views[each.view] = replace(views[each.view], confidence=confidence)
    if not out or len(numbers) > 2:
        return _with_views(rig, hand, views, tuple(out))
    return _with_views(rig, replace(hand, conflicting_views=1), views, tuple(replace(each, sure=False) for each in out))


def _most_plausible(
    found: _Proposals, rivals: Int[np.ndarray, " rivals"], hand: MultiviewHand, keypoints: Int[np.ndarray, " kept"]
) -> int | None:
    """The only proposal, or the one whose bones fit the rest of the hand; None if none is clearly better."""
    costs = []
    for rival in rivals:
        points = hand.points_world.copy()
        points[keypoints] = found.points[rival]
        first, second = np.array(_RIGID).T
        longer = np.log(np.linalg.norm(points[first] - points[second], axis=1).clip(1e-9) / _RIGID_MM)
        own = np.isin(first, keypoints) | np.isin(second, keypoints)
        known = hand.valid[first] & hand.valid[second]
        usual = np.median(longer[known & ~own]) if (known & ~own).any() else 0.0
        costs.append(float(np.square((longer[known & own] - usual) / _LENGTH_SIGMA).sum()))
    order = np.argsort(costs)
    return int(rivals[order[0]]) if len(rivals) == 1 or costs[order[1]] - costs[order[0]] > _CLEAR_FINGER else None


def _left_out(views: Mapping[int, ViewObservation], view: int, finger: str | None, off_px: float) -> LeftOut:
    return LeftOut(int(view), finger, float(off_px) / views[int(view)].extent_px)


def _with_views(
    rig: CameraSet, hand: MultiviewHand, views: Mapping[int, ViewObservation], out: tuple[LeftOut, ...]
) -> MultiviewHand:
    """The hand of these views alone; as it was where they give none, or where nothing changes."""
    if not out and set(views) == {v for v, view in enumerate(hand.views) if view is not None}:
        return hand
    again = retriangulate(rig, replace(hand, views=tuple(views.get(v) for v in range(len(rig)))))
    if not np.isfinite(again.error_share):
        return hand
    return replace(again, conflicting_views=hand.conflicting_views, left_out=(*hand.left_out, *out))
