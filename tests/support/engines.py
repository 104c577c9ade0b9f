"""Units of work that die when they are told to, and a real Ray cluster of several nodes on this machine."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).parents[2]
_RAY = [sys.executable, "-c", "import sys; from ray.scripts.scripts import main; sys.exit(main())"]
_STORE_BYTES = 80 * 2**20  # of each node


def marked_unit(folder: str | Path, deaths: Mapping[int, int], number: int, seconds: float = 0.0) -> int:
    """Leave a file that says which process began the unit; die at the first `deaths[number]` times; give the number."""
    before = len(begun(folder, number))
    Path(folder, f"unit_{number}.{os.getpid()}").write_text("")
    if before < deaths.get(number, 0):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(seconds)
    return number


class OneWayError(Exception):
    """It can be pickled, and not be unpickled."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")


def raises_one_way(number: int) -> int:
    raise OneWayError("picture", "no such colour")


def begun(folder: str | Path, number: int | str = "*") -> list[Path]:
    """The files that `marked_unit` left, of one unit or all; the suffix is the process."""
    return list(Path(folder).glob(f"unit_{number}.*"))


def wait_for(condition: Callable[[], object], seconds: float = 300.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.05)


class Cluster:
    """A head and nodes of one CPU each. Used in a `with` block, which ends all of them."""

    def __init__(self, nodes: int = 1, **variables: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hr", dir="/tmp"))  # a socket's path may have 107 bytes
        self.environment = os.environ | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ADDRESS": "",
            "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'tests'}",
            "OMP_NUM_THREADS": "1",
            "NO_ALBUMENTATIONS_UPDATE": "1",
            **variables,
        }
        del self.environment["RAY_ADDRESS"]
        self.processes: list[subprocess.Popen] = []
        self.first_nodes = nodes
        self.address = ""

    def __enter__(self) -> Cluster:
        try:
            port = free_port()
            self.address = f"127.0.0.1:{port}"
            ports = [f"--port={port}"]
            if find_spec("grpc"):  # Ray's client, which is not needed here, has a fixed port if it can be had
                ports.append(f"--ray-client-server-port={free_port()}")
            self._start("--head", *ports, "--include-dashboard=false", f"--temp-dir={self.folder}")
            for _ in range(self.first_nodes):
                self.add_node()
        except BaseException:
            self.__exit__()
            raise
        return self

    def add_node(self) -> int:
        """Start a node; its number, as `kill_node` takes it."""
        self._start(f"--address={self.address}")
        return len(self.processes) - 1

    def node_processes(self, number: int) -> list[psutil.Process]:
        """All processes of a node but the first."""
        with suppress(psutil.Error):
            return psutil.Process(self.processes[number].pid).children(recursive=True)
        return []

    def kill_node(self, number: int) -> None:
        """Act as a machine that loses its power: end all processes of the node at once."""
        os.killpg(self.processes[number].pid, signal.SIGKILL)
        self.processes[number].wait()

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, *options: str) -> None:
        number = len(self.processes)
        with (self.folder / f"node_{number}.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *_RAY,
                    "start",
                    *options,
                    "--node-ip-address=127.0.0.1",
                    "--num-cpus=1",
                    f"--object-store-memory={_STORE_BYTES}",
                    "--disable-usage-stats",
                    f"--dashboard-agent-listen-port={free_port()}",
                    f"--dashboard-agent-grpc-port={free_port()}",
                    f"--runtime-env-agent-port={free_port()}",
                    f"--metrics-export-port={free_port()}",
                    "--min-worker-port=0",
                    "--max-worker-port=0",
                    "--block",
                ],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
            )
        self.processes.append(process)
        wait_for(lambda: b"Ray runtime started" in self._said(number) or self._has_ended(number), 60)

    def _said(self, number: int) -> bytes:
        return (self.folder / f"node_{number}.log").read_bytes()

    def _has_ended(self, number: int) -> bool:
        if self.processes[number].poll() is None:
            return False
        raise RuntimeError(f"a Ray node ended: {self._said(number).decode(errors='replace')[-3000:]}")


def free_port() -> int:
    """A port that nobody uses; of so many, that nobody takes it before it is used here."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
