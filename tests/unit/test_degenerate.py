"""Input that no fit can do well on: nothing crashes, nothing that is not a number comes out, reasons are given."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.cameras import look_at, ring
from support.hands import natural_poses

from handgen.detect.view_bias import DetectorCalibration
from handgen.fit.subject import HandShape
from handgen.geometry.camera import Rig
from handgen.hand.model import HandModel
from handgen.hand.model_files import load_hand
from handgen.hand.skeleton import FINGER_KEYPOINTS
from handgen.multiview.tracking import hands_of_detections
from handgen.reconstruct import quality
from handgen.reconstruct.fit_hands import HandFitter
from handgen.reconstruct.settings import FitSettings
from handgen.reconstruct.single_view import SingleViewFinder
from handgen.records.detection import Detection
from handgen.stages.annotate.config import AnnotateConfig

FRAMES = 4
RIGS = {
    "ring": ring(4),
    # Optical centres on one line, and the hand on it as well: depth is not to be had.
    "collinear": Rig(tuple(look_at(str(i), np.array([0.0, 0.0, 0.5 + 0.2 * i]), np.zeros(3)) for i in range(3))),
    "same place": Rig(tuple(look_at(str(i), np.array([0.7, 0.2, 0.0]), np.zeros(3)) for i in range(3))),
    "one": Rig(ring(4).cameras[:1]),
}
EVENTS = ("fine", "nothing", "no confidence", "a finger lost", "elsewhere", "huge", "a point", "mirrored", "other side")
MODEL = HandModel(load_hand("open", "right"))


def seen(event, pixels, rng):
    """Make what a detector might say of a hand at `pixels`; None: nothing."""
    confidence = np.ones(21)
    if event == "nothing":
        return None
    if event == "no confidence":
        confidence = np.zeros(21)
    if event == "a finger lost":
        confidence[list(FINGER_KEYPOINTS["index"])] = 0
    if event == "elsewhere":
        pixels = pixels + rng.uniform(-400, 400, 2)
    if event == "huge":
        pixels = rng.uniform(-1e7, 1e7, (21, 2))
    if event == "a point":
        pixels = np.tile(pixels[:1], (21, 1))
    if event == "mirrored":
        pixels = pixels * (-1, 1)
    return Detection(pixels, confidence, 0.05 if event == "other side" else 0.95)


def fitted(rig, events, seed, single_view=None, acceleration=5000.0):
    """Through association, tracking and the fit; events: per frame and camera."""
    rng = np.random.default_rng(seed)
    keypoints = MODEL(natural_poses(MODEL, FRAMES, rng)).keypoints.numpy()
    detections = [
        [[d] if (d := seen(e, camera.project(points)[0], rng)) else [] for e, camera in zip(row, rig, strict=False)]
        for row, points in zip(events, keypoints, strict=True)
    ]
    hands = hands_of_detections(rig, range(FRAMES), detections, "both", single_view)
    settings = FitSettings(acceleration_mm_s2=acceleration, refine="none", background="any")
    fitter = HandFitter(settings, rig, HandShape(np.zeros(10)), DetectorCalibration(np.zeros((21, 3))), 30.0)
    return fitter.fit(hands, range(FRAMES), lambda frames: iter(()))


def assert_sane(rig, hands, least_views):
    config = AnnotateConfig(min_views=least_views)
    for hand in hands:
        seen_hands, found = hand.finite(range(FRAMES))
        for i, seen_hand in enumerate(seen_hands):
            for array in (found.poses, found.translations, found.keypoints, found.vertices, found.covariance_m2):
                assert np.isfinite(array[i]).all()
            assert (np.linalg.eigvalsh(found.covariance_m2[i]) >= -1e-12).all()
            assert all(np.isfinite(cost[i]) and cost[i] >= 0 for cost in found.terms.values())
            errors = [
                quality.view_error(found.expected_px(v, c)[i], view.detection.keypoints_px, view.observed)
                for v, (c, view) in enumerate(zip(rig, seen_hand.views, strict=True))
                if view is not None
            ]
            reasons = quality.record_reasons(errors, seen_hand.conflicting_views, 0.0, 5.0, config)
            assert len(errors) >= least_views or quality.TOO_FEW_VIEWS in reasons


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(
    rig=st.sampled_from(sorted(RIGS)),
    events=st.lists(st.lists(st.sampled_from(EVENTS), min_size=4, max_size=4), min_size=FRAMES, max_size=FRAMES),
    seed=st.integers(0, 1000),
    acceleration=st.sampled_from([0.0, 100.0, 5000.0]),
)
def test_whatever_the_detector_says(rig, events, seed, acceleration):
    assert_sane(RIGS[rig], fitted(RIGS[rig], events, seed, acceleration=acceleration), 2)


@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(
    events=st.lists(st.lists(st.sampled_from(EVENTS), min_size=4, max_size=4), min_size=FRAMES, max_size=FRAMES),
    seed=st.integers(0, 1000),
    rig=st.sampled_from(["one", "ring"]),
)
def test_whatever_one_view_says(events, seed, rig):
    assert_sane(RIGS[rig], fitted(RIGS[rig], events, seed, SingleViewFinder("open", np.zeros((21, 3)))), 1)


def test_a_lost_finger_is_where_the_prior_has_it():
    hands = fitted(RIGS["ring"], [["a finger lost"] * 4] * FRAMES, seed=1)
    _, found = hands[0].finite(range(FRAMES))
    limits = MODEL.arrays.joint_limits_rad
    assert len(found.poses) == FRAMES
    for joint in (1, 2, 3):  # of the index finger
        angles = np.einsum("ka,na->nk", MODEL.arrays.joint_axes[joint - 1], found.poses.reshape(-1, 16, 3)[:, joint])
        assert (angles > limits[joint - 1, :, 0] - 0.1).all() and (angles < limits[joint - 1, :, 1] + 0.1).all()
    sigma_mm = np.sqrt(np.trace(found.covariance_m2, axis1=-2, axis2=-1)) * 1e3
    assert (sigma_mm[:, 8] > 3 * sigma_mm[:, 12]).all()  # and its tip is said to be unknown; the middle finger's is not


def test_cameras_in_a_line_with_the_hand_say_that_they_do_not_know_how_far_it_is():
    hands = fitted(RIGS["collinear"], [["fine"] * 4] * FRAMES, seed=2)
    for hand in hands:
        _, found = hand.finite(range(FRAMES))
        along = np.sqrt(found.covariance_m2[..., 2, 2]).mean() * 1e3
        across = np.sqrt(found.covariance_m2[..., 0, 0]).mean() * 1e3
        assert along > 1.5 * across


def test_no_detection_with_a_number_that_is_none():
    with pytest.raises(ValueError, match="not finite"):
        Detection(np.full((21, 2), np.nan), np.ones(21), 0.5)


def test_solver_keeps_its_state_where_the_numbers_end():
    """A frame of NaN beside a good one: the good one is fitted, the other stays where it was."""
    from support.hands import observe, state_of

    from handgen.fit.kinematics import KeypointKinematics
    from handgen.fit.residuals import Observations, PosePrior
    from handgen.fit.solver import Problem, solve_poses

    rng = np.random.default_rng(0)
    truth = state_of(natural_poses(MODEL, 2, rng))
    kinematics = KeypointKinematics(MODEL)
    observed = observe(RIGS["ring"], kinematics.keypoints(truth))
    pixels = observed.pixels.clone()
    pixels[1] = torch.nan
    problem = Problem(
        kinematics, Observations(observed.ideal_px_from_world, pixels, observed.weight), PosePrior.of(MODEL)
    )
    start = truth.moved(torch.as_tensor(rng.normal(0, 0.02, (2, 51))))
    found, _ = solve_poses(problem, start)
    error_mm = (kinematics.keypoints(found) - kinematics.keypoints(truth)).norm(dim=-1).mean(1) * 1e3
    assert error_mm[0] < 0.5 and bool(error_mm.isfinite().all())
    torch.testing.assert_close(found.rotations[1], start.rotations[1])
