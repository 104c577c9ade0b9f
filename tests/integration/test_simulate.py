import hashlib
import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from handgen.cli.main import main
from handgen.errors import HandgenError
from handgen.geometry.meshes import mesh_mask
from handgen.hand.model import HandModel, single_pose
from handgen.io.annotations import Annotations
from handgen.io.capture.capture import load_capture
from handgen.stages.inspect.describe import describe
from handgen.stages.simulate import stage as simulate
from handgen.stages.simulate.cameras import PixelRays, make_rig
from handgen.stages.simulate.config import SimulateConfig
from handgen.stages.simulate.subdivision import subdivision
from handgen.storage.journal import JOURNAL
from handgen.storage.output import kind_of, prepare_output

CONFIG = SimulateConfig(views=3, frames=2, size=(240, 180), seed=5, fps=8, workers=1)


def files_of(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and JOURNAL not in path.parts  # it tells what happened when
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
        model = HandModel.load(annotations.hand_model, record.side)
        betas = annotations.betas[record.subject]
        vertices = model(single_pose(record.pose, record.translation_m, betas)).vertices[0].numpy()
        for view in record.views:
            mask = annotations.cutout(chunk, view).mask > 0
            drawn = mesh_mask(view.camera.project(vertices)[0], model.faces, view.camera.size_px) > 0
            iou = (mask & drawn).sum() / (mask | drawn).sum()
            assert iou > 0.85, "the full surface and the 778 vertices differ by a pixel at this size"
            assert view.mask_iou == pytest.approx(iou, abs=1e-3)


def test_the_model_reproduces_the_true_keypoints(capture):
    annotations, found = records(capture)
    for _, record in found:
        pose = single_pose(record.pose, record.translation_m, annotations.betas[record.subject])
        keypoints = HandModel.load(annotations.hand_model, record.side)(pose).keypoints[0].numpy()
        np.testing.assert_allclose(keypoints, record.keypoints_world_m, atol=1e-5)


def test_same_seed_same_bytes_and_another_seed_others(capture, tmp_path):
    simulate.run(tmp_path / capture.name, CONFIG)
    assert files_of(tmp_path / capture.name) == files_of(capture)
    simulate.run(tmp_path / "other", replace(CONFIG, seed=6, views=1, frames=1))
    tar = "truth/chunks/000000.tar"
    assert files_of(tmp_path / "other")[tar] != files_of(capture)[tar]


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
    assert found == [".journal", "calibration.json", "cam_0.mp4", "capture.json", "notes.txt", "run.json", "truth"]
    assert Annotations(copy / "truth").manifest["capture"]["path"] == "capture"


def test_a_simulated_capture_is_no_output_of_annotate_nor_the_reverse(capture, tmp_path):
    assert kind_of(capture) == "capture" and describe(capture).kind == "capture"
    assert describe(capture / "truth").kind == "annotations"
    with pytest.raises(HandgenError, match="holds something other than annotations"):
        prepare_output(capture, "annotations", {}, (), True)
    unfinished = tmp_path / "unfinished"
    shutil.copytree(capture, unfinished)
    (unfinished / "capture.json").unlink()
    with pytest.raises(HandgenError, match="not to the end; run `handgen simulate"):
        load_capture(unfinished)


def test_rays_are_the_inverse_of_projection():
    camera = make_rig("ring", 1, (160, 120), np.random.default_rng(0)).cameras[0]
    rays = PixelRays(camera)
    rows, columns = np.array([0, 60, 119]), np.array([0, 33, 159])
    for shift in ((0.0, 0.0), (0.25, -0.25)):
        points = rays.origin + 0.7 * rays.at(rows, columns, shift)
        pixels, _ = camera.project(points)
        np.testing.assert_allclose(pixels, np.stack([columns, rows], 1) + shift, atol=2e-3)


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
    config = SimulateConfig(views=1, frames=1, size=(160, 120), hands="both", workers=1, video=False)
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
    assert kind_of(out) == "capture"
    for wrong in ("640", "9x9", "640x480x3", "641x480"):
        assert CliRunner().invoke(main, ["simulate", str(out), "--size", wrong]).exit_code == 2
    for option, wrong, message in (
        ("--background", "no_such_folder", "neither green nor room"),
        ("--hands", "none", "'right', 'left', 'both'"),
        ("--shutter", "1", "0<=x<=0.1"),
    ):
        result = CliRunner().invoke(main, ["simulate", str(out), option, wrong])
        assert result.exit_code == 2 and message in result.output
    result = CliRunner().invoke(main, ["simulate", str(out), "--motion", "interact", "--hands", "left"])
    assert result.exit_code == 2 and "hands must be both" in result.output


def test_the_person_is_outside_the_span_of_the_model(capture):
    annotations, found = records(capture)
    own = HandModel.load(annotations.hand_model, "right")
    open_hand = HandModel.load("open", "right")
    basis = open_hand.shapedirs.numpy().reshape(-1, 10)
    difference = (own.template - open_hand.template).numpy().reshape(-1)
    best, *_ = np.linalg.lstsq(basis, difference, rcond=None)
    left_mm = 1e3 * np.linalg.norm((difference - basis @ best).reshape(-1, 3), axis=1)
    assert left_mm.mean() > 0.2 and left_mm.max() > 0.7  # whatever the betas
    assert np.abs(own.posedirs - open_hand.posedirs).max() > 1e-4  # metres per unit of a rotation matrix' entry
    assert annotations.manifest["hand_model"]["sha256"]["right"] == own.arrays.sha256


def test_the_subject_seed_decides_the_person_and_nothing_else(capture, tmp_path):
    simulate.run(tmp_path / "twin", replace(CONFIG, subject_seed=5, frames=1))
    simulate.run(tmp_path / "other", replace(CONFIG, subject_seed=6, frames=1))
    theirs, twin, other = (Annotations(path / "truth") for path in (capture, tmp_path / "twin", tmp_path / "other"))
    np.testing.assert_array_equal(theirs.betas["seed-5"], twin.betas["seed-5"])
    assert np.abs(theirs.betas["seed-5"] - other.betas["seed-6"]).max() > 0.1
    assert json.loads((tmp_path / "other/capture.json").read_text())["subject"] == "seed-6"
    pose, other_pose = next(iter(theirs))[1].pose, next(iter(other))[1].pose
    np.testing.assert_allclose(pose, other_pose, atol=1e-6)


@pytest.mark.slow
def test_the_number_of_processes_changes_nothing(tmp_path):
    config = replace(CONFIG, views=2, frames=14, size=(96, 64), background="green", sync_error_frames=0.5)
    simulate.run(tmp_path / "one/capture", config)
    simulate.run(tmp_path / "two/capture", replace(config, workers=2))
    assert files_of(tmp_path / "one/capture") == files_of(tmp_path / "two/capture")


def test_the_container_does_not_change_the_truth(capture, tmp_path):
    simulate.run(tmp_path / "images", replace(CONFIG, video=False))
    theirs, images = files_of(capture / "truth"), files_of(tmp_path / "images/truth")
    chunks = [name for name in theirs if name.startswith("chunks")]
    assert chunks and all(theirs[name] == images[name] for name in chunks)
    # Of sensors that sharpen nothing: what codecs lose of stronger noise is the noise's.
    plain = replace(CONFIG, without=("sensor",))
    for name, video in (("v", True), ("i", False)):
        simulate.run(tmp_path / name, replace(plain, video=video))
    video, folder = load_capture(tmp_path / "v"), load_capture(tmp_path / "i")
    for compressed, image in zip(next(video.read()), next(folder.read()), strict=True):
        # Grey levels: H.264 at crf 20 and JPEG at 95 lose little more than the sensor's noise.
        assert np.abs(compressed.astype(float) - image).mean() < 4


def test_a_green_studio_is_green_behind_the_hand(tmp_path):
    simulate.run(tmp_path / "green", replace(CONFIG, background="green", views=2, frames=1))
    annotations = Annotations(tmp_path / "green/truth")
    ((chunk, record),) = list(annotations)
    for view in record.views:
        cutout = annotations.cutout(chunk, view)
        height = len(cutout.image)
        above = cutout.image[: height // 10].reshape(-1, 3).astype(int)  # the arm is below
        hand = cutout.image[cutout.mask > 0].astype(int)
        assert (above[:, 1] - above[:, [0, 2]].max(1)).mean() > 40 > (hand[:, 1] - hand[:, [0, 2]].max(1)).mean() + 30


def test_pictures_as_background(tmp_path):
    pictures = tmp_path / "pictures"
    (pictures / "deeper").mkdir(parents=True)
    color = np.array([200, 40, 90], np.uint8)
    cv2.imwrite(str(pictures / "deeper/one.png"), np.full((90, 160, 3), color[::-1], np.uint8))
    config = replace(CONFIG, background=str(pictures), views=1, frames=1, video=False)
    simulate.run(tmp_path / "capture", config)
    image = next(load_capture(tmp_path / "capture").read())[0]
    ratio = image[2:12, 2:12].reshape(-1, 3).mean(0) / color
    assert ratio.min() > 0.7 and ratio.max() < 1.3  # exposure and white balance differ per camera
    cv2.imwrite(str(pictures / "deeper/one.png"), np.full((90, 160, 3), 9, np.uint8))
    with pytest.raises(HandgenError, match="background"):  # other pictures, another capture
        simulate.run(tmp_path / "capture", config)
    with pytest.raises(HandgenError, match="holds no pictures"):
        simulate.run(tmp_path / "other", replace(config, background=str(tmp_path / "capture/truth/chunks")))


def test_a_wrong_calibration_is_written_and_the_truth_keeps_the_right_one(tmp_path):
    simulate.run(tmp_path / "off", replace(CONFIG, calibration_error_px=2.0, frames=1))
    truth, written = Annotations(tmp_path / "off/truth"), load_capture(tmp_path / "off").rig
    points = np.random.default_rng(0).uniform(-0.15, 0.15, (500, 3))
    for exact, off in zip(truth.rig, written, strict=True):
        apart = np.linalg.norm(exact.ideal().project(points)[0] - off.ideal().project(points)[0], axis=1)
        assert np.sqrt((apart**2).mean()) == pytest.approx(2.0, rel=0.25)  # over the volume's corners it is 2 exactly


def test_clocks_that_stray_move_the_pictures_and_not_the_truth(tmp_path):
    config = replace(CONFIG, motion="fast", views=3, frames=1, video=False)
    simulate.run(tmp_path / "exact", config)
    simulate.run(tmp_path / "late", replace(config, sync_error_frames=0.5))
    exact, late = (Annotations(tmp_path / name / "truth") for name in ("exact", "late"))
    ((_, record),), ((_, late_record),) = list(exact), list(late)
    np.testing.assert_array_equal(record.keypoints_world_m, late_record.keypoints_world_m)
    pictures = [next(load_capture(tmp_path / name).read()) for name in ("exact", "late")]
    moved = [np.abs(a.astype(int) - b).mean() for a, b in zip(*pictures, strict=True)]
    assert max(moved) > 1.0  # grey levels; at 8 frames/s half a frame is 60 ms of a fast hand


def test_what_moves_during_the_exposure_is_blurred(tmp_path):
    config = replace(CONFIG, motion="fast", views=1, frames=4, fps=4, background="green", video=False)
    simulate.run(tmp_path / "sharp", replace(config, shutter_s=0.0))
    simulate.run(tmp_path / "blurred", replace(config, shutter_s=0.05))

    pairs = zip(*(load_capture(tmp_path / name).read() for name in ("sharp", "blurred")), strict=True)
    energy = np.zeros(2)
    for (sharp,), (blurred,) in pairs:
        moving = np.abs(sharp.astype(int) - blurred).max(-1) > 12  # grey levels, above the sensor's noise
        slopes = [cv2.Laplacian(image[..., 0], cv2.CV_32F)[moving] for image in (sharp, blurred)]
        energy += [float(np.square(slope).sum()) for slope in slopes]
    assert energy[1] < 0.5 * energy[0]
