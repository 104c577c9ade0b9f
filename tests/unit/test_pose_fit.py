"""The fit of a sequence against its parts, put together by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation, Slerp
from support.cameras import ring
from support.hands import swing

from handgen.detect.view_bias import FEATURES, ViewBias
from handgen.fit.initialization import start
from handgen.fit.kinematics import HandState
from handgen.fit.observations import apply_view_bias, kinematics_of, observations_of, pose_of, triangulated, valid_of
from handgen.fit.pose_fit import FittedHands, MotionPrior, fit_from, fit_poses
from handgen.fit.residuals import Expected, PosePrior
from handgen.fit.sequence import Motion, solve_sequence
from handgen.fit.solver import Problem, solve_poses
from handgen.hand.skeleton import MIRROR_X
from handgen.multiview.association import MultiviewHand, make_view, triangulate_hand
from handgen.records.detection import Detection

RIG = ring(3)
FRAMES = (2, 3, 4, 5, 7, 8)
UNSEEN, ALONE = (1, 2), 4  # places in FRAMES
MOTION = MotionPrior(1 / 25, 4.0)


@pytest.fixture(scope="module")
def kinematics():
    return kinematics_of("open", "right", np.random.default_rng(1).normal(0, 0.003, (21, 3)))


@pytest.fixture(scope="module")
def seen_hands(kinematics):
    """A swinging hand: two frames in which nobody saw it, and one in which a single camera did."""
    rng = np.random.default_rng(2)
    points = kinematics.model(swing(kinematics.model, max(FRAMES) + 1, rng, seconds=1.0)).keypoints.numpy()
    hands = []
    for place, frame in enumerate(FRAMES):
        views = {}
        for v, camera in enumerate(RIG):
            pixels = camera.project(points[frame])[0] + rng.normal(0, 1.0, (21, 2))
            views[v] = make_view(RIG, v, Detection(pixels, rng.uniform(0.3, 1.0, 21), 0.9))
        hand = triangulate_hand(RIG, frame, views)
        if place in UNSEEN:
            hand = MultiviewHand.unseen(frame, len(RIG))
        if place == ALONE:
            hand = replace(hand, views=(None, views[1], None))
        hands.append(hand)
    return hands


@pytest.fixture(scope="module")
def first(kinematics, seen_hands):
    """A state near the hands': that of the frames in which they were seen, and between them what lies between."""
    watched = [hand for hand in seen_hands if hand.view_count]
    betas = torch.as_tensor(BETAS)
    state = start(kinematics, triangulated(watched), betas, valid_of(watched, torch.device("cpu")))
    problem = Problem(kinematics, observations_of(RIG, watched), PosePrior.of(kinematics.model))
    state, _ = solve_poses(problem, state)
    at = [place for place in range(len(FRAMES)) if place not in UNSEEN]
    rotations = np.empty((len(FRAMES), 16, 3, 3))
    for joint in range(16):
        turns = Slerp(at, Rotation.from_matrix(state.rotations[:, joint].numpy()))
        rotations[:, joint] = turns(np.arange(len(FRAMES))).as_matrix()
    translation = [np.interp(np.arange(len(FRAMES)), at, state.translation[:, k].numpy()) for k in range(3)]
    return HandState(
        torch.as_tensor(rotations), torch.as_tensor(np.stack(translation, 1)), betas.expand(len(FRAMES), 10)
    )


BETAS = np.random.default_rng(3).normal(0, 1, 10)


def assert_same(found, expected, atol=1e-9):
    torch.testing.assert_close(found.rotations, expected.rotations, rtol=0, atol=atol)
    torch.testing.assert_close(found.translation, expected.translation, rtol=0, atol=atol)
    torch.testing.assert_close(found.betas, expected.betas, rtol=0, atol=atol)


def plain_problem(kinematics, seen_hands, corrections=None, terms=None):
    observed = observations_of(RIG, seen_hands, "cpu", corrections)
    return Problem(kinematics, observed, PosePrior.of(kinematics.model), terms or {})


@pytest.mark.parametrize("motion", [None, MOTION])
def test_a_fit_is_one_solve_from_what_lies_between_the_frames_seen(kinematics, seen_hands, first, motion):
    frames = torch.tensor(FRAMES)
    moves = Motion(frames, 1 / 25, 4.0) if motion else Motion(frames, 1.0, np.inf)
    expected = solve_sequence(plain_problem(kinematics, seen_hands), first, moves)
    for found in (
        fit_poses(kinematics, RIG, seen_hands, BETAS, motion=motion),
        fit_from(kinematics, RIG, seen_hands, first, motion=motion),
    ):
        assert_same(found.solved.state, expected.state, 1e-6)
        torch.testing.assert_close(found.solved.covariance(), expected.covariance(), rtol=1e-4, atol=1e-12)
        assert found.frames.tolist() == list(FRAMES) and found.corrections is None
        assert not found.problem.terms


def test_all_frames_seen_need_nothing_between_them(kinematics, seen_hands):
    watched = [hand for hand in seen_hands if hand.view_count]
    state = start(kinematics, triangulated(watched), torch.as_tensor(BETAS), valid_of(watched, torch.device("cpu")))
    problem = plain_problem(kinematics, watched)
    state, _ = solve_poses(problem, state)
    expected = solve_sequence(problem, state, Motion(torch.tensor([h.frame for h in watched]), 1.0, np.inf))
    assert_same(fit_poses(kinematics, RIG, watched, BETAS).solved.state, expected.state)


def test_the_bias_is_applied_twice(kinematics, seen_hands, first):
    rng = np.random.default_rng(4)
    bias = ViewBias(
        rng.normal(0, 0.003, (21, 3, FEATURES)), np.full(21, 0.01), np.array([0.0, 0.02]), np.array([1.0, 3.0])
    )
    found = fit_from(kinematics, RIG, seen_hands, first, bias, MOTION)
    moves = Motion(torch.tensor(FRAMES), 1 / 25, 4.0)
    solved = solve_sequence(plain_problem(kinematics, seen_hands), first, moves)
    for _ in range(2):
        corrections = apply_view_bias(bias, RIG, kinematics, solved.state)
        solved = solve_sequence(plain_problem(kinematics, seen_hands, corrections), solved.state, moves)
    assert_same(found.solved.state, solved.state)
    hands = found.hands()
    np.testing.assert_allclose(hands.shift_px, corrections.shift_px, atol=1e-9)
    assert np.abs(hands.shift_px).mean() > 0.5
    for v, camera in enumerate(RIG):
        expected = camera.project(hands.observed_keypoints)[0] + hands.shift_px[:, v]
        np.testing.assert_allclose(hands.expected_px(v, camera), expected)


def test_corrections_move_pixels_and_share_out_weight(seen_hands):
    from handgen.fit.observations import Corrections

    rng = np.random.default_rng(5)
    shape = (len(FRAMES), 3, 21)
    corrections = Corrections(rng.normal(0, 3, (*shape, 2)), rng.uniform(1, 3, shape))
    found = observations_of(RIG, seen_hands, "cpu", corrections)
    for i, hand in enumerate(seen_hands):
        for v, view in enumerate(hand.views):
            if view is None:
                assert not found.weight[i, v].any()
                continue
            np.testing.assert_allclose(found.pixels[i, v], view.ideal_px - corrections.shift_px[i, v])
            weight = view.confidence / (view.noise_px * corrections.noise_factor[i, v]) ** 2
            np.testing.assert_allclose(found.weight[i, v], weight)
    np.testing.assert_allclose(found.ideal_px_from_world, [camera.ideal_px_from_world for camera in RIG])


def test_a_left_hands_offsets_are_the_mirror_image():
    offsets = np.random.default_rng(6).normal(0, 0.01, (21, 3))
    for side, factor in (("right", np.ones(3)), ("left", np.array(MIRROR_X))):
        kinematics = kinematics_of("open", side, offsets)
        np.testing.assert_array_equal(kinematics.offsets, offsets * factor)
        assert kinematics.model.side == side


class Masked:
    """Stands for a term by masks, which some frames have."""

    def __init__(self, has_masks):
        self.costs = torch.as_tensor(has_masks).double()

    def cost(self, state):
        return self.costs

    def normal_equations(self, state, by_betas=False):
        n = len(state)
        return torch.zeros(n, 51, 51).double(), torch.zeros(n, 51).double(), self.costs


@pytest.mark.parametrize("masked", [None, [True, False, False, True, True, False]])
def test_the_covariance_has_what_repeats_and_what_one_view_leaves_open(kinematics, seen_hands, first, masked):
    """Deviations 1.7 (with masks 1.4) times the normal matrix', 0.8 mm (0.5 mm) besides, and 6 % of the distance."""
    terms = {} if masked is None else {"silhouette": Masked(masked)}
    fit = fit_from(kinematics, RIG, seen_hands, first, motion=MOTION, terms=terms)
    found, covariance = fit.hands(), fit.solved.covariance().numpy()
    for place in range(len(FRAMES)):
        repeats, common = (1.4, 0.0005) if masked and masked[place] else (1.7, 0.0008)
        expected = repeats**2 * covariance[place] + common**2 * np.eye(3)
        if place == ALONE:
            ray = 0.06 * (found.observed_keypoints[place] - RIG.cameras[1].center_world)
            expected = expected + ray[:, :, None] * ray[:, None, :]
        np.testing.assert_allclose(found.covariance_m2[place], expected, rtol=1e-6, atol=1e-12)


def test_hands_hold_what_was_solved(kinematics, seen_hands, first):
    fit = fit_from(kinematics, RIG, seen_hands, first, motion=MOTION)
    found, state = fit.hands(), fit.solved.state
    pose = pose_of(state)
    posed = kinematics.model(pose)
    for array, expected in (
        (found.poses, pose.rotations.reshape(-1, 48)),
        (found.translations, state.translation),
        (found.keypoints, posed.keypoints),
        (found.vertices, posed.vertices),
        (found.observed_keypoints, kinematics.keypoints(state)),
        (found.terms["acceleration"], fit.motion.cost(kinematics.keypoints(state))),
    ):
        np.testing.assert_allclose(array, expected, atol=1e-12)
    assert found.shift_px.shape == (len(FRAMES), 3, 21, 2) and not found.shift_px.any()
    assert set(found.terms) == {"keypoints", "pose_prior", "joint_limits", "acceleration"}
    some = found[np.array([4, 0])]
    assert isinstance(some, FittedHands)
    np.testing.assert_array_equal(some.keypoints, found.keypoints[[4, 0]])
    np.testing.assert_array_equal(some.terms["keypoints"], found.terms["keypoints"][[4, 0]])
    assert found.finite.all()
    for name in ("vertices", "poses", "covariance_m2"):
        broken = getattr(found, name).copy()
        broken[3].flat[5] = np.nan
        assert replace(found, **{name: broken}).finite.tolist() == [True, True, True, False, True, True]


def test_further_terms_are_solved_with_from_where_the_fit_was(kinematics, seen_hands, first):
    fit = fit_from(kinematics, RIG, seen_hands, first, motion=MOTION)
    points = kinematics.keypoints(fit.solved.state) + 0.02
    term, other = Expected(kinematics, points, 0.005), Expected(kinematics, points, 0.01)
    once = fit.with_terms({"a": other, "b": other})
    again = once.with_terms({"a": term}, steps=2)
    assert again.problem.terms == {"a": term, "b": other}
    expected = solve_sequence(replace(fit.problem, terms={"a": other, "b": other}), fit.solved.state, fit.motion, 8)
    assert_same(once.solved.state, expected.state)
    expected = solve_sequence(again.problem, once.solved.state, fit.motion, 2)
    assert_same(again.solved.state, expected.state)
    started = fit_from(kinematics, RIG, seen_hands, first, motion=MOTION, terms={"a": term})
    assert started.problem.terms == {"a": term} and "a" in started.hands().terms


def test_the_prior_on_motion_has_the_captures_rate():
    assert MotionPrior.of(50.0, 3000.0) == MotionPrior(0.02, 3.0)
    assert MotionPrior.of(None, 500.0) == MotionPrior(1 / 30, 0.5)
    assert MotionPrior.of(50.0, 0.0) is None
