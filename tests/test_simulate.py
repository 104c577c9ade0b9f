import hashlib
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from handgen import simulate
from handgen.cameras import Rig
from handgen.cli.main import main
from handgen.config import SimulateConfig
from handgen.errors import HandgenError
from handgen.hand.assets import load_hand
from handgen.hand.model import HandModel
from handgen.inspect import describe
from handgen.io.annotations import Annotations
from handgen.io.capture import load_capture
from handgen.io.output import claim_output, kind_of
from handgen.raster import mesh_mask
from handgen.simulate.motion import POSES, hand_pose, pose_angles_deg, simulate_motion
from handgen.simulate.room import make_rig
from handgen.simulate.surface import subdivision
from handgen.simulate.tracing import PixelRays

CONFIG = SimulateConfig(views=3, frames=2, size=(240, 180), seed=5, workers=1)


def files_of(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    root = tmp_path_factory.mktemp("simulated") / "capture"
    report = simulate.run(root, CONFIG)
    assert report.views == report.written_views == 6
    return root


@cache
def records(root):
    annotations = Annotations(root / "truth")
    found = [(chunk, record) for chunk, record in annotations]
    assert len(found) == CONFIG.frames
    return annotations, found


def test_the_capture_reads_as_any_other(capture):
    loaded = load_capture(capture)
    assert loaded.frame_count == 2 and loaded.rig.names == ("cam_0", "cam_1", "cam_2")
    assert loaded.metres_per_unit == 1 and loaded.hands == "right"
    for images in loaded.read():
        assert all(image.shape == (180, 240, 3) and 20 < image.mean() < 235 for image in images)


def test_true_keypoints_lie_on_the_rendered_hand(capture):
    annotations, found = records(capture)
    for chunk, record in found:
        assert record.accepted and len(record.views) == 3
        for view in record.views:
            mask = annotations.cutout(chunk, view).mask
            pixels, valid = view.camera.project(record.keypoints_world_m)
            assert valid.all()
            # A fingertip is a vertex of the surface, so it may fall just beside its silhouette.
            near = cv2.dilate(mask, np.ones((5, 5), np.uint8))
            columns, rows = np.round(pixels).astype(int).T
            assert (near[rows, columns] > 0).all()


def test_the_true_mask_is_the_models_silhouette(capture):
    annotations, found = records(capture)
    for chunk, record in found:
        model = HandModel.load("open", record.side)
        betas = annotations.betas[record.subject]
        from handgen.hand.model import single_pose

        vertices = model(single_pose(record.pose, record.translation_m, betas)).vertices[0].numpy()
        for view in record.views:
            mask = annotations.cutout(chunk, view).mask > 0
            drawn = mesh_mask(view.camera.project(vertices)[0], model.faces, view.camera.size_px) > 0
            iou = (mask & drawn).sum() / (mask | drawn).sum()
            assert iou > 0.85, "the full surface and the 778 vertices differ by a pixel at this size"
            assert view.mask_iou == pytest.approx(iou, abs=1e-3)


def test_the_model_reproduces_the_true_keypoints(capture):
    from handgen.hand.model import single_pose

    annotations, found = records(capture)
    for _, record in found:
        pose = single_pose(record.pose, record.translation_m, annotations.betas[record.subject])
        keypoints = HandModel.load("open", record.side)(pose).keypoints[0].numpy()
        np.testing.assert_allclose(keypoints, record.keypoints_world_m, atol=1e-5)


def test_same_seed_same_bytes_and_another_seed_others(capture, tmp_path):
    simulate.run(tmp_path / capture.name, CONFIG)
    assert files_of(tmp_path / capture.name) == files_of(capture)
    simulate.run(tmp_path / "other", replace(CONFIG, seed=6, views=1, frames=1))
    image = "cam_0/000000.jpg"
    assert files_of(tmp_path / "other")[image] != files_of(capture)[image]


@pytest.mark.parametrize("suffix", ["jsonl", "tar"])
def test_a_rerun_finishes_what_is_missing(capture, tmp_path, suffix):
    copy = tmp_path / capture.name
    shutil.copytree(capture, copy)
    (copy / f"truth/chunks/000000.{suffix}").unlink()
    (copy / "capture.json").unlink()
    assert simulate.run(copy, CONFIG).written_views == 6
    assert files_of(copy) == files_of(capture)
    assert simulate.run(copy, CONFIG).written_views == 0


def test_foreign_directories_are_left_alone(capture, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(HandgenError, match="holds something other than capture"):
        simulate.run(tmp_path, CONFIG, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(HandgenError, match=r"seed: 5 there, 9 now.*--overwrite"):
        simulate.run(capture, replace(CONFIG, seed=9))


def test_overwrite_replaces_the_capture_and_leaves_other_files(capture, tmp_path):
    copy = tmp_path / "capture"
    shutil.copytree(capture, copy)
    (copy / "notes.txt").write_text("mine")
    simulate.run(copy, replace(CONFIG, views=1, frames=1), overwrite=True)
    found = sorted(path.name for path in copy.iterdir())
    assert found == ["calibration.json", "cam_0", "capture.json", "notes.txt", "run.json", "truth"]
    assert Annotations(copy / "truth").manifest["capture"]["path"] == "capture"


def test_a_simulated_capture_is_no_output_of_annotate_nor_the_reverse(capture, tmp_path):
    assert kind_of(capture) == "capture" and describe(capture).kind == "capture"
    assert describe(capture / "truth").kind == "annotations"
    with pytest.raises(HandgenError, match="holds something other than annotations"):
        claim_output(capture, "annotations", {}, (), True)
    unfinished = tmp_path / "unfinished"
    shutil.copytree(capture, unfinished)
    (unfinished / "capture.json").unlink()
    with pytest.raises(HandgenError, match="not to the end; run `handgen simulate"):
        load_capture(unfinished)


@pytest.mark.parametrize("views", [1, 2, 4, 8])
def test_the_rig_looks_at_the_hand_from_all_around(views):
    rig = make_rig(views, (640, 480), np.random.default_rng(views))
    corners = np.array([[x, y, z] for x in (-0.1, 0.1) for y in (-0.1, 0.1) for z in (-0.1, 0.1)])
    assert isinstance(rig, Rig) and len(rig) == views
    _, valid = rig.project(corners)
    assert valid.all()
    if views > 1:
        nearest = rig.baselines_m() + np.eye(views)
        assert nearest.min() > 0.3  # metres
    for camera in rig:
        up_px = camera.project(np.array([[0, 0, 0.05], [0, 0, -0.05]]))[0]
        assert up_px[0, 1] < up_px[1, 1] - 20  # upright


def test_rays_are_the_inverse_of_projection():
    camera = make_rig(1, (160, 120), np.random.default_rng(0)).cameras[0]
    rays = PixelRays(camera)
    rows, columns = np.array([0, 60, 119]), np.array([0, 33, 159])
    for shift in ((0.0, 0.0), (0.25, -0.25)):
        points = rays.origin + 0.7 * rays.at(rows, columns, shift)
        pixels, _ = camera.project(points)
        np.testing.assert_allclose(pixels, np.stack([columns, rows], 1) + shift, atol=2e-3)


@pytest.mark.parametrize("side", ["left", "right"])
def test_poses_and_motion_stay_within_the_limits_of_the_joints(side):
    model = HandModel.load("open", side)
    arrays = load_hand("open", side)
    motion = simulate_motion(model, np.zeros(10), 200, 20.0, np.zeros(3), np.random.default_rng(1))
    angles = np.einsum("fjc,jac->fja", motion.rotations[:, 1:], arrays.joint_axes)
    assert (angles >= arrays.joint_limits_rad[..., 0] - 1e-6).all()
    assert (angles <= arrays.joint_limits_rad[..., 1] + 1e-6).all()
    assert np.abs(np.diff(angles, axis=0)).max() < np.radians(30)  # in a twentieth of a second
    for pose in POSES.values():
        wanted = np.radians(pose_angles_deg(pose))
        made = np.einsum("jc,jac->ja", hand_pose(model, wanted), arrays.joint_axes)
        np.testing.assert_allclose(made, wanted, atol=1e-6)  # none of them needed clipping


def test_a_pinch_brings_thumb_and_index_together():
    from handgen.hand.model import HandPose

    model = HandModel.load("open", "right")
    rotations = np.zeros((1, 16, 3))
    rotations[0, 1:] = hand_pose(model, np.radians(pose_angles_deg(POSES["pinch"])))
    zeros = torch.zeros(1, 3, dtype=torch.float64), torch.zeros(1, 10, dtype=torch.float64)
    keypoints = model(HandPose(torch.as_tensor(rotations), *zeros)).keypoints[0].numpy()
    assert np.linalg.norm(keypoints[4] - keypoints[8]) < 0.02  # metres


def test_loop_subdivision_keeps_planes_and_borders():
    grid = np.stack(np.meshgrid(np.arange(4.0), np.arange(4.0)), -1).reshape(-1, 2)
    corner = np.array([i for i in range(11) if i % 4 != 3])
    faces = np.concatenate(
        [np.stack([corner, corner + 1, corner + 4], 1), np.stack([corner + 1, corner + 5, corner + 4], 1)]
    )
    operator, new_faces = subdivision(faces, 16)
    points = operator @ np.column_stack([grid, 2 * grid[:, 0] - grid[:, 1]])
    np.testing.assert_allclose(np.asarray(operator.sum(1)), 1)
    np.testing.assert_allclose(points[:, 2], 2 * points[:, 0] - points[:, 1], atol=1e-12)
    assert len(new_faces) == 4 * len(faces)
    a, b, c = points[new_faces][..., :2].transpose(1, 0, 2)
    turns = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert (turns > 0).all()  # the winding is kept


def test_two_hands(tmp_path):
    config = SimulateConfig(views=1, frames=1, size=(160, 120), hands="both", workers=1)
    report = simulate.run(tmp_path / "both", config)
    assert report.hands == ("left", "right")
    found = {record.side: record for _, record in Annotations(tmp_path / "both/truth")}
    pixels = {side: record.views[0].box_px[0] for side, record in found.items()}
    assert pixels["right"] < pixels["left"]  # the person faces the camera


def test_command(tmp_path):
    out = tmp_path / "capture"
    options = ["--views", "1", "--frames", "1", "--size", "96x64", "--workers", "1", "--json"]
    result = CliRunner().invoke(main, ["simulate", str(out), *options])
    assert result.exit_code == 0, result.output
    assert '"written_views": 1' in result.output and (out / "capture.json").is_file()
    for wrong in ("640", "9x9", "640x480x3"):
        assert CliRunner().invoke(main, ["simulate", str(out), "--size", wrong]).exit_code == 2
