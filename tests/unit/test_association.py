import numpy as np
import pytest
from support.cameras import ring
from support.two_hands import detections, two_hands  # noqa: F401

from handgen.multiview.association import associate_frame, retriangulate
from handgen.records.detection import Detection


def test_two_hands_give_two_clusters_in_all_views(rig, two_hands, rng):  # noqa: F811
    seen_hands = associate_frame(rig, 0, detections(rig, two_hands[0], rng))
    assert [c.view_count for c in seen_hands] == [4, 4]
    centers = sorted(float(np.median(c.points_world[:, 0])) for c in seen_hands)
    expected = sorted(float(np.median(k[:, 0])) for k in two_hands[0])
    np.testing.assert_allclose(centers, expected, atol=0.003)  # m: 1 px of noise at 0.7 m is 0.9 mm


def test_missing_views_and_false_hands(rig, two_hands, rng):  # noqa: F811
    found = detections(rig, two_hands[0][:1], rng)
    found[0] = []
    found[2].append(Detection(rng.uniform(0, 400, (21, 2)), np.ones(21), 0.9))
    seen_hands = associate_frame(rig, 0, found)
    assert len(seen_hands) == 1
    assert [v is not None for v in seen_hands[0].views] == [False, True, True, True]


def test_one_view_alone_gives_nothing(rig, two_hands, rng):  # noqa: F811
    found = detections(rig, two_hands[0], rng)
    assert associate_frame(rig, 0, [found[0], [], [], []]) == []


def test_distortion_is_removed_before_anything_else(two_hands, rng):  # noqa: F811
    rig = ring(4, distortion=(-0.3, 0.1, 0, 0, 0))
    seen_hands = associate_frame(rig, 0, detections(rig, two_hands[0], rng, noise_px=0))
    assert [c.view_count for c in seen_hands] == [4, 4]
    assert max(c.error_share for c in seen_hands) < 1e-3


def test_reclustering_needs_two_views(rig, two_hands, rng):  # noqa: F811
    from dataclasses import replace

    seen_hand = associate_frame(rig, 0, detections(rig, two_hands[0], rng))[0]
    three = retriangulate(rig, replace(seen_hand, views=(None, *seen_hand.views[1:])))
    assert np.abs(three.points_world - seen_hand.points_world).max() < 0.01
    with pytest.raises(ValueError, match="two views"):
        retriangulate(rig, replace(seen_hand, views=(seen_hand.views[0], None, None, None)))


def without(found, rng, count):
    """Detections with `count` random keypoints missing: confidence 0 and a meaningless position."""
    damaged = []
    for seen in found:
        hands = []
        for detection in seen:
            pixels, confidence = detection.keypoints_px.copy(), detection.confidence.copy()
            gone = rng.choice(21, count, replace=False)
            pixels[gone] = pixels.mean(0)
            confidence[gone] = 0
            hands.append(Detection(pixels, confidence, detection.right))
        damaged.append(hands)
    return damaged


def test_missing_keypoints_have_no_say(rig, two_hands, rng):  # noqa: F811
    found = without(detections(rig, two_hands[0], rng, noise_px=0.5), rng, 8)
    seen_hands = associate_frame(rig, 0, found)
    assert [c.view_count for c in seen_hands] == [4, 4]
    for seen_hand in seen_hands:
        truth = min(two_hands[0], key=lambda k: np.linalg.norm(np.median(k, 0) - seen_hand.center_world))
        error_mm = np.linalg.norm(seen_hand.points_world - truth, axis=1)[seen_hand.valid] * 1e3
        assert seen_hand.valid.sum() >= 15 and error_mm.max() < 6  # two views of four at worst


def test_the_other_hand_in_front_is_no_dissent(rig, two_hands, rng):  # noqa: F811
    first, second = two_hands[0]
    near = second + (np.median(first, 0) - np.median(second, 0)) + (0.0, 0.03, 0.0)  # in the same place in all views
    found = detections(rig, np.stack([first, near]), rng)
    for camera in (2, 3):  # there the first hand is hidden
        found[camera] = [d for d in found[camera] if d.right < 0.5]
    seen_hands = associate_frame(rig, 0, found)
    assert sorted(c.view_count for c in seen_hands) == [2, 4]
    assert all(c.conflicting_views == 0 for c in seen_hands)


def test_a_view_that_sees_something_else_in_the_place_dissents(rig, two_hands, rng):  # noqa: F811
    found = detections(rig, two_hands[0][:1], rng)
    mirrored = found[3][0].keypoints_px
    mirrored = 2 * np.median(mirrored, 0) - mirrored
    found[3] = [Detection(mirrored, np.ones(21), 0.9)]
    (seen_hand,) = associate_frame(rig, 0, found)
    assert seen_hand.view_count == 3 and seen_hand.conflicting_views == 1
