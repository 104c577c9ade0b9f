"""Which detections in different views are the same hand, and which hand it is.

Frame by frame, two-view triangulations that agree grow into clusters of at most one detection per view. Clusters are
then linked from frame to frame by where they are, and each track votes on its side with the detections of all its
frames, so that a wrong label in one view or a few frames makes no third hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float

from handgen.cameras import Rig
from handgen.detect.base import Detection
from handgen.hand.layout import SIDES, other_side
from handgen.triangulate import triangulate

# Detector noise, as a share of the hand's extent in the image: what MediaPipe's keypoints differ by between views.
NOISE_SHARE = 0.015
MIN_NOISE_PX = 1.5
_MATCH_SHARE = 0.15  # two views agree if their mean reprojection error is below this share of the hand's extent
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

    detections: per camera of the rig, the hands seen there.
    """
    views = [
        [view for detection in found if (view := make_view(rig, camera, detection)) is not None]
        for camera, found in enumerate(detections)
    ]
    pairs = []
    for a, b in combinations(range(len(rig)), 2):
        for i, first in enumerate(views[a]):
            for j, second in enumerate(views[b]):
                candidate = _cluster(rig, frame, {a: first, b: second})
                if candidate.error_share < _MATCH_SHARE:
                    # Labels that agree make a pair likelier, but never decide alone.
                    disagreement = abs(first.detection.right - second.detection.right)
                    pairs.append((candidate.error_share + 0.03 * disagreement, a, i, b, j, candidate))
    pairs.sort(key=lambda pair: pair[:5])
    used: set[tuple[int, int]] = set()
    clusters = []
    for _, a, i, b, j, seed in pairs:
        if (a, i) in used or (b, j) in used:
            continue
        members = {a: i, b: j}
        cluster = seed
        for camera in range(len(rig)):
            if camera in members:
                continue
            grown = [
                (_cluster(rig, frame, {**_chosen(views, members), camera: view}), k)
                for k, view in enumerate(views[camera])
                if (camera, k) not in used and _agrees(rig, camera, cluster, view)
            ]
            if grown:
                cluster, k = min(grown, key=lambda item: item[0].error_share)
                members[camera] = k
        used |= set(members.items())
        clusters.append(cluster)
    clusters.sort(key=lambda c: (-c.view_count, c.error_share))
    return clusters


def reclustered(rig: Rig, cluster: Cluster) -> Cluster:
    """A cluster whose views have changed, triangulated again. Raises ValueError with fewer than two views."""
    members = {camera: view for camera, view in enumerate(cluster.views) if view is not None}
    if len(members) < 2:
        raise ValueError(f"frame {cluster.frame}: a cluster needs two views, got {len(members)}")
    return _cluster(rig, cluster.frame, members)


def _chosen(views: list[list[View]], members: dict[int, int]) -> dict[int, View]:
    return {camera: views[camera][k] for camera, k in members.items()}


def _agrees(rig: Rig, camera: int, cluster: Cluster, view: View) -> bool:
    pixels, in_front = rig.cameras[camera].ideal().project(cluster.points_world)
    if not in_front.any():
        return False
    error = np.linalg.norm(pixels - view.ideal_px, axis=-1)
    return float(np.median(error)) < _MATCH_SHARE * extent_px(view.ideal_px)


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
