"""A real S3 server process (moto's), and a proxy before it that drops connections or answers slowly."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter

BUCKET = "bucket"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


class Server:
    """moto's server on a free loopback port; its log counts the requests."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = folder / "server.log"
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + 300
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                assert time.monotonic() < end and self.process.poll() is None, self.log.read_text()
                time.sleep(0.1)
        self._seen = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def requests(self):
        """Method and path of each request since the last call."""
        plain = re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text())
        lines = re.findall(r'"([A-Z]+) (\S+) HTTP/1\.[01]" (\d+)', plain)
        new, self._seen = lines[self._seen :], len(lines)
        return [(method, path) for method, path, _ in new]

    def counted(self, part=""):
        """How often each method since the last call, of paths with `part` in them."""
        return Counter(method for method, path in self.requests() if part in path)

    def close(self):
        self.process.terminate()
        self.process.wait()


class Proxy:
    """TCP, before a server.

    drops: how many connections are still to be cut, each when `after` bytes have gone through it in both directions
    together. delay_s: before the server is told anything of what came in at once.
    """

    def __init__(self, port):
        self.target = port
        self.drops, self.after, self.delay_s = 0, 0, 0.0
        self.dropped = 0
        self._guard = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            through = [0]
            for source, sink, is_request in ((client, server, True), (server, client, False)):
                args = (source, sink, is_request, through, (client, server))
                threading.Thread(target=self._pump, args=args, daemon=True).start()

    def _pump(self, source, sink, is_request, through, both):
        try:
            while data := source.recv(16384):
                if is_request and self.delay_s:
                    time.sleep(self.delay_s)
                through[0] += len(data)
                if through[0] > self.after and self._drops_this():
                    break
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in both:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def _drops_this(self):
        with self._guard:
            if self.drops == 0:
                return False
            self.drops -= 1
            self.dropped += 1
            return True

    def close(self):
        self._listener.close()


def use(monkeypatch, url, **config):
    """Let this process and those it starts find the store at `url`. config: of the driver's HTTP client."""
    import fsspec
    import orjson
    import s3fs

    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    options = {"endpoint_url": url, "config_kwargs": config}
    monkeypatch.setenv("FSSPEC_S3", orjson.dumps(options).decode())
    monkeypatch.setitem(fsspec.config.conf, "s3", options)
    s3fs.S3FileSystem.clear_instance_cache()
