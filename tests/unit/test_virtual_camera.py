import numpy as np
import pytest
from support.annotations import open_hand, random_pose, ring_cameras

from handgen.geometry.camera import Camera
from handgen.hand.skeleton import MIRROR_X
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.stages.synthesize.virtual_camera import draw_view, in_mirror

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
