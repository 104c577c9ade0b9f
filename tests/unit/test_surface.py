"""The surface of a posed hand against its model, and what moves it against differences."""

import numpy as np
import torch
from support.hands import natural_poses, state_of

from handgen.fit.kinematics import HandState
from handgen.fit.surface import SurfaceKinematics
from handgen.hand.model import HandModel
from handgen.hand.skeleton import JOINT_PARENTS


def turned(model, state, joint, size):
    """Vertices with a joint turned about the axes of its parent, pose correctives left as they were: (3, n, 778, 3)."""
    arrays = model.arrays
    moved = []
    for axis in range(3):
        step = torch.zeros(len(state), 51, dtype=torch.float64)
        step[:, 3 * joint + axis] = size
        there = state.moved(step)
        n = len(state)
        feature = (state.rotations[:, 1:] - torch.eye(3)).reshape(n, -1)
        corrected = (
            model.template + torch.einsum("vcb,nb->nvc", model.shapedirs, state.betas)
            + torch.einsum("vcx,nx->nvc", model.posedirs, feature)
        )  # fmt: skip
        rest = model.rest_joints + torch.einsum("jcb,nb->njc", model.joint_shapedirs, state.betas)
        rotations, places = [], []
        for k, parent in enumerate(JOINT_PARENTS):
            local = there.rotations[:, k]
            if parent < 0:
                rotations.append(local)
                places.append(rest[:, 0] + there.translation)
            else:
                rotations.append(rotations[parent] @ local)
                offset = (rotations[parent] @ (rest[:, k] - rest[:, parent])[..., None])[..., 0]
                places.append(places[parent] + offset)
        weights = torch.as_tensor(arrays.weights)
        moved.append(
            sum(
                weights[:, k, None]
                * ((corrected - rest[:, None, k]) @ rotations[k].transpose(1, 2) + places[k][:, None])
                for k in range(16)
            )
        )
    return torch.stack(moved)


def test_vertices_are_the_models(random_model, rng):
    pose = natural_poses(random_model, 3, rng)
    surface, state = SurfaceKinematics(random_model), state_of(pose)
    expected = random_model(pose).vertices
    torch.testing.assert_close(surface.vertices(state), expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(surface.vertices_and_arms(state)[0], expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(turned(random_model, state, 0, 0.0)[0], expected, atol=1e-12, rtol=0)


def test_arms_and_axes_are_how_joints_move_the_vertices(random_model, rng):
    """The slope by a turn about an axis of the joint's parent is that axis crossed with the vertex' arm.

    Correctives are left out, as documented; each joint counts as much as it and what hangs on it carries the vertex.
    """
    state = state_of(natural_poses(random_model, 2, rng))
    _, arms = SurfaceKinematics(random_model).vertices_and_arms(state)
    local_arms = arms.of_vertices.reshape(2, 778, 3, 16)
    frames = arms.parent_axes.reshape(2, 3, 3, 16)  # world rows, the parent's axes
    for joint in range(16):
        ahead, behind = (turned(random_model, state, joint, size) for size in (1e-6, -1e-6))
        slope = (ahead - behind) / 2e-6
        for axis in range(3):
            unit = torch.eye(3, dtype=torch.float64)[axis].expand(2, 778, 3)
            local = torch.linalg.cross(unit, local_arms[..., joint], dim=-1)
            world = torch.einsum("nwl,nvl->nvw", frames[..., joint], local)
            torch.testing.assert_close(world, slope[axis], atol=1e-8, rtol=0)


def test_betas_move_vertices_by_differences(random_model, rng):
    state = state_of(natural_poses(random_model, 2, rng))
    surface = SurfaceKinematics(random_model)
    found = surface.by_betas(state)
    assert found.shape == (2, 778, 30)
    found = found.reshape(2, 778, 3, 10)
    for k in range(10):
        step = 0.5 * torch.eye(10, dtype=torch.float64)[k]
        ahead, behind = (
            surface.vertices(HandState(state.rotations, state.translation, state.betas + s * step)) for s in (1, -1)
        )
        torch.testing.assert_close(found[..., k], ahead - behind, atol=1e-10, rtol=0)
    assert isinstance(random_model, HandModel) and np.abs(found.numpy()).max() > 1e-3
