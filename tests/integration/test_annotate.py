"""The annotate stage on a rendered capture: from true keypoints (geometry alone) and from pixels."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.annotate import config, errors_mm, rendered, true_keypoints
from support.cameras import in_units

from handgen.detect.mediapipe import networks
from handgen.detect.registry import KeypointFilesOptions
from handgen.errors import HandgenError
from handgen.io.annotations import Annotations
from handgen.io.calibration_files.handgen_json import save_calibration
from handgen.io.capture.capture import load_capture
from handgen.io.detections import write_detections
from handgen.stages.annotate import stage as annotate
from handgen.stages.annotate.config import AnnotateConfig
from handgen.stages.simulate import stage as simulate
from handgen.stages.simulate.config import SimulateConfig


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    return rendered(tmp_path_factory.mktemp("simulated") / "capture")


@pytest.fixture(scope="module")
def annotated(capture, tmp_path_factory):
    folder = tmp_path_factory.mktemp("annotated")
    settings = config(true_keypoints(capture, folder / "truth.jsonl"), chunk_frames=3)
    return folder / "out", settings, annotate.run(capture, folder / "out", settings)


def test_true_keypoints_give_the_true_hand(capture, annotated):
    out, _, report = annotated
    assert report.frames == 8 and report.accepted == {"right": 8}
    assert report.reprojection_px < 0.5
    assert report.mask_iou > 0.85  # 60 px hands: a pixel of edge all around is a tenth of the area
    errors = errors_mm(capture, out)
    assert np.mean(list(errors.values())) < 2.5  # the prior's pull against 1.5 px of assumed noise at 60 px


def test_records_hold_together(annotated):
    out, _, _ = annotated
    opened = Annotations(out)
    from handgen.hand.model import HandModel, single_pose

    model = HandModel.load("open", "right")
    on_masks = []
    for chunk, record in opened:
        posed = model(single_pose(record.pose, record.translation_m, opened.betas[record.subject]))
        assert np.abs(posed.keypoints[0].numpy() - record.keypoints_world_m).max() < 1e-5  # m, rounding
        for view in record.views:
            cutout = opened.cutout(chunk, view)
            pixels, inside = view.camera.project(record.keypoints_world_m)
            assert inside.all()
            on_mask = cutout.mask[tuple(np.round(pixels[inside]).astype(int).T[::-1])] > 0
            assert on_mask.mean() > 0.7
            on_masks.append(on_mask.mean())
    assert np.mean(on_masks) > 0.9  # tips lie on the edge, and a thin finger of a 60 px hand may be lost


def test_any_number_of_workers_and_any_interruption_give_the_same_bytes(capture, annotated, tmp_path):
    out, settings, _ = annotated

    def content(root):
        files = (path for path in root.rglob("*") if path.is_file() and path.parent.name != ".journal")
        return {path.relative_to(root): path.read_bytes() for path in files}

    expected = content(out)
    annotate.run(capture, tmp_path / "two", replace(settings, workers=2))
    assert content(tmp_path / "two") == expected
    shutil.copytree(out, tmp_path / "killed")
    (tmp_path / "killed" / "manifest.json").unlink()
    (tmp_path / "killed" / "chunks" / "000001.jsonl").unlink()
    (tmp_path / "killed" / "detections" / "000002.jsonl").unlink()
    (tmp_path / "killed" / "chunks" / "000002.tar.partial").write_bytes(b"half")
    annotate.run(capture, tmp_path / "killed", settings)
    assert content(tmp_path / "killed") == expected


def test_another_configuration_does_not_mix(capture, annotated):
    out, settings, _ = annotated
    with pytest.raises(HandgenError, match=r"configuration\.min_mask_iou: 0\.7 there, 0\.5 now"):
        annotate.run(capture, out, replace(settings, min_mask_iou=0.5))


def in_another_unit(capture, folder, metres_per_unit):
    """The capture with a calibration in units of so many metres, which does not say so."""
    shutil.copytree(capture, folder)
    save_calibration(folder / "calibration.json", in_units(load_capture(capture).rig, metres_per_unit), None)
    return folder


@pytest.mark.parametrize("given", ["auto", 0.024])
def test_hands_that_one_camera_sees_are_found_in_any_unit(capture, tmp_path, given):
    """The last four frames are seen by one camera: its hands are placed by their size, in metres."""
    drop = {(frame, camera) for frame in range(4, 8) for camera in ("cam_1", "cam_2")}
    keypoints = true_keypoints(capture, tmp_path / "truth.jsonl", drop=drop)
    squares = in_another_unit(capture, tmp_path / "squares", 0.024)
    metric = annotate.run(capture, tmp_path / "metric", config(keypoints, min_views=1))
    scaled = annotate.run(squares, tmp_path / "out", config(keypoints, min_views=1, metres_per_unit=given))
    assert metric.records == scaled.records == {"right": 8}
    views = [[r.views_detected for _, r in Annotations(tmp_path / out)] for out in ("metric", "out")]
    assert views[0] == views[1] == [3] * 4 + [1] * 4


def test_the_scale_comes_from_the_hand_if_asked(capture, tmp_path):
    scaled = in_another_unit(capture, tmp_path / "inches", 0.0254)
    keypoints = true_keypoints(capture, tmp_path / "truth.jsonl")
    report = annotate.run(scaled, tmp_path / "out", config(keypoints, metres_per_unit="auto"))
    assert report.scale == "estimated"
    assert report.metres_per_unit == pytest.approx(0.0254, rel=0.15)  # the subject's size is not the mean's
    assert any("scale estimated" in note for note in report.notes)
    size = [np.linalg.norm(r.keypoints_world_m[9] - r.keypoints_world_m[0]) for _, r in Annotations(tmp_path / "out")]
    assert np.ptp(size) < 3e-6  # m: one hand in all frames, but for rounding


def test_missing_views_and_frames(capture, tmp_path):
    drop = {(2, "cam_0"), (5, "cam_0"), (5, "cam_1")}
    keypoints = true_keypoints(capture, tmp_path / "truth.jsonl", frames=(0, 1, 2, 5, 6, 7), drop=drop)
    annotate.run(capture, tmp_path / "out", config(keypoints))
    found = {record.frame: record for _, record in Annotations(tmp_path / "out")}
    assert sorted(found) == list(range(8))
    sources = [found[frame].source for frame in range(8)]  # 3 and 4 are lost, frame 5 is seen by one camera
    assert sources == ["keypoints"] * 3 + ["silhouette"] * 3 + ["keypoints"] * 2
    annotate.run(capture, tmp_path / "without", config(keypoints, refine="none"))
    blind = {record.frame: record for _, record in Annotations(tmp_path / "without")}
    assert [blind[frame].source for frame in (2, 3, 5, 6)] == ["keypoints", "interpolated", "interpolated", "keypoints"]
    assert blind[4].expected_error_mm > 1.5 * blind[2].expected_error_mm
    assert found[2].views_detected == 2 and len(found[2].views) == 3  # the missed view is cut out all the same


def test_no_hand_at_all_is_not_an_error(capture, tmp_path):
    write_detections(tmp_path / "none.jsonl", [])
    report = annotate.run(capture, tmp_path / "out", config(str(tmp_path / "none.jsonl")))
    words = "no right hand was ever seen by two cameras that agree; is it a left hand (--hands left)?"
    assert report.accepted == {} and words in report.notes
    assert list(Annotations(tmp_path / "out")) == []


def test_no_hand_and_no_scale_is_one(capture, tmp_path):
    write_detections(tmp_path / "none.jsonl", [])
    with pytest.raises(HandgenError, match="the scale cannot be estimated"):
        annotate.run(capture, tmp_path / "out", config(str(tmp_path / "none.jsonl"), metres_per_unit="auto"))


def test_keypoints_are_numbered_as_in_the_cameras_own_video(capture, tmp_path):
    """A camera that starts two frames early: its keypoints are found by its own frame numbers."""
    shifted = tmp_path / "shifted"
    shutil.copytree(capture, shifted)
    for number in range(7, -1, -1):  # cam_0 gets two frames in front
        (shifted / "cam_0" / f"{number:06d}.jpg").rename(shifted / "cam_0" / f"{number + 2:06d}.jpg")
    for number in (0, 1):
        shutil.copy(shifted / "cam_0" / "000002.jpg", shifted / "cam_0" / f"{number:06d}.jpg")
    document = json.loads((shifted / "capture.json").read_text())
    document["cameras"]["cam_0"]["frame_offset"] = 2
    (shifted / "capture.json").write_text(json.dumps(document))
    source = load_capture(shifted).source_frames
    assert (source[:, 0] - source[:, 1]).tolist() == [2] * len(source)
    keypoints = tmp_path / "truth.jsonl"
    true_keypoints(capture, keypoints)
    rows = [json.loads(line) for line in keypoints.read_text().splitlines()]
    for row in rows:
        row["frame"] += 2 if row["camera"] == "cam_0" else 0
    keypoints.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = annotate.run(shifted, tmp_path / "out", config(str(keypoints)))
    assert report.accepted == {"right": len(source)} and report.reprojection_px < 0.5


def test_changed_input_is_not_mixed_with_old_chunks(capture, annotated, tmp_path):
    out, settings, _ = annotated
    other = true_keypoints(capture, tmp_path / "other.jsonl", noise_px=1.0)
    with pytest.raises(HandgenError, match=r"detector\.fingerprint"):
        annotate.run(capture, out, replace(settings, detector_options=KeypointFilesOptions(keypoints=other)))
    picture = capture / "cam_1" / "000003.jpg"
    pixels = picture.read_bytes()
    picture.write_bytes(pixels + b"\0")
    with pytest.raises(HandgenError, match="capture: .* there, .* now"):
        annotate.run(capture, out, settings)
    picture.write_bytes(pixels)


def test_a_lost_tar_is_made_again(capture, annotated, tmp_path):
    out, settings, _ = annotated
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    lost = copy / "chunks" / "000001.tar"
    expected = lost.read_bytes()
    lost.unlink()
    annotate.run(capture, copy, settings)
    assert lost.read_bytes() == expected


def test_a_hand_at_the_edge_has_no_mask_outside_the_picture(capture, tmp_path):
    """Crop every picture through the hand: nothing outside of it is called hand."""
    from handgen.media.images import read_rgb, write_png

    keypoints = true_keypoints(capture, tmp_path / "truth.jsonl")
    cut = tmp_path / "cut"
    shutil.copytree(capture, cut)
    document = json.loads((cut / "calibration.json").read_text())
    middle = {}
    for line in Path(keypoints).read_text().splitlines():
        row = json.loads(line)
        middle.setdefault(row["camera"], []).append(np.median(np.array(row["keypoints_px"])[:, 0]))
    for camera in document["cameras"]:
        width = int(np.median(middle[camera["name"]])) + 5
        camera["size_px"][0] = width
        for picture in sorted((cut / camera["name"]).iterdir()):
            image = read_rgb(picture)[:, :width].copy()
            picture.unlink()
            write_png(picture.with_suffix(".png"), image)
    (cut / "calibration.json").write_text(json.dumps(document))
    annotate.run(cut, tmp_path / "out", config(keypoints, min_mask_iou=0.0))
    opened = Annotations(tmp_path / "out")
    outside = 0
    for chunk, record in opened:
        for view in record.views:
            _, inside = opened.rig[view.camera.name].project(record.keypoints_world_m)
            outside += int((~inside).sum())
            left = view.box_px[0]
            mask = opened.cutout(chunk, view).mask
            beyond = opened.rig[view.camera.name].size_px[0] - left + 2  # 2 px: the lens bends the picture's edge
            assert not mask[:, max(beyond, 0) :].any()
    assert outside > 20


def test_previews_are_written(capture, annotated, tmp_path):
    _, settings, _ = annotated
    report = annotate.run(capture, tmp_path / "out", replace(settings, preview=2))
    assert len(report.previews) == 2 and all(path.is_file() for path in report.previews)


@pytest.mark.slow
def test_from_pixels_alone(tmp_path):
    if len(networks.installed()) < len(networks.NETWORKS):
        pytest.skip("the keypoint networks are not in the cache; run `handgen models fetch`")
    path = tmp_path / "capture"
    simulate.run(path, SimulateConfig(views=4, frames=8, seed=3, fps=8, workers=1))
    report = annotate.run(path, tmp_path / "out", AnnotateConfig(hands="right", workers=1))
    errors = errors_mm(path, tmp_path / "out")
    assert len(errors) >= 6
    assert np.median(list(errors.values())) < 8  # mm; the detector's own noise is 3 to 5
    assert report.mask_iou > 0.85
