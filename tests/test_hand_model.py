import numpy as np
import pytest
import smplx
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from smplx.utils import Struct

from handgen.errors import HandgenError
from handgen.hand import assets
from handgen.hand.layout import KEYPOINT_COUNT, KEYPOINTS_FROM_JOINTS_AND_TIPS, TIP_VERTICES
from handgen.hand.model import HandModel, HandPose, single_pose
from handgen.so3 import axis_angle_from_rotation, rotation_from_axis_angle


def random_pose(rng, n=4):
    return HandPose(
        torch.as_tensor(rng.normal(0, 0.5, (n, 16, 3))),
        torch.as_tensor(rng.normal(0, 0.3, (n, 3))),
        torch.as_tensor(rng.normal(0, 1, (n, 10))),
    )


def as_smplx(arrays: assets.HandArrays) -> smplx.MANO:
    parents = np.array([4294967295, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14])
    data = Struct(
        v_template=arrays.template,
        f=arrays.faces.astype(np.uint32),
        shapedirs=arrays.shapedirs,
        posedirs=arrays.posedirs,
        J_regressor=arrays.joint_regressor,
        weights=arrays.weights,
        kintree_table=np.stack([parents, np.arange(16)]),
        hands_components=arrays.pose_components,
        hands_mean=arrays.mean_pose,
    )
    return smplx.MANO(
        ".",
        data_struct=data,
        is_rhand=arrays.side == "right",
        use_pca=False,
        flat_hand_mean=True,
        dtype=torch.float64,
    )


@pytest.mark.parametrize("side", ["right", "left"])
def test_kinematics_and_skinning_agree_with_smplx(side, rng):
    arrays = assets.load_hand("open", side)
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


@settings(max_examples=50, deadline=None)
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
        arrays = assets.load_hand("open", "right")
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
    arrays = assets.load_hand(str(path).replace("right", "{side}"), "right")
    assert arrays.template.shape == (778, 3)
    np.testing.assert_array_equal(arrays.joint_limits_rad, assets.load_hand("open", "right").joint_limits_rad)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": None}, "has no 'weights'"),
        ({"v_template": np.zeros((500, 3))}, "v_template must have shape"),
        ({"hands_mean": np.full(45, np.nan)}, "not finite"),
        ({"kintree_table": np.stack([np.arange(16) - 1, np.arange(16)])}, "parents"),
        ({"posedirs": np.array([{}], dtype=object)}, "not a readable npz"),
    ],
)
def test_damaged_model_files_are_named(model_file, changes, message):
    path = model_file(**changes)
    with pytest.raises(HandgenError, match=message) as error:
        assets.load_hand(str(path), "right")
    assert str(path) in str(error.value)


def test_a_missing_model_file_says_what_to_give(tmp_path):
    with pytest.raises(HandgenError, match="no such hand model; use `open`"):
        assets.load_hand(str(tmp_path / "MANO_{side}.npz"), "right")
