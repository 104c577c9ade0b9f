"""Parts that a module adds, used through the command line: each command in a process of its own, as users run it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.annotate import true_keypoints
from support.commands import invoke

from handgen.io.calibration_files.registry import load_calibration

TESTS = Path(__file__).parents[1]
PLUGIN = "support.plugin"


def handgen(*arguments, plugins=(), **environment):
    variables = os.environ | {"PYTHONPATH": str(TESTS)} | environment
    options = [option for plugin in plugins for option in ("--plugin", plugin)]
    command = [sys.executable, "-m", "handgen.cli.main", *options, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=variables)


def wanted(result):
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    """A small capture whose calibration only the plug-in can read, and the true keypoints."""
    path = tmp_path_factory.mktemp("plugins") / "capture"
    simulated = invoke("simulate", path, "--views", 3, "--frames", 4, "--size", "320x240", "--workers", 1)
    assert simulated.exit_code == 0, simulated.output
    keypoints = true_keypoints(path, path.parent / "truth.jsonl", frames=range(4))
    rig = load_calibration(path / "calibration.json").cameras
    rows = [
        [c.name, *c.size_px, *c.intrinsics.ravel(), *c.cam_from_world.rotation.ravel(), *c.cam_from_world.translation]
        for c in rig
    ]
    (path / "calibration.json").write_text(json.dumps({"plain": rows}))
    return path, keypoints


def test_a_detector_a_calibration_format_and_a_metric(capture):
    path, keypoints = capture
    out = path.parent / "annotations"
    assert "plain list" in wanted(handgen("inspect", path, plugins=[PLUGIN]))
    unread = handgen("inspect", path)
    assert unread.returncode == 1 and "none of the calibration formats" in unread.stderr

    help = wanted(handgen("annotate", "--help", plugins=[PLUGIN]))
    assert "|shifted]" in help and "--shift FLOAT RANGE" in help and "shifted: how far they are moved" in help
    assert "--shift" not in wanted(handgen("annotate", "--help"))
    detector = ("--detector", "shifted", "--truth", keypoints, "--shift", 1.5)
    options = (path, "--out", out, *detector, "--hands", "right", "--json")
    # Two processes and chunks, so that workers must know the plug-in as well.
    report = json.loads(wanted(handgen("annotate", *options, "--workers", 2, "--chunk-frames", 2, plugins=[PLUGIN])))
    assert report["accepted"] == {"right": 4}
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["capture"]["calibration_format"] == "plain list"
    assert manifest["configuration"]["detector_options"] == {"shift_px": 1.5}  # another shift is another run

    measured = handgen("evaluate", out, "--truth", path, "--workers", 1, HANDGEN_PLUGINS=PLUGIN)
    assert "index fingertip" in wanted(measured)
    document = json.loads(wanted(handgen("evaluate", out, "--truth", path, "--json", HANDGEN_PLUGINS=PLUGIN)))
    assert 0.5 < document["metrics"]["index_tip"]["mean_mm"] < 20
    assert "metrics" not in json.loads(wanted(handgen("evaluate", out, "--truth", path, "--json")))


@pytest.mark.parametrize(
    ("options", "status", "fact"),
    [
        (("--plugin", "no_such_module", "annotate", "."), 1, "plug-in no_such_module: ModuleNotFoundError"),
        (("--plugin", PLUGIN, "annotate", ".", "--shift", "1"), 2, "--shift is for --detector shifted, not mediapipe"),
        (("--plugin", PLUGIN, "annotate", ".", "--detector", "shifted"), 2, "--detector shifted needs --truth FILE"),
    ],
)
def test_wrong_use_is_one_line(options, status, fact):
    result = handgen(*options)
    assert result.returncode == status and fact in result.stderr and "Traceback" not in result.stderr
