"""Copies of a store's files, and captures, keypoints and models that lie in one."""

import pickle
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from fsspec.implementations.memory import MemoryFileSystem
from support.annotate import rendered

from handgen.cli.main import main
from handgen.errors import HandgenError
from handgen.io.annotations import Annotations
from handgen.io.capture.camera_files import without_outputs
from handgen.io.capture.capture import load_capture
from handgen.storage import filesystem, local_copies
from handgen.storage.filesystem import location
from handgen.storage.local_copies import fetch, local_path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HANDGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(local_copies, "_known", {})  # as in another process
    return tmp_path / "cache"


@pytest.fixture
def store():
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    return location("memory://bucket/in")


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    return rendered(tmp_path_factory.mktemp("fetched") / "capture")


def sent(folder, place):
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            filesystem.put(place / file.relative_to(folder).as_posix(), file.read_bytes())
    return place


def files_of(folder):
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def calls(store, monkeypatch):
    """Return what was fetched."""
    names, get_file = [], store.fs.get_file

    def counted(there, here):
        names.append(there.rpartition("/")[2])
        get_file(there, here)

    monkeypatch.setattr(store.fs, "get_file", counted)
    return names


def test_a_folder_is_copied_once(store, cache, calls):
    for name in ("a.txt", "deep/b.txt"):
        filesystem.put(store / name, name.encode() * 1000)
    seen = []
    copy = fetch(store).path(lambda done, total: seen.append((done, total)))
    assert files_of(copy) == {name: name.encode() * 1000 for name in ("a.txt", "deep/b.txt")}
    assert sorted(calls) == ["a.txt", "b.txt"] and seen[-1] == (1, 1)
    local_copies._known.clear()
    assert fetch(store).path() == copy and len(calls) == 2
    assert not list(cache.rglob(f"*{filesystem.PARTIAL}"))


def test_only_what_changed_is_copied_again(store, calls):
    filesystem.put(store / "a", b"a")
    filesystem.put(store / "b", b"b")
    before = fetch(store)
    first = before.path()
    filesystem.put(store / "b", b"c")
    second = fetch(store).path()
    assert (first / "b").read_bytes() == b"b" and files_of(second) == {"a": b"a", "b": b"c"}
    assert sorted(calls) == ["a", "b", "b"]


def test_a_file_that_changes_meanwhile_is_said(store):
    filesystem.put(store / "a", b"a")
    listed = fetch(store)
    filesystem.put(store / "a", b"b")
    with pytest.raises(HandgenError, match="memory://bucket/in/a: was changed while it was read"):
        listed.path()
    assert fetch(store).path().joinpath("a").read_bytes() == b"b"


def test_copies_that_somebody_removed_are_made_again(store, cache):
    filesystem.put(store / "a", b"a")
    listed = fetch(store)
    listed.path()
    shutil.rmtree(cache / "files")
    local_copies._known.clear()
    assert (listed.path() / "a").read_bytes() == b"a"


def test_many_may_copy_at_once(store, cache):
    for i in range(20):
        filesystem.put(store / f"{i}", bytes([i]) * 1000)
    listed, gate = fetch(store), threading.Barrier(4)

    def copied(_):
        gate.wait()
        return local_copies._folder(listed, cache, None)

    with ThreadPoolExecutor(4) as pool:
        (folder,) = set(pool.map(copied, range(4)))
    assert files_of(folder) == {f"{i}": bytes([i]) * 1000 for i in range(20)}
    assert not list(cache.rglob(f"*{filesystem.PARTIAL}"))


def test_a_file_may_bring_those_beside_it(store):
    for name in ("intri.yml", "extri.yml", "film.mp4"):
        filesystem.put(store / name, b"x")
    path = local_path(store / "intri.yml", beside=(".yml",))
    assert path.name == "intri.yml" and sorted(files_of(path.parent)) == ["extri.yml", "intri.yml"]
    assert sorted(files_of(local_path(store / "intri.yml").parent)) == ["intri.yml"]


def test_nothing_there_is_said(store):
    with pytest.raises(HandgenError, match="memory://bucket/in: no such file or folder"):
        fetch(store)


def test_a_full_cache_is_said(store, cache, monkeypatch):
    filesystem.put(store / "a", b"a")

    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(local_copies.tempfile, "mkstemp", full)
    with pytest.raises(HandgenError, match=f"{cache}: No space left .* set HANDGEN_CACHE"):
        fetch(store).path()


@pytest.mark.parametrize("name", ["../escape", "a/../../escape", "a//b"])
def test_a_name_that_leads_out_is_refused(store, tmp_path, name):
    filesystem.put(store / "a", b"a")
    bad = replace(fetch(store), files=(local_copies.StoredFile(name, 1, ""),))
    with pytest.raises(HandgenError, match="cannot be the name of a file"):
        bad.path()


def test_outputs_inside_a_capture_are_no_part_of_it():
    own = {"capture.json", "run.json", "calibration.json", "cam_0/0.jpg", "videos/a.mp4"}
    others = {"annotations/manifest.json", "annotations/chunks/0.tar", "shards/run.json", "shards/a.tar", ".git/x"}
    assert without_outputs(own | others) == own


def test_a_capture_in_a_store_is_that_on_a_disk(capture, store, monkeypatch, cache, tmp_path):
    sent(capture, store / "capture")
    there, here = load_capture(store / "capture"), load_capture(capture)
    assert there.fingerprint() == here.fingerprint() and there.notes == here.notes
    assert str(there.path) == "memory://bucket/in/capture"
    assert not (there.folder / "truth").exists()  # which would help to cheat, and is not copied
    for ours, theirs in zip(there.read(2, 4), here.read(2, 4), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
    # As on another machine: the same capture, sent there, and a cache of its own elsewhere.
    data = pickle.dumps(there)
    shutil.rmtree(cache)
    monkeypatch.setenv("HANDGEN_CACHE", str(tmp_path / "elsewhere"))
    moved = pickle.loads(data)
    for ours, theirs in zip(moved.read(2, 4), here.read(2, 4), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
    assert (tmp_path / "elsewhere").is_dir() and not cache.exists()


def test_errors_of_a_copy_name_the_url(capture, store):
    sent(capture, store / "capture")
    filesystem.put(store / "capture" / "calibration.json", b"{")
    with pytest.raises(HandgenError) as caught:
        load_capture(store / "capture")
    assert "memory://bucket/in/capture/calibration.json" in str(caught.value) and "cache" not in str(caught.value)
    filesystem.remove(store / "capture" / "calibration.json")
    broken = sorted((capture / "cam_0").iterdir())[1].name
    filesystem.put(store / "capture" / "calibration.json", (capture / "calibration.json").read_bytes())
    filesystem.put(store / "capture" / "cam_0" / broken, b"no picture")
    with pytest.raises(HandgenError, match=f"memory://bucket/in/capture/cam_0/{broken}: not a readable image"):
        list(load_capture(store / "capture").read())


def test_a_folder_without_pictures_is_not_copied(store, cache):
    filesystem.put(store / "x" / "a.bin", b"a")
    with pytest.raises(HandgenError, match=r"memory://bucket/in/x: no videos"):
        load_capture(store / "x")
    assert not cache.exists()


def test_a_hand_model_in_annotations_in_a_store(capture, store):
    sent(capture / "truth", store / "truth")
    here, there = Annotations(capture / "truth"), Annotations(store / "truth")
    from handgen.hand.model_files import load_hand

    assert here.hand_model.endswith(".npz"), "a simulated subject has its own hand"
    assert load_hand(there.hand_model, "right").sha256 == load_hand(here.hand_model, "right").sha256


# --- the command line


def invoke(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.mark.parametrize("command", ["annotate", "inspect", "evaluate"])
def test_what_is_not_in_a_store_is_wrong_usage(store, command):
    filesystem.put(store / "a", b"a")
    more = ("--truth", store) if command == "evaluate" else ()
    result = invoke(command, store / "none", *more)
    assert result.exit_code == 2
    assert "Directory 'memory://bucket/in/none' does not exist." in result.output
    more = ("--truth", "/") if command == "evaluate" else ()
    assert "Directory '/nowhere' does not exist." in invoke(command, "/nowhere", *more).output


def test_a_scheme_that_nobody_knows_is_wrong_usage():
    result = invoke("synthesize", "annotations", "--out", "s4://bucket/x")
    assert result.exit_code == 2 and "s4://bucket/x: cannot be used here" in result.output


def test_a_file_url_is_a_path(tmp_path):
    result = invoke("inspect", f"file://{tmp_path}")
    assert result.exit_code == 1 and result.output.startswith(f"Error: {tmp_path}: neither annotations nor shards")


@pytest.mark.parametrize("command", ["simulate", "demo"])
def test_what_only_writes_to_disks_refuses_urls(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    result = invoke(command, "s3://bucket/x")
    assert result.exit_code == 2 and "is a URL; give a path of this machine" in result.output
    assert list(tmp_path.iterdir()) == []


def test_inspect_says_what_a_store_holds(capture, store):
    sent(capture, store / "capture")
    result = invoke("inspect", store / "capture", "--json")
    assert result.exit_code == 0, result.output
    here = invoke("inspect", capture, "--json")
    assert result.stdout.replace("memory://bucket/in/capture", "X") == here.stdout.replace(str(capture), "X")


def test_annotate_refuses_a_hand_model_in_a_store(capture):
    result = invoke("annotate", capture, "--hand-model", "s3://bucket/{side}.npz")
    assert result.exit_code == 1 and "a hand model must be a file of this machine" in result.output
