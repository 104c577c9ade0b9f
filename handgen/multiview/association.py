"""Find out which detections in different views are the same hand.

Frame by frame, the two-view triangulation that most views agree with becomes a hand of at most one detection per view,
then the next one. Whether it is a left or a right hand is decided over many frames, in `handgen.multiview.tracking`.
Nothing here depends on the unit of the world: thresholds are shares of a hand, pixels or angles. Keypoints with
confidence 0 do not exist here: they are in no median, no extent and no triangulation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int

from handgen.geometry.camera import CameraSet
from handgen.geometry.triangulation import linear_information, solve_points, triangulate
from handgen.hand.skeleton import MCP_KEYPOINTS, WRIST
from handgen.records.detection import Detection, DetectionRecord

# Detector noise, as a share of the hand's extent in the image: what MediaPipe's keypoints differ by between views.
NOISE_SHARE = 0.015
MIN_NOISE_PX = 1.5
MIRRORED_BELOW = 0.15  # a detection that supports a hand's side less than this took its palm for its back
MIN_KEYPOINTS = 6  # fewer say nothing about a hand
_INLIER_SIGMAS = 3.0
MATCH_SHARE = 0.15  # a view agrees if its median reprojection error is below this share of the hand's extent
_LABEL_DOUBT = 0.2  # views' worth of support that opposite labels cost a pair: labels help, but never decide alone
_SAME_PLACE = 0.4  # of the hand's extent: a detection whose middle is nearer than this is of the same hand
_MIN_PALM_KEYPOINTS = 3  # of wrist and knuckles: fewer leave the hand's orientation open


@dataclass(frozen=True)
class ViewObservation:
    """A detection in one view. ideal_px: without lens distortion. confidence: 0 where there is no keypoint."""

    detection: Detection
    ideal_px: Float[np.ndarray, "21 2"]
    confidence: Float[np.ndarray, " 21"]
    noise_px: float

    @property
    def observed(self) -> Bool[np.ndarray, " 21"]:
        """A mask of the keypoints that there are."""
        return self.confidence > 0

    @property
    def extent_px(self) -> float:
        """The hand's size in the ideal image."""
        return keypoint_extent(self.ideal_px[self.observed])

    @property
    def center_px(self) -> Float[np.ndarray, " 2"]:
        """The middle of the hand in the ideal image."""
        return np.median(self.ideal_px[self.observed], axis=0)


@dataclass(frozen=True)
class LeftOut:
    """A view, or one finger in it, that contradicts the others.

    share: by how much, in the hand's extent there. sure: whether it is known to be wrong, and not one of the others.
    """

    view: int
    finger: str | None
    share: float
    sure: bool = True


@dataclass(frozen=True)
class MultiviewHand:
    """One hand in one frame: views[v] is its detection in view v, or None.

    valid: keypoints that at least two views saw; the others in `points_world` (21, 3) are meaningless.
    error_share: median reprojection error, in extents of the hand in the image. conflicting_views: those with a
    detection in the same place that disagrees. left_out: what of its views contradicts the others and is not in them.
    """

    frame: int
    views: tuple[ViewObservation | None, ...]
    points_world: Float[np.ndarray, "21 3"]
    valid: Bool[np.ndarray, " 21"]
    error_share: float
    conflicting_views: int = 0
    left_out: tuple[LeftOut, ...] = ()

    @classmethod
    def unseen(cls, frame: int, views: int) -> MultiviewHand:
        """A hand that must be there although no view detected it."""
        return cls(frame, (None,) * views, np.full((21, 3), np.nan), np.zeros(21, bool), np.nan)

    def scaled(self, factor: float) -> MultiviewHand:
        """The hand in a world whose unit is 1 / `factor` of today's."""
        return replace(self, points_world=self.points_world * factor)

    @property
    def view_count(self) -> int:
        """In how many views the hand was detected."""
        return sum(view is not None for view in self.views)

    @property
    def span(self) -> float:
        """Size of the hand in world units: the diagonal of its keypoints' box."""
        return keypoint_extent(self.points_world[self.valid])

    @property
    def center_world(self) -> Float[np.ndarray, " 3"]:
        """The middle of the hand."""
        return np.median(self.points_world[self.valid], axis=0)


def keypoint_extent(points: Float[np.ndarray, "points dims"]) -> float:
    """A hand's size: the diagonal of its keypoints' box, at least a hair."""
    return max(float(np.linalg.norm(np.ptp(points, axis=0))), 1e-9)


def make_view(rig: CameraSet, camera: int, detection: Detection) -> ViewObservation | None:
    """A detection with its lens distortion removed; None where too few keypoints are left."""
    ideal, valid = rig.cameras[camera].undistort(detection.keypoints_px)
    confidence = np.where(valid, detection.confidence, 0.0)
    observed = confidence > 0
    if observed.sum() < MIN_KEYPOINTS:
        return None
    noise = max(MIN_NOISE_PX, NOISE_SHARE * keypoint_extent(detection.keypoints_px[observed]))
    return ViewObservation(detection, np.where(observed[:, None], ideal, 0.0), confidence, noise)


def group_by_moment(
    rows: Iterable[DetectionRecord], names: Sequence[str], source_frames: Int[np.ndarray, "frames views"]
) -> list[list[list[Detection]]]:
    """Group detections by moment and camera. source_frames: each camera's own frame at each moment, -1 for none."""
    found: list[list[list[Detection]]] = [[[] for _ in names] for _ in source_frames]
    wanted: dict[tuple[str, int], list[tuple[int, int]]] = {}  # camera, its own frame -> places that it belongs to
    for moment, numbers in enumerate(source_frames.tolist()):
        for camera, number in enumerate(numbers):
            if number >= 0:
                wanted.setdefault((names[camera], number), []).append((moment, camera))
    for row in rows:
        for moment, camera in wanted.get((row.camera, row.frame), ()):
            found[moment][camera].append(Detection(row.keypoints_px, row.confidence, row.right, row.again))
    return found


def support_of_side(detection: Detection, side: str) -> float:
    """The probability that a detection is of a hand of that side."""
    return detection.right if side == "right" else 1 - detection.right


def associate_frame(
    rig: CameraSet, frame: int, detections: Sequence[Sequence[Detection]], only_side: str | None = None
) -> list[MultiviewHand]:
    """The hands of one frame that at least two views agree on, best first.

    Every pair of detections in different views proposes a hand; the one that most views agree with is taken, its
    detections with it, and so on until no two agree.

    detections: per camera of the rig, the hands seen there. only_side: the side of the only hands in view; detections
    that are surely of the other are then mirrored ones (of a fist, palm and back are easily confused, and with them
    index and pinky), which do not count as long as two views are left.
    """
    if only_side is not None:
        straight = [[d for d in seen if support_of_side(d, only_side) >= MIRRORED_BELOW] for seen in detections]
        detections = straight if sum(map(bool, straight)) >= 2 else detections
    found = [
        (camera, view)
        for camera, seen in enumerate(detections)
        for detection in seen
        if (view := make_view(rig, camera, detection)) is not None
    ]
    cameras = np.array([camera for camera, _ in found], int)
    pairs = np.array([(a, b) for a, b in combinations(range(len(found)), 2) if cameras[a] != cameras[b]])
    if not len(pairs):
        return []
    shares = _error_shares(rig, found, pairs)
    proposes = (np.take_along_axis(shares, pairs, 1) < MATCH_SHARE).all(1)
    right = np.array([view.detection.right for _, view in found])
    doubt = _LABEL_DOUBT * np.abs(right[pairs[:, 0]] - right[pairs[:, 1]])
    free, seen_hands = np.ones(len(found), bool), []
    while True:
        members, support = _supporters(shares, cameras, free, len(rig))
        support = np.where(proposes & free[pairs].all(1), support - doubt, 0.0)
        best = int(support.argmax())
        if support[best] <= 0:
            break
        chosen = [int(d) for d in members[best] if d >= 0]
        free[chosen] = False
        seen_hand = triangulate_hand(rig, frame, {found[d][0]: found[d][1] for d in chosen})
        if np.isfinite(seen_hand.error_share):
            seen_hands.append(seen_hand)
    # What was only found because it was looked for there is no witness against the hand.
    unused = [found[d] for d in np.flatnonzero(free) if not found[d][1].detection.redetected]
    conflicts = [_count_conflicting_views(rig, unused, seen_hand) for seen_hand in seen_hands]
    seen_hands = [replace(hand, conflicting_views=count) for hand, count in zip(seen_hands, conflicts, strict=True)]
    return sorted(seen_hands, key=lambda c: (-c.view_count, c.error_share))


def _error_shares(
    rig: CameraSet, found: Sequence[tuple[int, ViewObservation]], pairs: Int[np.ndarray, "pairs 2"]
) -> Float[np.ndarray, "pairs detections"]:
    """The distance of every detection from the hand that a pair proposes: median over keypoints, in hand extents."""
    projections = np.stack([rig.cameras[camera].ideal_px_from_world for camera, _ in found])
    pixels = np.stack([view.ideal_px for _, view in found])
    observed = np.stack([view.observed for _, view in found])
    information = linear_information(projections, pixels)
    points = solve_points(information[pairs[:, 0]] + information[pairs[:, 1]])
    homogeneous = np.einsum("dij,pkj->pdki", projections[:, :, :3], points) + projections[:, None, :, 3]
    depth = homogeneous[..., 2]
    projected = homogeneous[..., :2] / np.where(depth > 1e-9, depth, 1e-9)[..., None]
    extents = np.array([view.extent_px for _, view in found])
    counted = (observed[pairs[:, 0]] & observed[pairs[:, 1]])[:, None] & observed
    error = np.where(counted, np.linalg.norm(projected - pixels, axis=-1), np.nan)
    enough = (counted.sum(-1) >= MIN_KEYPOINTS) & ((depth > 0) | ~counted).all(-1)
    error[~enough] = np.inf
    return np.nanmedian(error, axis=-1) / extents


def least_disagreement(rig: CameraSet, detections: Sequence[Sequence[Detection]]) -> float | None:
    """By what share of a hand the two detections of two cameras that agree best disagree; None without two cameras."""
    found = [(v, view) for v, seen in enumerate(detections) for d in seen if (view := make_view(rig, v, d)) is not None]
    pairs = np.array([(a, b) for a, b in combinations(range(len(found)), 2) if found[a][0] != found[b][0]])
    if not len(pairs):
        return None
    return float(np.take_along_axis(_error_shares(rig, found, pairs), pairs, 1).max(1).min())


def _supporters(
    shares: Float[np.ndarray, "pairs detections"],
    cameras: Int[np.ndarray, " detections"],
    free: Bool[np.ndarray, " detections"],
    views: int,
) -> tuple[Int[np.ndarray, "pairs views"], Float[np.ndarray, " pairs"]]:
    """Per pair and view the free detection that agrees best (-1: none does), and how much all of them do."""
    allowed = np.where(free, shares, np.inf)
    members = np.full((len(shares), views), -1)
    support = np.zeros(len(shares))
    for camera in range(views):
        here = np.flatnonzero(cameras == camera)
        if len(here):
            best = here[allowed[:, here].argmin(1)]
            share = allowed[np.arange(len(shares)), best]
            agrees = share < MATCH_SHARE
            members[agrees, camera] = best[agrees]
            support += np.where(agrees, 1 - np.where(agrees, share, 0) / MATCH_SHARE, 0)
    return members, support


def _count_conflicting_views(
    rig: CameraSet, unused: Sequence[tuple[int, ViewObservation]], seen_hand: MultiviewHand
) -> int:
    """Count further views in which a detection that belongs to no hand lies on this one and yet disagrees with it."""
    count = 0
    for camera in range(len(rig)):
        if seen_hand.views[camera] is not None:
            continue
        pixels, inside = rig.cameras[camera].ideal().project(seen_hand.points_world[seen_hand.valid])
        if inside.any():
            center, reach = np.median(pixels, axis=0), _SAME_PLACE * keypoint_extent(pixels)
            count += any(np.linalg.norm(view.center_px - center) < reach for c, view in unused if c == camera)
    return count


def unused_detections(
    detections: Sequence[Sequence[Detection]], hands: Sequence[MultiviewHand]
) -> list[list[Detection]]:
    """List the detections of a frame, by camera, that belong to none of its hands; second looks do not count."""
    used: list[set[bytes]] = [
        {view.detection.keypoints_px.tobytes() for hand in hands if (view := hand.views[v]) is not None}
        for v in range(len(detections))
    ]
    return [
        [d for d in found if not d.redetected and d.keypoints_px.tobytes() not in taken]
        for found, taken in zip(detections, used, strict=True)
    ]


def lies_on(pixels: Float[np.ndarray, "21 2"], detections: Sequence[Detection]) -> bool:
    """Tell whether the middle of any detection is where a hand projects to."""
    center, reach = np.median(pixels, axis=0), _SAME_PLACE * keypoint_extent(pixels)
    middles = [np.median(d.keypoints_px[d.confidence > 0], axis=0) for d in detections if (d.confidence > 0).any()]
    return any(np.linalg.norm(middle - center) < reach for middle in middles)


def evenly_spaced(found: Sequence[MultiviewHand], count: int) -> list[MultiviewHand]:
    """Pick at most `count` hands, evenly spread."""
    return [found[i] for i in np.unique(np.linspace(0, len(found) - 1, min(len(found), count)).astype(int))]


def retriangulate(rig: CameraSet, seen_hand: MultiviewHand) -> MultiviewHand:
    """Triangulate a hand again whose views have changed. Raises ValueError with fewer than two views."""
    members = {camera: view for camera, view in enumerate(seen_hand.views) if view is not None}
    if len(members) < 2:
        raise ValueError(f"frame {seen_hand.frame}: a hand needs two views, got {len(members)}")
    return triangulate_hand(rig, seen_hand.frame, members)


def triangulate_hand(rig: CameraSet, frame: int, members: Mapping[int, ViewObservation]) -> MultiviewHand:
    """Triangulate detections that belong together, by camera; the error is infinite where that gives no hand."""
    cameras = sorted(members)
    projections = np.stack([rig.cameras[c].ideal_px_from_world for c in cameras])
    pixels = np.stack([members[c].ideal_px for c in cameras])
    confidence = np.stack([members[c].confidence for c in cameras])
    noise = np.array([[members[c].noise_px] for c in cameras])
    result = triangulate(projections, pixels, confidence, _INLIER_SIGMAS * noise)
    extents = np.array([[members[c].extent_px] for c in cameras])
    points = result.points_world
    depths = np.einsum("va,pa->vp", projections[:, 2, :3], points) + projections[:, 2, 3:]
    valid = ((confidence > 0).sum(0) >= 2) & (depths > 0).all(0)
    usable = valid.sum() >= MIN_KEYPOINTS and valid[[WRIST, *MCP_KEYPOINTS]].sum() >= _MIN_PALM_KEYPOINTS
    share = float(np.nanmedian((result.error_px / extents)[:, valid])) if usable else np.inf
    return MultiviewHand(frame, tuple(members.get(camera) for camera in range(len(rig))), points, valid, share)
