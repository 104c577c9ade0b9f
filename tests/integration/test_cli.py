import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.commands import invoke

from handgen.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_teaches_and_is_in_the_readme(command):
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert len(result.output) > 200
    assert f"handgen {command}" in (ROOT / "README.md").read_text() or command == "simulate"


@pytest.mark.parametrize("command", [(), ("annotate",), ("synthesize",), ("evaluate",), ("export",)])
def test_help_imports_nothing_heavy(command):
    arguments = [*command, "--help"]
    code = (
        f"import sys; from handgen.cli.main import main; main({arguments}, standalone_mode=False); print(*sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = set(output.split())
    assert not loaded & {"torch", "numpy", "cv2", "albumentations", "smplx", "scipy", "rich.console"}


def test_the_open_hands_path_never_imports_smplx():
    code = (
        "import sys; import handgen.stages.annotate.stage, handgen.stages.synthesize.stage, "
        "handgen.stages.simulate.stage, handgen.data; "
        "print('smplx' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "False"


def test_version_is_the_packages():
    import handgen

    assert handgen.__version__ in invoke("--version").output


def test_commands_of_the_readme_exist():
    text = (ROOT / "README.md").read_text()
    for command in re.findall(r"^    handgen (\w+)", text, re.MULTILINE):
        assert command in COMMANDS


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("annotate", "/nonexistent"), 2, "does not exist"),
        (("annotate", "{empty}"), 1, "calibration"),
        (("annotate", "{empty}", "--hands", "three"), 2, "three"),
        (("annotate", "{empty}", "--metres-per-unit", "-1"), 2, "positive"),
        (("synthesize", "{empty}"), 1, "run `handgen annotate"),
        (("synthesize", "{empty}", "--size", "1"), 2, "16"),
        (("inspect", "{empty}"), 1, "{empty}"),
        (("frobnicate",), 2, "frobnicate"),
    ],
)
def test_wrong_input_is_one_line_and_a_status(tmp_path, arguments, status, message):
    empty = tmp_path / "empty"
    empty.mkdir()
    result = invoke(*(a.format(empty=empty) for a in arguments))
    assert result.exit_code == status, result.output
    assert message.format(empty=empty) in result.output
    if status == 1:
        assert result.output.startswith("Error: ") and result.output.count("\n") == 1
        assert isinstance(result.exception, SystemExit)
    assert not list(empty.iterdir())  # nothing half-written


def test_a_capture_goes_all_the_way(tmp_path, monkeypatch):
    """The bare commands, inside the capture's folder, with keypoints made elsewhere."""
    from support.annotate import true_keypoints

    capture = tmp_path / "capture"
    result = invoke("simulate", capture, "--views", 3, "--frames", 3, "--size", "320x240", "--workers", 1, "--json")
    assert result.exit_code == 0, result.output
    keypoints = true_keypoints(capture, tmp_path / "truth.jsonl", frames=range(3))
    monkeypatch.chdir(capture)
    result = invoke("annotate", "--detector", "keypoints", "--keypoints", keypoints, "--hands", "right", "--workers", 1)
    assert result.exit_code == 0, result.output
    for expected in ("frames", "accepted", "median reprojection", "median mask IoU", "handgen synthesize"):
        assert expected in result.output
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    from handgen.media.images import write_png

    write_png(pictures / "a.png", np.random.default_rng(0).integers(0, 255, (80, 90, 3), dtype=np.uint8))
    (pictures / "broken.jpg").write_bytes(b"no picture")
    options = ("--backgrounds", pictures, "--samples", 4, "--size", 64, "--workers", 1, "--json")
    result = invoke("synthesize", *options, "--preview", tmp_path / "sheet.png")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "sheet.png").is_file() and not (capture / "shards").exists()  # to look at before the work
    result = invoke("synthesize", *options)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["samples"] == 4 and report["skipped_backgrounds"][0]["name"].endswith("broken.jpg")
    assert (capture / "shards" / "manifest.json").is_file()
    for directory, kind in ((".", "capture"), ("annotations", "annotations"), ("shards", "shards")):
        result = invoke("inspect", directory, "--json")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["kind"] == kind
