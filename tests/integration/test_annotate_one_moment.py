"""A single moment: two to four views, with a finger or view that is wrong, with or without the scale, one camera."""

import json
import shutil

import cv2
import numpy as np
import pytest
from support.annotate import config

from handgen.errors import HandgenError
from handgen.hand.skeleton import FINGER_KEYPOINTS
from handgen.io.annotations import Annotations
from handgen.io.capture.capture import load_capture
from handgen.io.detections import write_detections
from handgen.records.detection import DetectionRecord
from handgen.stages.annotate import stage as annotate
from handgen.stages.simulate import stage as simulate
from handgen.stages.simulate.config import SimulateConfig

MOMENT = 3


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Four views of eight frames; hands of about 100 px."""
    path = tmp_path_factory.mktemp("moment") / "capture"
    simulate.run(
        path, SimulateConfig(views=4, frames=8, size=(480, 360), fps=8, video=False, workers=1, hands="right", seed=11)
    )
    return path


def one_moment(whole, path, cameras):
    """A capture of one frame and some of the cameras, its true keypoints by camera, and the true hand."""
    names = [f"cam_{i}" for i in range(4)][:cameras]
    record = next(record for _, record in Annotations(whole / "truth") if record.frame == MOMENT)
    rig = load_capture(whole).rig
    calibration = json.loads((whole / "calibration.json").read_text())
    calibration["cameras"] = [camera for camera in calibration["cameras"] if camera["name"] in names]
    path.mkdir()
    (path / "calibration.json").write_text(json.dumps(calibration))
    for name in names:
        (path / name).mkdir()
        shutil.copy(sorted((whole / name).iterdir())[MOMENT], path / name)
    rng = np.random.default_rng(0)
    pixels = {
        camera.name: camera.project(record.keypoints_world_m)[0] + rng.normal(0, 0.4, (21, 2))
        for camera in rig
        if camera.name in names
    }
    return path, pixels, record.keypoints_world_m


def annotated(capture, pixels, out, **options):
    file = out.with_suffix(".jsonl")
    write_detections(file, [DetectionRecord(name, 0, each, np.ones(21), 0.99) for name, each in pixels.items()])
    report = annotate.run(capture, out, config(file, keypoints_of="model", **options))
    return report, [record for _, record in Annotations(out)]


def error_mm(record, truth):
    return 1e3 * np.linalg.norm(record.keypoints_world_m - truth, axis=1).mean()


@pytest.mark.parametrize("cameras", [2, 3, 4])
@pytest.mark.parametrize("unit", [None, "auto"])
def test_one_moment_is_annotated_by_any_number_of_views(whole, tmp_path, cameras, unit):
    capture, pixels, truth = one_moment(whole, tmp_path / "capture", cameras)
    report, [record] = annotated(capture, pixels, tmp_path / "out", metres_per_unit=unit)
    assert record.accepted, (record.reasons, report.notes)
    if unit is None:
        assert error_mm(record, truth) < 2.0  # 0.4 px are 0.6 mm here
    else:
        [note] = [note for note in report.notes if note.startswith("scale estimated from the hand")]
        assert "sure to 6." in note and " +- " in note and "mm, wrist to middle fingertip" in note


def test_a_bad_finger_and_a_bad_view_are_left_out_named_and_not_followed(whole, tmp_path):
    capture, pixels, truth = one_moment(whole, tmp_path / "capture", 4)
    ring = list(FINGER_KEYPOINTS["ring"])
    worse = pixels | {"cam_1": pixels["cam_1"].copy()}
    worse["cam_1"][ring] += (20, 20)
    report, [record] = annotated(capture, worse, tmp_path / "finger")
    assert record.accepted and error_mm(record, truth) < 2.0
    assert any("cam_1's ring contradicts the other views" in note and "left out" in note for note in report.notes)
    worse = pixels | {"cam_2": pixels["cam_2"] + (18, -14)}
    report, [record] = annotated(capture, worse, tmp_path / "view", metres_per_unit="auto")
    assert record.accepted and record.views_detected == 3
    assert any("cam_2 contradicts the other views" in note for note in report.notes)
    assert not any(view.accepted for view in record.views if view.camera.name == "cam_2")


def test_views_that_never_agree_are_said_with_the_figure_and_the_limit(whole, tmp_path):
    capture, pixels, _ = one_moment(whole, tmp_path / "capture", 2)
    apart = {name: each + (0, 70 * i) for i, (name, each) in enumerate(pixels.items())}
    with pytest.raises(HandgenError, match=r"but none agree where: they miss each other by \d+ % .*limit 15 %"):
        annotated(capture, apart, tmp_path / "far", metres_per_unit="auto")
    with pytest.raises(HandgenError, match="no hand was seen by two cameras"):
        annotated(capture, {"cam_0": pixels["cam_0"]}, tmp_path / "one", metres_per_unit="auto")
    finger = {name: each.copy() for name, each in pixels.items()}
    finger["cam_1"][list(FINGER_KEYPOINTS["index"])] += (30, 30)
    report, [record] = annotated(capture, finger, tmp_path / "finger")
    assert record.reasons == ("views disagree",) and report.nothing_accepted is not None
    assert any("index contradicts" in note and "cannot be told from so few views" in note for note in report.notes)


def test_one_camera_says_the_figure_and_the_option_and_is_accepted_with_it(whole, tmp_path):
    capture, pixels, _ = one_moment(whole, tmp_path / "capture", 1)
    report, [record] = annotated(capture, pixels, tmp_path / "out", min_views=1)
    assert record.reasons == ("uncertain",)
    assert "mm of expected error, limit 15: --max-uncertainty" in report.nothing_accepted
    report, [record] = annotated(capture, pixels, tmp_path / "more", min_views=1, max_uncertainty_mm=80.0)
    assert record.accepted and 15 < record.expected_error_mm < 80 and report.nothing_accepted is None
    picture = cv2.imread(str(next((capture / "cam_0").iterdir())))
    assert picture.shape == (360, 480, 3)
