"""Calibration files as they are found: half finished, beside another one, with other tables, from other editors."""

import json
import os
import re

import pytest
from support.calibration_files import WRITERS, write_anipose, write_caliscope, write_two_file_json
from support.cameras import in_units, ring
from support.captures import make_capture, rotate_video, small_rig, write_video

from handgen.errors import HandgenError
from handgen.geometry.camera import Rig
from handgen.io.calibration_files.registry import load_calibration
from handgen.io.capture.capture import load_capture
from handgen.stages.inspect.describe import describe

TOML = ["caliscope", "anipose"]


def refused(path, read=load_calibration) -> str:
    with pytest.raises(HandgenError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def replace_in(path, old, new, count=1):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


@pytest.mark.parametrize("name", WRITERS)
def test_a_byte_order_mark_is_no_content(name, tmp_path):
    WRITERS[name](tmp_path, ring(3))
    for file in tmp_path.rglob("*.*"):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert len(load_calibration(tmp_path).cameras) == 3


def test_a_byte_order_mark_before_capture_json(tmp_path):
    make_capture(tmp_path, frames=(3, 3), settings={"hands": "left"})
    file = tmp_path / "capture.json"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert load_capture(tmp_path).hands == "left"


@pytest.mark.parametrize("name", WRITERS)
def test_endings_in_capital_letters(name, tmp_path):
    WRITERS[name](tmp_path, ring(3))
    for file in list(tmp_path.rglob("*.*")):
        file.rename(file.with_suffix(file.suffix.upper()))
    assert len(load_calibration(tmp_path).cameras) == 3


def test_tables_of_other_things_are_no_cameras(tmp_path):
    path = write_anipose(tmp_path, ring(3))
    tables = "[capture_volume]\nRMSE = 0.4\nstage = 1\nrotation = [0, 0, 0]\n[charuco]\ncolumns = 4\nsize = [1, 2]\n"
    path.write_text(path.read_text() + tables)
    calibration = load_calibration(tmp_path)
    assert len(calibration.cameras) == 3 and not calibration.uncalibrated


@pytest.mark.parametrize("name", TOML)
@pytest.mark.parametrize("how", ["null", "gone", "ignored"])
def test_cameras_that_are_not_calibrated_are_named(name, how, tmp_path):
    path = WRITERS[name](tmp_path, ring(3))
    text = path.read_text()
    at = text.index("translation = ")
    line = text[at : text.index("\n", at)]
    new = {"null": 'translation = "null"', "gone": "", "ignored": f"{line}\nignore = true"}[how]
    path.write_text(text.replace(line, new, 1))
    calibration = load_calibration(tmp_path)
    assert calibration.names == ("cam1", "cam2")
    why = "ignore = true" if how == "ignored" else "no translation"
    assert calibration.uncalibrated["cam0"] == why


def capture_with(tmp_path, videos, change, settings=None):
    """A capture with caliscope's file of three cameras, of which the first is changed."""
    make_capture(tmp_path, frames=(), rig=small_rig("cam0", "cam1", "cam2"), settings=settings)
    (tmp_path / "calibration.json").unlink()
    path = write_caliscope(tmp_path, small_rig("cam0", "cam1", "cam2"))
    replace_in(path, "fisheye = false", change)
    replace_in(path, "[cameras.unused]\nignore = true\n", "")
    for camera in videos:
        write_video(tmp_path / f"cam{camera}.mp4", camera, 3)
    return tmp_path


NULL, IGNORE = (
    'fisheye = false\n\n[cameras.cam3]\nrotation = "null"\ntranslation = "null"\nmatrix = [1]',
    "ignore = true",
)


def test_a_camera_that_is_not_calibrated_may_be_left_out(tmp_path):
    capture = load_capture(capture_with(tmp_path, (0, 1, 2), NULL))
    assert capture.rig.names == ("cam0", "cam1", "cam2")
    said = "not calibrated in array.toml and left out: camera cam3 (no rotation and no translation)"
    assert said in capture.notes


def test_the_video_of_a_camera_that_is_not_calibrated_is_an_error(tmp_path):
    text = refused(capture_with(tmp_path, (0, 1, 2, 3), NULL), load_capture)
    assert "cam3.mp4: camera cam3 is not calibrated in" in text and "list the cameras to use in capture.json" in text
    listed = {f"cam{i}": {"file": f"cam{i}.mp4"} for i in (0, 1, 3)}
    (tmp_path / "capture.json").write_text(json.dumps({"format_version": 1, "cameras": listed}))
    assert "capture.json: camera cam3 is not calibrated in" in refused(tmp_path, load_capture)
    del listed["cam3"]
    (tmp_path / "capture.json").write_text(json.dumps({"format_version": 1, "cameras": listed}))
    capture = load_capture(tmp_path)
    assert capture.rig.names == ("cam0", "cam1")
    assert "not listed in capture.json and left out: camera cam2, cam3" in capture.notes


def test_the_video_of_an_ignored_camera_is_left_out(tmp_path):
    capture = load_capture(capture_with(tmp_path, (0, 1, 2), IGNORE))
    assert capture.rig.names == ("cam1", "cam2")
    assert "not calibrated in array.toml and left out: camera cam0 (ignore = true)" in capture.notes


@pytest.mark.parametrize("name", TOML)
def test_matrices_that_are_all_misspelt(name, tmp_path):
    path = WRITERS[name](tmp_path, ring(3))
    path.write_text(path.read_text().replace("matrix = ", "matrx = "))
    text = refused(tmp_path)
    assert "no camera is calibrated (camera cam0: no matrix; it has" in text and "matrx" in text


@pytest.mark.parametrize("unit", [1.0, 1e-3])
def test_caliscopes_two_files_are_one_calibration(unit, tmp_path):
    write_caliscope(tmp_path, ring(3)).rename(tmp_path / "camera_array.toml")
    other = write_anipose(tmp_path, in_units(ring(3), unit))
    other.rename(tmp_path / "camera_array_aniposelib.toml")
    calibration = load_calibration(tmp_path)
    assert calibration.path.name == "camera_array.toml" and calibration.metres_per_unit == 1.0
    assert "camera_array_aniposelib.toml says the same as camera_array.toml (caliscope)" in calibration.notes[0]


def test_the_calibration_with_more_cameras_is_taken(tmp_path):
    write_two = write_caliscope(tmp_path, ring(4))
    text = write_two.read_text()
    write_two.write_text(text[: text.index("[cameras.cam2]")])
    write_anipose(tmp_path, ring(4))
    calibration = load_calibration(tmp_path)
    assert calibration.format == "anipose" and len(calibration.cameras) == 4


def test_calibrations_that_differ_are_a_question(tmp_path):
    write_caliscope(tmp_path, ring(3))
    write_anipose(tmp_path, Rig(ring(4).cameras[:3]))
    assert "more than one calibration" in refused(tmp_path)


def test_a_capture_without_calibration(tmp_path):
    write_video(tmp_path / "hands.mp4", 0, 3)
    assert "no calibration" in refused(tmp_path, load_capture)
    assert "calibrate the cameras first" in refused(tmp_path, load_capture)


def test_a_rotation_tag_is_told_and_the_error_says_what_it_is(tmp_path):
    capture = make_capture(tmp_path, frames=(3, 3))
    rotate_video(tmp_path / "cam1.mp4")
    text = refused(capture, load_capture)
    assert "cam1.mp4: images of 96x128 are rotated by 90 degrees by a tag in the file (90 degrees)" in text
    assert "128x96" in text and "-display_rotation 0" in text
    rotate_video(tmp_path / "cam0.mp4")
    (tmp_path / "rig").mkdir()
    make_capture(tmp_path / "rig", frames=(), rig=small_rig("cam0", "cam1", size_px=(96, 128)))
    (tmp_path / "rig" / "calibration.json").rename(tmp_path / "calibration.json")
    shown = describe(tmp_path)
    assert "camera cam1: its video is rotated by 90 degrees, as a tag in the file asks for" in shown.notes
    assert [camera["rotation_deg"] for camera in shown.data["cameras"]] == [90, 90]


def test_pictures_of_exchanged_width_and_height_without_a_tag(tmp_path):
    text = refused(
        make_capture(tmp_path, frames=(3, 3), rig=small_rig("cam0", "cam1", size_px=(960, 1280))), load_capture
    )
    assert "images of 128x96 are rotated by 90 degrees: camera cam0" in text and "turn them back" in text


def test_two_file_json_errors_name_the_file_whatever_its_case(tmp_path):
    write_two_file_json(tmp_path, ring(2))
    (tmp_path / "extrinsic.json").rename(tmp_path / "EXTRINSIC.JSON")
    (tmp_path / "EXTRINSIC.JSON").write_text("{")
    assert "EXTRINSIC.JSON: not valid JSON" in refused(tmp_path)


@pytest.mark.parametrize("name", ["anipose", "EasyMocap", "two-file JSON"])
def test_a_rotation_vector_that_overflows_is_named(name, tmp_path):
    folder = tmp_path / "calibration"
    folder.mkdir()
    WRITERS[name](folder, ring(2))
    (file,) = [path for path in folder.iterdir() if path.name in ("some.toml", "extri.yml", "extrinsic.json")]
    text = file.read_text()
    found = re.search(r"(?<=rotation = \[)[^,]+|(?<=data: \[ )[^,]+|(?<=\"rvec\": \[\[)[^\]]+", text)
    file.write_text(text[: found.start()] + "-1e308" + text[found.end() :])
    assert "the rotation is not one" in refused(folder)


def test_a_pipe_is_no_calibration(tmp_path):
    os.mkfifo(tmp_path / "calibration.toml")
    assert "neither a file nor a folder" in refused(tmp_path / "calibration.toml")
