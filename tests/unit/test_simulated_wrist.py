"""The forearm of a simulated hand, which turns about the wrist without the hand."""

import numpy as np
import pytest

from handgen.stages.simulate.config import SimulateConfig
from handgen.stages.simulate.scene import make_scene

PIXELS = (64, 64)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_bent_wrist_moves_the_forearm_alone(side):
    scene = make_scene(SimulateConfig(views=1, frames=4, size=PIXELS, hands=side, seed=3))
    hand = scene.hands[0]
    posed = hand.pose(hand.path(np.array([0.0])))
    places = posed.rotations[0].numpy(), posed.joints[0].numpy(), hand.rest_joints
    straight = hand.surface.pose(scene.person.betas, *places)
    bent = hand.surface.pose(scene.person.betas, *places, np.array([0.0, 0.0, 0.6]))
    behind = hand.surface.behind_hand_m
    moved = np.linalg.norm(bent - straight, axis=1)
    assert (moved[behind < -0.012] == 0).all()  # what the truth's masks are of, but for a centimetre at its border
    far = behind > 0.12
    wrist = straight[np.abs(behind) < 0.01].mean(0)
    before, after = (v[far].mean(0) - wrist for v in (straight, bent))
    cosine = before @ after / np.linalg.norm(before) / np.linalg.norm(after)
    assert np.arccos(cosine) == pytest.approx(0.6, abs=0.12)  # seen from the wrist's border, not from where it turns
    lengths = np.linalg.norm(before), np.linalg.norm(after)
    assert lengths[0] == pytest.approx(lengths[1], rel=0.15)
