import numpy as np
import pytest
from two_hands_fixture import detections, two_hands  # noqa: F401

from handgen.associate import clusters_of_frame
from handgen.detect.base import Detection
from handgen.tracks import hands_of_frames


def test_a_wrong_label_in_one_view_makes_no_third_hand(rig, two_hands, rng):  # noqa: F811
    frames = []
    for frame, points in enumerate(two_hands):
        found = detections(rig, points, rng)
        found[1] = [Detection(d.keypoints_px, d.confidence, 1 - d.right) for d in found[1]]
        frames.append(clusters_of_frame(rig, frame, found))
    hands = hands_of_frames(frames, "both")
    assert sorted(h.side for h in hands) == ["left", "right"]
    assert all(len(h.clusters) == 10 and c.view_count == 4 for h in hands for c in h.clusters.values())
    right = next(h for h in hands if h.side == "right")
    for frame, cluster in right.clusters.items():
        assert np.linalg.norm(np.median(cluster.points_world - two_hands[frame, 0], axis=0)) < 0.003


def test_wrong_labels_in_all_views_of_some_frames_are_outvoted(rig, two_hands, rng):  # noqa: F811
    frames = [
        clusters_of_frame(rig, f, detections(rig, points, rng, right=(0.1, 0.9) if f in (4, 5) else (0.95, 0.05)))
        for f, points in enumerate(two_hands)
    ]
    hands = hands_of_frames(frames, "both")
    right = next(h for h in hands if h.side == "right")
    assert sorted(right.clusters) == list(range(10))


def test_only_the_side_asked_for(rig, two_hands, rng):  # noqa: F811
    frames = [clusters_of_frame(rig, f, detections(rig, points, rng)) for f, points in enumerate(two_hands)]
    assert [h.side for h in hands_of_frames(frames, "right")] == ["right"]


@pytest.mark.parametrize("second", [0.2, 0.45, 0.6, 0.75])
def test_two_hands_at_once_are_a_left_and_a_right_one(rig, two_hands, rng, second):  # noqa: F811
    frames = [
        clusters_of_frame(rig, f, detections(rig, points, rng, right=(0.95, second)))
        for f, points in enumerate(two_hands)
    ]
    hands = {hand.side: hand for hand in hands_of_frames(frames, "both")}
    assert sorted(hands) == ["left", "right"]
    assert np.linalg.norm(hands["right"].clusters[0].center_world - np.median(two_hands[0, 0], 0)) < 0.005


def test_a_second_right_hand_that_is_sure_of_it_is_somebody_elses(rig, two_hands, rng):  # noqa: F811
    frames = [
        clusters_of_frame(rig, f, detections(rig, points, rng, right=(0.97, 0.93)))
        for f, points in enumerate(two_hands)
    ]
    assert [hand.side for hand in hands_of_frames(frames, "both")] == ["right"]


def test_nothing_seen_gives_no_hands():
    assert hands_of_frames([[], []], "both") == []
