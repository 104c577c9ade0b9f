"""What `handgen inspect` says of captures, annotations and shards."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_capture import make_capture, small_rig

from handgen.cli.main import main
from handgen.errors import HandgenError
from handgen.inspect import describe
from handgen.io.calibration import save_calibration


def run(*arguments: str | Path):
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)], env={"COLUMNS": "140"})


def write_annotations(folder: Path) -> Path:
    cameras = [
        {
            "name": camera.name,
            "size_px": list(camera.size_px),
            "lens": camera.lens,
            "intrinsics": camera.intrinsics.tolist(),
            "distortion": [],
            "cam_from_world": camera.cam_from_world.as_matrix().tolist(),
        }
        for camera in small_rig("left", "right")
    ]
    manifest = {
        "kind": "annotations",
        "format_version": 1,
        "created_by": "0.1.0",
        "capture": {"path": "somewhere", "frame_count": 96, "scale": "estimated", "metres_per_unit": 0.0312},
        "cameras": cameras,
        "hand_model": {"name": "open", "sha256": {"right": "ab" * 32}},
        "subjects": {"subject": {"betas": [0.0] * 10, "frames": 40}},
        "configuration": {},
        "chunks": [
            {"index": i, "first_frame": 48 * i, "frames": 48, "records": 50, "accepted": 45 + i} for i in (0, 1)
        ],
        "summary": {"median_reprojection_px": 2.345678, "rejected": {"views": 3, "iou": 5}},
    }
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def write_shards(folder: Path) -> Path:
    shards = [{"name": f"train-00000{i}.tar", "samples": 100, "sha256": "cd" * 32, "bytes": 1000} for i in (0, 1)]
    manifest = {
        "kind": "shards",
        "format_version": 1,
        "shards": shards,
        "samples": 200,
        "seed": 7,
        "config": {"size": 224},
    }
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "train-000000.tar").write_bytes(bytes(1000))
    return folder


def test_a_capture_in_a_table(tmp_path):
    make_capture(tmp_path, frames=(12, 9))
    result = run(tmp_path)
    assert result.exit_code == 0, result.output
    for text in ("handgen JSON", "metres", "cam1.mp4", "128x96", "120, 120", "pinhole", "Baselines, m"):
        assert text in result.output
    assert "note: camera cam1 has 9 frames, cam0 12: using the first 9" in result.output
    assert f"{small_rig('cam0', 'cam1').baselines_m()[0, 1]:.3f}" in result.output


def test_a_capture_as_json(tmp_path):
    make_capture(tmp_path, frames=(12, 9))
    data = json.loads(run(tmp_path, "--json").output)
    assert data["kind"] == "capture"
    assert data["frame_count"] == 9
    assert data["calibration_format"] == "handgen JSON"
    assert data["metres_per_unit"] == 1.0
    assert [camera["frame_count"] for camera in data["cameras"]] == [12, 9]
    assert data["baselines_m"][0][1] == pytest.approx(small_rig("cam0", "cam1").baselines_m()[0, 1])


def test_an_unknown_unit_is_said_and_can_be_given(tmp_path):
    make_capture(tmp_path, frames=(3, 3))
    save_calibration(tmp_path / "calibration.json", small_rig("cam0", "cam1"), metres_per_unit=None)
    result = run(tmp_path)
    assert result.exit_code == 0
    assert "unknown" in result.output and "--metres-per-unit" in result.output
    assert "Baselines, units" in result.output
    assert "Baselines, m" in run(tmp_path, "--metres-per-unit", "0.02").output
    assert run(tmp_path, "--metres-per-unit", "zero").exit_code == 2


def test_a_bad_capture_is_one_line_and_exit_status_1(tmp_path):
    make_capture(tmp_path, frames=(3, 3))
    (tmp_path / "cam1.mp4").write_bytes(b"no video")
    result = run(tmp_path)
    assert result.exit_code == 1
    assert result.output.startswith("Error: ") and result.output.count("\n") == 1
    assert "cam1.mp4" in result.output


def test_a_broken_video_leaves_no_other_words_on_standard_error(tmp_path):
    make_capture(tmp_path, frames=(30, 30))
    video = tmp_path / "cam1.mp4"
    video.write_bytes(video.read_bytes()[:1000])
    command = [sys.executable, "-m", "handgen.cli.main", "inspect", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stdout == ""


def test_annotations(tmp_path):
    result = run(write_annotations(tmp_path / "a"))
    assert result.exit_code == 0, result.output
    for text in (
        "estimated, 0.0312 m per unit",
        "100 in 2 chunks, 91 accepted",
        "open",
        "2.346",
        "views 3, iou 5",
    ):
        assert text in result.output
    assert json.loads(run(tmp_path / "a", "--json").output)["manifest"]["kind"] == "annotations"


def test_shards(tmp_path):
    result = run(write_shards(tmp_path / "s"))
    assert result.exit_code == 0, result.output
    for text in ("200 in 2 shards", "train-000001.tar", "cdcdcdcdcdcd", "config: size", "224"):
        assert text in result.output
    assert "1 shards of the manifest are not here, first train-000001.tar" in result.output


@pytest.mark.parametrize("kind", ["annotations", "shards"])
def test_incomplete_manifests_are_described_as_far_as_they_go(kind, tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"kind": kind, "chunks": 3, "shards": [1], "capture": None}))
    assert describe(tmp_path).kind == kind


@pytest.mark.parametrize("manifest", ["[]", '{"kind": "other"}', '{"kind": "annotations", "cameras": [{"name": "a"}]}'])
def test_foreign_or_damaged_manifests(manifest, tmp_path):
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(HandgenError, match=r"manifest\.json"):
        describe(tmp_path)


def test_none_of_the_three(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    result = run(tmp_path)
    assert result.exit_code == 1
    assert "neither annotations nor shards (no manifest.json) nor a capture" in result.output


@pytest.mark.captures
def test_real_captures(captures):
    desk = describe(captures / "desk_two_views", metres_per_unit=0.03)
    assert desk.data["baselines_m"][0][1] == pytest.approx(0.376, abs=0.001)
    room = describe(captures / "room_four_views")
    assert room.data["calibration_format"] == "caliscope"
    assert room.data["frame_count"] == 111
