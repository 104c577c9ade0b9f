from functools import cache

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from support.contact_depth import contact_depth_mm

from handgen.geometry.meshes import Mesh
from handgen.hand.model import HandModel, HandPose
from handgen.hand.model_files import load_hand
from handgen.hand.skeleton import FINGER_KEYPOINTS, MCP_KEYPOINTS, SIDES
from handgen.stages.simulate.encounters import CLASP, INTERLEAVE, encounters
from handgen.stages.simulate.interaction import HELD_SHARE, PERIOD_S, two_hands
from handgen.stages.simulate.motion import STYLES, posed_vertices, single_hand
from handgen.stages.simulate.named_poses import POSES, pose_angles_deg
from handgen.stages.simulate.penetration import SelfProbe, depth_m, distance_m, gap_m
from handgen.stages.simulate.person import make_person, personal_hand
from handgen.stages.simulate.poses import TOLERANCE_M, hand_pose, is_free, random_angles_deg, settle

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
    motion = path(style, side)(times)
    angles = np.einsum("fjc,jac->fja", motion.rotations[:, 1:], arrays.joint_axes)
    assert (angles >= arrays.joint_limits_rad[..., 0] - 1e-6).all()
    assert (angles <= arrays.joint_limits_rad[..., 1] + 1e-6).all()


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    ("style", "mean", "peak"), [("calm", (0.03, 0.2), (0.1, 0.3)), ("fast", (0.4, 0.9), (1.0, 1.5))]
)
def test_a_style_is_as_fast_as_its_name(style, mean, peak, seed):
    times = np.arange(0, 20, 1 / 120)
    points = keypoints("right", path(style, seconds=20, seed=seed)(times))
    palm = 0.1 * points[:, 0] + 0.9 * points[:, list(MCP_KEYPOINTS)].mean(1)
    speed = np.linalg.norm(np.diff(palm, axis=0), axis=1) * 120  # m/s
    assert mean[0] < speed.mean() < mean[1] and peak[0] < speed.max() < peak[1]
    assert np.abs(palm).max() < 0.07  # metres: the cameras keep it in view


def octant_shares(style):
    """How often a camera in front of the person sees a hand from each octant of the hand's own axes."""
    rotations = path(style, seconds=400)(np.arange(0, 400, 0.5)).rotations[:, 0]
    seen = Rotation.from_rotvec(rotations).inv().apply([0.0, 1.0, 0.0]) > 0
    return np.bincount(seen @ [1, 2, 4], minlength=8) / len(seen)


def test_free_hands_are_seen_from_all_sides_and_calm_ones_from_the_palm():
    assert octant_shares("free").min() > 0.05  # of 0.125, were all directions equally frequent
    assert octant_shares("calm").min() == 0.0


def test_the_wrist_bends_where_a_style_says_so():
    times = np.arange(0, 60, 0.1)
    reach = np.degrees(np.abs(path("free", seconds=60)(times).wrist_rad).max(0))
    assert 30 < reach[0] <= 45 and 10 < reach[1] <= 18
    assert (path("calm", seconds=60)(times).wrist_rad == 0).all()


def test_motion_has_no_jumps():
    fine = path("fast")(np.arange(0, 4, 1e-3))
    steps = np.linalg.norm(np.diff(keypoints("right", fine), axis=0), axis=2)
    assert steps.max() < 0.006  # metres in a millisecond: a fingertip at 6 m/s is the fastest that there is
    velocity = np.diff(keypoints("right", fine), axis=0) * 1e3
    assert np.abs(np.diff(velocity, axis=0)).max() < 0.4  # m/s from one millisecond to the next: no corners


def test_the_same_generator_gives_the_same_path_however_it_is_asked():
    times = np.linspace(0, 8, 50)
    whole = path()(times)
    for i in (0, 17, 49):
        one = path()(times[i : i + 1])
        np.testing.assert_allclose(one.rotations[0], whole.rotations[i], atol=1e-12)
        np.testing.assert_allclose(one.translation[0], whole.translation[i], atol=1e-12)
    assert np.abs(path(seed=2)(times).translation - whole.translation).max() > 1e-3


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
    assert np.corrcoef(angles[:, 1, 0], angles[:, 2, 0])[0, 1] > 0.6  # an outer joint follows the middle one
    assert np.corrcoef(angles[:, 3, 0], angles[:, 9, 0])[0, 1] > 0.4  # and the ring finger the middle finger


@pytest.mark.parametrize("side", SIDES)
def test_every_named_pose_can_be_taken_nearly_as_it_is(side):
    for name, pose in POSES.items():
        wanted = np.radians(pose_angles_deg(pose))
        found = settle(side, wanted)
        assert found is not None, name
        bent = wanted[:, 0] > np.radians(30)
        assert (found[bent, 0] > 0.7 * wanted[bent, 0]).all(), f"{name}: a closed hand stays closed"


def test_a_hand_in_itself_is_opened_and_a_free_one_left_alone():
    fist = np.radians(pose_angles_deg(POSES["fist"]))
    np.testing.assert_array_equal(settle("right", fist), fist)
    through = fist.copy()
    through[12], through[13:, 0] = np.radians((14.0, -5.0, 0.0)), np.radians(45.0)
    assert not is_free("right", through)
    opened = settle("right", through)
    assert opened is not None and is_free("right", opened)
    assert opened[0, 0] > 0.5 * through[0, 0]


def cube(center, half):
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    grid = [0, 1, 3, 0, 3, 2, 4, 7, 5, 4, 6, 7, 0, 5, 1, 0, 4, 5, 2, 3, 7, 2, 7, 6, 1, 5, 7, 1, 7, 3, 0, 2, 6, 0, 6, 4]
    return Mesh(corners * half + center, np.array(grid).reshape(-1, 3))


def test_depth_of_known_bodies():
    big, small = cube((0.0, 0.0, 0.0), 0.05), cube((0.055, 0.0, 0.0), 0.01)
    border = np.array([0, 1, 2, 3])
    assert depth_m(small, big, border) > 0.004  # half of it is inside, 5 mm deep
    assert depth_m(cube((0.07, 0.0, 0.0), 0.01), big, border) == 0.0
    assert gap_m(big, cube((0.07, 0.05, 0.05), 0.01)) == pytest.approx(0.01, abs=1e-9)


def test_distance_to_a_cube():
    points = np.array([[0.06, 0.01, 0.0], [0.04, 0.0, 0.0], [0.053, 0.054, 0.0], [0.06, 0.06, 0.06]])
    expected = [0.01, 0.01, 0.005, 0.01 * np.sqrt(3)]  # to a face from both sides, to an edge, to a corner
    np.testing.assert_allclose(distance_m(points, cube((0.0, 0.0, 0.0), 0.05)), expected, atol=1e-12)


@pytest.mark.parametrize("side", SIDES)
def test_a_hand_that_passes_through_itself_is_noticed(side):
    assert all(is_free(side, np.radians(pose_angles_deg(POSES[name]))) for name in ("open", "fist", "point", "pinch"))
    thumb_in_fist = pose_angles_deg(POSES["fist"])
    thumb_in_fist[12] = (14.0, -5.0, 0.0)
    thumb_in_fist[13:, 0] = 45.0
    crossed = pose_angles_deg(POSES["flat"])
    crossed[[0, 3], 1] = (-20.0, 20.0)  # the index finger towards the pinky, the middle finger towards the thumb
    assert not is_free(side, np.radians(thumb_in_fist)) and not is_free(side, np.radians(crossed))


@pytest.mark.parametrize("style", STYLES)
def test_a_moving_hand_hardly_ever_passes_through_itself(style):
    model = HandModel.load("open", "right")
    probe, motion = SelfProbe.of(model), path(style)(np.arange(0, 8, 1 / 20))
    passes = [probe.passes(vertices, TOLERANCE_M) for vertices in posed_vertices(model, ZEROS, motion)]
    assert np.mean(passes) < 0.05  # only poses and the middle between two are checked


@cache
def meeting(seconds):
    person = make_person(np.random.default_rng(7))
    models = {side: HandModel(personal_hand(person, side)) for side in SIDES}
    return models, person.betas, two_hands(models, person.betas, seconds, np.random.default_rng(3))


def held_s(name, seconds):
    """When the hands touch in the first encounter of a kind, seconds."""
    order = meeting(seconds)[2].order
    index = next(k for k, encounter in enumerate(order[1:]) if encounter.name == name)
    return np.array([(index + HELD_SHARE) * PERIOD_S])


SECONDS = 33.0  # of eleven encounters: every kind, whatever the order


def test_two_hands_touch_in_every_kind_of_encounter():
    models, betas, hands = meeting(SECONDS)
    for kind in encounters():
        meshes = [
            Mesh(posed_vertices(models[side], betas, hands.at(side, held_s(kind.name, SECONDS)))[0], models[side].faces)
            for side in SIDES
        ]
        assert gap_m(*meshes) < 1e-3, kind.name


def test_two_hands_move_within_limits_without_jumps():
    models, betas, hands = meeting(SECONDS)
    times = np.arange(-0.2, 2 * PERIOD_S, 1 / 500)
    for side in SIDES:
        arrays, motion = models[side].arrays, hands.at(side, times)
        angles = np.einsum("fjc,jac->fja", motion.rotations[:, 1:], arrays.joint_axes)
        assert (angles >= arrays.joint_limits_rad[..., 0] - 1e-6).all()
        assert (angles <= arrays.joint_limits_rad[..., 1] + 1e-6).all()
        pose = HandPose(*map(torch.as_tensor, (motion.rotations, motion.translation, np.tile(betas, (len(times), 1)))))
        points = models[side](pose).keypoints.numpy()
        velocity = np.diff(points, axis=0) * 500  # m/s
        assert np.linalg.norm(velocity, axis=2).max() < 2.0  # a fingertip while the arm turns to the next encounter
        assert np.linalg.norm(np.diff(velocity, axis=0), axis=2).max() * 500 < 40.0  # m/s^2: four g
        assert np.abs(points).max() < 0.3  # metres: the cameras keep it in view


@pytest.mark.slow
def test_two_hands_never_pass_through_each_other():
    models, betas, hands = meeting(SECONDS)
    times = np.arange(0, 20, 1 / 30)
    vertices = {side: posed_vertices(models[side], betas, hands.at(side, times)) for side in SIDES}
    depth_mm = contact_depth_mm(models, vertices)
    assert depth_mm.max() < 1.0, f"{depth_mm.max():.2f} mm at {times[depth_mm.argmax()]:.2f} s"


def held_keypoints(name):
    models, betas, hands = meeting(SECONDS)
    points = {}
    for side in SIDES:
        motion = hands.at(side, held_s(name, SECONDS))
        pose = HandPose(*map(torch.as_tensor, (motion.rotations, motion.translation, betas[None])))
        points[side] = models[side](pose).keypoints[0].numpy()
    return points


FOUR = np.array([FINGER_KEYPOINTS[finger] for finger in ("index", "middle", "ring", "pinky")])


def test_interleaved_fingers_reach_beyond_each_other():
    points = held_keypoints(INTERLEAVE)
    for side, other in (SIDES, SIDES[::-1]):
        bones = points[other][FOUR[:, 1:3]].reshape(-1, 3)  # middle and outer joints, where fingers cross
        _, _, axes = np.linalg.svd(bones - bones.mean(0))
        height = (points[side] - bones.mean(0)) @ axes[2]
        beyond = -height[FOUR[:, 3]] * np.sign(height[0])  # of the tips, seen from their wrist, metres
        assert (beyond > 0).sum() >= 3 and beyond.max() > 0.02, side


@pytest.mark.parametrize("name", [INTERLEAVE, CLASP])
def test_interleaved_fingers_take_turns(name):
    points = held_keypoints(name)
    row = points["left"][17] - points["left"][5]
    # Middle and outer joints, between which fingers cross.
    along = {(side, i): points[side][FOUR[i, 1:3]].mean(0) @ row for side in SIDES for i in range(4)}
    owners = [side for side, _ in sorted(along, key=along.__getitem__)]
    assert all(a != b for a, b in zip(owners, owners[1:], strict=False)), owners  # left, right, left ...
