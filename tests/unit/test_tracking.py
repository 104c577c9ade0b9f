import numpy as np
import pytest
from support.two_hands import detections, two_hands  # noqa: F401

from handgen.multiview.association import associate_frame
from handgen.multiview.tracking import hands_of_detections, hands_of_frames
from handgen.records.detection import Detection


def test_a_wrong_label_in_one_view_makes_no_third_hand(rig, two_hands, rng):  # noqa: F811
    frames = []
    for frame, points in enumerate(two_hands):
        found = detections(rig, points, rng)
        found[1] = [Detection(d.keypoints_px, d.confidence, 1 - d.right) for d in found[1]]
        frames.append(associate_frame(rig, frame, found))
    hands = hands_of_frames(frames, "both")
    assert sorted(h.side for h in hands) == ["left", "right"]
    assert all(len(h.seen_hands) == 10 and c.view_count == 4 for h in hands for c in h.seen_hands.values())
    right = next(h for h in hands if h.side == "right")
    for frame, seen_hand in right.seen_hands.items():
        assert np.linalg.norm(np.median(seen_hand.points_world - two_hands[frame, 0], axis=0)) < 0.003


def test_wrong_labels_in_all_views_of_some_frames_are_outvoted(rig, two_hands, rng):  # noqa: F811
    frames = [
        associate_frame(rig, f, detections(rig, points, rng, right=(0.1, 0.9) if f in (4, 5) else (0.95, 0.05)))
        for f, points in enumerate(two_hands)
    ]
    hands = hands_of_frames(frames, "both")
    right = next(h for h in hands if h.side == "right")
    assert sorted(right.seen_hands) == list(range(10))


def test_only_the_side_asked_for(rig, two_hands, rng):  # noqa: F811
    frames = [associate_frame(rig, f, detections(rig, points, rng)) for f, points in enumerate(two_hands)]
    assert [h.side for h in hands_of_frames(frames, "right")] == ["right"]


@pytest.mark.parametrize("second", [0.2, 0.45, 0.6, 0.75])
def test_two_hands_at_once_are_a_left_and_a_right_one(rig, two_hands, rng, second):  # noqa: F811
    frames = [
        associate_frame(rig, f, detections(rig, points, rng, right=(0.95, second)))
        for f, points in enumerate(two_hands)
    ]
    hands = {hand.side: hand for hand in hands_of_frames(frames, "both")}
    assert sorted(hands) == ["left", "right"]
    assert np.linalg.norm(hands["right"].seen_hands[0].center_world - np.median(two_hands[0, 0], 0)) < 0.005


def test_a_second_right_hand_that_is_sure_of_it_is_somebody_elses(rig, two_hands, rng):  # noqa: F811
    frames = [
        associate_frame(rig, f, detections(rig, points, rng, right=(0.97, 0.93))) for f, points in enumerate(two_hands)
    ]
    assert [hand.side for hand in hands_of_frames(frames, "both")] == ["right"]


def test_nothing_seen_gives_no_hands():
    assert hands_of_frames([[], []], "both") == []


def mirrored(detection, right):
    """A hand taken for one of the other side: index and pinky, middle and ring are exchanged."""
    order = [0, 1, 2, 3, 4, *range(17, 21), *range(13, 17), *range(9, 13), *range(5, 9)]
    return Detection(detection.keypoints_px[order], detection.confidence, right)


@pytest.mark.parametrize("hands", ["right", "both"])
def test_views_that_saw_the_hand_mirrored_are_left_out(rig, two_hands, rng, hands):  # noqa: F811
    frames = []
    for points in two_hands:
        found = [seen[:1] for seen in detections(rig, points[:1], rng, right=(0.95,))]
        found[2] = [mirrored(found[2][0], 0.02)]
        frames.append(found)
    (hand,) = hands_of_detections(rig, range(len(frames)), frames, hands)
    assert hand.side == "right" and len(hand.seen_hands) == len(frames)
    for frame, seen_hand in hand.seen_hands.items():
        assert (
            seen_hand.views[2] is None
            and seen_hand.view_count == 3
            and not (hands == "right" and seen_hand.conflicting_views)
        )
        # Millimetres: half a pixel of noise from three views; mirrored, keypoints are centimetres off.
        assert np.linalg.norm(seen_hand.points_world - two_hands[frame, 0], axis=1).max() < 0.004


def test_where_nearly_all_views_are_mirrored_the_hand_is_not_lost(rig, two_hands, rng):  # noqa: F811
    frames = []
    for points in two_hands:
        found = [seen[:1] for seen in detections(rig, points[:1], rng, right=(0.02,))]
        found[0] = [Detection(found[0][0].keypoints_px, found[0][0].confidence, 0.95)]
        frames.append(found)
    (hand,) = hands_of_detections(rig, range(len(frames)), frames, "right")
    assert all(seen_hand.view_count == 4 for seen_hand in hand.seen_hands.values())
