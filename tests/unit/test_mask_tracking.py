"""Hands carried by masks: what happens where the masks lose them. (With masks that hold: test_annotate_fitting.py.)"""

import numpy as np
import pytest
from support.cameras import ring
from support.hands import swing

from handgen.detect.view_bias import DetectorCalibration
from handgen.fit.observations import kinematics_of
from handgen.fit.pose_fit import MotionPrior, fit_poses
from handgen.fit.silhouette.mask_edges import MaskView
from handgen.geometry.meshes import mesh_mask
from handgen.multiview.association import associate_frame
from handgen.reconstruct.mask_tracking import MaskTrack, _overlap, track_by_masks
from handgen.records.detection import Detection

BLANK = np.zeros((480, 640, 3), np.uint8)


@pytest.fixture
def scene(hand, rng):
    """A rig, a swinging hand's true keypoints, and the hand as it was fitted in frames 0 to 2."""
    rig = ring(4)
    pose = swing(hand, 6, rng)
    truth = hand(pose).keypoints.numpy()
    betas = pose.betas[0].numpy()
    seen = [[[Detection(camera.project(points)[0], np.ones(21), 0.95)] for camera in rig] for points in truth]
    seen_hands = [associate_frame(rig, frame, seen[frame])[0] for frame in range(3)]
    kinematics = kinematics_of("open", "right", np.zeros((21, 3)))
    fit = fit_poses(kinematics, rig, seen_hands, betas, motion=MotionPrior.of(30.0, 5000.0))
    detector = DetectorCalibration(np.zeros((21, 3)))
    return rig, truth, seen, MaskTrack(fit, "right", detector)


def blank_pictures(frames):
    return ((BLANK,) * 4 for _ in frames)


def test_without_masks_the_detector_is_asked_where_the_hand_must_be(scene):
    rig, truth, seen, hand = scene
    asked = []

    def redetect(camera, image, guess_px, right):
        frame = 3 + len(asked) // 4
        assert right == 1.0
        assert np.linalg.norm(guess_px - seen[frame][camera][0].keypoints_px, axis=1).mean() < 15  # px: its motion
        asked.append(camera)
        return seen[frame][camera][0]

    track_by_masks([hand], range(6), blank_pictures(range(6)), rig, "any", redetect)
    assert sorted(hand.states) == sorted(hand.seen_hands) == [3, 4, 5]
    assert all(seen_hand.view_count == 4 for seen_hand in hand.seen_hands.values())
    assert all(view.detection.redetected for view in hand.seen_hands[3].views)
    assert not any(hand.masks.values())  # those that were found are of where the hand is not
    for frame, state in hand.states.items():
        points = hand.fit.problem.kinematics.keypoints(state)[0].numpy()
        assert np.linalg.norm(points - truth[frame], axis=1).mean() * 1e3 < 1.0


@pytest.mark.parametrize("redetect", [None, lambda *_: None])
def test_without_masks_and_detector_the_hand_is_lost(scene, redetect):
    rig, _, _, hand = scene
    track_by_masks([hand], range(6), blank_pictures(range(6)), rig, "any", redetect)
    assert not hand.states and not hand.seen_hands


def test_overlap_is_measured_where_the_mask_says_something(scene, hand):
    rig, _, _, carried = scene
    vertices = carried.posed(carried.known(0)).vertices
    camera = rig.cameras[0]
    mesh = mesh_mask(camera.project(vertices)[0], hand.faces, camera.size_px)
    half = np.zeros_like(mesh)
    half[:, int(camera.project(vertices)[0][:, 0].mean()) :] = 255
    assert _overlap(MaskView(0, camera, mesh), vertices, hand.faces) == 1.0
    assert _overlap(MaskView(0, camera, mesh, half), vertices, hand.faces) == 1.0
    lost = np.where(half > 0, mesh, 0).astype(np.uint8)  # the mask lacks the other half
    assert _overlap(MaskView(0, camera, lost), vertices, hand.faces) < 0.7
    assert _overlap(MaskView(0, camera, lost, 255 - half), vertices, hand.faces) == 1.0
