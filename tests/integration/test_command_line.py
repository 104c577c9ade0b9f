"""The command line as a stranger meets it: what it says while it works, when it is interrupted, and of wrong places."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from support.annotate import rendered_with_keypoints
from support.annotations import write_annotations
from support.captures import make_capture
from support.commands import invoke, refused
from support.data_sets import write_freihand

from handgen.cli.main import COMMANDS
from handgen.io.annotations import Annotations
from handgen.media.images import read_rgb

FRAMES = 8
HANDGEN = [sys.executable, "-m", "handgen.cli.main"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A simulated capture, true keypoints in it, and annotations."""
    folder = tmp_path_factory.mktemp("made")
    rendered_with_keypoints(folder, FRAMES)
    write_annotations(folder / "annotations", frames=4)
    return folder


def annotate(made, out, *options, before=()):
    keypoints = ("--detector", "keypoints", "--keypoints", made / "keypoints.jsonl", "--chunk-frames", 4)
    more = ("--out", out, "--workers", 1, "--refine", "none", *keypoints)
    return invoke(*before, "annotate", made / "capture", *more, *options)


def run(*command, **options):
    """A process of its own, whose Ctrl-C works whoever started the tests."""
    return subprocess.run(
        [*HANDGEN, *map(str, command)], capture_output=True, text=True, timeout=300, check=False, **options
    )


# --- what it says while it works


def test_verbose_says_what_happens_in_every_chunk(made, tmp_path, caplog):
    assert annotate(made, tmp_path / "out", "-v").exit_code == 0
    for said in (
        r"8 frames of cameras cam_0, cam_1, cam_2; calibration handgen JSON",
        r"chunk 1, frames 4 to 7: \d+ detections \(cam_0 \d+, cam_1 \d+, cam_2 \d+\), 0 of them found when searched",
        r"hands that are sure: .*betas .*1 m per unit of the calibration \(calibrated\)",
        r"chunk 0: right hand associated in 8 frames",
        r"chunk 0, frames 0 to 3: hands fitted: .*accepted: .*rejected: .*views accepted: \d+",
        r"detect: unit 1 took [\d.]+ s",
        r"fit and segment: unit 0 took [\d.]+ s",
    ):
        assert re.search(said, caplog.text), said
    assert "frame 0, right hand" not in caplog.text


def test_more_verbose_says_it_of_every_hand(made, tmp_path, caplog):
    result = annotate(made, tmp_path / "out", "-v", before=["-v"])  # before the command and after it
    assert result.exit_code == 0
    for frame in range(FRAMES):
        assert re.search(rf"frame {frame}, right hand: .*; seen by \d views, reprojection [\d.]+ px", caplog.text)


def test_a_camera_that_is_left_out_is_logged_with_the_reason(made, tmp_path, caplog):
    """Two cameras' calibrations exchanged, as annotate names it."""
    capture = shutil.copytree(made / "capture", tmp_path / "capture")
    document = json.loads((capture / "calibration.json").read_text())
    first, second = document["cameras"][:2]
    first["name"], second["name"] = second["name"], first["name"]
    (capture / "calibration.json").write_text(json.dumps(document))
    (capture / "run.json").unlink()
    options = ("--detector", "keypoints", "--keypoints", made / "keypoints.jsonl", "--refine", "none", "-v")
    invoke("annotate", capture, "--out", tmp_path / "out", "--workers", 1, *options)
    assert re.search(r"camera cam_\d, left out: camera cam_\d", caplog.text), caplog.text


def test_workers_log_as_this_process_does(made, tmp_path):
    done = run("-v", "synthesize", made / "annotations", "--out", tmp_path / "out", "--samples", 8, "--size", 32,
               "--samples-per-shard", 4, "--workers", 2)  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "handgen.stages.synthesize.shard" in line]
    assert len(lines) == 2 and all(
        re.match(r"\d\d:\d\d:\d\d I .*: 4 samples, 0 damaged cutouts", line) for line in lines
    )


def test_quiet_prints_errors_only(made, tmp_path):
    out = tmp_path / "out"
    result = annotate(made, out, "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    assert annotate(made, tmp_path / "again", before=["-q"]).output == ""
    for command in ("inspect", "validate"):
        assert invoke(command, out, "-q").output == ""
    assert json.loads(invoke("inspect", out, "-q", "--json").stdout)["kind"] == "annotations"
    refused(annotate(made, out, "--quiet", "--acceleration", "1"), out, "another run")


def test_quiet_still_prints_what_validate_finds(made, tmp_path):
    folder = shutil.copytree(made / "annotations", tmp_path / "annotations")
    (folder / "chunks" / "000000.tar").unlink()
    result = invoke("validate", folder, "--quiet")
    assert result.exit_code == 1 and "000000.tar" in result.output and "looked at" not in result.output


def test_quiet_and_verbose_contradict_each_other(made):
    refused(invoke("-v", "inspect", made / "capture", "-q"), "--verbose", "--quiet", status=2)


def test_a_run_says_that_hands_are_taken_for_bare_ones_of_one_person(made, tmp_path):
    result = annotate(made, tmp_path / "out")
    assert "bare hands of one person" in " ".join(result.output.split())
    assert "bare hands of one person" in " ".join(invoke("annotate", "--help").output.lower().split())
    assert not any("bare hands" in note for note in Annotations(tmp_path / "out").manifest["summary"]["notes"])


@pytest.mark.parametrize("command", ["annotate", "synthesize", "simulate", "export", "import"])
def test_progress_is_printed_where_there_is_no_terminal(made, tmp_path, command):
    if command == "import":
        write_freihand(tmp_path / "set", count=4)
    result = {
        "annotate": lambda: annotate(made, tmp_path / "out"),
        "synthesize": lambda: invoke("synthesize", made / "annotations", "--out", tmp_path / "out", "--samples", 4,
                                     "--size", 32, "--workers", 1),
        "simulate": lambda: invoke("simulate", tmp_path / "out", "--views", 2, "--frames", 2, "--size", "64x64",
                                   "--workers", 1),
        "export": lambda: invoke("export", made / "annotations", "--format", "coco", "--out", tmp_path / "out"),
        "import": lambda: invoke("import", tmp_path / "set", "--format", "freihand", "--out", tmp_path / "out",
                                 "--workers", 1),
    }[command]()  # fmt: skip
    assert result.exit_code == 0, result.output
    step = {"annotate": "fit and segment", "synthesize": "writing samples", "simulate": "render", "export": "writing",
            "import": "import frames"}[command]  # fmt: skip
    lines = [line for line in result.stderr.splitlines() if line.startswith(f"{step}: ")]
    assert re.fullmatch(rf"{step}: 0 of (\d+)", lines[0])
    assert re.fullmatch(rf"{step}: (\d+) of \1, in .*s", lines[-1])
    assert "\x1b" not in result.stderr


# --- interruptions


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        ("demo", "what is finished is kept"),
        ("annotate", "finished chunks are kept"),
        ("import", "finished chunks are kept"),
        ("simulate", "finished chunks are kept"),
        ("synthesize", "finished shards are kept"),
        ("export", "finished parts are kept"),
        ("evaluate", None),
        ("validate", None),
    ],
)
def test_ctrl_c_says_what_is_kept(made, tmp_path, monkeypatch, command, kept):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    stage = {"import": "import_", "demo": "simulate"}.get(command, command)
    monkeypatch.setattr(f"handgen.stages.{stage}.stage.run", interrupted)
    (tmp_path / "set").mkdir()
    arguments = {
        "annotate": (made / "capture",),
        "import": (tmp_path / "set", "--format", "freihand"),
        "synthesize": (made / "annotations",),
        "export": (made / "annotations", "--format", "coco"),
        "evaluate": (made / "annotations", "--truth", made / "annotations"),
        "validate": (made / "annotations",),
    }.get(command, ())
    out = (tmp_path / "out",) if command in ("demo", "simulate") else ("--out", tmp_path / "out")
    before = signal.getsignal(signal.SIGINT)
    try:
        result = invoke(command, *arguments, *(() if command in ("evaluate", "validate") else out))
    finally:
        signal.signal(signal.SIGINT, before)  # the command ignores a second one, and this process lives on
    assert result.exit_code == 130
    expected = f"Interrupted: {kept}; run the same command again to go on" if kept else "Interrupted"
    assert result.stderr.splitlines()[-1] == expected


@pytest.mark.slow
def test_ctrl_c_keeps_shards_and_the_same_command_goes_on(made, tmp_path):
    """Send it as a terminal does: to every process of the group, twice by an impatient user."""
    out = tmp_path / "shards"
    command = [*HANDGEN, "-v", "synthesize", str(made / "annotations"), "--out", str(out), "--samples", "3000"]
    command += ["--size", "96", "--samples-per-shard", "50", "--workers", "2"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    try:
        said = ""
        while said.count(" took ") < 4:  # the first of them is noted in the journal by then
            line = process.stderr.readline()
            assert line, said
            said += line
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1] == "Interrupted: finished shards are kept; run the same command again to go on"
    assert output == "" and "Traceback" not in errors and "Aborted" not in errors
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    assert 1 <= len(kept) < 60 and not (out / "manifest.json").exists() and not list(out.glob("*.partial"))
    again = run(*command[3:])
    assert again.returncode == 0 and len(list(out.glob("*.tar"))) == 60
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert not re.search(r"writing samples: 0 of", again.stderr)


# --- wrong names and places


@pytest.mark.parametrize(
    ("typed", "meant"), [("anotate", "annotate"), ("Synthesise", "synthesize"), ("valid", "validate")]
)
def test_a_misspelt_command_is_told_the_right_one(typed, meant):
    refused(invoke(typed, "x"), repr(typed), f"did you mean {meant!r}?", status=2)
    refused(invoke("zzz"), *COMMANDS, status=2)  # like no other: all are named


@pytest.mark.parametrize("command", ["annotate", "inspect", "evaluate", "export"])
def test_a_place_that_does_not_exist(made, tmp_path, command):
    shutil.copytree(made / "annotations", tmp_path / "annotations")
    more = ("--format", "coco", "--out", tmp_path / "x") if command == "export" else ()
    refused(invoke(command, tmp_path / "anotations", *more), "does not exist", tmp_path / "annotations", status=2)
    line = refused(invoke(command, tmp_path / "zzz", *more), tmp_path / "zzz", "does not exist", status=2)
    assert "mean" not in line


def test_a_place_that_does_not_exist_is_nothing_to_validate(tmp_path):
    refused(invoke("validate", tmp_path / "zzz"), tmp_path / "zzz", "no such file or folder", "correct the path")


def test_a_file_in_the_place_of_a_folder(made, tmp_path):
    (tmp_path / "capture").mkdir()
    capture = make_capture(tmp_path / "capture", frames=(3, 3))
    video = next(capture.glob("*.mp4"))
    calibration = next(path for path in capture.iterdir() if path.suffix in (".toml", ".json"))
    refused(invoke("annotate", video), video, "is a file", "the folder that it lies in", status=2)
    refused(invoke("synthesize", video), video, "is a file", status=2)
    refused(invoke("inspect", video), video, "is a file", f"lies in, '{capture}'", status=2)
    refused(invoke("validate", video), video, "a video", "folder of the capture")
    refused(invoke("inspect", calibration), calibration, f"lies in, '{capture}'", status=2)


def test_an_export_is_described(made, tmp_path):
    folder = tmp_path / "coco"
    assert invoke("export", made / "annotations", "--format", "coco", "--out", folder, "-q").exit_code == 0
    result = invoke("inspect", folder)
    assert result.exit_code == 0 and "export" in result.output and "coco" in result.output
    described = json.loads(invoke("inspect", folder, "--json").stdout)
    assert described["kind"] == "export" and described["manifest"]["format"] == "coco"


def test_another_projects_data_set_is_named_with_the_commands_for_it(tmp_path):
    write_freihand(tmp_path / "set", count=2)
    line = refused(invoke("inspect", tmp_path / "set"), "in the format freihand", "handgen import --format freihand")
    assert f"handgen validate {tmp_path / 'set'}" in line


def test_a_strangers_manifest_is_no_question(tmp_path):
    (tmp_path / "manifest.json").write_text('{"kind": "photos"}')
    line = refused(invoke("inspect", tmp_path), "'photos'", "give a capture, annotations, shards or an export")
    assert "?" not in line


@pytest.mark.parametrize("command", ["synthesize", "export", "evaluate"])
@pytest.mark.parametrize("filmed", [False, True])
def test_a_capture_in_the_place_of_annotations(made, tmp_path, command, filmed):
    """Nothing is proposed that would write among the capture's own files."""
    capture = shutil.copytree(made / "capture", tmp_path / "capture")
    if filmed:
        for name in ("run.json", "capture.json"):
            (capture / name).unlink()
    more = {"synthesize": ("--out", tmp_path / "x"), "export": ("--format", "coco", "--out", tmp_path / "x"),
            "evaluate": ("--truth", made / "annotations")}[command]  # fmt: skip
    line = refused(invoke(command, capture, *more), capture, "a capture, not annotations", "handgen annotate")
    assert f"--out {capture / 'annotations'}`" in line and not (tmp_path / "x").exists()
    shutil.copytree(made / "annotations", capture / "annotations")
    line = refused(invoke(command, capture, *more), f"made of it, {capture / 'annotations'}")
    assert "run" not in line.partition("not annotations")[2]


@pytest.mark.parametrize("command", ["annotate", "inspect", "validate"])
@pytest.mark.parametrize(
    ("url", "facts"),
    [
        ("http://127.0.0.1:9/capture", ("web address", "copy them here")),
        ("https://127.0.0.1:9/capture", ("web address", "s3://")),
        ("reference://x", ("cannot be used here", "give a path")),
        ("nonsense://x", ("cannot be used here", "give a path")),
        ("memory://nothing/there", ("does not exist",)),
    ],
)
def test_addresses_that_cannot_be_used(command, url, facts):
    if command == "validate" and url.startswith("memory"):
        facts, status = ("nothing is there",), 1
    else:
        status = 2
    refused(invoke(command, url), url, *facts, status=status)


def test_a_store_without_credentials_says_what_is_missing(monkeypatch, tmp_path):
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'handgen[s3]'")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)
    refused(invoke("inspect", "s3://bucket/capture"), "credentials", "docs/storage.md", status=2)


def test_an_import_of_which_nothing_is_accepted_is_an_error_with_the_figure(tmp_path):
    write_freihand(tmp_path / "set", count=3)
    result = invoke("import", tmp_path / "set", "--format", "freihand", "--out", tmp_path / "out", "--workers", 1,
                    "--min-iou", 1)  # fmt: skip
    refused(result, "nothing was accepted", "3 of 3 hands rejected", "no view with a good mask", "limit 1: --min-iou")
    assert "accepted" in result.stdout  # the table comes first
    again = invoke("import", tmp_path / "set", "--format", "freihand", "--out", tmp_path / "good", "--workers", 1)
    assert again.exit_code == 0 and "synthesize" in again.stdout


# --- standard streams


def test_a_terminal_that_shows_ascii_only(made, tmp_path):
    capture = shutil.copytree(made / "capture", tmp_path / "aufnahme_ü_\udcff")
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = run("inspect", capture, env=environment)
    assert (
        done.returncode == 0 and "aufnahme_\\xfc" in done.stdout.replace("\n", "") and "Traceback" not in done.stderr
    ), done.stderr
    done = run("inspect", capture, "--json", env=environment)
    assert json.loads(done.stdout)["kind"] == "capture"  # JSON is UTF-8 whatever the terminal shows
    done = run("inspect", tmp_path / "ü", env=environment)
    assert done.returncode == 2 and "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", ["1", "2", "1 2", "0 1 2"])
def test_streams_that_are_closed(made, tmp_path, closed):
    """A file that the run opens must not become its standard output."""
    sheet = tmp_path / "sheet.png"
    closes = " ".join(f"{number}>&-" for number in closed.split())
    command = f'"{sys.executable}" -m handgen.cli.main synthesize "$0" --preview "$1" --samples 2 --size 32 {closes}'
    done = subprocess.run(
        ["sh", "-c", command, made / "annotations", sheet], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert read_rgb(sheet).size


def test_a_reader_that_goes_away_and_a_full_disk(made):
    unwritable = "cannot be written (No space left on device)"
    for command, status, said in (
        ('inspect "$0" | true', 0, ""),
        ('inspect "$0" > /dev/full', 1, unwritable),
        ("--help > /dev/full", 1, unwritable),
        ("inspect --help > /dev/full", 1, unwritable),
        ("--version > /dev/full", 1, unwritable),
    ):
        command = f'"{sys.executable}" -m handgen.cli.main {command}'
        done = subprocess.run(["sh", "-c", command, made / "capture"], capture_output=True, text=True)
        assert done.returncode == status and "Traceback" not in done.stderr and "Exception" not in done.stderr
        assert said in done.stderr and (said or not done.stderr), done.stderr


def test_memory_that_is_not_enough_is_one_line(made, tmp_path, monkeypatch):
    def greedy(*_, **__):
        raise MemoryError

    monkeypatch.setattr("handgen.stages.annotate.stage.run", greedy)
    refused(annotate(made, tmp_path / "out"), "not enough memory", "finished chunks are kept", "fewer --workers")


def test_names_out_of_files_do_not_reach_the_terminal_as_they_are(made, tmp_path):
    """Escapes that clear the screen, and a line break that forges a line of handgen's."""
    hostile = "cam\x1b[2J\nError: all is well"
    capture = shutil.copytree(made / "capture", tmp_path / "capture")
    document = json.loads((capture / "calibration.json").read_text())
    document["cameras"][0]["name"] = hostile
    (capture / "calibration.json").write_text(json.dumps(document))
    for command in ("annotate", "inspect", "validate"):
        result = invoke(command, capture)
        assert result.exit_code == 1 and "\x1b" not in result.output and "\nError: all is well" not in result.output
        assert "\\x1b[2J" in result.output
