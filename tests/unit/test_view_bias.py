import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.cameras import ring
from support.hands import natural_poses

from handgen.detect.mediapipe.detector import load_view_bias
from handgen.detect.view_bias import FEATURES, ViewBias, features_of
from handgen.fit.observations import corrections_of, flesh_before, kinematics_of
from handgen.fit.pose_fit import fit_poses
from handgen.geometry.triangulation import triangulate
from handgen.hand.model import HandModel
from handgen.hand.skeleton import KEYPOINT_CARRIERS, MIRROR_X
from handgen.multiview.association import MultiviewHand, ViewObservation
from handgen.records.detection import Detection

UNITS = arrays(float, (21, 3), elements=st.floats(-1, 1)).map(
    lambda v: (v + [0, 0, 1e-3]) / np.linalg.norm(v + [0, 0, 1e-3], axis=1, keepdims=True).clip(1e-6)
)


def some_bias(seed=0, size_m=0.004):
    rng = np.random.default_rng(seed)
    return ViewBias(
        rng.normal(0, size_m, (21, 3, FEATURES)), np.full(21, 0.01), np.array([0.0, 0.02]), np.array([1.0, 3.0])
    )


@settings(max_examples=25)
@given(UNITS, arrays(float, 15, elements=st.floats(-0.5, 1.5)))
def test_the_left_hand_is_the_mirror_image(towards, flexion):
    bias = some_bias()
    right = bias.offsets_m(towards, flexion, "right")
    left = bias.offsets_m(towards * MIRROR_X, flexion, "left")
    np.testing.assert_allclose(left, right * MIRROR_X, atol=1e-12)


def test_a_keypoint_knows_the_bend_of_its_own_finger_only():
    towards = np.tile([0.0, 0.0, 1.0], (21, 1))
    straight, bent = features_of(towards, np.zeros(15)), features_of(towards, np.eye(15)[0])  # joint 1: index
    changed = np.flatnonzero((straight != bent).any(1))
    assert changed.tolist() == [5, 6, 7, 8]


def test_noise_grows_with_the_flesh_in_front():
    bias = some_bias()
    flesh = np.tile(np.array([0.0, 0.01, 0.02, 0.03, 0.5])[:, None], (1, 21))
    np.testing.assert_allclose(bias.noise_factor(flesh)[:, 0], [1, 1, 2, 3, 3])


def test_it_survives_json_and_refuses_what_does_not_fit():
    bias = some_bias()
    again = ViewBias.from_json(bias.to_json())
    np.testing.assert_array_equal(again.offset_m, bias.offset_m)
    document = bias.to_json()
    for name, wrong in (("offset_m", [[1.0]]), ("noise", [0.5, 1.0]), ("skin_m", [0.0]), ("depth_m", "x")):
        with pytest.raises(ValueError, match="ViewBias|could not convert"):
            ViewBias.from_json(document | {name: wrong})
    with pytest.raises(ValueError, match="depth_m"):
        ViewBias.from_json({name: value for name, value in document.items() if name != "depth_m"})


def test_the_measured_bias_is_of_the_size_of_skin():
    bias = load_view_bias()
    assert bias is not None and 1 < bias.noise.max() < 10 and bias.noise.min() == 1
    rng = np.random.default_rng(0)
    towards = rng.normal(size=(500, 21, 3))
    towards /= np.linalg.norm(towards, axis=2, keepdims=True)
    offsets = bias.offsets_m(towards, rng.uniform(0, 1.2, (500, 15)), "right")
    assert 0.0005 < np.linalg.norm(offsets, axis=2).mean() < 0.01  # metres


def test_flesh_before_keypoints_of_a_flat_hand(hand):
    rig = ring(4)
    posed = hand(natural_poses(hand, 1, np.random.default_rng(0)))
    vertices, keypoints = posed.vertices.numpy(), posed.keypoints.numpy()
    flesh = flesh_before(rig, vertices, hand.faces, keypoints)
    assert flesh.shape == (1, 4, 21) and (flesh >= 0).all()
    # Joints lie 4 to 15 mm below the skin that is nearest, so no camera can see one through less than 2 mm.
    # But for the wrist, which a camera behind the hand sees through the mesh's opening.
    joints = [k for k in range(1, 21) if k not in (4, 8, 12, 16, 20)]
    assert flesh[0, :, joints].min() > 0.002
    assert flesh[0].max() < 0.25  # metres: a hand is not longer
    far = flesh_before(rig, vertices + 5.0, hand.faces, keypoints)
    assert not far.any()  # the mesh is elsewhere: nothing is in front


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_fit_undoes_the_bias(side, rng):
    """Detections moved by a known bias: a fit that knows it finds the hand, one that does not is off."""
    model, rig, bias = HandModel.load("open", side), ring(6), some_bias(size_m=0.0025)
    pose = natural_poses(model, 4, rng)
    posed = model(pose)
    rotations = pose.rotations.numpy()
    moved = corrections_of(bias, rig, model, posed, rotations)
    seen_hands = []
    for i in range(len(pose)):
        views, pixels = [], []
        for v, camera in enumerate(rig):
            px = camera.project(posed.keypoints[i].numpy())[0] + moved.shift_px[i, v]
            views.append(ViewObservation(Detection(px, np.ones(21), 0.5), px, np.ones(21), 1.5))
            pixels.append(px)
        projections = np.stack([camera.ideal_px_from_world for camera in rig])
        found = triangulate(projections, np.stack(pixels), np.ones((len(rig), 21)), 20.0)
        seen_hands.append(MultiviewHand(i, tuple(views), found.points_world, np.ones(21, bool), 0.01))
    kinematics = kinematics_of("open", side, np.zeros((21, 3)))
    betas = pose.betas[0].numpy()
    assert torch.equal(pose.betas, pose.betas[:1].expand(len(pose), 10))
    plain = fit_poses(kinematics, rig, seen_hands, betas).hands()
    knowing = fit_poses(kinematics, rig, seen_hands, betas, bias).hands()
    truth = posed.keypoints.numpy()
    off_mm = [1e3 * np.linalg.norm(f.keypoints - truth, axis=2).mean() for f in (plain, knowing)]
    # The prior of poses leaves a few tenths. The bias itself is 4 mm a view, of which six views leave half.
    assert off_mm[1] < 0.8 and off_mm[1] < off_mm[0] / 2
    for v, camera in enumerate(rig):
        seen = np.stack([seen_hand.views[v].detection.keypoints_px for seen_hand in seen_hands])
        # 0.8 mm at 0.7 m and 800 px
        assert np.median(np.linalg.norm(knowing.expected_px(v, camera) - seen, axis=2)) < 1.0


def test_carriers_turn_with_the_bias(hand, rng):
    """The offset of a bent finger is given in the axes of the joint that carries the keypoint."""
    pose = natural_poses(hand, 1, rng)
    posed = hand(pose)
    constant = np.zeros((21, 3, FEATURES))
    constant[:, :, 0] = [0.003, 0.001, -0.002]
    bias = ViewBias(constant, np.full(21, 1.0), np.array([0.0, 1.0]), np.array([1.0, 1.0]))
    rig = ring(3)
    found = corrections_of(bias, rig, hand, posed, pose.rotations.numpy())
    carriers = posed.rotations[0].numpy()[list(KEYPOINT_CARRIERS)]
    expected = posed.keypoints[0].numpy() + carriers @ np.array([0.003, 0.001, -0.002])
    for v, camera in enumerate(rig):
        shift = camera.project(expected)[0] - camera.project(posed.keypoints[0].numpy())[0]
        np.testing.assert_allclose(found.shift_px[0, v], shift, atol=1e-6)
    assert (found.noise_factor == 1).all()


@pytest.mark.parametrize("side", ["left", "right"])
def test_corrections_are_what_the_bias_says_of_the_side_each_keypoint_is_seen_from(side, rng):
    """Keypoint by keypoint, in two frames and two cameras, one of which has a lens that distorts."""
    model, bias = HandModel.load("open", side), some_bias(seed=3)
    rig = ring(2, distortion=(-0.2, 0.05, 0.0, 0.0))
    pose = natural_poses(model, 2, rng)
    posed, rotations = model(pose), pose.rotations.numpy()
    found = corrections_of(bias, rig, model, posed, rotations)
    flesh = flesh_before(rig, posed.vertices.numpy(), model.faces, posed.keypoints.numpy())
    assert found.shift_px.shape == (2, 2, 21, 2) and found.noise_factor.shape == (2, 2, 21)
    for i in range(2):
        flexion = [model.arrays.joint_axes[j, 0] @ rotations[i, j + 1] for j in range(15)]
        keypoints = posed.keypoints[i].numpy()
        frames = posed.rotations[i].numpy()[list(KEYPOINT_CARRIERS)]
        for v, camera in enumerate(rig):
            towards = camera.center_world - keypoints
            towards /= np.linalg.norm(towards, axis=1, keepdims=True)
            local = np.stack([frame.T @ direction for frame, direction in zip(frames, towards, strict=True)])
            offsets = bias.offsets_m(local, np.array(flexion), side)
            moved = keypoints + np.stack([frame @ offset for frame, offset in zip(frames, offsets, strict=True)])
            there, here = (camera.ideal().project(points)[0] for points in (moved, keypoints))
            np.testing.assert_allclose(found.shift_px[i, v], there - here, atol=1e-6)
            np.testing.assert_allclose(found.noise_factor[i, v], bias.noise_factor(flesh[i, v]))


def first_hit(origin, direction, triangles):
    """How far along a ray of unit length the nearest of some triangles is; infinity: none (Moeller and Trumbore)."""
    a, edges = triangles[:, 0], triangles[:, 1:] - triangles[:, :1]
    system = np.concatenate([-np.broadcast_to(direction, (len(a), 1, 3)), edges], 1).transpose(0, 2, 1)
    system[np.abs(np.linalg.det(system)) < 1e-15] = np.nan
    with np.errstate(invalid="ignore"):
        distance, u, v = np.linalg.solve(system, (origin - a)[..., None])[..., 0].T
        hit = (distance > 0) & (u >= 0) & (v >= 0) & (u + v <= 1)
    return distance[hit].min(initial=np.inf)


def test_flesh_is_from_the_first_skin_on_the_line_of_sight_to_the_keypoint(hand, rng):
    rig = ring(2)
    posed = hand(natural_poses(hand, 2, rng))
    vertices, keypoints = posed.vertices.numpy(), posed.keypoints.numpy()
    found = flesh_before(rig, vertices, hand.faces, keypoints)
    for i in range(2):
        for v, camera in enumerate(rig):
            for k in (0, 3, 4, 6, 9, 13, 19, 20):
                line = keypoints[i, k] - camera.center_world
                length = np.linalg.norm(line)
                hit = first_hit(camera.center_world, line / length, vertices[i][hand.faces])
                # Rays are single precision: a few micrometres at 0.7 m.
                assert found[i, v, k] == pytest.approx(max(length - hit, 0), abs=1e-5)
