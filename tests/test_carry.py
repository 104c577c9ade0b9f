"""Hands carried by masks: what happens where the masks lose them. (With masks that hold: test_annotate_fitting.py.)"""

import numpy as np
import pytest
from conftest import ring
from test_sequence import swing

from handgen.associate import clusters_of_frame
from handgen.carry import Carried, _overlap, carry
from handgen.detect.base import Detection
from handgen.fit.edges import MaskView
from handgen.fit.evidence import kinematics_of
from handgen.fit.hands import MotionPrior, fit_poses
from handgen.fit.subject import Subject
from handgen.raster import mesh_mask

BLANK = np.zeros((480, 640, 3), np.uint8)


@pytest.fixture
def scene(hand, rng):
    """A rig, a swinging hand's true keypoints, and the hand as it was fitted in frames 0 to 2."""
    rig = ring(4)
    pose = swing(hand, 6, rng)
    truth = hand(pose).keypoints.numpy()
    betas = pose.betas[0].numpy()
    seen = [[[Detection(camera.project(points)[0], np.ones(21), 0.95)] for camera in rig] for points in truth]
    clusters = [clusters_of_frame(rig, frame, seen[frame])[0] for frame in range(3)]
    kinematics = kinematics_of("open", "right", np.zeros((21, 3)))
    fit = fit_poses(kinematics, rig, clusters, betas, motion=MotionPrior.of(30.0, 5000.0))
    subject = Subject(betas, 1.0, np.zeros((21, 3)), 3)
    return rig, truth, seen, Carried(fit, "right", subject)


def blank_pictures(frames):
    return ((BLANK,) * 4 for _ in frames)


def test_without_masks_the_detector_is_asked_where_the_hand_must_be(scene):
    rig, truth, seen, hand = scene
    asked = []

    def look_again(camera, image, guess_px, right):
        frame = 3 + len(asked) // 4
        assert right == 1.0
        assert np.linalg.norm(guess_px - seen[frame][camera][0].keypoints_px, axis=1).mean() < 15  # px: its motion
        asked.append(camera)
        return seen[frame][camera][0]

    carry([hand], range(6), blank_pictures(range(6)), rig, "any", look_again)
    assert sorted(hand.states) == sorted(hand.clusters) == [3, 4, 5]
    assert all(cluster.view_count == 4 for cluster in hand.clusters.values())
    assert all(view.detection.again for view in hand.clusters[3].views)
    assert not any(hand.masks.values())  # those that were found are of where the hand is not
    for frame, state in hand.states.items():
        points = hand.fit.problem.kinematics.keypoints(state)[0].numpy()
        assert np.linalg.norm(points - truth[frame], axis=1).mean() * 1e3 < 1.0


@pytest.mark.parametrize("look_again", [None, lambda *_: None])
def test_without_masks_and_detector_the_hand_is_lost(scene, look_again):
    rig, _, _, hand = scene
    carry([hand], range(6), blank_pictures(range(6)), rig, "any", look_again)
    assert not hand.states and not hand.clusters


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
