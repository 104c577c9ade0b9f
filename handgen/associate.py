"""Which detections in different views are the same hand, and which hand it is.

Frame by frame, the two-view triangulation that most views agree with becomes a cluster, then the next one. Clusters are
then linked from frame to frame by where they are, and each track votes on its side with the detections of all its
frames, so that a wrong label in one view or a few frames makes no third hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int

from handgen.cameras import Rig
from handgen.detect.base import Detection
from handgen.hand.layout import SIDES, other_side
from handgen.triangulate import linear_information, solve_points, triangulate

# Detector noise, as a share of the hand's extent in the image: what MediaPipe's keypoints differ by between views.
NOISE_SHARE = 0.015
MIN_NOISE_PX = 1.5
_MATCH_SHARE = 0.15  # a view agrees if its median reprojection error is below this share of the hand's extent
_LABEL_DOUBT = 0.2  # views' worth of support that opposite labels cost a pair: labels help, but never decide alone
_SAME_PLACE = 0.4  # of the hand's extent: a detection whose middle is nearer than this is of the same hand
_HAND_SPAN_LIMITS = (0.3, 3.0)  # times the median span of the clusters: others are chance agreements
_MAX_STEP_SPANS = 0.8  # how far, in hand spans, a hand may move from one frame to the next and stay the same track
_MAX_GAP_FRAMES = 5
_MIN_SIDE_MARGIN = 0.05  # a track whose vote is closer to even than this takes the side that is free


@dataclass(frozen=True)
class View:
    """A detection in one view, with ideal pixels and its noise."""

    detection: Detection
    ideal_px: Float[np.ndarray, "21 2"]
    noise_px: float


@dataclass(frozen=True)
class Cluster:
    """One hand in one frame: views[v] is its detection in view v, or None."""

    frame: int
    views: tuple[View | None, ...]
    points_world: Float[np.ndarray, "21 3"]
    error_share: float  # median reprojection error over the hand's extent in the image
    dissenting: int = 0  # views with a detection in the same place that disagrees

    @property
    def view_count(self) -> int:
        """In how many views the hand was detected."""
        return sum(view is not None for view in self.views)

    @property
    def span(self) -> float:
        """Size of the hand in world units: the longest wrist-to-keypoint distance."""
        return float(np.linalg.norm(self.points_world - self.points_world[:1], axis=1).max())


def extent_px(pixels: Float[np.ndarray, "*points 2"]) -> float:
    """The hand's size in the image: the diagonal of its keypoints' box."""
    return float(np.linalg.norm(np.ptp(pixels, axis=0)))


def make_view(rig: Rig, camera: int, detection: Detection) -> View | None:
    """A detection with its lens distortion removed; None where the lens model cannot be inverted."""
    ideal, valid = rig.cameras[camera].undistort(detection.keypoints_px)
    if valid.mean() < 0.8:
        return None
    noise = max(MIN_NOISE_PX, NOISE_SHARE * extent_px(detection.keypoints_px))
    return View(detection, np.where(valid[:, None], ideal, detection.keypoints_px), noise)


def clusters_of_frame(rig: Rig, frame: int, detections: Sequence[Sequence[Detection]]) -> list[Cluster]:
    """The hands of one frame that at least two views agree on, best first.

    Every pair of detections in different views proposes a hand; the one that most views agree with is taken, its
    detections with it, and so on until no two agree.

    detections: per camera of the rig, the hands seen there.
    """
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
    proposes = (np.take_along_axis(shares, pairs, 1) < _MATCH_SHARE).all(1)
    right = np.array([view.detection.right for _, view in found])
    doubt = _LABEL_DOUBT * np.abs(right[pairs[:, 0]] - right[pairs[:, 1]])
    free = np.ones(len(found), bool)
    clusters = []
    while True:
        members, support = _supporters(shares, cameras, free, len(rig))
        support = np.where(proposes & free[pairs].all(1), support - doubt, 0.0)
        best = int(support.argmax())
        if support[best] <= 0:
            break
        chosen = [int(d) for d in members[best] if d >= 0]
        free[chosen] = False
        cluster = _cluster(rig, frame, {found[d][0]: found[d][1] for d in chosen})
        if np.isfinite(cluster.error_share):
            clusters.append(replace(cluster, dissenting=_dissenting(rig, found, cluster)))
    clusters.sort(key=lambda c: (-c.view_count, c.error_share))
    return clusters


def _error_shares(
    rig: Rig, found: Sequence[tuple[int, View]], pairs: Int[np.ndarray, "pairs 2"]
) -> Float[np.ndarray, "pairs detections"]:
    """How far the hand that a pair proposes is from every detection: median over keypoints, in hand extents."""
    projections = np.stack([rig.cameras[camera].ideal_px_from_world for camera, _ in found])
    pixels = np.stack([view.ideal_px for _, view in found])
    information = linear_information(projections, pixels)
    points = solve_points(information[pairs[:, 0]] + information[pairs[:, 1]])
    homogeneous = np.einsum("dij,pkj->pdki", projections[:, :, :3], points) + projections[:, None, :, 3]
    depth = homogeneous[..., 2]
    projected = homogeneous[..., :2] / np.where(depth > 1e-9, depth, 1e-9)[..., None]
    extents = np.array([max(extent_px(points_px), 1.0) for points_px in pixels])
    share = np.median(np.linalg.norm(projected - pixels, axis=-1), axis=-1) / extents
    return np.where((depth > 0).all(-1), share, np.inf)


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
            agrees = share < _MATCH_SHARE
            members[agrees, camera] = best[agrees]
            support += np.where(agrees, 1 - np.where(agrees, share, 0) / _MATCH_SHARE, 0)
    return members, support


def _dissenting(rig: Rig, found: Sequence[tuple[int, View]], cluster: Cluster) -> int:
    """In how many further views a detection lies on the hand and yet disagrees with it."""
    count = 0
    for camera in range(len(rig)):
        if cluster.views[camera] is None:
            pixels, _ = rig.cameras[camera].ideal().project(cluster.points_world)
            center, extent = np.median(pixels, axis=0), extent_px(pixels)
            centers = [np.median(view.ideal_px, axis=0) for c, view in found if c == camera]
            count += any(np.linalg.norm(other - center) < _SAME_PLACE * extent for other in centers)
    return count


def reclustered(rig: Rig, cluster: Cluster) -> Cluster:
    """A cluster whose views have changed, triangulated again. Raises ValueError with fewer than two views."""
    members = {camera: view for camera, view in enumerate(cluster.views) if view is not None}
    if len(members) < 2:
        raise ValueError(f"frame {cluster.frame}: a cluster needs two views, got {len(members)}")
    return _cluster(rig, cluster.frame, members)


def _cluster(rig: Rig, frame: int, members: dict[int, View]) -> Cluster:
    cameras = sorted(members)
    projections = np.stack([rig.cameras[c].ideal_px_from_world for c in cameras])
    pixels = np.stack([members[c].ideal_px for c in cameras])
    confidence = np.stack([members[c].detection.confidence for c in cameras])
    noise = np.array([[members[c].noise_px] for c in cameras])
    result = triangulate(projections, pixels, np.maximum(confidence, 1e-3), 3 * noise)
    extents = np.array([[extent_px(members[c].ideal_px)] for c in cameras])
    depths = np.einsum("va,pa->vp", projections[:, 2, :3], result.points_world) + projections[:, 2, 3:]
    share = float(np.median(result.error_px / extents)) if (depths > 0).all() else np.inf
    return Cluster(frame, tuple(members.get(camera) for camera in range(len(rig))), result.points_world, share)


@dataclass(frozen=True)
class HandObservations:
    """All that was seen of one hand: clusters by frame, at most one per frame."""

    side: str
    clusters: dict[int, Cluster]


def hands_of_frames(clusters: Sequence[Sequence[Cluster]], hands: str) -> list[HandObservations]:
    """Left and right hand through consecutive frames.

    clusters: per frame, as from `clusters_of_frame`. hands: "left", "right" or "both".
    """
    tracks = _link(clusters)
    wanted = SIDES if hands == "both" else (hands,)
    chosen: dict[str, dict[int, Cluster]] = {side: {} for side in wanted}
    # The longest, best-seen tracks choose first; a track takes the side it votes for wherever that is free.
    for track in sorted(tracks, key=lambda t: -sum(c.view_count for c in t)):
        right = _vote(track)
        preferred = "right" if right >= 0.5 else "left"
        if hands != "both":
            sides: tuple[str, ...] = (hands,) if preferred == hands or abs(right - 0.5) < 0.35 else ()
        elif abs(right - 0.5) < _MIN_SIDE_MARGIN:
            sides = (preferred, other_side(preferred))
        else:
            sides = (preferred,)
        for side in sides:
            overlap = sum(c.frame in chosen[side] for c in track)
            if overlap < 0.5 * len(track):
                for cluster in track:
                    chosen[side].setdefault(cluster.frame, cluster)
                break
    return [HandObservations(side, dict(sorted(found.items()))) for side, found in chosen.items() if found]


def _vote(track: Sequence[Cluster]) -> float:
    """Mean probability of a right hand over all detections of a track, 0 to 1."""
    votes = [view.detection.right for cluster in track for view in cluster.views if view is not None]
    return float(np.mean(votes))


def _link(clusters: Sequence[Sequence[Cluster]]) -> list[list[Cluster]]:
    """Tracks: chains of clusters whose centres move less than a hand from frame to frame."""
    spans = [cluster.span for found in clusters for cluster in found]
    if not spans:
        return []
    span = float(np.median(spans))
    low, high = _HAND_SPAN_LIMITS
    tracks: list[list[Cluster]] = []
    for found in clusters:
        plausible = [c for c in found if low * span < c.span < high * span]
        steps = []
        for i, track in enumerate(tracks):
            for k, cluster in enumerate(plausible):
                gap = cluster.frame - track[-1].frame
                if gap > _MAX_GAP_FRAMES:
                    continue
                step = float(np.linalg.norm(_center(cluster) - _center(track[-1]))) / span
                if step < _MAX_STEP_SPANS * gap:
                    steps.append((step, i, k))
        taken_tracks: set[int] = set()
        taken: set[int] = set()
        for _, i, k in sorted(steps):
            if i not in taken_tracks and k not in taken:
                tracks[i].append(plausible[k])
                taken_tracks.add(i)
                taken.add(k)
        tracks.extend([cluster] for k, cluster in enumerate(plausible) if k not in taken)
    return tracks


def _center(cluster: Cluster) -> np.ndarray:
    return np.median(cluster.points_world, axis=0)
