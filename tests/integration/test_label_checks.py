"""Checks of labels on hands made here; what is done to whole sets is in `test_validate_mutations`."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.hands import random_hand_arrays
from support.label_checks import MODELS, K, found, hand_in_front

from handgen.datasets.reader import in_front, seen_hand
from handgen.fit.kinematics import KeypointKinematics
from handgen.geometry.camera import MIN_DEPTH_M, Camera
from handgen.geometry.rigid import Rigid
from handgen.hand.conversions import origin_translation_from_transl, rotations_from_pose
from handgen.hand.model import HandModel, HandPose
from handgen.hand.skeleton import KEYPOINT_ORDERS, other_side
from handgen.label_checks import order
from handgen.label_checks.checks import conclude, examine
from handgen.label_checks.convention_hypotheses import Disagreement, describe_disagreement, list_hypotheses
from handgen.label_checks.evidence import HandModels, Tolerances
from handgen.label_checks.geometry import intrinsics_fault
from handgen.label_checks.hands import Hands
from handgen.label_checks.reprojection import explain_reprojection
from handgen.label_checks.rotations import rotation_fault, transform_fault
from handgen.records.labelled_image import HandParameters, LabelledImage

seeds = st.integers(0, 2**32 - 1)


def changed(image: LabelledImage, **fields) -> LabelledImage:
    """The picture with other labels of its hand."""
    return replace(image, hands=(replace(image.hands[0], **fields),))


@settings(max_examples=60)
@given(seeds, st.sampled_from(["left", "right"]))
def test_hands_within_their_joints_limits_are_right_however_they_are_turned(seed, side):
    assert found(hand_in_front(side, seed)) == {}


@settings(max_examples=30)
@given(seeds, st.sampled_from(list(order.orders())))
def test_every_order_that_is_tried_is_named(seed, name):
    places = list(order.orders()[name])
    image = hand_in_front("right", seed)
    hand = image.hands[0]
    assert order.named_order(order.permutation(hand.keypoints_cam_m[places], hand.keypoints_cam_m, 1e-9)) == name
    fields = {"keypoints_cam_m": hand.keypoints_cam_m[places], "keypoints_px": hand.keypoints_px[places]}
    told = found(changed(image, visible=hand.visible[places], **fields))
    assert name in told.get("joint order", told.get("keypoint order", ""))  # by bone lengths, else by the parameters


@settings(max_examples=30)
@given(seeds)
def test_the_pattern_of_lengths_depends_neither_on_place_nor_on_scale(seed):
    rng = np.random.default_rng(seed)
    points = hand_in_front("left", seed).hands[0].keypoints_cam_m
    turned = 7.3 * points @ rotations_from_pose(rng.normal(size=48))[0].T + rng.normal(size=3)
    np.testing.assert_allclose(order.pattern_distance(turned), order.pattern_distance(points), rtol=1e-6)


@pytest.mark.parametrize("side", ["left", "right"])
def test_bent_hands_of_the_wrong_side_are_told_without_a_model(side):
    pictures = [changed(hand_in_front(side, seed, 0.4), side=other_side(side), parameters=None) for seed in range(5)]
    assert "bend backwards" in found(*pictures)["handedness"]


def test_flat_hands_of_the_wrong_side_are_told_over_the_set():
    pictures = [changed(hand_in_front("left", seed, 0.2, 0.3), side="right", parameters=None) for seed in range(20)]
    assert "of most hands that are labelled right" in found(*pictures)["handedness of the set"]
    assert not {"handedness", "handedness of the set"} & found(*pictures[:5]).keys()  # too few, and too flat


def test_noisy_keypoints_are_no_fault_where_they_are_not_the_models_own(rng):
    pictures = []
    for seed in range(20):
        image = hand_in_front("right", seed, name=str(seed))
        noisy = image.hands[0].keypoints_cam_m + rng.normal(size=(21, 3)) * 0.002
        pictures.append(replace(changed(image, keypoints_cam_m=noisy), intrinsics=None))
    tolerances = Tolerances(parameters_mm=None)
    assert found(*pictures, tolerances=tolerances) == {}  # 3.5 mm in the mean
    assert found(*pictures).keys() == {"parameters"}  # in shards they would be
    swapped = list(order.orders()["ring_dip and ring_tip swapped"])
    pictures = [
        changed(image, keypoints_cam_m=image.hands[0].keypoints_cam_m[swapped], parameters=None) for image in pictures
    ]
    told = found(*pictures, tolerances=tolerances)
    assert "ring_dip and ring_tip swapped" in told["joint order of the set"]


def test_parameters_that_nothing_explains_are_told_with_their_distance():
    image = hand_in_front("right", 3)
    parameters = image.hands[0].parameters
    other = replace(parameters, pose=parameters.pose + np.r_[np.zeros(3), np.full(45, 0.2)])
    assert "mm (at most" in found(changed(image, parameters=other))["parameters"]
    larger = replace(parameters, betas=parameters.betas * 0 - 2.0)
    assert "times as large" in found(changed(image, parameters=larger))["parameters"]


def test_parameters_of_a_model_that_is_not_here_are_left_alone():
    """A model with fingers 15 % longer: what the open hand makes of its parameters says nothing."""
    pictures = []
    for seed in range(5):
        image = hand_in_front("right", seed)
        hand = image.hands[0]
        larger = 1.15 * (hand.keypoints_cam_m - hand.keypoints_cam_m[0]) + hand.keypoints_cam_m[0]
        unnamed = replace(hand.parameters, model=None, model_sha256=None)
        pictures.append(replace(changed(image, keypoints_cam_m=larger, parameters=unnamed), intrinsics=None))
    part = examine(pictures, "", HandModels(), Tolerances(parameters_mm=None))
    findings, notes = conclude([part], "")
    assert findings.looked_at["parameters"] == 0 and any("do not name their hand model" in note for note in notes)


def test_values_that_are_not_finite_are_named_and_nothing_else_is_said_of_the_hand():
    image = hand_in_front("right", 4)
    points = image.hands[0].keypoints_px.copy()
    points[8, 1] = np.nan
    assert found(changed(image, keypoints_px=points)) == {
        "not finite": "index_tip of the 2D keypoints is not a finite number"
    }


def test_translations_of_other_conventions_are_named(rng):
    arrays = random_hand_arrays()
    arrays = replace(arrays, template=arrays.template + (0.09, 0.01, 0.0))  # MANO's wrist rests there
    sides = {"right": KeypointKinematics(HandModel(arrays))}
    pose, translation = rng.normal(size=48) * 0.3, np.array([0.0, 0.1, 0.6])
    points = sides["right"].model(
        HandPose(torch.tensor(pose).reshape(1, 16, 3), torch.tensor(translation)[None], torch.zeros(1, 10).double())
    ).keypoints[0].numpy()  # fmt: skip
    about_origin = origin_translation_from_transl(translation, pose[:3], np.zeros(10), arrays)
    for given_one, said in (
        (points[0], "where the wrist is"),
        (about_origin, "turned about the origin"),
        (translation * 1000, "millimetres"),
        (translation + (0, 0, 5), "5 m from"),
    ):
        image = changed(hand_in_front("right", 0), keypoints_cam_m=points)
        image = changed(image, parameters=HandParameters(pose, np.zeros(10), given_one))
        disagreement = Disagreement.of(Hands.of([image]), np.array([0]), sides, "right")
        fitting = [e for e in list_hypotheses(disagreement) if np.abs(e.made - e.labelled).max() < 1e-6]
        assert [e.check for e in fitting][0] == "translation" and said in fitting[0].fault(0).what
    assert "mm (at most" in describe_disagreement(disagreement, 0).what


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: np.diag([1.0, 1, -1, 1]) @ m, "mirror"),
        (lambda m: m.T, "last row"),
        (lambda m: m * np.array([[2.0], [2], [2], [1]]), "scaled by 2"),
        (lambda m: m + np.pad(np.full((1, 1), 0.1), ((0, 3), (0, 3))), "not orthonormal"),
        (lambda m: m * np.nan, "not finite"),
        (lambda m: m + np.pad(np.full((1, 1), 0.1), ((3, 0), (3, 0))), "the last row of the transform"),
    ],
)
def test_what_is_no_rotation_is_described(change, said):
    matrix = Rigid(rotations_from_pose(np.full(3, 0.3))[0], np.array([0.1, 0.2, 0.3])).as_matrix()
    assert transform_fault(matrix) is None and rotation_fault(np.eye(3)) is None
    assert said in transform_fault(change(matrix)).what


@pytest.mark.parametrize(
    ("k", "said"),
    [
        (K.T, "transposed"),
        (K * -1, "upper triangular"),
        (K * [[-1.0, 1, 1]] * 1.0, "positive"),
        (np.diag([4.0, 4.0, 1.0]) + np.array([[0, 0, 319.5], [0, 0, 239.5], [0, 0, 0]]), "millimetres"),
        (K + [[0, 0, 1e5], [0, 0, 0], [0, 0, 0]], "pictures from the middle"),
    ],
)
def test_intrinsics_that_cannot_be_are_described(k, said):
    size = np.array([640.0, 480.0])
    assert intrinsics_fault(K, size) is None
    fault = intrinsics_fault(np.array(k, float), size)
    assert said in f"{fault.what}; {fault.fix}"


@settings(max_examples=30)
@given(seeds, st.floats(0.5, 2.0).filter(lambda times: abs(times - 1) > 0.01))
def test_a_wrong_focal_length_is_told_by_how_much(seed, times):
    image = hand_in_front("right", seed)
    told = found(replace(image, intrinsics=K * [[times, 1, 1], [1, times, 1], [1, 1, 1]]))["reprojection"]
    factor, direction = re.search(r"the focal length is (\S+) times too (long|short)", told).groups()
    assert direction == ("long" if times > 1 else "short")
    off = max(times, 1 / times)
    # Three digits are shown; the least squares behind them may round a tie such as 1.125 to either side.
    assert abs(float(factor) - off) <= 0.501 * 10 ** (math.floor(math.log10(off)) - 2)


@settings(max_examples=30)
@given(seeds)
def test_keypoints_in_the_worlds_frame_are_told_in_front_of_the_camera_and_behind(seed):
    rng = np.random.default_rng(seed)
    image = hand_in_front("left", seed)
    world = Rigid(rotations_from_pose(rng.normal(size=3))[0], rng.normal(size=3))
    points = world.inverse().apply(image.hands[0].keypoints_cam_m)
    told = found(changed(replace(image, cam_from_world=world), keypoints_cam_m=points))
    assert "the world's frame" in told.get("depth", told.get("reprojection", ""))


def test_other_frames_of_3d_keypoints_are_told():
    image = hand_in_front("right", 5)
    hand = image.hands[0]
    for change, said in (
        (lambda p: p * (1, -1, 1), "y is up"),
        (lambda p: p * (1, -1, -1), "y is up and z backwards (OpenGL)"),
        (lambda p: p[:, [0, 2, 1]], "y and z are swapped"),
        (lambda p: p[:, [2, 0, 1]], "they fit"),
        (lambda p: p - p[0], "relative to the wrist"),
    ):
        told = found(changed(image, keypoints_cam_m=change(hand.keypoints_cam_m)))
        assert said in told.get("depth", told.get("reprojection", "")), said


def test_hands_that_a_data_set_has_behind_its_camera_are_told_and_not_made_into_records():
    points = hand_in_front("right", 5).hands[0].keypoints_cam_m
    camera = Camera("camera", (640, 480), K, cam_from_world=Rigid.identity())
    for placed, said in ((points - points[0], "relative to the wrist"), (points * (1, 1, -1), "lie behind the camera")):
        hand = seen_hand("right", placed, camera)
        assert hand.labelled.all() and not hand.visible[placed[:, 2] <= 0].any()
        np.testing.assert_array_equal(in_front(hand), placed[:, 2] > MIN_DEPTH_M)
        image = LabelledImage("a", (640, 480), (hand,), None, intrinsics=K)
        part = examine([image], "", MODELS, Tolerances(parameters_mm=None), ("reprojection", "visible"))
        assert said in conclude([part], "")[0].kept[0].what
    away = Rigid(np.eye(3), np.array([0.0, 0.0, -0.0012]))  # metres, where a reader expects millimetres
    hand = seen_hand("right", points * (1, 1, -1), camera)
    told = found(LabelledImage("a", (640, 480), (hand,), None, intrinsics=K * 1.1, cam_from_world=away))
    assert "1.2 mm from the origin" in told["depth"]


def test_single_keypoints_that_are_off_are_named():
    points = hand_in_front("right", 1).hands[0].keypoints_px
    moved = points.copy()
    moved[4] += (3, 0)
    assert explain_reprojection(moved, points, np.array([640.0, 480.0]), 0.02).what.endswith("at thumb_tip")


def test_one_camera_alone_says_nothing_about_the_world():
    place = Rigid.identity()
    pictures = [
        replace(hand_in_front("right", 1, name=name), cam_from_world=place, capture="c", camera=camera)
        for name, camera in (("a", "0"), ("b", "0"), ("c", "1"))
    ]
    part = examine(pictures[:2], "", MODELS, Tolerances())
    assert conclude([part], "")[0].looked_at["world"] == 0
    moved = replace(pictures[2], cam_from_world=Rigid(np.eye(3), np.array([0.0, 0.0, 0.05])))
    findings, _ = conclude([examine([*pictures[:2], moved], "", MODELS, Tolerances())], "")
    assert findings.looked_at["world"] == 3
    assert [finding.where for finding in findings.kept if finding.kind == "world"] == ["c"]


def test_orders_of_other_projects_are_among_those_that_are_tried():
    assert {tuple(places) for places in KEYPOINT_ORDERS.values()} - set(order.orders().values()) == {tuple(range(21))}


def test_people_whom_nobody_knows_may_have_any_shape():
    pictures = [hand_in_front("right", seed, name=str(seed)) for seed in range(3)]  # each of its own shape
    assert found(*(replace(picture, subject="capture/0") for picture in pictures)) == {}
    assert "betas per person" in found(*(replace(picture, subject="anna") for picture in pictures))
