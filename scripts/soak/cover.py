"""Search, led by coverage, for bytes that break the readers of pickles and of JSON.

    pip install atheris
    python scripts/soak/cover.py [--minutes 30] [--readers NAME ...] [--keep DIR] [--json]

atheris (libFuzzer for Python) changes valid files and keeps what reaches new lines of handgen. Anything but a value or
a HandgenError is a fault, as are 10 s for one input, 2 GiB, a file that is opened to be written and a process or code
that is run. Faults are kept in DIR/READER/ as files; the time is divided over the readers.
"""

from __future__ import annotations

import argparse
import json
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1] / "bench"))
sys.path.insert(0, str(HERE.parents[2] / "tests"))

from table import report

LONGEST_S, MOST_MIB, LONGEST_BYTES = 10, 2048, 1 << 16
FORBIDDEN = ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "ctypes.dlopen")
TARGETS: dict[str, tuple[str, float | None, bool]] = {
    "faults": ("inputs that broke a reader", 0, False),
    "runs": ("inputs tried", None, True),
    "minutes": ("time", None, True),
}


def array_pickles() -> list[bytes]:
    """Pickles of hand models."""
    from support.make_mano_pickle import Ch, Csc, Python2Pickler, Select

    plain = {"v_template": np.zeros((4, 3)), "weights": np.eye(2, dtype=np.float32), "bs_type": "lrotmin"}
    chosen = Select(Ch(np.arange(6.0).reshape(2, 3)), np.array([5, 0]), (2, 1))
    official = plain | {"J_regressor": Csc(np.eye(3, 2)), "shapedirs": chosen}
    own = [Python2Pickler(protocol).dumps(official) for protocol in range(3)]
    return own + [pickle.dumps(plain, protocol) for protocol in range(6)]


def label_pickles() -> list[bytes]:
    """Pickles of one picture's labels."""
    labels = [{"keypoints": np.zeros((3, 2)), "name": "a", "right": 1, "box": (1.5, None, True)}]
    odd = {"one": np.array({"loss": 1.0}), "many": [np.float32(2), {1.5}]}
    return [pickle.dumps(each, protocol) for each in (labels, odd) for protocol in range(6)]


def documents() -> list[bytes]:
    """Documents of data sets and of captures."""
    texts: list[Any] = [
        {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"id": 1, "keypoints": [1.5, 2, -3e2]}]},
        {"0": {"1": {"world_coord": [[0.1, 2, 3]], "hand_type": "left", "valid": [[True], [None]]}}},
        [[[1, 2], [3, 4.5]], []],
        {"format_version": 1, "cameras": {"a": {"file": "\u00e9\n.mp4", "frame_offset": -3}}},
    ]
    return [json.dumps(text).encode() for text in texts] + [b"\xef\xbb\xbf{}", b'{"a": NaN, "b": 1e999}']


def read_arrays(data: bytes, _: Path) -> None:
    """Read a hand model."""
    from handgen.storage.pickles import read_pickle

    read_pickle(data, "a file")


def read_labels(data: bytes, _: Path) -> None:
    """Read the labels of a picture."""
    from handgen.storage import pickles

    pickles.read_labels(data, "a file")


def read_document(data: bytes, _: Path) -> None:
    """Read a document, and hold it against schemas."""
    from handgen.errors import HandgenError
    from handgen.storage import documents

    found = documents.loads(data, "a file")
    for schema in ("capture", "annotation_record", "calibration"):
        with suppress(HandgenError):
            documents.validate(found, schema, "a file")


def read_stream(data: bytes, folder: Path) -> None:
    """Read entry by entry, as files of data sets are read."""
    from handgen.errors import HandgenError
    from handgen.storage import json_stream

    path = folder / "stream.json"
    path.write_bytes(data)
    readers: tuple[Callable[[], Any], ...] = (
        lambda: list(json_stream.list_entries(path)),
        lambda: list(json_stream.list_entries(path, "annotations")),
        lambda: list(json_stream.list_items(path, "images")),
        lambda: list(json_stream.nested_entries(path)),
    )
    for read in readers:
        with suppress(HandgenError):
            read()


READERS: dict[str, tuple[Callable[[bytes, Path], None], Callable[[], list[bytes]]]] = {
    "array_pickles": (read_arrays, array_pickles),
    "label_pickles": (read_labels, label_pickles),
    "json_documents": (read_document, documents),
    "json_streams": (read_stream, documents),
}


class Executed(BaseException):
    """A file made the reader do what no reader does."""


def search(name: str, folder: Path, seconds: int) -> None:
    """Search with one reader until the time is over, in this process, which libFuzzer ends."""
    import atheris

    read, seeds = READERS[name]
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed{number}").write_bytes(seed)
    with atheris.instrument_imports(include=["handgen"]):
        from handgen.errors import HandgenError

        for seed in seeds():  # what is imported later would not be seen, and would look like something that is run
            with suppress(HandgenError):
                read(seed, folder)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[1], str) and arguments[1].strip("rbtU")
        if event in FORBIDDEN or (writes and str(arguments[0]) != str(folder / "stream.json")):
            raise Executed(f"{event} {arguments[:2]}")

    def one(data: bytes) -> None:
        try:
            read(data, folder)
        except HandgenError as error:
            if "\n" in str(error) or "\x1b" in str(error):
                raise AssertionError(f"not one printable line: {str(error)!r}") from None

    sys.addaudithook(watch)
    flags = [f"-max_total_time={seconds}", f"-timeout={LONGEST_S}", f"-rss_limit_mb={MOST_MIB}", "-print_final_stats=1"]
    flags += [f"-artifact_prefix={folder}/fault-", f"-max_len={LONGEST_BYTES}", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], one)
    atheris.Fuzz()


def main() -> None:
    """Search with every reader; the exit status is 1 where one broke."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="of all readers together (default 30)")
    parser.add_argument("--readers", nargs="+", choices=READERS, default=list(READERS), metavar="NAME")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the corpus and the faults there")
    parser.add_argument("--json", action="store_true", help="one flat JSON object instead of a table")
    parser.add_argument("--search", metavar="READER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    seconds = int(60 * options.minutes / len(options.readers))
    if options.search:
        search(options.search, options.keep, int(60 * options.minutes))
        return
    found: dict[str, float] = {"faults": 0, "runs": 0, "minutes": options.minutes}
    with tempfile.TemporaryDirectory(prefix="handgen-cover") as temporary:
        for name in options.readers:
            folder = (options.keep or Path(temporary)).resolve() / name
            command = [sys.executable, str(HERE), "--search", name, "--keep", str(folder)]
            done = subprocess.run([*command, "--minutes", str(seconds / 60)], capture_output=True, text=True)
            faults = sorted(folder.glob("fault-*"))
            runs = sum(int(line.split()[-1]) for line in done.stderr.splitlines() if "number_of_executed_units" in line)
            if done.returncode or faults or not runs:
                print(f"{name}: {done.stderr[-3000:]}", file=sys.stderr)
            found["faults"] += max(len(faults), bool(done.returncode))
            found["runs"] += runs
            found[f"{name}_runs"] = runs
    report(found, TARGETS | {f"{name}_runs": (f"{name}: inputs", None, True) for name in READERS}, options.json)
    if found["faults"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
