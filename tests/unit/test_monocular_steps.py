"""The start from one view against the same method written down frame by frame and template by template.

Most pixels here are so noisy that a solve is still under way when its steps end; so the state tells of each step.
"""

import numpy as np
import pytest
import torch
from scipy.linalg import rq
from scipy.spatial.transform import Rotation
from support.cameras import look_at
from support.hands import natural_poses, state_of

from handgen.fit.initialization import start_from_one_view
from handgen.fit.kinematics import HandState, KeypointKinematics
from handgen.fit.residuals import Observations, PosePrior
from handgen.fit.solver import Problem, solve_poses
from handgen.geometry.camera import Rig
from handgen.hand.skeleton import FINGER_JOINTS, FINGERS

FOCAL = 1000.0
STRAIGHT, HALF, CURLED = (4, 5, 3), (45, 50, 30), (75, 88, 50)
TEMPLATES_DEG = (
    ((5, 5, 5), STRAIGHT, STRAIGHT, STRAIGHT, STRAIGHT),
    ((10, 15, 20), HALF, HALF, HALF, HALF),
    ((13, 5, 50), CURLED, CURLED, CURLED, CURLED),
    ((17, 23, 28), STRAIGHT, CURLED, CURLED, CURLED),
    ((12, 17, 21), (50, 48, 23), (24, 28, 14), (18, 22, 12), (14, 18, 10)),
)
STAGES = ((0.15, 3, 3), (0.03, 2, 4), (0.0, 1, 8))


def decomposed(projection):
    """Calibration, world_from_cam and centre of one camera, by scipy's RQ."""
    upper, rotation = rq(projection[:, :3])
    sign = np.sign(np.diagonal(upper))
    upper, rotation = upper * sign, rotation * sign[:, None]
    return upper / upper[2, 2], rotation.T, -np.linalg.solve(projection[:, :3], projection[:, 3])


def template(prior, degrees):
    """Local rotations of one template, the wrist's none."""
    low, high = prior.limits.numpy().transpose(2, 0, 1)
    angles = (low + high) / 2
    for finger, flexion in zip(FINGERS, degrees, strict=True):
        for joint, angle in zip(FINGER_JOINTS[finger], flexion, strict=True):
            angles[joint - 1, 0] = np.radians(angle)
    angles = np.clip(angles, low, high)
    vectors = np.einsum("jac,ja->jc", prior.axes.numpy(), angles)
    return np.concatenate([np.eye(3)[None], Rotation.from_rotvec(vectors).as_matrix()])


def placed(points, rays, share, mirrored):
    """Scaled orthography of one template in one frame: a rotation and a shift."""
    middle = share @ points
    arms = points - middle
    spread = arms.T @ (share[:, None] * arms)
    normal = np.linalg.eigh(spread)[1][:, 0]
    ratio = np.ones(21)
    for _ in range(3):
        image = rays * ratio[:, None]
        center = share @ image
        affine = (share[:, None] * (image - center)).T @ arms @ np.linalg.inv(spread + 0.003**2 * np.eye(3))
        if mirrored:
            affine = affine @ (np.eye(3) - 2 * np.outer(normal, normal))
        u, sizes, vt = np.linalg.svd(affine, full_matrices=False)
        first, second = u @ vt
        rotation = np.stack([first, second, np.cross(first, second)])
        depth = np.clip(1 / max(sizes.mean(), 1e-9) if sizes[0] > 1e-9 else 0.5, 0.05, 20.0)
        ratio = 1 + np.clip(arms @ rotation[2] / depth, -0.5, 0.5)
    return rotation, depth * np.append(center, 1) - rotation @ middle


def plain(kinematics, observations, betas):
    prior = PosePrior.of(kinematics.model)
    root = (kinematics.model.rest_joints[0] + kinematics.model.joint_shapedirs[0] @ betas).numpy()
    cameras = [decomposed(projection) for projection in observations.ideal_px_from_world.numpy()]
    states, rays_of, weight_of, chosen = [], [], [], []
    for pixels, weight in zip(observations.pixels.numpy(), observations.weight.numpy(), strict=True):
        view = int(weight.sum(1).argmax())
        calibration, *pose = cameras[view]
        seen = weight[view] > 0
        homogeneous = np.column_stack([np.where(seen[:, None], pixels[view], 0.0), np.ones(21)])
        rays = (homogeneous @ np.linalg.inv(calibration).T)[:, :2]
        weight = np.where(seen, weight[view], 0) * calibration[0, 0] * calibration[1, 1] / FOCAL**2
        limit = np.sort(weight[seen])[(seen.sum() - 1) // 2] if seen.any() else 0.0
        share = np.minimum(weight, limit)
        share = share / max(share.sum(), 1e-12)
        for degrees in TEMPLATES_DEG:
            local = template(prior, degrees)
            flat = HandState(torch.as_tensor(local)[None], torch.zeros(1, 3).double(), betas[None])
            points = kinematics.keypoints(flat)[0].numpy()
            for mirrored in (False, True):
                rotation, shift = placed(points, rays, share, mirrored)
                turned = np.concatenate([rotation[None], local[1:]])
                states.append((turned, rotation @ root + shift - root))
        rays_of.append(rays)
        weight_of.append(weight)
        chosen.append(pose)
    n, count = len(rays_of), 2 * len(TEMPLATES_DEG)
    rotations, translations = (torch.as_tensor(np.stack(part)) for part in zip(*states, strict=True))
    state = HandState(rotations, translations, betas.expand(n * count, 10))
    projection = torch.diag(torch.tensor([FOCAL, FOCAL, 1.0])).double() @ torch.eye(3, 4).double()
    for share, kept, steps in STAGES:
        coarse = []
        for rays, weight in zip(rays_of, weight_of, strict=True):
            seen = rays[weight > 0]
            size_px = FOCAL * np.sqrt(((seen - seen.mean(0)) ** 2).sum(1).mean()) if len(seen) else 0.0
            coarse += [weight / (1 + weight * (share * size_px) ** 2)] * count
        pixels = torch.as_tensor(np.repeat(FOCAL * np.stack(rays_of)[:, None], count, 0))
        seen = Observations(projection[None], pixels, torch.as_tensor(np.stack(coarse)[:, None]))
        state, cost = solve_poses(Problem(kinematics, seen, prior), state, steps)
        best = [i * count + k for i, c in enumerate(cost.reshape(n, count)) for k in np.argsort(c.numpy())[:kept]]
        state = HandState(state.rotations[best], state.translation[best], state.betas[best])
        count = kept
    turn, center = (np.stack(part) for part in zip(*chosen, strict=True))
    wrist = np.einsum("nab,nb->na", turn, state.translation.numpy() + root) + center
    return turn[:, None] @ state.rotations[:, :1].numpy(), state.rotations[:, 1:], wrist - root


DEPTHS_M = np.array([0.6, 0.6, 0.5, 0.4, 0.5, 0.6, 0.06, 12.0, 30.0, 0.6, 0.6, 0.02])
NOISE = np.array([0.1, 0.3, 0.2, 0.3, 0.1, 0.1, 0.4, 0.1, 0.1, 0.0, 0.0, 0.05])  # of the hand's length


@pytest.fixture(scope="module")
def seen(random_model):
    """Make what two cameras see: hands near and far with much noise; some have a few keypoints, one or none."""
    rng = np.random.default_rng(5)
    rig = Rig(
        (
            look_at("a", np.array([0.3, 0.2, 0.6]), np.zeros(3), focal=700.0),
            look_at("b", np.array([-0.5, 0.1, 0.3]), np.array([0.1, 0.0, 0.0]), focal=1300.0, size_px=(900, 500)),
        )
    )
    stretch = np.diag([1.0, 1.3, 1.0])  # of pixels that are not square; the scale of a matrix says nothing
    projections = np.stack([rig.cameras[0].ideal_px_from_world, 2.5 * stretch @ rig.cameras[1].ideal_px_from_world])
    n = len(DEPTHS_M)
    points = random_model(natural_poses(random_model, 2 * n, rng)).keypoints.numpy().reshape(n, 2, 21, 3)
    points[..., :2] += 0.15 * NOISE[:, None, None, None] * rng.normal(size=(n, 2, 21, 2))
    rays = points / (0.7 * points[..., 2:] + DEPTHS_M[:, None, None, None])
    rays[..., 2] = 1.0
    calibrations = [rig.cameras[0].intrinsics, stretch @ rig.cameras[1].intrinsics]
    pixels = np.einsum("vab,nvkb->nvka", calibrations, rays)[..., :2]
    weight = rng.uniform(0.1, 2.0, (n, 2, 21)) * np.array([[1.0, 0.3], [0.3, 1.0]] * 6)[..., None]
    weight[rng.random(weight.shape) < 0.15] = 0
    weight[4, :, 9:] = weight[5, :, :9] = 0
    weight[9, :, 1:] = 0
    weight[10] = 0
    weight[0, 0, 3] = 50.0
    pixels[weight == 0] = np.nan
    return Observations(*(torch.as_tensor(array) for array in (projections, pixels, weight)))


def test_a_start_is_the_cheapest_of_all_templates_after_three_stages(random_model, seen, rng):
    kinematics = KeypointKinematics(random_model, torch.as_tensor(rng.normal(0, 0.004, (21, 3))))
    betas = torch.as_tensor(rng.normal(0, 1, 10))
    found = start_from_one_view(kinematics, seen, betas)
    wrist, fingers, translation = plain(kinematics, seen, betas)
    told = [i for i in range(12) if i not in (9, 10)]  # one keypoint or none leave the templates' turns open
    # Each step multiplies what rounding does; a wrong number anywhere moves fingers by degrees.
    np.testing.assert_allclose(found.rotations[told, :1], wrist[told], atol=1e-5)
    np.testing.assert_allclose(found.rotations[told, 1:], fingers[told], atol=1e-5)
    np.testing.assert_allclose(found.translation[told], translation[told], rtol=1e-5, atol=1e-6)
    assert found.rotations.isfinite().all() and found.translation.isfinite().all()
    assert torch.equal(found.betas, betas.expand(12, 10))


def test_without_anything_seen_the_hand_is_half_a_metre_before_the_first_camera(random_model, seen):
    kinematics, betas = KeypointKinematics(random_model), torch.zeros(10, dtype=torch.float64)
    found = kinematics.keypoints(start_from_one_view(kinematics, seen, betas))[10].numpy()
    projection = seen.ideal_px_from_world[0].numpy()
    depth = found @ projection[2, :3] + projection[2, 3]
    assert np.abs(depth - 0.5).max() < 0.25  # a hand's length


def test_a_hands_own_pixels_give_it_back(random_model, rng):
    rig = Rig((look_at("a", np.array([0.0, 0.2, 0.6]), np.zeros(3)),))
    pose = natural_poses(random_model, 1, rng)
    kinematics = KeypointKinematics(random_model)
    truth = kinematics.keypoints(state_of(pose))
    pixels = torch.as_tensor(rig.cameras[0].project(truth.numpy())[0])[:, None]
    projections = torch.as_tensor(rig.cameras[0].ideal_px_from_world)[None]
    observations = Observations(projections, pixels, torch.full((1, 1, 21), 4.0, dtype=torch.float64))
    found = kinematics.keypoints(start_from_one_view(kinematics, observations, pose.betas[0]))
    off = rig.cameras[0].project(found.numpy())[0] - pixels[:, 0].numpy()
    assert np.median(np.abs(off)) < 0.5
