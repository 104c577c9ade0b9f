"""The spheres of a small body and the contact term against plain loops."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.hands import natural_poses, state_of

from handgen.fit.contact.spheres import SphereHand
from handgen.fit.contact.term import ContactTerm
from handgen.fit.kinematics import HandState
from handgen.hand.skeleton import JOINT_PARENTS

LARGEST_M, SMALLEST_M, GROWN_M, UNCOVERED_M = 0.016, 0.003, 0.0002, 0.001
SIGMA_M, NEAR_PAIRS = 0.002, 64


def body(rng):
    """A bent, bumpy sausage, 5 cm long, carried by two joints: template, shape directions, faces and weights."""
    sides, rings = 9, 12
    angle = 2 * np.pi * np.arange(sides) / sides
    along = np.linspace(0, 0.05, rings)
    radius = 0.009 + 0.002 * np.sin(200 * along)[:, None] + 0.0007 * rng.normal(size=(rings, sides))
    radius[-3:] *= 0.3  # too thin for a ball
    rim = np.stack(
        [np.tile(along[:, None], sides), radius * np.cos(angle), radius * np.sin(angle) + 8 * along[:, None] ** 2], -1
    )
    vertices = np.concatenate([rim.reshape(-1, 3), [rim[0].mean(0) - (0.002, 0, 0), rim[-1].mean(0) + (0.002, 0, 0)]])
    faces, first, last = [], sides * rings, sides * rings + 1
    for i in range(sides):
        j = (i + 1) % sides
        faces += [(first, j, i), (last, (rings - 1) * sides + i, (rings - 1) * sides + j)]
        for ring in range(rings - 1):
            a, b = ring * sides + i, ring * sides + j
            faces += [(a, b, b + sides), (a, b + sides, a + sides)]
    weights = np.zeros((len(vertices), 16))
    weights[:, 1] = np.clip((vertices[:, 0] - 0.015) / 0.02, 0, 1)
    weights[:, 0] = 1 - weights[:, 1]
    return vertices, np.array(faces), weights


@pytest.fixture
def model(rng):
    vertices, faces, weights = body(rng)
    shapedirs = rng.normal(0, 1e-4, (len(vertices), 3, 10))
    return SimpleNamespace(
        template=torch.as_tensor(vertices),
        shapedirs=torch.as_tensor(shapedirs),
        faces=faces,
        weights=torch.as_tensor(weights),
    )


def medial_ball(point, normal, samples):
    """The ball that touches the skin at a point from inside, and that shrinks until no sample is in it."""
    radius = LARGEST_M
    for _ in range(12):
        center = point - normal * radius
        nearest = samples[np.argmin(((samples - center) ** 2).sum(1))]
        offset = point - nearest
        if normal @ offset > 1e-6:
            radius = min(radius, offset @ offset / (2 * (normal @ offset)))
    return point - normal * radius, radius


def plain_spheres(skin, faces, weights, most=300):
    samples = np.concatenate([skin[faces].mean(1), skin])
    carriers = np.concatenate([weights[faces].mean(1), weights])
    balls = []
    for a, b, c in skin[faces]:
        normal = np.cross(b - a, c - a)
        center, radius = medial_ball((a + b + c) / 3, normal / np.linalg.norm(normal), samples)
        if radius > SMALLEST_M:
            near = np.linalg.norm(samples - center, axis=1) < radius + UNCOVERED_M
            carried = carriers[near].mean(0)
            balls.append((center, radius, carried, near & (carriers.argmax(1) == carried.argmax())))
    chosen, covered = [], np.zeros(len(samples), bool)
    while len(chosen) < most:
        gains = [(covers & ~covered).sum() for *_, covers in balls]
        if not max(gains):
            break
        best = int(np.argmax(gains))
        chosen.append(best)
        covered |= balls[best][3]
    return [np.stack([balls[k][part] for k in chosen]) for part in range(3)]


def test_spheres_are_the_medial_balls_that_cover_most(model, rng):
    betas = torch.as_tensor(rng.normal(0, 1, 10))
    found = SphereHand.of(model, betas)
    skin = (model.template + model.shapedirs @ betas).numpy()
    centers, radii, skinning = plain_spheres(skin, model.faces, model.weights.numpy())
    assert len(found.radii) == len(radii) > 8
    np.testing.assert_allclose(found.rest, centers, atol=1e-9)
    np.testing.assert_allclose(found.radii, radii + GROWN_M, atol=1e-9)
    np.testing.assert_allclose(found.skinning, skinning, atol=1e-9)
    assert radii.min() < 0.006 and radii.max() > 0.008


@pytest.fixture
def hands(random_model, rng):
    """Some spheres of two hands of random numbers, and poses that bring them into each other."""
    found = []
    for _ in range(2):
        skinning = rng.random((20, 16)) ** 4
        skinning /= skinning.sum(1, keepdims=True)
        rest = random_model.rest_joints.numpy()[skinning.argmax(1)] + rng.normal(0, 0.01, (20, 3))
        radii = rng.uniform(0.004, 0.012, 20)
        found.append(SphereHand(random_model, *(torch.as_tensor(array) for array in (rest, radii, skinning))))
    state = state_of(natural_poses(random_model, 3, rng, torch.zeros(10).double()))
    return found, [state, state.moved(torch.as_tensor(rng.normal(0, 0.05, (3, 51)) * np.repeat([1, 0.1], [48, 3])))]


def plain_joints(model, state, frame):
    """World rotations and places of the joints of one frame."""
    rest = model.rest_joints + model.joint_shapedirs @ state.betas[frame]
    rotations, places = [], []
    for joint, parent in enumerate(JOINT_PARENTS):
        local = state.rotations[frame, joint]
        if parent < 0:
            rotations.append(local)
            places.append(rest[0] + state.translation[frame])
        else:
            rotations.append(rotations[parent] @ local)
            places.append(places[parent] + rotations[parent] @ (rest[joint] - rest[parent]))
    return rest, rotations, places


def plain_centers(hand, state, frame):
    rest, rotations, places = plain_joints(hand.model, state, frame)
    centers = []
    for point, shares in zip(hand.rest, hand.skinning, strict=True):
        rigid = [r @ (point - at_rest) + p for r, at_rest, p in zip(rotations, rest, places, strict=True)]
        centers.append((shares[:, None] * torch.stack(rigid)).sum(0))
    return torch.stack(centers)


def test_centres_are_skinned_as_the_skin_is(hands):
    (hand, _), (state, _) = hands
    state = HandState(state.rotations, state.translation, state.betas + 0.7)
    found = hand.at(state)
    for frame in range(3):
        torch.testing.assert_close(found.centers[frame], plain_centers(hand, state, frame), rtol=0, atol=1e-12)
    assert found.weight.tolist() == [1, 1, 1] and torch.equal(found.radii, hand.radii)


def test_a_hand_that_is_absent_or_not_finite_has_no_weight(hands):
    (hand, _), (state, _) = hands
    translation = state.translation.clone()
    translation[2, 1] = torch.nan
    found = hand.at(HandState(state.rotations, translation, state.betas), torch.tensor([False, True, True]))
    assert found.weight.tolist() == [0, 1, 0] and found.centers.isfinite().all()
    assert not found.centers[2].any() and not found.centers[0].any() and found.centers[1].any()


def test_contact_costs_the_depth_of_the_nearest_pairs_twice_over(hands, rng):
    """Each pair costs 2 d - h, where h is the depth when the term was made, over sqrt(2) deviations."""
    (first, second), (mine, theirs) = hands
    other = second.at(theirs, torch.tensor([True, True, False]))
    term = ContactTerm.between(first, mine, other)
    sigma_m, pairs = SIGMA_M, NEAR_PAIRS
    moved = mine.moved(torch.as_tensor(rng.normal(0, 0.01, (3, 51)) * np.repeat([1, 0.1], [48, 3])))
    for state in (mine, moved):
        for frame in range(3):
            before, now = (plain_centers(first, s, frame) for s in (mine, state))
            reach = first.radii[:, None] + second.radii
            held = reach - torch.cdist(before[None], other.centers[frame][None])[0]
            depth = reach - torch.cdist(now[None], other.centers[frame][None])[0]
            chosen = held.flatten().topk(pairs).indices
            left = (2 * depth - held.clamp(min=0)).flatten()[chosen].clamp(min=0)
            cost = (left**2).sum() / (2 * sigma_m**2) * (frame < 2)
            torch.testing.assert_close(term.cost(state)[frame], cost, rtol=1e-9, atol=1e-12)
    assert (term.cost(mine)[:2] > 1).all() and (term.cost(moved)[:2] > 1).all()


def test_contact_equations_are_those_of_its_residuals(hands, rng):
    """Slopes by the 51 parameters are differences; a pair that does not overlap has none."""
    (first, second), (mine, theirs) = hands
    other = second.at(theirs)
    term = ContactTerm.between(first, mine, other)
    state = mine.moved(torch.as_tensor(rng.normal(0, 0.01, (3, 51)) * np.repeat([1, 0.1], [48, 3])))
    matrix, gradient, cost = term.normal_equations(state)
    torch.testing.assert_close(cost, term.cost(state))

    def residuals(at, frame):
        centers = first.at(at).centers[frame, term.mine[frame]]
        depth = term.reach[frame] - (centers - term.theirs[frame]).norm(dim=-1)
        return (2 * depth - term.held_depth[frame]).clamp(min=0) / (2**0.5 * SIGMA_M)

    size = 1e-7
    for frame in range(3):
        columns = []
        for k in range(51):
            step = torch.zeros(3, 51, dtype=torch.float64)
            step[:, k] = size
            columns.append((residuals(state.moved(step), frame) - residuals(state.moved(-step), frame)) / (2 * size))
        slopes, here = torch.stack(columns, -1), residuals(state, frame)
        assert 0 < (here > 0).sum() < len(here)
        torch.testing.assert_close(matrix[frame], slopes.T @ slopes, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(gradient[frame], slopes.T @ here, rtol=1e-4, atol=1e-3)


def test_many_frames_are_as_each_alone(hands):
    """Frames are compared some at a time, so that pairs of all of them do not fill the memory."""
    (first, second), states = hands
    mine, theirs = (
        HandState(s.rotations.repeat(30, 1, 1, 1), s.translation.repeat(30, 1), s.betas.repeat(30, 1)) for s in states
    )
    all_at_once = ContactTerm.between(first, mine, second.at(theirs))
    few = ContactTerm.between(first, states[0], second.at(states[1]))
    torch.testing.assert_close(all_at_once.cost(mine), few.cost(states[0]).repeat(30))


def test_betas_are_held(hands):
    (first, second), (mine, theirs) = hands
    with pytest.raises(ValueError, match="betas are held"):
        ContactTerm.between(first, mine, second.at(theirs)).normal_equations(mine, by_betas=True)
