import numpy as np
import pytest
import torch
from conftest import ring
from test_fit import natural_poses

from handgen.associate import clusters_of_frame, hands_of_frames, reclustered
from handgen.detect.base import Detection
from handgen.hand.model import HandPose


@pytest.fixture(scope="module")
def keypoints(hand):
    """Ten frames of two hands 15 cm apart that drift slowly: (frames, hands, 21, 3)."""
    rng = np.random.default_rng(3)
    pose = natural_poses(hand, 2, rng)
    frames = []
    for frame in range(10):
        shift = torch.tensor([[-0.075, 0, 0], [0.075, 0, 0]]) + 0.002 * frame
        moved = HandPose(pose.rotations, shift.double() - hand.rest_joints[0], pose.betas)
        frames.append(hand(moved).keypoints.numpy())
    return np.stack(frames)


def detections(rig, keypoints, rng, right=(0.95, 0.05), noise_px=1.0):
    """Per camera, the two hands in random order; right[h] is what the detector thinks of hand h."""
    found = []
    for camera in rig:
        hands = [
            Detection(camera.project(points)[0] + rng.normal(0, noise_px, (21, 2)), np.ones(21), right[h])
            for h, points in enumerate(keypoints)
        ]
        found.append([hands[i] for i in rng.permutation(len(hands))])
    return found


def test_two_hands_give_two_clusters_in_all_views(rig, keypoints, rng):
    clusters = clusters_of_frame(rig, 0, detections(rig, keypoints[0], rng))
    assert [c.view_count for c in clusters] == [4, 4]
    centers = sorted(float(np.median(c.points_world[:, 0])) for c in clusters)
    expected = sorted(float(np.median(k[:, 0])) for k in keypoints[0])
    np.testing.assert_allclose(centers, expected, atol=0.003)  # m: 1 px of noise at 0.7 m is 0.9 mm


def test_a_wrong_label_in_one_view_makes_no_third_hand(rig, keypoints, rng):
    frames = []
    for frame, points in enumerate(keypoints):
        found = detections(rig, points, rng)
        found[1] = [Detection(d.keypoints_px, d.confidence, 1 - d.right) for d in found[1]]
        frames.append(clusters_of_frame(rig, frame, found))
    hands = hands_of_frames(frames, "both")
    assert sorted(h.side for h in hands) == ["left", "right"]
    assert all(len(h.clusters) == 10 and c.view_count == 4 for h in hands for c in h.clusters.values())
    right = next(h for h in hands if h.side == "right")
    for frame, cluster in right.clusters.items():
        assert np.linalg.norm(np.median(cluster.points_world - keypoints[frame, 0], axis=0)) < 0.003


def test_wrong_labels_in_all_views_of_some_frames_are_outvoted(rig, keypoints, rng):
    frames = [
        clusters_of_frame(rig, f, detections(rig, points, rng, right=(0.1, 0.9) if f in (4, 5) else (0.95, 0.05)))
        for f, points in enumerate(keypoints)
    ]
    hands = hands_of_frames(frames, "both")
    right = next(h for h in hands if h.side == "right")
    assert sorted(right.clusters) == list(range(10))


def test_missing_views_and_false_hands(rig, keypoints, rng):
    found = detections(rig, keypoints[0][:1], rng)
    found[0] = []
    found[2].append(Detection(rng.uniform(0, 400, (21, 2)), np.ones(21), 0.9))
    clusters = clusters_of_frame(rig, 0, found)
    assert len(clusters) == 1
    assert [v is not None for v in clusters[0].views] == [False, True, True, True]


def test_one_view_alone_gives_nothing(rig, keypoints, rng):
    found = detections(rig, keypoints[0], rng)
    assert clusters_of_frame(rig, 0, [found[0], [], [], []]) == []
    assert hands_of_frames([[], []], "both") == []


def test_only_the_side_asked_for(rig, keypoints, rng):
    frames = [clusters_of_frame(rig, f, detections(rig, points, rng)) for f, points in enumerate(keypoints)]
    assert [h.side for h in hands_of_frames(frames, "right")] == ["right"]


def test_distortion_is_removed_before_anything_else(keypoints, rng):
    rig = ring(4, distortion=(-0.3, 0.1, 0, 0, 0))
    clusters = clusters_of_frame(rig, 0, detections(rig, keypoints[0], rng, noise_px=0))
    assert [c.view_count for c in clusters] == [4, 4]
    assert max(c.error_share for c in clusters) < 1e-3


def test_reclustering_needs_two_views(rig, keypoints, rng):
    from dataclasses import replace

    cluster = clusters_of_frame(rig, 0, detections(rig, keypoints[0], rng))[0]
    three = reclustered(rig, replace(cluster, views=(None, *cluster.views[1:])))
    assert np.abs(three.points_world - cluster.points_world).max() < 0.01
    with pytest.raises(ValueError, match="two views"):
        reclustered(rig, replace(cluster, views=(cluster.views[0], None, None, None)))
