"""Rotations, rigid transforms and rays against what independent code says of them."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from handgen.geometry import rotations as turns
from handgen.geometry.meshes import Mesh, Tracer
from handgen.geometry.rigid import Rigid, is_rotation, nearest_rotation


def random_rotations(rng, count: int) -> np.ndarray:
    return Rotation.random(count, random_state=rng).as_matrix()


# Rotation vectors of every kind: none, tiny, ordinary, nearly half a turn about each axis.
def vectors(rng) -> np.ndarray:
    axes = np.concatenate([np.eye(3), -np.eye(3), rng.normal(size=(20, 3))])
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    return np.concatenate([axes * angle for angle in (0.0, 1e-7, 0.3, 2.0, np.pi - 1e-4)])


def test_axis_angles_are_scipys(rng):
    given = vectors(rng)
    rotation = turns.rotation_from_axis_angle(torch.tensor(given))
    np.testing.assert_allclose(rotation, Rotation.from_rotvec(given).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(turns.axis_angle_from_rotation(rotation), given, atol=1e-9)
    half = turns.axis_angle_from_rotation(torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)))
    np.testing.assert_allclose(half.abs(), [np.pi, 0, 0], atol=1e-12)


def test_cross_products(rng):
    a, b = rng.normal(size=(2, 5, 3))
    crossed = (turns.skew(torch.tensor(a)) @ torch.tensor(b)[..., None])[..., 0]
    np.testing.assert_allclose(crossed, np.cross(a, b), atol=1e-12)


def test_the_smallest_rotation_between_two_directions(rng):
    a, b = rng.normal(size=(2, 50, 3))
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b))
    b[:3] = -a[:3] + 0.5 * b[:3]  # well beyond a right angle
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    found = turns.rotation_between(torch.tensor(a), torch.tensor(b)).numpy()
    np.testing.assert_allclose((found @ a[..., None])[..., 0], b, atol=1e-9)
    angles = np.linalg.norm(Rotation.from_matrix(found).as_rotvec(), axis=1)
    np.testing.assert_allclose(angles, np.arccos((a * b).sum(1)), atol=1e-6)


def test_a_share_of_the_way_between_rotations(rng):
    first, second = (torch.tensor(random_rotations(rng, 10)) for _ in range(2))
    share = torch.tensor(rng.random(10))
    found = turns.interpolated_rotation(first, second, share).numpy()
    way = (Rotation.from_matrix(second) * Rotation.from_matrix(first).inv()).as_rotvec()
    expected = Rotation.from_rotvec(way * share.numpy()[:, None]) * Rotation.from_matrix(first)
    np.testing.assert_allclose(found, expected.as_matrix(), atol=1e-9)


@pytest.mark.parametrize("points", [4, 3])
def test_procrustes_is_kabschs_and_never_a_mirror(rng, points):
    true = random_rotations(rng, 20)
    source = rng.normal(size=(20, points, 3))
    source -= source.mean(1, keepdims=True)
    target = source @ true.swapaxes(1, 2)
    found = turns.procrustes_rotation(torch.tensor(source), torch.tensor(target)).numpy()
    np.testing.assert_allclose(found @ source.swapaxes(1, 2), target.swapaxes(1, 2), atol=1e-9)
    mirrored = target * [1, 1, -1] + 0.1 * rng.normal(size=target.shape)
    found = turns.procrustes_rotation(torch.tensor(source), torch.tensor(mirrored)).numpy()
    np.testing.assert_allclose(np.linalg.det(found), 1, atol=1e-9)
    for i in range(20):
        best, _ = Rotation.align_vectors(mirrored[i], source[i])
        np.testing.assert_allclose(found[i], best.as_matrix(), atol=1e-6)


def test_rotations_are_told_from_what_are_none(rng):
    good = random_rotations(rng, 3)
    for batch in (good, good[0]):
        assert is_rotation(batch) and is_rotation(batch * np.sqrt(1 + 0.9e-3))
        assert not is_rotation(batch * np.sqrt(1 + 1.1e-3))
        for bad in (2 * batch, -batch, batch[..., [1, 0, 2], :], batch + np.nan, batch[..., :2], batch + 0.01):
            assert not is_rotation(bad)
    assert not is_rotation(np.stack([good[0], -good[1]]))
    for row, other in ((0, 1), (0, 2), (1, 2)):  # any two rows that are not at right angles
        bent = good[0].copy()
        bent[row] = (bent[row] + 0.1 * bent[other]) / np.sqrt(1.01)
        assert not is_rotation(bent)
        long = good[0].copy()
        long[row] *= 1.01
        assert not is_rotation(long)
    assert not is_rotation(np.diag([1.0, 1.0, 1.01])) and not is_rotation(np.eye(3) * (1, 1, -1))
    assert is_rotation(good[0] + 1e-3, tolerance=1e-2) and not is_rotation(good[0], tolerance=0.0)


def test_the_nearest_rotation(rng):
    true = random_rotations(rng, 1)[0]
    np.testing.assert_allclose(nearest_rotation(3 * true), true, atol=1e-12)
    for matrix in (true + 0.1 * rng.normal(size=(3, 3)), true * [1, 1, -1]):
        found = nearest_rotation(matrix)
        assert is_rotation(found, 1e-9)
        others = found @ Rotation.from_rotvec(0.05 * rng.normal(size=(50, 3))).as_matrix()
        assert (np.linalg.norm(found - matrix) <= np.linalg.norm(others - matrix, axis=(1, 2)) + 1e-12).all()


def test_rigid_transforms_are_their_matrices(rng):
    a = Rigid(random_rotations(rng, 4), rng.normal(size=(4, 3)))
    b = Rigid(random_rotations(rng, 4), rng.normal(size=(4, 3)))
    np.testing.assert_allclose((a @ b).as_matrix(), a.as_matrix() @ b.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(a.inverse().as_matrix(), np.linalg.inv(a.as_matrix()), atol=1e-12)
    np.testing.assert_array_equal(Rigid.from_matrix(a.as_matrix()).as_matrix(), a.as_matrix())
    points = rng.normal(size=(7, 3))
    one = Rigid(a.rotation[0], a.translation[0])
    homogeneous = np.column_stack([points, np.ones(7)]) @ a.as_matrix()[0].T
    np.testing.assert_allclose(one.apply(points), homogeneous[:, :3], atol=1e-12)
    np.testing.assert_array_equal(Rigid.identity().apply(points), points)
    with pytest.raises(ValueError, match=r"expected \(\*batch, 3, 3\)"):
        Rigid(np.eye(3), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="not orthonormal"):
        Rigid(np.eye(3), np.array([0.0, np.inf, 0.0]))


def test_rays_hit_the_nearest_triangle_where_they_should():
    """Two squares, one metre and two metres away, of two triangles each."""
    square = np.array([[-1.0, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]])
    mesh = Mesh(np.concatenate([square, square + (0, 0, 1)]), np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]]))
    np.testing.assert_allclose(mesh.face_normals, [[0, 0, 1]] * 4)
    tracer, origin = Tracer(mesh), np.zeros((1, 3))
    directions = np.array([[0.5, -0.2, 1.0], [-0.5, 0.2, 1.0], [3.0, 0, 1.0], [0, 0, -1.0], [0.75, 0.5, 0.5]])
    hits = tracer.first(origin, directions)
    assert hits.found.tolist() == [True, True, False, False, False]
    assert hits.face.tolist()[:2] == [0, 1] and hits.face.tolist()[2:] == [0, 0, 0]
    np.testing.assert_allclose(hits.distance, [1, 1, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(tracer.first(origin, directions / 2.5).distance, [2.5, 2.5, 0, 0, 0], atol=1e-6)
    corners = mesh.vertices[mesh.faces[hits.face[:2]]]
    there = (hits.barycentric[:2, :, None] * corners).sum(1)
    np.testing.assert_allclose(there, directions[:2], atol=1e-6)
    np.testing.assert_array_equal(hits.barycentric[2], [1, 0, 0])
    assert tracer.first(np.array([[0, 0, 1.5]]), directions[:1]).face.tolist() == [2]
    assert tracer.blocked(origin, directions, 1.1).tolist() == [True, True, False, False, False]
    assert not tracer.blocked(origin, directions, 0.9).any()


def test_gradients_flow_after_a_first_call_in_inference_mode():
    """The constants are cached: made in inference mode, they could be in no graph afterwards."""
    turns._constants.cache_clear()
    with torch.inference_mode():
        turns.rotation_from_axis_angle(torch.zeros(3))
    axis_angle = torch.full((3,), 0.1, requires_grad=True)
    turns.rotation_from_axis_angle(axis_angle).sum().backward()
    assert torch.isfinite(axis_angle.grad).all()


def test_axis_angles_of_any_batch_and_any_turn(rng):
    """One, many and many of many; beyond half a turn; the longest quaternion's part is each of the four."""
    given = rng.normal(size=(3, 40, 3)) * rng.uniform(0, 4, (3, 40, 1))
    for vectors in (given, given[0], given[0, 0]):
        rotation = turns.rotation_from_axis_angle(torch.tensor(vectors))
        expected = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(*vectors.shape, 3)
        np.testing.assert_allclose(rotation, expected, atol=1e-12)
        back = Rotation.from_matrix(expected.reshape(-1, 3, 3)).as_rotvec().reshape(vectors.shape)
        np.testing.assert_allclose(turns.axis_angle_from_rotation(rotation), back, atol=1e-8)
        np.testing.assert_allclose(
            turns.skew(torch.tensor(vectors)) @ np.array([1.0, 2.0, 3.0]), np.cross(vectors, [1.0, 2.0, 3.0])
        )
    tiny = torch.tensor([[1e-9, -2e-9, 3e-9], [1e-13, 0, 0], [0, 0, 0]], dtype=torch.float64)
    np.testing.assert_allclose(
        turns.axis_angle_from_rotation(turns.rotation_from_axis_angle(tiny)), tiny, rtol=1e-6, atol=1e-12
    )


def test_exponential_has_slopes_at_zero():
    for vector in (torch.zeros(3), torch.tensor([0.3, -0.2, 0.9])):
        found = torch.autograd.functional.jacobian(turns.rotation_from_axis_angle, vector.double())
        assert found.isfinite().all()
        for k in range(3):
            step = 1e-6 * torch.eye(3, dtype=torch.float64)[k]
            ahead, behind = (turns.rotation_from_axis_angle(vector.double() + s * step) for s in (1, -1))
            torch.testing.assert_close(found[..., k], (ahead - behind) / 2e-6, atol=1e-8, rtol=0)


def test_logarithm_has_slopes_at_no_turn():
    def there_and_back(vector):
        return turns.axis_angle_from_rotation(turns.rotation_from_axis_angle(vector))

    found = torch.autograd.functional.jacobian(there_and_back, torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(found, torch.eye(3, dtype=torch.float64), atol=1e-9, rtol=0)


def test_shares_and_pairs_of_any_batch(rng):
    first, second = (torch.tensor(random_rotations(rng, 6).reshape(2, 3, 3, 3)) for _ in range(2))
    share = torch.tensor(rng.random((2, 1)))
    found = turns.interpolated_rotation(first, second, share)
    for i in range(2):
        for j in range(3):
            way = Rotation.from_matrix(second[i, j].numpy() @ first[i, j].numpy().T).as_rotvec()
            expected = Rotation.from_rotvec(float(share[i, 0]) * way).as_matrix() @ first[i, j].numpy()
            np.testing.assert_allclose(found[i, j], expected, atol=1e-9)
    np.testing.assert_allclose(turns.interpolated_rotation(first, second, 0 * share), first, atol=1e-9)
    np.testing.assert_allclose(turns.interpolated_rotation(first, second, 0 * share + 1), second, atol=1e-9)
    source, target = rng.normal(size=(2, 2, 3, 5, 3))
    found = turns.procrustes_rotation(torch.tensor(source), torch.tensor(target))
    for i in range(2):
        for j in range(3):
            best, _ = Rotation.align_vectors(target[i, j], source[i, j])
            np.testing.assert_allclose(found[i, j], best.as_matrix(), atol=1e-6)


def test_turns_between_directions_of_any_angle(rng):
    """To within 4 degrees of half a turn, where the axis is hardly told; beyond, only finite."""
    a = np.array([0.6, 0.0, 0.8])
    for degrees in (0.0, 1e-6, 30.0, 90.0, 150.0, 176.0):
        b = Rotation.from_rotvec(np.radians(degrees) * np.array([0.8, 0.0, -0.6])).apply(a)
        found = turns.rotation_between(torch.tensor(a), torch.tensor(b)).numpy()
        expected = Rotation.from_rotvec(np.radians(degrees) * np.array([0.8, 0.0, -0.6])).as_matrix()
        np.testing.assert_allclose(found, expected, atol=1e-9)
    assert turns.rotation_between(torch.tensor(a), torch.tensor(-a)).isfinite().all()


def test_one_matrix_and_a_batch_of_it_are_judged_alike(rng):
    """Random matrices a little off: rows' products off by less than a thousandth, and no mirror."""
    verdicts = []
    for true in random_rotations(rng, 600):
        matrix = true + rng.choice([1e-4, 3e-4, 1e-3]) * rng.normal(size=(3, 3)) * (rng.random((3, 3)) < 0.4)
        matrix = matrix * rng.choice([-1, 1], p=[0.1, 0.9])
        expected = bool(np.abs(matrix @ matrix.T - np.eye(3)).max() < 1e-3 and np.linalg.det(matrix) > 0)
        assert is_rotation(matrix) == is_rotation(matrix[None]) == is_rotation(matrix[None, None]) == expected
        assert is_rotation(np.stack([true, matrix])) == expected
        verdicts.append(expected)
    assert 0.2 < np.mean(verdicts) < 0.8
    for wrong in (np.eye(4), np.eye(3)[:2], np.ones((5, 3, 2)), np.full((2, 3, 3), np.inf)):
        assert not is_rotation(wrong)


def test_what_is_no_transform_is_refused(rng):
    rotations = random_rotations(rng, 2)
    Rigid(rotations, np.zeros((2, 3)))
    for rotation, translation, message in (
        (rotations, np.zeros(3), "expected"),
        (rotations[..., :2], np.zeros((2, 3)), "expected"),
        (rotations[0], np.zeros(2), "expected"),
        (rotations, np.array([[0, 0, 0], [0, np.nan, 0]]), "not finite"),
        (rotations[0], np.array([0, 0, np.nan]), "not finite"),
        (np.stack([rotations[0], 1.1 * rotations[1]]), np.zeros((2, 3)), "orthonormal"),
    ):
        with pytest.raises(ValueError, match=message):
            Rigid(rotation, translation)


def test_transforms_of_any_batch(rng):
    a, b = (Rigid(random_rotations(rng, 6).reshape(2, 3, 3, 3), rng.normal(size=(2, 3, 3))) for _ in range(2))
    assert a.as_matrix().shape == (2, 3, 4, 4)
    np.testing.assert_allclose((a @ b).as_matrix(), a.as_matrix() @ b.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(a.inverse().as_matrix(), np.linalg.inv(a.as_matrix()), atol=1e-12)
    one = Rigid(a.rotation[1, 2], a.translation[1, 2])
    points = rng.normal(size=(4, 5, 3))
    expected = np.einsum("ab,ijb->ija", one.rotation, points) + one.translation
    np.testing.assert_allclose(one.apply(points), expected, atol=1e-12)
    np.testing.assert_allclose((one @ one.inverse()).as_matrix(), np.eye(4), atol=1e-12)
    np.testing.assert_array_equal(Rigid.identity().as_matrix(), np.eye(4))
