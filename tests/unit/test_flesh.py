"""Flesh gives way where parts touch: made of two boxes, so that the overlap is known."""

import numpy as np
import pytest

from handgen.hand.skeleton import JOINT_COUNT
from handgen.stages.simulate.flesh import Flesh, may_touch
from handgen.stages.simulate.render import Body
from handgen.stages.simulate.subdivision import face_incidence, subdivision, vertex_normals

OVERLAP_M = 0.003


def ball(center, radius=0.01):
    """A fine ball with its faces seen from outside."""
    vertices = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], float)
    faces = np.array([[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]])
    for _ in range(4):
        operator, faces = subdivision(faces, len(vertices))
        vertices = operator @ vertices
    return center + radius * vertices / np.linalg.norm(vertices, axis=1, keepdims=True), faces


def two_balls(overlap_m, bones=(3, 6)):
    """Two fingertips that overlap along x by so much, and what is soft of them."""
    left, faces = ball(np.zeros(3))
    right, _ = ball(np.array([0.02 - overlap_m, 0, 0]))
    count = len(left)
    both = np.concatenate([faces, faces + count])
    body = Body(both, *[np.zeros(0)] * 5, None, face_incidence(both, 2 * count))
    vertices = np.concatenate([left, right])
    return vertices, vertex_normals(both, vertices), Flesh(both, np.repeat(bones, count), body.spread), count


def test_both_sides_of_a_touch_give_way_and_swell_around():
    vertices, normals, flesh, count = two_balls(OVERLAP_M)
    give = flesh.give_m(vertices, normals)
    # Half of the overlap each, in the middle of it; rays start a little under the skin.
    for side in (give[:count], give[count:]):
        assert -side.min() == pytest.approx(OVERLAP_M / 2, rel=0.05)
        assert 0 < side.max() < OVERLAP_M / 4
    pressed = vertices + give[:, None] * normals
    middle = 0.01 - OVERLAP_M / 2
    near_axis = np.linalg.norm(vertices[:, 1:], axis=1) < 0.002
    tips = np.flatnonzero(near_axis & (np.abs(vertices[:, 0] - middle) < OVERLAP_M))
    assert len(tips) and np.abs(pressed[tips, 0] - middle).max() < 3e-4  # a tenth of the overlap: one flat surface
    far = np.abs(vertices[:, 0] - middle) > 0.01
    assert not give[far].any()


def test_what_does_not_touch_or_is_one_part_stays_as_it_is():
    vertices, normals, flesh, _ = two_balls(-0.001)
    assert not flesh.give_m(vertices, normals).any()
    vertices, normals, flesh, _ = two_balls(OVERLAP_M, bones=(2, 3))  # neighbours along a finger overlap in a fold
    assert not flesh.give_m(vertices, normals).any()


def test_bones_that_a_joint_joins_do_not_touch_and_those_of_two_hands_do():
    first, second = np.array([0, 1, 3, 3, 1]), np.array([1, 2, 3, 6, 4])
    assert may_touch(first, second).tolist() == [False, False, False, True, True]
    assert may_touch(first, second + JOINT_COUNT).all()
