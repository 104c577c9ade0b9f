"""Work in Google's store gives what it gives on a disk, with an emulator's process.

Needs `pip install gcsfs gcp-storage-emulator`, and is left out without. The emulator knows no "only if there is none":
the lease must do without it.
"""

import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from support.annotations import write_annotations

from handgen.errors import HandgenError
from handgen.media import images
from handgen.stages.synthesize import stage
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.storage import filesystem, tar
from handgen.storage.filesystem import location
from handgen.storage.lock import LEASE, lock_directory

pytest.importorskip("gcsfs")
pytest.importorskip("gcp_storage_emulator")

pytestmark = pytest.mark.slow

SERVE = """
import sys
from gcp_storage_emulator.server import create_server
create_server("127.0.0.1", int(sys.argv[1]), in_memory=True, default_bucket="bucket").run()
"""


@pytest.fixture(scope="module")
def server():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", SERVE, str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 300
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait()


@pytest.fixture
def bucket(server, monkeypatch):
    import fsspec
    from gcsfs.core import GCSFileSystem

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server)
    monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})
    # The driver asks what kind of bucket it is by another protocol, which the emulator does not speak.
    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "gs", GCSFileSystem)
    GCSFileSystem.clear_instance_cache()
    return location("gs://bucket")


def test_files_and_folders(bucket):
    root = bucket / "files"
    filesystem.put(root / "a", b"hello")
    written = tar.write_tar(root / "sub" / "t.tar", [("a", bytes(10**6))])
    assert filesystem.read(root / "a") == b"hello"
    assert filesystem.read_range(root / "a", 3, 10) == b"lo" and filesystem.read_range(root / "a", 50, 1) == b""
    assert filesystem.digest(root / "sub" / "t.tar") == (written.bytes, written.sha256)
    assert filesystem.file_sizes(root) == {"a": 5} and sorted(filesystem.list_names(root)) == ["a", "sub"]
    assert filesystem.files_below(root).keys() == {"a", "sub/t.tar"}
    assert filesystem.size_of(root / "none") is None and not filesystem.is_folder(root / "none")
    found = filesystem.read_ranges([(root / "a", (1, 2)), (root / "none", (0, 1))])
    assert list(found.values()) == [b"el"]
    for again in range(2):
        filesystem.remove_file(root / "a")
        filesystem.remove(root / "sub") if not again else None
    assert filesystem.file_sizes(root) == {}
    with pytest.raises(FileNotFoundError, match="gs://no-such-bucket/a"):
        filesystem.put(location("gs://no-such-bucket/a"), b"x")


def test_one_writer(bucket):
    with lock_directory(bucket / "held"):
        with pytest.raises(HandgenError, match="is writing there"), lock_directory(bucket / "held"):
            pass
        assert list(filesystem.list_names(bucket / "held")) == [LEASE]
    assert list(filesystem.list_names(bucket / "held")) == []


def test_synthesizing_gives_what_it_gives_on_a_disk(bucket, tmp_path, rng):
    config = SynthesizeConfig(samples=16, size=48, samples_per_shard=4, workers=1)
    write_annotations(tmp_path / "annotations", frames=2)
    for i in range(4):
        images.write_png(tmp_path / "pictures" / f"{i}.png", rng.integers(0, 255, (80, 90, 3), dtype=np.uint8))
    for file in tmp_path.rglob("*"):
        if file.is_file():
            filesystem.put(bucket / file.relative_to(tmp_path).as_posix(), file.read_bytes())
    stage.run(tmp_path / "annotations", tmp_path / "shards", tmp_path / "pictures", config)
    stage.run(bucket / "annotations", bucket / "shards", bucket / "pictures", config)
    filesystem.remove_file(bucket / "shards" / "train-000001.tar")
    again = stage.run(bucket / "annotations", bucket / "shards", bucket / "pictures", config)
    assert again.written_samples == 4
    for file in (tmp_path / "shards").glob("*.tar"):
        assert filesystem.read(bucket / "shards" / file.name) == file.read_bytes()
