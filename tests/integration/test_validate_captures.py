"""Captures and calibrations; what is done to a calibration is in `test_validate_mutations`."""

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.annotations import write_annotations
from support.calibration_files import WRITERS, write_caliscope
from support.cameras import ring
from support.captures import make_capture, write_video

from handgen.errors import HandgenError
from handgen.geometry.camera import Rig
from handgen.geometry.rigid import Rigid
from handgen.label_checks.findings import Findings
from handgen.stages.validate.cameras import check_rig, doubt
from handgen.stages.validate.stage import run


def found(path) -> dict[str, str]:
    """Return what is said, by check."""
    return {finding.kind: finding.what for finding in run(path, workers=1).findings.kept}


def in_another_world(rig: Rig, turn: np.ndarray, shift: np.ndarray) -> tuple:
    world_from_other = Rigid(cv2.Rodrigues(turn)[0], shift)
    return tuple(replace(camera, cam_from_world=camera.cam_from_world @ world_from_other) for camera in rig)


triples = st.lists(st.floats(-3, 3), min_size=3, max_size=3).map(np.array)


@settings(max_examples=50)
@given(triples, triples, st.integers(2, 8), st.floats(0.1, 4.0))
def test_rigs_are_right_in_every_world(turn, shift, views, radius):
    cameras = in_another_world(ring(views, radius), turn, shift)
    findings = Findings()
    check_rig(findings, "rig", cameras, in_metres=True)
    assert not findings.kept and doubt(cameras) is None


def test_cameras_that_look_away_from_each_other_until_they_are_transposed_are_a_note():
    rng = np.random.default_rng(14)
    cameras = in_another_world(ring(3), rng.normal(size=3) * 2, rng.normal(size=3) * 3)
    transposed = [
        replace(camera, cam_from_world=Rigid(camera.cam_from_world.rotation.T, camera.cam_from_world.translation))
        for camera in cameras
    ]
    assert "if cam_from_world were its rotation transposed" in (doubt(transposed) or "")


@pytest.mark.parametrize("name", WRITERS)
def test_calibrations_of_every_format_are_looked_at(name, tmp_path):
    path = WRITERS[name](tmp_path, ring(4))
    report = run(path, workers=1)
    assert report.kind == "calibration" and report.valid, report.findings.kept
    assert report.facts == {"cameras": 4}
    is_told = {"baseline"} <= report.looked_at.keys() or any("unit is unknown" in note for note in report.notes)
    assert is_told


def test_a_calibration_that_cannot_be_read_is_a_finding(tmp_path):
    (tmp_path / "calibration.json").write_text('{"format_version": 1, "cameras": [')
    assert "not valid JSON" in found(tmp_path / "calibration.json")["calibration"]


def test_cameras_at_one_place_are_told():
    [first, second, third] = ring(3)
    moved = -third.cam_from_world.rotation @ first.center_world
    findings = Findings()
    third = replace(
        third, cam_from_world=Rigid(third.cam_from_world.rotation, moved), intrinsics=third.intrinsics * 1.0
    )
    wide = np.diag([0.2, 0.2, 1.0])  # which see a common place all the same
    cameras = [replace(camera, intrinsics=camera.intrinsics @ wide) for camera in (first, second, third)]
    check_rig(findings, "rig", cameras, in_metres=True)
    assert "is at the place of camera cam0" in {f.kind: f.what for f in findings.kept}.get("cameras apart", "")


def test_a_headset_whose_cameras_look_apart_is_noted_at_most():
    cameras = []
    for k, angle in enumerate((-0.6, -0.2, 0.2, 0.6)):
        rotation = cv2.Rodrigues(np.array([0.0, -angle, 0.0]))[0]
        center = np.array([0.05 * np.sin(angle), 0, 0.05 * np.cos(angle)])
        camera = replace(
            ring(1).cameras[0], name=str(k), intrinsics=np.array([[300.0, 0, 320], [0, 300, 240], [0, 0, 1]])
        )
        cameras.append(replace(camera, cam_from_world=Rigid(rotation, -rotation @ center)))
    findings = Findings()
    check_rig(findings, "headset", cameras, in_metres=True)
    assert {finding.kind for finding in findings.kept} <= {"baseline"}


def test_a_capture_without_faults(tmp_path):
    report = run(make_capture(tmp_path, rig=ring(2)), workers=1)
    assert report.kind == "capture" and report.valid, report.findings.kept
    assert report.facts == {"cameras": 2, "frames": 30}


def test_frame_counts_that_differ_are_told_unless_offsets_say_why(tmp_path):
    capture = make_capture(tmp_path, frames=(30, 20), rig=ring(2))
    assert "30 (cam0), 20 (cam1) frames" in found(capture)["frame counts"]
    cameras = {"cam0": {"file": "cam0.mp4", "frame_offset": 10}, "cam1": {"file": "cam1.mp4"}}
    told = make_capture(tmp_path, frames=(30, 20), rig=ring(2), settings={"cameras": cameras})
    assert found(told) == {}


def test_frame_rates_that_differ_are_told(tmp_path):
    capture = make_capture(tmp_path, rig=ring(2))
    write_video(capture / "cam1.mp4", 1, 30, fps=26.0)  # as many frames: taken for a rate that was measured
    assert "25 to 26 frames/s" in found(capture)["frame rates"]
    write_video(capture / "cam1.mp4", 1, 36, fps=30.0)  # as long: matched by time
    assert "frame rates" not in found(capture)


def test_one_video_for_two_cameras_is_told(tmp_path):
    capture = make_capture(tmp_path, rig=ring(2))
    shutil.copy(capture / "cam0.mp4", capture / "cam1.mp4")
    assert "the same pictures as cam0" in found(capture)["video twice"]


def test_a_capture_that_does_not_load_is_a_finding(tmp_path):
    capture = make_capture(tmp_path, rig=ring(2))
    (capture / "cam1.mp4").unlink()
    assert "camera cam1" in found(capture)["capture"]


def test_a_mirror_in_a_captures_calibration_is_named(tmp_path):
    capture = make_capture(tmp_path, rig=ring(2))
    document = json.loads((capture / "calibration.json").read_text())
    document["cameras"][1]["cam_from_world"][1] = [-value for value in document["cameras"][1]["cam_from_world"][1]]
    (capture / "calibration.json").write_text(json.dumps(document))
    assert "mirror" in found(capture)["rotation"]


@pytest.mark.slow
def test_real_captures_are_without_faults(captures):
    for path in sorted(captures.iterdir()):
        if path.is_dir():
            assert found(path) == {}


def test_nothing_that_can_be_checked_says_what_could_be(tmp_path):
    with pytest.raises(HandgenError, match="no capture, no calibration and no export"):
        run(tmp_path)


def test_cameras_of_one_picture_each_are_no_rig(tmp_path):
    """Imported data sets have a camera per picture, each in a world of its own."""
    root = write_annotations(tmp_path, frames=2, cameras=1, sides=("right",))
    manifest = json.loads((root / "manifest.json").read_text())
    manifest["cameras"].append({**manifest["cameras"][0], "name": "another"})
    (root / "manifest.json").write_text(json.dumps(manifest))
    report = run(root, workers=1)
    assert report.valid and "camera twice" not in report.looked_at


def test_what_a_calibration_leaves_out_is_a_note(tmp_path):
    write_caliscope(tmp_path, ring(2))
    report = run(tmp_path / "array.toml", workers=1)
    assert report.valid and "camera unused is not calibrated (ignore = true)" in report.notes
