"""A killed run goes on where it was: killed before every change it makes to its directory, and by the soak."""

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.annotations import write_annotations
from support.killed_runs import content, killed_before_change

from handgen.errors import HandgenError
from handgen.stages.synthesize import stage
from handgen.stages.synthesize.backgrounds import scan_folder
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.storage import filesystem
from handgen.storage.journal import JOURNAL
from handgen.storage.output import claim_output, writing

SCRIPTS = Path(__file__).parents[2] / "scripts" / "soak"
CONFIG = SynthesizeConfig(samples=6, samples_per_shard=2, size=48, augment="none", workers=1)


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    return write_annotations(tmp_path_factory.mktemp("made") / "annotations")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """More than are looked at closely before a run; one in six is cut off, which shows when it is drawn."""
    root = tmp_path_factory.mktemp("made") / "pictures"
    root.mkdir()
    rng = np.random.default_rng(0)
    for index in range(48):
        data = cv2.imencode(".jpg", rng.integers(0, 256, (40, 40, 3), np.uint8))[1].tobytes()
        (root / f"{index:02d}.jpg").write_bytes(data[: len(data) // 2] if index % 6 == 0 else data)
    return root


def stamps(out):
    files = (path for path in out.rglob("*") if path.is_file())
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


@pytest.mark.slow
def test_killed_before_any_change_of_its_directory_a_run_is_finished_by_the_same_command(
    annotations, pictures, tmp_path
):
    stage.run(annotations, tmp_path / "undisturbed", pictures, CONFIG)
    expected = content(tmp_path / "undisturbed")
    out = tmp_path / "killed"

    def act():
        stage.run(annotations, out, pictures, CONFIG)

    number = 1
    while not killed_before_change(number, out, act):
        act()
        assert content(out) == expected, f"killed before change {number}"
        shutil.rmtree(out)
        number += 1
    assert content(out) == expected
    assert number > 20  # a lock, run.json, three shards, a journal, a manifest: each opened and renamed


@pytest.mark.slow
def test_a_run_that_is_killed_a_little_later_each_time_comes_to_its_end(annotations, pictures, tmp_path):
    stage.run(annotations, tmp_path / "undisturbed", pictures, CONFIG)
    out = tmp_path / "killed"
    number = 1
    while not killed_before_change(number, out, lambda: stage.run(annotations, out, pictures, CONFIG)):
        number += 1
    assert content(out) == content(tmp_path / "undisturbed")
    assert number > 5


@pytest.mark.slow
def test_overwriting_can_be_killed_before_any_change(annotations, tmp_path):
    other, out = tmp_path / "other", tmp_path / "killed"
    stage.run(annotations, other, None, replace(CONFIG, seed=1, samples=4))
    stage.run(annotations, tmp_path / "undisturbed", None, replace(CONFIG, samples=2))
    expected = content(tmp_path / "undisturbed")

    def act():
        stage.run(annotations, out, None, replace(CONFIG, samples=2), overwrite=True)

    number = 1
    shutil.copytree(other, out)
    while not killed_before_change(number, out, act):
        act()
        assert content(out) == expected, f"killed before change {number}"
        shutil.rmtree(out)
        shutil.copytree(other, out)
        number += 1
    assert number > 10


def test_a_rerun_of_what_is_complete_touches_nothing(annotations, pictures, tmp_path):
    out = tmp_path / "shards"
    stage.run(annotations, out, pictures, CONFIG)
    before = stamps(out)
    report = stage.run(annotations, out, pictures, CONFIG)
    assert report.written_samples == 0
    assert stamps(out) == before


def test_a_lost_journal_costs_time_and_changes_nothing(annotations, pictures, tmp_path):
    """Not even what the manifest says of pictures that proved unreadable when they were drawn."""
    out, config = tmp_path / "shards", replace(CONFIG, samples=60, samples_per_shard=20)
    stage.run(annotations, out, pictures, config)
    expected, before = content(out), stamps(out)
    skipped = json.loads((out / "manifest.json").read_bytes())["backgrounds"]["skipped"]
    assert len(skipped) > len(scan_folder(pictures, 60, CONFIG.seed).skipped)
    shutil.rmtree(out / JOURNAL)
    (out / "manifest.json").unlink()
    stage.run(annotations, out, pictures, config)
    assert content(out) == expected
    now = stamps(out)
    assert all(now[path.name] == before[path.name] for path in out.glob("*.tar"))


def test_an_overwriting_run_that_was_killed_goes_on_and_a_finished_one_is_replaced(annotations, tmp_path):
    out = tmp_path / "shards"
    stage.run(annotations, out, None, replace(CONFIG, seed=1))
    stage.run(annotations, out, None, CONFIG, overwrite=True)
    expected, before = content(out), stamps(out)
    (out / "manifest.json").unlink()
    (out / "train-000001.tar").unlink()
    assert stage.run(annotations, out, None, CONFIG, overwrite=True).written_samples == 2
    assert stamps(out)["train-000000.tar"] == before["train-000000.tar"]
    assert stage.run(annotations, out, None, CONFIG, overwrite=True).written_samples == 6
    assert content(out) == expected


def test_a_shard_that_has_grown_is_written_anew(annotations, tmp_path):
    out = tmp_path / "shards"
    stage.run(annotations, out, None, CONFIG)
    expected = content(out)
    with (out / "train-000001.tar").open("ab") as file:
        file.write(bytes(10240))
    stage.run(annotations, out, None, CONFIG)
    assert content(out) == expected


def test_half_of_a_first_file_does_not_spoil_the_directory(tmp_path):
    (tmp_path / ".lock").write_bytes(b"")
    (tmp_path / "run.json.12ab.partial").write_bytes(b'{"kind"')
    with claim_output(tmp_path, "shards", {"seed": 1}, (), False):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json"]


def test_a_file_of_the_same_content_is_left_alone(tmp_path):
    path = tmp_path / "file"
    filesystem.put(path, b"one" * 100_000)
    before = path.stat()
    filesystem.put(path, b"one" * 100_000)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    for data in (b"one" * 99_999 + b"two", b"one"):
        filesystem.put(path, data)
        assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path):
    def fail():
        with writing(tmp_path), filesystem.whole_file(tmp_path / "shard.tar"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as a write does: it names no file

    with pytest.raises(HandgenError, match=r"shard\.tar: No space left on device; .* run again"):
        fail()
    assert not list(tmp_path.iterdir())
    error = OSError(errno.ENOSPC, "full")
    error.filename = "shard.tar"
    assert pickle.loads(pickle.dumps(error)).filename == "shard.tar"  # as it comes from a worker process


@pytest.mark.slow
def test_the_soak_kills_and_compares(tmp_path):
    command = [
        sys.executable,
        str(SCRIPTS / "soak.py"),
        "--kills",
        "3",
        "--stages",
        "synthesize",
        "--no-faults",
        "--json",
        "--results",
        str(tmp_path / "results.json"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["kills"] == 3 and figures["digests_equal"] == 1
    assert figures["synthesize_runs_completed"] >= 1
    assert figures["synthesize_touched"] == figures["synthesize_orphans"] == 0
    assert sum(value for name, value in figures.items() if name.startswith("synthesize_kills_")) == 3
    again = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert json.loads(again.stdout) == figures and not again.stderr  # kept, and not done again
