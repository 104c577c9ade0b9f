import hashlib
import json
import subprocess
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from support.hostile_files import zip_of

from handgen.cli.models import models
from handgen.detect.mediapipe import networks
from handgen.detect.mediapipe.litert import Network
from handgen.errors import HandgenError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("HANDGEN_CACHE", str(folder))
    return folder


@pytest.fixture
def real_files():
    """The fetched networks, or a skip."""
    found = {network.name: network for network in networks.installed()}
    if not all(name in found and found[name].pinned for name in networks.NETWORKS):
        pytest.skip("the keypoint networks are not in the cache; run `handgen models fetch`")
    return {name: network.path.read_bytes() for name, network in found.items()}


@pytest.fixture
def fetched(cache, monkeypatch):
    """A cache in which two files stand for the pinned networks."""
    cache.mkdir()
    for name, network in list(networks.NETWORKS.items()):
        (cache / name).write_bytes(name.encode())
        monkeypatch.setitem(networks.NETWORKS, name, replace(network, sha256=hashlib.sha256(name.encode()).hexdigest()))


@pytest.fixture
def pip(monkeypatch):
    """Replaces pip by a function that is given the folder to download to and returns (status, stderr)."""

    def install(action):
        def run(command, **_):
            assert command[1:4] == ["-m", "pip", "download"]
            assert "mediapipe==0.10.21" in command
            folder = command[command.index("-d") + 1]
            status, message = action(folder)
            return subprocess.CompletedProcess(command, status, stdout="", stderr=message)

        monkeypatch.setattr(networks.subprocess, "run", run)

    return install


def bundle(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def wheel_members(data=b"nonsense"):
    return {network.wheel_member: data for network in networks.NETWORKS.values()}


def test_a_missing_network_says_how_to_get_it(cache):
    with pytest.raises(HandgenError, match=r"not found; run `handgen models fetch`"):
        networks.locate(networks.PALM.name)
    assert networks.installed() == []


def test_a_downloaded_wheel_with_another_digest_is_refused(cache, pip):
    def action(folder):
        bundle(f"{folder}/mediapipe-0.10.21-x.whl", wheel_members())
        return 0, ""

    pip(action)
    with pytest.raises(HandgenError, match=r"SHA-256 .* expected 05dc4a9e"):
        networks.fetch()
    assert not cache.exists()


@pytest.mark.parametrize("message", ["ERROR: no matching distribution\n\n", "/usr/bin/python3: No module named pip\n"])
def test_a_failing_pip_is_quoted(cache, pip, message):
    pip(lambda folder: (1, "WARNING: first line\n" + message))
    with pytest.raises(HandgenError) as error:
        networks.fetch()
    assert message.strip() in str(error.value) and "--from FILE" in str(error.value)
    assert "first line" not in str(error.value)


def test_files_that_are_no_networks_are_refused_and_nothing_is_written(cache, tmp_path):
    with pytest.raises(HandgenError, match=r"is not the pinned one, and palm_detection_full.tflite"):
        networks.fetch(bundle(tmp_path / "a.whl", wheel_members()))
    assert not cache.exists()


def test_a_wheel_without_networks_is_refused(cache, tmp_path):
    with pytest.raises(HandgenError, match="later ones carry no networks"):
        networks.fetch(bundle(tmp_path / "mediapipe-1.0.whl", {"mediapipe/__init__.py": b""}))


def test_a_truncated_wheel_is_refused(cache, tmp_path):
    path = bundle(tmp_path / "a.whl", wheel_members(bytes(range(256)) * 100))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(HandgenError, match="truncated"):
        networks.fetch(path)


def test_a_member_that_unpacks_to_too_much_is_refused(cache, tmp_path, set_budget):
    set_budget("HANDGEN_MAX_FILE_MIB", 24)  # of which a network may take one MiB
    with pytest.raises(HandgenError, match="larger than"):
        networks.fetch(bundle(tmp_path / "a.whl", wheel_members(bytes(2**21))))


@pytest.mark.parametrize(
    ("method", "said"),
    [(12, "packed in a way"), (14, "packed in a way"), (8, "is the file truncated"), (99, "packed in")],
)
def test_a_member_that_cannot_be_unpacked_in_parts_or_at_all_is_refused(cache, tmp_path, method, said):
    """zipfile unpacks bzip2 and LZMA at once, whatever they come to."""
    (tmp_path / "a.task").write_bytes(zip_of("hand_detector.tflite", b"\xff\xfe\xfd" * 700, 2100, method))
    with pytest.raises(HandgenError, match=said):
        networks.fetch(tmp_path / "a.task")


def test_an_empty_folder_is_refused(cache, tmp_path):
    with pytest.raises(HandgenError, match="holds neither"):
        networks.fetch(tmp_path)


@pytest.mark.parametrize("layout", ["wheel", "task", "nested task", "folder"])
def test_both_networks_are_taken_from_what_the_user_has(layout, tmp_path, real_files, monkeypatch):
    monkeypatch.setenv("HANDGEN_CACHE", str(tmp_path / "new"))
    by_name = {network: real_files[name] for name, network in networks.NETWORKS.items()}
    task = {network.task_member: data for network, data in by_name.items()}
    source = tmp_path / "source"
    if layout == "wheel":
        bundle(source, {network.wheel_member: data for network, data in by_name.items()})
    elif layout == "task":
        bundle(source, task)
    elif layout == "nested task":
        inner = bundle(tmp_path / "inner", task).read_bytes()
        bundle(source, {"hand_landmarker.task": inner, "other.tflite": b""})
    else:
        source.mkdir()
        for network, data in by_name.items():
            (source / network.name).write_bytes(data)
    written = networks.fetch(source)
    assert [network.name for network in written] == list(networks.NETWORKS)
    assert all(network.pinned for network in written)
    assert written == networks.installed()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(networks.NETWORKS)


def test_another_build_of_a_network_is_taken_with_a_warning(tmp_path, real_files, monkeypatch, caplog):
    monkeypatch.setenv("HANDGEN_CACHE", str(tmp_path / "new"))
    source = tmp_path / "source"
    source.mkdir()
    for name, data in real_files.items():
        (source / name).write_bytes(data + b"\0" * 16)  # the same flatbuffer, another digest
    assert not any(network.pinned for network in networks.fetch(source))
    assert "not the pinned" in caplog.text


def test_swapped_networks_are_refused(tmp_path, real_files, monkeypatch):
    monkeypatch.setenv("HANDGEN_CACHE", str(tmp_path / "new"))
    source = tmp_path / "source"
    source.mkdir()
    for name, other in zip(networks.NETWORKS, reversed(networks.NETWORKS), strict=True):
        (source / name).write_bytes(real_files[other])
    with pytest.raises(HandgenError, match="have the shapes"):
        networks.fetch(source)


def test_network_runs_and_gives_its_outputs_in_order(real_files):
    landmarks = networks.LANDMARKS
    network = Network(networks.locate(landmarks.name), landmarks.input_shape, landmarks.output_shapes)
    outputs = network(np.zeros(landmarks.input_shape, np.float32))
    assert [output.shape for output in outputs] == [shape[1:] for shape in landmarks.output_shapes]
    assert outputs[1][0] < 0.5  # no hand in a black image


def test_list_command(cache):
    assert '"installed": false' in CliRunner().invoke(models, ["list", "--json"]).output
    result = CliRunner().invoke(models, ["list"])
    assert result.exit_code == 0 and "not fetched" in result.output


def test_fetch_command(tmp_path, real_files, monkeypatch):
    source = tmp_path / "source"
    source.mkdir()
    for name, data in real_files.items():
        (source / name).write_bytes(data)
    monkeypatch.setenv("HANDGEN_CACHE", str(tmp_path / "new"))
    result = CliRunner().invoke(models, ["fetch", "--from", str(source)])
    assert result.exit_code == 0 and result.output.count("as pinned") == 2


def test_networks_that_are_there_are_not_downloaded_again(cache, fetched, pip):
    calls = []

    def action(folder):
        calls.append(folder)
        return 1, "offline"

    pip(action)
    assert networks.fetch() == networks.installed()
    assert not calls and not any(network.written for network in networks.fetch())
    rows = json.loads(CliRunner().invoke(models, ["fetch", "--json"]).output)
    assert [(row["name"], row["sha256_as_pinned"], row["written"]) for row in rows] == [
        (name, True, False) for name in networks.NETWORKS
    ]
    assert CliRunner().invoke(models, ["fetch"]).output.count("already there") == 2
    assert not calls
    result = CliRunner().invoke(models, ["fetch", "--force"])
    assert isinstance(result.exception, HandgenError) and len(calls) == 1
    (cache / networks.PALM.name).write_bytes(b"another")
    with pytest.raises(HandgenError, match="offline"):
        networks.fetch()
    assert len(calls) == 2
