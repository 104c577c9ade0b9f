"""Mistakes in a user's hands end in one line that says what to do, the right exit status, nothing half-written."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.annotate import rendered_with_keypoints
from support.annotations import write_annotations
from support.commands import invoke, refused

from handgen.errors import HandgenError
from handgen.io.annotations import Annotations
from handgen.io.shards import read_manifest
from handgen.media.images import encode_jpeg, read_rgb
from handgen.runtime.local import map_units
from handgen.storage import tar
from handgen.storage.documents import dumps, loads

FRAMES = 3


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A simulated capture, and true keypoints in it."""
    folder = tmp_path_factory.mktemp("made")
    rendered_with_keypoints(folder, FRAMES)
    return folder


@pytest.fixture
def capture(made, tmp_path):
    return shutil.copytree(made / "capture", tmp_path / "capture")


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    return write_annotations(tmp_path_factory.mktemp("annotations") / "annotations", frames=2)


def annotate(made, capture, out, *options):
    keypoints = ("--detector", "keypoints", "--keypoints", made / "keypoints.jsonl")
    return invoke("annotate", capture, "--out", out, "--workers", 1, *keypoints, *options)


def edit_json(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


# --- wrong usage


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        (("--device", "nonsense"), "cpu, cuda or cuda:N"),
        (("--device", "meta"), "cpu, cuda or cuda:N"),
        (("--detector", "nonsense"), "mediapipe"),
        (("--detector", "keypoints"), "--keypoints PATH"),
        (("--keypoints", "."), "--detector keypoints"),
        (("--detector", "cpm"), "--weights FILE"),
        (("--weights", __file__), "--detector cpm"),
        (("--detector", "cpm", "--weights", "s3://bucket/weights.pickle"), "is a URL"),
        (("--min-views", "0"), "--min-views"),
    ],
)
def test_wrong_usage_is_status_2(made, tmp_path, options, fact):
    refused(invoke("annotate", made / "capture", "--out", tmp_path / "out", *options), fact, status=2)
    assert not (tmp_path / "out").exists()


def test_the_detectors_offered_are_those_there_are():
    from handgen.cli.annotate import annotate as command
    from handgen.detect.registry import DETECTORS

    (option,) = (p for p in command.params if p.name == "detector")
    assert list(option.type.choices) == list(DETECTORS.names())


# --- said before anything is written


def test_cuda_that_is_not_there(made, tmp_path):
    import torch

    if torch.cuda.device_count() > 900:
        pytest.skip("this machine has every device")
    refused(annotate(made, made / "capture", tmp_path / "out", "--device", "cuda:901"), "cuda:901", "use cpu")
    assert not (tmp_path / "out").exists()


def test_networks_that_are_not_there(made, tmp_path, monkeypatch):
    monkeypatch.setenv("HANDGEN_CACHE", str(tmp_path / "cache"))
    result = invoke("annotate", made / "capture", "--out", tmp_path / "out", "--workers", 1)
    refused(result, tmp_path / "cache", "handgen models fetch")
    assert result.stderr.count("\n") == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("cameras", [1, 2])
def test_fewer_cameras_than_must_see_a_hand(made, capture, tmp_path, cameras):
    def shorten(document):
        document["cameras"] = {name: document["cameras"][name] for name in list(document["cameras"])[:cameras]}

    edit_json(capture / "capture.json", shorten)
    refused(annotate(made, capture, tmp_path / "out", "--min-views", cameras + 1), capture, "--min-views")
    assert not (tmp_path / "out").exists()


def test_one_model_file_for_both_hands(made, tmp_path):
    model = tmp_path / "right.npz"
    options = ("--hands", "both", "--hand-model", model)
    refused(annotate(made, made / "capture", tmp_path / "out", *options), model, "{side}", "--hands right")


def test_a_demo_does_not_mix_with_something_else(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    refused(invoke("demo", tmp_path), tmp_path, "something other than a demo")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_annotations_and_shards_are_not_confused(annotations, tmp_path):
    shards = tmp_path / "shards"
    options = ("--samples", 2, "--size", 32, "--workers", 1)
    assert invoke("synthesize", annotations, "--out", shards, *options).exit_code == 0
    refused(invoke("synthesize", shards, "--out", tmp_path / "more"), shards, "holds shards", "handgen annotate")
    with pytest.raises(HandgenError, match="holds annotations, not shards.*handgen synthesize"):
        read_manifest(annotations)


# --- bad files


def test_nan_in_a_calibration_is_called_that(made, capture, tmp_path):
    def spoil(document):
        document["cameras"][0]["cam_from_world"][0][3] = float("nan")

    edit_json(capture / "calibration.json", spoil)
    refused(annotate(made, capture, tmp_path / "out"), "calibration.json", "NaN")
    assert not (tmp_path / "out").exists()


def test_a_long_value_does_not_hide_what_is_wrong_with_it(made, tmp_path):
    rows = [json.loads(line) for line in (made / "keypoints.jsonl").read_text().splitlines()]
    rows[1]["keypoints_px"].pop()
    path = tmp_path / "keypoints.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    options = ("--detector", "keypoints", "--keypoints", path)
    line = refused(invoke("annotate", made / "capture", "--out", tmp_path / "out", *options), "line 2: keypoints_px")
    assert "less than 21 items" in line


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_a_frame_that_cannot_be_read(made, capture, tmp_path, content):
    frame = capture / "cam_1" / "000002.jpg"
    frame.write_bytes(frame.read_bytes()[:900] if content is None else content)
    line = refused(annotate(made, capture, tmp_path / "out"), frame, "copy or record it again")
    assert " at 0x" not in line
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert not list((tmp_path / "out").rglob("*.partial"))


def test_an_error_in_a_worker_process_is_the_same_line(tmp_path):
    with pytest.raises(HandgenError, match=r"nowhere\.jpg: cannot be read \(No such file or directory\)$"):
        list(map_units(read_rgb, [tmp_path / "nowhere.jpg"] * 3, 2))


def test_a_folder_that_may_not_be_read(made, capture, tmp_path, monkeypatch):
    def iterdir(path):
        if path.name == "cam_1":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return (path / name for name in os.listdir(path))

    monkeypatch.setattr(Path, "iterdir", iterdir)
    refused(annotate(made, capture, tmp_path / "out"), capture / "cam_1", "Permission denied")


def test_a_network_that_is_no_network_says_how_to_get_it(tmp_path):
    from handgen.detect.mediapipe.litert import Network

    path = tmp_path / "palm_detection_full.tflite"
    path.write_bytes(b"no network")
    with pytest.raises(HandgenError, match=r"palm.*run `handgen models fetch`"):
        Network(path, (1,), [(1,)])


def test_cutouts_that_were_deleted_are_made_again(made, tmp_path):
    """The error about a damaged tar of cutouts asks for this."""
    out = tmp_path / "out"
    assert annotate(made, made / "capture", out).exit_code == 0
    cutouts = out / "chunks" / "000000.tar"
    before = cutouts.read_bytes()
    cutouts.unlink()
    assert annotate(made, made / "capture", out).exit_code == 0
    assert cutouts.read_bytes() == before


def test_backgrounds_of_all_kinds(annotations, tmp_path):
    """Unreadable ones are named and skipped, none is waited for, and names need not be UTF-8."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    good = encode_jpeg(np.random.default_rng(0).integers(0, 255, (50, 60, 3), dtype=np.uint8), 90)
    (folder / os.fsdecode(b"gr\xfcn.jpg")).write_bytes(good)
    (folder / "cut.jpg").write_bytes(good[:200])
    (folder / "dangling.jpg").symlink_to("nowhere.jpg")
    (folder / "loop").symlink_to(".")
    os.mkfifo(folder / "pipe.png")
    Image.new("1", (10_001, 10_000)).save(folder / "huge.png")
    options = ("--backgrounds", folder, "--samples", 2, "--size", 32, "--workers", 1, "--json")
    result = invoke("synthesize", annotations, "--out", tmp_path / "shards", *options)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["backgrounds"] == 1
    skipped = {row["name"]: row["reason"] for row in report["skipped_backgrounds"]}
    assert set(skipped) == {"cut.jpg", "dangling.jpg", "pipe.png", "huge.png"}
    assert "megapixels" in skipped["huge.png"] and "pictures" not in skipped["pipe.png"]
    assert invoke("inspect", tmp_path / "shards", "--json").exit_code == 0


def test_file_names_that_are_not_utf8(made, tmp_path):
    capture = shutil.copytree(made / "capture", tmp_path / os.fsdecode(b"aufnahme\xff"))
    assert annotate(made, capture, capture / "annotations", "--json").exit_code == 0
    for path in (capture, capture / "annotations"):
        result = invoke("inspect", path, "--json")
        assert result.exit_code == 0 and json.loads(result.stdout)["path"].startswith(str(tmp_path))
    assert loads(dumps({"a": [os.fsdecode(b"\xff"), (1, "ü")]}), "x") == {"a": ["�", [1, "ü"]]}


def test_a_pipe_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(HandgenError, match="not a file"):
        read_rgb(tmp_path / "pipe.jpg")


# --- a disk that is full, or not ours


@pytest.mark.parametrize("command", ["annotate", "synthesize", "simulate"])
@pytest.mark.parametrize("what", ["os.fsync", "handgen.storage.tar._header"])
def test_a_disk_that_refuses(made, annotations, tmp_path, monkeypatch, command, what):
    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    out = tmp_path / "out"
    monkeypatch.setattr(what, refuse)
    result = {
        "annotate": partial(annotate, made, made / "capture", out),
        "synthesize": partial(invoke, "synthesize", annotations, "--out", out, "--samples", 2, "--workers", 1),
        "simulate": partial(invoke, "simulate", out, "--views", 2, "--frames", 1, "--size", "64x64", "--workers", 1),
    }[command]()
    refused(result, out, "No space left", "what is finished is kept")


def test_a_tar_that_could_not_be_finished_leaves_nothing(tmp_path):
    def members():
        yield "a.txt", b"a"
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"):
        tar.write_tar(tmp_path / "x.tar", members())
    assert not list(tmp_path.iterdir())


def test_a_contact_sheet_where_none_can_be(annotations, tmp_path):
    (tmp_path / "file").write_text("in the way")
    sheet = tmp_path / "file" / "sheet.png"
    options = ("--samples", 2, "--size", 32, "--workers", 1, "--preview", sheet)
    refused(invoke("synthesize", annotations, "--out", tmp_path / "shards", *options), sheet, "cannot be written")


# --- interruptions


def test_bare_commands_again_and_again(made, capture, monkeypatch):
    """annotations/ and shards/ inside the capture are not taken for a part of it."""
    monkeypatch.chdir(capture)
    for name in ("capture.json", "run.json"):  # as one that was filmed
        (capture / name).unlink()
    keypoints = ("--detector", "keypoints", "--keypoints", made / "keypoints.jsonl")
    for _ in range(2):
        result = invoke("annotate", "--workers", 1, "--preview", 1, *keypoints)
        assert result.exit_code == 0, result.output
        result = invoke("synthesize", "--samples", 2, "--size", 32, "--workers", 1)
        assert result.exit_code == 0, result.output
        assert json.loads(invoke("inspect", "--json").stdout)["kind"] == "capture"
    assert Annotations(capture / "annotations").chunk_count == 1


_SLOW = """
import sys, time
from pathlib import Path
from handgen.runtime.local import map_units

def unit(path):
    Path(path).write_text("begun")
    time.sleep(600)

if __name__ == "__main__":
    list(map_units(unit, [sys.argv[1] + str(i) for i in range(9)], 2))
"""


def test_ctrl_c_ends_the_workers_at_once_and_in_silence(tmp_path):
    """Send it as a terminal does: to every process of the group, twice by an impatient user."""
    script = tmp_path / "slow.py"
    script.write_text(_SLOW)
    command = [sys.executable, str(script), str(tmp_path / "unit")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        _wait_for(lambda: len(list(tmp_path.glob("unit*"))) == 2)
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=300)  # far less than one unit takes
    finally:
        process.kill()
    assert process.returncode != 0
    assert "SpawnProcess" not in errors and errors.count("KeyboardInterrupt\n") <= 3  # the parent's own


def test_processes_are_not_left_deaf():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, set())
    assert sorted(map_units(abs, [-1, 2], 2)) == [1, 2]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, set()) == before


def _wait_for(condition, seconds=300.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.05)
