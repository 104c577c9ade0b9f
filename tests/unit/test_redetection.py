import numpy as np
import pytest
from support.two_hands import detections, two_hands  # noqa: F401

from handgen.multiview.association import associate_frame
from handgen.multiview.tracking import hands_of_detections
from handgen.reconstruct.redetection import views_to_search
from handgen.records.detection import Detection


@pytest.fixture
def frames(rig, two_hands, rng):  # noqa: F811
    """Detections of ten frames; view 2 never sees the right hand, and nobody does in frames 4 and 5."""
    found = []
    for frame, points in enumerate(two_hands):
        here = detections(rig, points, rng)
        here[2] = [d for d in here[2] if d.right < 0.5]
        found.append([[d for d in view if d.right < 0.5] for view in here] if frame in (4, 5) else here)
    return found


def test_a_view_that_missed_a_hand_is_told_where_it_is(rig, two_hands, frames):  # noqa: F811
    hands = hands_of_detections(rig, range(10), frames, "both")
    looks = views_to_search(rig, hands, gap_frames=10)
    whole = [look for look in looks if look.frame not in (4, 5)]
    assert {(look.frame, look.camera, look.right) for look in whole} == {
        (f, 2, 1.0) for f in range(10) if f not in (4, 5)
    }
    for look in looks:
        truth_px, _ = rig.cameras[look.camera].project(two_hands[look.frame, 0])
        assert np.linalg.norm(look.guess_px - truth_px, axis=1).mean() < 3.0  # triangulated with 1 px of noise


def test_in_a_gap_all_views_are(rig, frames):
    hands = hands_of_detections(rig, range(10), frames, "both")
    in_gap = [look for look in views_to_search(rig, hands, gap_frames=10) if look.frame in (4, 5)]
    assert {(look.frame, look.camera) for look in in_gap} == {(f, v) for f in (4, 5) for v in range(4)}
    assert not [
        look for look in views_to_search(rig, hands, gap_frames=1) if look.frame in (4, 5)
    ]  # a longer gap than that


def test_a_camera_that_looks_elsewhere_is_left_alone(rig, frames):
    hands = hands_of_detections(rig, range(10), frames, "both")
    for hand in hands:
        for frame, seen_hand in hand.seen_hands.items():
            hand.seen_hands[frame] = type(seen_hand)(
                frame, seen_hand.views, seen_hand.points_world + (0.0, 3.0, 0.0), seen_hand.valid, seen_hand.error_share
            )
    assert not views_to_search(rig, hands, gap_frames=10)


def test_what_a_second_look_found_is_no_witness_against_a_hand(rig, two_hands, rng):  # noqa: F811
    """A wrong detection in the hand's place is dissent, unless it was only found because it was looked for there."""
    seen = detections(rig, two_hands[0][:1], rng, right=(0.95,))
    wrong = seen[3][0].keypoints_px[::-1].copy()
    for again, conflicting_views in ((False, 1), (True, 0)):
        seen[3] = [Detection(wrong, np.ones(21), 0.95, again)]
        (seen_hand,) = associate_frame(rig, 0, seen)
        assert seen_hand.view_count == 3 and seen_hand.conflicting_views == conflicting_views
