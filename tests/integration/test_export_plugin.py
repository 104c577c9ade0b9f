"""An export format that a module adds, used through the command line as users run it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from support.annotations import write_annotations

TESTS = Path(__file__).parents[1]
PLUGIN = "support.format_plugin"


def handgen(*arguments, plugin=True):
    variables = os.environ | {"PYTHONPATH": str(TESTS)} | ({"HANDGEN_PLUGINS": PLUGIN} if plugin else {})
    command = [sys.executable, "-m", "handgen.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=variables)


def test_an_export_format_of_a_module(tmp_path):
    annotations = write_annotations(tmp_path / "annotations", frames=3, chunk_frames=1, cameras=2)
    out = tmp_path / "out"
    chosen = ("export", annotations, "--out", out, "--format", "table", "--workers", 2, "--json")
    made = handgen(*chosen, "--separator", "semicolon")
    assert made.returncode == 0, made.stderr
    rows = (out / "keypoints.csv").read_text().split("\n")
    assert len(rows) == json.loads(made.stdout)["hands"] > 12
    assert all(len(row.rstrip(",").split(";")) == 2 + 42 for row in rows)
    recorded = json.loads((out / "manifest.json").read_text())["configuration"]
    assert recorded["separator"] == "semicolon" and recorded["mirror_left"] is False
    assert handgen(*chosen).returncode == 1  # another separator is another run
    assert handgen(*chosen, "--overwrite").returncode == 0
    assert "," in (out / "keypoints.csv").read_text() and ";" not in (out / "keypoints.csv").read_text()
    other = handgen("export", annotations, "--out", out, "--format", "coco", "--separator", "comma")
    assert other.returncode == 2 and "--separator is for --format table, not coco" in other.stderr
    checked = handgen("validate", out, "--digests")
    assert checked.returncode == 0 and "this format has no checks" in " ".join(checked.stdout.split())
    unknown = handgen("export", annotations, "--out", tmp_path / "b", "--format", "table", plugin=False)
    assert unknown.returncode == 2 and "'table' is not one of" in unknown.stderr
