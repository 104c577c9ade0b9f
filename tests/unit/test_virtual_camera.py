import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.annotations import open_hand, random_pose, ring_cameras

from handgen.geometry.camera import MIN_DEPTH_M, Camera
from handgen.geometry.rigid import Rigid
from handgen.hand.skeleton import MIRROR_X
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.stages.synthesize.virtual_camera import are_in_front, draw_view, in_mirror

CONFIG = SynthesizeConfig(size=224)


@pytest.fixture
def keypoints(rng) -> np.ndarray:
    return open_hand("right")(random_pose("right", rng)).keypoints[0].numpy()


def test_a_mirror_swaps_the_first_and_the_last_column(keypoints):
    """The centre of pixel x becomes the centre of pixel width - 1 - x: no half pixel is lost."""
    straight = ring_cameras(2)[0]
    mirrored = in_mirror(straight)
    pixels, _ = straight.project(keypoints)
    seen, _ = mirrored.project(keypoints * MIRROR_X)
    width = straight.size_px[0]
    np.testing.assert_allclose(seen, np.stack([width - 1 - pixels[:, 0], pixels[:, 1]], 1), atol=1e-9)
    again = in_mirror(mirrored)
    np.testing.assert_allclose(again.intrinsics, straight.intrinsics, atol=1e-9)
    np.testing.assert_allclose(again.cam_from_world.as_matrix(), straight.cam_from_world.as_matrix(), atol=1e-12)


@pytest.mark.parametrize("mirrored", [False, True])
def test_pixels_move_as_the_points_do(keypoints, rng, mirrored):
    """The homography of the pixels takes each keypoint of the cutout to where the sample's camera projects it."""
    cutout = ring_cameras(2)[1].cropped(200, 150, 400, 400)
    for _ in range(10):
        view = draw_view(cutout, keypoints, CONFIG, mirrored, rng)
        there, _ = cutout.project(keypoints)
        moved = np.column_stack([there, np.ones(21)]) @ view.sample_px_from_cutout_px(cutout).T
        here = view.points_cam(keypoints) @ view.camera.intrinsics.T
        assert (here[:, 2] > 0).all()
        np.testing.assert_allclose(moved[:, :2] / moved[:, 2:], here[:, :2] / here[:, 2:], atol=1e-6)  # px


def test_a_sample_is_filled_as_much_and_shifted_as_far_as_is_asked(keypoints, rng):
    """Without shift the hand lies in the middle; its longer side, with flesh, is the share of the picture."""
    cutout = ring_cameras(1)[0]
    for share in (0.4, 0.8):
        config = SynthesizeConfig(size=224, hand_share=(share, share), shift_share=0.0)
        pixels, _ = draw_view(cutout, keypoints, config, False, rng).camera.project(keypoints)
        low, high = pixels.min(0), pixels.max(0)
        np.testing.assert_allclose((low + high) / 2, (223 / 2, 223 / 2), atol=0.05 * share * 224)
        depth = cutout.cam_from_world.apply(keypoints)[:, 2].mean()
        flesh = 2 * 0.012 / depth  # a slope, at both ends
        bare = (high - low).max() / draw_view(cutout, keypoints, config, False, rng).camera.intrinsics[0, 0]
        assert bare / (bare + flesh) * share * 224 == pytest.approx((high - low).max(), rel=0.15)
    config = SynthesizeConfig(size=224, hand_share=(0.5, 0.5), shift_share=0.3, rotation_deg=0.0)
    middles = []
    for _ in range(200):
        pixels, _ = draw_view(cutout, keypoints, config, False, rng).camera.project(keypoints)
        middles.append((pixels.min(0) + pixels.max(0)) / 2)
    off = np.array(middles) / 224 - 0.5
    assert np.abs(off).max(0) == pytest.approx([0.3, 0.3], abs=0.03) and np.abs(off.mean(0)).max() < 0.06


def test_roll_is_within_its_limits_and_upright_without(keypoints, rng):
    cutout = ring_cameras(1)[0]
    for limit in (0.0, 30.0):
        config = SynthesizeConfig(size=224, rotation_deg=limit, shift_share=0.0)
        rolls = []
        for _ in range(100):
            view = draw_view(cutout, keypoints, config, False, rng)
            sample_from_cutout = view.camera.cam_from_world.rotation @ cutout.cam_from_world.rotation.T
            rolls.append(np.rad2deg(np.arctan2(sample_from_cutout[1, 0], sample_from_cutout[0, 0])))
        assert np.abs(rolls).max() == pytest.approx(limit, abs=3.0)


def test_the_centre_stays_where_it_was(keypoints, rng):
    cutout = ring_cameras(3)[2]
    view = draw_view(cutout, keypoints, CONFIG, False, rng)
    np.testing.assert_allclose(view.camera.center_world, cutout.center_world, atol=1e-12)
    assert isinstance(view.camera, Camera) and view.camera.is_ideal and view.camera.size_px == (224, 224)


def turn_to_axis(direction):
    """The smallest rotation that takes a direction to the optical axis, by its axis and angle."""
    x, y, z = direction / np.linalg.norm(direction)
    across = np.hypot(x, y)
    axis = np.array([y, -x, 0.0]) / max(across, 1e-15)
    return Rotation.from_rotvec(axis * np.arctan2(across, z)).as_matrix()


def box(points):
    """Middle and half of the longer side of the slopes' box, with 12 mm of flesh at the mean depth."""
    slope = points[:, :2] / points[:, 2:]
    low, high = slope.min(0), slope.max(0)
    return (low + high) / 2, (high - low).max() / 2 + 0.012 / points[:, 2].mean()


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_view_follows_from_its_four_random_numbers(keypoints, mirrored):
    """Roll, share and shift, in this order, and the hand's place are all that a view depends on."""
    cutout = ring_cameras(3)[2].cropped(100, 50, 300, 200)
    config = SynthesizeConfig(size=200, rotation_deg=40.0, hand_share=(0.4, 0.9), shift_share=0.2)
    for seed in range(5):
        view = draw_view(cutout, keypoints, config, mirrored, np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        roll, share, shift = rng.uniform(-40, 40), rng.uniform(0.4, 0.9), rng.uniform(-0.2, 0.2, 2)
        points = cutout.cam_from_world.apply(keypoints)
        turned = Rotation.from_euler("z", roll, degrees=True).as_matrix() @ turn_to_axis(points.mean(0))
        middle, radius = box(points @ turned.T)
        aim = middle - shift * 2 * radius / share
        turned = turn_to_axis(np.append(aim, 1.0)) @ turned
        focal = share * 200 / 2 / box(points @ turned.T)[1]
        intrinsics = np.array([[focal, 0, 99.5], [0, focal, 99.5], [0, 0, 1]])
        straight = Camera(
            cutout.name, (200, 200), intrinsics, cam_from_world=Rigid(turned, np.zeros(3)) @ cutout.cam_from_world
        )
        expected = in_mirror(straight) if mirrored else straight
        np.testing.assert_allclose(view.camera.intrinsics, expected.intrinsics, rtol=1e-9)
        np.testing.assert_allclose(
            view.camera.cam_from_world.as_matrix(), expected.cam_from_world.as_matrix(), atol=1e-9
        )
        assert view.mirrored == mirrored and view.camera.size_px == (200, 200) and view.camera.name == cutout.name


def test_a_mirrors_camera_is_that_of_the_mirrored_world_and_picture():
    straight = ring_cameras(2)[1].cropped(30, 20, 210, 160)
    found, flip = in_mirror(straight), np.diag([-1.0, 1.0, 1.0])
    k = straight.intrinsics
    np.testing.assert_allclose(found.intrinsics, [[k[0, 0], 0, 209 - k[0, 2]], [0, k[1, 1], k[1, 2]], [0, 0, 1]])
    np.testing.assert_allclose(found.cam_from_world.rotation, flip @ straight.cam_from_world.rotation @ flip)
    np.testing.assert_allclose(found.cam_from_world.translation, flip @ straight.cam_from_world.translation)
    assert found.size_px == straight.size_px and found.name == straight.name


def test_a_hand_is_in_front_when_all_of_it_is_a_centimetre_away(keypoints, rng):
    points = np.full((3, 3), 0.5)
    for nearest in (0.2, 1.01 * 10 * MIN_DEPTH_M, 0.99 * 10 * MIN_DEPTH_M, 0.0, -0.2):
        points[1, 2] = nearest
        assert are_in_front(points) == (nearest > 0.01)
    camera = ring_cameras(1)[0]
    with pytest.raises(ValueError, match="not in front"):
        draw_view(camera, 2 * camera.center_world - keypoints, CONFIG, False, rng)
