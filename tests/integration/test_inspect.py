"""`handgen inspect` describes captures, annotations and shards."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from support.annotations import ring_cameras, write_annotations
from support.captures import make_capture, small_rig

from handgen.cli.main import main
from handgen.errors import HandgenError
from handgen.io.calibration_files.handgen_json import save_calibration
from handgen.stages.inspect.config import InspectConfig
from handgen.stages.inspect.describe import describe
from handgen.stages.synthesize import stage
from handgen.stages.synthesize.config import SynthesizeConfig


def run(*arguments: str | Path):
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)], env={"COLUMNS": "140"})


@pytest.fixture(scope="module")
def annotations(tmp_path_factory) -> Path:
    return write_annotations(tmp_path_factory.mktemp("inspected") / "annotations", frames=3, cameras=2)


@pytest.fixture(scope="module")
def shards(annotations) -> Path:
    config = SynthesizeConfig(samples=9, size=64, samples_per_shard=5, seed=7, workers=1)
    stage.run(annotations, annotations.parent / "shards", None, config)
    return annotations.parent / "shards"


def changed(folder: Path, copy: Path, **changes) -> Path:
    """A copy of a directory, with other values in its manifest."""
    shutil.copytree(folder, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | changes))
    return copy


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


def test_annotations(annotations, tmp_path):
    summary = {"median_reprojection_px": 2.345678, "rejected": {"views": 3, "iou": 5}}
    result = run(changed(annotations, tmp_path / "a", summary=summary))
    assert result.exit_code == 0, result.output
    baseline = np.linalg.norm(np.subtract(*(camera.center_world for camera in ring_cameras(2))))
    for text in (
        "calibrated, 1 m per unit",
        "6 in 2 chunks, 6 accepted",
        "open",
        "cam1",
        f"{baseline:.3f}",
        "2.346",
        "views 3, iou 5",
    ):
        assert text in result.output
    assert json.loads(run(annotations, "--json").output)["manifest"]["kind"] == "annotations"


def test_shards(shards):
    result = run(shards)
    assert result.exit_code == 0, result.output
    for text in ("9 in 2 shards", "train-000001.tar", "64x64 px", "seed", "synthesized"):
        assert text in result.output
    configuration = json.loads((shards / "manifest.json").read_text())["configuration"]
    assert configuration
    for name in configuration:
        assert f"configuration: {name}" in result.output
    assert json.loads(run(shards, "--json").output)["manifest"]["seed"] == 7


@pytest.mark.parametrize(("kind", "missing"), [("annotations", "chunks"), ("shards", "samples")])
def test_manifests_are_held_to_their_schema(kind, missing, request, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(request.getfixturevalue(kind), copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    del manifest[missing]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(HandgenError, match=rf"manifest\.json: .*{missing}"):
        describe(copy)


def test_what_is_not_finished_or_not_whole_says_how_to_go_on(annotations, shards, tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"kind": "annotations", "depends_on": {}}))
    with pytest.raises(HandgenError, match="no finished annotations; run `handgen annotate"):
        describe(tmp_path)
    copy = tmp_path / "shards"
    shutil.copytree(shards, copy)
    (copy / "train-000001.tar").unlink()
    with pytest.raises(HandgenError, match=r"train-000001\.tar: the shard is missing; run `handgen synthesize` again"):
        describe(copy)


@pytest.mark.parametrize("manifest", ["[]", '{"kind": "other"}', '{"kind": ["a"]}', '{"kind": "annotations"}', "{"])
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
    desk = describe(captures / "desk_two_views", InspectConfig(metres_per_unit=0.03))
    assert desk.data["baselines_m"][0][1] == pytest.approx(0.376, abs=0.001)
    room = describe(captures / "room_four_views")
    assert room.data["calibration_format"] == "caliscope"
    assert room.data["frame_count"] == 111
