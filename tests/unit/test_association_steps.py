"""Association against the same rules written down pair by pair and detection by detection."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from support.cameras import ring
from support.hands import natural_poses

from handgen.geometry.camera import Rig
from handgen.geometry.triangulation import triangulate
from handgen.multiview.association import (
    MultiviewHand,
    associate_frame,
    evenly_spaced,
    group_by_moment,
    keypoint_extent,
    make_view,
    support_of_side,
    triangulate_hand,
)
from handgen.records.detection import Detection, DetectionRecord

RIG = ring(4)
MATCH_SHARE, DOUBT, MIRRORED_BELOW, MIN_KEYPOINTS, SAME_PLACE = 0.15, 0.2, 0.15, 6, 0.4


def extent(points):
    return np.linalg.norm(points.max(0) - points.min(0))


def linear_point(projections, pixels):
    rows = np.concatenate([p[:2] - pixel[:, None] * p[2] for p, pixel in zip(projections, pixels, strict=True)])
    return np.linalg.lstsq(rows[:, :3], -rows[:, 3], rcond=None)[0]


def error_shares(rig, found, pair):
    """How far each detection lies from the hand that a pair proposes, in extents of the detection."""
    projections = [rig.cameras[camera].ideal_px_from_world for camera, _ in found]
    points = {
        k: linear_point([projections[d] for d in pair], [found[d][1].ideal_px[k] for d in pair])
        for k in range(21)
        if all(found[d][1].confidence[k] > 0 for d in pair)
    }
    shares = []
    for projection, (_, view) in zip(projections, found, strict=True):
        errors = []
        for k, point in points.items():
            if view.confidence[k] > 0:
                x, y, depth = projection @ np.append(point, 1)
                errors.append(np.linalg.norm(np.array([x, y]) / depth - view.ideal_px[k]) if depth > 0 else np.inf)
        enough = len(errors) >= MIN_KEYPOINTS and np.isfinite(errors).all()
        shares.append(np.median(errors) / extent(view.ideal_px[view.confidence > 0]) if enough else np.inf)
    return shares


def plain(rig, detections, only_side=None):
    """Per hand: which detection (its place among those of its camera) each camera contributes, and conflicts."""
    if only_side:
        sure = [[d for d in seen if support_of_side(d, only_side) >= MIRRORED_BELOW] for seen in detections]
        detections = sure if sum(len(seen) > 0 for seen in sure) >= 2 else detections
    found = [
        (camera, view) for camera, seen in enumerate(detections) for d in seen if (view := make_view(rig, camera, d))
    ]
    pairs = [(a, b) for a, b in combinations(range(len(found)), 2) if found[a][0] != found[b][0]]
    shares = {(pair, d): share for pair in pairs for d, share in enumerate(error_shares(rig, found, pair))}
    free, hands = set(range(len(found))), []
    while True:
        best, members = 0.0, None
        for pair in pairs:
            if not free.issuperset(pair) or max(shares[pair, d] for d in pair) >= MATCH_SHARE:
                continue
            support = -DOUBT * abs(found[pair[0]][1].detection.right - found[pair[1]][1].detection.right)
            chosen = []
            for camera in range(len(rig)):
                here = [d for d in sorted(free) if found[d][0] == camera]
                if here:
                    d = min(here, key=lambda e, p=pair: shares[p, e])
                    if shares[pair, d] < MATCH_SHARE:
                        chosen.append(d)
                        support += 1 - shares[pair, d] / MATCH_SHARE
            if support > best:
                best, members = support, chosen
        if members is None:
            break
        free -= set(members)
        hand = triangulate_hand(rig, 0, {found[d][0]: found[d][1] for d in members})
        if np.isfinite(hand.error_share):
            hands.append(hand)
    counted = []
    for hand in hands:
        conflicts = 0
        for camera in range(len(rig)):
            pixels, inside = rig.cameras[camera].ideal().project(hand.points_world[hand.valid])
            if hand.views[camera] is None and inside.any():
                center, reach = np.median(pixels, axis=0), SAME_PLACE * extent(pixels)
                unused = [found[d][1] for d in free if found[d][0] == camera and not found[d][1].detection.redetected]
                conflicts += any(
                    np.linalg.norm(np.median(v.ideal_px[v.confidence > 0], axis=0) - center) < reach for v in unused
                )
        counted.append(replace(hand, conflicting_views=conflicts))
    return sorted(counted, key=lambda hand: (-hand.view_count, hand.error_share))


def scene(hand, seed):
    """Two hands near each other and what is taken for hands, in four cameras; a few keypoints are missing."""
    rng = np.random.default_rng(seed)
    points = hand(natural_poses(hand, 2, rng)).keypoints.numpy()
    points += np.array([[[-0.04, 0, 0]], [[0.04, 0, 0]]])
    detections = []
    for camera in RIG:
        seen = []
        for number, right in enumerate((0.9, 0.2)):
            if rng.random() < 0.2:
                continue
            pixels = camera.project(points[number])[0] + rng.normal(0, 2.0, (21, 2))
            kind = rng.choice(["fine", "shifted", "nonsense", "noisy"], p=[0.6, 0.15, 0.1, 0.15])
            if kind == "shifted":
                pixels += rng.normal(0, 15.0, 2)
            if kind == "noisy":
                pixels += rng.normal(0, 15.0, pixels.shape)
            if kind == "nonsense":
                pixels = pixels.mean(0) + rng.normal(0, 40.0, pixels.shape)
            confidence = rng.uniform(0.1, 1, 21) * (rng.random(21) > rng.choice([0.0, 0.3, 0.65]))
            right = np.clip(right + rng.normal(0, 0.2), 0, 1)
            seen.append(Detection(pixels, confidence, right, bool(rng.random() < 0.2)))
        detections.append([seen[i] for i in rng.permutation(len(seen))])
    return detections


@pytest.mark.parametrize("only_side", [None, "left", "right"])
def test_hands_are_what_the_rules_make_of_the_detections(hand, only_side):
    conflicts, counts = 0, set()
    for seed in range(24):
        detections = scene(hand, seed)
        found, expected = associate_frame(RIG, 0, detections, only_side), plain(RIG, detections, only_side)
        counts.add(len(found))
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            views = ([view and view.detection.keypoints_px.tolist() for view in h.views] for h in (ours, theirs))
            assert next(views) == next(views)
            assert ours.conflicting_views == theirs.conflicting_views and ours.frame == 0
            np.testing.assert_allclose(ours.points_world, theirs.points_world, atol=1e-9)
            conflicts += ours.conflicting_views
    assert {0, 1, 2} & counts and len(counts) > 1 and conflicts > 2


def test_opposite_labels_cost_a_fifth_of_a_view(hand, rng):
    """A detection of the same side is taken although one of the other side fits better, but by no more than that."""
    points = hand(natural_poses(hand, 1, rng)).keypoints[0].numpy()
    here, there = (RIG.cameras[v].project(points)[0] for v in (0, 1))
    noise, taken = rng.normal(0, 1.0, (21, 2)), []
    for off_px in np.linspace(0, 12, 25):
        same = Detection(there + noise + off_px * np.sign(noise), np.ones(21), 1.0)
        detections = [[Detection(here, np.ones(21), 1.0)], [Detection(there, np.ones(21), 0.0), same], [], []]
        (found,), (expected,) = associate_frame(RIG, 0, detections), plain(RIG, detections)
        assert found.views[1].detection is expected.views[1].detection
        taken.append(found.views[1].detection is same)
    assert taken[0] and not taken[-1] and sum(np.diff(taken)) == 1


def test_views_agree_within_three_sigmas_of_their_noise(hand, rng):
    points = hand(natural_poses(hand, 1, rng)).keypoints[0].numpy()
    views = {}
    for v in range(4):
        pixels = RIG.cameras[v].project(points)[0] + rng.normal(0, 1, (21, 2)) * rng.choice([1.0, 6.0, 15.0], (21, 1))
        views[v] = make_view(RIG, v, Detection(pixels, rng.uniform(0.3, 1.0, 21), 0.9))
    found = triangulate_hand(RIG, 0, views)
    expected = triangulate(
        np.stack([camera.ideal_px_from_world for camera in RIG]),
        np.stack([view.ideal_px for view in views.values()]),
        np.stack([view.confidence for view in views.values()]),
        3.0 * np.array([[view.noise_px] for view in views.values()]),
    )
    np.testing.assert_allclose(found.points_world, expected.points_world, atol=1e-12)
    assert 0.2 < expected.inliers.mean() < 0.95


def test_a_triangulated_hand_says_how_well_its_views_agree(hand, rng):
    points = hand(natural_poses(hand, 1, rng)).keypoints[0].numpy()
    views = {}
    for v in (0, 2, 3):
        confidence = np.ones(21)
        confidence[[3, 4]] = 0 if v else 1
        confidence[7] = v == 0
        pixels = RIG.cameras[v].project(points)[0] + rng.normal(0, 1.0, (21, 2))
        views[v] = make_view(RIG, v, Detection(pixels, confidence, 0.9))
    found = triangulate_hand(RIG, 6, views)
    assert found.frame == 6 and found.view_count == 3 and found.views[1] is None and found.views[2] is views[2]
    expected = np.ones(21, bool)
    expected[[3, 4, 7]] = False
    assert found.valid.tolist() == expected.tolist()
    shares = []
    for v, view in views.items():
        off = np.linalg.norm(RIG.cameras[v].project(found.points_world)[0] - view.ideal_px, axis=1)
        shares += list((off / extent(view.ideal_px[view.confidence > 0]))[expected])
    assert found.error_share == pytest.approx(np.median(shares), rel=1e-6)
    assert found.span == pytest.approx(extent(found.points_world[expected]))
    np.testing.assert_allclose(found.center_world, np.median(found.points_world[expected], axis=0))
    double = found.scaled(2.0)
    np.testing.assert_allclose(double.points_world, 2 * found.points_world)
    assert double.error_share == found.error_share


@pytest.mark.parametrize(
    ("seen", "is_hand"), [([0, 5, 9, 1, 2, 3], True), ([0, 5, 9, 1, 2], False), ([0, 5, 1, 2, 3, 4], False)]
)
def test_a_hand_needs_six_keypoints_and_three_of_the_palm(hand, rng, seen, is_hand):
    points = hand(natural_poses(hand, 1, rng)).keypoints[0].numpy()
    views = {}
    for v in (0, 1):
        view = make_view(RIG, v, Detection(RIG.cameras[v].project(points)[0], np.ones(21), 0.9))
        views[v] = replace(view, confidence=np.isin(np.arange(21), seen) * (1.0 if v else 0.5))
    found = triangulate_hand(RIG, 0, views)
    assert np.isfinite(found.error_share) == is_hand and found.valid.sum() == len(seen)


def test_a_view_knows_its_noise_and_what_is_missing(rng):
    camera = replace(RIG.cameras[0], distortion=np.array([-0.2, 0.05, 0.0, 0.0]))
    rig = Rig((camera,))
    for size in (10.0, 150.0):
        pixels = 300 + size * rng.uniform(-1, 1, (21, 2))
        pixels[7] = 1e4  # where the lens cannot have seen anything
        confidence = np.full(21, 0.7)
        confidence[4] = 0
        view = make_view(rig, 0, Detection(pixels, confidence, 0.9))
        confidence[7] = 0
        observed = ~np.isin(np.arange(21), (4, 7))
        assert view.noise_px == pytest.approx(max(1.5, 0.015 * extent(pixels[observed])))
        np.testing.assert_allclose(view.ideal_px[observed], camera.undistort(pixels)[0][observed])
        assert not view.ideal_px[[4, 7]].any() and view.observed.tolist() == observed.tolist()
        np.testing.assert_array_equal(view.confidence, confidence)
        assert view.extent_px == pytest.approx(extent(view.ideal_px[observed]))
        np.testing.assert_allclose(view.center_px, np.median(view.ideal_px[observed], axis=0))
    for count in (5, 6):
        few = make_view(rig, 0, Detection(pixels, (np.arange(21) < count) * 1.0, 0.9))
        assert (few is None) == (count < 6)
    assert keypoint_extent(np.ones((3, 2))) == 1e-9


def test_detections_go_to_the_moments_of_their_frames():
    """A camera's frame may stand for several moments, for one, or for none."""
    rows = [
        DetectionRecord(camera, frame, np.full((21, 2), 10.0 * frame + n), np.ones(21), 0.1 * n, n == 2)
        for n, (camera, frame) in enumerate([("a", 0), ("b", 0), ("a", 2), ("b", 7), ("a", 0), ("c", 0)])
    ]
    found = group_by_moment(rows, ("a", "b"), np.array([[0, -1], [0, 7], [2, 0], [5, 3]]))
    numbers = [[[int(d.keypoints_px[0, 0]) for d in seen] for seen in moment] for moment in found]
    assert numbers == [[[0, 4], []], [[0, 4], [73]], [[22], [1]], [[], []]]
    assert found[1][0][1].right == pytest.approx(0.4) and found[2][0][0].redetected and not found[0][0][0].redetected


def test_some_hands_evenly_spread():
    hands = [MultiviewHand.unseen(frame, 2) for frame in range(9)]
    assert [hand.frame for hand in evenly_spaced(hands, 3)] == [0, 4, 8]
    assert [hand.frame for hand in evenly_spaced(hands, 20)] == list(range(9))
    assert hands[3].view_count == 0 and len(hands[3].views) == 2 and not hands[3].valid.any()
    assert np.isnan(hands[3].error_share) and np.isnan(hands[3].points_world).all()
