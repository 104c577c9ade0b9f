import numpy as np
import pytest
import torch

from handgen.hand.assets import load_hand
from handgen.hand.layout import FINGER_KEYPOINTS, MCP_KEYPOINTS
from handgen.hand.model import HandModel, HandPose
from handgen.raytrace import Mesh
from handgen.simulate.interaction import INTERLEAVE, PERIOD_S, encounters, posed_vertices, two_hands
from handgen.simulate.motion import STYLES, single_hand
from handgen.simulate.penetration import _vertex_normals, depth_m, gap_m, mutual_depth_m
from handgen.simulate.poses import POSES, hand_pose, pose_angles_deg, random_angles_deg

ZEROS = np.zeros(10)


def path(style="calm", side="right", seconds=8.0, seed=1, around=(0.0, 0.0, 0.0)):
    rng = np.random.default_rng(seed)
    return single_hand(HandModel.load("open", side), ZEROS, seconds, STYLES[style], np.array(around), rng)


def keypoints(side, motion):
    pose = HandPose(
        torch.as_tensor(motion.rotations),
        torch.as_tensor(motion.translation),
        torch.zeros(len(motion.translation), 10, dtype=torch.float64),
    )
    return HandModel.load("open", side)(pose).keypoints.numpy()


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("style", STYLES)
def test_joints_stay_within_their_limits_at_all_times(style, side):
    arrays = load_hand("open", side)
    times = np.arange(-0.5, 8.5, 1 / 60)
    motion = path(style, side).at(times)
    angles = np.einsum("fjc,jac->fja", motion.rotations[:, 1:], arrays.joint_axes)
    assert (angles >= arrays.joint_limits_rad[..., 0] - 1e-6).all()
    assert (angles <= arrays.joint_limits_rad[..., 1] + 1e-6).all()


@pytest.mark.parametrize(("style", "mean", "peak"), [("calm", (0.03, 0.25), 0.6), ("fast", (0.3, 1.0), 2.0)])
def test_a_style_is_as_fast_as_its_name(style, mean, peak):
    times = np.arange(0, 20, 1 / 120)
    palm = keypoints("right", path(style, seconds=20).at(times))[:, list(MCP_KEYPOINTS)].mean(1)
    speed = np.linalg.norm(np.diff(palm, axis=0), axis=1) * 120  # m/s
    assert mean[0] < speed.mean() < mean[1] and speed.max() < peak
    assert np.abs(palm).max() < 0.14  # metres: the cameras keep it in view


def test_motion_has_no_jumps():
    fine = path("fast").at(np.arange(0, 4, 1e-3))
    steps = np.linalg.norm(np.diff(keypoints("right", fine), axis=0), axis=2)
    assert steps.max() < 0.006  # metres in a millisecond: a fingertip at 6 m/s is the fastest that there is
    velocity = np.diff(keypoints("right", fine), axis=0) * 1e3
    assert np.abs(np.diff(velocity, axis=0)).max() < 0.4  # m/s from one millisecond to the next: no corners


def test_the_same_generator_gives_the_same_path_however_it_is_asked():
    times = np.linspace(0, 8, 50)
    whole = path().at(times)
    for i in (0, 17, 49):
        one = path().at(times[i : i + 1])
        np.testing.assert_allclose(one.rotations[0], whole.rotations[i], atol=1e-12)
        np.testing.assert_allclose(one.translation[0], whole.translation[i], atol=1e-12)
    assert np.abs(path(seed=2).at(times).translation - whole.translation).max() > 1e-3


@pytest.mark.parametrize("side", ["left", "right"])
def test_named_poses_need_no_clipping(side):
    arrays = load_hand("open", side)
    for name, pose in POSES.items():
        wanted = np.radians(pose_angles_deg(pose))
        made = np.einsum("jc,jac->ja", hand_pose(HandModel.load("open", side), wanted), arrays.joint_axes)
        np.testing.assert_allclose(made, wanted, atol=1e-6, err_msg=name)


def test_a_pinch_brings_thumb_and_index_together():
    rotations = np.zeros((1, 16, 3))
    rotations[0, 1:] = hand_pose(HandModel.load("open", "right"), np.radians(pose_angles_deg(POSES["pinch"])))
    zeros = torch.zeros(1, 3, dtype=torch.float64), torch.zeros(1, 10, dtype=torch.float64)
    points = HandModel.load("open", "right")(HandPose(torch.as_tensor(rotations), *zeros)).keypoints[0].numpy()
    assert np.linalg.norm(points[4] - points[8]) < 0.02  # metres


def test_the_thumb_of_a_fist_lies_on_its_fingers():
    for name in ("fist", "point", "peace"):
        rotations = np.zeros((1, 16, 3))
        rotations[0, 1:] = hand_pose(HandModel.load("open", "right"), np.radians(pose_angles_deg(POSES[name])))
        zeros = torch.zeros(1, 3, dtype=torch.float64), torch.zeros(1, 10, dtype=torch.float64)
        points = HandModel.load("open", "right")(HandPose(torch.as_tensor(rotations), *zeros)).keypoints[0].numpy()
        to_fingers = np.linalg.norm(points[4] - points[[6, 7, 10, 11, 14, 15]], axis=1).min()
        assert 0.008 < to_fingers < 0.03, name  # metres: about the thickness of a thumb
        assert points[4, 2] * points[5, 2] > 0 or np.linalg.norm(points[4] - points[17]) > 0.03  # not past the pinky


def test_random_poses_differ_and_curl_as_hands_do():
    rng = np.random.default_rng(0)
    angles = np.stack([random_angles_deg(rng) for _ in range(300)])
    assert angles[:, [0, 3, 6, 9], 0].std(0).min() > 15  # degrees: knuckles
    assert np.corrcoef(angles[:, 1, 0], angles[:, 2, 0])[0, 1] > 0.9  # an outer joint follows the middle one
    assert np.corrcoef(angles[:, 3, 0], angles[:, 9, 0])[0, 1] > 0.5  # and the ring finger the middle finger


def test_no_fingertip_of_a_random_pose_is_in_the_palm():
    model, rng = HandModel.load("open", "right"), np.random.default_rng(1)
    angles = np.radians(np.stack([random_angles_deg(rng) for _ in range(200)]))
    rotations = np.zeros((200, 16, 3))
    rotations[:, 1:] = hand_pose(model, angles)
    zeros = (torch.zeros(200, size, dtype=torch.float64) for size in (3, 10))
    posed = model(HandPose(torch.as_tensor(rotations), *zeros))
    tips = posed.keypoints[:, [8, 12, 16, 20]].numpy()
    palm = np.flatnonzero(model.weights[:, 0].numpy() > 0.9)
    for vertices, points in zip(posed.vertices.numpy(), tips, strict=True):
        normals = _vertex_normals(Mesh(vertices, model.faces))[palm]
        away = np.linalg.norm(vertices[palm][None] - points[:, None], axis=2)
        nearest = away.argmin(1)
        height = np.einsum("kc,kc->k", points - vertices[palm][nearest], normals[nearest])
        assert height[away.min(1) < 0.015].min(initial=0) > -2e-3  # metres: skin yields that much


def cube(center, half):
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    grid = [0, 1, 3, 0, 3, 2, 4, 7, 5, 4, 6, 7, 0, 5, 1, 0, 4, 5, 2, 3, 7, 2, 7, 6, 1, 5, 7, 1, 7, 3, 0, 2, 6, 0, 6, 4]
    return Mesh(corners * half + center, np.array(grid).reshape(-1, 3))


def test_depth_of_known_bodies():
    big, small = cube((0.0, 0.0, 0.0), 0.05), cube((0.055, 0.0, 0.0), 0.01)
    border = np.array([0, 1, 2, 3])
    assert depth_m(small, big, border) > 0.004  # half of it is inside, 5 mm deep
    assert depth_m(cube((0.07, 0.0, 0.0), 0.01), big, border) == 0.0
    assert gap_m(big, cube((0.07, 0.05, 0.05), 0.01)) == pytest.approx(np.sqrt(0.01**2 + 2 * 0.01**2), abs=1e-9)


@pytest.mark.slow
def test_two_hands_touch_and_interleave_without_passing_through_each_other():
    models = {side: HandModel.load("open", side) for side in ("left", "right")}
    seconds = PERIOD_S * 10  # every kind once, whatever the order
    hands = two_hands(models, ZEROS, seconds, np.random.default_rng(3))
    times = np.arange(0, seconds, 1 / 24)
    vertices = {side: posed_vertices(models[side], ZEROS, hands[side].at(times)) for side in models}
    gaps: dict[str, float] = {}
    for i, time_s in enumerate(times):
        left, right = (Mesh(vertices[side][i], models[side].faces) for side in ("left", "right"))
        depth = mutual_depth_m(left, right, models["left"].wrist_border, models["right"].wrist_border)
        assert depth < 1e-3, f"{1e3 * depth:.2f} mm deep at {time_s:.2f} s"
        name = hands["left"].meeting.encounter(float(time_s))[1].name
        gaps[name] = min(gaps.get(name, 1.0), gap_m(left, right))
    assert set(gaps) == {encounter.name for encounter in encounters()}
    # Metres between vertices, which lie 4 to 6 mm apart on the mesh: skin touches where they are this near.
    assert max(gaps.values()) < 0.006, gaps


def test_interleaved_fingers_reach_past_each_other_in_turn():
    models = {side: HandModel.load("open", side) for side in ("left", "right")}
    meeting = two_hands(models, ZEROS, PERIOD_S * 6, np.random.default_rng(3))["left"].meeting
    index = [encounter.name for encounter in meeting.order].index(INTERLEAVE, 1)
    middle_s = np.array([PERIOD_S * (index - 1 + 0.6)])
    points = {side: keypoints(side, meeting.at(side, middle_s))[0] for side in models}
    tips = [FINGER_KEYPOINTS[finger][-1] for finger in ("index", "middle", "ring", "pinky")]
    axis = points["right"][9] - points["left"][9]
    axis /= np.linalg.norm(axis)
    # Along the line from left to right palm the left tips are beyond the right ones.
    past = (points["left"][tips] - points["right"][tips]) @ axis
    assert past.max() > 0.015 and (past > 0).sum() >= 3  # metres
    row = points["left"][17] - points["left"][5]
    row /= np.linalg.norm(row)
    owners = [s for _, s in sorted((float(points[s][t] @ row), s) for s in models for t in tips)]
    changes = sum(a != b for a, b in zip(owners, owners[1:], strict=False))
    assert changes >= 5  # left, right, left ...: fingers alternate along the row
