import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from handgen.errors import HandgenError
from handgen.geometry.rotations import axis_angle_from_rotation, rotation_from_axis_angle
from handgen.hand import model_files
from handgen.hand.model import HandModel, HandPose, single_pose
from handgen.hand.skeleton import KEYPOINT_COUNT, KEYPOINTS_FROM_JOINTS_AND_TIPS, TIP_VERTICES
from handgen.hand.smplx_check import as_smplx


def random_pose(rng, n=4):
    return HandPose(
        torch.as_tensor(rng.normal(0, 0.5, (n, 16, 3))),
        torch.as_tensor(rng.normal(0, 0.3, (n, 3))),
        torch.as_tensor(rng.normal(0, 1, (n, 10))),
    )


@pytest.mark.parametrize("side", ["right", "left"])
def test_kinematics_and_skinning_agree_with_smplx(side, rng):
    arrays = model_files.load_hand("open", side)
    pose = random_pose(rng)
    ours = HandModel(arrays)(pose)
    theirs = as_smplx(arrays)(
        betas=pose.betas,
        global_orient=pose.rotations[:, 0],
        hand_pose=pose.rotations[:, 1:].reshape(4, 45),
        transl=pose.translation,
    )
    assert (ours.vertices - theirs.vertices).abs().max() < 1e-6  # m
    assert (ours.joints - theirs.joints[:, :16]).abs().max() < 1e-6


def test_keypoints_are_joints_and_tips_palm_to_tip(hand, rng):
    posed = hand(random_pose(rng, 1))
    assert sorted(KEYPOINTS_FROM_JOINTS_AND_TIPS) == list(range(KEYPOINT_COUNT))
    torch.testing.assert_close(posed.keypoints[:, 4], posed.vertices[:, TIP_VERTICES["thumb"]])
    torch.testing.assert_close(posed.keypoints[:, 9], posed.joints[:, 4])  # middle knuckle


def test_joints_alone_are_the_posed_hands(hand, rng):
    pose = random_pose(rng, 3)
    torch.testing.assert_close(hand.joints(pose), hand(pose).joints, atol=1e-12, rtol=0)


def test_rest_keypoints_are_those_of_the_flat_hand(hand):
    betas = torch.linspace(-1, 1, 10, dtype=torch.float64)
    flat = hand(single_pose(np.zeros(48), np.zeros(3), betas.numpy()))
    torch.testing.assert_close(flat.keypoints[0], hand.rest_keypoints(betas))


def test_a_left_hand_is_the_mirrored_right_hand(rng):
    right, left = (HandModel.load("open", side) for side in ("right", "left"))
    pose = random_pose(rng)
    mirrored = HandPose(
        pose.rotations * torch.tensor([1.0, -1, -1]),
        pose.translation * torch.tensor([-1.0, 1, 1]),
        pose.betas,
    )
    difference = left(mirrored).keypoints - right(pose).keypoints * torch.tensor([-1.0, 1, 1])
    assert difference.abs().max() < 1e-6


@settings(max_examples=50)
@given(st.lists(st.floats(-3.0, 3.0), min_size=3, max_size=3))
def test_rotation_exp_and_log(vector):
    rotation = rotation_from_axis_angle(torch.tensor(vector, dtype=torch.float64))
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=torch.float64), atol=1e-12, rtol=0)
    again = rotation_from_axis_angle(axis_angle_from_rotation(rotation))
    torch.testing.assert_close(again, rotation, atol=1e-7, rtol=0)


def test_wrong_shapes_are_refused_where_they_are_born():
    with pytest.raises(ValueError, match=r"translation: expected \(2, 3\), got \(3,\)"):
        HandPose(torch.zeros(2, 16, 3), torch.zeros(3), torch.zeros(2, 10))


@pytest.fixture
def model_file(tmp_path):
    """The open hand as somebody else's npz in MANO's format, to be damaged."""

    def write(**changes):
        arrays = model_files.load_hand("open", "right")
        data = {
            "v_template": arrays.template,
            "f": arrays.faces,
            "shapedirs": arrays.shapedirs,
            "posedirs": arrays.posedirs,
            "J_regressor": arrays.joint_regressor,
            "weights": arrays.weights,
            "kintree_table": np.array([[-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14], range(16)]),
            "hands_mean": arrays.mean_pose,
            "hands_components": arrays.pose_components,
        } | changes
        path = tmp_path / f"hand_{len(list(tmp_path.iterdir()))}_right.npz"
        np.savez(path, **{key: value for key, value in data.items() if value is not None})
        return path

    return write


def test_a_mano_format_file_loads_with_the_open_hands_anatomy(model_file):
    path = model_file()
    arrays = model_files.load_hand(str(path).replace("right", "{side}"), "right")
    assert arrays.template.shape == (778, 3)
    np.testing.assert_array_equal(arrays.joint_limits_rad, model_files.load_hand("open", "right").joint_limits_rad)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": None}, "has no 'weights'"),
        ({"v_template": np.zeros((500, 3))}, "v_template must have shape"),
        ({"hands_mean": np.full(45, np.nan)}, "not finite"),
        ({"kintree_table": np.stack([np.arange(16) - 1, np.arange(16)])}, "parents"),
        ({"posedirs": np.array([{}], dtype=object)}, "Python object, which is not read"),
    ],
)
def test_damaged_model_files_are_named(model_file, changes, message):
    path = model_file(**changes)
    with pytest.raises(HandgenError, match=message) as error:
        model_files.load_hand(str(path), "right")
    assert str(path) in str(error.value)


def test_a_missing_model_file_says_what_to_give(tmp_path):
    with pytest.raises(HandgenError, match="no such hand model; use `open`"):
        model_files.load_hand(str(tmp_path / "MANO_{side}.npz"), "right")


FACES = np.tile([0, 1, 2], (10, 1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kintree_table": None}, "has no 'kintree_table'"),
        ({"kintree_table": np.arange(16)}, r"kintree_table must have shape \(2, 16\), got \(16,\)"),
        ({"kintree_table": np.full((2, 16), "a")}, "kintree_table must hold numbers"),
        ({"f": None}, "has no 'f'"),
        ({"f": FACES + 99999}, "f names vertex 99999, but there are 778"),
        ({"f": FACES - 1}, "f names vertex -1"),
        ({"f": FACES.astype(float)}, "f must hold whole numbers, got float64"),
        ({"f": FACES[:, :2]}, r"f must have shape \(n, 3\), got \(10, 2\)"),
        ({"f": FACES[:0]}, r"f must have shape \(n, 3\), got \(0, 3\)"),
        ({"weights": np.full((778, 16), "a")}, "weights must hold numbers"),
        ({"weights": np.zeros((778, 16), complex)}, "weights must hold numbers, got complex128"),
        ({"joint_axes": np.full((2, 2), np.nan)}, r"joint_axes must have shape \(15, 3, 3\), got \(2, 2\)"),
        ({"joint_axes": np.zeros((15, 3, 3))}, "has no 'joint_limits_rad'"),
        ({"joint_limits_rad": np.zeros((15, 3, 2))}, "has no 'joint_axes'"),
        (
            {"joint_axes": np.zeros((15, 3, 3)), "joint_limits_rad": np.full((15, 3, 2), np.inf)},
            "joint_limits_rad holds a value that is not finite",
        ),
    ],
)
def test_every_array_of_a_model_file_is_checked(model_file, changes, message):
    path = model_file(**changes)
    with pytest.raises(HandgenError, match=message) as error:
        model_files.load_hand(str(path), "right")
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def test_files_that_are_no_npz_are_named(model_file, tmp_path):
    whole = model_file().read_bytes()
    plain = tmp_path / "plain.npz"
    with plain.open("wb") as file:
        np.save(file, np.zeros(3))
    cut, flipped = tmp_path / "cut.npz", tmp_path / "flipped.npz"
    cut.write_bytes(whole[: len(whole) // 2])
    flipped.write_bytes(whole[:40] + bytes(100) + whole[140:])
    for path in (plain, cut, flipped):
        with pytest.raises(HandgenError, match="cannot be read as a|has no 'v_template'") as error:
            model_files.load_hand(str(path), "right")
        assert str(path) in str(error.value)


def test_a_small_file_that_unpacks_to_gigabytes_is_refused_and_foreign_members_are_not_read(model_file, tmp_path):
    large = {"shapedirs": np.zeros((1000, 1000, 10))}  # 80 MB of zeros, packed to 80 kB
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, **large)
    with pytest.raises(HandgenError, match="larger than 64 MiB"):
        model_files.load_hand(str(path), "right")
    path = model_file(notes=np.array([{}], dtype=object))
    assert model_files.load_hand(str(path), "right").faces.shape[1] == 3


@settings(max_examples=60)
@given(st.data())
def test_damaged_bytes_never_give_anything_but_a_handgen_error(tmp_path_factory, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    arrays = {"v_template": rng.random((4, 3)), "weights": rng.random((3, 2)), "f": rng.integers(0, 9, (5, 3))}
    path = tmp_path_factory.mktemp("damaged") / "hand.npz"
    (np.savez if rng.random() < 0.5 else np.savez_compressed)(path, **arrays)
    content = bytearray(path.read_bytes())
    for _ in range(int(rng.integers(1, 6))):
        content[int(rng.integers(len(content)))] = int(rng.integers(256))
    path.write_bytes(content)
    with pytest.raises(HandgenError):
        model_files.load_hand(str(path), "right")


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["right", "left"]), st.floats(0, 4), st.floats(0, 5))
def test_any_pose_and_shape_is_finite_and_smplxs(seed, side, bend, spread):
    rng = np.random.default_rng(seed)
    arrays = model_files.load_hand("open", side)
    pose = HandPose(
        torch.as_tensor(rng.normal(0, 1, (3, 16, 3)) * bend),
        torch.as_tensor(rng.normal(0, 1, (3, 3))),
        torch.as_tensor(rng.normal(0, 1, (3, 10)) * spread),
    )
    ours = HandModel(arrays)(pose)
    theirs = as_smplx(arrays)(
        betas=pose.betas,
        global_orient=pose.rotations[:, 0],
        hand_pose=pose.rotations[:, 1:].reshape(3, 45),
        transl=pose.translation,
    )
    for values in (ours.vertices, ours.joints, ours.keypoints, ours.rotations):
        assert torch.isfinite(values).all()
    assert (ours.vertices - theirs.vertices).abs().max() < 1e-6  # m
    assert (ours.joints - theirs.joints[:, :16]).abs().max() < 1e-6
    torch.testing.assert_close(HandModel(arrays).joints(pose), ours.joints)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-12, 1e-6, 1e-4])
def test_gradients_are_finite_at_and_near_the_zero_pose(size, dtype):
    model = HandModel.load("open", "right", dtype)
    leaves = [torch.full(shape, size, dtype=dtype, requires_grad=True) for shape in ((1, 16, 3), (1, 3), (1, 10))]
    weights = torch.linspace(-1, 1, 778 * 3, dtype=dtype).reshape(1, 778, 3)
    posed = model(HandPose(*leaves))
    ((posed.vertices * weights).sum() + posed.keypoints.square().sum()).backward()
    assert all(torch.isfinite(leaf.grad).all() for leaf in leaves)
    assert (leaves[0].grad[0, 1:].norm(dim=-1) > 0).all()  # every joint can be moved from there


def test_rotations_derivative_at_zero_is_the_generators():
    jacobian = torch.autograd.functional.jacobian(rotation_from_axis_angle, torch.zeros(3, dtype=torch.float64))
    expected = torch.zeros(3, 3, 3, dtype=torch.float64)
    for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        expected[b, c, a], expected[c, b, a] = -1, 1
    torch.testing.assert_close(jacobian, expected, atol=1e-12, rtol=0)


def test_importing_the_hand_package_does_no_torch_work():
    code = (
        "import sys, handgen.hand, handgen.hand.skeleton, handgen.hand.model_files, handgen.hand.conversions, "
        "handgen.hand.mano; print(*({'torch', 'scipy', 'smplx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
