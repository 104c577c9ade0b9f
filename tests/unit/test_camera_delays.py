from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from support.cameras import ring

from handgen.multiview.association import MultiviewHand, make_view
from handgen.multiview.tracking import HandObservations
from handgen.reconstruct.camera_delays import at_the_moment, label_offset_px
from handgen.reconstruct.fit_hands import view_errors
from handgen.records.detection import Detection

STEP_PX = np.array([6.0, -8.0])  # 10 px a frame


@pytest.fixture
def rig():
    return ring(3)


def steady(rig, rng, frames, late):
    """Observations of a hand that moves evenly through the pictures; camera 1 shows it `late` frames late."""
    start = rng.uniform(200, 300, (21, 2))
    seen = {}
    for frame in frames:
        views = []
        for v in range(len(rig)):
            pixels = start + (frame - late * (v == 1)) * STEP_PX
            view = make_view(rig, v, Detection(pixels, np.full(21, 0.9), 0.95))
            views.append(replace(view, ideal_px=pixels))  # as if lenses were without distortion
        seen[frame] = MultiviewHand(frame, tuple(views), np.zeros((21, 3)), np.ones(21, bool), 0.01)
    return HandObservations("right", seen)


@pytest.mark.parametrize("late", [0.6, -0.4, 1.3, -2.0])
def test_keypoints_of_a_late_camera_are_where_the_hand_was_at_the_moment(rig, rng, late):
    given = steady(rig, rng, range(7), late)
    found = at_the_moment(given, {1: late})
    for frame, seen_hand in found.seen_hands.items():
        before, moved = given.seen_hands[frame].views[1], seen_hand.views[1]
        assert moved.detection is before.detection and seen_hand.views[2] is given.seen_hands[frame].views[2]
        way_px = abs(late) * 10
        if 0 <= np.floor(frame + late) <= 5:
            np.testing.assert_allclose(moved.ideal_px, seen_hand.views[0].ideal_px, atol=1e-9)  # even motion: exact
            assert moved.noise_px == pytest.approx(np.hypot(before.noise_px, 0.3 * way_px))
        else:  # no frame on one side: where the hand was is not known
            np.testing.assert_array_equal(moved.ideal_px, before.ideal_px)
            assert moved.noise_px == pytest.approx(np.hypot(before.noise_px, way_px))


def test_a_hand_that_is_seen_once_stays_where_it_was(rig, rng):
    given = steady(rig, rng, [3], 0.5)
    found = at_the_moment(given, {1: 0.5}).seen_hands[3].views[1]
    assert found is given.seen_hands[3].views[1]


def test_a_keypoint_that_the_next_frame_lacks_stays(rig, rng):
    given = steady(rig, rng, range(2), 0.5)
    later = given.seen_hands[1]
    pixels = later.views[1].ideal_px.copy()
    pixels[4] = np.nan
    given.seen_hands[1] = replace(later, views=(later.views[0], replace(later.views[1], ideal_px=pixels), None))
    found, before = (hands.seen_hands[0].views[1].ideal_px for hands in (at_the_moment(given, {1: 0.5}), given))
    np.testing.assert_array_equal(found[4], before[4])
    np.testing.assert_allclose(found[5], before[5] + 0.5 * STEP_PX)


class Fitted:
    """Stands for a fit that is exactly where the hand is."""

    def __init__(self, pixels):
        self.pixels = pixels

    def __getitem__(self, chosen):
        return self

    def expected_px(self, v, camera):
        return self.pixels[None]


def test_a_fit_at_the_moment_is_right_for_a_record_and_off_in_a_late_picture(rig, rng):
    given = at_the_moment(steady(rig, rng, range(3), 0.5), {1: 0.5})
    track = SimpleNamespace(fitted=Fitted(given.seen_hands[1].views[0].ideal_px), hands=[given.seen_hands[1]])
    own = [error.median_px for error in view_errors(rig, track, 0)]
    at_moment = [error.median_px for error in view_errors(rig, track, 0, late={1})]
    np.testing.assert_allclose(own, [0, 5, 0], atol=1e-9)  # half a step of 10 px
    np.testing.assert_allclose(at_moment, 0, atol=1e-9)


def test_fingers_that_move_while_the_palm_rests_are_off_in_a_late_picture(rig):
    camera = rig.cameras[0]
    resting = np.tile(np.linspace(-0.05, 0.05, 21)[:, None], (1, 3))
    moved = resting.copy()
    moved[[4, 8, 12, 16, 20]] += 0.02  # the tips, 2 cm
    tips_px = np.linalg.norm(camera.project(moved)[0] - camera.project(resting)[0], axis=-1)
    found = label_offset_px(camera, np.stack([resting, moved]), [0, 1], 0, -0.5)
    assert found == pytest.approx(0.5 * np.sqrt((tips_px**2).mean())) and found > 2
