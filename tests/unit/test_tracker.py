import numpy as np
import pytest
import torch
from support.cameras import ring
from support.hands import state_of, swing

from handgen.fit.kinematics import KeypointKinematics
from handgen.fit.tracker import Tracker


@pytest.fixture
def scene(hand, rng):
    """A swinging hand in four cameras: its pose, keypoints (n, 21, 3) and pixels (n, views, 21, 2) with 1 px noise."""
    rig = ring(4)
    pose = swing(hand, 40, rng)
    kinematics = KeypointKinematics(hand)
    truth = kinematics.keypoints(state_of(pose)).numpy()
    pixels = np.stack([camera.project(truth)[0] for camera in rig], 1)
    return Tracker(kinematics, rig, pose.betas[0].numpy()), truth, pixels + rng.normal(0, 1.0, pixels.shape)


def error_mm(found, truth):
    return float(np.linalg.norm(found.keypoints - truth, axis=1).mean() * 1e3)


def test_a_moving_hand_is_followed(scene):
    tracker, truth, pixels = scene
    confidence = np.ones(pixels.shape[1:3])
    found = [tracker.update(frame, confidence) for frame in pixels]
    assert found[0].restarted and not any(hand.restarted for hand in found[1:])
    assert all(hand.seen for hand in found)
    # 1 px at 0.7 m and 800 px focal length is 0.9 mm; four views and the model halve it.
    assert max(error_mm(hand, at) for hand, at in zip(found, truth, strict=True)) < 1.2


def test_it_waits_for_a_hand_that_is_gone_and_finds_it_again(scene):
    tracker, truth, pixels = scene
    confidence = np.ones(pixels.shape[1:3])
    for frame in pixels[:5]:
        tracker.update(frame, confidence)
    carried = tracker.update(pixels[5], 0 * confidence)
    assert not carried.seen and error_mm(carried, truth[5]) < 15  # where the motion would have taken it
    for _ in range(10):
        last = tracker.update(np.full_like(pixels[0], np.nan), confidence)
    assert last is None
    back = tracker.update(pixels[30], confidence)
    assert back.restarted and error_mm(back, truth[30]) < 1.5


def test_another_hand_elsewhere_is_a_restart(scene):
    tracker, truth, pixels = scene
    confidence = np.ones(pixels.shape[1:3])
    tracker.update(pixels[0], confidence)
    tracker.update(pixels[1], confidence)
    found = tracker.update(pixels[30], confidence)  # a cut in the video
    assert error_mm(found, truth[30]) < 1.5


def test_wrong_detections_in_one_view_cost_little(scene, rng):
    tracker, truth, pixels = scene
    pixels = pixels.copy()
    pixels[3:, 1] += rng.uniform(60, 120, (len(pixels) - 3, 21, 2))
    found = [tracker.update(frame, np.ones(pixels.shape[1:3])) for frame in pixels]
    errors = [error_mm(hand, at) for hand, at in zip(found, truth, strict=True)]
    assert np.median(errors[3:]) < 1.5


def test_shapes_are_checked(scene):
    with pytest.raises(ValueError, match="expected keypoints"):
        scene[0].update(np.zeros((3, 21, 2)), np.ones((3, 21)))


def test_numbers_are_finite_whatever_comes(scene):
    tracker, _, pixels = scene
    confidence = np.ones(pixels.shape[1:3])
    strange = [np.full_like(pixels[0], 1e9), np.zeros_like(pixels[0]), np.full_like(pixels[0], np.inf), pixels[0]]
    for frame in strange:
        found = tracker.update(frame, confidence)
        assert found is None or all(np.isfinite(a).all() for a in (found.pose, found.translation, found.keypoints))
    assert torch.isfinite(torch.as_tensor(found.pose)).all() and found.seen
