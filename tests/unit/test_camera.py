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
