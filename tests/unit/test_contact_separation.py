"""Two hands are kept apart as their terms of contact ask, round by round."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.cameras import ring
from support.hands import natural_poses

from handgen.fit.contact.spheres import SphereHand, Spheres
from handgen.fit.contact.term import ContactTerm, keep_apart
from handgen.fit.observations import kinematics_of
from handgen.fit.pose_fit import fit_poses
from handgen.fit.solver import weighted
from handgen.multiview.association import make_view, triangulate_hand
from handgen.records.detection import Detection

RIG = ring(3)
BETAS = np.zeros(10)
FRAMES = ((1, 2, 4, 5), (0, 2, 3, 4))  # of each hand; 2 and 4 have both


@pytest.fixture(scope="module")
def fits():
    """Two right hands that lie nearly in one place, so that they pass into each other in the frames that they share."""
    rng = np.random.default_rng(0)
    kinematics = kinematics_of("open", "right", np.zeros((21, 3)))
    pose = natural_poses(kinematics.model, 1, rng, torch.zeros(10).double())
    keypoints, found = kinematics.model(pose).keypoints[0].numpy(), []
    for frames, shift in zip(FRAMES, (0.0, 0.012), strict=True):
        hands = []
        for frame in frames:
            pixels = [camera.project(keypoints + shift + 0.001 * frame)[0] for camera in RIG]
            views = {v: make_view(RIG, v, Detection(px, np.ones(21), 0.9)) for v, px in enumerate(pixels)}
            hands.append(triangulate_hand(RIG, frame, views))
        found.append(fit_poses(kinematics, RIG, hands, BETAS))
    return found


def in_frames(spheres, frames, wanted):
    """Spheres of the wanted frames, without weight where there are none."""
    place = [frames.index(frame) if frame in frames else 0 for frame in wanted]
    there = torch.tensor([frame in frames for frame in wanted])
    return Spheres(spheres.centers[place], spheres.radii, spheres.weight[place] * there)


@pytest.mark.parametrize("weight", [1.0, 30.0])
def test_hands_part_in_two_rounds_in_which_each_sees_where_the_other_began(fits, weight):
    pair = list(fits)
    hands = [SphereHand.of(fit.problem.kinematics.model, torch.zeros(10).double()) for fit in fits]
    for _ in range(2):
        spheres = [hand.at(fit.solved.state) for hand, fit in zip(hands, pair, strict=True)]
        moved = []
        for mine, other in ((0, 1), (1, 0)):
            seen = in_frames(spheres[other], FRAMES[other], FRAMES[mine])
            term = ContactTerm.between(hands[mine], pair[mine].solved.state, seen)
            moved.append(pair[mine].with_terms({"contact": weighted(term, weight)}))
        pair = moved
    found = keep_apart(*fits, weight) if weight != 1 else keep_apart(*fits)
    for after, expected, before in zip(found, pair, fits, strict=True):
        torch.testing.assert_close(after.solved.state.translation, expected.solved.state.translation)
        torch.testing.assert_close(after.solved.state.rotations, expected.solved.state.rotations)
        off = (after.solved.state.translation - before.solved.state.translation).norm(dim=1)
        shared = torch.tensor([frame in (2, 4) for frame in before.frames.tolist()])
        assert (off[shared] > 1e-4).all() and (off[~shared] < 1e-4).all()


def test_hands_that_do_not_touch_are_left_as_they_are(fits):
    first, second = fits
    state = second.solved.state
    away = replace(second, solved=replace(second.solved, state=replace(state, translation=state.translation + 0.5)))
    found = keep_apart(first, away)
    assert found[0] is first and found[1] is away
