"""Hands that pass into each other part again; hands that touch are left alone."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from support.cameras import ring
from support.contact_depth import contact_depth_mm
from support.hands import observe, state_of, triangulated

from handgen.fit.contact.spheres import SphereHand
from handgen.fit.contact.term import SIGMA_M, ContactTerm
from handgen.fit.initialization import start
from handgen.fit.kinematics import HandState, KeypointKinematics
from handgen.fit.residuals import Observations, PosePrior
from handgen.fit.solver import Problem, Sum, solve_poses
from handgen.geometry.meshes import Mesh
from handgen.geometry.rotations import axis_angle_from_rotation, rotation_from_axis_angle
from handgen.hand.model import HandModel, HandPose
from handgen.hand.skeleton import MIRROR_X, MIRROR_X_ROTATION, SIDES
from handgen.stages.simulate.interaction import HELD_SHARE, PERIOD_S, two_hands
from handgen.stages.simulate.motion import hand_motion_at, raised_hand
from handgen.stages.simulate.named_poses import POSES, pose_angles_deg
from handgen.stages.simulate.penetration import distance_m


def contact_terms(hands, states, both=None, sigma_m=SIGMA_M):
    """The terms of two hands in the same frames. both: where they are."""
    first, second = (hand.at(state, both) for hand, state in zip(hands, states, strict=True))
    return (
        ContactTerm.between(hands[0], states[0], second, sigma_m),
        ContactTerm.between(hands[1], states[1], first, sigma_m),
    )


def separate(problems, hands, states, both=None, rounds=2, steps=5, sigma_m=SIGMA_M):
    """Both hands refitted in turn, each seen from where the round before left the other."""
    found = list(states)
    for _ in range(rounds):
        terms = contact_terms(hands, found, both, sigma_m)
        found = [
            solve_poses(Sum((problem, term)), state, steps)[0]
            for problem, term, state in zip(problems, terms, found, strict=True)
        ]
    return found


@pytest.fixture(scope="module")
def models():
    return {side: HandModel.load("open", side) for side in SIDES}


@pytest.fixture(scope="module")
def encounters(models):
    """True states of both hands while they approach, touch and part, six kinds: they touch but do not penetrate."""
    rng = np.random.default_rng(0)
    betas = rng.normal(0, 1, 10)
    paths = two_hands(models, betas, 6 * PERIOD_S, rng)
    times = PERIOD_S * (np.arange(6)[:, None] + np.array([0.46, 0.52, HELD_SHARE])).ravel()
    shape = torch.as_tensor(betas).expand(len(times), 10)
    motions = (paths.at(side, times) for side in SIDES)
    return [state_of(HandPose(torch.as_tensor(m.rotations), torch.as_tensor(m.translation), shape)) for m in motions]


@pytest.fixture(scope="module")
def spheres(models, encounters):
    return [SphereHand.of(models[side], encounters[0].betas[0]) for side in SIDES]


def pose_of(state):
    return HandPose(axis_angle_from_rotation(state.rotations), state.translation, state.betas)


def depth_mm(models, states):
    vertices = {side: models[side](pose_of(state)).vertices.numpy() for side, state in zip(SIDES, states, strict=True)}
    return contact_depth_mm(models, vertices)


def shifted(state, shift):
    return HandState(state.rotations, state.translation + shift, state.betas)


@pytest.mark.parametrize("name", ["flat", "relaxed", "pinch"])
def test_the_spheres_fill_the_skin_and_stay_in_it(hand, name):
    angles = np.radians(pose_angles_deg(POSES[name]))[None]
    motion = hand_motion_at(hand, np.zeros(10), raised_hand(hand)[None], np.zeros((1, 3)), angles)
    pose = HandPose(*(torch.as_tensor(a) for a in (motion.rotations, motion.translation, np.zeros((1, 10)))))
    skin = hand(pose).vertices[0].numpy()
    found = SphereHand.of(hand, torch.zeros(10)).at(state_of(pose))
    centers, radii = found.centers[0].numpy(), found.radii.numpy()
    outside_mm = (radii - distance_m(centers, Mesh(skin, hand.faces))) * 1e3
    assert np.percentile(outside_mm, 95) < 1.5 and outside_mm.max() < 3.0  # bent joints squeeze the skin by a mm or two
    bare_mm = (np.linalg.norm(skin[:, None] - centers, axis=-1) - radii).min(1) * 1e3
    assert np.median(bare_mm) < 1.0 and np.percentile(bare_mm, 90) < 2.0  # what was called covered; creases are not


def test_spheres_scale_with_the_hand(hand):
    betas = torch.zeros(10, dtype=torch.float64)
    betas[0] = 2.0
    smaller, larger = (SphereHand.of(hand, b) for b in (-betas, betas))
    sizes = [float((hand.rest_keypoints(b)[9] - hand.rest_keypoints(b)[0]).norm()) for b in (-betas, betas)]
    ratio = float(larger.radii.sum() / smaller.radii.sum())
    assert (ratio - 1) * (sizes[1] / sizes[0] - 1) > 0 and abs(ratio - 1) > 0.03


def test_a_models_noise_gives_spheres_without_nan(random_model):
    found = SphereHand.of(random_model, torch.zeros(10))
    assert all(tensor.isfinite().all() for tensor in (found.rest, found.radii, found.skinning))


def test_gradient_is_the_slope_of_the_cost(spheres, encounters):
    left, right = encounters
    deep = shifted(left, 0.006 * torch.nn.functional.normalize(right.translation - left.translation, dim=-1))
    kept = torch.tensor([2, 5, 8])  # three kinds, held
    deep, right = (HandState(s.rotations[kept], s.translation[kept], s.betas[kept]) for s in (deep, right))
    term, _ = contact_terms(spheres, (deep, right))
    moved = deep.moved(torch.full((3, 51), 1e-3, dtype=torch.float64))  # off the state that the term was made in
    matrix, gradient, cost = term.normal_equations(moved)
    torch.testing.assert_close(cost, term.cost(moved))
    assert (cost > 1).sum() >= 2  # or the slopes below were those of nothing
    for parameter in range(51):
        step = torch.zeros(3, 51, dtype=torch.float64)
        step[:, parameter] = 1e-7
        slope = (term.cost(moved.moved(step)) - term.cost(moved.moved(-step))) / 2e-7 / 2
        torch.testing.assert_close(gradient[:, parameter], slope, atol=1e-2, rtol=1e-4, msg=f"parameter {parameter}")
    torch.testing.assert_close(matrix, matrix.transpose(1, 2))


def test_hands_that_touch_cost_next_to_nothing(models, spheres, encounters):
    assert depth_mm(models, encounters).max() < 0.5  # of the simulation itself
    terms = contact_terms(spheres, encounters)
    depth = terms[0].held_depth.amax(1) * 1e3
    assert float(depth.quantile(0.9)) < 1.5  # mm, of 2 mm; 21 keypoints cost some 84 in each frame
    for term, state in zip(terms, encounters, strict=True):
        assert float(term.cost(state).quantile(0.9)) < 2.0


@dataclass(frozen=True)
class Stays:
    """Keeps a pose near one state: the translation within 1 cm, the rotations within 0.1 rad."""

    state: HandState

    def _residuals(self, state):
        turned = axis_angle_from_rotation(state.rotations @ self.state.rotations.transpose(2, 3)).flatten(1) / 0.1
        return torch.cat([turned, (state.translation - self.state.translation) / 0.01], 1)

    def cost(self, state):
        return self._residuals(state).square().sum(1)

    def normal_equations(self, state, by_betas=False):
        residuals = self._residuals(state)
        sigma = torch.cat([torch.full((48,), 0.1), torch.full((3,), 0.01)]).double()
        return torch.diag(sigma**-2).expand(len(state), 51, 51), residuals / sigma, self.cost(state)


def test_both_hands_give_way_by_half(models, encounters):
    """A hand and its mirror image, pressed 8 mm into each other, part as mirror images."""
    right = encounters[1]
    vertices = models["right"](pose_of(right)).vertices[2:3, :, 0]
    away = torch.zeros(1, 3, dtype=torch.float64)
    away[0, 0] = -vertices.min() - 0.004
    right = shifted(HandState(right.rotations[2:3], right.translation[2:3], right.betas[2:3]), away)
    vector = axis_angle_from_rotation(right.rotations) * torch.tensor(MIRROR_X_ROTATION)
    left = HandState(rotation_from_axis_angle(vector), right.translation * torch.tensor(MIRROR_X), right.betas)
    hands = [SphereHand.of(models[side], right.betas[0]) for side in SIDES]
    before, states = depth_mm(models, (left, right)), (left, right)
    found = separate([Stays(state) for state in states], hands, states, rounds=3)
    assert depth_mm(models, found)[0] < 0.3 * before[0] and before[0] > 5
    # Hands that each gave way by all of it would now be 8 mm apart.
    ours, theirs = (hand.at(state) for hand, state in zip(hands, found, strict=True))
    gap = torch.cdist(ours.centers, theirs.centers) - ours.radii[:, None] - theirs.radii
    assert abs(float(gap.min())) < 1e-3
    moved = [after.translation - state.translation for after, state in zip(found, states, strict=True)]
    assert float(moved[1][0, 0]) > 5e-4
    # The two meshes are mirror images but for the order of their faces, and so are the spheres but for ties.
    assert float((moved[0] * torch.tensor(MIRROR_X) - moved[1]).norm()) < 2e-4


def test_disturbed_hands_part_and_come_nearer_to_the_truth(models, spheres, encounters, rng):
    rig, problems, fitted, truth = ring(4), [], [], []
    for side, state in zip(SIDES, encounters, strict=True):
        kinematics = KeypointKinematics(models[side])
        points = kinematics.keypoints(state)
        truth.append(points)
        wrong = torch.as_tensor(rng.normal(0, 0.004, (len(points), 1, 3)))  # the whole hand, 4 mm per axis
        seen = observe(rig, points + wrong)
        # 4 mm are 4.6 px at 0.7 m and a focal length of 800 px
        seen = Observations(seen.ideal_px_from_world, seen.pixels, torch.full_like(seen.weight, 4.6**-2))
        problem = Problem(kinematics, seen, PosePrior.of(models[side]))
        problems.append(problem)
        fitted.append(solve_poses(problem, start(kinematics, triangulated(seen), state.betas[0]))[0])

    def error_mm(states):
        pairs = zip(problems, states, truth, strict=True)
        errors = [(p.kinematics.keypoints(s) - points).norm(dim=-1) * 1e3 for p, s, points in pairs]
        return float(torch.stack(errors).mean())

    parted = separate(problems, spheres, fitted)
    before, after = depth_mm(models, fitted), depth_mm(models, parted)
    deep = before > 1
    assert deep.sum() >= 5
    assert np.median(after[deep]) < 0.6 * np.median(before[deep])
    assert np.percentile(after, 95) < 0.7 * np.percentile(before, 95)
    assert error_mm(parted) < error_mm(fitted)


def test_frames_without_the_other_hand_are_left_alone(spheres, encounters):
    left, right = encounters
    deep = shifted(left, 0.01 * torch.nn.functional.normalize(right.translation - left.translation, dim=-1))
    both = torch.ones(len(left), dtype=torch.bool)
    both[2] = False
    broken = shifted(right, torch.where(torch.arange(len(right)) == 5, torch.nan, 0.0)[:, None])
    term = ContactTerm.between(spheres[0], deep, spheres[1].at(broken, both))
    matrix, gradient, cost = term.normal_equations(deep)
    assert all(tensor.isfinite().all() for tensor in (matrix, gradient, cost))
    assert not matrix[[2, 5]].any() and not gradient[[2, 5]].any() and not cost[[2, 5]].any()
    assert float(cost[8]) > 0
    moved, _ = solve_poses(Sum((Stays(deep), term)), deep)
    assert torch.equal(moved.translation[[2, 5]], deep.translation[[2, 5]])
    # The broken hand's own term is empty there, too, and hands in one place part somewhere or nowhere, but are finite.
    _, own = contact_terms(spheres, (deep, broken), both)
    assert all(tensor.isfinite().all() for tensor in own.normal_equations(broken))
    same = ContactTerm.between(spheres[0], deep, spheres[0].at(deep))
    assert all(tensor.isfinite().all() for tensor in same.normal_equations(deep))
