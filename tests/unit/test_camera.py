import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.cameras import in_units, look_at, ring

from handgen.geometry.camera import Camera, Rig, resampling_maps
from handgen.geometry.rigid import Rigid

LENSES = {
    "pinhole": ("pinhole", ()),
    "five": ("pinhole", (-0.33, 0.046, -0.004, 0.004, 0.067)),
    "eight": ("pinhole", (0.2, -0.1, 0.001, -0.001, 0.02, 0.15, -0.05, 0.01)),
    "tilted": ("pinhole", (0.1, -0.05, 0.001, -0.001, 0.01, 0, 0, 0, 0.001, 0, -0.001, 0, 0.02, -0.01)),
    "fisheye": ("fisheye", (0.05, -0.01, 0.002, -0.0005)),
}


def camera_with(lens: str) -> Camera:
    kind, distortion = LENSES[lens]
    intrinsics = np.array([[900.0, 0, 630], [0, 905.0, 350], [0, 0, 1]])
    return Camera("cam", (1280, 720), intrinsics, np.array(distortion, float), kind)


@pytest.mark.parametrize("lens", LENSES)
@settings(max_examples=25)
@given(x=st.floats(-0.4, 0.4), y=st.floats(-0.25, 0.25), z=st.floats(0.2, 3))
def test_undistort_inverts_the_lens(lens, x, y, z):
    camera = camera_with(lens)
    point = np.array([x * z, y * z, z])
    pixel, visible = camera.project_cam(point)
    ideal, valid = camera.undistort(pixel)
    assert visible and valid
    expected, _ = camera.ideal().project_cam(point)
    np.testing.assert_allclose(ideal, expected, atol=1e-4)  # px; the Newton steps end below 1e-3 px of distorted pixels


def test_projection_is_opencvs():
    import cv2

    camera = camera_with("eight")
    points = np.random.default_rng(0).uniform((-0.2, -0.1, 0.5), (0.2, 0.1, 1.0), (50, 3))
    expected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), camera.intrinsics, camera.distortion)
    np.testing.assert_allclose(camera.project_cam(points)[0], expected[:, 0], atol=1e-9)


def test_points_behind_and_outside_are_invalid():
    camera = camera_with("five")
    points = np.array([[0, 0, 1.0], [0, 0, -1.0], [0, 0, 0.0], [5.0, 0, 1.0]])
    pixels, valid = camera.project_cam(points)
    assert valid.tolist() == [True, False, False, False]
    assert np.isfinite(pixels).all()


def test_a_polynomial_that_turns_back_does_not_fold_far_points_into_the_image():
    camera = Camera(
        "cam", (1280, 720), np.array([[900.0, 0, 640], [0, 900, 360], [0, 0, 1]]), np.array([-0.35, 0, 0, 0])
    )
    slope = 1.6  # beyond the turning point at 0.976 the image comes back to where 0.18 lies
    pixel, valid = camera.project_cam(np.array([slope, 0, 1.0]))
    assert camera.contains(pixel) and not valid
    _, valid = camera.project_cam(np.array([[0.97, 0, 1.0], [0.979, 0, 1.0], [0, -0.979, 1.0]]))
    assert valid.tolist() == [True, False, False]


@settings(max_examples=30)
@given(left=st.integers(-50, 300), top=st.integers(-50, 200), scale=st.floats(0.3, 2.5))
def test_crop_and_resize_move_the_projection_with_the_pixels(left, top, scale):
    camera = camera_with("five").ideal()
    point = np.array([0.05, -0.03, 0.8])
    pixel, _ = camera.project_cam(point)
    cropped = camera.cropped(left, top, 400, 300)
    np.testing.assert_allclose(cropped.project_cam(point)[0], pixel - (left, top), atol=1e-9)
    size = (max(1, round(400 * scale)), max(1, round(300 * scale)))
    expected = (pixel - (left, top) + 0.5) * np.array(size) / (400, 300) - 0.5  # pixel centres at integers
    np.testing.assert_allclose(cropped.resized(size).project_cam(point)[0], expected, atol=1e-9)


@pytest.mark.parametrize("lens", LENSES)
def test_resampling_maps_say_where_the_source_sees_a_target_pixel(lens):
    source = camera_with(lens)
    turn = np.array([[np.cos(0.1), 0, np.sin(0.1)], [0, 1, 0], [-np.sin(0.1), 0, np.cos(0.1)]])
    target = Camera(
        "t",
        (120, 90),
        np.array([[800.0, 0, 60], [0, 800, 45], [0, 0, 1]]),
        cam_from_world=Rigid(turn, np.zeros(3)),
    )
    map_x, map_y = resampling_maps(target, source)
    point = target.cam_from_world.inverse().apply(np.array([0.01, 0.02, 0.7]))
    pixel, _ = target.project(point)
    x, y = np.round(pixel).astype(int)
    ray = np.linalg.inv(target.intrinsics) @ (x, y, 1)
    expected, _ = source.project(target.cam_from_world.inverse().apply(ray))
    np.testing.assert_allclose((map_x[y, x], map_y[y, x]), expected, atol=0.01)  # px, of the interpolated map


def test_rig_scaling_keeps_pixels(rig, rng):
    points = rng.uniform(-0.05, 0.05, (10, 3))
    squares = in_units(rig, 0.024)
    for camera, mine in zip(squares, rig, strict=True):
        np.testing.assert_allclose(camera.project(points / 0.024)[0], mine.project(points)[0], atol=1e-9)
    np.testing.assert_allclose(squares.in_metres(0.024).project(points)[0], rig.project(points)[0], atol=1e-9)
    assert not hasattr(squares, "project") and not isinstance(squares, Rig)
    assert rig.baselines_m().shape == (4, 4)


@pytest.mark.parametrize(
    "change",
    [
        {"intrinsics": np.full((3, 3), np.nan)},
        {"intrinsics": np.diag([-1.0, 1, 1])},
        {"intrinsics": np.diag([0.0, 1, 1])},
        {"intrinsics": np.diag([1.0, 0, 1])},
        {"distortion": np.zeros(3)},
        {"distortion": np.array([np.inf, 0, 0, 0])},
        {"size_px": (0, 10)},
        {"lens": "mirror"},
    ],
)
def test_bad_cameras_are_refused(change):
    good = {"name": "c", "size_px": (10, 10), "intrinsics": np.diag([5.0, 5, 1])}
    Camera(**good)
    Camera(**(good | {"intrinsics": np.diag([0.5, 0.5, 1]), "size_px": (1, 1)}))
    with pytest.raises(ValueError, match="camera c"):
        Camera(**(good | change))


def test_rigid_laws(rng):
    a, b = (look_at("c", rng.normal(size=3) + 2, np.zeros(3)).cam_from_world for _ in range(2))
    points = rng.normal(size=(5, 3))
    np.testing.assert_allclose((a @ b).apply(points), a.apply(b.apply(points)), atol=1e-12)
    np.testing.assert_allclose((a @ a.inverse()).as_matrix(), np.eye(4), atol=1e-12)
    np.testing.assert_allclose(Rigid.from_matrix(a.as_matrix()).apply(points), a.apply(points), atol=1e-12)
    with pytest.raises(ValueError, match="orthonormal"):
        Rigid(np.diag([1.0, 1, -1]), np.zeros(3))


def test_ring_cameras_see_the_origin():
    pixels, valid = ring(6).project(np.zeros((1, 3)))
    assert valid.all()
    np.testing.assert_allclose(pixels[:, 0], np.tile((319.5, 239.5), (6, 1)), atol=1e-6)


def test_the_image_reaches_half_a_pixel_beyond_the_outer_centres():
    """Pixel (0, 0) is a centre, so the picture begins at -0.5 and ends at the size less 0.5, borders included."""
    camera = camera_with("pinhole")
    inside = [(-0.5, 0), (-0.3, 10), (1279.5, 10), (1279.3, 10), (0, -0.5), (10, -0.3), (10, 719.5), (10, 719.3)]
    outside = [(-0.51, 10), (1279.51, 10), (10, -0.51), (10, 719.51)]
    assert camera.contains(np.array(inside)).all() and not camera.contains(np.array(outside)).any()
    k = camera.intrinsics
    for (x, y), expected in [(pixel, True) for pixel in inside[1::2]] + [(pixel, False) for pixel in outside]:
        _, valid = camera.project_cam(np.array([(x - k[0, 2]) / k[0, 0], (y - k[1, 2]) / k[1, 1], 1.0]))
        assert bool(valid) == expected


def test_a_fisheye_is_opencvs(rng):
    import cv2

    camera = camera_with("fisheye")
    points = rng.uniform((-1.0, -0.8, 0.5), (1.0, 0.8, 1.0), (50, 3))
    points[0, :2], points[1, :2] = 0.0, 1e-12
    found, valid = camera.project_cam(points)
    expected, _ = cv2.fisheye.projectPoints(
        points[:, None], np.zeros(3), np.zeros(3), camera.intrinsics, camera.distortion
    )
    np.testing.assert_allclose(found, expected[:, 0], atol=1e-9)
    np.testing.assert_array_equal(valid, camera.contains(found))


@pytest.mark.parametrize("lens", LENSES)
def test_a_grid_of_pixels_is_undistorted_and_distorted_again(lens):
    """All pixels at once, also those of a camera with skew; what is not a number is not valid and harms no other."""
    plain = camera_with(lens)
    intrinsics = plain.intrinsics + np.array([[0, 7.0, 0], [0, 0, 0], [0, 0, 0]])
    for camera in (plain, Camera("skew", (1280, 720), intrinsics, plain.distortion, plain.lens)):
        pixels = np.stack(np.meshgrid(np.arange(0, 1280, 91.0), np.arange(0, 720, 87.0)), -1)
        given = pixels.copy()
        given[2, 3] = np.nan
        ideal, valid = camera.undistort(given)
        assert valid.sum() == valid.size - 1 and not valid[2, 3]
        rays = np.concatenate([ideal, np.ones_like(ideal[..., :1])], -1) @ np.linalg.inv(camera.intrinsics).T
        found, seen = camera.project_cam(1.7 * rays[valid])
        assert seen.all()
        np.testing.assert_allclose(found, pixels[valid], atol=1e-6)
        np.testing.assert_array_equal(camera.undistort(pixels.astype(int))[0][valid], ideal[valid])


@pytest.mark.parametrize(
    ("lens", "distortion"),
    [("pinhole", (-0.35, 0, 0, 0)), ("pinhole", (-0.3, 0.05, 0.02, -0.015)), ("fisheye", [0.3] * 4)],
)
def test_undistortion_ends_within_few_steps_wherever_the_lens_can_be_inverted(lens, distortion):
    """Up to near where a barrel lens turns back, at 0.976, in every direction: only the true derivatives do it."""
    intrinsics = np.array([[900.0, 0, 2000], [0, 905, 2000], [0, 0, 1]])
    camera = Camera("cam", (4000, 4000), intrinsics, np.array(distortion, float), lens)
    angle, radius = np.linspace(0.1, 2 * np.pi, 24), np.array([0, 0.3, 0.6, 0.8, 0.9, 0.94])[:, None]
    slope = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.ones((6, 24))], -1)
    ideal, valid = camera.undistort(camera.project_cam(slope)[0])
    assert valid.all()
    np.testing.assert_allclose(ideal, camera.ideal().project_cam(slope)[0], atol=1e-8)


@pytest.mark.parametrize("lens", LENSES)
def test_no_points_have_no_pixels(lens):
    camera = camera_with(lens)
    for count in ((0,), (3, 0)):
        pixels, visible = camera.project_cam(np.zeros((*count, 3)))
        ideal, valid = camera.undistort(pixels)
        assert pixels.shape == ideal.shape == (*count, 2) and visible.shape == valid.shape == count


def test_a_fisheye_is_inverted_far_to_the_side():
    """In each direction, to 84 degrees from the axis; 20 steps of half a slope reach no farther."""
    camera = Camera(
        "cam", (4000, 4000), np.array([[900.0, 0, 2000], [0, 905, 2000], [0, 0, 1]]), np.zeros(4), "fisheye"
    )
    side = np.tan(np.deg2rad([60.0, 75.0, 84.0]))[:, None, None] * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
    points = np.concatenate([side, np.ones((3, 4, 1))], -1)
    ideal, valid = camera.undistort(camera.project_cam(points)[0])
    assert valid.all()
    np.testing.assert_allclose(ideal, camera.ideal().project_cam(points)[0], rtol=1e-9)


def test_what_the_lens_cannot_have_seen_is_not_undistorted():
    """Beyond the turning point of a barrel lens at 0.976, whose image lies 0.651 from the axis, there is nothing."""
    camera = Camera("cam", (4000, 3000), np.array([[900.0, 0, 2000], [0, 900, 1500], [0, 0, 1]]), np.r_[-0.35, 0, 0, 0])
    pixels = np.array([[2000 + 900 * 0.63, 1500.0], [2000 + 900 * 0.7, 1500.0], [2000.0, 1500 - 900 * 0.63]])
    ideal, valid = camera.undistort(pixels)
    assert valid.tolist() == [True, False, True]
    # Much farther out the polynomial comes back with the other sign: it has a root there, which is no ray's.
    outside = 900 * np.linspace(0.66, 4, 1000)[:, None] * (np.cos(0.3), np.sin(0.3))
    assert not camera.undistort(outside + (2000, 1500))[1].any()
    slope = (ideal[[0, 2]] - (2000, 1500)) / 900
    radius = np.abs(slope).max(1)
    np.testing.assert_allclose(radius - 0.35 * radius**3, 0.63, atol=1e-9)
    assert (radius < 0.976).all()


def reach_of(camera):
    """The slope at which the lens' image of a ray from the axis turns back, of 600 steps up to 3."""
    slopes = np.arange(601) / 200
    pixels, _ = camera.project_cam(np.stack([slopes, np.zeros(601), np.ones(601)], -1))
    rays = np.column_stack([pixels, np.ones(601)]) @ np.linalg.inv(camera.intrinsics).T
    turns = np.flatnonzero(np.diff(np.hypot(rays[:, 0], rays[:, 1])) <= 0)
    return slopes[turns[0]] + 1e-12 if len(turns) else np.inf


@pytest.mark.parametrize("lens", LENSES)
@pytest.mark.parametrize("turn_rad", [0.15, 1.2, 3.0])
def test_maps_are_the_projection_of_every_pixel(lens, turn_rad):
    """Points that the source cannot see, behind it or beyond the lens' reach, lie outside of any picture."""
    source = camera_with(lens)
    turn = np.array([[np.cos(turn_rad), 0, np.sin(turn_rad)], [0, 1, 0], [-np.sin(turn_rad), 0, np.cos(turn_rad)]])
    tilt = np.array([[1, 0, 0], [0, np.cos(0.2), -np.sin(0.2)], [0, np.sin(0.2), np.cos(0.2)]])
    center = np.array([0.3, -0.2, 0.5])
    source = Camera("s", source.size_px, source.intrinsics, source.distortion, source.lens, Rigid(tilt, -tilt @ center))
    intrinsics = np.array([[45.0, 3, 30], [0, 50, 20], [0, 0, 1]])
    turned = turn @ tilt
    target = Camera("t", (62, 45), intrinsics, cam_from_world=Rigid(turned, -turned @ center))
    maps = resampling_maps(target, source)
    assert all(m.dtype == np.float32 and m.shape == (45, 62) for m in maps)
    x, y = np.meshgrid(np.arange(62), np.arange(45))
    rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(intrinsics).T @ turned @ tilt.T
    expected, _ = source.project_cam(1001 * rays)
    seen = rays[..., 2] > 1e-6
    slope = rays[..., :2] / np.where(seen, rays[..., 2], 1)[..., None]
    seen &= np.linalg.norm(slope, axis=-1) <= reach_of(source)
    found = np.stack(maps, -1)
    if seen.all():  # between knots every 4 pixels, and the last, maps are linear
        columns, rows = np.r_[0:61:4, 61], np.r_[0:45:4]
        across = np.stack(
            [
                [np.interp(np.arange(62), columns, line) for line in m[rows][:, columns]]
                for m in expected.T.swapaxes(1, 2)
            ]
        )
        both = np.stack([[np.interp(np.arange(45), rows, line) for line in m.T] for m in across])
        np.testing.assert_allclose(found, both.T, rtol=1e-6, atol=1e-3)
    else:
        np.testing.assert_allclose(found[seen], expected[seen], rtol=1e-4, atol=1e-2)
        assert (found[~seen] == -1e4).all()
    with pytest.raises(ValueError, match="must have no distortion"):
        resampling_maps(camera_with("five"), source)


def test_a_camera_says_its_size_centre_and_place(rng):
    rig = ring(3)
    assert len(rig) == 3 and rig.names == ("cam0", "cam1", "cam2") and rig["cam2"] is rig.cameras[2]
    assert rig.numbers == {"cam0": 0, "cam1": 1, "cam2": 2} and list(rig) == list(rig.cameras)
    centers = [camera.center_world for camera in rig]
    for i in range(3):
        np.testing.assert_allclose(rig.cameras[i].cam_from_world.apply(centers[i]), 0, atol=1e-12)
        for j in range(3):
            assert rig.baselines_m()[i, j] == pytest.approx(np.linalg.norm(centers[i] - centers[j]), abs=1e-12)
    np.testing.assert_array_equal(rig.baselines(), rig.baselines_m())
    pixels, valid = rig.project(rng.uniform(-0.1, 0.1, (4, 5, 3)))
    assert pixels.shape == (3, 4, 5, 2) and valid.shape == (3, 4, 5)
    with pytest.raises(ValueError, match="names must differ"):
        Rig((rig.cameras[0], rig.cameras[0]))


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"intrinsics": np.array([[5.0, 0, 2], [1e-8, 5, 2], [0, 0, 1]])}, True),
        ({"intrinsics": np.array([[5.0, 0, 2], [0, 5, 2], [1e-8, 0, 1]])}, True),
        ({"intrinsics": np.array([[5.0, 0, 2], [0, 5, 2], [0, 1e-8, 1]])}, True),
        ({"intrinsics": np.array([[5.0, 0, 2], [0, 5, 2], [0, 0, 1 + 1e-8]])}, True),
        ({"intrinsics": np.array([[5.0, 0.4, 2], [1e-10, 5, 2], [1e-10, -1e-10, 1]])}, False),
        ({"intrinsics": np.eye(4)[:3]}, True),
        ({"intrinsics": np.array([[0.5, 0, 2], [0, 0.5, 2], [0, 0, 1]])}, False),
        ({"distortion": np.zeros((1, 4))}, True),
        ({"distortion": np.zeros(5), "lens": "fisheye"}, True),
        ({"distortion": np.zeros(4), "lens": "fisheye"}, False),
        ({"size_px": (10, 0)}, True),
        ({"size_px": (1, 1)}, False),
    ],
)
def test_what_a_camera_may_be(change, refused):
    good = {"name": "c", "size_px": (10, 10), "intrinsics": np.diag([5.0, 5, 1])}
    if refused:
        with pytest.raises(ValueError, match="camera c"):
            Camera(**(good | change))
    else:
        Camera(**(good | change))


def test_an_ideal_camera_has_no_distortion():
    assert camera_with("pinhole").is_ideal and not camera_with("five").is_ideal
    zero = Camera("c", (10, 10), np.diag([5.0, 5, 1]), np.zeros(4), "fisheye")
    assert not zero.is_ideal and Camera("c", (10, 10), np.diag([5.0, 5, 1]), np.zeros(5)).is_ideal
    ideal = camera_with("five").ideal()
    assert ideal.is_ideal and ideal.size_px == (1280, 720)
    pixels, valid = ideal.undistort(np.array([[3, 4], [7, 1]]))
    assert pixels.dtype == float and pixels.tolist() == [[3, 4], [7, 1]] and valid.all()
    assert ideal.undistort(np.array([[np.nan, 4.0], [5.0, 4.0]]))[1].tolist() == [False, True]


def test_the_depth_from_which_points_are_seen():
    camera = camera_with("pinhole")
    _, valid = camera.project_cam(np.array([[0, 0, 1.01e-3], [0, 0, 0.99e-3], [0, 0, -1.0]]))
    assert valid.tolist() == [True, False, False]
    pixels, _ = camera.project_cam(np.array([[0.2, -0.1, -1.0]]))
    np.testing.assert_allclose(pixels, [[630 + 900 * 0.2, 350 - 905 * 0.1]])


def test_the_projection_matrix_is_that_of_ideal_pixels(rng):
    camera = ring(3, distortion=(-0.1, 0.02, 0, 0)).cameras[1]
    points = rng.uniform(-0.1, 0.1, (6, 3))
    homogeneous = np.column_stack([points, np.ones(6)]) @ camera.ideal_px_from_world.T
    np.testing.assert_allclose(homogeneous[:, :2] / homogeneous[:, 2:], camera.ideal().project(points)[0], atol=1e-9)
    np.testing.assert_allclose(homogeneous[:, 2], camera.cam_from_world.apply(points)[:, 2], atol=1e-12)
