"""Surroundings that are not as usual: streams, encodings, limits, signals, addresses. Each is one line and a status."""

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from support.annotations import write_annotations
from support.captures import make_capture

from handgen.cli import main as command_line
from handgen.cli.main import main
from handgen.storage.lock import LOCK

HANDGEN = [sys.executable, "-m", "handgen.cli.main"]


@pytest.fixture(scope="module")
def capture(tmp_path_factory) -> Path:
    return make_capture(tmp_path_factory.mktemp("capture"), frames=(5, 5))


@pytest.fixture(scope="module")
def annotations(tmp_path_factory) -> Path:
    return write_annotations(tmp_path_factory.mktemp("made") / "annotations", frames=2, accept_all=True)


def run(*arguments: object, limit=None, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*HANDGEN, *map(os.fspath, arguments)], capture_output=True, timeout=300, preexec_fn=limit, **options
    )


def shell(line: str, *arguments: object) -> subprocess.CompletedProcess:
    """Run a line of bash in which "$@" is handgen with these arguments."""
    command = ["bash", "-c", f"set -o pipefail; {line}", "bash", *HANDGEN, *map(os.fspath, arguments)]
    return subprocess.run(command, capture_output=True, timeout=300)


def assert_one_line(done: subprocess.CompletedProcess, *words: str, status: int = 1) -> None:
    errors = done.stderr.decode(errors="replace")
    assert done.returncode == status and "Traceback" not in errors, errors
    lines = [line for line in errors.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1 and errors.splitlines()[-1] == lines[0] and all(word in lines[0] for word in words), errors


@pytest.mark.parametrize("stdout", ["ascii", "utf-8", "latin-1"])
def test_arguments_that_are_not_utf8(stdout, capture, tmp_path):
    env = {**os.environ, "PYTHONIOENCODING": stdout, "LC_ALL": "C"}
    strange = os.fsencode(tmp_path) + b"/\xff\xfe"
    assert_one_line(run("inspect", strange, env=env), "does not exist", status=2)
    assert_one_line(run("annotate", capture, "--subject", b"\xff", env=env), "subject", status=2)
    os.mkdir(strange)
    assert_one_line(run("inspect", strange, env=env), "neither annotations nor shards")
    done = run("inspect", capture, env=env)
    assert done.returncode == 0 and not done.stderr


@pytest.mark.parametrize(
    ("line", "status"),
    [('"$@" >&-', 0), ('"$@" >&- 2>&- <&-', 0), ('"$@" --json >&-', 0), ('"$@" | head -1', (0, 1)), ('"$@" 2>&-', 0)],
)
def test_streams_that_are_closed(line, status, capture):
    done = shell(line, "inspect", capture)
    assert done.returncode in (status if isinstance(status, tuple) else (status,)) and not done.stderr


def test_a_full_standard_output_is_named(capture):
    assert_one_line(shell('"$@" > /dev/full', "inspect", capture), "standard output")


def test_without_home_and_cache(capture, tmp_path):
    env = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    assert run("inspect", capture, env=env).returncode == 0
    env["HANDGEN_CACHE"] = "/proc/no-cache"
    assert run("models", "list", env=env).returncode == 0
    assert_one_line(
        run("annotate", capture, "--metres-per-unit", "1", "--out", tmp_path / "a", env=env), "models fetch"
    )


@pytest.mark.parametrize(
    "address", ["reference://a", "dir://a", "blockcache://a", "generic://x", "zip://a.zip", "data://x", "nosuch://x"]
)
def test_odd_addresses(address):
    assert_one_line(run("inspect", address), "Invalid value", status=2)
    assert run("inspect", address).stderr.count(b"\n") == 4  # usage, a hint, an empty line, the error


def limited(kind: int, most: int):
    return lambda: resource.setrlimit(kind, (most, most))


def test_too_few_file_handles(annotations, tmp_path):
    for most in (64, 32):
        arguments = ("synthesize", annotations, "--samples", "4", "--size", "64", "--workers", "2")
        done = run(*arguments, "--out", tmp_path / str(most), limit=limited(resource.RLIMIT_NOFILE, most))
        assert done.returncode == 0, done.stderr
    done = run(*arguments, "--out", tmp_path / "few", limit=limited(resource.RLIMIT_NOFILE, 12))
    assert_one_line(done, "Too many open files", "ulimit -n")
    assert not (tmp_path / "few" / LOCK).exists()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), ("not enough memory",)),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), ("not enough memory",)),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), ("not enough memory",)),
        (RuntimeError("can't start new thread"), ("not enough memory",)),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), ("not enough memory",)),
        (OSError(errno.EMFILE, "Too many open files", "a"), ("too many files", "ulimit")),
        (PermissionError(errno.EACCES, "Permission denied", "a"), ("a: Permission denied",)),
        (OSError(errno.EIO, "Input/output error", "a"), ("a: Input/output error",)),
        (OSError(errno.ENOSPC, "No space left on device"), ("make room",)),
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/a']"), ("TMPDIR",)),
    ],
)
def test_what_surroundings_refuse_is_one_line(error, words, capture, monkeypatch):
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("handgen.stages.inspect.describe.describe", fails)
    result = CliRunner().invoke(main, ["inspect", str(capture)])
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    assert all(word in result.stderr for word in words)


def test_a_mistake_of_ours_keeps_its_traceback(capture, monkeypatch):
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("handgen.stages.inspect.describe.describe", fails)
    assert isinstance(CliRunner().invoke(main, ["inspect", str(capture)]).exception, RuntimeError)
    assert not command_line._wants_memory(click.exceptions.Exit(0))


def test_want_of_memory_at_the_start_is_one_line(annotations):
    """The limits leave room for the interpreter and its small libraries, but not for the large ones."""
    for mib in (620, 760, 900):
        done = run("validate", annotations, "--workers", "1", limit=limited(resource.RLIMIT_AS, mib << 20))
        errors = done.stderr.decode()
        if done.returncode == 1 and "OpenBLAS" not in errors and "terminate" not in errors:  # which end the process
            assert_one_line(done, "not enough memory")


def children(pid: int) -> list[int]:
    """The processes whose parent this is."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def is_running(pid: int) -> bool:
    """Tell whether a process has not ended; one that nobody waits for may still be listed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGTERM, 143, "Terminated"), (signal.SIGINT, 130, "Interrupted")]
)
@pytest.mark.parametrize(("stage", "workers"), [("synthesize", 1), ("synthesize", 2), ("simulate", 2)])
def test_a_signal_ends_the_run_its_workers_and_its_lock(stage, workers, number, status, word, annotations, tmp_path):
    out = tmp_path / "out"
    arguments = {
        "synthesize": ["synthesize", str(annotations), "--samples", "100000", "--size", "64", "--out", str(out)],
        "simulate": ["simulate", str(out), "--views", "2", "--frames", "4000"],
    }[stage]
    command = [*HANDGEN, "-v", *arguments, "--workers", str(workers)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    try:
        while not (out / LOCK).exists() or len(children(process.pid)) < (workers if workers > 1 else 0):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        time.sleep(1.0)  # somewhere in its work
        began = children(process.pid)
        os.kill(process.pid, number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == status, errors
    kept = "finished shards" if stage == "synthesize" else "finished chunks"
    last = errors.decode().splitlines()[-1]
    assert last == f"{word}: {kept} are kept; run the same command again to go on" and b"Traceback" not in errors
    assert not (out / LOCK).exists()
    until = time.monotonic() + 20  # Python's own tracker of resources ends a moment after its parent
    while any(map(is_running, began)):
        assert time.monotonic() < until
        time.sleep(0.05)
