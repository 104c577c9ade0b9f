"""Work in a store gives what it gives on a disk, with a real S3 server process, and with a network that fails."""

import hashlib
import http.server
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import orjson
import pytest
from click.testing import CliRunner
from support.annotate import config as annotate_config
from support.annotate import rendered, true_keypoints

from handgen.cli.main import main
from handgen.media import images
from handgen.stages.annotate import stage as annotate
from handgen.stages.synthesize import stage
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.storage import filesystem, retry
from handgen.storage.filesystem import location
from handgen.storage.lock import LEASE, lock_directory

pytest.importorskip("s3fs")
pytest.importorskip("moto")
pytest.importorskip("flask")

from support.s3 import BUCKET, Proxy, Server, use  # noqa: E402

pytestmark = pytest.mark.slow

SHARDS = SynthesizeConfig(samples=32, size=64, samples_per_shard=8, workers=1)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    started = Server(tmp_path_factory.mktemp("s3"))
    yield started
    started.close()


@pytest.fixture
def bucket(server, monkeypatch, tmp_path):
    """The bucket, emptied but for `in/`."""
    monkeypatch.setenv("HANDGEN_CACHE", str(tmp_path / "cache"))
    use(monkeypatch, server.url)
    place = location(f"s3://{BUCKET}")
    if not filesystem.is_folder(place):
        place.fs.mkdir(BUCKET)
    for name in list(filesystem.list_names(place)):
        if name != "in":
            filesystem.remove(place / name)
    server.requests()
    return place


@pytest.fixture
def proxy(server):
    started = Proxy(server.port)
    yield started
    started.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """On a disk: a capture, its keypoints, pictures, annotations and shards."""
    root = tmp_path_factory.mktemp("made")
    rendered(root / "capture")
    true_keypoints(root / "capture", root / "keypoints.jsonl")
    rng = np.random.default_rng(0)
    for i in range(5):
        images.write_png(root / "pictures" / f"{i}.png", rng.integers(90, 150, (80, 90, 3), dtype=np.uint8))
    (root / "pictures" / "broken.jpg").write_bytes(b"no picture")
    keypoints = annotate_config(str(root / "keypoints.jsonl"), chunk_frames=4)
    annotate.run(root / "capture", root / "annotations", keypoints)
    stage.run(root / "annotations", root / "shards", root / "pictures", SHARDS)
    return root


@pytest.fixture
def inputs(bucket, made, server):
    """All of it in the bucket's `in/`, but for the shards."""
    place = bucket / "in"
    if not filesystem.is_folder(place):
        for folder in ("capture", "pictures", "annotations", "keypoints.jsonl"):
            for file in [made / folder, *(made / folder).rglob("*")]:
                if file.is_file():
                    filesystem.put(place / file.relative_to(made).as_posix(), file.read_bytes())
    server.requests()
    return place


def shards_are_equal(here: Path, there) -> bool:
    names = {path.name for path in here.glob("*.tar")}
    assert names == {name for name in filesystem.file_sizes(there) if name.endswith(".tar")}
    return all((here / name).read_bytes() == filesystem.read(there / name) for name in names)


def invoke(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


# --- the whole way


def test_annotating_in_a_store_gives_what_it_gives_on_a_disk(inputs, bucket, made):
    config = annotate_config(str(inputs / "keypoints.jsonl"), chunk_frames=4, preview=1)
    report = annotate.run(inputs / "capture", bucket / "annotations", config)
    assert report.frames == 8 and filesystem.size_of(report.previews[0]) > 1000
    for path in [made / "annotations" / "manifest.json", *(made / "annotations").glob("[cd]*/*")]:
        name = path.relative_to(made / "annotations").as_posix()
        assert filesystem.read(bucket / "annotations" / name) == path.read_bytes(), name
    assert LEASE not in filesystem.file_sizes(bucket / "annotations")

    # Again: nothing is missing. With a chunk that is gone: it alone is made.
    assert annotate.run(inputs / "capture", bucket / "annotations", config).written_frames == 0
    filesystem.remove_file(bucket / "annotations" / "chunks" / "000001.tar")
    assert annotate.run(inputs / "capture", bucket / "annotations", config).written_frames == 4
    tar = made / "annotations" / "chunks" / "000001.tar"
    assert filesystem.read(bucket / "annotations" / "chunks" / "000001.tar") == tar.read_bytes()


def test_synthesizing_in_a_store_gives_what_it_gives_on_a_disk(inputs, bucket, made, server):
    """By the command line, with two processes."""
    url = f"s3://{BUCKET}"
    options = ("--samples", 32, "--size", 64, "--samples-per-shard", 8, "--json")
    command = ("synthesize", f"{url}/in/annotations", "--backgrounds", f"{url}/in/pictures", "--out", f"{url}/shards")
    result = invoke(*command, *options, "--workers", 2)
    assert result.exit_code == 0, result.output
    assert orjson.loads(result.stdout)["written_samples"] == 32
    assert shards_are_equal(made / "shards", bucket / "shards")
    manifest = orjson.loads(filesystem.read(bucket / "shards" / "manifest.json"))
    assert manifest["shards"] == orjson.loads((made / "shards" / "manifest.json").read_bytes())["shards"]
    assert [source["path"] for source in manifest["annotations"]] == [f"{url}/in/annotations"]
    assert sorted(filesystem.file_sizes(bucket / "shards")) == ["manifest.json", "run.json"] + [
        f"train-{i:06d}.tar" for i in range(4)
    ]

    # A shard that is gone is written anew, and nothing else is touched.
    filesystem.remove_file(bucket / "shards" / "train-000002.tar")
    server.requests()
    result = invoke(*command, *options, "--workers", 1)
    assert orjson.loads(result.stdout)["written_samples"] == 8, result.output
    written = [path.rpartition("/")[2] for method, path in server.requests() if method == "PUT"]
    assert sorted(written) == [LEASE, "000001.jsonl", "manifest.json", "train-000002.tar"]
    assert shards_are_equal(made / "shards", bucket / "shards")

    # Another configuration is an error that names the difference; --overwrite replaces.
    result = invoke(*command, *options, "--seed", 1)
    assert result.exit_code == 1 and "seed: 0 there, 1 now" in result.output
    result = invoke(*command, *options, "--seed", 1, "--overwrite", "--workers", 1)
    assert result.exit_code == 0 and not shards_are_equal(made / "shards", bucket / "shards")

    result = invoke("validate", f"{url}/shards", "--digests", "--json", "--workers", 1)
    assert result.exit_code == 0 and orjson.loads(result.stdout)["facts"]["samples"] == 32, result.output
    result = invoke("validate", f"{url}/in/annotations", "--digests", "--json", "--workers", 1)
    assert result.exit_code == 0, result.output
    result = invoke("inspect", f"{url}/shards", "--json")
    assert result.exit_code == 0 and orjson.loads(result.stdout)["manifest"]["samples"] == 32


RUN = """
import sys
from handgen.stages.synthesize.config import SynthesizeConfig
from handgen.storage.filesystem import location
from handgen.stages.synthesize import stage
stage.run(*map(location, sys.argv[1:]), SynthesizeConfig(samples=32, size=64, samples_per_shard=8, workers=1))
"""


def test_a_run_that_was_killed_is_taken_over_at_once(inputs, bucket, made, caplog):
    roots = (inputs / "annotations", bucket / "shards", inputs / "pictures")
    with subprocess.Popen([sys.executable, "-c", RUN, *map(str, roots)]) as run:
        end = time.monotonic() + 300
        while not any(name.endswith(".tar") for name in filesystem.file_sizes(bucket / "shards")):
            assert run.poll() is None and time.monotonic() < end
            time.sleep(0.02)
        run.kill()
    assert LEASE in filesystem.file_sizes(bucket / "shards")
    stage.run(*roots, SHARDS)
    assert "is alive" not in caplog.text  # nobody watched for whether its process still is
    assert shards_are_equal(made / "shards", bucket / "shards") and LEASE not in filesystem.file_sizes(
        bucket / "shards"
    )


def test_evaluating_in_a_store(inputs, bucket, made):
    result = invoke(
        *("evaluate", inputs / "annotations", "--truth", made / "capture", "--report", bucket / "report", "--json"),
        *("--workers", 1, "--worst", 1, "--fingertip-frames", 2),
    )
    assert result.exit_code == 0, result.output
    there = filesystem.files_below(bucket / "report")
    assert {"evaluation.json", "report.html", "run.json", "plots/pck.png"} < there.keys()
    assert any(name.startswith("worst/01_") for name in there)


def test_a_second_run_is_told_who_holds_the_output(inputs, bucket):
    with lock_directory(bucket / "shards"):
        before = filesystem.read(bucket / "shards" / LEASE)
        result = invoke("synthesize", inputs / "annotations", "--out", bucket / "shards", "--size", 32, "--samples", 2)
        assert result.exit_code == 1 and "is writing there; wait until it ends" in result.output
        assert result.output.splitlines()[-1].startswith(f"Error: s3://{BUCKET}/shards: process ")
        assert filesystem.read(bucket / "shards" / LEASE) == before
    assert list(filesystem.list_names(bucket / "shards")) == []


def test_shards_are_read_from_a_store(inputs, bucket, made):
    from handgen.data import load_shards

    for file in (made / "shards").glob("*[nr]"):  # .json and .tar
        filesystem.put(bucket / "shards" / file.name, file.read_bytes())
    there, here = (list(load_shards(str(root))) for root in (bucket / "shards", made / "shards"))
    assert len(there) == 32 and [s["key"] for s in there] == [s["key"] for s in here]
    assert all((a["image"] == b["image"]).all() for a, b in zip(there, here, strict=True))
    some = list(load_shards(f"s3://{BUCKET}/shards/train-{{000001..000002}}.tar", batch_size=4))
    assert [key for batch in some for key in batch["key"]] == [s["key"] for s in here[8:24]]


def test_requests_are_as_many_as_the_docs_say(inputs, bucket, server):
    """docs/storage.md: what a shard costs."""
    stage.run(inputs / "annotations", bucket / "shards", None, SHARDS)
    found = server.requests()
    shard = "shards/train-000001.tar"
    own = sorted((method, "list" if "list-type" in path else "object") for method, path in found if shard in path)
    assert own == [("PUT", "object")]
    cutouts = [path for method, path in found if path.endswith(".tar") and "/chunks/" in path and method == "GET"]
    shards, views = 4, 24
    assert len(cutouts) <= shards * views and not any("/chunks/" in p and m == "HEAD" for m, p in found if ".tar" in p)


# --- one put


def test_only_the_first_puts_what_must_be_new(bucket):
    assert filesystem.put_new(bucket / "x" / "a", b"first") and not filesystem.put_new(bucket / "x" / "a", b"second")
    assert filesystem.read(bucket / "x" / "a") == b"first"


def test_pieces_end_where_the_object_does(bucket):
    for data in (b"", b"hello"):
        filesystem.put(bucket / "x" / "short", data)
        assert filesystem.read_range(bucket / "x" / "short", 0, 100) == data
        assert filesystem.read_range(bucket / "x" / "short", 50, 1) == b""
    with pytest.raises(FileNotFoundError):
        filesystem.read_range(bucket / "x" / "none", 0, 100)


def test_large_files_are_sent_in_parts_and_small_ones_whole(bucket, server, monkeypatch):
    monkeypatch.setattr(filesystem, "PART_BYTES", 5 * 2**20)
    data = np.random.default_rng(0).bytes(11 * 2**20)
    for size, requests in ((len(data), {"POST": 2, "PUT": 3}), (9 * 2**20, {"PUT": 1})):
        server.requests()
        with filesystem.whole_file(bucket / "x" / "large") as file:
            file.write(data[:size])
        assert server.counted("large") == requests
        assert filesystem.digest(bucket / "x" / "large") == (size, hashlib.sha256(data[:size]).hexdigest())


def unfinished(bucket):
    """Uploads in parts that were begun and neither finished nor given up."""
    return bucket.fs.call_s3("list_multipart_uploads", Bucket=BUCKET).get("Uploads", [])


def test_an_upload_that_ends_in_the_middle_leaves_nothing(bucket, server, proxy, monkeypatch):
    monkeypatch.setattr(filesystem, "PART_BYTES", 5 * 2**20)
    monkeypatch.setattr(retry, "RETRY_DEADLINE_S", 0.1)
    use(monkeypatch, proxy.url)
    proxy.drops, proxy.after = 10**6, 2**20
    with (
        pytest.raises(OSError, match="asked [0-9]+ times"),
        filesystem.whole_file(location(f"s3://{BUCKET}/x/a")) as file,
    ):
        file.write(bytes(11 * 2**20))
    assert proxy.dropped > 5
    assert filesystem.size_of(bucket / "x" / "a") is None and unfinished(bucket) == []
    with pytest.raises(ZeroDivisionError), filesystem.whole_file(bucket / "x" / "a"):
        raise ZeroDivisionError
    assert filesystem.size_of(bucket / "x" / "a") is None


# --- a network that fails


def test_connections_that_drop_change_nothing(inputs, bucket, made, proxy, monkeypatch):
    use(monkeypatch, proxy.url)
    monkeypatch.setattr(retry, "_FIRST_WAIT_S", 0.02)
    proxy.drops, proxy.after = 25, 12_000
    url = f"s3://{BUCKET}"
    roots = (location(f"{url}/{name}") for name in ("in/annotations", "shards", "in/pictures"))
    stage.run(*roots, SHARDS)
    assert proxy.dropped == 25
    assert shards_are_equal(made / "shards", bucket / "shards")


@pytest.mark.parametrize("drops", [1, 4])
def test_a_part_that_is_dropped_is_sent_again(bucket, proxy, monkeypatch, drops):
    monkeypatch.setattr(filesystem, "PART_BYTES", 5 * 2**20)
    use(monkeypatch, proxy.url)
    data = np.random.default_rng(0).bytes(11 * 2**20)
    proxy.drops, proxy.after = drops, 3 * 2**20
    place = location(f"s3://{BUCKET}/x/parts")
    with filesystem.whole_file(place) as file:
        file.write(data)
    assert proxy.dropped == drops
    assert filesystem.read(bucket / "x" / "parts") == data and unfinished(bucket) == []
    proxy.drops, proxy.after = drops, 2**20
    assert filesystem.read(place) == data and proxy.dropped == 2 * drops


def test_answers_that_are_slow_are_waited_for_as_long_as_is_set(bucket, proxy, monkeypatch):
    filesystem.put(bucket / "x" / "a", b"hello")
    proxy.delay_s = 1.0
    use(monkeypatch, proxy.url, read_timeout=10)
    assert filesystem.read(location(f"s3://{BUCKET}/x/a")) == b"hello"
    use(monkeypatch, proxy.url, read_timeout=0.2)
    monkeypatch.setattr(type(location(f"s3://{BUCKET}").fs), "retries", 2)  # the driver's own
    monkeypatch.setattr(retry, "RETRY_DEADLINE_S", 0.1)
    with pytest.raises(OSError, match="(?i)time") as caught:
        filesystem.read(location(f"s3://{BUCKET}/x/a"))
    assert caught.value.filename == f"s3://{BUCKET}/x/a"
    proxy.delay_s = 0.0
    assert filesystem.read(location(f"s3://{BUCKET}/x/a")) == b"hello"


def test_a_store_that_is_not_there_is_said(made, monkeypatch):
    use(monkeypatch, "http://127.0.0.1:9")
    monkeypatch.setattr(retry, "RETRY_DEADLINE_S", 0.1)
    result = invoke("synthesize", made / "annotations", "--out", f"s3://{BUCKET}/x", "--samples", 1)
    assert result.exit_code == 1 and result.output.splitlines()[-1].startswith(f"Error: s3://{BUCKET}/x: ")
    assert "Could not connect" in result.output and "run again when the store answers" in result.output


# --- what a user must set up


def test_a_bucket_that_is_not_there_is_said(made, bucket):
    result = invoke("synthesize", made / "annotations", "--out", "s3://no-such-bucket/x", "--samples", 1)
    assert result.exit_code == 1 and "bucket does not exist; make the bucket, or correct the URL" in result.output
    result = invoke("synthesize", "s3://no-such-bucket/annotations", "--out", bucket / "x")
    assert result.exit_code == 1 and "no finished annotations" in result.output
    result = invoke("inspect", "s3://no-such-bucket/annotations")
    assert result.exit_code == 2 and "does not exist" in result.output


class Refusing(http.server.BaseHTTPRequestHandler):
    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        text = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer

    def log_message(self, *_):
        pass


def test_rights_that_are_missing_are_said(made, monkeypatch):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as refusing:
        threading.Thread(target=refusing.serve_forever, daemon=True).start()
        use(monkeypatch, f"http://127.0.0.1:{refusing.server_port}")
        result = invoke("synthesize", made / "annotations", "--out", f"s3://{BUCKET}/x", "--samples", 1)
        assert result.exit_code == 1, result.output
        assert f"Error: s3://{BUCKET}/x: Access Denied; " in result.output and "give credentials" in result.output
        result = invoke("synthesize", f"s3://{BUCKET}/annotations", "--out", "never")
        assert (
            result.exit_code == 1 and "s3://bucket/annotations/manifest.json: Permission denied; see" in result.output
        )
        with pytest.raises(PermissionError) as caught:  # which the command line says in one line, as above
            stage.run(made / "annotations", Path("never"), location(f"s3://{BUCKET}/pictures"), SHARDS)
        assert caught.value.filename == f"s3://{BUCKET}/pictures" and not Path("never").exists()
        refusing.shutdown()


def test_credentials_that_are_missing_are_said(made, bucket, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    type(bucket.fs).clear_instance_cache()
    result = invoke("synthesize", made / "annotations", "--out", f"s3://{BUCKET}/x", "--samples", 1)
    assert result.exit_code == 1 and "Unable to locate credentials" in result.output
    assert "give credentials" in result.output
