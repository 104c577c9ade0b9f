"""Files appear whole or not at all, on a disk and in a store; a store that fails is asked again."""

import errno
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from handgen.errors import HandgenError
from handgen.storage import filesystem, retry, tar
from handgen.storage.filesystem import location
from handgen.storage.output import write_error


@pytest.fixture
def store():
    """A folder in a store of its own."""
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    return location("memory://bucket/folder")


@pytest.fixture(params=["disk", "memory"])
def root(request, tmp_path, store):
    return tmp_path if request.param == "disk" else store


@pytest.fixture
def hasty(monkeypatch):
    """No waiting."""
    monkeypatch.setattr(retry, "_FIRST_WAIT_S", 1e-4)
    monkeypatch.setattr(retry, "_LONGEST_WAIT_S", 1e-4)


# --- locations


def test_a_location_is_a_path_or_a_url(tmp_path, store):
    assert location(str(tmp_path)) == tmp_path
    assert location(tmp_path) is tmp_path
    assert location(f"file://{tmp_path}") == tmp_path and isinstance(location(f"file://{tmp_path}"), Path)
    assert str(store / "a") == "memory://bucket/folder/a" and filesystem.is_remote(store)
    assert location(store) is store  # with whatever options it was made


@pytest.mark.parametrize("url", ["nonsense://bucket/x", "s4://x"])
def test_a_scheme_that_nobody_knows_is_said(url):
    with pytest.raises(HandgenError, match="give a path, or a URL"):
        location(url)


def test_a_driver_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(HandgenError, match=r"gs://bucket/x: cannot be used here .*pip install 'handgen\[gcs\]'"):
        location("gs://bucket/x")


# --- one interface for both


def test_what_is_put_is_there(root):
    place = root / "a.txt"
    assert filesystem.size_of(place) is None and filesystem.file_sizes(root / "none") == {}
    filesystem.put(place, b"hello")
    assert filesystem.read(place) == b"hello" and filesystem.size_of(place) == 5
    assert filesystem.read_range(place, 1, 3) == b"ell"
    assert filesystem.read_range(place, 3, 10) == b"lo"
    assert filesystem.read_range(place, 50, 10) == b""
    assert filesystem.digest(place) == (5, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824")
    filesystem.put(place, b"other")
    assert filesystem.read(place) == b"other"


def test_folders_are_listed_once_and_whole(root):
    for name in ("b", "a", "sub/c"):
        filesystem.make_folder((root / name).parent)
        filesystem.put(root / name, name.encode())
    assert filesystem.file_sizes(root) == {"a": 1, "b": 1}
    assert sorted(filesystem.list_names(root)) == ["a", "b", "sub"]
    assert list(filesystem.list_names(root / "none")) == []
    assert filesystem.is_folder(root) and filesystem.is_folder(root / "sub")
    assert not filesystem.is_folder(root / "a") and not filesystem.is_folder(root / "none")


def test_what_is_removed_is_gone(root):
    for name in ("a", "b", "sub/c", "sub/d"):
        filesystem.make_folder((root / name).parent)
        filesystem.put(root / name, b"x")
    filesystem.remove(root / "a")
    filesystem.remove_file(root / "b")
    filesystem.remove(root / "sub")
    for again in (filesystem.remove, filesystem.remove_file):
        again(root / "a")
    assert list(filesystem.list_names(root)) == []


def test_only_the_first_puts_what_must_be_new(root):
    assert filesystem.put_new(root / "a", b"first")
    assert not filesystem.put_new(root / "a", b"second")
    assert filesystem.read(root / "a") == b"first" and list(filesystem.list_names(root)) == ["a"]


def test_a_store_without_such_a_put_is_looked_at_first(store, monkeypatch):
    def pipe_file(self, path, value, mode="overwrite", **_):
        if mode == "create":
            raise OSError(errno.ENOSYS, "A header you provided implies functionality that is not implemented")
        return put(self, path, value)

    put = MemoryFileSystem.pipe_file
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", pipe_file)
    assert filesystem.put_new(store / "a", b"first")
    assert not filesystem.put_new(store / "a", b"second")
    assert filesystem.read(store / "a") == b"first"


def test_a_disk_without_links_has_it_too(tmp_path, monkeypatch):
    def link(*_):
        raise PermissionError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", link)
    assert filesystem.put_new(tmp_path / "a", b"first") and not filesystem.put_new(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first"


def test_a_file_is_absent_until_it_is_whole(root):
    with filesystem.whole_file(root / "a") as file:
        file.write(b"x" * 10**6)
        assert filesystem.size_of(root / "a") is None
        assert "a" not in filesystem.file_sizes(root)
    assert filesystem.size_of(root / "a") == 10**6
    assert list(filesystem.list_names(root)) == ["a"]


def test_a_writer_that_raises_leaves_what_was_there(root):
    filesystem.put(root / "a", b"before")
    for name in ("a", "b"):
        with pytest.raises(ZeroDivisionError), filesystem.whole_file(root / name) as file:
            file.write(b"x" * 10**6)
            raise ZeroDivisionError
    assert filesystem.read(root / "a") == b"before" and list(filesystem.list_names(root)) == ["a"]


@given(data=st.binary(max_size=5000), block=st.integers(1, 700), jumps=st.lists(st.integers(0, 6000), max_size=8))
@settings(max_examples=50)
def test_a_file_in_a_store_reads_as_one_on_a_disk(data, block, jumps):
    place = location("memory://bucket/read")
    filesystem.put(place, data)
    with tempfile.TemporaryFile() as disk, filesystem.open_read(place, block) as file:
        disk.write(data)
        for jump in [0, *jumps]:
            assert file.seek(jump) == disk.seek(jump)
            assert file.read(97) == disk.read(97)
        file.seek(0), disk.seek(0)
        assert file.read() == data


def test_a_tar_in_a_store_is_that_on_a_disk(store, tmp_path):
    members = [(f"{i}.bin", bytes([i]) * 3000 * i) for i in range(9)]
    there, here = (tar.write_tar(folder / "x.tar", members) for folder in (store, tmp_path))
    assert there == here and filesystem.digest(store / "x.tar") == (here.bytes, here.sha256)
    with filesystem.open_read(store / "x.tar", 1000) as file, tarfile.open(fileobj=file, mode="r:") as opened:
        assert [m.name for m in opened] == [name for name, _ in members]


def test_pieces_are_read_at_once_and_what_cannot_be_had_is_left_out(store):
    for i in range(5):
        filesystem.put(store / f"{i}", bytes(range(100)))
    wanted = [(store / f"{i}", (10 * i, 5)) for i in range(6)] + [(store / "0", (98, 5))]
    found = filesystem.read_ranges(wanted)
    assert found == {(store / f"{i}", (10 * i, 5)): bytes(range(10 * i, 10 * i + 5)) for i in range(5)}


def test_all_files_below_a_folder(store):
    for name in ("a", "deep/er/b", "deep/c"):
        filesystem.put(store / name, name.encode())
    found = filesystem.files_below(store)
    assert {name: info["size"] for name, info in found.items()} == {"a": 1, "deep/er/b": 9, "deep/c": 6}
    assert filesystem.files_below(store / "none") == {}


# --- disks


def test_a_file_is_synced_before_it_is_renamed_and_its_folder_after(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, Path.replace

    def synced(descriptor):
        steps.append("folder" if Path(f"/proc/self/fd/{descriptor}").resolve() == tmp_path else "file")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", lambda self, to: (steps.append("rename"), replace(self, to))[1])
    filesystem.put(tmp_path / "a", b"x")
    assert steps == ["file", "rename", "folder"]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    with filesystem.whole_file(tmp_path / "a") as one, filesystem.whole_file(tmp_path / "a") as two:
        assert len(list(tmp_path.iterdir())) == 2
        one.write(b"one")
        two.write(b"two")
    assert (tmp_path / "a").read_bytes() == b"one"  # which ended last
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


WRITE_AND_DIE = """
import os, signal, sys
from handgen.storage import filesystem
from handgen.storage.filesystem import location
with filesystem.whole_file(location(sys.argv[1])) as file:
    file.write(bytes(10**6))
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("url", ["{}/out/a.tar", "memory://bucket/a.tar"])
def test_a_writer_that_is_killed_leaves_no_file_of_the_name(tmp_path, url):
    (tmp_path / "out").mkdir()
    (tmp_path / "temporary").mkdir()
    command = [sys.executable, "-c", WRITE_AND_DIE, url.format(tmp_path)]
    done = subprocess.run(command, env=os.environ | {"TMPDIR": str(tmp_path / "temporary")})
    assert done.returncode == -signal.SIGKILL
    left = [path.name for path in (tmp_path / "out").iterdir()]
    assert "a.tar" not in left and all(name.endswith(filesystem.PARTIAL) for name in left)
    assert list((tmp_path / "temporary").iterdir()) == []  # what was for a store ended with the process


def test_where_descriptors_cannot_be_opened_anew_a_file_for_a_store_has_a_name(store, monkeypatch, tmp_path):
    monkeypatch.setattr(filesystem.sys, "platform", "darwin")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with filesystem.whole_file(store / "shard.tar") as file:
        file.write(b"all of it")
        assert len(list(tmp_path.iterdir())) == 1
    assert filesystem.read(store / "shard.tar") == b"all of it"
    assert not list(tmp_path.iterdir())


def test_a_full_disk_here_is_not_a_full_store(store, monkeypatch):
    with pytest.raises(OSError, match="TMPDIR") as caught, filesystem.whole_file(store / "a"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.filename == tempfile.gettempdir()


# --- stores that fail


class Failing:
    """Fails so often, then does what it should."""

    def __init__(self, times, error, act):
        self.left, self.error, self.act, self.calls = times, error, act, 0

    def __call__(self, *args, **options):
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error
        return self.act(*args, **options)


class HTTPClientError(Exception):
    """Errors that drivers let through from their libraries."""


@pytest.mark.parametrize(
    "error", [ConnectionResetError(errno.ECONNRESET, "reset"), TimeoutError(), HTTPClientError("broken pipe")]
)
@pytest.mark.parametrize(
    ("method", "act"),
    [
        ("pipe_file", lambda place: filesystem.put(place, b"hello")),
        ("cat_file", lambda place: filesystem.read(place)),
        ("cat_file", lambda place: filesystem.read_range(place, 0, 2)),
        ("info", filesystem.size_of),
        ("ls", lambda place: filesystem.file_sizes(place.parent)),
        ("rm_file", filesystem.remove_file),
        ("put_file", lambda place: tar.write_tar(place, [("a", b"b")])),
    ],
)
def test_what_the_network_fails_is_done_again(store, hasty, monkeypatch, error, method, act):
    place = store / "a"
    filesystem.put(place, b"hello")
    expected = act(place)
    filesystem.put(place, b"hello")
    failing = Failing(3, error, getattr(place.fs, method))
    monkeypatch.setattr(place.fs, method, failing)
    assert act(place) == expected and failing.calls == 4


def test_a_store_that_never_recovers_is_named(store, hasty, monkeypatch):
    monkeypatch.setattr(retry, "RETRY_DEADLINE_S", 0.05)
    failing = Failing(10**9, HTTPClientError("the pipe is broken"), None)
    monkeypatch.setattr(store.fs, "pipe_file", failing)
    with pytest.raises(OSError, match="the pipe is broken .asked [0-9]+ times") as caught:
        filesystem.put(store / "a", b"hello")
    assert caught.value.filename == "memory://bucket/folder/a" and failing.calls >= 2
    told = str(write_error(caught.value, store))
    assert told.startswith("memory://bucket/folder/a: HTTPClientError: the pipe") and "run again when" in told


class NoCredentialsError(Exception):
    pass


class StoreError(OSError):
    """Errors as the driver of S3 raises them."""

    def __init__(self, number, message, code):
        super().__init__(number, message)
        self.__cause__ = Exception()
        self.__cause__.response = {"Error": {"Code": code, "Message": message}}


@pytest.mark.parametrize(
    ("error", "kind", "number", "hint"),
    [
        (FileNotFoundError("The specified bucket does not exist"), FileNotFoundError, errno.ENOENT, "make the bucket"),
        (PermissionError("Access Denied"), PermissionError, errno.EACCES, "give credentials"),
        (NoCredentialsError("Unable to locate credentials"), PermissionError, errno.EACCES, "give credentials"),
        (ValueError("Invalid endpoint: htp://x"), OSError, errno.EINVAL, "endpoint"),
        (StoreError(errno.EINVAL, "At least one", "PreconditionFailed"), FileExistsError, errno.EEXIST, ""),
    ],
)
def test_what_will_not_pass_is_said_at_once(store, monkeypatch, error, kind, number, hint):
    failing = Failing(1, error, None)
    monkeypatch.setattr(store.fs, "pipe_file", failing)
    with pytest.raises(kind) as caught:
        filesystem.put(store / "a", b"x")
    assert caught.value.errno == number and failing.calls == 1 and caught.value.filename == str(store / "a")
    assert str(error).split(":")[0] in caught.value.strerror or number == errno.EEXIST
    assert hint in str(write_error(caught.value, store))


@pytest.mark.parametrize("code", ["BadDigest", "IncompleteBody", "NoSuchUpload"])
def test_a_transfer_that_was_cut_is_done_again(store, hasty, monkeypatch, code):
    failing = Failing(2, StoreError(errno.EINVAL, "it was cut off", code), store.fs.pipe_file)
    monkeypatch.setattr(store.fs, "pipe_file", failing)
    filesystem.put(store / "a", b"x")
    assert filesystem.read(store / "a") == b"x"


def test_our_own_mistakes_are_not_the_stores(store, monkeypatch):
    failing = Failing(1, TypeError("takes 2 arguments"), None)
    monkeypatch.setattr(store.fs, "pipe_file", failing)
    with pytest.raises(TypeError):
        filesystem.put(store / "a", b"x")
    assert failing.calls == 1


def test_a_piece_that_comes_short_is_no_file_that_ends(store, monkeypatch):
    """A picture cut off by the network must not look like a damaged one."""
    filesystem.put(store / "a", bytes(100))
    monkeypatch.setattr(store.fs, "cat_file", lambda path, start, end: bytes(7))
    with pytest.raises(OSError, match="7 of 100 bytes came"):
        filesystem.open_read(store / "a").read()


def test_what_is_there_already_needs_no_room(tmp_path, monkeypatch):
    place = tmp_path / "manifest.json"
    filesystem.put(place, b"the same")
    before = place.stat().st_mtime_ns

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    filesystem.put(place, b"the same")
    assert place.stat().st_mtime_ns == before
    with pytest.raises(OSError, match="No space left") as error:
        filesystem.put(place, b"another!")
    assert error.value.filename == str(place) and place.read_bytes() == b"the same"


def test_links_that_lead_nowhere_are_no_files(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "nothing").symlink_to("none")
    (tmp_path / "link").symlink_to("file")
    assert filesystem.file_sizes(tmp_path) == {"file": 3, "link": 3}
