import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from handgen.hand import conversions as convert
from handgen.hand.model import HandModel, HandPose
from handgen.hand.model_files import load_hand
from handgen.hand.skeleton import KEYPOINT_ORDERS, SIDES, TIP_VERTEX_SETS, TIP_VERTICES, other_side
from handgen.hand.smplx_check import as_smplx

seeds = st.integers(0, 2**32 - 1)
sides = st.sampled_from(SIDES)


def full_pose(seed, batch=(2,), numbers=48):
    """Random poses whose joints turn by less than pi, where axis-angle is unique."""
    vectors = np.random.default_rng(seed).normal(size=(*batch, numbers // 3, 3))
    angles = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / angles * (angles % 3.0)).reshape(*batch, numbers)


def posed(hand, pose, transl, betas):
    n = len(pose)
    return HandModel(hand)(
        HandPose(torch.as_tensor(pose).reshape(n, 16, 3), torch.as_tensor(transl), torch.as_tensor(betas))
    )


@settings(max_examples=20)
@given(seeds, sides, st.sampled_from([45, 48]))
def test_mean_added_and_relative(seed, side, numbers):
    hand, pose = load_hand("open", side), full_pose(seed, numbers=numbers)
    relative = convert.relative_from_full(pose, hand)
    np.testing.assert_allclose(convert.full_from_relative(relative, hand), pose, atol=1e-12)
    np.testing.assert_allclose(pose[..., -45:] - relative[..., -45:], np.tile(hand.mean_pose, (2, 1)))
    if numbers == 48:
        np.testing.assert_array_equal(relative[..., :3], pose[..., :3])


@settings(max_examples=30)
@given(seeds, sides, st.integers(1, 45), st.booleans())
def test_pca_and_axis_angle(seed, side, count, flat):
    hand = load_hand("open", side)
    coefficients = np.random.default_rng(seed).normal(size=(2, 3, count))
    pose = convert.pose_from_pca(coefficients, hand, flat_hand_mean=flat)
    again = convert.pca_from_pose(pose, hand, count=count, flat_hand_mean=flat)
    np.testing.assert_allclose(again, coefficients, atol=1e-6)
    any_pose = full_pose(seed, numbers=45)
    exact = convert.pca_from_pose(any_pose, hand, flat_hand_mean=flat)
    np.testing.assert_allclose(convert.pose_from_pca(exact, hand, flat_hand_mean=flat), any_pose, atol=1e-6)


@pytest.mark.parametrize("flat", [True, False])
def test_pca_is_smplxs(flat, rng):
    hand = load_hand("open", "right")
    theirs = as_smplx(hand, use_pca=True, num_pca_comps=6, flat_hand_mean=flat)
    coefficients = rng.normal(0, 0.5, (3, 6))
    vertices = theirs(
        betas=torch.zeros(3, 10, dtype=torch.float64),
        global_orient=torch.zeros(3, 3, dtype=torch.float64),
        hand_pose=torch.as_tensor(coefficients),
        transl=torch.zeros(3, 3, dtype=torch.float64),
    ).vertices
    fingers = convert.pose_from_pca(coefficients, hand, flat_hand_mean=flat)
    ours = posed(hand, np.concatenate([np.zeros((3, 3)), fingers], 1), np.zeros((3, 3)), np.zeros((3, 10))).vertices
    assert (ours - vertices).abs().max() < 1e-6  # m


@settings(max_examples=30)
@given(seeds, st.sampled_from([(), (3,), (2, 2)]))
def test_rotation_matrices(seed, batch):
    pose = full_pose(seed, batch)
    rotations = convert.rotations_from_pose(pose)
    assert rotations.shape == (*batch, 16, 3, 3)
    np.testing.assert_allclose(convert.pose_from_rotations(rotations), pose, atol=1e-7)
    np.testing.assert_allclose(np.linalg.det(rotations), 1, atol=1e-9)


@settings(max_examples=20)
@given(seeds, st.sampled_from(list(KEYPOINT_ORDERS)), st.sampled_from(list(KEYPOINT_ORDERS)))
def test_keypoint_orders(seed, source, target):
    keypoints = np.random.default_rng(seed).normal(size=(2, 21, 3))
    there = convert.reorder_keypoints(keypoints, source, target)
    np.testing.assert_array_equal(convert.reorder_keypoints(there, target, source), keypoints)
    assert sorted(KEYPOINT_ORDERS[target]) == list(range(21))


def test_keypoint_orders_are_the_projects_own(rng):
    hand = load_hand("open", "right")
    pose, transl, betas = full_pose(0, (1,)) * 0.3, rng.normal(size=(1, 3)), rng.normal(size=(1, 10))
    ours = posed(hand, pose, transl, betas)
    from_mano = convert.reorder_keypoints(
        np.concatenate([ours.joints, ours.vertices[:, [744, 320, 443, 554, 671]]], 1), "mano", "handgen"
    )
    np.testing.assert_allclose(from_mano, ours.keypoints)
    names = np.arange(21)[:, None]
    # InterHand2.6M: thumb tip 0 ... thumb 3, index tip 4, ..., wrist 20
    assert convert.reorder_keypoints(names, "handgen", "interhand").ravel().tolist() == [
        *(4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9, 16, 15, 14, 13, 20, 19, 18, 17, 0),
    ]
    # manopth reorders its joints and tips by this list (manolayer.py)
    assert convert.reorder_keypoints(names, "mano", "handgen").ravel().tolist() == [
        *(0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20),
    ]
    # the networks of hand3d (RHD) give keypoints in an order that this list turns into ours, and back
    rhd = [0, 4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9, 16, 15, 14, 13, 20, 19, 18, 17]
    assert convert.reorder_keypoints(names, "rhd", "handgen").ravel().tolist() == rhd


def test_fingertips_of_each_project(rng):
    hand = load_hand("open", "right")
    ours = posed(hand, full_pose(1, (2,)) * 0.3, rng.normal(size=(2, 3)), rng.normal(size=(2, 10)))
    vertices, keypoints = ours.vertices.numpy(), ours.keypoints.numpy()
    for convention, ids in TIP_VERTEX_SETS.items():
        changed = convert.with_fingertips(keypoints, vertices, convention)
        np.testing.assert_array_equal(changed[:, [4, 8, 12, 16, 20]], vertices[:, list(ids)])
        np.testing.assert_array_equal(convert.with_fingertips(changed, vertices, "smplx"), keypoints)
    assert TIP_VERTEX_SETS["smplx"] == tuple(TIP_VERTICES.values())


@settings(max_examples=15)
@given(seeds, sides)
def test_mirrored(seed, side):
    rng = np.random.default_rng(seed)
    hand, other = load_hand("open", side), load_hand("open", other_side(side))
    pose, transl, betas = full_pose(seed), rng.normal(size=(2, 3)), rng.normal(size=(2, 10))
    mirrored = convert.mirror_pose(pose), convert.mirror_points(transl)
    np.testing.assert_array_equal(convert.mirror_pose(mirrored[0]), pose)
    np.testing.assert_array_equal(convert.mirror_points(mirrored[1]), transl)
    vertices, faces = convert.mirror_mesh(posed(hand, pose, transl, betas).vertices.numpy(), hand.faces)
    np.testing.assert_allclose(posed(other, *mirrored, betas).vertices, vertices, atol=1e-6)  # m
    back, back_faces = convert.mirror_mesh(vertices, faces)
    np.testing.assert_array_equal(back_faces, hand.faces)
    a, b, c = (vertices[0, faces[:, k]] for k in range(3))
    volume = np.einsum("fc,fc->", a - vertices[0].mean(0), np.cross(b - a, c - a))
    assert volume > 0  # faces outwards still


@settings(max_examples=15)
@given(seeds, sides)
def test_translation_about_the_wrist_and_about_the_origin(seed, side):
    rng = np.random.default_rng(seed)
    hand = load_hand("open", side)
    hand = type(hand)(**(vars(hand) | {"template": hand.template + [0.09, 0.01, 0.02]}))  # a wrist off the origin
    pose, transl, betas = full_pose(seed), rng.normal(size=(2, 3)), rng.normal(size=(2, 10))
    ours = posed(hand, pose, transl, betas)
    wrist = convert.wrist_from_transl(transl, betas, hand)
    np.testing.assert_allclose(ours.joints[:, 0], wrist, atol=1e-9)
    np.testing.assert_allclose(convert.transl_from_wrist(wrist, betas, hand), transl, atol=1e-12)
    orientation = pose[:, :3]
    about_origin = convert.origin_translation_from_transl(transl, orientation, betas, hand)
    unturned = np.concatenate([np.zeros((2, 3)), pose[:, 3:]], 1)
    flat = posed(hand, unturned, np.zeros((2, 3)), betas).vertices.numpy()
    turned = flat @ convert.rotations_from_pose(orientation)[:, 0].transpose(0, 2, 1) + about_origin[:, None]
    np.testing.assert_allclose(turned, ours.vertices, atol=1e-6)  # m; skinning weights add up to 1 in float32
    again = convert.transl_from_origin_translation(about_origin, orientation, betas, hand)
    np.testing.assert_allclose(again, transl, atol=1e-12)


def test_wrong_shapes_are_named():
    hand = load_hand("open", "right")
    with pytest.raises(ValueError, match=r"expected 45 or 48 numbers, got shape \(2, 51\)"):
        convert.relative_from_full(np.zeros((2, 51)), hand)
    with pytest.raises(ValueError, match="expected 1 to 45"):
        convert.pose_from_pca(np.zeros((2, 46)), hand)
    with pytest.raises(ValueError, match=r"expected \(..., 21, n\)"):
        convert.reorder_keypoints(np.zeros((20, 3)), "mano", "handgen")


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_poses_of_any_batch(batch, rng):
    """One pose, a row of them and a table of them are changed each by itself."""
    hand = load_hand("open", "right")
    for numbers in (45, 48):
        pose = full_pose(3, batch, numbers)
        added = convert.full_from_relative(pose, hand)
        np.testing.assert_allclose(added[..., -45:], pose[..., -45:] + hand.mean_pose)
        np.testing.assert_array_equal(added[..., : numbers - 45], pose[..., : numbers - 45])
        np.testing.assert_allclose(convert.relative_from_full(added, hand), pose, atol=1e-12)
        rotations = convert.rotations_from_pose(pose)
        assert rotations.shape == (*batch, numbers // 3, 3, 3)
        np.testing.assert_allclose(convert.pose_from_rotations(rotations), pose, atol=1e-8)
        flips = np.tile([1.0, -1.0, -1.0], numbers // 3)
        np.testing.assert_array_equal(convert.mirror_pose(pose), pose * flips)
    coefficients = rng.normal(size=(*batch, 7))
    expected = np.einsum("...k,kn->...n", coefficients, hand.pose_components[:7]) + hand.mean_pose
    np.testing.assert_allclose(convert.pose_from_pca(coefficients, hand), expected)
    np.testing.assert_allclose(convert.pca_from_pose(expected, hand, count=7), coefficients, atol=1e-6)
    keypoints, vertices = rng.normal(size=(*batch, 21, 3)), rng.normal(size=(*batch, 778, 3))
    tips = list(TIP_VERTEX_SETS["manopth"])
    np.testing.assert_array_equal(convert.fingertips(vertices, "manopth"), vertices[..., tips, :])
    changed = convert.with_fingertips(keypoints, vertices, "manopth")
    np.testing.assert_array_equal(changed[..., [4, 8, 12, 16, 20], :], vertices[..., tips, :])
    kept = [k for k in range(21) if k % 4 or k == 0]
    np.testing.assert_array_equal(changed[..., kept, :], keypoints[..., kept, :])
    betas, transl = rng.normal(size=(*batch, 10)), rng.normal(size=(*batch, 3))
    shaped = hand.template + np.einsum("vcb,...b->...vc", hand.shapedirs, betas)
    wrist = np.einsum("v,...vc->...c", hand.joint_regressor[0], shaped)
    np.testing.assert_allclose(convert.rest_wrist(betas, hand), wrist, atol=1e-12)
    np.testing.assert_allclose(convert.wrist_from_transl(transl, betas, hand), transl + wrist, atol=1e-12)
    np.testing.assert_allclose(convert.transl_from_wrist(transl + wrist, betas, hand), transl, atol=1e-12)
    orientation = full_pose(5, batch, 3)
    turned = (convert.rotations_from_pose(orientation)[..., 0, :, :] @ wrist[..., None])[..., 0]
    about = convert.origin_translation_from_transl(transl, orientation, betas, hand)
    np.testing.assert_allclose(about, transl + wrist - turned, atol=1e-12)
    back = convert.transl_from_origin_translation(about, orientation, betas, hand)
    np.testing.assert_allclose(back, transl, atol=1e-12)


def test_a_left_model_is_the_mirror_of_the_right_in_every_array():
    from dataclasses import replace

    right, left = (load_hand("open", side) for side in ("right", "left"))
    assert convert.sides_mirror(right, left)
    for name in ("template", "shapedirs", "posedirs", "joint_regressor", "weights"):
        array = getattr(left, name).copy()
        array.flat[array.size // 2] += 2.5e-5  # of 1e-5, with what the arrays themselves are rounded by
        assert not convert.sides_mirror(right, replace(left, **{name: array})), name
    nearly = replace(left, template=left.template + 0.9e-5)
    assert convert.sides_mirror(right, nearly) and not convert.sides_mirror(right, right)
