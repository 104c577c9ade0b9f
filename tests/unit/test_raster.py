import numpy as np
import pytest

from handgen.geometry.meshes import mesh_mask

TRIANGLE = np.array([[0, 1, 2]])


def grid(width, height):
    y, x = np.mgrid[:height, :width]
    return x, y


def covered(vertices, faces, x, y):
    """Pixel centres in the union, one triangle at a time: slow and plain."""
    inside = np.zeros(x.shape, bool)
    for triangle in vertices[faces]:
        a, b, c = triangle
        sides = [(q[0] - p[0]) * (y - p[1]) - (q[1] - p[1]) * (x - p[0]) for p, q in ((a, b), (b, c), (c, a))]
        inside |= np.all([s >= 0 for s in sides], 0) | np.all([s <= 0 for s in sides], 0)
    return inside


def test_rectangle_covers_exactly_its_pixel_centres():
    vertices = np.array([[1.5, 2.5], [7.5, 2.5], [7.5, 5.5], [1.5, 5.5]])
    mask = mesh_mask(vertices, np.array([[0, 1, 2], [0, 2, 3]]), (12, 9))
    x, y = grid(12, 9)
    expected = (x >= 2) & (x <= 7) & (y >= 3) & (y <= 5)
    assert mask.dtype == np.uint8 and mask.shape == (9, 12)
    np.testing.assert_array_equal(mask, expected * 255)


def test_disc_has_the_area_of_a_disc():
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    vertices = np.concatenate([[[50.3, 49.8]], [50.3, 49.8] + 40 * np.stack([np.cos(angle), np.sin(angle)], 1)])
    ring = np.arange(1, 201)
    faces = np.stack([np.zeros(200, int), ring, np.roll(ring, -1)], 1)
    mask = mesh_mask(vertices, faces, (100, 100))
    x, y = grid(100, 100)
    radius = np.hypot(x - 50.3, y - 49.8)
    assert mask[radius < 39.9].all()  # no cracks between the slices
    assert not mask[radius > 40].any()
    assert (mask > 0).sum() == pytest.approx(np.pi * 40**2, rel=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_overlapping_triangles_of_either_winding_make_a_union_without_holes(seed):
    rng = np.random.default_rng(seed)
    vertices = rng.uniform(-10, 50, (40, 2))
    faces = rng.integers(0, 40, (60, 3))
    faces = faces[[len(set(face)) == 3 for face in faces]]
    x, y = grid(40, 40)
    np.testing.assert_array_equal(mesh_mask(vertices, faces, (40, 40)) > 0, covered(vertices, faces, x, y))


def test_the_same_triangle_twice_is_the_triangle():
    vertices = np.array([[2.2, 3.1], [17.4, 5.0], [8.0, 16.7]])
    once = mesh_mask(vertices, TRIANGLE, (20, 20))
    twice = mesh_mask(vertices, np.array([[0, 1, 2], [0, 2, 1]]), (20, 20))
    np.testing.assert_array_equal(once, twice)


def test_points_far_outside_and_not_finite():
    huge = np.array([[-1e9, -1e9], [1e9, -1e9], [0.0, 1e9]])
    assert mesh_mask(huge, TRIANGLE, (8, 6)).all()
    assert not mesh_mask(huge + 1e10, TRIANGLE, (8, 6)).any()
    vertices = np.array([[1.0, 1], [6, 1], [1, 6], [np.nan, 3]])
    mask = mesh_mask(vertices, np.array([[0, 1, 2], [0, 1, 3]]), (8, 8))
    np.testing.assert_array_equal(mask, mesh_mask(vertices[:3], TRIANGLE, (8, 8)))
    assert mask.any()
    assert not mesh_mask(vertices, np.zeros((0, 3), int), (8, 8)).any()


def test_a_wrong_shape_is_named():
    with pytest.raises(ValueError, match=r"expected \(n, 2\)"):
        mesh_mask(np.zeros((4, 3)), TRIANGLE, (8, 8))
