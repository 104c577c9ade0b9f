"""Every calibration format is written here from a known rig, read back, and must project alike."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.calibration_files import (
    DISTORTION,
    WRITERS,
    toml_camera,
    write_anipose,
    write_caliscope,
    write_easymocap,
    write_handgen,
    write_stereo_dat,
    write_two_file_json,
)
from support.cameras import in_units, look_at, ring

from handgen.errors import HandgenError
from handgen.geometry.camera import Camera, Rig
from handgen.io.calibration_files import registry
from handgen.io.calibration_files.base import Calibration
from handgen.io.calibration_files.handgen_json import save_calibration
from handgen.io.calibration_files.registry import FORMATS, load_calibration
from handgen.plugins import Registry


@pytest.fixture
def lensed_rig() -> Rig:
    return ring(3, distortion=DISTORTION)


def assert_projects_alike(read, rig: Rig, scale: float = 1.0) -> None:
    points = np.random.default_rng(3).uniform(-0.1, 0.1, (50, 3))
    for camera, truth in zip(read, rig, strict=True):
        pixels, _ = camera.project(points / scale)
        expected, visible = truth.project(points)
        assert visible.all()
        assert np.abs(pixels - expected).max() < 1e-6


def message_of(path: Path) -> str:
    with pytest.raises(HandgenError) as caught:
        load_calibration(path)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_every_format_is_tested():
    assert set(WRITERS) == set(FORMATS.names())


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("by", ["folder", "file"])
def test_reads_back_what_was_written(name, by, tmp_path, lensed_rig):
    path = WRITERS[name](tmp_path, lensed_rig)
    calibration = load_calibration(tmp_path if by == "folder" else path)
    assert calibration.format == name
    assert calibration.path == path
    assert_projects_alike(calibration.cameras, lensed_rig)


def test_each_file_of_a_pair_names_the_calibration(tmp_path, lensed_rig):
    for name, file in (
        ("two-file JSON", "extrinsic.json"),
        ("EasyMocap", "intri.yml"),
        ("stereo tutorial .dat", "camera_parameters/rot_trans_c1.dat"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        WRITERS[name](folder, lensed_rig)
        assert load_calibration(folder / file).format == name


@pytest.mark.parametrize(
    ("name", "metres", "note", "sized"),
    [
        ("handgen JSON", 1.0, "metres", True),
        ("two-file JSON", None, "chessboard", True),
        ("stereo tutorial .dat", None, "chessboard", False),
        ("caliscope", 1.0, "metres (caliscope)", True),
        ("anipose", 1.0, "metres assumed", True),
        ("EasyMocap", 1.0, "metres (EasyMocap)", False),
    ],
)
def test_says_the_unit_and_whether_the_size_is_known(name, metres, note, sized, tmp_path, lensed_rig):
    WRITERS[name](tmp_path, lensed_rig)
    calibration = load_calibration(tmp_path)
    assert calibration.metres_per_unit == metres
    assert note in calibration.unit_note
    assert calibration.unsized == (frozenset() if sized else frozenset(calibration.names))


def test_two_file_json_is_valid_at_1200x900(tmp_path, lensed_rig):
    calibration = load_calibration(write_two_file_json(tmp_path, lensed_rig))
    assert {camera.size_px for camera in calibration.cameras} == {(1200, 900)}
    assert calibration.names == ("0", "1", "2")


def test_anipose_millimetres_are_recognised(tmp_path, lensed_rig):
    write_anipose(tmp_path, in_units(lensed_rig, 1e-3))
    calibration = load_calibration(tmp_path)
    assert calibration.metres_per_unit == 1e-3
    assert "millimetres assumed" in calibration.unit_note
    assert_projects_alike(calibration.cameras, lensed_rig, scale=1e-3)


def test_fisheye_and_rotation_vectors_in_caliscope(tmp_path):
    pinhole = look_at("a", np.array([0.5, 0.2, 0.1]), np.zeros(3))
    camera = Camera(
        "a",
        pinhole.size_px,
        pinhole.intrinsics,
        np.array([0.1, -0.02, 0.01, 0.0]),
        "fisheye",
        pinhole.cam_from_world,
    )
    vector = cv2.Rodrigues(camera.cam_from_world.rotation)[0].ravel()
    (tmp_path / "x.toml").write_text(f"[cameras.a]\n{toml_camera(camera, vector)}")
    assert_projects_alike(load_calibration(tmp_path).cameras, Rig((camera,)))


def test_easymocap_image_size_is_used_if_given(tmp_path, lensed_rig):
    write_easymocap(tmp_path, lensed_rig)
    with (tmp_path / "intri.yml").open("a") as file:
        for camera in lensed_rig:
            file.write(f"H_{camera.name}: 480\nW_{camera.name}: 640\n")
    calibration = load_calibration(tmp_path)
    assert not calibration.unsized
    assert calibration.cameras[0].size_px == (640, 480)


@pytest.mark.parametrize("folder", ["camera_parameters", "calibration", "calib_2"])
def test_sub_folders_are_searched(folder, tmp_path, lensed_rig):
    (tmp_path / folder).mkdir()
    write_handgen(tmp_path / folder, lensed_rig)
    assert load_calibration(tmp_path).path == tmp_path / folder / "mine.json"


def test_save_calibration_leaves_no_partial_file_and_keeps_an_unknown_unit(tmp_path, lensed_rig):
    save_calibration(tmp_path / "c.json", lensed_rig, metres_per_unit=None)
    assert [file.name for file in tmp_path.iterdir()] == ["c.json"]
    assert load_calibration(tmp_path).metres_per_unit is None


def test_nothing_recognised_says_what_was_looked_for(tmp_path):
    (tmp_path / "notes.json").write_text("[1, 2]")
    text = message_of(tmp_path)
    assert str(tmp_path) in text and "--calibration" in text and "EasyMocap" in text


def test_missing_path(tmp_path):
    assert "no such file" in message_of(tmp_path / "gone.json")


def test_two_calibrations_are_ambiguous(tmp_path, lensed_rig):
    write_handgen(tmp_path, lensed_rig)
    write_caliscope(tmp_path, in_units(lensed_rig, 0.9))  # both say that they are in metres
    text = message_of(tmp_path)
    assert "mine.json" in text and "array.toml" in text and "--calibration" in text


@pytest.mark.parametrize(("name", "content"), [("a.json", '{"cameras": ['), ("a.toml", "[cam_0"), ("a.toml", "\xff")])
def test_truncated_file_is_named(name, content, tmp_path):
    (tmp_path / name).write_bytes(content.encode("latin1"))
    assert str(tmp_path / name) in message_of(tmp_path)


def edit_json(path: Path, change) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda d: d["cameras"][1]["cam_from_world"][0].__setitem__(0, 2.0), "rotation is not one"),
        (lambda d: d["cameras"][1].update(distortion=[0.1, 0.2, 0.3]), "distortion coefficients, got 3"),
        (lambda d: d["cameras"][1].pop("lens"), "lens"),
        (lambda d: d["cameras"][1].update(extra=1), "extra"),
        (lambda d: d["cameras"][1].update(name=d["cameras"][0]["name"]), "two cameras"),
        (lambda d: d["cameras"][1]["intrinsics"][0].__setitem__(0, -5.0), "focal"),
        (lambda d: d["cameras"][1]["cam_from_world"][3].__setitem__(0, 1.0), "last row"),
        (lambda d: d["cameras"][1]["intrinsics"][0].__setitem__(0, float("nan")), "not valid JSON"),
        (lambda d: d.update(format_version=2), "format_version"),
        (lambda d: d.update(metres_per_unit=0), "metres_per_unit"),
        (lambda d: d.update(cameras=[]), "cameras"),
    ],
)
def test_bad_values_in_our_json(change, expected, tmp_path, lensed_rig):
    path = write_handgen(tmp_path, lensed_rig)
    edit_json(path, change)
    text = message_of(tmp_path)
    assert expected in text and str(path) in text


@pytest.mark.parametrize(
    ("file", "change", "expected"),
    [
        ("extrinsic.json", lambda d: d.pop("extrinsic1"), "extrinsic1 is missing"),
        ("extrinsic.json", lambda d: d["extrinsic1"][0].pop("tvec"), "translation is missing"),
        ("extrinsic.json", lambda d: d.update(extrinsic1={}), "must be a list of one"),
        ("extrinsic.json", lambda d: d["extrinsic1"][0].update(rvec=[[float("nan")]] * 3), "not finite"),
        (
            "extrinsic.json",
            lambda d: d["extrinsic1"][0].update(rvec=["a", "b", "c"]),
            "not a list of numbers",
        ),
        ("extrinsic.json", lambda d: d["extrinsic1"][0].update(rvec=[[1, 0, 0]] * 3), "rotation is not one"),
        ("extrinsic.json", lambda d: d["extrinsic1"][0].update(tvec=[1, 2]), "must be 3 numbers"),
        ("intrinsic.json", lambda d: d.update(intrinsic=[[1, 2], [3]]), "not a list of numbers"),
        (
            "intrinsic.json",
            lambda d: d.update(distortion_coefficients=[0.1]),
            "distortion coefficients, got 1",
        ),
        ("intrinsic.json", lambda d: d.update(distortion_coefficients=None), "distortion is missing"),
    ],
)
def test_bad_values_in_two_file_json(file, change, expected, tmp_path, lensed_rig):
    write_two_file_json(tmp_path, lensed_rig)
    edit_json(tmp_path / file, change)
    text = message_of(tmp_path)
    assert expected in text and file in text


def test_half_of_a_pair(tmp_path, lensed_rig):
    for name, file in (("two-file JSON", "extrinsic.json"), ("EasyMocap", "extri.yml")):
        folder = tmp_path / name
        folder.mkdir()
        WRITERS[name](folder, lensed_rig)
        (folder / file).unlink()
        assert f"{file}: missing" in message_of(folder)


def test_stereo_camera_without_pose(tmp_path, lensed_rig):
    (write_stereo_dat(tmp_path, lensed_rig) / "rot_trans_c1.dat").unlink()
    text = message_of(tmp_path)
    assert "camera 1" in text and "rot_trans_c1.dat" in text


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("distortion:", "distortion:\nabc", "not a row of numbers"),
        ("0.0 0.0 1.0", "0.0 0.0", "different lengths"),
        ("0.0 0.0 1.0", "0.0 0.0 nan", "not finite"),
        ("distortion:", "else:", "distortion is missing"),
    ],
)
def test_bad_stereo_files(old, new, expected, tmp_path, lensed_rig):
    file = write_stereo_dat(tmp_path, lensed_rig) / "c1.dat"
    file.write_text(file.read_text().replace(old, new))
    text = message_of(tmp_path)
    assert expected in text and "c1.dat" in text


@pytest.mark.parametrize("name", ["caliscope", "anipose"])
@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("size = [640, 480]", "size = [640]", "image size"),
        ("size = [640, 480]", "size = [0, 480]", "image size"),
        ("distortions = [", "distortions = [0.1, ", "distortion coefficients, got 6"),
        ("distortions = [-0.05", "distortions = [nan", "not finite"),
        ("translation = [", "translation = ['x', ", "not a list of numbers"),
        ("rotation = [", "rotation = [[9, 9, 9], ", "rotation"),
    ],
)
def test_bad_values_in_toml(name, old, new, expected, tmp_path, lensed_rig):
    path = WRITERS[name](tmp_path, lensed_rig)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    text = message_of(path)
    assert expected in text and str(path) in text and "cam0" in text


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("extri.yml", "T_cam1:", "U_cam1:", "T_cam1 is missing"),
        ("extri.yml", "rows: 3", "rows: 4", "says 4x"),
        ("intri.yml", "K_cam1:", "J_cam1:", "K_cam1 is missing"),
        ("intri.yml", "data: [ ", "data: [ .Nan, ", "numbers"),
        ("intri.yml", "data: [ ", "data: [ x, ", "not a list of numbers"),
    ],
)
def test_bad_values_in_easymocap(file, old, new, expected, tmp_path, lensed_rig):
    write_easymocap(tmp_path, lensed_rig)
    path = tmp_path / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    text = message_of(tmp_path)
    assert expected in text and file in text


def test_easymocap_nan_is_named(tmp_path, lensed_rig):
    write_easymocap(tmp_path, lensed_rig)
    file = cv2.FileStorage(str(tmp_path / "extri.yml"), cv2.FILE_STORAGE_APPEND)
    file.release()
    text = (tmp_path / "extri.yml").read_text()
    start = text.index("T_cam1")
    first = text.index("[", start)
    (tmp_path / "extri.yml").write_text(text[: first + 1] + " .Nan, -.Inf, 1. ]\n" + text[text.index("]", first) + 1 :])
    message = message_of(tmp_path)
    assert "cam1" in message and "not finite" in message


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(WRITERS)), data=st.data())
def test_damaged_files_never_crash(name, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    WRITERS[name](folder, ring(2, distortion=DISTORTION))
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    file = data.draw(st.sampled_from(files))
    content = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at : at + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=8))
    file.write_bytes(bytes(content))
    try:
        load_calibration(folder)
    except HandgenError as error:
        assert "\n" not in str(error)


@pytest.mark.captures
@pytest.mark.parametrize(
    ("name", "fmt", "cameras"),
    [("desk_two_views", "stereo tutorial .dat", 2), ("room_four_views", "caliscope", 4)],
)
def test_real_calibrations(name, fmt, cameras, captures):
    calibration = load_calibration(captures / name)
    assert calibration.format == fmt
    assert len(calibration.cameras) == cameras


def test_a_format_brings_its_suffix(tmp_path, rig, monkeypatch):
    class Borrowed:
        NAME, SUFFIXES = "borrowed", (".xyz",)

        def recognise(self, path, text):
            return path if text == "borrowed" else None

        def read(self, path):
            return Calibration(tuple(rig), path, self.NAME, 1.0, "metres")

    monkeypatch.setattr(registry, "FORMATS", Registry("calibration format"))
    registry.register_calibration_format(Borrowed())
    (tmp_path / "rig.XYZ").write_text("borrowed")
    (tmp_path / "rig.json").write_text("borrowed")  # of no format that there is now
    assert load_calibration(tmp_path).path == tmp_path / "rig.XYZ"
    assert registry.calibration_suffixes() == (".xyz",)
