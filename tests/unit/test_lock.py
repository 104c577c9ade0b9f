"""One writer per output directory, on disks with and without locks and in stores."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time

import orjson
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from support.killed_runs import journal_entry

from handgen.errors import HandgenError
from handgen.storage import filesystem, lock, output
from handgen.storage.filesystem import location
from handgen.storage.lock import LEASE, LOCK, lock_directory

HOLD = """
import sys, time
from pathlib import Path
from handgen.storage.lock import lock_directory
with lock_directory(Path(sys.argv[1])):
    print("holding", flush=True)
    sys.stdin.readline()
"""


def holder_of(root):
    """Another process that holds `root` until a line comes in."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "holding\n"
    return process


@pytest.fixture
def store():
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    return location("memory://bucket/out")


@pytest.fixture
def no_waiting(monkeypatch):
    """Beats come at once. Returns how long somebody would have slept."""
    slept = []
    monkeypatch.setattr(lock.time, "sleep", slept.append)
    return slept


def write_lease(root, **changed):
    mine = lock._holder() | {"alive_at": time.time()} | changed
    filesystem.put(root / LEASE, orjson.dumps(mine))
    return mine


# --- on a disk


def test_the_second_process_says_who_holds_it_and_the_first_goes_on(tmp_path):
    first = holder_of(tmp_path)
    try:
        said = rf"{tmp_path}: process {first.pid} on .* \(`-c {tmp_path}`, since 2.*\) is writing there; wait until"
        with pytest.raises(HandgenError, match=said), lock_directory(tmp_path):
            pass
        assert first.poll() is None and (tmp_path / LOCK).exists()
    finally:
        first.communicate("\n")
    assert first.returncode == 0 and list(tmp_path.iterdir()) == []
    with lock_directory(tmp_path):
        assert (tmp_path / LOCK).exists()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_ends_with_its_process(tmp_path):
    first = holder_of(tmp_path)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert (tmp_path / LOCK).exists()
    with lock_directory(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_of_many_that_start_at_once_one_wins(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    started = [subprocess.Popen(command, **pipes, text=True) for _ in range(4)]
    end = time.monotonic() + 300
    try:
        # One holds on until a line comes in.
        while sum(process.poll() is not None for process in started) < 3 and time.monotonic() < end:
            time.sleep(0.01)
        said = [process.communicate("\n") for process in started]
    finally:
        for process in started:
            process.kill()
    assert sorted(process.returncode for process in started) == [0, 1, 1, 1]
    assert sorted(out for out, _ in said) == ["", "", "", "holding\n"]
    assert all("is writing there" in error for out, error in said if not out)


def test_an_error_inside_lets_go(tmp_path, store):
    for root in (tmp_path, store):
        with pytest.raises(ZeroDivisionError), lock_directory(root):
            raise ZeroDivisionError
        assert list(filesystem.list_names(root)) == []


def test_a_lock_that_was_removed_in_between_is_made_anew(tmp_path, monkeypatch):
    """Between opening and locking, the holder may end and remove the file."""
    flock, turns = fcntl.flock, []

    def late(descriptor, how):
        turns.append(descriptor)
        if len(turns) == 1:
            (tmp_path / LOCK).unlink()
        return flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with lock_directory(tmp_path):
        assert len(turns) == 2 and (tmp_path / LOCK).exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_disk_without_locks_has_a_lease(tmp_path, monkeypatch, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with lock_directory(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [LEASE]
        with pytest.raises(HandgenError, match=f"process {os.getpid()} on"), lock_directory(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / LOCK))

    monkeypatch.setattr(os, "open", refuse)
    with (
        pytest.raises(HandgenError, match=r"\.lock: Permission denied; what is finished is kept"),
        output.writing(tmp_path),
        lock_directory(tmp_path),
    ):
        pass


# --- in a store


def test_a_lease_is_refused_while_its_holder_lives(store):
    with lock_directory(store):
        found = orjson.loads(filesystem.read(store / LEASE))
        assert found["process"] == os.getpid()
        with (
            pytest.raises(HandgenError, match=r"if that run was killed, this ends in (90|[1-8][0-9]) s"),
            lock_directory(store),
        ):
            pass
        assert orjson.loads(filesystem.read(store / LEASE)) == found
    assert list(filesystem.list_names(store)) == []


def test_a_lease_is_touched(store, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_S", 0.01)
    with lock_directory(store):
        first = orjson.loads(filesystem.read(store / LEASE))
        end = time.monotonic() + 300
        while (now := orjson.loads(filesystem.read(store / LEASE))) == first:
            assert time.monotonic() < end
            time.sleep(0.01)
    assert now.pop("alive_at") > first.pop("alive_at") and now == first


def test_one_of_a_process_of_this_machine_that_is_no_more_is_taken_at_once(store, no_waiting):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    write_lease(store, process=ended.pid)
    with lock_directory(store):
        assert orjson.loads(filesystem.read(store / LEASE))["process"] == os.getpid()
    assert no_waiting == [lock._SETTLED_S]


def test_a_machine_without_proc_has_an_identity_too(monkeypatch):
    def missing(path):
        raise FileNotFoundError(path)

    with_proc = lock._machine_id()
    monkeypatch.setattr(lock.os, "readlink", missing)
    assert lock._machine_id() not in (with_proc, os.uname().nodename)
    assert lock._machine_id() == lock._machine_id()


@pytest.mark.parametrize("machine", ["another machine", f"{os.uname().nodename} another-start pid:[1]"])
def test_the_same_number_on_another_machine_is_another_process(store, machine):
    """Also of a container, which has its host's name and its own processes."""
    write_lease(store, process=2**22 + 1, machine=machine)
    with pytest.raises(HandgenError, match="is writing there"), lock_directory(store):
        pass


@pytest.mark.parametrize("silent_s", [lock.STALE_S + 1, -3600.0])  # the second: its clock is an hour ahead of ours
def test_a_silent_one_is_watched_and_then_taken_over(store, no_waiting, caplog, silent_s):
    write_lease(store, machine="elsewhere", host="elsewhere", process=77, alive_at=time.time() - silent_s)
    with lock_directory(store):
        assert orjson.loads(filesystem.read(store / LEASE))["process"] == os.getpid()
    assert no_waiting == [2 * lock.BEAT_S, lock._SETTLED_S]
    assert "taking over from process 77 on elsewhere" in caplog.text


def test_one_that_stirs_while_it_is_watched_is_left_alone(store, monkeypatch):
    """Its clock is far behind ours."""
    old = write_lease(store, machine="elsewhere", host="elsewhere", process=77, alive_at=time.time() - 9999)
    beat = old | {"alive_at": time.time() - 9979}
    monkeypatch.setattr(lock.time, "sleep", lambda _: filesystem.put(store / LEASE, orjson.dumps(beat)))
    with pytest.raises(HandgenError, match="process 77 on elsewhere"), lock_directory(store):
        pass
    assert orjson.loads(filesystem.read(store / LEASE)) == beat


def test_of_two_that_take_over_at_once_one_wins(store, monkeypatch):
    write_lease(store, machine="elsewhere", process=77, alive_at=0.0)
    other = lock._holder() | {"machine": "third", "process": 78}

    def meanwhile(seconds):
        if seconds == lock._SETTLED_S:  # the other, which saw the same silent lease, puts its own over ours
            filesystem.put(store / LEASE, orjson.dumps(other | {"alive_at": time.time()}))

    monkeypatch.setattr(lock.time, "sleep", meanwhile)
    with pytest.raises(HandgenError, match="process 78"), lock_directory(store):
        pass
    assert orjson.loads(filesystem.read(store / LEASE))["process"] == 78


def test_an_answer_that_was_lost_is_no_other_holder(store, monkeypatch):
    pipe_file = store.fs.pipe_file

    def lost(path, data, mode="overwrite", **_):
        pipe_file(path, data)
        if mode == "create":
            raise FileExistsError(errno.EEXIST, "asked twice, written once")

    monkeypatch.setattr(store.fs, "pipe_file", lost)
    with lock_directory(store):
        assert orjson.loads(filesystem.read(store / LEASE))["process"] == os.getpid()


def test_who_lost_the_lease_stops(store, monkeypatch):
    """A store that writes over what is there lets two begin; or one slept for too long."""
    monkeypatch.setattr(lock, "BEAT_S", 0.01)
    kind, run = "shards", {"a": 1}
    ousted = pytest.raises(HandgenError, match="process 79 on .* is writing there")
    with ousted, output.claim_output(store, kind, run, (), False) as journal:
        journal.add(0, {})
        write_lease(store, process=79, machine="elsewhere")
        end = time.monotonic() + 300
        while time.monotonic() < end:
            journal.add(1, {})
            time.sleep(0.01)
    assert orjson.loads(filesystem.read(store / LEASE))["process"] == 79  # which is not ours to remove


def test_a_beat_that_fails_is_no_end(store, monkeypatch, caplog):
    monkeypatch.setattr(lock, "BEAT_S", 0.01)
    put, failed = filesystem.put, []

    def failing(place, data):
        if place.name == LEASE and len(failed) < 2:
            failed.append(place)
            raise OSError(errno.EIO, "no answer", str(place))
        put(place, data)

    monkeypatch.setattr(filesystem, "put", failing)
    with lock_directory(store) as hold:
        end = time.monotonic() + 300
        while len(failed) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        hold.check()
    assert "cannot be touched (no answer)" in caplog.text and list(filesystem.list_names(store)) == []


@pytest.mark.parametrize("said", [{"alive_at": "now"}, {"alive_at": None}, {"alive_at": [], "process": {}}])
def test_a_lease_of_other_types_is_garbage(store, no_waiting, said):
    filesystem.put(store / LEASE, orjson.dumps(said))
    with lock_directory(store):
        pass
    assert no_waiting == [2 * lock.BEAT_S, lock._SETTLED_S]


def test_what_a_lease_says_is_cut_off(store):
    holder = {"process": 1, "host": "h" * 100_000, "command": "c" * 100_000, "alive_at": time.time()}
    filesystem.put(store / LEASE, orjson.dumps(holder))
    with pytest.raises(HandgenError, match="is writing there") as caught, lock_directory(store):
        pass
    assert len(str(caught.value)) < 1000


def test_a_lease_that_is_garbage_ends_too(store, no_waiting):
    filesystem.put(store / LEASE, b"not json")
    with lock_directory(store):
        pass
    assert no_waiting == [2 * lock.BEAT_S, lock._SETTLED_S]


# --- directories of runs


def test_a_run_in_a_store_goes_on_and_starts_anew(store):
    with output.claim_output(store, "shards", {"a": 1}, ("*.tar", "sub"), False) as journal:
        filesystem.put(store / "x.tar", b"x")
        filesystem.put(store / "sub" / "y", b"y")
        filesystem.put(store / "foreign.txt", b"z")
        journal.add(3, journal_entry(1))
    with output.claim_output(store, "shards", {"a": 1}, ("*.tar", "sub"), False) as journal:
        assert journal.entries == {3: journal_entry(1)}
    different = pytest.raises(HandgenError, match="a: 1 there, 2 now")
    with different, output.claim_output(store, "shards", {"a": 2}, ("*.tar", "sub"), False):
        pass
    with output.claim_output(store, "shards", {"a": 2}, ("*.tar", "sub"), True) as journal:
        assert journal.entries == {} and sorted(filesystem.list_names(store)) == [LEASE, "foreign.txt", "run.json"]
    another = pytest.raises(HandgenError, match="holds something other than annotations")
    with another, output.claim_output(store, "annotations", {}, (), True):
        pass


def test_a_lock_left_behind_makes_no_output(tmp_path, store):
    for root in (tmp_path, store):
        for name in (LOCK, LEASE):
            filesystem.put(root / name, b"")
        assert output.kind_of(root) is None
        output.prepare_output(root, "shards", {}, (), False)
