"""The bundled open hand is a MANO hand: right shapes, sound mesh, plausible people, mirrored sides."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from handgen.hand.skeleton import FINGER_JOINTS, JOINT_PARENTS, SIDES, TIP_VERTICES, VERTEX_COUNT

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "handgen" / "hand" / "data"
sys.path.insert(0, str(ROOT / "scripts"))

from hand_model.anatomy import rotations_from_angles  # noqa: E402
from hand_model.decimate import triangle_angles  # noqa: E402
from hand_model.kinematics import skin, skinning_transforms  # noqa: E402
from hand_model.mesh_checks import capped, crossing_pairs, depths_inside, volume  # noqa: E402
from hand_model.proportions import BONE_DEVIATIONS_MM, BONES_MM  # noqa: E402
from hand_model.storage import mirror_hand, save_npz  # noqa: E402

EXTREMES = [(k, amount) for k in range(10) for amount in (-3.0, 3.0)]
CURL = np.array([1.0, 0.0, 0.0])


@pytest.fixture(scope="module", params=SIDES)
def hand(request):
    return dict(np.load(DATA / f"open_hand_{request.param}.npz"))


@pytest.fixture(scope="module")
def right():
    return dict(np.load(DATA / "open_hand_right.npz"))


def shaped(hand, component, amount):
    vertices = hand["v_template"] + amount * hand["shapedirs"][:, :, component]
    return vertices, hand["J_regressor"] @ vertices


def finger_girths(hand, vertices, joints):
    """Breadth and depth of each finger in the middle of its middle bone: (4, 2), metres."""
    girths = []
    for finger in ("index", "middle", "ring", "pinky"):
        _, second, third = FINGER_JOINTS[finger]
        along = joints[third] - joints[second]
        share = (hand["v_template"] - hand["J"][second]) @ (hand["J"][third] - hand["J"][second])
        share /= ((hand["J"][third] - hand["J"][second]) ** 2).sum()
        ring = (hand["weights"][:, second] > 0.3) & (share > -0.1) & (share < 1.1)
        across = np.cross(along / np.linalg.norm(along), [0.0, 1.0, 0.0])
        girths.append([np.ptp(vertices[ring] @ across), np.ptp(vertices[ring][:, 1])])
    return np.array(girths)


def posed(hand, rotations):
    """Vertices by MANO's equations; rotations (15, 3, 3)."""
    rest = hand["v_template"] + hand["posedirs"] @ (rotations - np.eye(3)).reshape(-1)
    joints = hand["J_regressor"].astype(float) @ hand["v_template"]
    transforms, _ = skinning_transforms(joints, np.concatenate([np.eye(3)[None], rotations]))
    return skin(rest, hand["weights"], transforms)


def test_shapes_are_those_of_mano(hand):
    expected = {
        "v_template": (VERTEX_COUNT, 3),
        "shapedirs": (VERTEX_COUNT, 3, 10),
        "posedirs": (VERTEX_COUNT, 3, 135),
        "J_regressor": (16, VERTEX_COUNT),
        "weights": (VERTEX_COUNT, 16),
        "kintree_table": (2, 16),
        "hands_components": (45, 45),
        "hands_mean": (45,),
        "joint_axes": (15, 3, 3),
        "joint_limits_rad": (15, 3, 2),
    }
    assert {key: hand[key].shape for key in expected} == expected
    assert hand["f"].max() == VERTEX_COUNT - 1
    assert tuple(hand["kintree_table"][0, 1:]) == JOINT_PARENTS[1:]


def test_smplx_loads_it_and_agrees_with_our_equations(hand):
    smplx = pytest.importorskip("smplx")
    model = smplx.MANO(
        model_path=".",
        data_struct=smplx.utils.Struct(**hand),
        is_rhand=str(hand["side"]) == "right",
        use_pca=False,
        flat_hand_mean=True,
        dtype=torch.float64,
    )
    pose = np.random.default_rng(0).normal(0, 0.4, (15, 3))
    output = model(
        betas=torch.zeros(1, 10, dtype=torch.float64),
        hand_pose=torch.tensor(pose.reshape(1, 45)),
        global_orient=torch.zeros(1, 3, dtype=torch.float64),
    )
    vertices = output.vertices[0].detach().numpy()
    assert vertices.shape == (VERTEX_COUNT, 3)
    assert np.abs(vertices - posed(hand, Rotation.from_rotvec(pose).as_matrix())).max() < 1e-6


def test_fingertip_vertices_are_the_most_distal(hand):
    for finger, vertex in TIP_VERTICES.items():
        last = FINGER_JOINTS[finger][2]
        bone = hand["v_template"][vertex] - hand["J"][last]
        reach = (hand["v_template"] - hand["J"][last]) @ bone / np.linalg.norm(bone)
        own = hand["weights"][:, last] > 0.5
        assert reach[own].max() - reach[vertex] < 1e-3  # a vertex lies within a millimetre of the very tip


def test_weights_and_regressor_are_averages(hand):
    for matrix in (hand["weights"], hand["J_regressor"]):
        assert matrix.min() >= 0
        np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(hand["J"], hand["J_regressor"] @ hand["v_template"], atol=1e-6)


def test_mesh_is_sound(hand):
    mesh = capped(hand["v_template"], hand["f"])
    assert mesh.is_watertight and mesh.is_winding_consistent
    assert 250e-6 < mesh.volume < 450e-6  # cubic metres; also says that faces look outwards
    assert np.degrees(np.percentile(triangle_angles(hand["v_template"], hand["f"]).min(1), 1)) >= 15


def test_joints_lie_inside_for_every_shape(hand):
    assert capped(hand["v_template"], hand["f"]).contains(hand["J"]).all()
    for component, amount in EXTREMES:
        vertices, joints = shaped(hand, component, amount)
        assert capped(vertices, hand["f"]).contains(joints).all(), (component, amount)


def test_betas_are_orthogonal_and_the_first_is_size(hand):
    flat = hand["shapedirs"].reshape(-1, 10).astype(float)
    gram = flat.T @ flat
    assert np.abs(gram - np.diag(np.diag(gram))).max() < 1e-4 * gram.max()
    assert (np.diff(np.diag(gram)) <= 0).all()
    big, _ = shaped(hand, 0, 1.0)
    assert np.ptp(big[:, 0]) > np.ptp(hand["v_template"][:, 0])


def test_extra_directions_lie_outside_the_betas_and_stay_small(hand):
    betas = hand["shapedirs"].reshape(-1, 10).astype(float)
    extra = hand["shapedirs_extra"].reshape(VERTEX_COUNT * 3, -1).astype(float)
    cosines = (betas / np.linalg.norm(betas, axis=0)).T @ (extra / np.linalg.norm(extra, axis=0))
    assert extra.shape[1] == 20
    assert np.abs(cosines).max() < 0.01
    sizes = np.linalg.norm(hand["shapedirs_extra"], axis=1).max(0)
    assert (sizes > 5e-5).all() and (sizes < 0.003).all()


def test_size_is_that_of_adults(hand):
    def length(vertices):
        joints = hand["J_regressor"] @ vertices
        return np.linalg.norm(vertices[TIP_VERTICES["middle"]] - joints[0])

    lengths = [length(shaped(hand, 0, amount)[0]) for amount in (-1.0, 0.0, 1.0)]
    assert 0.178 < lengths[1] < 0.188
    assert 0.008 < (lengths[2] - lengths[0]) / 2 < 0.012
    assert 0.085 < np.linalg.norm(hand["J"][FINGER_JOINTS["middle"][0]] - hand["J"][0]) < 0.100


def test_fingers_keep_their_thickness_for_extreme_betas(hand):
    mean = finger_girths(hand, hand["v_template"], hand["J"])
    assert (mean > 0.010).all() and (mean < 0.024).all()
    for component, amount in EXTREMES:
        girths = finger_girths(hand, *shaped(hand, component, amount))
        assert (girths / mean > 0.6).all() and (girths / mean < 1.5).all(), (component, amount)


def test_faces_do_not_turn_over_for_extreme_betas(hand):
    def normals(vertices):
        corner = vertices[hand["f"]]
        normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
        return normal / np.linalg.norm(normal, axis=1, keepdims=True)

    mean = normals(hand["v_template"])
    for component, amount in EXTREMES:
        assert ((normals(shaped(hand, component, amount)[0]) * mean).sum(1) > 0).all(), (component, amount)


def test_positive_flexion_curls_towards_the_palm(hand):
    for finger in ("index", "middle", "ring", "pinky"):
        angles = np.zeros((15, 3))
        angles[[joint - 1 for joint in FINGER_JOINTS[finger]], 0] = 0.5
        tip = posed(hand, rotations_from_angles(angles, hand["joint_axes"]))[TIP_VERTICES[finger]]
        assert tip[1] < hand["v_template"][TIP_VERTICES[finger], 1] - 0.03


def test_positive_abduction_moves_fingers_to_the_thumb(hand):
    angles = np.zeros((15, 3))
    angles[[FINGER_JOINTS[finger][0] - 1 for finger in ("index", "middle", "ring", "pinky")], 1] = 0.2
    tips = [TIP_VERTICES[finger] for finger in ("index", "middle", "ring", "pinky")]
    moved = posed(hand, rotations_from_angles(angles, hand["joint_axes"]))[tips]
    assert (moved[:, 2] - hand["v_template"][tips, 2] > 0.01).all()


@pytest.mark.parametrize("finger", FINGER_JOINTS)
def test_bending_one_joint_neither_collapses_nor_pierces_the_skin(right, finger):
    rest, faces = right["v_template"], right["f"].astype(int)
    for joint in FINGER_JOINTS[finger]:
        angles = np.zeros((15, 3))
        most = right["joint_limits_rad"][joint - 1, 0, 1]
        angles[joint - 1, 0] = min(most, np.pi / 2) if finger == "thumb" else np.pi / 2
        bent = posed(right, rotations_from_angles(angles, right["joint_axes"]))
        assert abs(volume(bent, faces) / volume(rest, faces) - 1) < 0.02
        assert len(crossing_pairs(bent, faces)) <= 6
        assert depths_inside(bent, faces).max() < 0.001


def test_bones_have_measured_lengths(right):
    for finger, joints in FINGER_JOINTS.items():
        points = np.vstack([right["J"][list(joints)], right["v_template"][TIP_VERTICES[finger]]])
        lengths = 1e3 * np.linalg.norm(np.diff(points, axis=0), axis=1)
        metacarpal, proximal, middle, distal, pulp = BONES_MM[finger]
        first = (metacarpal, proximal) if finger == "thumb" else (proximal, middle)
        kinds = (0, 1, 3) if finger == "thumb" else (1, 2, 3)
        deviations = np.array(BONE_DEVIATIONS_MM[finger])[list(kinds)]
        assert (np.abs(lengths - [*first, distal + pulp]) < 2 * deviations).all(), (finger, lengths)


def test_crossing_triangles_are_found_and_neighbours_are_not():
    flat = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])
    needle = np.array([[0.2, 0.2, -1], [0.2, 0.2, 1], [0.3, 0.2, 1]])
    faces = np.array([[0, 1, 2], [1, 3, 2], [4, 5, 6]])
    assert crossing_pairs(np.vstack([flat, needle]), faces).tolist() == [[0, 2]]
    assert not len(crossing_pairs(np.vstack([flat, needle + [0, 0, 5]]), faces))


def test_a_fist_keeps_most_of_its_volume(hand):
    angles = np.zeros((15, 3))
    for finger in ("index", "middle", "ring", "pinky"):
        angles[[joint - 1 for joint in FINGER_JOINTS[finger]], 0] = np.radians([85, 95, 60])
    fist = capped(posed(hand, rotations_from_angles(angles, hand["joint_axes"])), hand["f"])
    assert 0.93 < fist.volume / capped(hand["v_template"], hand["f"]).volume < 1.05


def test_axes_are_right_handed_frames_and_limits_ranges(hand):
    axes = hand["joint_axes"].astype(float)
    np.testing.assert_allclose(axes @ axes.transpose(0, 2, 1), np.tile(np.eye(3), (15, 1, 1)), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(axes), 1, atol=1e-5)
    assert (hand["joint_limits_rad"][:, :, 0] < 0).all() and (hand["joint_limits_rad"][:, :, 1] > 0).all()


def test_pose_components_are_a_basis(hand):
    components = hand["hands_components"].astype(float)
    np.testing.assert_allclose(components @ components.T, np.eye(45), atol=1e-5)


def test_left_is_the_mirror_image_in_every_pose(right):
    left = dict(np.load(DATA / "open_hand_left.npz"))
    mirror = np.array([-1, 1, 1])
    np.testing.assert_array_equal(left["v_template"], right["v_template"] * mirror)
    angles = np.random.default_rng(1).uniform(*right["joint_limits_rad"].transpose(2, 0, 1))
    poses = [posed(hand, rotations_from_angles(angles, hand["joint_axes"].astype(float))) for hand in (left, right)]
    assert np.abs(poses[0] - poses[1] * mirror).max() < 1e-5
    again = mirror_hand(right)
    assert all(np.array_equal(again[key], left[key]) for key in left)


@pytest.mark.parametrize("side", SIDES)
def test_surface_moves_with_the_mano_mesh(side):
    hand = dict(np.load(DATA / f"open_hand_{side}.npz"))
    surface = dict(np.load(DATA / f"open_hand_surface_{side}.npz"))
    chosen = surface["mano_vertices"]
    pairs = {"vertices": "v_template", "weights": "weights", "posedirs": "posedirs"}
    pairs |= {key: key for key in ("shapedirs", "shapedirs_extra")}
    for ours, manos in pairs.items():
        np.testing.assert_array_equal(surface[ours][chosen], hand[manos])
    assert surface["faces"].shape == surface["faces_uv"].shape
    assert surface["faces_uv"].max() == len(surface["uv"]) - 1
    nails = surface["nail_mask"]
    assert nails.min() >= 0 and nails.max() <= 1
    outer = [FINGER_JOINTS[finger][2] for finger in TIP_VERTICES]
    on_nail = nails > 0.5
    assert all((on_nail & (surface["weights"][:, joint] > 0.5)).sum() >= 5 for joint in outer)


def test_saved_bytes_depend_on_the_arrays_alone(tmp_path, right):
    save_npz(tmp_path / "a.npz", right)
    save_npz(tmp_path / "b.npz", {key: array.copy(order="F") for key, array in right.items()})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    loaded = dict(np.load(tmp_path / "a.npz"))
    assert all(np.array_equal(loaded[key], right[key]) for key in right)
