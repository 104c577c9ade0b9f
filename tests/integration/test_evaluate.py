import hashlib
import io
from dataclasses import replace
from importlib import resources

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation
from support.annotations import BETAS
from support.evaluate import changed, moved, with_manifest, with_masks, with_points, write_truth

from handgen.geometry.camera import Camera, resampling_maps
from handgen.hand.skeleton import other_side
from handgen.io.annotations import Annotations
from handgen.stages.evaluate.alignment import errors_mm, similarity_between
from handgen.stages.evaluate.config import EvaluateConfig
from handgen.stages.evaluate.distributions import PCK_THRESHOLDS_MM, area_under
from handgen.stages.evaluate.masks import boundary_f, iou, resample_mask
from handgen.stages.evaluate.matched import Hands
from handgen.stages.evaluate.metrics.keypoints import fingertips, keypoint_errors, uncertainty
from handgen.stages.evaluate.metrics.over_frames import jitter
from handgen.stages.evaluate.stage import run
from handgen.stages.evaluate.surfaces import HandMesh, distance_to_surface, f_scores, surface_errors

ONE = EvaluateConfig(workers=1)
ROUNDING_MM = 2e-3  # records keep a micrometre
SHAPE_M = np.random.default_rng(1).normal(0, 0.1, (21, 3))  # no keypoint on another
points_m = arrays(np.float64, (21, 3), elements=st.floats(-0.02, 0.02))


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return write_truth(tmp_path_factory.mktemp("evaluate") / "truth")


def test_truth_against_itself_is_perfect(truth):
    report = run(truth, truth, ONE)
    assert report.mean_absolute_mm == report.mean_procrustes_mm * 0 == 0
    assert report.annotated_share == 1 and report.false_hands == 0 and report.truth_hands == 12
    assert report.auc_absolute == 1 and report.mean_2d_px == 0
    assert report.mean_mask_iou == report.mean_boundary_f == 1
    assert report.mean_vertex_mm == 0 and report.vertices.kind == "corresponding"
    assert report.vertices.f_scores == {"5_mm": 1, "15_mm": 1}
    assert report.acceleration_error_mm_s2 == 0 and report.jitter_mm_s2 == report.truth_jitter_mm_s2 > 0
    assert report.shapes[0].betas_difference == (0,) * len(BETAS)
    assert report.notes == ()


def test_a_shift_is_absolute_error_and_no_other(truth, tmp_path):
    shifted = changed(truth, tmp_path / "a", lambda record: moved(record, np.array([0.0, 0.003, 0.0])))
    report = run(shifted, truth, ONE)
    assert report.mean_absolute_mm == pytest.approx(3.0, abs=ROUNDING_MM)
    assert report.mean_vertex_mm == pytest.approx(3.0, abs=ROUNDING_MM)
    assert report.mean_fingertip_mm == pytest.approx(3.0, abs=ROUNDING_MM)
    for mean in (report.mean_root_relative_mm, report.mean_scale_aligned_mm, report.mean_procrustes_mm):
        assert mean < ROUNDING_MM
    assert report.relative_root_mm.maximum < ROUNDING_MM
    assert 2.5 < report.mean_2d_px < 6.5  # 3 mm at 0.55 m with 900 px: at most 4.9 px, and nearer hands more
    assert report.keypoints["absolute"].per_finger_mm["ring"].p99 == pytest.approx(3.0, abs=ROUNDING_MM)


def test_a_turn_about_the_wrist_is_no_procrustes_error(truth, tmp_path):
    turn = Rotation.from_rotvec([0.1, -0.2, 0.05]).as_matrix()

    def turned(record):
        wrist = record.keypoints_world_m[:1]
        return with_points(record, (record.keypoints_world_m - wrist) @ turn.T + wrist)

    report = run(changed(truth, tmp_path / "a", turned), truth, ONE)
    assert report.mean_procrustes_mm < ROUNDING_MM
    assert report.mean_root_relative_mm == pytest.approx(report.mean_absolute_mm, abs=ROUNDING_MM)
    assert report.mean_absolute_mm > 5
    assert any("pose parameters" in note for note in report.notes)  # keypoints no longer follow from them


def test_a_larger_hand_is_no_error_once_the_scale_is_aligned(truth, tmp_path):
    def grown(record):
        wrist = record.keypoints_world_m[:1]
        return with_points(record, (record.keypoints_world_m - wrist) * 1.05 + wrist)

    report = run(changed(truth, tmp_path / "a", grown), truth, ONE)
    assert report.mean_scale_aligned_mm < ROUNDING_MM and report.mean_procrustes_mm < ROUNDING_MM
    assert report.mean_root_relative_mm > 2
    assert any("+5.0 % larger" in note for note in report.notes)
    assert all(shape.bone_bias_mm > 1 for shape in report.shapes)


def test_missing_false_and_wrong_hands_are_counted(truth, tmp_path):
    def change(record):
        if record.frame == 0:
            return None
        if record.frame == 1 and record.side == "left":
            return [record, moved(record, np.array([0.5, 0.0, 0.0]))]
        if record.frame == 2 and record.side == "left":
            return [record, type(record)(**{**vars(record), "side": other_side(record.side)})]
        return record

    report = run(changed(truth, tmp_path / "a", change), truth, ONE)
    assert (report.annotated_hands, report.truth_hands) == (10, 12)
    assert report.annotated_share == pytest.approx(10 / 12)
    assert (report.false_hands, report.wrong_side_hands) == (2, 1)
    assert {(hand.frame, hand.side) for hand in report.missed} == {(0, "left"), (0, "right")}
    assert report.mean_absolute_mm < ROUNDING_MM


def test_rejected_records_count_only_if_asked_for(truth, tmp_path):
    rejected = changed(truth, tmp_path / "a", lambda record: type(record)(**{**vars(record), "accepted": False}))
    assert run(rejected, truth, ONE).annotated_share == 0
    report = run(rejected, truth, EvaluateConfig(workers=1, include_rejected=True))
    assert report.annotated_share == 1 and report.mean_absolute_mm == 0


def test_annotations_of_hidden_hands_are_in_no_figure(truth, tmp_path):
    def hidden(record):
        return type(record)(**{**vars(record), "accepted": record.frame != 3})

    report = run(truth, changed(truth, tmp_path / "t", hidden), ONE)
    assert report.coverage.unjudged_hands == 2 and report.false_hands == 0
    assert report.truth_hands == report.annotated_hands == 10


def test_frames_that_only_one_covers_are_stated(truth, tmp_path):
    def shorten(manifest):
        manifest["chunks"] = manifest["chunks"][:1]

    part = with_manifest(changed(truth, tmp_path / "a", lambda record: record), shorten)
    report = run(part, truth, ONE)
    assert report.annotated_share == 1 and report.coverage.frames == 4
    assert report.coverage.truth_frames_outside == 2
    assert any("4 frames that both cover" in note and "2 only in the truth" in note for note in report.notes)


def test_results_do_not_depend_on_the_number_of_processes(truth, tmp_path):
    shifted = changed(truth, tmp_path / "a", lambda record: moved(record, np.array([0.002, 0.0, 0.001 * record.frame])))
    one, two = (run(shifted, truth, EvaluateConfig(workers=n)).to_json() for n in (1, 2))
    assert one | {"seconds": 0} == two | {"seconds": 0}


def test_another_world_can_be_aligned(truth, tmp_path):
    turn = Rotation.from_rotvec([0.3, 0.1, -0.2]).as_matrix()
    other = changed(truth, tmp_path / "a", lambda r: with_points(r, r.keypoints_world_m @ turn.T + (0.5, 0.1, 1.0)))
    report = run(other, truth, EvaluateConfig(workers=1, align_world=True))
    assert report.mean_absolute_mm < ROUNDING_MM and report.annotated_share == 1
    assert any("moved into the truth's world" in note for note in report.notes)


def test_a_model_that_lies_in_the_truth_is_used(truth, tmp_path):
    """A simulated person's own hand: other betas mean other shapes, but the meshes correspond."""
    own = changed(truth, tmp_path / "t", lambda record: record)
    digests = {}
    for side in ("left", "right"):
        bundled = resources.files("handgen.hand.data").joinpath(f"open_hand_{side}.npz").read_bytes()
        arrays = {**np.load(io.BytesIO(bundled))}
        arrays["v_template"] = arrays["v_template"] + arrays["shapedirs"] @ BETAS
        arrays["shapedirs"] = np.zeros_like(arrays["shapedirs"])
        path = own / f"hand_{side}.npz"
        np.savez(path, **arrays)
        digests[side] = hashlib.sha256(path.read_bytes()).hexdigest()

    def name_it(manifest):
        manifest["hand_model"] = {"name": "hand_{side}.npz", "sha256": digests}

    report = run(truth, with_manifest(own, name_it), ONE)
    assert report.mean_vertex_mm < ROUNDING_MM and report.vertices.kind == "corresponding"
    assert report.shapes[0].betas_difference is None and report.notes == ()


def test_an_eroded_mask_scores_its_share_of_the_area(truth, tmp_path):
    kernel = np.ones((5, 5), np.uint8)
    eroded = with_masks(truth, tmp_path / "a", lambda mask: cv2.erode(mask, kernel))
    expected = []
    for chunk, record in Annotations(truth):
        for view in record.views:
            mask = Annotations(truth).cutout(chunk, view).mask
            expected.append(np.count_nonzero(cv2.erode(mask, kernel)) / np.count_nonzero(mask))
    report = run(eroded, truth, ONE)
    assert report.mean_mask_iou == pytest.approx(np.mean(expected), abs=1e-9)
    assert report.mean_boundary_f > 0.999  # two pixels are within the tolerance of these cutouts


def test_outlines_beyond_the_tolerance_do_not_match():
    mask, away = (np.zeros((100, 120), np.uint8) for _ in range(2))
    mask[30:70, 30:70] = 255
    away[30:70, 34:74] = 255  # four pixels to the right: the vertical edges miss, most of the others match
    assert iou(mask, away) == pytest.approx(36 / 44)
    assert boundary_f(mask, away, 4) == 1.0
    assert 0.4 < boundary_f(mask, away, 2) < 0.6
    assert boundary_f(mask, np.zeros_like(mask), 2) == 0.0 and iou(np.zeros_like(mask), np.zeros_like(mask)) == 1.0


@pytest.mark.parametrize("distortion", [np.zeros(0), np.array([-0.25, 0.1, 0.001, -0.001])])
def test_masks_of_differently_calibrated_cameras_meet_in_the_picture(distortion):
    intrinsics = np.array([[500.0, 0, 319.5], [0, 500, 239.5], [0, 0, 1]])
    true = Camera("a", (640, 480), intrinsics, distortion)
    other = Camera("a", (640, 480), intrinsics * [[1.04], [1.04], [1]] + [[0, 0, 6], [0, 0, -4], [0, 0, 0]], distortion)
    picture = cv2.circle(np.zeros((480, 640), np.uint8), (420, 300), 60, 255, -1)
    masks, cutouts = [], []
    for camera, box in ((true, (330, 200, 190, 190)), (other, (310, 180, 240, 230))):
        cutout = camera.ideal().cropped(*box)
        cutouts.append(cutout)
        moved_mask = cv2.remap(picture, *resampling_maps(cutout, camera), cv2.INTER_LINEAR)
        masks.append(np.where(moved_mask > 127, 255, 0).astype(np.uint8))
    found = resample_mask(masks[1], cutouts[1], other, cutouts[0], true)
    assert iou(found, masks[0]) > 0.98
    naive = resample_mask(masks[1], cutouts[1], true, cutouts[0], true)
    assert iou(naive, masks[0]) < 0.9


def test_two_dimensional_errors_use_each_sides_own_camera(truth, tmp_path):
    def another_calibration(manifest):
        manifest["cameras"][0]["intrinsics"][0][2] += 2.0

    other = with_manifest(changed(truth, tmp_path / "a", lambda record: record), another_calibration)
    report = run(other, truth, ONE)
    assert report.pixels.per_camera_px["cam0"].mean == pytest.approx(2.0, abs=1e-6)
    assert report.pixels.per_camera_px["cam1"].mean == 0


def test_jitter_of_a_parabola_is_its_acceleration():
    fps, frame = 50.0, np.arange(12)
    rng = np.random.default_rng(0)
    hand = rng.normal(0, 0.05, (1, 21, 3))
    time_s = (frame / fps)[:, None, None]
    truth = hand + 0.5 * np.array([0.0, 0.0, 2.0]) * time_s**2  # 2 m/s^2
    mine = hand + 0.5 * np.array([0.0, 1.5, 2.0]) * time_s**2
    names = np.array(["x"] * 12, dtype=object)
    hands = Hands(frame, np.array(["left"] * 12, dtype=object), names, names, mine, truth)
    found = jitter(hands, fps)
    assert found.triples == 10
    assert found.truth_mm_s2.mean == pytest.approx(2000.0)
    assert found.annotated_mm_s2.mean == pytest.approx(2500.0)
    assert found.error_mm_s2.mean == pytest.approx(1500.0)
    with_gap = Hands(frame * np.where(frame > 5, 2, 1), hands.side, names, names, mine, truth)
    assert jitter(with_gap, fps).triples == 4  # never over a gap


def test_pck_is_freihands():
    error = np.full((4, 21), 10.0)
    found = keypoint_errors(error)
    assert len(PCK_THRESHOLDS_MM) == 100 and (PCK_THRESHOLDS_MM[0], PCK_THRESHOLDS_MM[-1]) == (0, 50)
    expected = np.array([(error <= t).mean() for t in PCK_THRESHOLDS_MM])
    np.testing.assert_array_equal(found.pck, expected)
    assert found.auc == pytest.approx(0.8, abs=0.006)
    assert found.auc == area_under(expected)
    assert keypoint_errors(np.zeros((0, 21))) is None


def test_fingertips_are_measured_on_evenly_chosen_frames():
    frame = np.repeat(np.arange(100), 2)
    error = np.zeros((200, 21))
    error[:, [4, 8, 12, 16, 20]] = frame[:, None]
    found = fingertips(frame, error, 5)
    assert (found.frames, found.hands) == (5, 10)
    assert found.mean_mm == pytest.approx(np.mean([0, 25, 50, 74, 99]), abs=0.3)
    assert fingertips(frame[:0], error[:0], 5) is None


@given(points_m, st.floats(0.5, 2.0), arrays(np.float64, 3, elements=st.floats(-3, 3)), points_m)
@settings(max_examples=40)
def test_what_an_alignment_takes_out_changes_nothing(points, scale, vector, truth):
    truth, points = truth + SHAPE_M, points + SHAPE_M[::-1]
    turn = Rotation.from_rotvec(vector).as_matrix()
    for name, other in (("root_relative", points + vector), ("scale_aligned", points * scale + vector)):
        assert errors_mm(name, other, truth) == pytest.approx(errors_mm(name, points, truth), abs=1e-6)
    assert errors_mm("procrustes", scale * points @ turn.T + vector, points) == pytest.approx(np.zeros(21), abs=1e-6)
    squares = [float((errors_mm(name, points, truth) ** 2).sum()) for name in ("procrustes", "root_relative")]
    assert squares[0] <= squares[1] + 1e-6  # least squares
    assert np.linalg.det(similarity_between(points, truth * [-1, 1, 1]).rotation) == pytest.approx(1)


def test_a_mirror_image_stays_an_error(hand):
    points = hand.rest_keypoints(hand.template.new_zeros(10)).numpy()
    assert errors_mm("procrustes", points * [-1, 1, 1], points).mean() > 3


def test_distance_to_a_surface_is_exact(rng):
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, -1]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    points = np.array([[0.2, 0.2, 0.5], [2.0, 0, 0], [0.5, 0.5, 0.0], [-1, 0.3, -0.3]])
    assert distance_to_surface(points, vertices, faces) == pytest.approx([0.5, 1.0, 0.0, 1.0])


def test_other_meshes_are_compared_by_their_surfaces(hand, rng):
    vertices = hand.template.numpy()[None]
    keypoints = hand.rest_keypoints(hand.template.new_zeros(10)).numpy()[None]
    truth = HandMesh(vertices, hand.faces, keypoints)
    turned_over = HandMesh(vertices, np.roll(hand.faces, 1, axis=1), keypoints)  # the same surface, another list
    found = surface_errors(turned_over, truth)
    assert found.error_mm[0] < 1e-9 and found.count == 2 * 778
    lifted = HandMesh(vertices + [0.0, 0.004, 0.0], turned_over.faces, keypoints + [0.0, 0.004, 0.0])
    found = surface_errors(lifted, truth)
    assert 0.5 < found.error_mm[0] < 4.0 and found.aligned_mm[0] < 1e-6
    corresponding = surface_errors(HandMesh(lifted.vertices, hand.faces, lifted.keypoints), truth)
    assert corresponding.error_mm[0] == pytest.approx(4.0)


def test_f_score_is_the_harmonic_mean_of_both_shares():
    truth = np.zeros((4, 3)) + np.arange(4)[:, None]
    ours = np.concatenate([truth[:2], truth[:2] + [0.4, 0, 0]])  # half of ours near, half of the truth reached
    assert f_scores(ours, truth) == pytest.approx([0.5, 0.5])
    assert f_scores(truth + 9, truth) == [0.0, 0.0]


def test_uncertainty_that_is_right_holds_two_thirds_of_the_errors(rng):
    n = 200
    names = np.array(["0"] * n, dtype=object)
    truth = rng.normal(size=(n, 21, 3))
    sigma = rng.uniform(0.001, 0.004, (n, 21, 3))
    hands = Hands(np.arange(n), names, names, names, truth + rng.normal(size=truth.shape) * sigma, truth, sigma)
    found = uncertainty(hands)
    assert found.hands == n
    assert abs(found.within_one_sigma - 0.683) < 0.02 and abs(found.within_two_sigma - 0.954) < 0.02
    doubled = uncertainty(replace(hands, sigma_m=sigma / 2))  # twice as sure as it may be
    assert doubled.within_one_sigma < 0.42
    unknown = np.full_like(sigma, np.nan)
    assert uncertainty(replace(hands, sigma_m=unknown)) is None
    assert uncertainty(replace(hands, sigma_m=None)) is None
